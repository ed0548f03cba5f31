# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment on loopback: real simulators and real routing sidecars, and a router that takes turns."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import typing as t
import urllib.request
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_observation import (
    Endpoint,
    Expectation,
    Observation,
    PodState,
    TierExpectation,
    pod_state,
    read_report,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_proof import Verdict, judge
from ansible_collections.llmd.wide_ep.plugins.module_utils._prometheus_text import parse, served

ROOT = Path(__file__).parents[3]
CACHE = Path(
    os.environ.get("LLMD_WIDE_EP_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmd-wide-ep"
)
MANIFEST = CACHE / "manifests" / "full.json"
MODEL = "deepseek-ai/DeepSeek-R1-0528"
PREFILL = ("prefill-0", "prefill-0-1")
DECODE = ("decode-0", "decode-0-1")
ROUTER = PodState("epp-1", "", {}, "127.0.0.1", "cpu-0", True, "", ("u1", "epp#0"))


def free_ports(count: int) -> int:
    """The first of several free ports in a row."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            first = int(listener.getsockname()[1])
        try:
            for port in range(first, first + count):
                with socket.socket() as other:
                    other.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first


class Deployment:
    """Two prefill and two decode pods of ``ranks`` simulators, a sidecar before each decode pod, and a router."""

    def __init__(self, folder: Path, ranks: int = 1) -> None:
        self.folder = folder
        self.ranks = ranks
        self.programs = json.loads(MANIFEST.read_text(encoding="utf-8"))["programs"]
        self.ports = {name: free_ports(ranks) for name in (*PREFILL, *DECODE)}
        self.sidecars = {name: free_ports(ranks) for name in DECODE}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.turn = 0
        self.disaggregates = True
        #: Whether the router knows where the prefill pods are.
        self.knows_prefill = True
        self.has_route = True
        #: A rank that the router leaves out on every pod.
        self.skipped: int | None = None
        self.decisions: dict[str, int] = {}
        self.started = 1.0
        #: What happens when the router takes its so-many-th request.
        self.at: dict[int, t.Callable[[], None]] = {}
        #: While set, the router drops whatever it is asked.
        self.down = threading.Event()
        self.lock = threading.Lock()
        self.router = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    def start(self) -> None:
        for name, first in self.ports.items():
            for rank in range(self.ranks):
                model = ["--model", MODEL, "--force-dummy-tokenizer", "--max-model-len", "4096"]
                arguments = [*model, "--port", str(first + rank)]
                self._run(f"{name} rank {rank}", "llm-d-inference-sim", arguments, POD_NAME=name, POD_NAMESPACE="n")
        for name, port in self.sidecars.items():
            arguments = [f"--port={port}", f"--vllm-port={self.ports[name]}", "--kv-connector=nixlv2"]
            size = [f"--data-parallel-size={self.ranks}"] if self.ranks > 1 else []
            self._run(f"sidecar of {name}", "pd-sidecar", [*arguments, *size, "--secure-proxy=false"])
        for first in (*self.ports.values(), *self.sidecars.values()):
            for rank in range(self.ranks):
                wait_until_it_serves(first + rank)
        threading.Thread(target=self.router.serve_forever, args=(0.01,), daemon=True).start()

    def _run(self, name: str, program: str, arguments: list[str], **environment: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            command = [self.programs[program]["path"], *arguments]
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})

    def kill(self, pod: str) -> None:
        """End all ranks of a pod."""
        for rank in range(self.ranks):
            self.processes[f"{pod} rank {rank}"].kill()
            self.processes[f"{pod} rank {rank}"].wait()

    def halt(self, pod: str, rank: int) -> None:
        """Let a rank take connections and never answer."""
        self.processes[f"{pod} rank {rank}"].send_signal(signal.SIGSTOP)

    def stop(self) -> None:
        self.router.shutdown()
        self.router.server_close()
        for process in self.processes.values():
            process.kill()
            process.wait()

    def headers(self) -> tuple[int, dict[str, str]]:
        """What an endpoint picker decides: the decode rank, and the prefill rank in a header."""
        with self.lock:
            self.turn += 1
            chosen = [rank for rank in range(self.ranks) if rank != self.skipped]
            turn, (other, place) = self.turn, divmod(self.turn // 2, len(chosen))
            kind = "prefill-decode" if self.disaggregates else "decode-only"
            self.decisions[kind] = self.decisions.get(kind, 0) + 1
        decode, prefill = DECODE[turn % 2], PREFILL[other % 2]
        target = f"127.0.0.1:{self.ports[prefill] + chosen[place] if self.knows_prefill else 1}"
        header = {"x-prefiller-host-port": target} if self.disaggregates else {}
        return self.sidecars[decode] + chosen[place], {"Content-Type": "application/json", **header}

    def prompt_tokens(self, pod: str) -> list[float]:
        """By rank of a pod, by its own count."""
        found = []
        for rank in range(self.ranks):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[pod] + rank}/metrics", timeout=5) as answer:
                found.append(served(parse(answer.read().decode().splitlines())).prompt_tokens)
        return found

    def restart_router(self) -> None:
        """Requests under way are lost, and so is what was counted."""
        self.decisions, self.started = {}, self.started + 1
        self.down.set()
        threading.Timer(0.5, self.down.clear).start()

    def metrics(self) -> str:
        counts = [
            f'llm_d_inference_scheduler_disagg_decision_total{{decision_type="{kind}",model_name="m"}} {count}'
            for kind, count in self.decisions.items()
        ]
        return "\n".join([*counts, f"process_start_time_seconds {self.started}", ""])

    def reply(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes] | None:
        """What the router answers; None where it drops the connection."""
        if (method, path) == ("GET", "/metrics"):
            return 200, self.metrics().encode()
        event = self.at.pop(self.turn, None) if method == "POST" else None
        if event:
            event()
        if self.down.is_set():
            return None
        return self._forwarded(method, path, body) if self.has_route else (404, b"")

    def _forwarded(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        port, headers = self.headers()
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException) as error:
            return 502, str(error).encode()
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        deployment = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(deployment.reply("GET", self.path, None))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(deployment.reply("POST", self.path, body))

            def _answer(self, reply: tuple[int, bytes] | None) -> None:
                if reply is None:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(reply[0])
                self.end_headers()
                self.wfile.write(reply[1])

            def log_message(self, *args: t.Any) -> None:
                pass

        return Handler


def wait_until_it_serves(port: int, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def pod(name: str) -> PodState:
    labels = {"llm-d.ai/role": name.split("-", maxsplit=1)[0]}
    conditions = [{"type": "Ready", "status": "True"}]
    return pod_state({"metadata": {"name": name, "labels": labels}, "status": {"conditions": conditions}})


PODS = tuple(pod(name) for name in (*PREFILL, *DECODE))


def ask(deployment: Deployment, folder: Path, model: str = MODEL, **changes: t.Any) -> str:
    """What the client pod does; its log."""
    shutil.copy(ROOT / "roles/verify/files/client.py", folder / "client.py")
    shutil.copy(ROOT / "plugins/module_utils/_prometheus_text.py", folder / "prometheus_text.py")
    targets = [
        {
            "pod": name,
            "role": name.split("-")[0],
            "ip": "127.0.0.1",
            "ports": list(range(first, first + deployment.ranks)),
        }
        for name, first in deployment.ports.items()
    ]
    for target in targets:
        if target["pod"] in DECODE:
            first = deployment.sidecars[str(target["pod"])]
            target["sidecar_ports"] = list(range(first, first + deployment.ranks))
    address = deployment.router.server_address
    told = {
        "model": model,
        "url": f"http://127.0.0.1:{address[1]}",
        "nonce": "n",
        "targets": targets,
        "routers": [{"pod": ROUTER.name, "ip": "127.0.0.1", "port": address[1]}],
        "requests": 16,
        "max_requests": 32 * deployment.ranks,
        "concurrency": 4,
        "max_tokens": 8,
        "long_prompt_words": 600,
        "request_timeout": 20,
        "scrape_timeout": 2,
        "ready_timeout": 2,
        "ready_interval": 0.1,
        "settle_timeout": 1,
        "settle_interval": 0.05,
        **changes,
    }
    (folder / "input.json").write_text(json.dumps(told), encoding="utf-8")
    command = [sys.executable, str(folder / "client.py"), str(folder / "input.json")]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def prove(deployment: Deployment, folder: Path, model: str = MODEL, **seen: t.Any) -> Verdict:
    """What the pod does, then what the judge makes of it and of what the cluster says beside it."""
    report = read_report(ask(deployment, folder, model))
    tiers = tuple(
        TierExpectation(role, role[0], names, deployment.ranks, 2)
        for role, names in (("prefill", PREFILL), ("decode", DECODE))
    )
    expected = Expectation("n", model, tiers, {}, "deployment/x", rank_endpoints=deployment.ranks > 1)
    endpoint = Endpoint("x", report.url, 1, "")
    observation = Observation(endpoint, {}, PODS, PODS, report, router_before=(ROUTER,), router_after=(ROUTER,))
    return judge(expected, dataclasses.replace(observation, **seen))


def prove_whole(deployment: Deployment, folder: Path) -> Verdict:
    """Prove again where the simulator cut a stream short: 0.10.2 ends about one in a hundred after its first event,
    if no prefill precedes it."""
    for _attempt in range(4):
        verdict = prove(deployment, folder)
        if not any("IncompleteRead" in finding.evidence for finding in verdict.findings):
            break
    return verdict


def codes(verdict: Verdict) -> list[str]:
    return [finding.code for finding in verdict.findings]
