# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions about the deployment's namespace and token. Private to the collection; it may change at any time."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

Json = t.Mapping[str, t.Any]

DEPLOYMENT_LABEL = "wide-ep.llm-d.ai/deployment"
ENFORCE_LABEL = "pod-security.kubernetes.io/enforce"
LEVELS = ("restricted", "baseline", "privileged")
#: What Kubernetes itself puts into every namespace, and istiod wherever one runs, ours or another's.
BORN_WITH_NAMESPACE = frozenset(
    {
        ("ConfigMap", "kube-root-ca.crt"),
        ("ServiceAccount", "default"),
        ("ConfigMap", "istio-ca-root-cert"),
        ("ConfigMap", "istio-ca-crl"),
    }
)


@dataclasses.dataclass(frozen=True)
class Decision:
    action: str
    reason: str
    finding: Finding | None = None

    def as_dict(self) -> dict[str, t.Any]:
        text = self.finding.text() if self.finding else ""
        return {"action": self.action, "reason": self.reason, "text": text}


def decide_namespace(existing: Json | None, name: str, release: str, *, adopt: bool, level: str) -> Decision:
    """``apply`` or ``keep`` what is ours, ``adopt`` a foreign namespace by consent without changing it, else refuse."""
    if existing is None:
        return Decision("apply", "it does not exist")
    metadata = existing["metadata"]
    if metadata.get("deletionTimestamp"):
        seen = f"it is being deleted since {metadata['deletionTimestamp']}"
        fix = f"Wait until it is gone. What holds it: kubectl get namespace {name} -o jsonpath='{{.status.conditions}}'"
        return Decision("refuse", seen, Finding("NAMESPACE_TERMINATING", "error", f"namespace {name}", seen, fix))
    labels = metadata.get("labels") or {}
    owner = labels.get(DEPLOYMENT_LABEL)
    if owner == release:
        # Nothing to apply, and so a second less, where both of its labels are as they should be.
        current = labels.get(ENFORCE_LABEL) == level
        return Decision("keep" if current else "apply", "it is ours")
    if not adopt:
        seen = f"it exists and its label {DEPLOYMENT_LABEL} is {owner or 'not set'}, not {release}"
        fix = (
            "Choose another wide_ep_namespace, or set workspace_adopt_namespace: true to deploy into it; an adopted "
            "namespace is neither labeled nor deleted by us."
        )
        return Decision("refuse", seen, Finding("NAMESPACE_FOREIGN", "error", f"namespace {name}", seen, fix))
    enforced = labels.get(ENFORCE_LABEL, "privileged")
    if enforced in LEVELS and LEVELS.index(enforced) < LEVELS.index(level):
        seen = f"it enforces pod security level {enforced}; the model servers need {level}"
        fix = f"Ask its owner to run: kubectl label namespace {name} --overwrite {ENFORCE_LABEL}={level}"
        return Decision("refuse", seen, Finding("NAMESPACE_FOREIGN", "error", f"namespace {name}", seen, fix))
    return Decision("adopt", "it belongs to someone else and is adopted")


def decide_token(existing: Json | None, name: str, key: str, *, provided: bool, replace: bool) -> Decision:
    """Whether the token's Secret is kept, written, or missing. The token itself never comes here."""
    has_key = existing is not None and key in (existing.get("data") or {})
    if has_key and not (replace and provided):
        return Decision("keep", f"Secret {name} exists")
    if provided:
        return Decision("write", f"Secret {name} is absent or is replaced")
    seen = f"it has no key {key}" if existing is not None else "it does not exist, and no token was given"
    fix = (
        "Run with HF_TOKEN in the environment, set workspace_hf_token from a vault, or make it: "
        f"kubectl create secret generic {name} --from-file={key}=<file with the token>"
    )
    return Decision("refuse", seen, Finding("HF_TOKEN_MISSING", "error", f"Secret {name}", seen, fix))


def foreign_objects(objects: t.Iterable[Json], release: str, known: t.Collection[str] = ()) -> list[str]:
    """``Kind/name`` of what someone else keeps in the namespace; ``known`` are names of ours without our label.

    Objects with an owner go with their owner, and those that are being deleted are gone already.
    """

    def ours(metadata: Json) -> bool:
        labels, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
        return (
            labels.get(DEPLOYMENT_LABEL) == release
            or notes.get("meta.helm.sh/release-name") == release
            or (labels.get("owner"), labels.get("name")) == ("helm", release)
        )

    return sorted(
        f"{item['kind']}/{item['metadata']['name']}"
        for item in objects
        if not item["metadata"].get("ownerReferences")
        and not item["metadata"].get("deletionTimestamp")
        and not ours(item["metadata"])
        and (item["kind"], item["metadata"]["name"]) not in BORN_WITH_NAMESPACE
        and item["metadata"]["name"] not in known
    )
