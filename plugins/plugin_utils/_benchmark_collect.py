# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the results of a benchmark out of its pod, whole or not at all. Private to the collection; it may change.

Long exec streams are cut and lose bytes without a word (kubernetes/kubernetes#60140, kubernetes/kubectl#1425), so that
files come in parts, each of which is asked for again until it is there, and every file is checked against the sum that
the pod made of it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import shutil
import time
import typing as t
import zlib
from pathlib import Path

try:
    import urllib3
    from kubernetes import client as k8s_client
    from kubernetes.stream import stream as k8s_stream
    from kubernetes.stream.ws_client import ERROR_CHANNEL
    from websocket import WebSocketException
except ImportError:
    HAS_STREAM = False
else:
    HAS_STREAM = True

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_launch import CONTAINER, POD, PROGRAM, RESULTS
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client

PART = 4 << 20
INDEX = "index.json"
PAUSE = 2.0

Exec = t.Callable[[t.Sequence[str], float], str]


class CollectError(Exception):
    """The results could not be brought out whole; ``retryable`` says whether the pod still has them."""

    def __init__(self, evidence: str, *, retryable: bool = True) -> None:
        super().__init__(evidence)
        self.retryable = retryable


class ExecError(Exception):
    """One command in the pod did not end well; str() is the evidence."""


def pod_exec(client: Client, namespace: str) -> Exec:
    """Run a command in the pod and give what it prints; ExecError where it does not end with 0."""
    core = k8s_client.CoreV1Api(client.api)

    def run(command: t.Sequence[str], timeout: float) -> str:
        try:
            socket = k8s_stream(
                core.connect_get_namespaced_pod_exec,
                POD,
                namespace,
                container=CONTAINER,
                command=list(command),
                stdin=False,
                stdout=True,
                stderr=True,
                tty=False,
                _preload_content=False,
                _request_timeout=timeout,
            )
            # The client waits for a whole frame without a limit: one that is cut in its middle would hold it for good.
            socket.sock.settimeout(timeout)
            return _output(socket, timeout)
        except (k8s_client.ApiException, WebSocketException, urllib3.exceptions.HTTPError, OSError) as error:
            raise ExecError(" ".join(str(error).split())[:300] or type(error).__name__) from error

    return run


def _output(socket: t.Any, timeout: float) -> str:
    try:
        socket.run_forever(timeout=timeout)
        if socket.is_open():
            raise ExecError(f"no end after {timeout:g} s")
        output, complaint = socket.read_stdout(timeout=0), socket.read_stderr(timeout=0)
        status = socket.read_channel(ERROR_CHANNEL, timeout=0)
    finally:
        socket.close()
    # A connection that is cut closes like one that has ended; only the status tells them apart.
    if not status:
        raise ExecError("the connection ended before the command did")
    if json.loads(status).get("status") != "Success":
        raise ExecError((complaint or status).strip()[-300:])
    return str(output)


class Collector:
    """Files of one experiment, by parts. ``patience`` is how long a part is asked for before it is given up."""

    def __init__(self, execute: Exec, experiment: str, patience: float, show: t.Callable[[str], t.Any]) -> None:
        self._execute, self._patience, self._show = execute, patience, show
        self._root = f"{RESULTS}/{experiment}"
        self.tries = 0

    def collect(self, index_sum: str, folder: Path) -> list[str]:
        """Every file into an empty folder; CollectError where one does not come whole."""
        folder.mkdir(parents=True)
        text = self._whole(INDEX, None, index_sum, folder / INDEX)
        files = json.loads(text.read_text(encoding="utf-8"))["files"]
        total, done = sum(entry["size"] for entry in files.values()), 0
        for name, entry in files.items():
            target = folder / name
            if folder.resolve() not in target.resolve().parents:
                raise CollectError(f"{name}: its path leads out of the folder", retryable=False)
            target.parent.mkdir(parents=True, exist_ok=True)
            self._whole(name, entry["size"], entry["sha256"], target)
            done += entry["size"]
            if total > 8 * PART:
                self._show(f"collected {done / 1e6:.0f} of {total / 1e6:.0f} MB")
        return sorted(files)

    def _whole(self, name: str, size: int | None, wanted: str, target: Path) -> Path:
        """One file; a sum that differs is asked for once more, since a part may have been cut within its frame."""
        for last in (False, True):
            found = self._file(name, size, target)
            if found == wanted:
                return target
            if last:
                raise CollectError(f"{name}: sha256 {found[:12]} in place of {wanted[:12]}, twice")
        raise AssertionError("unreachable")

    def _file(self, name: str, size: int | None, target: Path) -> str:
        state, offset = hashlib.sha256(), 0
        with target.open("wb") as stream:
            while size is None or offset < size:
                part = self._part(name, offset, None if size is None else min(PART, size - offset))
                stream.write(part)
                state.update(part)
                offset += len(part)
                if size is None and len(part) < PART:
                    break
        return state.hexdigest()

    def _part(self, name: str, offset: int, expected: int | None) -> bytes:
        command = ["python3", f"{PROGRAM}/launcher.py", "send", f"{self._root}/{name}", str(offset), str(PART)]
        deadline, why = time.monotonic() + self._patience, ""
        while True:
            self.tries += 1
            try:
                part = zlib.decompress(base64.b64decode(self._execute(command, 60.0).strip(), validate=True))
                if expected is None or len(part) == expected:
                    return part
                why = f"{len(part)} bytes in place of {expected}"
            except (ExecError, binascii.Error, zlib.error) as error:
                why = str(error)
            if time.monotonic() >= deadline:
                raise CollectError(f"{name} from byte {offset} on, tried for {self._patience:g} s: {why}")
            time.sleep(PAUSE)


def take_place(fresh: Path, folder: Path) -> None:
    """A folder appears whole or not at all; one with content is someone's results."""
    if folder.exists() and any(folder.iterdir()):
        raise CollectError(f"{folder} is not empty", retryable=False)
    if folder.exists():
        folder.rmdir()
    fresh.rename(folder)


def discard(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def broken(folder: Path) -> str:
    """Why collected results are not what the pod had; empty where they are."""
    try:
        files = json.loads((folder / INDEX).read_text(encoding="utf-8"))["files"]
        for name, entry in files.items():
            with (folder / name).open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != entry["sha256"]:
                    return f"{name}: its checksum is not the recorded one"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return ""
