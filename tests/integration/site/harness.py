# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests' own rehearsal cluster: its playbooks, its objects and its audit log."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

from audit import Mutation, parse

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / ".ansible" / "collections"), str(ROOT / "tools")]

from _paths import cache_root

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import (
    Client,
    load_client,
)

CLUSTER = os.environ.get("LLMD_WIDE_EP_TEST_CLUSTER") or "test"
STATE = Path("/var/lib/llmd-wide-ep", CLUSTER)
AUDIT_LOG = STATE / "cluster" / "audit" / "audit.log"
NAMESPACE = "llm-d-wide-ep"
RELEASE = "wide-ep-lws"
INVENTORIES = ("inventories/local", "tests/inventory")
RECAP = re.compile(r"^\S+ +: (?P<counts>ok=.*)$", re.MULTILINE)
# Two namespaces hold everything of ours; the rest is cluster-scoped.
NAMESPACES = (NAMESPACE, "lws-system")
# Status and bookkeeping of the server change without us; so do leases and events.
VOLATILE = ("resourceVersion", "managedFields", "generation")
SKIPPED = frozenset({"events", "leases", "componentstatuses", "nodes", "endpoints", "endpointslices"})


class StepError(Exception):
    """What a step found wrong."""


def require(condition: object, message: str) -> None:
    if not condition:
        raise StepError(message)


class Run(t.NamedTuple):
    """A finished run of ansible-playbook."""

    code: int
    output: str
    seconds: float

    @property
    def recap(self) -> dict[str, int]:
        totals: dict[str, int] = {}
        for line in RECAP.findall(self.output):
            for name, value in re.findall(r"(\w+)=(\d+)", line):
                totals[name] = totals.get(name, 0) + int(value)
        return totals


def command(playbook: str, *arguments: str) -> list[str]:
    inventories = [f"--inventory={source}" for source in INVENTORIES]
    return [str(Path(sys.executable).parent / "ansible-playbook"), playbook, *inventories, *arguments]


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1", **changes}


def play(playbook: str, *arguments: str, **changes: str) -> Run:
    """Run a playbook to its end; its output is passed on as it comes."""
    with started(playbook, *arguments, **changes) as (process, output):
        process.wait()
    return output()


def started(
    playbook: str, *arguments: str, **changes: str
) -> contextlib.AbstractContextManager[tuple[subprocess.Popen[str], Callable[[], Run]]]:
    """A playbook under way, in a process group of its own, and what it gave once it has ended."""
    print(f"$ ansible-playbook {playbook} {' '.join(arguments)}", flush=True)
    return started_program(command(playbook, *arguments), ROOT, **changes)


def run_program(arguments: list[str], folder: Path, **changes: str) -> Run:
    """Run a program in a folder to its end; its output is passed on as it comes."""
    print(f"$ {Path(arguments[0]).name} {' '.join(arguments[1:])}", flush=True)
    with started_program(arguments, folder, **changes) as (process, output):
        process.wait()
    return output()


@contextlib.contextmanager
def started_program(
    arguments: list[str], folder: Path, **changes: str
) -> Iterator[tuple[subprocess.Popen[str], Callable[[], Run]]]:
    """A program under way, in a process group of its own, and what it gave once it has ended."""
    began = time.monotonic()
    lines: list[str] = []
    process = subprocess.Popen(
        arguments,
        cwd=folder,
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )

    def copy() -> None:
        for line in process.stdout or ():
            lines.append(line)
            print(line, end="", flush=True)

    reader = threading.Thread(target=copy, daemon=True)
    reader.start()

    def finished() -> Run:
        reader.join(timeout=10)
        return Run(process.returncode, "".join(lines), time.monotonic() - began)

    try:
        yield process, finished
    finally:
        if process.poll() is None:
            kill_tree(process)


def end(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal to a playbook, as a terminal does, and wait for its end.

    ansible-core hangs when the signal meets a worker that reports to it (the worker leaves their queue locked). A user
    would then kill it, and so do we.
    """
    os.killpg(process.pid, number)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        kill_tree(process)


def descendants(pid: int) -> list[int]:
    """The processes below one; ansible-core's workers are in sessions of their own, so that no group holds them all."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.parent.name))
    found, left = [], [pid]
    while left:
        below = children.get(left.pop(), [])
        found += below
        left += below
    return found


def kill_tree(process: subprocess.Popen[str]) -> None:
    """End a playbook, its workers and their programs at once, as the end of the machine would."""
    for pid in (process.pid, *descendants(process.pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=30)


def until(condition: Callable[[], object], what: str, seconds: float, interval: float = 0.05) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        require(time.monotonic() < deadline, f"after {seconds:g} s still not so: {what}")
        threading.Event().wait(interval)


def admin() -> Client:
    """The cluster's own administrator, who looks and breaks things; what is tested runs as the other two."""
    return load_client(str(STATE / "admin.kubeconfig"))


def deployer_kubeconfig() -> Path:
    return cache_root() / "clusters" / CLUSTER / "deployer.kubeconfig"


def collections(client: Client) -> Iterator[tuple[str, str]]:
    """The path prefix and the name of every resource that can be listed, with a mark for namespaced ones."""
    groups = client.get("/apis")["groups"]
    prefixes = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)]
    for prefix in prefixes:
        for resource in client.get(prefix)["resources"]:
            plural = resource["name"]
            if "/" in plural or "list" not in resource["verbs"] or plural in SKIPPED or "metrics" in prefix:
                continue
            if resource["namespaced"]:
                yield from ((f"{prefix}/namespaces/{namespace}", plural) for namespace in NAMESPACES)
            else:
                yield prefix, plural


def digest(item: dict[str, t.Any]) -> str:
    """An object without what changes by itself."""
    metadata = {name: value for name, value in item["metadata"].items() if name not in VOLATILE}
    rest = {name: value for name, value in item.items() if name not in ("metadata", "status")}
    return hashlib.sha256(json.dumps([metadata, rest], sort_keys=True).encode()).hexdigest()


def snapshot() -> dict[str, str]:
    """Path -> content of everything in the namespaces of ours and of everything cluster-scoped."""
    client = admin()
    return {
        f"{prefix}/{plural}/{item['metadata']['name']}": digest(item)
        for prefix, plural in collections(client)
        for item in client.list(f"{prefix}/{plural}")
    }


class AuditTail:
    """The part of the audit log that is written from now on."""

    def __init__(self) -> None:
        self._offset = AUDIT_LOG.stat().st_size

    def mutations(self) -> list[Mutation]:
        with open(AUDIT_LOG, encoding="utf-8") as log:
            # A log that was rotated begins anew.
            log.seek(self._offset if AUDIT_LOG.stat().st_size >= self._offset else 0)
            return parse(line for line in log if line.endswith("\n"))
