# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import operate_data as data
import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils import _operate

FOREIGN = {**data.workload("decode"), "metadata": {"name": f"{data.RELEASE}-nvidia-gpu-vllm-decode", "labels": {}}}


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({}, "present", ()),
        (
            {"namespace": None, "sets": (), "deployments": (), "pods": ()},
            "absent",
            ("namespace does not exist", "site"),
        ),
        ({"sets": (), "deployments": ()}, "absent", ("no LeaderWorkerSet",)),
        ({"sets": (data.workload("prefill"),)}, "partial", ("vllm-decode do not", "site.yml")),
        ({"deployments": ()}, "partial", ("wide-ep-lws-epp",)),
        ({"sets": (data.workload("prefill"), FOREIGN)}, "foreign", ("vllm-decode exist without the label",)),
    ],
)
def test_presence(changes: dict[str, t.Any], state: str, words: tuple[str, ...]) -> None:
    found, findings = _operate.presence(data.plan(), data.deployed(**changes))
    assert found == state
    text = " ".join(f"{item.evidence} {item.fix}" for item in findings)
    for word in words:
        assert word in text
    assert bool(findings) == (state != "present")


def test_groups_know_their_leader_nodes_and_readiness() -> None:
    prefill, first, second = _operate.all_groups(data.plan(), data.deployed(2))
    assert [group.title for group in (prefill, first, second)] == [
        "prefill group 0",
        "decode group 0",
        "decode group 1",
    ]
    assert second.leader is not None
    assert second.leader["metadata"]["name"].endswith("decode-1")
    assert (second.nodes, second.gpus, second.ready) == (("gpu-4", "gpu-5"), 16, True)
    assert _operate.spare(first, [prefill, first, second]) == 1
    assert _operate.spare(prefill, [prefill, first, second]) == 0
    assert _operate.spare(first, [first, second], gone=[second]) == 0


def test_a_group_without_a_pod_is_not_ready() -> None:
    seen = data.deployed(pods=(data.pod("decode", 0, 0, "gpu-2"),))
    prefill, decode = _operate.all_groups(data.plan(), seen)
    assert (prefill.ready, decode.ready) == (False, False)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        (1, "1 other group of the tier serves the others"),
        (2, "2 other groups of the tier serve the others"),
        (0, "every request fails"),
    ],
)
def test_interruption_says_who_serves(others: int, words: str) -> None:
    group = _operate.all_groups(data.plan(), data.deployed())[1]
    text = _operate.interruption(group, others, 2700)
    assert words in text
    assert "2 pods, 16 GPUs on gpu-2, gpu-3" in text
    assert "2700 s" in text


def test_two_templates_in_one_tier_are_told() -> None:
    pods = (data.pod("decode", 0, 0, "gpu-2"), data.pod("decode", 1, 0, "gpu-3", revision="r2"))
    (finding,) = _operate.mixed_revisions(data.plan(), data.deployed(pods=pods))
    assert (finding.code, finding.evidence) == ("REVISIONS_MIXED", "1 pods of r1, 1 pods of r2")
    assert _operate.mixed_revisions(data.plan(), data.deployed(2)) == []


@pytest.mark.parametrize(("role", "index", "found"), [("decode", 1, True), ("decode", 2, False), ("", 0, False)])
def test_target(role: str, index: int, found: bool) -> None:
    group, findings = _operate.target_group(data.plan(), data.deployed(2), role, index)
    assert (group is not None) == found
    assert [item.code for item in findings] == ([] if found else ["RUNBOOK_TARGET"])


# --- Room


def demands(count: int) -> list[_operate.Demand]:
    return [_operate.Demand(f"new-{index}", data.pod_spec()) for index in range(count)]


@pytest.mark.parametrize(
    ("nodes", "leaving", "placed"),
    [
        (["gpu-0", "gpu-1"], (), 0),
        (["gpu-0", "gpu-1", "gpu-8"], (), 1),
        (["gpu-0", "gpu-1"], ("uid-wide-ep-lws-nvidia-gpu-vllm-prefill-0",), 1),
    ],
)
def test_room_is_what_pods_that_stay_leave(nodes: list[str], leaving: tuple[str, ...], placed: int) -> None:
    there = [data.node(name) for name in nodes]
    free = _operate.free_amounts(there, data.deployed().pods, leaving)
    assert len(_operate.place(demands(2), there, free)[0]) == placed


def test_pods_below_a_priority_hold_nothing() -> None:
    check = data.pod("decode", 0, 0, "gpu-0")
    check["spec"]["priority"] = -1
    nodes = [data.node("gpu-0")]
    assert not _operate.place(demands(1), nodes, _operate.free_amounts(nodes, [check]))[0]
    assert _operate.place(demands(1), nodes, _operate.free_amounts(nodes, [check], below=0))[0]


def test_no_room_says_why() -> None:
    nodes = [data.node("gpu-0"), data.node("gpu-9", cordoned=True)]
    free = _operate.free_amounts(nodes, data.deployed().pods)
    (finding,) = _operate.room_findings("decode", demands(1), nodes, free, "Add nodes.")
    assert finding.code == "NO_ROOM"
    assert "1 node with 0 of 8 nvidia.com/gpu free" in finding.evidence
    assert "cordoned" in finding.evidence
    assert _operate.room_findings("decode", demands(1), [data.node("gpu-8")], {"gpu-8": free_of("gpu-8")}, "") == []


def free_of(name: str) -> dict[str, t.Any]:
    return _operate.free_amounts([data.node(name)], [])[name]


# --- Scale


@pytest.mark.parametrize(
    ("now", "wanted", "kind", "new", "leaving"),
    [
        ((1, 2), {"decode_groups": 2}, "up", 2, []),
        ((2, 2), {"decode_groups": 1}, "down", 0, [1]),
        ((1, 2), {"decode_hosts_per_group": 1}, "resize", 1, [0]),
        ((1, 2), {}, "none", 0, []),
    ],
)
def test_scale(now: tuple[int, int], wanted: dict[str, int], kind: str, new: int, leaving: list[int]) -> None:
    plan = data.plan(**wanted)
    workload = data.workload("decode", *now)
    step = _operate.scale_of("decode", plan, workload)
    assert step.kind == kind
    assert len(_operate.scale_demands(step, plan, workload)) == new
    if kind != "none":
        known = _operate.all_groups(plan, data.deployed(now[0]))
        assert [group.index for group in _operate.scale_leaving(step, known)] == leaving
