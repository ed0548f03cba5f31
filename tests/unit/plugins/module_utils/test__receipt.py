# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils._receipt import (
    Deployment,
    Inventory,
    Kind,
    Thing,
    by_kind,
    findings,
    parse_discovery,
    sort_out,
    thing,
    write_receipt,
)

NAMESPACE = "llm-d-wide-ep"
OURS = Deployment("wide-ep-lws", NAMESPACE, frozenset({"llm-d-hf-token"}))
LABEL = {"wide-ep.llm-d.ai/deployment": "wide-ep-lws"}
SHARED = {"wide-ep.llm-d.ai/platform": "true"}
HELM = {"meta.helm.sh/release-name": "wide-ep-lws", "meta.helm.sh/release-namespace": NAMESPACE}
OTHER_HELM = {"meta.helm.sh/release-name": "wide-ep-lws", "meta.helm.sh/release-namespace": "elsewhere"}
LWS_HELM = {"meta.helm.sh/release-name": "lws", "meta.helm.sh/release-namespace": "lws-system"}
RECORD = {"owner": "helm", "name": "wide-ep-lws"}


def make(kind: str, name: str, namespace: str = NAMESPACE, **changes: t.Any) -> Thing:
    fields: dict[str, t.Any] = {
        "kind": kind,
        "plural": kind.lower() + "s",
        "namespace": namespace,
        "name": name,
        "uid": f"{kind}/{name}",
        "labels": {},
        "annotations": {},
        "owners": (),
        "finalizers": (),
        "deleting": "",
    }
    return Thing(**{**fields, **changes})


NAMESPACE_OURS = make("Namespace", NAMESPACE, "", labels=LABEL)
LWS_NAMESPACE = make("Namespace", "lws-system", "", labels=SHARED)
LWS_CRD = make(
    "CustomResourceDefinition",
    "leaderworkersets.leaderworkerset.x-k8s.io",
    "",
    plural="customresourcedefinitions.apiextensions.k8s.io",
)
TENANT = make("ConfigMap", "of-a-colleague")

#: object, and whose it is
WHOSE = [
    (make("Service", "a", labels=LABEL), "ours"),
    (make("Service", "a", labels={"wide-ep.llm-d.ai/deployment": "another"}), "foreign"),
    (make("Deployment", "epp", annotations=HELM), "ours"),
    (make("ClusterRole", "epp", "", annotations=HELM), "ours"),
    (make("Deployment", "epp", annotations=OTHER_HELM), "foreign"),
    (make("Secret", "sh.helm.release.v1.wide-ep-lws.v1", labels=RECORD), "ours"),
    (make("Secret", "sh.helm.release.v1.other.v1", labels={"owner": "helm", "name": "other"}), "foreign"),
    (make("ClusterRole", "lws-manager-role", "", annotations=LWS_HELM), "foreign"),
    (LWS_NAMESPACE, "platform"),
    (LWS_CRD, "platform"),
    (make("CustomResourceDefinition", "inferencepools.inference.networking.k8s.io", ""), "platform"),
    (make("CustomResourceDefinition", "things.example.org", ""), "foreign"),
    (make("Namespace", "default", ""), "foreign"),
    (TENANT, "foreign"),
]


def whose(inventory: Inventory, one: Thing) -> str:
    parts = {"ours": inventory.ours, "platform": inventory.platform, "foreign": inventory.foreign}
    return next(name for name, part in parts.items() if one in part)


@pytest.mark.parametrize(("one", "expected"), WHOSE)
def test_sort_out(one: Thing, expected: str) -> None:
    assert whose(sort_out([one], OURS), one) == expected


def test_what_controllers_made_belongs_to_the_family() -> None:
    pod = make("Pod", "p", owners=("StatefulSet/s",))
    chain = [pod, make("StatefulSet", "s", owners=("LeaderWorkerSet/l",)), make("LeaderWorkerSet", "l", labels=LABEL)]
    assert {one.uid for one in sort_out(chain, OURS).ours} == {one.uid for one in chain}
    assert sort_out(chain[:2], OURS).ours == ()


def test_orphans_of_what_was_ours_stay_ours() -> None:
    pod = make("Pod", "p", owners=("StatefulSet/s",))
    assert sort_out([pod], OURS, {"StatefulSet/s"}).ours == (pod,)


def test_a_helm_release_in_a_shared_namespace_of_ours_is_platform() -> None:
    role = make("ClusterRole", "lws-manager-role", "", annotations=LWS_HELM)
    assert whose(sort_out([role, LWS_NAMESPACE], OURS), role) == "platform"


def before(*things: Thing) -> list[dict[str, t.Any]]:
    return [one.as_dict() for one in things]


def test_receipt_of_a_clean_removal() -> None:
    service = make("Service", "a", labels=LABEL)
    now = sort_out([LWS_NAMESPACE, LWS_CRD, make("ClusterRole", "lws", "", annotations=LWS_HELM)], OURS)
    receipt = write_receipt(before(NAMESPACE_OURS, service), now, OURS)
    assert [one["name"] for one in receipt.removed] == [NAMESPACE, "a"]
    assert receipt.left_over == ()
    assert {kept.what: kept.command for kept in receipt.kept} == {
        "Namespace lws-system": "kubectl delete namespace lws-system",
        "CustomResourceDefinition leaderworkersets.leaderworkerset.x-k8s.io": (
            "kubectl delete crd leaderworkersets.leaderworkerset.x-k8s.io"
        ),
        "Helm release lws-system/lws": "helm uninstall lws --namespace lws-system",
    }


def test_receipt_of_a_second_removal_is_empty() -> None:
    receipt = write_receipt([], sort_out([LWS_CRD], OURS), OURS)
    assert (receipt.removed, receipt.left_over) == ((), ())


def test_our_namespace_with_something_foreign_in_it_is_kept() -> None:
    now = sort_out([NAMESPACE_OURS, TENANT], OURS)
    receipt = write_receipt(before(NAMESPACE_OURS), now, OURS)
    assert (receipt.removed, receipt.left_over) == ((), ())
    assert receipt.kept[0].reason == "it holds what is not ours: ConfigMap of-a-colleague"


@pytest.mark.parametrize(("count", "end"), [(5, "ConfigMap c4"), (7, "ConfigMap c4 and 2 more")])
def test_what_is_foreign_in_our_namespace_is_not_listed_without_end(count: int, end: str) -> None:
    tenants = [make("ConfigMap", f"c{number}") for number in range(count)]
    receipt = write_receipt([], sort_out([NAMESPACE_OURS, *tenants], OURS), OURS)
    assert receipt.kept[0].reason.endswith(end)


@pytest.mark.parametrize(
    "guest",
    [
        make("ConfigMap", "kube-root-ca.crt"),
        make("ConfigMap", "istio-ca-root-cert"),
        make("ServiceAccount", "default"),
        make("Secret", "llm-d-hf-token"),
        make("Pod", "p", owners=("ReplicaSet/r",)),
        make("ConfigMap", "going", deleting="2026-11-25T09:00:00Z"),
        make("ConfigMap", "elsewhere", "default"),
    ],
)
def test_our_namespace_with_what_goes_with_it_is_left_over(guest: Thing) -> None:
    receipt = write_receipt([], sort_out([NAMESPACE_OURS, guest], OURS), OURS)
    assert receipt.left_over == (NAMESPACE_OURS,)
    assert receipt.kept == ()


@pytest.mark.parametrize(
    ("one", "messages", "evidence", "fix"),
    [
        (
            make("Service", "a", labels=LABEL),
            [],
            ["it still exists"],
            f"kubectl delete services a --namespace {NAMESPACE}",
        ),
        (
            make("LeaderWorkerSet", "l", labels=LABEL, deleting="T", finalizers=("foregroundDeletion",)),
            [],
            ["being deleted since T", "finalizers foregroundDeletion"],
            "let it finish",
        ),
        (
            make("Namespace", NAMESPACE, "", labels=LABEL, deleting="T"),
            ["Some content has finalizers remaining: x/y in 1 resource instances"],
            ["x/y in 1 resource instances"],
            "Run playbooks/cleanup.yml again",
        ),
    ],
)
def test_findings(one: Thing, messages: list[str], evidence: list[str], fix: str) -> None:
    found = findings(write_receipt([], sort_out([one], OURS), OURS), messages)
    assert [finding.code for finding in found] == ["LEFT_OVER"]
    assert [words for words in evidence if words not in found[0].evidence] == []
    assert fix in found[0].fix


def test_parse_discovery_takes_what_can_be_listed_in_the_preferred_version() -> None:
    def resource(
        plural: str, kind: str, scope: str = "Namespaced", verbs: tuple[str, ...] = ("list",)
    ) -> dict[str, t.Any]:
        return {"resource": plural, "responseKind": {"kind": kind}, "scope": scope, "verbs": list(verbs)}

    document = {
        "items": [
            {
                "metadata": {},
                "versions": [
                    {
                        "version": "v1",
                        "resources": [
                            resource("pods", "Pod"),
                            resource("events", "Event"),
                            resource("endpoints", "Endpoints"),
                        ],
                    }
                ],
            },
            {
                "metadata": {"name": "example.org"},
                "versions": [
                    {"version": "v1", "resources": [resource("things", "Thing", "Cluster")]},
                    {
                        "version": "v1beta1",
                        "resources": [resource("things", "Thing", "Cluster"), resource("old", "Old")],
                    },
                ],
            },
            {
                "metadata": {"name": "authorization.k8s.io"},
                "versions": [{"version": "v1", "resources": [resource("reviews", "Review", verbs=("create",))]}],
            },
            {
                "metadata": {"name": "metrics.k8s.io"},
                "versions": [{"version": "v1", "resources": [resource("pods", "P")]}],
            },
        ]
    }
    kinds = parse_discovery(document)
    assert kinds == [
        Kind("", "v1", "Pod", "pods", True),
        Kind("example.org", "v1", "Thing", "things", False),
        Kind("example.org", "v1beta1", "Old", "old", True),
    ]
    assert [kind.path("n") for kind in kinds] == [
        "/api/v1/namespaces/n/pods",
        "/apis/example.org/v1/things",
        "/apis/example.org/v1beta1/namespaces/n/old",
    ]


def test_thing_reads_metadata() -> None:
    metadata = {
        "name": "p",
        "namespace": "n",
        "uid": "u",
        "ownerReferences": [{"uid": "o"}],
        "finalizers": ["f"],
        "deletionTimestamp": "T",
    }
    one = thing(Kind("apps", "v1", "Deployment", "deployments", True), metadata)
    assert (one.plural, one.owners, one.finalizers, one.deleting) == ("deployments.apps", ("o",), ("f",), "T")
    assert one.title == "Deployment n/p"
    assert thing(Kind("", "v1", "Namespace", "namespaces", False), {"name": "n"}).helm_release is None


def test_by_kind_stays_short() -> None:
    rows = by_kind(before(*(make("Pod", f"p{n}") for n in range(6)), make("Service", "s")))
    assert rows == [["Pod", 6, "p0, p1, p2, p3, ..."], ["Service", 1, "s"]]


names = st.sampled_from(["a", "b", "c", "d"])
worlds = st.lists(
    st.builds(
        make,
        st.sampled_from(["Pod", "Service", "Namespace"]),
        names,
        labels=st.sampled_from([{}, LABEL, SHARED]),
        annotations=st.sampled_from([{}, HELM, LWS_HELM]),
        owners=st.lists(st.builds("{}/{}".format, st.sampled_from(["Pod", "Service"]), names), max_size=2).map(tuple),
    ),
    unique_by=lambda one: one.uid,
    max_size=8,
)


@given(worlds, st.sets(names))
def test_every_object_is_somebodys_and_none_is_lost(things: list[Thing], gone: set[str]) -> None:
    inventory = sort_out(things, OURS)
    parts = [*inventory.ours, *inventory.platform, *inventory.foreign]
    assert sorted(one.uid for one in parts) == sorted(one.uid for one in things)
    then = before(*inventory.ours)
    now = sort_out([one for one in things if one.name not in gone], OURS, {one["uid"] for one in then})
    receipt = write_receipt(then, now, OURS)
    kept_or_left = {one.uid for one in now.ours}
    assert {one["uid"] for one in receipt.removed} == {one["uid"] for one in then} - kept_or_left
