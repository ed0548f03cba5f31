# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Google has is judged before a node pool or an RDMA network is created."""

from __future__ import annotations

import pathlib
import sys
import typing as t
from collections.abc import Callable

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from _harness import CLUSTER, CPU, FAMILY, GPU, NETWORK, ZONE, Bench, Json


def lacking(cluster: Json, key: str) -> None:
    cluster["networkConfig"].pop(key)


Case = tuple[str, Callable[[Bench], t.Any], Json, str, str]
PREFLIGHT: list[Case] = [
    ("cluster", lambda site: site.cloud.objects.pop(FAMILY), {}, "GCP_CLUSTER", "there is none"),
    (
        "dataplane",
        lambda site: lacking(site.cloud.objects[FAMILY], "datapathProvider"),
        {},
        "GCP_CLUSTER",
        "Dataplane V2",
    ),
    (
        "multi-net",
        lambda site: lacking(site.cloud.objects[FAMILY], "enableMultiNetworking"),
        {},
        "GCP_CLUSTER",
        "multi-networking",
    ),
    (
        "version",
        lambda site: site.cloud.objects[FAMILY].update(currentMasterVersion="1.32.9-gke.1"),
        {},
        "GCP_CLUSTER",
        "1.33.4",
    ),
    ("machine", lambda site: None, {"zones": ["europe-west1-c"]}, "GCP_ZONE", "europe-west1-b, us-central1-a"),
    (
        "unknown machine",
        lambda site: None,
        {"machine": None, "networks": None, "interfaces": "none", "machine_type": "n9-standard-32"},
        "GCP_ZONE",
        "No zone offers it",
    ),
    (
        "quota",
        lambda site: site.cloud.quotas[""].update(GPUS_ALL_REGIONS=(64.0, 40.0)),
        {"capacity": "on_demand"},
        "GCP_QUOTA",
        "GPUS_ALL_REGIONS: 32 needed, 24 of 64 left",
    ),
    (
        "reservation",
        lambda site: None,
        {"capacity": "reservation", "reservation": "none"},
        "GCP_RESERVATION",
        "none of that name",
    ),
    (
        "full",
        lambda site: site.cloud.add_reservation(ZONE, "r", "a3-ultragpu-8g", 8, 6),
        {"capacity": "reservation", "reservation": "projects/demo/reservations/r"},
        "GCP_RESERVATION",
        "2 instances are free, 4 are needed",
    ),
    (
        "shape",
        lambda site: site.cloud.add_reservation(ZONE, "r", "a4-highgpu-8g", 8),
        {"capacity": "reservation", "reservation": "r"},
        "GCP_RESERVATION",
        "it is for a4-highgpu-8g",
    ),
    (
        "profile",
        lambda site: site.cloud.objects["projects/demo/global/networks/wide-ep-rdma-net"].pop("networkProfile"),
        {},
        "GCP_NETWORK",
        "(none)",
    ),
    (
        "own network",
        lambda site: site.cloud.objects[FAMILY].update(network="wide-ep-net-1"),
        {},
        "GCP_NETWORK",
        "own network",
    ),
    (
        "policy",
        lambda site: None,
        {"placement_policy": "nowhere", "compact": False},
        "GCP_NETWORK",
        "region europe-west1",
    ),
]


@pytest.mark.parametrize("case", PREFLIGHT, ids=[row[0] for row in PREFLIGHT])
@pytest.mark.parametrize("check", [False, True], ids=["run", "check"])
def test_preflight(site: Bench, case: Case, check: bool) -> None:
    name, prepare, change, code, text = case
    site.build()
    prepare(site)
    given = {key: value for key, value in {**GPU, **change}.items() if value is not None}
    result = site.run("gke_node_pool", given, check=check)
    # In check mode an earlier task may only have told that it would make them.
    assert result.get("failed", False) is not (check and name in ("cluster", "policy"))
    found = result["findings"]
    assert code in {finding["code"] for finding in found}
    assert any(text in finding["evidence"] + finding["fix"] for finding in found)
    assert site.stand_in.writes() == []


def test_reservation_block(site: Bench) -> None:
    """The reservation is read without the block in its path; a degraded block is a warning."""
    site.build()
    site.cloud.add_reservation(ZONE, "r", "a3-ultragpu-8g", 8)
    path = f"projects/demo/zones/{ZONE}/reservations/r/reservationBlocks/b"
    site.cloud.objects[path] = {"name": "b", "healthInfo": {"healthStatus": "DEGRADED"}}
    given = {**GPU, "capacity": "reservation", "reservation": "projects/demo/reservations/r/reservationBlocks/b"}
    result = site.good("gke_node_pool", given)
    assert [finding["evidence"] for finding in result["findings"]] == ["its health is DEGRADED"]
    assert not site.good("gke_node_pool", given)["changed"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"node_count": 4}, ["N2_CPUS: 128 needed, 96 of 128 left"]),
        # What no quota is told for is left to Google.
        ({"machine_type": "e2-standard-32", "node_count": 9}, []),
    ],
    ids=["room", "too many", "not told"],
)
def test_quota_of_cpus(site: Bench, change: Json, told: list[str]) -> None:
    site.build()
    result = site.run("gke_node_pool", {**CPU, **change}, check=True)
    assert [finding["evidence"] for finding in result["findings"] if finding["code"] == "GCP_QUOTA"] == told
    assert bool(result.get("failed")) == bool(told)


def test_machines_of_a_reservation_need_no_quota(site: Bench) -> None:
    site.build()
    site.cloud.quotas[""]["GPUS_ALL_REGIONS"] = (0.0, 0.0)
    site.cloud.add_reservation(ZONE, "r", "a3-ultragpu-8g", 8)
    site.good("gke_node_pool", {**GPU, "capacity": "reservation", "reservation": "r"}, check=True)


def test_project_that_does_not_exist(site: Bench) -> None:
    site.build()
    result = site.run("gke_node_pool", {**GPU, "project": "dmeo"}, check=True)
    assert result["failed"]
    assert "node_pools_project" in result["msg"]


def test_zone_without_rdma(site: Bench) -> None:
    """The zones that have it are named, and nothing was created."""
    result = site.bad("gke_network", {**NETWORK, "zone": "europe-west1-c"}, "GCP_ZONE")
    assert "europe-west1-b, us-central1-a" in result["msg"]
    assert site.stand_in.writes() == []


def test_channel_that_is_too_old(site: Bench) -> None:
    """Before a cluster is created that could not be used; a version of one's own is taken at its word."""
    site.good("gke_network", NETWORK)
    site.stand_in.requests.clear()
    site.cloud.master_version = "1.32.9-gke.1130000"
    result = site.bad("gke_cluster", CLUSTER, "GCP_CLUSTER")
    assert "release channel REGULAR" in result["msg"]
    assert site.stand_in.writes() == []
    site.good("gke_cluster", {**CLUSTER, "version": "1.34"}, check=True)
