# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client program as its pod runs it, against the real simulator and the real routing sidecar, without a cluster."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import typing as t
import urllib.request
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_observation import (
    Endpoint,
    Expectation,
    Observation,
    TierExpectation,
    pod_state,
    read_report,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_proof import Verdict, judge

ROOT = Path(__file__).parents[3]
CACHE = Path(
    os.environ.get("LLMD_WIDE_EP_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmd-wide-ep"
)
MANIFEST = CACHE / "manifests" / "full.json"
MODEL = "deepseek-ai/DeepSeek-R1-0528"
PREFILL = ("prefill-0", "prefill-0-1")
DECODE = ("decode-0", "decode-0-1")

pytestmark = pytest.mark.skipif(not MANIFEST.exists(), reason="`make binaries` has not been run")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Deployment:
    """Two prefill and two decode servers, a sidecar before each of the latter, and a router that takes turns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = json.loads(MANIFEST.read_text(encoding="utf-8"))["programs"]
        self.ports = {name: free_port() for name in (*PREFILL, *DECODE)}
        self.sidecars = {name: free_port() for name in DECODE}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.turn = 0
        self.disaggregates = True
        self.router = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    def start(self) -> None:
        for name, port in self.ports.items():
            arguments = ["--model", MODEL, "--port", str(port), "--force-dummy-tokenizer", "--max-model-len", "4096"]
            self._run(name, "llm-d-inference-sim", arguments, POD_NAME=name, POD_NAMESPACE="n")
        for name, port in self.sidecars.items():
            arguments = [f"--port={port}", f"--vllm-port={self.ports[name]}", "--kv-connector=nixlv2"]
            self._run(f"sidecar of {name}", "pd-sidecar", [*arguments, "--secure-proxy=false"])
        for port in (*self.ports.values(), *self.sidecars.values()):
            wait_until_it_serves(port)
        threading.Thread(target=self.router.serve_forever, args=(0.01,), daemon=True).start()

    def _run(self, name: str, program: str, arguments: list[str], **environment: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            command = [self.programs[program]["path"], *arguments]
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})

    def stop(self) -> None:
        self.router.shutdown()
        self.router.server_close()
        for process in self.processes.values():
            process.kill()
            process.wait()

    def headers(self) -> tuple[int, dict[str, str]]:
        """What an endpoint picker decides: the decode pod, and the prefill pod in a header."""
        self.turn += 1
        decode, prefill = DECODE[self.turn % 2], PREFILL[self.turn // 2 % 2]
        chosen = {"x-prefiller-host-port": f"127.0.0.1:{self.ports[prefill]}"} if self.disaggregates else {}
        return self.sidecars[decode], {"Content-Type": "application/json", **chosen}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        deployment = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._forward("GET", None)

            def do_POST(self) -> None:
                self._forward("POST", self.rfile.read(int(self.headers["Content-Length"])))

            def _forward(self, method: str, body: bytes | None) -> None:
                port, headers = deployment.headers()
                connection = HTTPConnection("127.0.0.1", port, timeout=20)
                connection.request(method, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                self.send_response(answer.status)
                self.end_headers()
                self.wfile.write(content)

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


@pytest.fixture
def deployment(tmp_path: Path) -> t.Iterator[Deployment]:
    made = Deployment(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def prove(deployment: Deployment, folder: Path, model: str = MODEL) -> Verdict:
    """What the pod does, then what the judge makes of it."""
    shutil.copy(ROOT / "roles/verify/files/client.py", folder / "client.py")
    shutil.copy(ROOT / "plugins/module_utils/_prometheus_text.py", folder / "prometheus_text.py")
    targets = [
        {"pod": name, "role": name.split("-")[0], "ip": "127.0.0.1", "ports": [port]}
        | ({"sidecar_ports": [deployment.sidecars[name]]} if name in DECODE else {})
        for name, port in deployment.ports.items()
    ]
    url = f"http://127.0.0.1:{deployment.router.server_address[1]}"
    told = {
        "model": model,
        "url": url,
        "nonce": "n",
        "targets": targets,
        "requests": 16,
        "max_requests": 32,
        "concurrency": 4,
        "max_tokens": 8,
        "long_prompt_words": 600,
        "request_timeout": 20,
        "scrape_timeout": 2,
        "ready_timeout": 2,
        "ready_interval": 0.1,
        "settle_timeout": 1,
        "settle_interval": 0.05,
    }
    (folder / "input.json").write_text(json.dumps(told), encoding="utf-8")
    command = [sys.executable, str(folder / "client.py"), str(folder / "input.json")]
    log = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    pods = tuple(
        pod_state(
            {
                "metadata": {"name": name, "labels": {"llm-d.ai/role": name.split("-")[0]}},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]},
            }
        )
        for name in deployment.ports
    )
    tiers = (TierExpectation("prefill", "p", PREFILL), TierExpectation("decode", "d", DECODE))
    expected = Expectation("n", model, tiers, {}, "deployment/x")
    return judge(expected, Observation(Endpoint("x", url, 1, ""), {}, pods, pods, read_report(log)))


def codes(verdict: Verdict) -> list[str]:
    return [finding.code for finding in verdict.findings]


def test_disaggregated(deployment: Deployment, tmp_path: Path) -> None:
    verdict = prove(deployment, tmp_path)
    assert codes(verdict) == []
    assert verdict.passed
    assert (verdict.answered, verdict.prefilled_remotely) == (verdict.asked, verdict.asked)
    assert {row.role: sum(r.requests for r in verdict.rows if r.role == row.role) for row in verdict.rows} == {
        "prefill": verdict.asked,
        "decode": verdict.asked,
    }


def test_decode_only(deployment: Deployment, tmp_path: Path) -> None:
    deployment.disaggregates = False
    verdict = prove(deployment, tmp_path)
    assert codes(verdict) == ["PREFILL_UNUSED"]
    assert (verdict.answered, verdict.prefilled_remotely) == (16, 0)


def test_wrong_model_name(deployment: Deployment, tmp_path: Path) -> None:
    assert codes(prove(deployment, tmp_path, model="other/model")) == ["WRONG_MODEL_NAME"]


def test_server_down_behind_its_sidecar(deployment: Deployment, tmp_path: Path) -> None:
    deployment.processes["decode-0"].kill()
    deployment.processes["decode-0"].wait()
    verdict = prove(deployment, tmp_path)
    assert codes(verdict) == ["VLLM_DOWN"]
    assert "decode-0" in verdict.findings[0].subject


def test_prefill_server_down(deployment: Deployment, tmp_path: Path) -> None:
    deployment.processes["prefill-0"].kill()
    deployment.processes["prefill-0"].wait()
    assert codes(prove(deployment, tmp_path)) == ["PREFILL_POD_UNREACHABLE"]
