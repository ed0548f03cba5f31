# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad options of the gke_* modules: each is told before any call, with the variable, the value and the fix."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_cluster as cluster
from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_network as network
from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_network_checks as network_checks
from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_pool_options as pool

RAILS = ({"network": "n1", "subnetwork": "s1"}, *({"network": "r", "subnetwork": f"rail-{i}"} for i in range(8)))
NETWORK = network.Options("p", "europe-west1", "europe-west1-b", "wide-ep", "o")
CLUSTER = cluster.Options("p", "europe-west1", "wide-ep", "o", "n", "s")
POOL = pool.Options(
    "p", "europe-west1", "wide-ep", "gpu", "o", ("europe-west1-b",), machine="a3_ultra", node_count=4, networks=RAILS
)
CPU = dataclasses.replace(POOL, machine="", machine_type="n2-standard-32", networks=())

Change = dict[str, t.Any]


def test_good_options() -> None:
    assert network_checks.judge(NETWORK) == []
    assert network_checks.judge(dataclasses.replace(NETWORK, interfaces="dranet", proxy_range="192.168.224.0/23")) == []
    assert cluster.judge(CLUSTER) == []
    for version in ("1.33", "1.33.4", "1.34", "latest", "-"):
        assert cluster.judge(dataclasses.replace(CLUSTER, version=version)) == []
    assert pool.judge(POOL) == []
    assert pool.judge(CPU) == []
    # Names that do not end in numbers show no order.
    unnumbered = tuple(
        {**pair, "subnetwork": f"rail-{letter}"} for pair, letter in zip(RAILS, "xabdcefgh", strict=True)
    )
    assert pool.judge(dataclasses.replace(POOL, networks=unnumbered)) == []


# What is changed -> code, subject and a part of what is seen and of the fix.
NETWORKS: list[tuple[Change, str, str, str, str]] = [
    (
        {"pods_range": "192.168.32.0/19"},
        "INPUT_COMBINATION",
        "nodes_range, pods_range",
        "192.168.0.0/18 and pods_range 192.168.32.0/19",
        "own range",
    ),
    ({"rdma_range": "192.168.64.0/17"}, "INPUT_TYPE", "rdma_range", "host bits set", "ADDRESS/PREFIX"),
    ({"services_range": "ten"}, "INPUT_TYPE", "services_range", "'ten'", "ADDRESS/PREFIX"),
    ({"rdma_subnets": 7}, "INPUT_COMBINATION", "rdma_subnets", "7 subnets", "8, or 4 for A4X"),
    ({"rdma_range": "192.168.128.0/28"}, "INPUT_COMBINATION", "rdma_range", "cannot be cut into 8", "/18"),
    ({"zone": "us-central1-a"}, "INPUT_COMBINATION", "zone", "not in region europe-west1", "zone of the region"),
    (
        {"rdma_profile": "europe-west1-c-vpc-roce"},
        "INPUT_COMBINATION",
        "rdma_profile",
        "europe-west1-c, the nodes are in europe-west1-b",
        "Leave rdma_profile out",
    ),
    (
        {"firewalls": ("primary", "rdma")},
        "INPUT_COMBINATION",
        "firewalls",
        "profile does not allow any",
        "RDMA_ROCE_POLICY",
    ),
    ({"name": "Wide"}, "INPUT_NAME", "name", "'Wide'", "lower-case"),
    ({"name": "w" * 60}, "INPUT_NAME", "name", "63", "at most 48 characters"),
]
CLUSTERS: list[tuple[Change, str, str, str, str]] = [
    ({"version": "1.32"}, "GCP_CLUSTER", "version", "GKE 1.32, at least 1.33.4", "1.33.4 or newer"),
    ({"version": "1.33.3-gke.100"}, "GCP_CLUSTER", "version", "GKE 1.33.3-gke.100", "1.33.4 or newer"),
    ({"name": "w" * 41}, "INPUT_NAME", "name", "41 characters; GKE allows 40", "shorten"),
    ({"name": "w" * 16}, "INPUT_NAME", "name", "16 characters; names made of it are cut", "at most 15"),
    (
        {"authorized_networks": ("203.0.113.7/24",)},
        "INPUT_TYPE",
        "authorized_networks",
        "203.0.113.7/24",
        "203.0.113.7/32",
    ),
    ({"node_locations": ("us-east1-b",)}, "INPUT_COMBINATION", "node_locations", "us-east1-b", "europe-west1"),
    (
        {"maintenance_exclusion": {"start_time": "x"}},
        "INPUT_COMBINATION",
        "maintenance_exclusion",
        "exactly one",
        "until_end_of_support",
    ),
    ({"extra": {"nodePools": []}}, "INPUT_COMBINATION", "extra", "nodePools", "options"),
]
POOLS: list[tuple[Change, str, str, str, str]] = [
    ({"machine": "h100"}, "INPUT_TYPE", "machine", "'h100'", "a3_ultra, a4, a4x"),
    (
        {"accelerator_type": "nvidia-b200"},
        "INPUT_COMBINATION",
        "accelerator_type, accelerator_count",
        "8 x nvidia-b200 on a3-ultragpu-8g",
        "8 x nvidia-h200-141gb",
    ),
    (
        {"accelerator_count": 4},
        "INPUT_COMBINATION",
        "accelerator_type, accelerator_count",
        "4 x nvidia-h200-141gb",
        "8 x nvidia-h200-141gb",
    ),
    (
        {"machine_type": "a4-highgpu-8g"},
        "INPUT_COMBINATION",
        "machine, machine_type",
        "machine_type is a4-highgpu-8g",
        "Leave machine_type out",
    ),
    (
        {"machine": "", "networks": (), "accelerator_type": "nvidia-b200"},
        "INPUT_COMBINATION",
        "accelerator_type",
        "without a machine profile",
        "no default machine type with GPUs",
    ),
    (
        {"machine": "", "networks": ()},
        "INPUT_COMBINATION",
        "machine_type",
        "neither",
        "machine_type for a pool without GPUs",
    ),
    (
        {"machine": "", "networks": (), "machine_type": "a4-highgpu-8g"},
        "INPUT_COMBINATION",
        "machine_type",
        "has GPUs",
        "machine to a4",
    ),
    (
        {"zones": ("europe-west1-b", "europe-west1-c")},
        "INPUT_COMBINATION",
        "zones",
        "europe-west1-b, europe-west1-c",
        "one zone",
    ),
    ({"zones": ("us-central1-a",)}, "INPUT_COMBINATION", "zones", "us-central1-a", "zones of europe-west1"),
    (
        {"networks": RAILS[:8]},
        "INPUT_COMBINATION",
        "networks",
        "8 networks, a3-ultragpu-8g takes 9",
        "one gVNIC network, then the 8 RDMA subnets",
    ),
    (
        {"networks": (*RAILS[1:], RAILS[0])},
        "INPUT_COMBINATION",
        "networks",
        "first must be of another network",
        "in this order",
    ),
    ({"networks": (*RAILS[:8], RAILS[7])}, "INPUT_COMBINATION", "networks", "given twice: rail-6", "in this order"),
    ({"networks": (*RAILS[:7], RAILS[8], RAILS[7])}, "INPUT_COMBINATION", "networks", "out of order", "from 0 to 7"),
    (
        {"interfaces": "dranet", "accept_stuck_deletion": True},
        "INPUT_COMBINATION",
        "interfaces, networks",
        "networks names 9",
        "Leave networks out",
    ),
    (
        {"interfaces": "dranet", "networks": ()},
        "GCP_NEVER_DELETES",
        "interfaces",
        "may never finish deleting",
        "accept_stuck_deletion",
    ),
    (
        {"extra": {"networkConfig": {"acceleratorNetworkProfile": "auto"}}},
        "GCP_NEVER_DELETES",
        "extra",
        "'auto'",
        "dranet",
    ),
    (
        {"capacity": "spot", "reservation": "r"},
        "INPUT_COMBINATION",
        "capacity",
        "capacity=spot with reservation=r",
        "leave reservation out",
    ),
    ({"capacity": "reservation"}, "INPUT_COMBINATION", "capacity", "without reservation", "reservationBlocks"),
    (
        {"capacity": "reservation", "reservation": "Bad/Path"},
        "INPUT_COMBINATION",
        "capacity",
        "'Bad/Path'",
        "projects/P/reservations/R",
    ),
    (
        {"capacity": "flex_start", "max_nodes": 4},
        "INPUT_COMBINATION",
        "capacity",
        "capacity=flex_start with node_count=4",
        "Leave node_count out",
    ),
    (
        {"capacity": "flex_start", "node_count": None},
        "INPUT_COMBINATION",
        "capacity",
        "without max_nodes",
        "greatest number",
    ),
    (
        {"capacity": "flex_start", "node_count": None, "max_nodes": 4, "reservation": "r"},
        "INPUT_COMBINATION",
        "capacity",
        "with reservation=r",
        "leave reservation out",
    ),
    (
        {"capacity": "queued", "node_count": None, "max_nodes": 4, "compact": True},
        "INPUT_COMBINATION",
        "capacity",
        "compact=true",
        "Leave compact out",
    ),
    (
        {"machine": "a4x", "compact": True, "networks": RAILS[:5]},
        "INPUT_COMBINATION",
        "capacity",
        "machine=a4x",
        "placement_policy",
    ),
    ({"node_count": None}, "INPUT_COMBINATION", "node_count", "without node_count", "per zone"),
    ({"driver": "specific"}, "INPUT_COMBINATION", "driver, driver_version", "(not set)", "go together"),
    ({"driver_version": "570.1"}, "INPUT_COMBINATION", "driver, driver_version", "570.1", "go together"),
    ({"taints": ({"key": "k", "effect": "NoSchedule"},)}, "INPUT_TYPE", "taints", "'NoSchedule'", "NO_SCHEDULE"),
    (
        {"machine": "a4", "disk_type": "pd-balanced"},
        "INPUT_COMBINATION",
        "disk_type",
        "pd-balanced",
        "hyperdisk-balanced",
    ),
    ({"name": "g" * 41}, "INPUT_NAME", "name", "41 characters", "shorten"),
    ({"extra": {"initialNodeCount": 3}}, "INPUT_COMBINATION", "extra", "initialNodeCount", "options"),
    (
        {"extra": {"networkConfig": {"additionalNodeNetworkConfigs": []}}},
        "INPUT_COMBINATION",
        "extra",
        "additionalNodeNetworkConfigs",
        "options",
    ),
]
CPU_POOLS: list[tuple[Change, str, str, str, str]] = [
    ({"networks": RAILS}, "INPUT_COMBINATION", "networks", "9 networks for a machine without", "Leave networks out"),
    (
        {"autoscaling": {"min_nodes": 1, "total_max_nodes": 4}, "node_count": None},
        "INPUT_COMBINATION",
        "autoscaling",
        "per zone with total",
        "total_min_nodes",
    ),
    ({"autoscaling": {"min_nodes": 1}}, "INPUT_COMBINATION", "autoscaling", "node_count=4", "Leave one of them out"),
    (
        {"zones": ("europe-west1-b", "europe-west1-c"), "compact": True},
        "INPUT_COMBINATION",
        "capacity",
        "in 2 zones",
        "one zone",
    ),
    (
        {"autoscaling": {"max_nodes": 1}, "capacity": "queued", "node_count": None, "max_nodes": 4},
        "INPUT_COMBINATION",
        "autoscaling",
        "capacity=queued",
        "max_nodes",
    ),
]
ALL = [
    *((network_checks.judge, NETWORK, *row) for row in NETWORKS),
    *((cluster.judge, CLUSTER, *row) for row in CLUSTERS),
    *((pool.judge, POOL, *row) for row in POOLS),
    *((pool.judge, CPU, *row) for row in CPU_POOLS),
]


@pytest.mark.parametrize("case", ALL, ids=lambda case: f"{case[4]}-{sorted(case[2])}")
def test_bad_options(case: t.Any) -> None:
    judge, good, change, code, subject, seen, fix = case
    found = [
        finding
        for finding in judge(dataclasses.replace(good, **change))
        if (finding.code, finding.subject) == (code, subject) and seen in finding.evidence and fix in finding.fix
    ]
    assert len(found) == 1, judge(dataclasses.replace(good, **change))


def test_one_mistake_is_one_finding() -> None:
    """Apart from a4x, which is marked as not proven besides."""
    for judge, good, change, *_expected in ALL:
        errors = [finding for finding in judge(dataclasses.replace(good, **change)) if finding.severity == "error"]
        assert len(errors) <= 1, (change, errors)
