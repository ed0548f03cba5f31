# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs inside of the sandbox: what they decide, without a sandbox."""

from __future__ import annotations

import types
import typing as t

import pytest
import yaml
from loading import load_file

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._rehearsal_topology import topology

from ..._collection import ROOT

ROLE = ROOT / "roles" / "rehearsal_cluster"
PROFILE = yaml.safe_load((ROLE / "vars/gke.yml").read_text())["_rehearsal_cluster_profile"]


def load(name: str) -> types.ModuleType:
    return load_file(ROLE / f"files/sandbox/{name}.py", f"rehearsal_{name}")


boot, steward = load("boot"), load("steward")
TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def node(ready: str = "True", heartbeat: str = "2026-01-01T00:00:10Z", taints: t.Any = ()) -> dict[str, t.Any]:
    condition = {"type": "Ready", "status": ready, "lastHeartbeatTime": heartbeat, "message": "why"}
    return {
        "metadata": {"labels": {"a": "1", "other": "x"}},
        "spec": {"taints": list(taints)},
        "status": {"conditions": [condition], "capacity": {"gpu": "8"}, "allocatable": {"gpu": "0"}},
    }


BOOTED = steward.parse_time("2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("found", "waits"),
    [
        (node(), ""),
        (None, "not registered"),
        (node(ready="False"), "why"),
        (node(heartbeat="2025-12-31T23:59:50Z"), "no heartbeat"),
        (node(taints=[{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]), "tainted"),
        ({"status": {}, "spec": {}}, "no Ready condition"),
    ],
)
def test_readiness(found: dict[str, t.Any] | None, waits: str) -> None:
    answer = steward.readiness(found, BOOTED)
    assert answer.startswith(waits)
    assert bool(answer) is bool(waits)


@pytest.mark.parametrize(
    ("taints", "missing"), [([], [TAINT]), ([TAINT], []), ([{**TAINT, "effect": "NoExecute"}], [TAINT])]
)
def test_missing_taints(taints: list[dict[str, str]], missing: list[dict[str, str]]) -> None:
    assert steward.missing_taints(node(taints=taints), [TAINT]) == missing


@pytest.mark.parametrize(
    ("labels", "stale"), [({"a": "1"}, False), ({"a": "2"}, True), ({"b": "1"}, True), ({}, False)]
)
def test_stale_labels(labels: dict[str, str], stale: bool) -> None:
    assert steward.stale_labels(node(), labels) is stale


@pytest.mark.parametrize(("resources", "stale"), [({"gpu": "8"}, True), ({}, False), ({"nic": "1"}, True)])
def test_a_resource_counts_when_it_is_allocatable_too(resources: dict[str, str], stale: bool) -> None:
    assert steward.stale_resources(node(), resources) is stale


def test_a_full_mesh_routes_across_rails_and_a_rail_only_fabric_refuses() -> None:
    for mode, word in (
        ("full_mesh", "via 10.202.1.1 dev rail1 table 101"),
        ("rail_only", "unreachable 10.202.0.0/16 table 101"),
    ):
        cluster = topology("local", "10.201.0.0/30", PROFILE, fabric=mode)
        lines = boot.node_links(cluster, cluster["nodes"][1])
        assert [line for line in lines if line.endswith(word)], mode
        gateways = [line for line in boot.bridges(cluster) if line.startswith("address add 10.202.")]
        assert len(gateways) == (8 if mode == "full_mesh" else 0)


def test_a_drop_is_one_way_and_in_both_families() -> None:
    rules = boot.fault_rules([{"source": "10.202.1.11", "target": "10.202.3.13"}])
    assert rules.count("ip saddr 10.202.1.11 ip daddr 10.202.3.13 drop") == 2
    assert "ip saddr 10.202.3.13" not in rules
    assert "table bridge fabric" in rules
    assert "table inet fabric" in rules


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ({"type": "down", "source": "local-gpu-0/rail7"}, "link set rail7 down"),
        ({"type": "mtu", "source": "local-gpu-0/rail2", "mtu": 1500}, "link set rail2 mtu 1500"),
    ],
)
def test_faults_of_a_port_are_on_its_node_alone(fault: dict[str, t.Any], line: str) -> None:
    cluster = topology("local", "10.201.0.0/30", PROFILE, faults=[fault])
    assert boot.node_links(cluster, cluster["nodes"][1])[-1] == line
    assert line not in boot.node_links(cluster, cluster["nodes"][2])


class Answers:
    """An API server that knows some paths."""

    def __init__(self, *paths: str) -> None:
        self.paths = set(paths)
        self.applied: list[str] = []

    def apply(self, path: str, _body: t.Any) -> None:
        self.applied.append(path)

    def call(self, method: str, path: str) -> None:
        assert method == "DELETE"
        if path not in self.paths:
            raise steward.ApiError(404 if path.startswith("/apis") else 500, "no")
        self.paths.remove(path)


def stewarded(api: Answers, absent: list[str]) -> t.Any:
    made = steward.Steward.__new__(steward.Steward)
    made.api, made.applied, made.digest = api, "", "d"
    made.desired = {"objects": [{"path": "/a", "object": {}}], "absent": absent}
    return made


def test_what_is_to_be_absent_is_deleted_once() -> None:
    api = Answers("/apis/old")
    made = stewarded(api, ["/apis/old", "/apis/never-there"])
    made.apply_objects()
    made.apply_objects()
    assert (api.paths, api.applied, made.applied) == (set(), ["/a"], "d")


def test_a_deletion_that_fails_is_tried_again() -> None:
    made = stewarded(Answers(), ["/api/other"])
    with pytest.raises(steward.ApiError):
        made.apply_objects()
    assert made.applied == ""
