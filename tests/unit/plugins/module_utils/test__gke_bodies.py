# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gke_* modules send is known to Google's discovery documents, creations and every change."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_cluster as cluster
from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_network as network
from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_node_pool as node_pool
from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_pool_options as pool
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_compare import Difference, Rule, differences, value_at
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_machines import CAPACITY, MACHINES
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_rest import Call

DATA = Path(__file__).resolve().parents[3] / "data" / "gke"
DOCUMENTS = {name: json.loads((DATA / f"{name}.v1.json").read_text()) for name in ("compute", "container")}
SCHEMAS = {name: document["schemas"] for name, document in DOCUMENTS.items()}

RAILS = ({"network": "n1", "subnetwork": "s1"}, *({"network": "r", "subnetwork": f"rail-{i}"} for i in range(8)))
NETWORK = network.Options("p", "europe-west1", "europe-west1-b", "wide-ep", "o", proxy_range="192.168.224.0/23")
CLUSTER = cluster.Options(
    "p",
    "europe-west1",
    "wide-ep",
    "o",
    "n",
    "s",
    authorized_networks=("203.0.113.7/32",),
    gateway_api=True,
    maintenance_exclusion={"name": "freeze", "start_time": "2026-12-01T00:00:00Z", "until_end_of_support": "true"},
    monitoring=("DCGM",),
    node_locations=("europe-west1-b",),
    version="1.34",
)
POOL = pool.Options("p", "europe-west1", "wide-ep", "gpu", "o", ("europe-west1-b",), networks=RAILS, node_count=4)


def unknown(service: str, schema: str, value: t.Any, where: str = "") -> list[str]:
    """Fields that a schema does not have or that are output only, types and enums that it does not take."""
    return list(_unknown(SCHEMAS[service], {"$ref": schema}, value, where))


def _unknown(schemas: t.Any, spec: t.Any, value: t.Any, where: str) -> t.Iterator[str]:
    spec = {**schemas[spec["$ref"]], **spec} if "$ref" in spec else spec
    expected = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}[
        spec.get("type", "object")
    ]
    if spec.get("readOnly"):
        yield f"{where}: output only"
    elif not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        yield f"{where}: {value!r} is no {spec.get('type')}"
    elif value not in spec.get("enum", [value]):
        yield f"{where}: {value!r} is none of {spec['enum']}"
    elif isinstance(value, list):
        for item in value:
            yield from _unknown(schemas, spec["items"], item, f"{where}[]")
    elif isinstance(value, dict):
        for key, inner in value.items():
            known = spec.get("properties", {}).get(key, spec.get("additionalProperties"))
            if known is None:
                yield f"{where}.{key}: unknown"
            else:
                yield from _unknown(schemas, known, inner, f"{where}.{key}")


def method_of(call: Call) -> dict[str, t.Any]:
    """The documents' method that a call is."""
    segments = call.target.path.replace(":", "/").split("/")
    for method in DOCUMENTS[call.target.service]["methods"].values():
        template = method.get("flatPath", method["path"]).removeprefix("v1/").replace(":", "/").split("/")
        if method["httpMethod"] != call.verb or len(template) != len(segments):
            continue
        if all(have.startswith("{") or have == given for have, given in zip(template, segments, strict=True)):
            return t.cast(dict[str, t.Any], method)
    raise AssertionError(f"{call.verb} {call.target.path} is not in the documents")


def check(call: Call) -> None:
    method = method_of(call)
    if call.body is None:
        assert "request" not in method
    else:
        assert unknown(call.target.service, method["request"]["$ref"], call.body) == []


def test_validator_sees_what_is_wrong() -> None:
    wrong = {
        "nodePool": {
            "config": {"workloadMetaConfig": {}, "spot": "yes", "effectiveCgroupMode": "X"},
            "status": "RUNNING",
        }
    }
    assert len(unknown("container", "CreateNodePoolRequest", wrong)) == 4


@pytest.mark.parametrize(
    "change",
    [{}, {"interfaces": "dranet"}, {"rdma_subnets": 4, "workload_policy_topology": "1x72"}, {"nat": False}],
    ids=str,
)
def test_networks(change: dict[str, t.Any]) -> None:
    for item in network.items(dataclasses.replace(NETWORK, **change)):
        check(item.create)
        check(item.delete)
        live = {"fingerprint": "abc="} if "/subnetworks/" in item.target.path else {}
        drifted = [
            Difference(path, rule.change, None, value_at(item.compare, path))
            for path, rule in item.rules.items()
            if rule.change == "update" and value_at(item.compare, path) is not None
        ]
        for made in item.changes(drifted):
            check(made.build(live))


def test_rails_are_cut_evenly() -> None:
    items = [item for item in network.items(NETWORK) if "-rdma-sub-" in item.target.name]
    assert [item.compare["ipCidrRange"] for item in items] == [f"192.168.{128 + 8 * index}.0/21" for index in range(8)]
    assert len({item.target.name for item in network.items(NETWORK)}) == len(network.items(NETWORK)) == 17


def test_cluster() -> None:
    item = cluster.item(CLUSTER)
    check(item.create)
    check(item.delete)
    updates = [found for found in differences(item.compare, {}, cluster.RULES) if found.change != "replace"]
    made = item.changes(updates)
    for change in made:
        check(change.build({"etag": "e", "labelFingerprint": "f", "maintenancePolicy": {"resourceVersion": "v"}}))
    # All but logging and add-ons, which have no option, and labels and the maintenance policy besides.
    assert len(made) == len(cluster.DESIRED)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("capacity", CAPACITY)
def test_node_pools(machine: str, capacity: str) -> None:
    """All machines in all ways, with everything that is optional."""
    static = CAPACITY[capacity].static
    options = dataclasses.replace(
        POOL,
        machine=machine,
        capacity=capacity,
        reservation="r" if capacity == "reservation" else "",
        node_count=4 if static else None,
        max_nodes=None if static else 4,
        max_run_duration="604800s",
        networks=RAILS[: MACHINES[machine].interfaces],
        max_pods=32,
        local_ssd_count=16,
        disk_size_gb=200,
        service_account="a@b",
        labels={"a": "b"},
        taints=({"key": "k", "value": "v", "effect": "NO_SCHEDULE"},),
        driver="specific",
        driver_version="570.1",
    )
    assert [finding for finding in pool.judge(options) if finding.severity == "error"] == []
    item = node_pool.item(options)
    check(item.create)
    check(item.delete)
    body = t.cast(dict[str, t.Any], item.create.body)["nodePool"]
    size = 4 if static else None
    assert differences(item.compare, node_pool.comparable(body, size), node_pool.RULES) == []


@pytest.mark.parametrize("interfaces", ["explicit", "dranet", "none"])
def test_interfaces(interfaces: t.Literal["explicit", "dranet", "none"]) -> None:
    options = dataclasses.replace(POOL, machine="a3_ultra", interfaces=interfaces)
    body = t.cast(dict[str, t.Any], node_pool.item(options).create.body)["nodePool"]
    expected = {
        "explicit": {"additionalNodeNetworkConfigs": list(RAILS)},
        "dranet": {"acceleratorNetworkProfile": "auto"},
        "none": None,
    }
    assert body.get("networkConfig") == expected[interfaces]
    labels = body["config"].get("labels", {})
    assert ("cloud.google.com/gke-networking-dra-driver" in labels) is (interfaces == "dranet")


def test_every_change_of_a_node_pool() -> None:
    """Each field that can be changed by itself, from the pool that it was created as."""
    extra = {
        "nodeDrainConfig": {"respectPdbDuringNodePoolDeletion": True},
        "maintenancePolicy": {"exclusionUntilEndOfSupport": {"enabled": True}},
        "queuedProvisioning": {"enabled": True},
        "config": {
            "tags": ["a"],
            "bootDisk": {"diskType": "hyperdisk-balanced"},
            "gcfsConfig": {"enabled": True},
            "imageType": "COS_CONTAINERD",
            "kubeletConfig": {"cpuManagerPolicy": "static"},
            "linuxNodeConfig": {"sysctls": {"a": "b"}},
            "loggingConfig": {"variantConfig": {"variant": "DEFAULT"}},
            "flexStart": True,
            "workloadMetadataConfig": {"mode": "GKE_METADATA"},
        },
        "upgradeSettings": {"maxSurge": 1},
    }
    options = dataclasses.replace(
        POOL,
        machine="a3_ultra",
        labels={"a": "b"},
        taints=({"key": "k", "value": "v", "effect": "NO_SCHEDULE"},),
        disk_size_gb=200,
        disk_type="pd-ssd",
        max_run_duration="60s",
        extra={**extra, "autoscaling": {"enabled": True}},
    )
    fields = [*node_pool.PUT, *node_pool.METHODS]
    for field in fields:
        want = value_at(node_pool.compared(options), field)
        assert want is not None, field
        (made,) = node_pool.changes(options, [Difference(field, "update", None, want)])
        call = made.build({"etag": "e", "config": {"labels": {"theirs": "1"}}})
        check(call)
        assert len(set(t.cast(dict[str, t.Any], call.body)) - {"etag"}) == 1


def test_fields_of_the_tables_exist() -> None:
    """Update keys are those of the documents, and what has none needs a replacement."""
    request = SCHEMAS["container"]["UpdateNodePoolRequest"]["properties"]
    assert {key for key, _wrapped in node_pool.PUT.values()} <= set(request)
    assert set(cluster.DESIRED.values()) <= set(SCHEMAS["container"]["ClusterUpdate"]["properties"])
    for field in (
        "config.reservationAffinity",
        "config.spot",
        "maxPodsConstraint.maxPodsPerNode",
        "config.gpuDirectConfig",
    ):
        assert field.rpartition(".")[2] not in request
        assert node_pool.RULES.get(field, Rule()).change == "replace"


@pytest.mark.parametrize("left", node_pool.PUT)
def test_in_place_or_by_new_nodes(left: str) -> None:
    rolls = {"config.accelerators", "config.machineType", "config.diskSizeGb", "locations", "queuedProvisioning"}
    stays = {"config.labels", "config.taints", "config.resourceLabels", "upgradeSettings", "maintenancePolicy"}
    change = node_pool.RULES[left].change
    assert change == ("disruptive" if left in rolls else "update" if left in stays else change)


@pytest.mark.parametrize(
    ("version", "dranet", "good"),
    [
        ("1.33.4-gke.100", False, True),
        ("1.33.3-gke.9000", False, False),
        ("1.34.0", False, True),
        ("1.34.1-gke.1829000", True, False),
        ("1.34.1-gke.1829001", True, True),
        ("1.100.0", True, True),
    ],
)
def test_versions(version: str, dranet: bool, good: bool) -> None:
    live = {
        "networkConfig": {"datapathProvider": "ADVANCED_DATAPATH", "enableMultiNetworking": True},
        "currentMasterVersion": version,
    }
    assert (cluster.serves_rdma(live, dranet=dranet) == []) is good


def test_all_kinds_are_looked_at() -> None:
    kinds = {
        item.create.target.name for item in network.items(dataclasses.replace(NETWORK, workload_policy_topology="1x72"))
    }
    assert kinds == {kind for kind, _scope in network.scopes("r")}
