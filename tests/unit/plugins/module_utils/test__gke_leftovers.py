# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_leftovers as leftovers

NETWORK, CLUSTER = "wide-ep-net-0", "wide-ep"
VPC = f"https://www.googleapis.com/compute/v1/projects/demo/global/networks/{NETWORK}"
PVC = '{"kubernetes.io/created-for/pvc/name": "data", "kubernetes.io/created-for/pvc/namespace": "n"}'

# kind, object -> whether it is left, whether it goes with the cluster, a part of the reason
CASES: list[tuple[str, dict[str, t.Any], bool, bool, str]] = [
    (
        "forwardingRules",
        {"name": "a1b2", "network": VPC, "description": '{"kubernetes.io/service-name":"llm-d/gw"}'},
        True,
        False,
        "made for llm-d/gw",
    ),
    ("forwardingRules", {"name": "a1b2", "network": VPC + "-other"}, False, False, ""),
    ("networkEndpointGroups", {"name": "k8s1-x", "network": VPC}, True, False, "Gateway"),
    ("firewalls", {"name": "gke-wide-ep-0a1b2c3d-all", "network": VPC}, True, True, "the cluster"),
    ("firewalls", {"name": "gke-wide-ep-b-0a1b2c3d-all", "network": VPC}, True, False, ""),
    ("firewalls", {"name": "k8s-fw-a1b2", "network": VPC}, True, False, ""),
    ("firewalls", {"name": "wide-ep-net-0-internal", "network": VPC}, False, False, ""),
    (
        "disks",
        {"name": "pvc-1", "labels": {"goog-k8s-cluster-name": CLUSTER}, "description": PVC, "users": ["p/i/node-1"]},
        True,
        False,
        "made for data; in use by node-1",
    ),
    ("disks", {"name": "pvc-1", "labels": {"goog-k8s-cluster-name": "other"}, "description": PVC}, False, False, ""),
    ("healthChecks", {"name": "k8s1-abc", "description": '{"cluster": "wide-ep"}'}, True, False, ""),
    ("healthChecks", {"name": "mine", "description": "of wide-ep"}, False, False, ""),
    ("healthChecks", {"name": "k8s1-abc", "description": "wide-epoch"}, False, False, ""),
]


@pytest.mark.parametrize(("kind", "body", "left", "with_cluster", "reason"), CASES)
def test_what_is_left(kind: str, body: dict[str, t.Any], left: bool, with_cluster: bool, reason: str) -> None:
    found = leftovers.leftovers({kind: [body]}, NETWORK, CLUSTER, ["wide-ep-net-0-internal"])
    assert bool(found) is left
    if found:
        assert (found[0].kind, found[0].name, found[0].with_cluster) == (kind, body["name"], with_cluster)
        assert reason in found[0].reason


def test_scopes_are_kept_and_sorted() -> None:
    pages = [("regions/r", {"disks": [{"name": "b"}, {"name": "a"}]}), ("zones/z", {}), ("global", {"disks": None})]
    found = leftovers.flattened("disks", pages)
    assert found == [{"name": "b", "scope": "regions/r"}, {"name": "a", "scope": "regions/r"}]
    labeled = [{**body, "labels": {leftovers.CLUSTER_LABEL: CLUSTER}} for body in found]
    assert [item.name for item in leftovers.leftovers({"disks": labeled}, NETWORK, CLUSTER)] == ["a", "b"]
