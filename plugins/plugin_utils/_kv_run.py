# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the byte counters of prefill pods around prompts of known length. Private to the collection; it may change."""

from __future__ import annotations

import dataclasses
import time
import typing as t

try:
    import urllib3
    from kubernetes import client as k8s_client
    from kubernetes.stream import stream as k8s_stream
    from websocket import WebSocketException
except ImportError:
    HAS_STREAM = False
else:
    HAS_STREAM = True

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client
from ansible_collections.llmd.wide_ep.plugins.module_utils._kv_transport import (
    READER,
    UNKNOWN,
    Reading,
    ReadingError,
    Transport,
    judge,
    parse,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_observation import ClientReport, PodState

CONTAINER = "vllm"
EXEC_SECONDS = 20.0
#: What a pod sends without our prompts is measured for this long.
IDLE_SECONDS = 2.0

Exec = t.Callable[[str], str]
Ask = t.Callable[[t.Sequence[dict[str, t.Any]]], ClientReport]


@dataclasses.dataclass(frozen=True)
class KvSettings:
    """``tokens`` are wished per prefill pod; how many there were, the servers tell."""

    bytes_per_token: int
    tokens: int
    prompts: int
    target_ports: tuple[int, ...]


def executor(client: Client, namespace: str) -> Exec:
    """What runs the reader in a pod and returns its output."""

    def run(pod: str) -> str:
        if not HAS_STREAM:
            raise ReadingError("the Python package kubernetes is not installed")
        core = k8s_client.CoreV1Api(client.api)
        try:
            socket = k8s_stream(
                core.connect_get_namespaced_pod_exec,
                pod,
                namespace,
                container=CONTAINER,
                command=["sh", "-c", READER, "sh", ""],
                stdin=False,
                stdout=True,
                stderr=True,
                tty=False,
                _preload_content=False,
                _request_timeout=EXEC_SECONDS,
            )
            socket.run_forever(timeout=EXEC_SECONDS)
            output, complaint = socket.read_stdout(timeout=0), socket.read_stderr(timeout=0)
            socket.close()
        except (k8s_client.ApiException, WebSocketException, urllib3.exceptions.HTTPError, OSError) as error:
            raise ReadingError("exec: " + (" ".join(str(error).split())[:200] or type(error).__name__)) from error
        if not output:
            raise ReadingError(f"exec: no output; {' '.join(str(complaint).split())[:200] or 'no error either'}")
        return str(output)

    return run


def transfers(
    prefill: t.Sequence[PodState], decode: t.Sequence[PodState], settings: KvSettings
) -> list[dict[str, t.Any]]:
    """The requests: the decode pod that is asked, and the prefill pod that it shall use, over all ports in turn."""
    words = max(1, settings.tokens // settings.prompts)
    ports = settings.target_ports
    return [
        {
            "url": f"http://{_host(decode[(number + place) % len(decode)].ip)}:{ports[number % len(ports)]}",
            "prefill": f"{_host(pod.ip)}:{ports[number % len(ports)]}",
            "pod": pod.name,
            "words": words,
        }
        for place, pod in enumerate(prefill)
        for number in range(settings.prompts)
    ]


def _host(ip: str | None) -> str:
    return f"[{ip}]" if ip and ":" in ip else str(ip)


def measure(pods: t.Iterable[PodState], settings: KvSettings, run: Exec, ask: Ask) -> tuple[Transport, ...]:
    """Per prefill pod the network of its KV cache."""
    tiers = {role: [pod for pod in pods if pod.role == role and pod.ip] for role in ("prefill", "decode")}
    if not tiers["prefill"] or not tiers["decode"]:
        return ()
    names = [pod.name for pod in tiers["prefill"]]
    idle = _read_all(names, run)
    time.sleep(IDLE_SECONDS)
    before = _read_all(names, run)
    report = ask(transfers(tiers["prefill"], tiers["decode"], settings))
    after = _read_all(names, run)
    return tuple(
        _judged(name, settings.bytes_per_token * _tokens(report, name), (idle[name], before[name], after[name]))
        for name in names
    )


def _tokens(report: ClientReport, pod: str) -> int:
    return sum(answer.prompt_tokens for answer in report.answers if answer.ok and answer.prefill == pod)


def _read_all(names: t.Iterable[str], run: Exec) -> dict[str, Reading | str]:
    """A reading per pod, or why there is none."""
    found: dict[str, Reading | str] = {}
    for name in names:
        try:
            found[name] = parse(run(name))
        except ReadingError as error:
            found[name] = str(error)
    return found


def _judged(pod: str, expected: int, readings: tuple[Reading | str, Reading | str, Reading | str]) -> Transport:
    idle, before, after = readings
    if isinstance(idle, Reading) and isinstance(before, Reading) and isinstance(after, Reading):
        return judge(pod, expected, idle, before, after)
    return Transport(pod, UNKNOWN, expected, reason=next(one for one in readings if isinstance(one, str)))
