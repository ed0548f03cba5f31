# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The credential of the kubeconfig, and the check in the model servers' image, as programs."""

from __future__ import annotations

import datetime
import http.server
import json
import pathlib
import subprocess
import sys
import threading
import typing as t
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ..._collection import ROOT

FILES = ROOT / "roles" / "node_pools" / "files"
TOKEN = "ya29.canary-0123456789-canary"


def run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "NO_GCE_CHECK": "true", **environment}
    command = [sys.executable, str(FILES / program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=clean, timeout=60, check=False)


def credential(done: subprocess.CompletedProcess[str]) -> tuple[str, float]:
    """The token, and how many seconds it is said to be good for."""
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["apiVersion"], answer["kind"]) == ("client.authentication.k8s.io/v1", "ExecCredential")
    expiry = datetime.datetime.fromisoformat(answer["status"]["expirationTimestamp"])
    return answer["status"]["token"], (expiry - datetime.datetime.now(datetime.UTC)).total_seconds()


class TokenService(http.server.BaseHTTPRequestHandler):
    """Answers like Google's, with tokens of a minute."""

    requests: t.ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self.requests.append(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"access_token": TOKEN, "expires_in": 60, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: t.Any) -> None:
        """Nothing."""


@pytest.fixture
def key_file(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), TokenService)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    content = {
        "type": "service_account",
        "project_id": "demo",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "someone@demo.iam.gserviceaccount.com",
        "token_uri": f"http://127.0.0.1:{server.server_port}/token",
    }
    path = tmp_path / "key.json"
    path.write_text(json.dumps(content))
    yield path
    server.shutdown()
    server.server_close()


def test_token_from_a_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    token, seconds = credential(run("gke_credential.py", "--access-token-file", str(tmp_path / "token")))
    assert token == TOKEN
    # The Python client asks again from five minutes before the end on.
    assert 300 < seconds < 360


def test_token_of_a_service_account(key_file: pathlib.Path) -> None:
    token, seconds = credential(run("gke_credential.py", "--credentials-file", str(key_file)))
    assert token == TOKEN
    assert 30 < seconds <= 60
    again = run("gke_credential.py", GOOGLE_APPLICATION_CREDENTIALS=str(key_file))
    assert credential(again)[0] == TOKEN


def test_a_token_is_kept_until_it_ends(key_file: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """By its owner alone. One that is about to end, or a file that is broken, is replaced."""
    cache = tmp_path / "cache"
    options = ("--credentials-file", str(key_file), "--cache", str(cache))
    asked = len(TokenService.requests)
    for _time in range(2):
        assert credential(run("gke_credential.py", *options))[0] == TOKEN
    assert len(TokenService.requests) == asked + 1
    assert cache.stat().st_mode & 0o777 == 0o600
    kept = json.loads(cache.read_text())
    ending, others = {**kept, "expiry": kept["expiry"] - 52}, {**kept, "source": "someone-else.json"}
    for content in (json.dumps(ending), json.dumps(others), "broken", json.dumps({"expiry": 1})):
        cache.write_text(content)
        asked = len(TokenService.requests)
        assert credential(run("gke_credential.py", *options))[0] == TOKEN
        assert len(TokenService.requests) == asked + 1
    assert {path.name for path in tmp_path.iterdir()} == {"key.json", "cache"}


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (None, "No such file"),
        ("", "Expecting value"),
        ("[]", "type is None"),
        ('{"type": "external_account"}', "external"),
    ],
)
def test_what_is_no_credential(tmp_path: pathlib.Path, content: str | None, seen: str) -> None:
    """One line that says why, no traceback."""
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    done = run("gke_credential.py", "--credentials-file", str(path))
    assert (done.returncode, done.stdout) == (1, "")
    assert seen in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_empty_token_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "token").touch()
    done = run("gke_credential.py", "--access-token-file", str(tmp_path / "token"))
    assert done.returncode == 1
    assert "is empty" in done.stderr


def test_the_kubernetes_client_runs_it(tmp_path: pathlib.Path) -> None:
    """As the kubeconfig has it: the official client gets the token by it."""
    from kubernetes import client, config  # noqa: PLC0415

    from ansible_collections.llmd.wide_ep.plugins.plugin_utils._node_pools_gke import kubeconfig  # noqa: PLC0415

    (tmp_path / "token").write_text(TOKEN)
    program = [sys.executable, str(FILES / "gke_credential.py"), "--access-token-file", str(tmp_path / "token")]
    made = kubeconfig("wide-ep", "127.0.0.1", "", program, {})
    del made["clusters"][0]["cluster"]["certificate-authority-data"]
    configuration = client.Configuration()
    config.load_kube_config_from_dict(made, client_configuration=configuration)
    assert configuration.auth_settings()["BearerToken"]["value"] == f"Bearer {TOKEN}"
    (tmp_path / "token").write_text(TOKEN[::-1])
    config.load_kube_config_from_dict(made, client_configuration=configuration)
    assert configuration.auth_settings()["BearerToken"]["value"] == f"Bearer {TOKEN[::-1]}"


def test_cuda_check_without_a_gpu() -> None:
    """It says what is missing as one line of JSON, and fails."""
    done = run("cuda_check.py", CUDA_VERSION="13.0.2")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert "libcuda.so.1" in report["error"]
    assert report["image_cuda"] == "13.0.2"
