# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.action.gpu_minutes import ActionModule
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, ConfigError, Unreachable

CREATED = "1970-01-01T00:10:00Z"


class Cluster:
    """Two nodes of 8 GPUs, ten minutes old by the server's clock."""

    server_time = 1200.0

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem

    def list(self, path: str, params: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        assert path == "/api/v1/nodes"
        if self.problem:
            raise self.problem
        node = {"metadata": {"creationTimestamp": CREATED}, "status": {"capacity": {"nvidia.com/gpu": "8"}}}
        return [node, node, {"metadata": {"creationTimestamp": CREATED}, "status": {}}]


def act(monkeypatch: pytest.MonkeyPatch, cluster: Cluster, budget: float = 0.0) -> dict[str, t.Any]:
    monkeypatch.setattr(ActionModule, "client", staticmethod(lambda _arguments: cluster))
    return ActionModule.__new__(ActionModule).act({"budget": budget, "label_selector": None}, {})


def test_minutes_by_the_server_s_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    result = act(monkeypatch, Cluster())
    assert (result["counted"], result["minutes"], result["gpus"]) == (True, 160.0, 16)
    assert result["spans"] == [{"gpus": 8, "since": 600.0, "until": None}] * 2
    assert not result["failed"]


@pytest.mark.parametrize(("budget", "stops"), [(161, False), (160, True), (0, False)])
def test_budget(monkeypatch: pytest.MonkeyPatch, budget: float, stops: bool) -> None:
    result = act(monkeypatch, Cluster(), budget)
    assert result["failed"] is stops
    assert ("GPU_BUDGET_SPENT" in result.get("msg", "")) is stops


@pytest.mark.parametrize(
    "problem",
    [Unreachable("https://x", "refused"), ConfigError("no kubeconfig"), ApiError(403, "Forbidden", "m", "/p")],
)
def test_no_cluster_is_nothing_to_count(monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    result = act(monkeypatch, Cluster(problem), budget=1)
    assert result == {"counted": False, "minutes": 0.0, "gpus": 0, "spans": []}
