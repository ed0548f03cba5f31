# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs from what is wanted: changed in place, by new nodes where allowed, or refused with the fields."""

from __future__ import annotations

import copy
import pathlib
import sys
import typing as t

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from _harness import CLUSTER, CPU, FAMILY, GPU, NETWORK, RAILS, REGION, ZONE, Bench, Json

# Drift of networks: option -> new value -> the field that changes, or that would need a replacement.

NETWORK_DRIFT: list[tuple[str, Json, str, str]] = [
    ("mtu", {"mtu": 1500}, "replace", "mtu: 8896 -> 1500"),
    ("nodes_range", {"nodes_range": "172.16.0.0/18", "firewalls": []}, "replace", "ipCidrRange: 192.168.0.0/18"),
    ("gvnic_range", {"gvnic_range": "172.16.0.0/18", "firewalls": []}, "replace", "ipCidrRange: 192.168.64.0/18"),
    ("rdma_range", {"rdma_range": "172.16.0.0/18"}, "replace", "ipCidrRange: 192.168.128.0/21"),
    ("pods_range", {"pods_range": "10.8.0.0/14", "firewalls": []}, "update", "secondaryIpRanges"),
    ("sources", {"pods_range": "10.8.0.0/14"}, "update", "sourceRanges"),
]


@pytest.mark.parametrize(
    ("change", "kind", "field"), [row[1:] for row in NETWORK_DRIFT], ids=[r[0] for r in NETWORK_DRIFT]
)
def test_network_drift(site: Bench, change: Json, kind: str, field: str) -> None:
    site.build()
    if kind == "replace":
        refused = site.run("gke_network", {**NETWORK, **change})
        assert {finding["code"] for finding in refused["findings"]} == {"GCP_REPLACE_REQUIRED"}
        assert any(text.startswith(field) for fields in refused["replace_required"].values() for text in fields)
        assert site.stand_in.writes() == []
        return
    changed = site.good("gke_network", {**NETWORK, **change})
    assert {action["action"] for action in changed["actions"]} == {"update"}
    assert any(field in text for action in changed["actions"] for text in action["fields"])
    assert not site.good("gke_network", {**NETWORK, **change})["changed"]


LIVE_NETWORK_DRIFT: list[tuple[str, str, t.Any, str]] = [
    (f"{REGION}/subnetworks/wide-ep-sub-0", "privateIpGoogleAccess", False, "update"),
    ("projects/demo/global/firewalls/wide-ep-net-0-internal", "allowed", [{"IPProtocol": "icmp"}], "update"),
    ("projects/demo/global/firewalls/wide-ep-net-0-internal", "sourceRanges", ["0.0.0.0/0"], "update"),
    (f"{REGION}/routers/wide-ep-router", "nats", [], "update"),
    ("projects/demo/global/networks/wide-ep-net-0", "routingConfig", {"routingMode": "GLOBAL"}, "update"),
    ("projects/demo/global/networks/wide-ep-net-0", "autoCreateSubnetworks", True, "replace"),
    (
        "projects/demo/global/networks/wide-ep-rdma-net",
        "networkProfile",
        "projects/demo/global/networkProfiles/o",
        "replace",
    ),
]


@pytest.mark.parametrize(("path", "key", "value", "kind"), LIVE_NETWORK_DRIFT)
def test_network_changed_by_others(site: Bench, path: str, key: str, value: t.Any, kind: str) -> None:
    """What others changed is put right, or named as what would need a replacement."""
    site.build()
    before = copy.deepcopy(site.cloud.objects[path][key])
    site.cloud.objects[path][key] = value
    result = site.run("gke_network", NETWORK)
    if kind == "replace":
        assert result["replace_required"].keys() == {path.rpartition("/")[2]}
        assert site.stand_in.writes() == []
        return
    assert [request.verb for request in site.stand_in.writes()] == [
        "POST" if key == "privateIpGoogleAccess" else "PATCH"
    ]
    after = site.cloud.objects[path][key]
    assert sorted(after, key=str) == sorted(before, key=str) if isinstance(before, list) and key != "nats" else after
    assert not site.good("gke_network", NETWORK)["changed"]


def test_ranges_of_others_are_kept(site: Bench) -> None:
    site.build()
    subnet = site.cloud.objects[f"{REGION}/subnetworks/wide-ep-sub-0"]
    subnet["secondaryIpRanges"].append({"rangeName": "gke-added", "ipCidrRange": "10.96.0.0/20"})
    assert not site.good("gke_network", NETWORK)["changed"]
    site.good("gke_network", {**NETWORK, "services_range": "10.0.64.0/20"})
    assert {item["rangeName"] for item in subnet["secondaryIpRanges"]} == {"pods", "services", "gke-added"}


# Drift of the cluster

CLUSTER_DRIFT: list[tuple[Json, str]] = [
    ({"gateway_api": True}, "update"),
    ({"authorized_networks": ["203.0.113.7/32"]}, "update"),
    ({"release_channel": "STABLE"}, "update"),
    ({"monitoring": ["SYSTEM_COMPONENTS", "DCGM"]}, "update"),
    ({"private_nodes": False}, "update"),
    ({"labels": {"team": "serving"}}, "labels"),
    ({"maintenance_exclusion": {"start_time": "2026-12-01T00:00:00Z", "end_time": "2027-01-31T00:00:00Z"}}, "policy"),
    ({"node_locations": [ZONE, "europe-west1-c"], "allow_disruptive": True}, "update"),
    ({"extra": {"loggingConfig": {"componentConfig": {"enableComponents": ["SYSTEM_COMPONENTS"]}}}}, "update"),
    ({"subnetwork": "wide-ep-sub-1"}, "replace"),
    ({"pods_range_name": "services"}, "replace"),
    ({"extra": {"enableKubernetesAlpha": True}}, "replace"),
]
METHOD = {"update": "clusters.update", "labels": "setResourceLabels", "policy": "setMaintenancePolicy"}


@pytest.mark.parametrize(
    ("change", "kind"), CLUSTER_DRIFT, ids=lambda value: "-".join(value) if isinstance(value, dict) else ""
)
def test_cluster_drift(site: Bench, change: Json, kind: str) -> None:
    site.build()
    predicted = site.run("gke_cluster", {**CLUSTER, **change}, check=True)
    result = site.run("gke_cluster", {**CLUSTER, **change})
    assert predicted.get("actions") == result.get("actions")
    assert predicted.get("diff") == result.get("diff")
    if kind == "replace":
        assert result["replace_required"].keys() == {"wide-ep"}
        assert site.stand_in.writes() == []
        return
    assert [request.method.rpartition("clusters.")[2] for request in site.stand_in.writes()] == [
        METHOD[kind].rpartition(".")[2]
    ]
    assert not site.good("gke_cluster", {**CLUSTER, **change})["changed"]


def test_zones_of_all_pools_are_not_moved_by_the_way(site: Bench) -> None:
    site.build()
    site.bad("gke_cluster", {**CLUSTER, "node_locations": [ZONE, "europe-west1-c"]}, "GCP_ROLLS_NODES")
    assert site.stand_in.writes() == []


def test_several_cluster_changes_go_one_by_one(site: Bench) -> None:
    site.build()
    change = {"gateway_api": True, "release_channel": "STABLE", "labels": {"team": "serving"}}
    site.good("gke_cluster", {**CLUSTER, **change})
    assert len(site.stand_in.writes()) == 3
    assert not site.good("gke_cluster", {**CLUSTER, **change})["changed"]


def test_others_in_the_cluster_are_kept(site: Bench) -> None:
    """Labels, exclusions and settings that others made."""
    site.build()
    cluster = site.cloud.objects[FAMILY]
    cluster["resourceLabels"]["cost-center"] = "42"
    cluster["maintenancePolicy"]["window"] = {
        "maintenanceExclusions": {"theirs": {"startTime": "2026-12-01T00:00:00Z"}}
    }
    cluster["controlPlaneEndpointsConfig"] = {
        "dnsEndpointConfig": {"allowExternalTraffic": True, "endpoint": "x.gke.goog"},
        "ipEndpointsConfig": {"enabled": True, "publicEndpoint": "192.0.2.1"},
    }
    exclusion = {"start_time": "2026-12-01T00:00:00Z", "until_end_of_support": True}
    change = {"labels": {"team": "a"}, "maintenance_exclusion": exclusion, "authorized_networks": ["203.0.113.7/32"]}
    site.good("gke_cluster", {**CLUSTER, **change})
    assert cluster["resourceLabels"] == {"cost-center": "42", "team": "a", "llmd-wide-ep-owner": "wide-ep-lws"}
    assert set(cluster["maintenancePolicy"]["window"]["maintenanceExclusions"]) == {"theirs", "llmd-wide-ep"}
    assert cluster["controlPlaneEndpointsConfig"]["dnsEndpointConfig"]["allowExternalTraffic"] is True
    assert not site.good("gke_cluster", {**CLUSTER, **change})["changed"]


# Drift of node pools

POOL_DRIFT: list[tuple[Json, str]] = [
    ({"node_count": 5}, "setSize"),
    ({"labels": {"team": "serving"}}, "update"),
    ({"taints": [{"key": "dedicated", "value": "gpu", "effect": "NO_SCHEDULE"}]}, "update"),
    ({"resource_labels": {"team": "serving"}}, "update"),
    ({"extra": {"upgradeSettings": {"maxSurge": 2}}}, "update"),
    ({"extra": {"nodeDrainConfig": {"respectPdbDuringNodePoolDeletion": True}}}, "update"),
    ({"disk_size_gb": 200}, "disruptive"),
    ({"disk_type": "pd-ssd"}, "disruptive"),
    ({"extra": {"config": {"imageType": "UBUNTU_CONTAINERD"}}}, "disruptive"),
    ({"extra": {"config": {"linuxNodeConfig": {"sysctls": {"net.core.somaxconn": "2048"}}}}}, "disruptive"),
    ({"max_pods": 32}, "replace"),
    ({"local_ssd_count": 16}, "replace"),
    ({"service_account": "nodes@demo.iam.gserviceaccount.com"}, "replace"),
    ({"capacity": "spot"}, "replace"),
    ({"compact": False, "placement_policy": "other"}, "replace"),
    ({"networks": [RAILS[0], RAILS[2], RAILS[1], *RAILS[3:]]}, "order"),
    ({"extra": {"config": {"minCpuPlatform": "Intel Sapphire Rapids"}}}, "replace"),
    ({"extra": {"config": {"gpuDirectConfig": {"gpuDirectStrategy": "RDMA"}}}}, "replace"),
]


@pytest.mark.parametrize(
    ("change", "kind"), POOL_DRIFT, ids=lambda value: "-".join(value) if isinstance(value, dict) else ""
)
def test_pool_drift(site: Bench, change: Json, kind: str) -> None:
    site.build(pool=True)
    given = {**GPU, **change}
    if kind == "order":
        site.bad("gke_node_pool", given, "INPUT_COMBINATION")
        return
    if kind == "replace":
        refused = site.bad("gke_node_pool", given, "GCP_REPLACE_REQUIRED")
        assert refused["replace_required"].keys() == {"gpu"}
        assert site.stand_in.writes() == []
        return
    if kind == "disruptive":
        site.bad("gke_node_pool", given, "GCP_ROLLS_NODES")
        assert site.stand_in.writes() == []
        given |= {"allow_disruptive": True}
    predicted = site.good("gke_node_pool", given, check=True)
    result = site.good("gke_node_pool", given)
    assert (predicted["diff"], predicted["actions"]) == (result["diff"], result["actions"])
    method = "update" if kind == "disruptive" else kind
    assert [request.method.rpartition(".")[2] for request in site.stand_in.writes()] == [method]
    assert not site.good("gke_node_pool", given)["changed"]


def test_size_is_that_of_the_instance_groups(site: Bench) -> None:
    """`initialNodeCount` is what the pool began with, whatever happened since."""
    site.build(pool=True)
    group = next(path for path in site.cloud.objects if "instanceGroupManagers/gke-gpu" in path)
    site.cloud.objects[group]["targetSize"] = 3
    assert site.good("gke_node_pool", GPU)["actions"][0]["fields"] == ["targetSize: 3 -> 4"]
    assert site.cloud.objects[group]["targetSize"] == 4


def test_autoscaled_size_is_left_alone(site: Bench) -> None:
    site.build()
    given = {**CPU, "node_count": None, "autoscaling": {"min_nodes": 1, "max_nodes": 3}}
    site.good("gke_node_pool", given)
    group = next(path for path in site.cloud.objects if "instanceGroupManagers/gke-cpu" in path)
    site.cloud.objects[group]["targetSize"] = 3
    assert not site.good("gke_node_pool", given)["changed"]
    changed = site.good("gke_node_pool", {**given, "autoscaling": {"min_nodes": 1, "max_nodes": 5}})
    assert changed["actions"][0]["action"] == "update"
    assert site.cloud.objects[f"{FAMILY}/nodePools/cpu"]["autoscaling"]["maxNodeCount"] == 5


def test_labels_and_taints_of_others_are_kept(site: Bench) -> None:
    site.build(pool=True)
    config = site.cloud.objects[f"{FAMILY}/nodePools/gpu"]["config"]
    config["labels"] = {"theirs": "1"}
    config["taints"] = [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}]
    taint = {"key": "dedicated", "value": "gpu", "effect": "NO_SCHEDULE"}
    site.good("gke_node_pool", {**GPU, "labels": {"ours": "1"}, "taints": [taint]})
    assert config["labels"] == {"theirs": "1", "ours": "1"}
    assert [item["key"] for item in config["taints"]] == ["nvidia.com/gpu", "dedicated"]


def test_driver_is_an_alarm(site: Bench) -> None:
    """It is told, and changed only when that is allowed."""
    site.build(pool=True)
    given = {**GPU, "driver": "disabled"}
    told = site.good("gke_node_pool", given)
    assert not told["changed"]
    assert [finding["code"] for finding in told["findings"]] == ["GCP_DRIVER"]
    changed = site.good("gke_node_pool", {**given, "allow_disruptive": True})
    assert changed["changed"]
    accelerator = site.cloud.objects[f"{FAMILY}/nodePools/gpu"]["config"]["accelerators"][0]
    assert accelerator["gpuDriverInstallationConfig"] == {"gpuDriverVersion": "INSTALLATION_DISABLED"}
    assert not site.good("gke_node_pool", {**given, "allow_disruptive": True})["findings"]
