# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import operate_data as data
import pytest

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _gate
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._gate import Asked, World


def world(groups: int = 1, nodes: int = 6, plan: dict[str, t.Any] | None = None, **changes: t.Any) -> World:
    seen = data.deployed(groups, **changes)
    there = [data.node(f"gpu-{index}") for index in range(nodes)]
    return World(plan or data.plan(decode_groups=groups), seen, tuple(there), seen.pods)


@pytest.mark.parametrize("operation", sorted(_gate.OPERATIONS))
def test_no_runbook_starts_without_a_deployment(operation: str) -> None:
    for changes, code in (
        ({"namespace": None, "sets": (), "deployments": (), "pods": ()}, "DEPLOYMENT_ABSENT"),
        ({"deployments": ()}, "DEPLOYMENT_PARTIAL"),
    ):
        intent = _gate.judge(operation, world(**changes), Asked())
        assert [item.code for item in intent.findings] == [code]


@pytest.mark.parametrize(
    ("groups", "words"), [(1, "every request fails"), (2, "1 other group of the tier serves the others")]
)
def test_restart_group_tells_what_is_left(groups: int, words: str) -> None:
    intent = _gate.judge("restart_group", world(groups), Asked(tier="decode", group=0))
    assert words in intent.impact[0]
    assert intent.interrupts
    (shown,) = intent.as_dict()["groups"]
    assert (shown["leader"], len(shown["pods"])) == (f"{data.RELEASE}-nvidia-gpu-vllm-decode-0", 2)


def test_a_group_that_serves_nothing_is_restarted_without_asking() -> None:
    pods = tuple(data.pod("decode", 0, worker, f"gpu-{2 + worker}", ready=False) for worker in (0, 1))
    intent = _gate.judge("restart_group", world(pods=pods), Asked(tier="decode", group=0))
    assert not intent.interrupts


@pytest.mark.parametrize(("nodes", "codes"), [(4, ["NO_ROOM"]), (5, [])])
def test_drain_needs_another_node(nodes: int, codes: list[str]) -> None:
    intent = _gate.judge("drain_node", world(nodes=nodes), Asked(node="gpu-3"))
    assert [item.code for item in intent.findings] == codes
    assert [group.title for group in intent.groups] == ["decode group 0"]
    assert intent.interrupts


def test_drain_of_a_node_without_groups_interrupts_nothing() -> None:
    intent = _gate.judge("drain_node", world(nodes=5), Asked(node="gpu-4"))
    assert (intent.interrupts, intent.idle, intent.groups) == (False, "", ())


@pytest.mark.parametrize("operation", ["drain_node", "return_node"])
def test_an_unknown_node_is_refused(operation: str) -> None:
    intent = _gate.judge(operation, world(), Asked(node="gpu-99"))
    assert [item.code for item in intent.findings] == ["RUNBOOK_TARGET"]
    assert "gpu-5" in intent.findings[0].evidence


def test_return_of_a_node_that_is_not_cordoned_is_idle() -> None:
    assert "not cordoned" in _gate.judge("return_node", world(), Asked(node="gpu-1")).idle


@pytest.mark.parametrize(
    ("groups", "nodes", "codes", "seen"),
    [
        ((1, 1), 4, [], "idle"),
        ((1, 2), 6, [], "quiet"),
        ((1, 2), 5, ["NO_ROOM"], "quiet"),
        ((2, 1), 6, [], "interrupts"),
    ],
)
def test_scale(groups: tuple[int, int], nodes: int, codes: list[str], seen: str) -> None:
    intent = _gate.judge("scale", world(groups[0], nodes, data.plan(decode_groups=groups[1])), Asked())
    assert [item.code for item in intent.findings] == codes
    assert (intent.interrupts, bool(intent.idle)) == (seen == "interrupts", seen == "idle")


def changed(role: str) -> list[dict[str, t.Any]]:
    spec = data.pod_spec()
    spec["containers"][0]["image"] = "registry.example/vllm:v2"
    return [data.workload(other, spec=spec if other == role else None) for other in ("prefill", "decode")]


@pytest.mark.parametrize(
    ("groups", "words"),
    [(1, "no spare group: the tier is away"), (2, "a spare group exists: service is kept")],
)
def test_upgrade_says_which_case_holds(groups: int, words: str) -> None:
    wanted = changed("decode")
    wanted[1]["spec"]["replicas"] = groups
    intent = _gate.judge("upgrade", world(groups), Asked(wanted=tuple(wanted)))
    assert intent.tiers == ("decode",)
    assert intent.interrupts
    assert words in "\n".join(intent.impact)
    assert "registry.example/vllm:v2" in "\n".join(intent.impact)


def test_upgrade_goes_decode_first() -> None:
    wanted = [changed("prefill")[0], changed("decode")[1]]
    assert _gate.judge("upgrade", world(), Asked(wanted=tuple(wanted))).tiers == ("decode", "prefill")


def test_upgrade_to_what_runs_is_idle() -> None:
    seen = data.deployed()
    intent = _gate.judge("upgrade", world(), Asked(wanted=seen.sets))
    assert intent.idle
    assert not _gate.judge("upgrade", world(), Asked(wanted=seen.sets, router_change="values differ")).idle


def test_upgrade_on_top_of_another_is_refused() -> None:
    pods = (data.pod("decode", 0, 0, "gpu-2"), data.pod("decode", 0, 1, "gpu-3", revision="r2"))
    intent = _gate.judge("upgrade", world(pods=pods), Asked(wanted=tuple(changed("decode"))))
    assert [item.code for item in intent.findings] == ["REVISIONS_MIXED"]


def test_a_rotated_token_restarts_every_group_decode_first() -> None:
    intent = _gate.judge("rotate_hf_token", world(2), Asked())
    assert [group.title for group in intent.groups] == ["decode group 0", "decode group 1", "prefill group 0"]


@pytest.mark.parametrize("operation", ["upgrade", "rollback", "scale", "rotate_hf_token"])
def test_a_broken_group_is_told_so_that_its_logs_are_kept(operation: str) -> None:
    pods = (*data.deployed().pods[:3], data.pod("decode", 0, 1, "gpu-3", ready=False))
    wanted = Asked(wanted=tuple(changed("decode")))
    assert _gate.judge(operation, world(pods=pods), wanted).as_dict()["unhealthy"]
    assert not _gate.judge(operation, world(), wanted).as_dict()["unhealthy"]
