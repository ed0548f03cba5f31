# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model hub is asked whether it accepts the token, before there is a cluster; the token shows nowhere."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
GOOD, BAD = "hf_canary0good", "hf_canary0bad"


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the hub does: 401 for a token that it does not know."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        known = self.headers.get("Authorization") == f"Bearer {GOOD}"
        body = json.dumps({"name": "someone"} if known else {"error": "Invalid username or password."}).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Hub,), {"asked": asked}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def judge(folder: Path, endpoint: str, token: str) -> subprocess.CompletedProcess[str]:
    tool = str(Path(sys.executable).parent / "ansible-playbook")
    given = {"preflight_parts": ["account"], "preflight_hub": True, "wide_ep_artifacts_dir": str(folder)}
    command = [tool, "playbooks/preflight.yml", "-i", "inventories/local", "--diff", "-vvv", "-e", json.dumps(given)]
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_TOKEN": token, "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=180)
    assert not token or token not in done.stdout + done.stderr
    return done


def test_a_token_that_the_hub_accepts(tmp_path: Path, hub: tuple[str, list[str]]) -> None:
    endpoint, asked = hub
    assert judge(tmp_path, endpoint, GOOD).returncode == 0
    assert asked == ["/api/whoami-v2"]


def test_a_token_that_the_hub_refuses(tmp_path: Path, hub: tuple[str, list[str]]) -> None:
    endpoint, _asked = hub
    done = judge(tmp_path, endpoint, BAD)
    assert done.returncode != 0
    assert f"ERROR PREFETCH_TOKEN: {endpoint} does not accept the token (HTTP 401)" in done.stdout


@pytest.mark.parametrize("token", [GOOD, ""], ids=["out of reach", "no token"])
def test_what_cannot_be_asked_stops_nothing(tmp_path: Path, token: str) -> None:
    """The nodes may reach a hub that this machine does not, and the Secret may hold the token."""
    assert judge(tmp_path, "http://127.0.0.1:1", token).returncode == 0
