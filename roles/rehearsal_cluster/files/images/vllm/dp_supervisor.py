# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays vLLM's data-parallel supervisor (vllm/entrypoints/openai/dp_supervisor.py): one server per local rank.

As there: the supervisor's own port answers /health, /ready and /readyz with 503 until every rank is healthy; a rank's
process that ends, or a rank that was ready and stays unhealthy, takes all ranks down, and the kubelet starts the pod's
container anew. Each rank is a process of its own, so that a test can end or halt a single one.
"""

from __future__ import annotations

import http.client
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# dp_supervisor.py, CHILD_EXIT_GRACE_S
EXIT_GRACE_SECONDS = 5.0
READY_PATHS = ("/health", "/ready", "/readyz")


@dataclass(frozen=True)
class Settings:
    port: int
    # --dp-supervisor-probe-interval-s, …-timeout-s, …-failure-threshold and their defaults
    interval: float = 5.0
    timeout: float = 5.0
    threshold: int = 3


@dataclass(frozen=True)
class Rank:
    number: int
    port: int
    command: Sequence[str]
    environment: dict[str, str]


def is_healthy(port: int, timeout: float) -> bool | None:
    """What a rank says about itself; None where it says nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class Supervisor:
    def __init__(self, settings: Settings, log: Callable[[str, str], None]) -> None:
        self.settings = settings
        self.log = log
        self.ready = False
        self.ending = threading.Event()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.silent: dict[int, int] = {}
        self.reason = ""

    def serve(self) -> ThreadingHTTPServer:
        """Answer on the supervisor's port, from before the first rank starts."""
        server = ThreadingHTTPServer(("", self.settings.port), handler_of(self))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def stop(self, _signal: int, _frame: Any) -> None:
        self.ending.set()

    def run(self, ranks: Sequence[Rank]) -> int:
        """Keep the ranks until one of them or the kubelet ends it; the exit code of the container."""
        for rank in ranks:
            self.processes.append(subprocess.Popen(rank.command, env=rank.environment))
        self.log("INFO", f"ranks {[rank.number for rank in ranks]} on ports {[rank.port for rank in ranks]}")
        try:
            while not self.ending.is_set() and self.alive(ranks) and self.healthy(ranks):
                self.ending.wait(self.settings.interval if self.ready else 0.1)
        finally:
            self.ready = False
            self.end_all()
        if self.ending.is_set():
            return 0
        # Once more at the very end: the servers' own last words hide the first time from whoever reads the last lines.
        self.log("ERROR", f"all servers have ended, since {self.reason}")
        return 1

    def alive(self, ranks: Sequence[Rank]) -> bool:
        codes = {rank.port: process.poll() for rank, process in zip(ranks, self.processes, strict=True)}
        ended = [f"{port} (exit code {code})" for port, code in codes.items() if code is not None]
        if ended:
            self.give_up(f"the servers on ports {', '.join(ended)} have ended")
        return not ended

    def give_up(self, reason: str) -> None:
        self.reason = reason
        self.log("ERROR", f"{reason}; all of them end")

    def healthy(self, ranks: Sequence[Rank]) -> bool:
        """False once a rank that was ready says that it is not, or says nothing several times in a row."""
        answers = {rank.port: is_healthy(rank.port, self.settings.timeout) for rank in ranks}
        self.silent = {port: self.silent.get(port, 0) + 1 for port, answer in answers.items() if answer is None}
        if all(answers.values()):
            self.ready = True
        refused = [port for port, answer in answers.items() if answer is False]
        lost = [port for port, count in self.silent.items() if count >= self.settings.threshold]
        if self.ready and (refused or lost):
            self.give_up(f"the servers on ports {', '.join(map(str, refused or lost))} are not healthy")
            return False
        return True

    def end_all(self) -> None:
        for process in self.processes:
            process.terminate()
        deadline = time.monotonic() + EXIT_GRACE_SECONDS
        for process in self.processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()


def handler_of(supervisor: Supervisor) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path in READY_PATHS
            self.send_response(404 if not known else 200 if supervisor.ready else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


def supervise(
    settings: Settings, ranks: Sequence[Rank], join: Callable[[], None], log: Callable[[str, str], None]
) -> int:
    supervisor = Supervisor(settings, log)
    server = supervisor.serve()
    join()
    # From here on there are servers to end; until then the caller's handler ends the process.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.stop)
    try:
        return supervisor.run(ranks)
    finally:
        server.shutdown()
        server.server_close()
