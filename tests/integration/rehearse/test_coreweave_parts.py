# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster dressed as CoreWeave's: NodePools with their conditions, and the nodes that they bring."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rehearsal import Rehearsal
from watching import Json, condition, ready_nodes, until

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client, load_client

INVENTORY = "inventories/coreweave"
POOL_LABEL = "compute.coreweave.com/node-pool"
POOLS = "/apis/compute.coreweave.com/v1alpha1/nodepools"


@pytest.fixture(scope="module")
def client(rehearsal: Rehearsal) -> Iterator[Client]:
    """With the kubeconfig that the console hands out."""
    with rehearsal.cloud():
        found = load_client(str(rehearsal.cloud_folder / "coreweave.kubeconfig"))
        until(lambda: not found.list("/api/v1/nodes"), "no node before there is a pool")
        yield found


@pytest.fixture(autouse=True)
def clean(client: Client) -> Iterator[None]:
    yield
    for item in client.list(POOLS):
        client.delete(f"{POOLS}/{item['metadata']['name']}")
    until(lambda: not client.list("/api/v1/nodes"), "the nodes to go with their pools")


def pool(name: str = "gpu", **spec: object) -> Json:
    head = {"apiVersion": "compute.coreweave.com/v1alpha1", "kind": "NodePool", "metadata": {"name": name}}
    return {**head, "spec": {"instanceType": "gd-8xh200ib-i128", "targetNodes": 2, **spec}}


def reasons(client: Client, name: str = "gpu") -> dict[str, str]:
    found = client.get(f"{POOLS}/{name}")
    return {item["type"]: item["reason"] for item in found.get("status", {}).get("conditions", [])}


def at_target(client: Client, name: str = "gpu") -> bool:
    return condition(client.get(f"{POOLS}/{name}"), "AtTarget")[0] == "True"


def test_a_pool_brings_its_nodes_and_is_scaled(client: Client) -> None:
    client.create(
        POOLS, pool(nodeLabels={"team": "a"}, nodeTaints=[{"key": "k", "value": "v", "effect": "NoSchedule"}])
    )
    until(lambda: at_target(client), "two nodes")
    nodes = ready_nodes(client, POOL_LABEL, "gpu")
    assert len(nodes) == client.get(f"{POOLS}/gpu")["status"]["currentNodes"] == 2
    node = client.get(f"/api/v1/nodes/{nodes[0]}")
    assert node["metadata"]["labels"]["team"] == "a"
    assert {"key": "k", "value": "v", "effect": "NoSchedule"} in node["spec"]["taints"]
    client.patch(f"{POOLS}/gpu", {"spec": {"targetNodes": 1}})
    until(lambda: len(client.list("/api/v1/nodes")) == 1 and at_target(client), "one node")


def test_more_than_there_is_waits_for_capacity(client: Client) -> None:
    client.create(POOLS, pool(targetNodes=6))
    until(lambda: client.get(f"{POOLS}/gpu").get("status", {}).get("currentNodes") == 4, "what there is")
    assert reasons(client)["Capacity"] == "QueuedAwaitingCapacity"
    assert not at_target(client)
    assert client.get(f"{POOLS}/gpu")["status"]["queuedNodes"] == 2


def test_what_is_not_sold_is_not_valid(client: Client) -> None:
    client.create(POOLS, pool(instanceType="p5.48xlarge"))
    until(lambda: reasons(client) == {"Validated": "Invalid"}, "the pool to be judged", 20)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"targetRacks": 1}, "exactly one of targetNodes and targetRacks"),
        ({"targetNodes": None}, "exactly one of targetNodes and targetRacks"),
        ({"targetNodes": None, "targetRacks": 1}, "NVL72 racks"),
        ({"targetNodes": -1}, "greater than or equal to 0"),
    ],
)
def test_refused_pools(client: Client, spec: Json, text: str) -> None:
    wanted = pool(**spec)
    wanted["spec"] = {key: value for key, value in wanted["spec"].items() if value is not None}
    with pytest.raises(ApiError, match=text):
        client.create(POOLS, wanted)


def test_the_instance_type_is_for_good(client: Client) -> None:
    client.create(POOLS, pool(targetNodes=0))
    with pytest.raises(ApiError, match="InstanceType cannot be changed"):
        client.patch(f"{POOLS}/gpu", {"spec": {"instanceType": "b200-8x"}})
