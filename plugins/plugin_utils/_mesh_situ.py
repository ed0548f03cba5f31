# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probers beside running model servers. Private to the collection; it may change at any time.

The NICs of a node that serves are granted to its model server, and a pod that asks for them would wait for the server's
end. So the prober runs as a process of low priority in the server's own container, which sees the same devices, and
opens queue pairs of its own. Nodes without a server get pods of the Job, and meet the others at the first server's
address. Rates are not measured and no GPU memory is taken: both would be felt by requests.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import time
import typing as t
import zlib

try:
    import urllib3
    from kubernetes import client as k8s_client
    from kubernetes.stream import stream as k8s_stream
    from websocket import WebSocketException
except ImportError:
    HAS_STREAM = False
else:
    HAS_STREAM = True

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_frames as frames
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _mesh_run as runs
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._mesh_job import Settings, config, server

#: The line's length comes first, since nothing can be closed behind what is sent.
BOOT = """
import base64, json, os, pathlib, subprocess, sys, tempfile, zlib
size = int(sys.stdin.buffer.readline())
told = json.loads(zlib.decompress(base64.b64decode(sys.stdin.buffer.read(size))))
os.nice(10)
with tempfile.TemporaryDirectory(prefix="rdma-mesh-") as folder:
    for name, text in told["files"].items():
        pathlib.Path(folder, name).write_text(text)
    command = [sys.executable, "-B", os.path.join(folder, "mesh_prober.py"), os.path.join(folder, "config.json")]
    sys.exit(subprocess.call(command, env={**os.environ, **told["environment"]}, stdin=subprocess.DEVNULL))
"""
#: Proxies and API servers cut larger messages.
PART = 16 << 10
#: What the transports must not do beside requests.
QUIET = {"rdma": {"gpu": False, "rate_seconds": 0}, "udp": {}}

JsonObject = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Place:
    """A container of a model server, and the node it runs on."""

    node: str
    pod: str
    container: str
    address: str


def places(pods: t.Iterable[t.Mapping[str, t.Any]], settings: Settings) -> list[Place]:
    """One server per node, by the node's name."""
    wanted = server(settings.template)["name"] if settings.template else ""
    found: dict[str, Place] = {}
    for pod in sorted(pods, key=lambda one: str(one["metadata"]["name"])):
        node, address = (pod.get("spec") or {}).get("nodeName"), (pod.get("status") or {}).get("podIP")
        names = [one["name"] for one in (pod.get("spec") or {}).get("containers") or ()]
        if node and address and names and (not settings.nodes or node in settings.nodes):
            container = wanted if wanted in names else names[0]
            found.setdefault(node, Place(node, pod["metadata"]["name"], container, address))
    return [found[node] for node in sorted(found)]


@dataclasses.dataclass(frozen=True)
class Parts:
    """``beside`` holds the settings of the processes, ``job`` those of the pods on other nodes, if there are any."""

    places: tuple[Place, ...]
    beside: Settings
    job: Settings | None


def divide(settings: Settings, found: t.Sequence[Place], free: t.Sequence[str]) -> Parts:
    """Which nodes have a process and which a pod; the first process coordinates."""
    rest = [name for name in settings.nodes if name not in {place.node for place in found}] or list(free)
    missing = max(0, (len(settings.nodes) or settings.hosts) - len(found))
    chosen = tuple(rest[:missing])
    total = len(found) + len(chosen)
    options = {**settings.options, **QUIET[settings.transport]}
    beside = dataclasses.replace(settings, hosts=total, coordinator=found[0].address, options=options)
    job = None
    if chosen:
        job = dataclasses.replace(beside, total=total, hosts=len(chosen), nodes=chosen, first_index=len(found))
    return Parts(tuple(found), beside, job)


def message(settings: Settings, files: t.Mapping[str, str], place: Place, index: int) -> str:
    told = {
        "files": {**files, "config.json": json.dumps({**config(settings), "first_index": 0})},
        "environment": {"JOB_COMPLETION_INDEX": str(index), "NODE_NAME": place.node, "POD_NAME": place.pod},
    }
    packed = base64.b64encode(zlib.compress(json.dumps(told).encode(), 9)).decode()
    return f"{len(packed)}\n{packed}"


def start(client: Client, namespace: str, place: Place, text: str) -> t.Any:
    """The stream of a process in the container, with its program sent."""
    if not HAS_STREAM:
        raise runs.RunError("the Python package kubernetes is not installed")
    try:
        socket = k8s_stream(
            k8s_client.CoreV1Api(client.api).connect_get_namespaced_pod_exec,
            place.pod,
            namespace,
            container=place.container,
            command=["python3", "-c", BOOT],
            stdin=True,
            stdout=True,
            stderr=True,
            tty=False,
            _preload_content=False,
        )
        for at in range(0, len(text), PART):
            socket.write_stdin(text[at : at + PART])
    except (k8s_client.ApiException, WebSocketException, urllib3.exceptions.HTTPError, OSError) as error:
        seen = " ".join(str(error).split())[:300] or type(error).__name__
        raise runs.RunError(f"no prober beside model server {place.pod} on {place.node}: {seen}") from error
    return socket


def probe(
    client: Client, parts: Parts, files: t.Mapping[str, str], show: runs.Show
) -> tuple[str, dict[int, tuple[str, str]]]:
    """As that of the Job alone: the result's text, and of hosts that did not join their names and reasons."""
    settings = parts.beside
    runs.clear(client, settings.namespace, settings.release)
    sockets: list[t.Any] = []
    try:
        for index, place in enumerate(parts.places):
            sockets.append(start(client, settings.namespace, place, message(settings, files, place, index)))
        if parts.job:
            runs.create(client, parts.job, files)
        log = _follow(sockets, settings, show)
        absent = {index: (place.node, "") for index, place in enumerate(parts.places)}
        if parts.job:
            pods = runs.absent_hosts(runs.pods_of(client, parts.job))
            absent |= {index + parts.job.first_index: entry for index, entry in pods.items()}
        return frames.read(log, settings.run_id, settings.key), absent
    finally:
        for socket in sockets:
            socket.close()
        if parts.job:
            runs.remove(client, settings.namespace, settings.name)


def _follow(sockets: t.Sequence[t.Any], settings: Settings, show: runs.Show) -> str:
    """What the coordinator has written when it ends; the others are read so that they never wait for a reader."""
    log, complaint, told = "", "", runs.Progress(show, settings.run_id)
    end = time.monotonic() + settings.deadline_seconds
    while time.monotonic() < end:
        for socket in sockets:
            socket.update(timeout=0)
            heard, error = socket.read_stdout(timeout=0) or "", socket.read_stderr(timeout=0) or ""
            if socket is sockets[0]:
                log, complaint = log + heard, complaint + error
        told.update(log)
        if not sockets[0].is_open():
            if f"{frames.PREFIX} {settings.run_id} end" not in log:
                raise runs.RunError(f"the prober beside a model server ended early: {complaint.strip()[-300:]}")
            return log
        time.sleep(runs.POLL_SECONDS / 5)
    raise runs.RunError(f"no result within {settings.deadline_seconds} s: {complaint.strip()[-300:] or 'no word'}")
