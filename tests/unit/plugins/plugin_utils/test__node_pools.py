# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans, objects and decisions about node pools."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _node_pools_cks as cks
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _node_pools_gke as gke
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _node_pools_removal as removal
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _node_pools_spend as spend

Json = dict[str, t.Any]
PAIRS = [
    {"network": "projects/p/global/networks/n-1", "subnetwork": "projects/p/regions/r/subnetworks/s-1"},
    *({"network": "rdma-net", "subnetwork": f"rdma-sub-{index}"} for index in range(8)),
]
LABELS = {"wide-ep.llm-d.ai/platform": "true"}
POOLS = [
    {"name": "cpu", "nodes": 1, "machine_type": "n2-standard-32"},
    {"name": "gpu", "nodes": 4, "machine_type": "a3-ultragpu-8g", "gpus_per_node": 8, "capacity": "spot"},
]


def action(what: str, subject: str, *fields: str) -> Json:
    return {"action": what, "object": subject, "fields": list(fields)}


# GKE


def test_network_objects_follow_the_interfaces() -> None:
    objects = gke.network_objects(PAIRS, "a3_ultra", LABELS)
    sets = [item for item in objects if item["kind"] == "GKENetworkParamSet"]
    networks = [item for item in objects if item["kind"] == "Network"]
    names = ["gvnic-1", *(f"rdma-{index}" for index in range(8))]
    assert [item["metadata"]["name"] for item in sets] == names
    assert [item["spec"]["parametersRef"]["name"] for item in networks] == names
    assert [item["spec"]["deviceMode"] for item in sets] == ["NetDevice", *["RDMA"] * 8]
    assert sets[0]["spec"] == {"vpc": "n-1", "vpcSubnet": "s-1", "deviceMode": "NetDevice"}
    assert sets[8]["spec"]["vpcSubnet"] == "rdma-sub-7"
    assert {item["apiVersion"] for item in objects} == {"networking.gke.io/v1"}
    assert all(item["metadata"]["labels"] == LABELS for item in objects)
    assert len(gke.wait_objects(objects)) == 18


def test_network_objects_of_four_rails() -> None:
    objects = gke.network_objects(PAIRS[:5], "a4x", {})
    assert {item["metadata"]["name"] for item in objects} == {"gvnic-1", "rdma-0", "rdma-1", "rdma-2", "rdma-3"}


def test_kubeconfig() -> None:
    made = gke.kubeconfig("wide-ep", "203.0.113.4", "Q0E=", ["python", "x.py", "--flag"], {"A": "b", "EMPTY": ""})
    (user,) = made["users"]
    credential = user["user"]["exec"]
    assert credential["command"] == "python"
    assert credential["args"] == ["x.py", "--flag"]
    assert credential["env"] == [{"name": "A", "value": "b"}]
    assert made["clusters"][0]["cluster"]["server"] == "https://203.0.113.4"
    assert made["current-context"] == made["contexts"][0]["name"]
    assert set(user["user"]) == {"exec"}


# The plan


@pytest.mark.parametrize(
    ("actions", "asks"),
    [
        ([], False),
        ([action("create", "network wide-ep-net-0")], False),
        ([action("create", "cluster wide-ep")], True),
        ([action("replace", "node pool gpu")], True),
        ([action("update", "node pool gpu", "config.labels: {} -> {}")], False),
        ([action("update", "node pool gpu", "targetSize: 4 -> 6")], True),
        ([action("update", "node pool gpu", "targetSize: 6 -> 4")], False),
        ([action("update", "node pool gpu", "targetNodes: None -> 4")], True),
        ([action("update", "node pool gpu", "targetSize: 9 -> 10")], True),
        ([action("delete", "node pool gpu")], False),
    ],
)
def test_what_needs_a_yes(actions: list[Json], asks: bool) -> None:
    assert spend.costs(actions) is asks
    assert spend.plan(actions, POOLS)["costs"] is asks


def test_plan_tells_objects_nodes_and_hours() -> None:
    made = spend.plan(
        [action("create", "node pool gpu"), action("create", "subnetwork a"), action("none", "b c")], POOLS
    )
    assert made["lines"][0] == "create: 1 node pool, 1 subnetwork"
    assert "node pool gpu: 4 x a3-ultragpu-8g, 32 GPUs (spot)" in made["lines"]
    assert made["lines"][-1].startswith("32 GPU hours per hour, 768 per day")
    assert (made["gpus"], made["nodes"], made["changes"]) == (32, 5, 2)
    assert "as they shall be" in spend.plan([], POOLS)["lines"][0]


def test_what_it_costs_to_keep() -> None:
    assert spend.keeping(POOLS, ["gpu"])[-1].startswith("to keep: 32 GPU hours per hour")
    assert len(spend.keeping(POOLS, ["gpu", "cpu"])) == 3
    assert "no node pool of ours" in spend.keeping(POOLS, ["others"])[0]


# CoreWeave

SPEC = {"computeClass": "default", "instanceType": "gd-8xh200ib-i128", "targetNodes": 4, "nodeLabels": {"a": "b"}}


def live(**changes: t.Any) -> Json:
    return {"metadata": {"name": "gpu", "labels": {**LABELS}}, "spec": {**SPEC, **changes}}


@pytest.mark.parametrize(
    ("existing", "word", "fields"),
    [
        (None, "create", []),
        (live(), "none", []),
        (live(nodeLabels={"a": "b", "foreign": "kept"}), "none", []),
        (live(nodeLabels={"a": "c"}), "update", ["nodeLabels"]),
        (live(targetNodes=2), "update", ["targetNodes: 2 -> 4"]),
        (live(targetNodes=2, autoscaling=True), "none", []),
        (live(instanceType="b200-8x"), "refuse", ["instanceType: b200-8x -> gd-8xh200ib-i128"]),
        (live(instanceType="b200-8x", targetNodes=1), "refuse", ["instanceType"]),
        ({**live(), "metadata": {"name": "gpu"}}, "refuse", []),
    ],
)
def test_decisions(existing: Json | None, word: str, fields: list[str]) -> None:
    decision = cks.decide(cks.pool("gpu", SPEC, LABELS), existing)
    assert decision.action == word
    assert len(decision.fields) == len(fields)
    assert all(part in text for part, text in zip(fields, decision.fields, strict=True))
    assert (decision.finding is not None) is (word == "refuse")


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({}, ""),
        ({"targetRacks": 1, "instanceType": "gb200-4x"}, "exactly one"),
        ({"targetNodes": None}, "exactly one"),
        ({"targetNodes": None, "targetRacks": 1}, "not sold by the rack"),
        ({"targetNodes": None, "targetRacks": 1, "instanceType": "gb200-4x"}, ""),
        ({"instanceType": "gb200-4x", "autoscaling": True}, "not autoscaled"),
        ({"image": {"name": "x"}, "gpu": {"version": "570"}}, "ignored"),
        ({"gpu": {"version": "570"}}, ""),
    ],
)
def test_rules_of_coreweave(change: Json, seen: str) -> None:
    found = cks.input_findings({"gpu": {**SPEC, **change}})
    assert [seen in finding.evidence for finding in found] == ([True] if seen else [])


@pytest.mark.parametrize(
    ("message", "expired"),
    [
        ("GET /version: 403 Forbidden: forbidden: User cannot get path", True),
        ("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews: 403 Forbidden: no", True),
        ("GET /version: 401 Unauthorized: Unauthorized", True),
        (
            "ERROR RIGHT_MISSING: wide_ep_kubeconfig\n  seen: https://x answers GET /version: 401\n"
            "        Unauthorized\n  fix:  Renew it.",
            True,
        ),
        ("GET /api/v1/nodes: 403 Forbidden: nodes is forbidden", False),
        ("cannot reach https://x: no route to host", False),
        ("GET /version: 500 Internal Server Error: it says 4031", False),
    ],
)
def test_an_expired_token_is_told_from_a_missing_right(message: str, expired: bool) -> None:
    found = cks.token_finding(message)
    assert (found is not None) is expired
    if found is not None:
        assert found.code == "CKS_TOKEN"
        assert re.search(r"(401|403) \w+", found.evidence)
        assert "fix:" not in found.evidence


def test_removal_takes_only_ours() -> None:
    others = {"metadata": {"name": "others", "labels": LABELS}, "spec": {}}
    foreign = {"metadata": {"name": "cpu", "labels": {}}, "spec": {}}
    kept = {**live(), "status": {"currentNodes": 2}}
    kept["metadata"]["finalizers"] = ["cks"]
    wanted = [cks.pool("gpu", SPEC, LABELS), cks.pool("cpu", SPEC, LABELS)]
    found = cks.removal([others, foreign, kept], wanted)
    assert [item["metadata"]["name"] for item in found["objects"]] == ["gpu"]
    assert found["idle"][0]["spec"] == {
        "targetNodes": 0,
        "autoscaling": False,
        "lifecycle": {"scaleDownStrategy": "IdleOnly"},
    }
    assert found["left"] == [{"kind": "NodePool", "name": "gpu", "reason": "2 nodes are left, cks"}]
    assert found["actions"] == [action("delete", "node pool gpu")]


# The receipt


def test_receipt() -> None:
    done = [action("delete", "node pool gpu"), action("delete", "network a"), action("none", "network b")]
    left = [{"kind": "disks", "name": "pvc-1", "reason": "made for data"}]
    made = removal.receipt(done, left, [{"kind": "disks", "name": "mine", "reason": "asked for"}])
    assert made["removed"] == 2
    assert [finding["code"] for finding in made["findings"]] == ["CLOUD_LEFT_OVER"]
    assert "disks pvc-1" in made["errors"]
    assert "made for data" in made["errors"]
    assert made["summary"][0] == ["removed", "1 network, 1 node pool"]
    empty = removal.receipt([], [])
    assert (empty["errors"], empty["removed"], empty["left_over"]) == ("", 0, [])
    assert empty["summary"][0][1] == "nothing was there"
