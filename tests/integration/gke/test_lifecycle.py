# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks, cluster and node pools from nothing to nothing, and what is not ours."""

from __future__ import annotations

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from _harness import CLUSTER, CPU, FAMILY, GPU, NETWORK, POOL, RAILS, ZONE, Bench, Json

SITE = (("gke_network", NETWORK), ("gke_cluster", CLUSTER), ("gke_node_pool", GPU), ("gke_node_pool", CPU))


def test_from_nothing_to_nothing(site: Bench) -> None:
    """Created once, then nothing to do; removed once, then nothing to do, and nothing is left."""
    for name, given in SITE:
        assert site.good(name, given)["changed"]
    created = site.created()
    assert len(created) == len(set(created)) == 16 + 2 + 2
    site.stand_in.requests.clear()
    for name, given in SITE:
        again = site.good(name, given)
        assert (again["changed"], again["actions"], again["diff"]) == (False, [], {"before": {}, "after": {}})
    assert site.stand_in.writes() == []
    for name, given in reversed(SITE):
        assert site.good(name, {**given, "state": "absent"})["changed"]
    site.stand_in.requests.clear()
    for name, given in reversed(SITE):
        assert not site.good(name, {**given, "state": "absent"})["changed"]
    assert site.stand_in.writes() == []
    left = site.good("gke_network_info", {"region": "europe-west1", "owner": "wide-ep-lws"})
    assert left["objects"] == []
    assert [path for path in site.cloud.objects if "networkProfiles" not in path] == []


def test_check_mode_reads_alone(site: Bench) -> None:
    """On an empty project and on a built one, and the prediction is what the real run does."""
    predicted = site.good("gke_network", NETWORK, check=True)
    assert len(predicted["actions"]) == 16
    for name, given in SITE[1:]:
        assert [action["action"] for action in site.good(name, given, check=True)["actions"]] == ["create"]
    assert site.stand_in.writes() == []
    assert site.good("gke_network", NETWORK)["actions"] == predicted["actions"]
    site.build(pool=True)
    for name, given in SITE[:3]:
        assert not site.good(name, given, check=True)["changed"]
        removal = site.good(name, {**given, "state": "absent"}, check=True)
        assert {action["action"] for action in removal["actions"]} == {"delete"}
    assert site.good("gke_node_pool", CPU, check=True)["diff"]["after"]["node pool cpu"]["targetSize"] == 1
    assert site.stand_in.writes() == []


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("gke_network", {**NETWORK, "pods_range": "192.168.32.0/19"}),
        ("gke_network", {**NETWORK, "owner": "Not A Label"}),
        ("gke_cluster", {**CLUSTER, "name": "w" * 41}),
        ("gke_node_pool", {**GPU, "networks": RAILS[:8]}),
        ("gke_node_pool", {**POOL, "interfaces": "dranet"}),
    ],
)
def test_bad_options_cost_no_call(site: Bench, name: str, given: Json) -> None:
    """Not even one for a token."""
    site.token_file.unlink()
    result = site.run(name, given)
    assert [finding["severity"] for finding in result["findings"]] == ["error"]
    assert site.stand_in.requests == []


def test_order_of_work(site: Bench) -> None:
    """Networks before what is in them, and the interfaces of the node pool in the order of the rails."""
    result = site.good("gke_network", NETWORK)
    assert site.created()[:3] == ["wide-ep-net-0", "wide-ep-net-1", "wide-ep-rdma-net"]
    pairs = [
        (p["network"].rpartition("/")[2], p["subnetwork"].rpartition("/")[2]) for p in result["node_pool_networks"]
    ]
    assert pairs == [(pair["network"], pair["subnetwork"]) for pair in RAILS]
    site.good("gke_cluster", CLUSTER)
    site.good("gke_node_pool", {**POOL, "networks": result["node_pool_networks"]})
    sent = site.cloud.objects[f"{FAMILY}/nodePools/gpu"]["networkConfig"]["additionalNodeNetworkConfigs"]
    assert sent == result["node_pool_networks"]


def test_replacement_needs_its_name(site: Bench) -> None:
    site.build(pool=True)
    given = {**GPU, "max_pods": 32}
    site.bad("gke_node_pool", {**given, "allow_replace": ["cpu"]}, "GCP_REPLACE_REQUIRED")
    result = site.good("gke_node_pool", {**given, "allow_replace": ["gpu"]})
    assert [action["action"] for action in result["actions"]] == ["replace"]
    assert [request.verb for request in site.stand_in.writes()] == ["DELETE", "POST"]
    assert not site.good("gke_node_pool", given)["changed"]


def test_network_is_replaced_with_what_is_in_it(site: Bench) -> None:
    """Every object by its name, none by the way; what is not in it stays."""
    site.good("gke_network", NETWORK)
    site.cloud.objects["projects/demo/global/networks/wide-ep-net-1"]["mtu"] = 1460
    site.stand_in.requests.clear()
    names = ["wide-ep-net-1", "wide-ep-sub-1", "wide-ep-net-1-internal"]
    for count, codes in ((1, 2), (2, 1)):
        refused = site.run("gke_network", {**NETWORK, "allow_replace": names[:count]})
        assert [finding["code"] for finding in refused["findings"]] == ["GCP_REPLACE_REQUIRED"] * codes
    assert site.stand_in.writes() == []
    result = site.good("gke_network", {**NETWORK, "allow_replace": names})
    assert {(action["object"].rpartition(" ")[2], action["action"]) for action in result["actions"]} == {
        (name, "replace") for name in names
    }
    assert {path.rpartition("/")[2] for path in site.cloud.deleted} == set(names)
    assert not site.good("gke_network", NETWORK)["changed"]


@pytest.mark.parametrize("name", ["gke_network", "gke_cluster", "gke_node_pool"])
def test_what_is_not_ours_is_left_alone(site: Bench, name: str) -> None:
    """Neither changed nor removed, whatever else is allowed."""
    site.build(pool=True)
    given = {"gke_network": NETWORK, "gke_cluster": CLUSTER, "gke_node_pool": GPU}[name]
    stranger = {**given, "owner": "someone-else", "allow_replace": ["wide-ep", "gpu"]}
    for state in ("present", "absent"):
        refused = site.run(name, {**stranger, "state": state})
        assert {finding["code"] for finding in refused["findings"]} == {"GCP_FOREIGN"}
    assert site.stand_in.writes() == []


def test_networks_in_use_stay(site: Bench) -> None:
    """Google refuses to delete them; the message names what uses them."""
    site.build(pool=True)
    refused = site.bad("gke_network", {**NETWORK, "state": "absent"}, "GCP_IN_USE")
    assert "clusters/wide-ep" in refused["msg"]
    assert "projects/demo/global/networks/wide-ep-rdma-net" in site.cloud.objects


def test_info(site: Bench) -> None:
    site.build(pool=True)
    clusters = site.good("gke_cluster_info", {"location": "europe-west1"})["clusters"]
    assert [(found["name"], found["owner"], found["rdma_findings"]) for found in clusters] == [
        ("wide-ep", "wide-ep-lws", [])
    ]
    pools = site.good("gke_node_pool_info", {"location": "europe-west1", "cluster": "wide-ep", "name": "gpu"})
    assert [(p["owner"], p["status"], p["target_size"]) for p in pools["node_pools"]] == [("wide-ep-lws", "RUNNING", 4)]
    found = site.good("gke_network_info", {"region": "europe-west1", "name": "wide-ep"})["objects"]
    assert len(found) == 16
    assert {item["owner"] for item in found} == {"wide-ep-lws"}
    assert site.good("gke_cluster_info", {"location": "europe-west1", "name": "other"})["clusters"] == []
    assert site.stand_in.writes() == []


@pytest.mark.parametrize(
    ("change", "reservation"),
    [
        ({"capacity": "reservation", "reservation": "dense"}, "a3-ultragpu-8g"),
        ({"capacity": "spot"}, ""),
        ({"capacity": "flex_start", "node_count": None, "max_nodes": 4, "max_run_duration": "604800s"}, ""),
        ({"capacity": "queued", "node_count": None, "max_nodes": 4}, ""),
        ({"capacity": "on_demand", "driver": "specific", "driver_version": "570.133.20"}, ""),
        (
            {"machine": "a4", "capacity": "reservation", "reservation": "projects/demo/reservations/dense"},
            "a4-highgpu-8g",
        ),
        ({"interfaces": "dranet", "networks": [], "accept_stuck_deletion": True}, ""),
    ],
    ids=lambda value: "-".join(str(v) for v in value.values() if isinstance(v, str)) if isinstance(value, dict) else "",
)
def test_ways_to_get_machines(site: Bench, change: Json, reservation: str) -> None:
    """Each is accepted by the schema and stays as it is on a second run."""
    site.build()
    if reservation:
        site.cloud.add_reservation(ZONE, "dense", reservation, 8)
    assert site.good("gke_node_pool", {**GPU, **change})["changed"]
    assert not site.good("gke_node_pool", {**GPU, **change})["changed"]


def test_a4x(site: Bench) -> None:
    """Four rails, a workload policy in place of a compact placement, and a word that nobody has proven it."""
    network = {**NETWORK, "rdma_subnets": 4, "workload_policy_topology": "1x72", "proxy_range": "192.168.224.0/23"}
    made = site.good("gke_network", network)
    site.good("gke_cluster", CLUSTER)
    given = {**POOL, "machine": "a4x", "networks": made["node_pool_networks"], "placement_policy": made["policy"]}
    result = site.good("gke_node_pool", {**given, "node_count": 8})
    assert [finding["severity"] for finding in result["findings"]] == ["warning"]
    assert not site.good("gke_network", network)["changed"]
    assert not site.good("gke_node_pool", {**given, "node_count": 8})["changed"]
    # The policy is in use by the pool, the network by both.
    refused = site.run("gke_network", {**network, "state": "absent"})
    assert refused["findings"][0]["code"] == "GCP_IN_USE"
