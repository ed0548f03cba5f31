# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in as a program: its folder, its token service, faults by name, and what it tells of itself."""

from __future__ import annotations

import contextlib
import json
import pathlib
import signal
import subprocess
import sys
import time
import typing as t
import urllib.error
import urllib.request
from collections.abc import Iterator

import google.auth.exceptions
import google.auth.transport.requests
import google.oauth2.service_account
import kubernetes
import pytest
import requests
import urllib3.exceptions

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from _harness import Json
from gke_standin import faults, identity
from gke_standin.bridge import Bridge, balancers, snapshot
from gke_standin.cloud import COMPUTE_BASE, Cloud

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
NETWORKS = "/compute/v1/projects/demo/global/networks"
VPC = {"name": "a", "autoCreateSubnetworks": False}


@contextlib.contextmanager
def program(folder: pathlib.Path, *options: str) -> Iterator[str]:
    command = [sys.executable, str(HERE / "gke_standin"), "--state", str(folder), "--seconds", "0.1", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0


def session(folder: pathlib.Path) -> google.auth.transport.requests.AuthorizedSession:
    path = str(folder / "key.json")
    credentials = google.oauth2.service_account.Credentials.from_service_account_file(path, scopes=[SCOPE])
    return google.auth.transport.requests.AuthorizedSession(credentials)


def control(url: str, what: str, body: t.Any = None) -> Json:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(f"{url}/rehearsal/{what}", data, timeout=10) as answer:
        result: Json = json.loads(answer.read())
        return result


def make_network(opened: t.Any, url: str) -> Json:
    answer = opened.post(url + NETWORKS, json=VPC)
    assert answer.status_code == 200, answer.text
    operation: Json = answer.json()
    path = operation["selfLink"].partition("googleapis.com")[2]
    while operation["status"] != "DONE":
        time.sleep(0.05)
        operation = opened.get(url + path).json()
    return operation


def test_the_account_signs_in_and_its_tokens_end(tmp_path: pathlib.Path) -> None:
    """Two tokens: google-auth takes a new one as the first is close to its end."""
    with program(tmp_path, "--token-seconds", "60") as url:
        opened = session(tmp_path)
        assert [opened.get(url + NETWORKS).status_code for _turn in range(2)] == [200, 200]
        assert control(url, "state")["tokens_issued"] == 2
        assert requests.get(url + NETWORKS, timeout=10).status_code == 401
    assert (tmp_path / "key.json").stat().st_mode & 0o777 == 0o600


def test_an_ended_token_is_refused(tmp_path: pathlib.Path) -> None:
    with program(tmp_path, "--token-seconds", "0.3") as url:
        opened = session(tmp_path)
        opened.get(url + NETWORKS)
        header = {"Authorization": f"Bearer {opened.credentials.token}"}
        assert requests.get(url + NETWORKS, headers=header, timeout=10).status_code == 200
        time.sleep(0.4)
        assert requests.get(url + NETWORKS, headers=header, timeout=10).status_code == 401


@pytest.mark.parametrize("change", [{"client_email": "someone@else"}, {"private_key": None}])
def test_another_account_gets_no_token(tmp_path: pathlib.Path, change: Json) -> None:
    with program(tmp_path) as url:
        path = tmp_path / "key.json"
        content = json.loads(path.read_text())
        if "private_key" in change:
            identity.Account("demo", content["token_uri"]).write(tmp_path / "other.json")
            change = {"private_key": json.loads((tmp_path / "other.json").read_text())["private_key"]}
        path.write_text(json.dumps({**content, **change}))
        with pytest.raises(google.auth.exceptions.RefreshError, match="invalid_grant"):
            session(tmp_path).get(url + NETWORKS)


def test_the_state_outlives_the_program(tmp_path: pathlib.Path) -> None:
    with program(tmp_path) as url:
        make_network(session(tmp_path), url)
        seen = len(control(url, "state")["requests"])
    with program(tmp_path) as url:
        assert session(tmp_path).get(f"{url}{NETWORKS}/a").status_code == 200
        assert control(url, "state")["created"] == ["projects/demo/global/networks/a"]
    calls = [json.loads(line) for line in (tmp_path / "requests.jsonl").read_text().splitlines()]
    assert calls[0]["method"] == "compute.networks.insert"
    assert len(calls) == seen + 1
    assert "ya29" not in (tmp_path / "requests.jsonl").read_text()


def test_faults_from_the_command_line_and_from_outside(tmp_path: pathlib.Path) -> None:
    with program(tmp_path, "--fault", "compute.networks.list=429:2") as url:
        opened = session(tmp_path)
        plain = {"Authorization": f"Bearer {opened.credentials.token}"}
        opened.get(f"{url}{NETWORKS}/none")
        plain["Authorization"] = f"Bearer {opened.credentials.token}"
        codes = [requests.get(url + NETWORKS, headers=plain, timeout=10).status_code for _turn in range(3)]
        assert codes == [429, 429, 200]
        assert control(url, "faults", ["compute.*=503:1:1"]) == {"faults": 1}
        codes = [requests.get(url + NETWORKS, headers=plain, timeout=10).status_code for _turn in range(3)]
        assert codes == [200, 503, 200]
        control(url, "faults", ["compute.networks.list=drop-before"])
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(url + NETWORKS, headers=plain, timeout=10)


def test_a_fault_that_does_not_exist_is_told() -> None:
    command = [sys.executable, str(HERE / "gke_standin"), "--fault", "compute.networks.list=418"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "METHOD=KIND[:TIMES[:SKIP]]" in done.stderr
    assert "stockout" in done.stderr


@pytest.mark.parametrize("kind", faults.KINDS)
def test_every_kind_of_fault_does_something(kind: str) -> None:
    fault = faults.parse(f"compute.networks.*={kind}:3:1")
    assert (fault.times, fault.skip) == (3, 1)
    assert fault.refuse or fault.drop or fault.operation or fault.stuck


# The cluster behind it


def cloud_with_cluster() -> Cloud:
    cloud = Cloud()
    project, family = "projects/demo", "projects/demo/locations/europe-west1/clusters/c"
    group = f"{project}/zones/europe-west1-b/instanceGroupManagers/gke-gpu-b"
    cloud.objects |= {
        family: {"name": "c", "location": "europe-west1", "network": "net-0"},
        f"{project}/regions/europe-west1/subnetworks/s": {"name": "s", "network": f"{COMPUTE_BASE}x/networks/net-0"},
        group: {"targetSize": 4},
        f"{family}/nodePools/gpu": {
            "name": "gpu",
            "status": "PROVISIONING",
            "instanceGroupUrls": [COMPUTE_BASE + group],
            "config": {
                "labels": {"team": "a"},
                "taints": [{"key": "k", "value": "v", "effect": "NO_SCHEDULE"}],
                "accelerators": [{"gpuDriverInstallationConfig": {"gpuDriverVersion": "LATEST"}}],
            },
        },
    }
    return cloud


def test_a_pool_has_nodes_once_it_runs() -> None:
    cloud = cloud_with_cluster()
    assert snapshot(cloud) == {"pools": [], "subnetworks": {"s": "net-0"}, "cluster_network": "net-0"}
    pool = next(body for path, body in cloud.objects.items() if path.endswith("nodePools/gpu"))
    pool["status"] = "RUNNING"
    wanted = {
        "name": "gpu",
        "kind": "gpu",
        "count": 4,
        "labels": {"team": "a", "cloud.google.com/gke-gpu-driver-version": "latest"},
        "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}],
    }
    assert snapshot(cloud)["pools"] == [wanted]
    pool["status"] = "STOPPING"
    assert snapshot(cloud)["pools"] == []


class Named:
    """An object of the Kubernetes client, as far as it is read."""

    def __init__(self, **fields: t.Any) -> None:
        self.__dict__.update(fields)


def test_a_load_balancer_is_a_rule_and_a_firewall() -> None:
    services = [
        Named(metadata=Named(uid=uid, namespace="n", name="s"), spec=Named(type=kind))
        for uid, kind in (("0000-1111", "LoadBalancer"), ("0000-2222", "ClusterIP"))
    ]
    made = balancers(cloud_with_cluster(), services)
    assert sorted(path.rpartition("/")[2] for path in made) == ["a00001111", "k8s-fw-a00001111"]
    assert balancers(Cloud(), services) == {}


class Core:
    """An API server that is away at times."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.states: list[Json] = []

    def patch_namespaced_config_map(self, _name: str, _namespace: str, body: Json, **_more: t.Any) -> None:
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer
        self.states.append(json.loads(body["data"]["state"]))

    def create_namespaced_config_map(self, _namespace: str, body: Json, **_more: t.Any) -> None:
        self.states.append(json.loads(body["data"]["state"]))


def bridged(core: Core) -> Bridge:
    made = Bridge.__new__(Bridge)
    made.cloud, made.told, made.made, made.core = cloud_with_cluster(), None, set(), core
    return made


def test_a_cluster_that_is_away_is_told_later() -> None:
    core = Core(kubernetes.client.ApiException(503), urllib3.exceptions.ProtocolError("reset"), None)
    bridge = bridged(core)
    for told in (0, 0, 1, 1):
        bridge.update()
        assert len(core.states) == told


def test_a_cluster_that_was_told_nothing_is_told_all() -> None:
    core = Core(kubernetes.client.ApiException(404))
    bridged(core).update()
    assert core.states == [{"pools": [], "subnetworks": {"s": "net-0"}, "cluster_network": "net-0"}]
