# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where tokens come from, what happens when they end, and that they go nowhere else."""

from __future__ import annotations

import json
import pathlib
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from _harness import NETWORK, TOKEN, Bench
from gke_standin.server import Fault

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_auth


def service_account(site: Bench) -> pathlib.Path:
    """A key file whose tokens come from the stand-in."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    content = {
        "type": "service_account",
        "project_id": "demo",
        "private_key_id": "1",
        "private_key": pem,
        "client_email": "runner@demo.iam.gserviceaccount.com",
        "token_uri": f"{site.stand_in.url}/token",
    }
    path = site.folder / "key.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def with_key(site: Bench) -> dict[str, object]:
    return {**NETWORK, "credentials_file": str(service_account(site)), "access_token_file": None}


def test_tokens_that_expire_all_the_time(site: Bench) -> None:
    """Each is valid for half a second; the run takes longer and does not notice."""
    site.stand_in.token_seconds = 0.5
    site.stand_in.tokens.clear()
    assert site.good("gke_network", with_key(site))["changed"]
    assert site.stand_in.tokens_issued > 1
    issued = list(site.stand_in.tokens)
    assert not any(token in text for token in issued for text in (*site.results, site.lines()))


def test_token_revoked_while_an_operation_runs(site: Bench) -> None:
    """A 401 in between: the file is read again, where another program has put a new token."""

    def rotate() -> None:
        site.stand_in.tokens = {"ya29.second": float("inf")}
        site.token_file.write_text("ya29.second", encoding="utf-8")

    site.stand_in.faults = [Fault("compute.globalOperations.get", hook=rotate)]
    assert site.good("gke_network", NETWORK)["changed"]
    assert [request.status for request in site.stand_in.requests].count(401) == 1


def test_token_file_is_read_again_before_anyone_complains(site: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def rotate() -> None:
        site.stand_in.tokens["ya29.second"] = float("inf")
        site.token_file.write_text("ya29.second", encoding="utf-8")

    def end_first() -> None:
        site.stand_in.tokens.pop(TOKEN)

    monkeypatch.setattr(_gke_auth, "FILE_TOKEN_SECONDS", 0.01)
    site.stand_in.faults = [
        Fault("compute.globalOperations.get", hook=rotate),
        Fault("compute.globalOperations.get", hook=end_first, skip=6),
    ]
    site.good("gke_network", NETWORK)
    assert 401 not in [request.status for request in site.stand_in.requests]


def test_token_expired_for_good(site: Bench) -> None:
    """The findings say what to do; the run after the login takes up what was begun."""
    site.stand_in.faults = [Fault("compute.globalOperations.get", hook=site.stand_in.tokens.clear)]
    result = site.bad("gke_network", NETWORK, "GCP_CREDENTIALS")
    assert result["operations"]
    site.stand_in.tokens[TOKEN] = float("inf")
    site.good("gke_network", NETWORK)
    assert len(site.created()) == len(set(site.created()))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"access_token_file": "/nowhere/token"}, "/nowhere/token"),
        ({"access_token_file": None, "credentials_file": "/nowhere/key.json"}, "/nowhere/key.json"),
        ({"access_token_file": None}, "application default credentials"),
    ],
)
def test_no_credentials(site: Bench, monkeypatch: pytest.MonkeyPatch, given: dict[str, object], text: str) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
    monkeypatch.setenv("HOME", str(site.folder))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(site.folder))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    result = site.bad("gke_network", {**NETWORK, **given}, "GCP_CREDENTIALS")
    assert text in result["findings"][0]["evidence"]
    assert site.stand_in.requests == []


@pytest.mark.parametrize("content", ["{}", '{"type": "external_account"}', "[]", "no JSON"])
def test_file_of_another_kind(site: Bench, content: str) -> None:
    """One that names a program or an address to get tokens from is not taken from an option."""
    path = site.folder / "other.json"
    path.write_text(content, encoding="utf-8")
    result = site.bad(
        "gke_network", {**NETWORK, "access_token_file": None, "credentials_file": str(path)}, "GCP_CREDENTIALS"
    )
    assert "other.json" in result["findings"][0]["evidence"]


def test_two_kinds_of_credentials(site: Bench) -> None:
    site.bad("gke_network", {**NETWORK, "credentials_file": "/nowhere/key.json"}, "INPUT_COMBINATION")


def test_empty_token_file(site: Bench) -> None:
    site.token_file.write_text("\n", encoding="utf-8")
    assert "is empty" in site.bad("gke_network", NETWORK, "GCP_CREDENTIALS")["findings"][0]["evidence"]


@pytest.mark.parametrize("endpoint", ["http://example.com", "ftp://127.0.0.1", "https://example.com/path"])
def test_no_token_in_clear_text(site: Bench, endpoint: str) -> None:
    result = site.bad("gke_network", {**NETWORK, "api_endpoint": endpoint}, "INPUT_TYPE")
    assert endpoint in result["findings"][0]["evidence"]
    assert site.stand_in.requests == []


def test_nobody_listens(site: Bench) -> None:
    given = {**NETWORK, "api_endpoint": "http://127.0.0.1:9", "retry_for": 0.2}
    result = site.bad("gke_network", given, "GCP_UNREACHABLE")
    assert "127.0.0.1:9" in result["findings"][0]["subject"]


def test_netrc_does_not_replace_the_token(site: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = site.folder / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert site.good("gke_network_info", {"region": "europe-west1"})["objects"] == []


def test_progress_file_is_private(site: Bench) -> None:
    site.good("gke_network", NETWORK)
    assert site.progress_file.stat().st_mode & 0o777 == 0o600
    assert "create network wide-ep-net-0" in site.lines()
