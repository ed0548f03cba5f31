# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster dressed as GKE: Warden, networks and their conditions, access tokens, nodes that come with their pools."""

from __future__ import annotations

import base64
import copy
import json
import re
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml
from gke_standin.bridge import Bridge
from gke_standin.cloud import Cloud
from gke_standin.identity import Cluster
from rehearsal import ROOT, Rehearsal
from watching import Json, condition, ready_nodes, until

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client, load_client

INVENTORY = "inventories/gke"
POOL_LABEL = "cloud.google.com/gke-nodepool"
NETWORKING = "/apis/networking.gke.io/v1"
NAMESPACE = "networks"
RDMA = [f"rdma-{index}" for index in range(8)]
OVERLAY = yaml.safe_load((ROOT / "roles/model_server/files/layers/overlay_gke.yml").read_text())["common"]
CLOUD: Json = {
    "pools": [{"name": "cpu", "kind": "cpu", "count": 1}, {"name": "gpu", "kind": "gpu", "count": 2}],
    "subnetworks": {"sub-0": "net-0", "sub-1": "net-1", **{f"sub-{name}": "rdma" for name in RDMA}},
    "cluster_network": "net-0",
}


@pytest.fixture(scope="module")
def client(rehearsal: Rehearsal) -> Client:
    return load_client(str(rehearsal.folder / "platform.kubeconfig"))


@pytest.fixture(scope="module")
def bridge(rehearsal: Rehearsal) -> Iterator[Bridge]:
    made = Bridge(Cloud(), rehearsal.kubeconfig)
    made.forget()
    yield made
    made.forget()


@pytest.fixture(scope="module", autouse=True)
def namespace(client: Client) -> None:
    head = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    client.apply(f"/api/v1/namespaces/{NAMESPACE}", head)


# Access


def get(rehearsal: Rehearsal, token: str, path: str = "/api/v1/nodes", verb: str = "GET") -> int:
    """A call at the address alone, as Google names its endpoints."""
    cluster = Cluster.load(rehearsal.kubeconfig)
    authority = rehearsal.cloud_folder / "ca.crt"
    authority.parent.mkdir(exist_ok=True)
    authority.write_bytes(base64.b64decode(cluster.authority))
    header = {"Authorization": f"Bearer {token}"}
    url = f"https://{cluster.address}{path}"
    return requests.request(verb, url, headers=header, verify=str(authority), timeout=10).status_code


def test_a_token_of_the_cloud_is_one_of_the_cluster(rehearsal: Rehearsal) -> None:
    cluster = Cluster.load(rehearsal.kubeconfig)
    token = cluster.token("someone@example.com", 60)
    until(lambda: get(rehearsal, token) == 200, "the API server to know the issuer", 30)
    assert get(rehearsal, token, f"{NETWORKING}/networks") == 200
    # The documented roles, and no administrator.
    assert get(rehearsal, token, "/api/v1/nodes/none", "DELETE") == 403
    assert get(rehearsal, token, "/api/v1/persistentvolumes") == 403


def test_an_ended_token_is_refused(rehearsal: Rehearsal) -> None:
    """The API server keeps what it knows of a token for 10 s at most."""
    token = Cluster.load(rehearsal.kubeconfig).token("someone@example.com", 3)
    assert get(rehearsal, token) == 200
    began = time.monotonic()
    until(lambda: get(rehearsal, token) == 401, "the token to end", 20)
    assert time.monotonic() - began > 2


def test_a_token_of_someone_else_is_refused(rehearsal: Rehearsal) -> None:
    cluster = Cluster.load(rehearsal.kubeconfig)
    other = yaml.safe_load((rehearsal.folder / "deployer.kubeconfig").read_text())["users"][0]["user"]
    key = base64.b64decode(other["client-key-data"]).decode()
    assert get(rehearsal, cluster._replace(key=key).token("someone@example.com", 60)) == 401


# Nodes


def test_nodes_come_and_go_with_their_pools(rehearsal: Rehearsal, bridge: Bridge, client: Client) -> None:
    bridge.tell({**CLOUD, "pools": []})
    until(lambda: not client.list("/api/v1/nodes"), "all nodes to be gone")
    labels = {"team": "a", "cloud.google.com/gke-gpu-driver-version": "latest"}
    pools = [{"name": "a3", "kind": "gpu", "count": 2, "labels": labels, "taints": []}]
    bridge.tell({**CLOUD, "pools": pools})
    nodes = until(lambda: ready_nodes(client, POOL_LABEL, "a3")[1:], "two nodes of the pool")
    assert len(client.list("/api/v1/nodes")) == 2
    node = client.get(f"/api/v1/nodes/{nodes[0]}")
    assert labels.items() <= node["metadata"]["labels"].items()
    until(
        lambda: client.get(f"/api/v1/nodes/{nodes[0]}")["status"]["allocatable"].get("nvidia.com/gpu") == "8",
        "the node to announce its GPUs",
    )


# Networks


def make(client: Client, name: str, subnet: str, mode: str = "RDMA", vpc: str = "") -> None:
    spec = {"vpc": vpc or CLOUD["subnetworks"].get(subnet, "net-1"), "vpcSubnet": subnet, "deviceMode": mode}
    for kind, plural, body in (
        ("GKENetworkParamSet", "gkenetworkparamsets", spec),
        ("Network", "networks", {"type": "Device", "parametersRef": reference(name)}),
    ):
        head = {"apiVersion": "networking.gke.io/v1", "kind": kind, "metadata": {"name": name}}
        client.apply(f"{NETWORKING}/{plural}/{name}", {**head, "spec": body})


def reference(name: str) -> Json:
    return {"group": "networking.gke.io", "kind": "GKENetworkParamSet", "name": name}


def remove(client: Client, name: str) -> None:
    for plural in ("networks", "gkenetworkparamsets"):
        client.delete(f"{NETWORKING}/{plural}/{name}")


def network(client: Client, name: str, kind: str = "Ready") -> tuple[str, str]:
    return condition(client.get(f"{NETWORKING}/networks/{name}"), kind)


@pytest.mark.parametrize(
    ("subnet", "vpc", "reason"),
    [
        ("sub-1", "", "GNPReady"),
        ("sub-1", "missing", "VPCNotFound"),
        ("missing", "net-1", "SubnetNotFound"),
        ("sub-0", "", "DeviceModeCantUseDefaultVPC"),
    ],
)
def test_a_network_is_ready_when_its_parameters_are(
    bridge: Bridge, client: Client, subnet: str, vpc: str, reason: str
) -> None:
    bridge.tell(CLOUD)
    make(client, "trial", subnet, "NetDevice", vpc)
    path = f"{NETWORKING}/gkenetworkparamsets/trial"
    until(lambda: condition(client.get(path), "Ready")[1] == reason, reason, 20)
    good = reason == "GNPReady"
    wanted = ("True", "GNPParamsReady") if good else ("False", "GNPParamsNotReady")
    until(lambda: network(client, "trial") == wanted == network(client, "trial", "ParamsReady"), "the Network", 20)
    # The parameters stay while the Network refers to them.
    client.delete(path)
    until(lambda: network(client, "trial")[1] == "GNPDeleted", "the Network to notice", 20)
    assert client.get(path)["metadata"]["deletionTimestamp"]
    client.delete(f"{NETWORKING}/networks/trial")
    until(lambda: client.get_or_none(path) is None, "the parameters to go", 20)


@pytest.fixture(scope="module")
def rails(client: Client, bridge: Bridge) -> Iterator[None]:
    bridge.tell(CLOUD)
    for name in RDMA:
        make(client, name, f"sub-{name}")
    until(lambda: all(network(client, name)[0] == "True" for name in RDMA), "eight networks", 30)
    until(lambda: ready_nodes(client, POOL_LABEL, "gpu")[1:], "the GPU nodes")
    yield
    for name in RDMA:
        remove(client, name)


# Warden


def pod(name: str, *, zeros: bool) -> Json:
    """The guide's pod, as small as a pause."""
    resources = copy.deepcopy(OVERLAY["container"]["resources"]) if zeros else {"limits": {}, "requests": {}}
    resources["limits"]["nvidia.com/gpu"] = "1"
    container = {"name": "vllm", "image": "registry.k8s.io/pause:3.10", "resources": resources}
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": OVERLAY["pod"]["metadata"]["annotations"]},
        "spec": {"containers": [container], "tolerations": tolerations, "terminationGracePeriodSeconds": 0},
    }


PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


def test_pods_with_zeroed_names_run_and_others_stay_pending(client: Client, rails: None) -> None:
    """Without the zeros the scheduler says which name no node has (llm-d issue 1730); the CPU node has neither."""
    try:
        client.create(PODS, pod("without", zeros=False))
        until(lambda: condition(client.get(f"{PODS}/without"), "PodScheduled")[1] == "Unschedulable", "no place for it")
        lacking = shortages(client.get(f"{PODS}/without"))
        assert {name: lacking[f"networking.gke.io.networks/rdma-7{name}"] for name in ("", ".IP")} == {"": 3, ".IP": 1}
        client.create(PODS, pod("with", zeros=True))
        until(lambda: client.get(f"{PODS}/with")["status"].get("phase") == "Running", "the pod with zeros")
        assert client.get(f"{PODS}/without")["status"]["phase"] == "Pending"
        requests_of = client.get(f"{PODS}/with")["spec"]["containers"][0]["resources"]["requests"]
        for name in RDMA:
            assert requests_of[f"networking.gke.io.networks/{name}"] == "0"
            assert requests_of[f"networking.gke.io.networks/{name}.IP"] == "1"
        until(lambda: in_use(client, "rdma-7") == "true", "the Network to be marked as used", 20)
    finally:
        for name in ("with", "without"):
            client.delete(f"{PODS}/{name}")
    until(lambda: in_use(client, "rdma-7") is None, "the mark to go", 30)


def shortages(found: Json) -> dict[str, int]:
    """Resource -> on how many nodes there is too little of it, as the scheduler says."""
    message = next(item["message"] for item in found["status"]["conditions"] if item["type"] == "PodScheduled")
    return {name: int(count) for count, name in re.findall(r"(\d+) Insufficient ([\w./-]*\w)", message)}


def in_use(client: Client, name: str) -> str | None:
    annotations = client.get(f"{NETWORKING}/networks/{name}")["metadata"].get("annotations", {})
    return t.cast("str | None", annotations.get("networking.gke.io/in-use"))


def test_a_pod_needs_its_networks(client: Client) -> None:
    wanted = pod("early", zeros=True)
    wanted["metadata"]["annotations"] = {"networking.gke.io/interfaces": json.dumps([{"network": "nowhere"}])}
    with pytest.raises(ApiError, match="'nowhere' that the pod asks for does not exist"):
        client.create(PODS, wanted)


def test_the_default_network_is_there(client: Client) -> None:
    assert network(client, "default") == ("True", "GNPParamsReady")


def test_what_was_written_of_tokens(rehearsal: Rehearsal) -> None:
    """The key that signs is the user's alone."""
    modes = {path.name: path.stat().st_mode & 0o777 for path in Path(rehearsal.folder).glob("*.kubeconfig")}
    assert set(modes.values()) == {0o600}
    assert "cloud.kubeconfig" in modes
