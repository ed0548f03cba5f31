# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.action import restart_guard
from ansible_collections.llmd.wide_ep.plugins.action.restart_guard import ActionModule

ACCOUNT = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deepseek-r1", "namespace": "ns"}}
QUEUE = {"kueue.x-k8s.io/queue-name": "queue"}


def workload(role: str, value: str = "1", labels: dict[str, str] | None = None) -> dict[str, t.Any]:
    container = {"name": "vllm", "env": [{"name": "A", "value": value}]}
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": role, "namespace": "ns", "labels": {"llm-d.ai/role": role, **(labels or {})}},
        "spec": {"leaderWorkerTemplate": {"size": 2, "workerTemplate": {"spec": {"containers": [container]}}}},
    }


def act(live: list[t.Any], wanted: list[t.Any], *, allowed: bool = False, check: bool = False) -> dict[str, t.Any]:
    action = ActionModule.__new__(ActionModule)
    action._task = t.cast("t.Any", types.SimpleNamespace(check_mode=check, diff=True))
    arguments = {"wanted": wanted, "live": live, "allow_restart": allowed, "start_budget_seconds": 2700}
    return action.act(arguments, {})


LIVE = [workload("prefill"), workload("decode")]
CHANGED = [ACCOUNT, workload("prefill"), workload("decode", "2")]
IN_QUEUE = [workload("prefill", labels=QUEUE), workload("decode", labels=QUEUE)]
CHANGED_IN_QUEUE = [ACCOUNT, workload("prefill", labels=QUEUE), workload("decode", "2", labels=QUEUE)]


@pytest.mark.parametrize(("live", "wanted"), [(LIVE, CHANGED), (IN_QUEUE, CHANGED_IN_QUEUE)])
def test_a_restart_is_refused(live: list[t.Any], wanted: list[t.Any]) -> None:
    result = act(live, wanted)
    assert result["failed"]
    assert "RESTART_NEEDED" in result["msg"]
    assert "decode" in result["msg"]
    assert "prefill" not in result["msg"]


def test_in_place_everything_is_applied() -> None:
    result = act(LIVE, CHANGED, allowed=True)
    assert "failed" not in result
    assert (result["recreate"], result["apply"]) == ([], CHANGED)
    assert "every request fails" in " ".join(result["msg"].split())
    assert "wide_ep_allow_restart" not in result["msg"]
    assert max(len(line) for line in result["msg"].splitlines()) <= 98


def test_in_a_queue_only_the_changed_tier_is_deleted_before_everything_is_applied() -> None:
    result = act(IN_QUEUE, CHANGED_IN_QUEUE, allowed=True)
    assert [item["metadata"] for item in result["recreate"]] == [{"name": "decode", "namespace": "ns"}]
    assert set(result["recreate"][0]) == {"apiVersion", "kind", "metadata"}
    assert result["apply"] == CHANGED_IN_QUEUE
    assert result["actions"] == {"prefill": "keep", "decode": "recreate"}


@pytest.mark.parametrize("allowed", [False, True])
def test_check_mode_shows_and_goes_on_without_what_the_webhook_refuses(allowed: bool) -> None:
    result = act(IN_QUEUE, CHANGED_IN_QUEUE, allowed=allowed, check=True)
    assert "failed" not in result
    assert result["changed"]
    assert result["apply"] == CHANGED_IN_QUEUE[:2]
    assert "decode" in result["msg"]


def test_the_diff_is_printed_even_where_the_run_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[str] = []
    monkeypatch.setattr(restart_guard.display, "display", lambda line, **_: printed.append(line))
    assert act(LIVE, CHANGED)["failed"]
    assert printed[2:] == ["-vllm.env.A: 1", "+vllm.env.A: 2"]
    assert len([line for line in printed if "decode" in line]) == 2


def test_nothing_to_do() -> None:
    result = act(LIVE, [ACCOUNT, *LIVE])
    assert (result.get("failed"), result["changed"], result["msg"]) == (None, False, "")
