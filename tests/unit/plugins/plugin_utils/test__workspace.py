# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _workspace

OURS = {"wide-ep.llm-d.ai/deployment": "wide-ep-lws"}
ENFORCE = "pod-security.kubernetes.io/enforce"


def namespace(labels: dict[str, str] | None = None, **metadata: t.Any) -> dict[str, t.Any]:
    return {"kind": "Namespace", "metadata": {"name": "llm-d-wide-ep", "labels": labels, **metadata}}


@pytest.mark.parametrize(
    ("existing", "adopt", "action", "words"),
    [
        (None, False, "apply", ""),
        (namespace({**OURS, ENFORCE: "privileged"}), False, "keep", ""),
        (namespace({**OURS, ENFORCE: "baseline"}), False, "apply", ""),
        (namespace(OURS), False, "apply", ""),
        (namespace(), False, "refuse", "workspace_adopt_namespace"),
        (namespace({"wide-ep.llm-d.ai/deployment": "other"}), False, "refuse", "is other, not wide-ep-lws"),
        (namespace(), True, "adopt", ""),
        (namespace({ENFORCE: "privileged"}), True, "adopt", ""),
        (namespace({ENFORCE: "baseline"}), True, "refuse", "kubectl label namespace"),
        (namespace(OURS, deletionTimestamp="2026-01-01T00:00:00Z"), False, "refuse", "NAMESPACE_TERMINATING"),
    ],
)
def test_namespace(existing: t.Any, adopt: bool, action: str, words: str) -> None:
    decision = _workspace.decide_namespace(existing, "llm-d-wide-ep", "wide-ep-lws", adopt=adopt, level="privileged")
    assert decision.action == action
    assert words in " ".join(decision.as_dict()["text"].split())


def secret(*keys: str) -> dict[str, t.Any]:
    return {"kind": "Secret", "metadata": {"name": "llm-d-hf-token"}, "data": dict.fromkeys(keys, "<hidden>")}


@pytest.mark.parametrize(
    ("existing", "provided", "replace", "action", "words"),
    [
        (secret("HF_TOKEN"), False, False, "keep", ""),
        (secret("HF_TOKEN"), True, False, "keep", ""),
        (secret("HF_TOKEN"), True, True, "write", ""),
        (secret("HF_TOKEN"), False, True, "keep", ""),
        (secret("token"), False, False, "refuse", "no key HF_TOKEN"),
        (secret("token"), True, False, "write", ""),
        (None, True, False, "write", ""),
        (None, False, False, "refuse", "does not exist"),
    ],
)
def test_token(existing: t.Any, provided: bool, replace: bool, action: str, words: str) -> None:
    decision = _workspace.decide_token(existing, "llm-d-hf-token", "HF_TOKEN", provided=provided, replace=replace)
    assert decision.action == action
    assert words in " ".join(decision.as_dict()["text"].split())


def item(kind: str, name: str, **metadata: t.Any) -> dict[str, t.Any]:
    return {"kind": kind, "metadata": {"name": name, **metadata}}


def test_only_what_belongs_to_someone_else_is_foreign() -> None:
    objects = [
        item("ConfigMap", "kube-root-ca.crt"),
        item("ConfigMap", "istio-ca-root-cert"),
        item("ConfigMap", "istio-ca-crl"),
        item("ConfigMap", "theirs"),
        item("ConfigMap", "ours", labels=OURS),
        item("ConfigMap", "of-another-deployment", labels={"wide-ep.llm-d.ai/deployment": "other"}),
        item("Deployment", "chart-made", annotations={"meta.helm.sh/release-name": "wide-ep-lws"}),
        item("Deployment", "their-chart", annotations={"meta.helm.sh/release-name": "theirs"}),
        item("Pod", "child", ownerReferences=[{"kind": "ReplicaSet"}]),
        item("Pod", "leaving", deletionTimestamp="2026-01-01T00:00:00Z"),
        item("Secret", "llm-d-hf-token"),
        item("Secret", "sh.helm.release.v1.wide-ep-lws.v1", labels={"owner": "helm", "name": "wide-ep-lws"}),
        item("Secret", "sh.helm.release.v1.theirs.v1", labels={"owner": "helm", "name": "theirs"}),
    ]
    assert _workspace.foreign_objects(objects, "wide-ep-lws", ["llm-d-hf-token"]) == [
        "ConfigMap/of-another-deployment",
        "ConfigMap/theirs",
        "Deployment/their-chart",
        "Secret/sh.helm.release.v1.theirs.v1",
    ]
