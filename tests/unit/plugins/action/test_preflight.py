# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import time
import typing as t

import operate_data as data
import pytest

from ansible_collections.llmd.wide_ep.plugins.action import preflight
from ansible_collections.llmd.wide_ep.plugins.action.preflight import ActionModule
from ansible_collections.llmd.wide_ep.plugins.module_utils import _preflight_rights
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import AccessReview, ApiError, Response
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._preflight_snapshot import Reader, Rule, Snapshot, served
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._preflight import Check, Outcome

DISCOVERY = {
    "items": [
        {
            "metadata": {"name": "leaderworkerset.x-k8s.io"},
            "versions": [{"version": "v1", "resources": [{"responseKind": {"kind": "LeaderWorkerSet"}}, {}]}],
        },
        {
            "metadata": {"name": "networking.gke.io"},
            "versions": [{"version": "v1", "resources": [{"responseKind": {"kind": "Network"}}]}],
        },
    ]
}
RULES = {
    "status": {"resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}], "incomplete": True}
}


class Cluster:
    """Counts what it is asked; ``denied`` paths are forbidden."""

    def __init__(self, *denied: str) -> None:
        self.denied = denied
        self.request_count = 0
        self.server_time = time.time() + 9
        self.asked: list[str] = []

    def _count(self, path: str) -> None:
        self.request_count += 1
        self.asked.append(path)
        if path.endswith(self.denied or ("-",)):
            raise ApiError(403, "Forbidden", f"cannot list {path}", path)

    def get(self, path: str) -> dict[str, t.Any]:
        self._count(path)
        return {"gitVersion": "v1.34.1"}

    def get_or_none(self, path: str) -> dict[str, t.Any] | None:
        self._count(path)
        return {"metadata": {"name": "x"}, "data": {"HF_TOKEN": "c2VjcmV0"}}

    def list(self, path: str, query: t.Any = None) -> list[dict[str, t.Any]]:
        self._count(path)
        return [{"metadata": {"name": path}}]

    def raw(self, _method: str, path: str, params: t.Any = None, accept: str = "") -> Response:
        self._count(path)
        return Response(200, {}, json.dumps(DISCOVERY if path == "/apis" else {"items": []}).encode())

    def create(self, path: str, body: t.Any) -> dict[str, t.Any]:
        self._count(path)
        return RULES

    def can_i(self, verb: str, resource: str, namespace: str | None = None, **_more: t.Any) -> AccessReview:
        self._count(f"{verb} {resource} in {namespace}")
        return AccessReview(verb == "list", "")


def take(*denied: str) -> Snapshot:
    return Reader(t.cast("t.Any", Cluster(*denied)), "ns", "llm-d-hf-token").take()


def test_a_snapshot_costs_as_many_requests_however_large_the_cluster() -> None:
    snapshot = take()
    assert snapshot.requests == 17
    assert snapshot.unreadable == {}
    assert snapshot.serves("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet")
    assert snapshot.sets[0]["metadata"]["name"] == "/apis/leaderworkerset.x-k8s.io/v1/leaderworkersets"
    assert snapshot.clock is not None
    assert 8 < snapshot.clock < 10
    assert snapshot.rules_incomplete


def test_the_token_s_value_is_not_in_the_snapshot() -> None:
    snapshot = take()
    assert snapshot.token is not None
    assert snapshot.token["data"] == {"HF_TOKEN": "<hidden>"}
    assert "c2VjcmV0" not in str(snapshot.token)


def test_a_right_that_is_missing_costs_its_part_only() -> None:
    snapshot = take("/nodes", "/storageclasses")
    assert set(snapshot.unreadable) == {"nodes", "storage_classes"}
    assert snapshot.nodes == ()
    assert snapshot.pods


def test_kinds_that_are_not_served_are_not_asked_for() -> None:
    assert served({"items": []}) == {}
    cluster = Cluster()
    Reader(t.cast("t.Any", cluster), "ns", "s").take()
    assert not any("gkenetworkparamsets" in path for path in cluster.asked)


NODES = {"apiGroups": [""], "resources": ["nodes"]}
PLAN = {"namespace": "ns", "router_mode": "standalone", "components": []}
ROLE = {
    "metadata": {"name": "wide-ep-deployer"},
    "rules": [{"apiGroups": ["", "apps"], "resources": ["pods", "pods/log"], "verbs": ["get", "list", "create"]}],
}


def test_only_rights_that_the_rules_do_not_show_are_asked_one_by_one() -> None:
    cluster = Cluster()
    snapshot = Snapshot(rules=(Rule(("get", "create"), ("*",), ("pods", "pods/log")),))
    found = preflight.rights_findings(t.cast("t.Any", cluster), snapshot, PLAN, [ROLE])
    assert cluster.asked == ["list pods in ns"] * 4
    assert found == []


def test_rights_outside_of_the_namespace_are_not_taken_for_granted_inside() -> None:
    """A RoleBinding lets the namespace's rules show what is worth nothing for the whole cluster."""
    cluster = Cluster()
    role = {"metadata": {"name": "wide-ep-deployer-cluster"}, "rules": [{**NODES, "verbs": ["get"]}]}
    inside = Snapshot(rules=(Rule(("get",), ("",), ("nodes",)),))
    found = preflight.rights_findings(t.cast("t.Any", cluster), inside, PLAN, [role])
    assert cluster.asked == ["get nodes in None"]
    assert [item.subject for item in found] == ["wide_ep_kubeconfig: core API group, in the whole cluster"]
    everywhere = Snapshot(rules_everywhere=inside.rules)
    assert preflight.rights_findings(t.cast("t.Any", Cluster()), everywhere, PLAN, [role]) == []


@pytest.mark.parametrize(
    ("group", "plan", "concerned"),
    [
        ("apps", {}, True),
        ("gateway.networking.k8s.io", {}, False),
        ("gateway.networking.k8s.io", {"router_mode": "gateway"}, True),
        ("kueue.x-k8s.io", {}, False),
        ("kueue.x-k8s.io", {"components": ["topology_aware"]}, True),
        ("monitoring.coreos.com", {"components": ["topology_aware"]}, False),
    ],
)
def test_rights_of_other_modes_and_components_are_not_asked_for(
    group: str, plan: dict[str, t.Any], concerned: bool
) -> None:
    assert _preflight_rights.concerns(_preflight_rights.Right("get", group, "x"), {**PLAN, **plan}) == concerned


def test_missing_rights_are_told_by_group() -> None:
    found = preflight.rights_findings(t.cast("t.Any", Cluster()), Snapshot(), PLAN, [ROLE])
    assert [item.subject for item in found] == ["wide_ep_kubeconfig: core API group", "wide_ep_kubeconfig: apps"]
    assert found[0].evidence == "pods: get, create; pods/log: get, create"


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        (Rule(("*",), ("*",), ("*",)), True),
        (Rule(("get",), ("",), ("pods",)), True),
        (Rule(("get",), ("",), ("pods",), ("one",)), False),
        (Rule(("list",), ("",), ("pods",)), False),
        (Rule(("get",), ("apps",), ("pods",)), False),
    ],
)
def test_rules(rule: Rule, allowed: bool) -> None:
    asked = _preflight_rights.Right("get", "", "pods")
    assert _preflight_rights.open_questions([asked], Snapshot(rules=(rule,))) == ([] if allowed else [asked])


def outcome(code: str, severity: t.Any) -> Outcome:
    return Outcome(Check("s", code, lambda _snapshot, _asked: []), (Finding(code, severity, "x", "seen", "fix"),))


@pytest.mark.parametrize(
    ("outcomes", "ignore", "failed"),
    [
        ([outcome("GPUS_TAKEN", "error")], [], True),
        ([outcome("GPUS_TAKEN", "error")], ["GPUS_TAKEN"], False),
        ([outcome("GPUS_TAKEN", "error"), outcome("DNS_DOWN", "error")], ["GPUS_TAKEN"], True),
        ([outcome("CLOCK_SKEW", "warning")], [], False),
        ([], [], False),
    ],
)
def test_result(outcomes: list[Outcome], ignore: list[str], failed: bool) -> None:
    action = ActionModule.__new__(ActionModule)
    found = action.result(outcomes, ignore, 19, 0.5)
    assert found["failed"] == failed
    assert ("msg" in found) == failed
    assert len(found["findings"]) == len(outcomes)
    assert data.RELEASE not in str(found)
