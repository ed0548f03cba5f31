# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes against what the overlays ask for."""

from __future__ import annotations

import copy
import typing as t

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._node_pools_nodes import Wanted, findings

from ..._collection import ROOT

Json = dict[str, t.Any]
SHAPES = yaml.safe_load((ROOT / "roles" / "wide_ep" / "vars" / "main.yml").read_text())["_wide_ep_node_shapes"]
DRIVER = "nvidia.com/cuda.driver-version.major"


def node(name: str, overlay: str) -> Json:
    """A node that is as the overlay asks for."""
    shape = SHAPES[overlay]
    levels = dict.fromkeys(shape["topology_levels"], "x")
    labels = {**shape["labels"], **levels, "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": "z"}
    devices = {"nvidia.com/gpu": str(shape["gpus"]), **shape["rdma_resources"]}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {"allocatable": {**devices, "cpu": "8"}},
    }


def four(overlay: str = "gke") -> list[Json]:
    return [node(f"n{index}", overlay) for index in range(4)]


@pytest.mark.parametrize("overlay", SHAPES)
def test_nodes_as_asked_for(overlay: str) -> None:
    assert findings(four(overlay), Wanted(4, SHAPES[overlay], strict=True)) == []


def change(nodes: list[Json], where: str, key: str, value: t.Any, which: slice = slice(0, 1)) -> None:
    for item in nodes[which]:
        target = item["metadata"]["labels"] if where == "labels" else item["status"]["allocatable"]
        target.pop(key, None)
        if value is not None:
            target[key] = value


CASES: list[tuple[str, str, t.Any, slice, str, str, str, str]] = [
    ("allocatable", "nvidia.com/gpu", None, slice(0, 4), "NODE_RESOURCE", "error", "n0, n1, n2, n3", "device plugin"),
    ("allocatable", "nvidia.com/gpu", "7", slice(1, 2), "NODE_RESOURCE", "error", "n1: not nvidia.com/gpu=8", ""),
    ("labels", "topology.kubernetes.io/zone", "y", slice(0, 1), "NODE_MIX", "error", "2 zones: y, z", "one zone"),
    ("labels", "nvidia.com/gpu.product", "H100", slice(0, 1), "", "", "", ""),
    (
        "labels",
        "cloud.google.com/gce-topology-block",
        None,
        slice(0, 4),
        "NODE_TOPOLOGY",
        "warning",
        "n0, n1, n2, n3",
        "compact",
    ),
    ("labels", DRIVER, "580", slice(0, 4), "DRIVER_COMBINATION", "error", "driver 580", "deepep_low_latency"),
    ("labels", DRIVER, "570", slice(0, 4), "DRIVER_COMBINATION", "warning", "forward-compat", "CUDA 12"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[1]}={case[2]}")
def test_what_differs(case: tuple[str, str, t.Any, slice, str, str, str, str]) -> None:
    *difference, code, severity, seen, fix = case
    nodes = four()
    change(nodes, *difference)
    found = findings(nodes, Wanted(4, SHAPES["gke"], backend="deepep_high_throughput", cuda="13.0.2"))
    assert [(finding.code, finding.severity) for finding in found] == ([(code, severity)] if code else [])
    for finding in found:
        assert seen in finding.evidence
        assert fix in finding.fix


def test_one_finding_for_what_the_same_nodes_lack() -> None:
    """Nodes that announce other names than the overlay asks for: what is there is shown."""
    nodes = four()
    for item in nodes:
        there = item["status"]["allocatable"]
        for index in range(8):
            there.pop(f"networking.gke.io.networks/rdma-{index}.IP")
            there[f"networking.gke.io.networks/rdma-{index}"] = "1"
    (found,) = findings(nodes, Wanted(4, SHAPES["gke"]))
    assert found.code == "NODE_RESOURCE"
    assert found.subject.count(".IP") == 8
    assert "networking.gke.io.networks/rdma-0=1" in found.evidence
    assert "end in .IP" in found.fix


def test_another_provider_s_nodes() -> None:
    (found,) = [f for f in findings(four("coreweave"), Wanted(4, SHAPES["gke"])) if f.code == "NODE_RESOURCE"]
    assert "rdma/ib=1" in found.evidence
    assert "overlay" in found.fix


def test_drivers_differ() -> None:
    nodes = four()
    change(nodes, "labels", DRIVER, "570", slice(0, 2))
    change(nodes, "labels", DRIVER, "580", slice(2, 4))
    found = findings(nodes, Wanted(4, SHAPES["gke"]))
    assert [(finding.code, finding.subject) for finding in found] == [("NODE_MIX", "GPU drivers")]
    assert "570 on n0, n1; 580 on n2, n3" in found[0].evidence


@pytest.mark.parametrize(("cordoned", "count", "enough"), [(0, 4, True), (1, 4, False), (0, 5, False), (1, 3, True)])
def test_count(cordoned: int, count: int, enough: bool) -> None:
    nodes = copy.deepcopy(four())
    for item in nodes[:cordoned]:
        item["spec"]["unschedulable"] = True
    codes = [finding.code for finding in findings(nodes, Wanted(count, SHAPES["gke"]))]
    assert codes == ([] if enough else ["NODE_COUNT"])


def test_topology_is_an_error_where_a_queue_needs_it() -> None:
    nodes = four()
    change(nodes, "labels", "cloud.google.com/gce-topology-block", None, slice(0, 4))
    assert [f.severity for f in findings(nodes, Wanted(4, SHAPES["gke"], strict=True))] == ["error"]


def test_many_nodes_are_not_all_listed() -> None:
    nodes = [node(f"n{index:02}", "gke") for index in range(9)]
    change(nodes, "allocatable", "nvidia.com/gpu", "0", slice(0, 9))
    (found,) = findings(nodes, Wanted(4, SHAPES["gke"]))
    assert "n00, n01, n02, n03 and 5 more" in found.evidence
