# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import typing as t

import operate_data as data
import pytest

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _drift

Object = dict[str, t.Any]


def service(port: int = 80, manager: str = "helm", fields: Object | None = None) -> Object:
    return {
        "kind": "Service",
        "metadata": {
            "name": "epp",
            "resourceVersion": str(port),
            "labels": {"app": "epp"},
            "annotations": {"meta.helm.sh/release-name": "r"},
            "managedFields": [{"manager": manager, "fieldsV1": fields or {"f:spec": {"f:type": {}}}}],
        },
        "spec": {"type": "ClusterIP", "ports": [{"name": "http", "port": port}]},
        "status": {"loadBalancer": {}},
    }


def texts(live: Object, applied: Object) -> list[str]:
    return [item.evidence for item in _drift.object_findings("Service epp", live, applied)]


def test_bookkeeping_is_no_difference() -> None:
    applied = copy.deepcopy(service())
    applied["metadata"]["resourceVersion"] = "9"
    applied["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "3"}
    applied["status"] = {}
    assert texts(service(), applied) == []


def test_a_changed_field_is_told_once_with_both_values() -> None:
    hand = {"f:spec": {"f:type": {}}}
    live = service(manager="kubectl-edit", fields=hand)
    live["spec"]["type"] = "NodePort"
    assert texts(live, service()) == ["spec.type: NodePort, the inventory has ClusterIP"]


@pytest.mark.parametrize(
    ("manager", "subresource", "found"),
    [
        ("kubectl-edit", "", ["metadata.labels.mine: x was added by kubectl-edit"]),
        ("kubectl-patch", "status", []),
        ("helm", "", []),
        ("llmd.wide_ep", "", []),
        ("kube-controller-manager", "", []),
        ("gateway-controller", "", []),
        ("kueue-admission", "", []),
    ],
)
def test_what_someone_added_is_found_by_its_owner(manager: str, subresource: str, found: list[str]) -> None:
    live = service(manager=manager, fields={"f:metadata": {"f:labels": {"f:mine": {}}}})
    live["metadata"]["labels"]["mine"] = "x"
    live["metadata"]["managedFields"][0]["subresource"] = subresource
    assert texts(live, copy.deepcopy(live)) == found


def pods(*images: tuple[str, str]) -> list[Object]:
    found = []
    for worker, (image, digest) in enumerate(images):
        item = data.pod("decode", 0, worker, "gpu-2")
        item["spec"]["containers"][0]["image"] = image
        item["status"]["containerStatuses"][0]["imageID"] = f"registry.example/vllm@{digest}"
        found.append(item)
    return found


V1 = "registry.example/vllm:v1"


@pytest.mark.parametrize(
    ("running", "words"),
    [
        (pods((V1, "sha256:1"), (V1, "sha256:1")), []),
        (pods((V1, "sha256:1"), ("other", "sha256:1")), ["container vllm runs other, the template has"]),
        (pods((V1, "sha256:1"), (V1, "sha256:2")), ["sha256:1 in wide-ep-lws-nvidia-gpu-vllm-decode-0; sha256:2"]),
    ],
)
def test_images(running: list[Object], words: list[str]) -> None:
    found = _drift.image_findings([data.workload("decode")], running)
    assert [item.code for item in found] == ["DRIFT_IMAGE"] * len(words)
    for word, item in zip(words, found, strict=True):
        assert word in item.evidence


def labeled(kind: str, name: str, manager: str, **metadata: t.Any) -> _drift.Labeled:
    return _drift.Labeled(kind, {"name": name, "managedFields": [{"manager": manager}], **metadata})


@pytest.mark.parametrize(
    ("one", "found"),
    [
        (labeled("ConfigMap", "mine", "kubectl-create"), True),
        (labeled("ConfigMap", "wanted", "kubectl-create"), False),
        (labeled("ConfigMap", "made-by-us", "llmd.wide_ep"), False),
        (labeled("ConfigMap", "of-a-job", "kubectl", ownerReferences=[{}]), False),
        (labeled("ConfigMap", "previous", "kubectl", labels={"wide-ep.llm-d.ai/component": "rollback"}), False),
        (labeled("Lease", "wide-ep-lws", "llmd.wide_ep"), False),
        (labeled("PodMonitor", "decode", "llmd.wide_ep"), True),
        (labeled("LocalQueue", "queue", "llmd.wide_ep"), True),
    ],
)
def test_extra_objects(one: _drift.Labeled, found: bool) -> None:
    findings = _drift.extra_findings([one], {"ConfigMap wanted"}, ["rehearsal"])
    assert [item.code for item in findings] == (["DRIFT_EXTRA"] if found else [])


def test_a_component_keeps_its_objects() -> None:
    assert _drift.extra_findings([labeled("PodMonitor", "decode", "llmd.wide_ep")], set(), ["monitoring"]) == []


@pytest.mark.parametrize(("action", "found"), [("unchanged", 0), ("upgrade", 1), ("recover", 1), ("install", 1)])
def test_helm(action: str, found: int) -> None:
    findings = _drift.helm_finding("wide-ep-lws", {"action": action, "reason": "values differ: a.b"})
    assert len(findings) == found
    assert all("a.b" in item.evidence for item in findings)


@pytest.mark.parametrize(
    ("wanted", "live", "found"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, []),
        ({"a": 1}, {"a": 2}, ["a: 2, the inventory has 1"]),
        ({"a": {"b": "x"}}, {"a": {}}, ["a.b: absent, the inventory has x"]),
        ({"p": [{"port": 80}]}, {"p": [{"port": 8088, "protocol": "TCP"}]}, ["p[0].port: 8088, the inventory has 80"]),
        ({"p": [1]}, {"p": [1, 2]}, ["p: [1, 2], the inventory has [1]"]),
        ({"p": 80, "q": None}, {"p": "80"}, []),
    ],
)
def test_what_the_server_refuses_is_compared_here(wanted: Object, live: Object, found: list[str]) -> None:
    assert [item.text for item in _drift.lacking(wanted, live)] == found
    told = [item.evidence for item in _drift.refused("Service epp", live, wanted, "Duplicate value")]
    assert told == (found or ["it cannot become what the inventory has: Duplicate value"])


def test_what_a_run_would_do_at_the_provider_is_drift() -> None:
    looks: list[Object] = [
        {"actions": []},
        {
            "actions": [
                {"object": "node pool gpu", "action": "update", "fields": ["config.labels.team: a -> b"]},
                {"object": "network wide-ep-net-0", "action": "create", "fields": []},
            ]
        },
        {
            "findings": [
                {
                    "code": "GCP_REPLACE_REQUIRED",
                    "severity": "error",
                    "subject": "subnetwork s",
                    "evidence": "ipCidrRange differs",
                    "fix": "Replace it.",
                },
                {"code": "GCP_NODE_POOL", "severity": "warning", "subject": "x", "evidence": "y", "fix": "z"},
            ]
        },
    ]
    found = _drift.cloud_findings(looks)
    assert {item.code for item in found} == {"DRIFT_CLOUD"}
    assert [(item.subject, item.evidence) for item in found] == [
        ("node pool gpu", "update: config.labels.team: a -> b"),
        ("network wide-ep-net-0", "create: it does not exist"),
        ("subnetwork s", "ipCidrRange differs"),
    ]
