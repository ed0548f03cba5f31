# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the namespace: security level, quotas, limits, releases, leftovers. Private to the collection."""

from __future__ import annotations

import collections
import fractions
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._capacity import pods
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._operate import DEPLOYMENT_LABEL
from ansible_collections.llmd.wide_ep.plugins.module_utils._plan import TIERS
from ansible_collections.llmd.wide_ep.plugins.module_utils._predicates import is_terminating, labels
from ansible_collections.llmd.wide_ep.plugins.module_utils._preflight_snapshot import Question, Snapshot
from ansible_collections.llmd.wide_ep.plugins.module_utils._quantity import quantity, written
from ansible_collections.llmd.wide_ep.plugins.module_utils._status import helm_of

Json = t.Mapping[str, t.Any]

ENFORCE_LABEL = "pod-security.kubernetes.io/enforce"
COMPONENT_LABEL = "wide-ep.llm-d.ai/component"
LEVELS = ("restricted", "baseline", "privileged")
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
BROKEN = frozenset({"failed", "pending-install", "pending-upgrade", "pending-rollback", "uninstalling", "unknown"})


def pod_security(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """A namespace that is ours gets its level from the workspace role; one that is adopted keeps its own."""
    if snapshot.namespace is None or labels(snapshot.namespace).get(DEPLOYMENT_LABEL) == asked.plan["release"]:
        return []
    enforced = labels(snapshot.namespace).get(ENFORCE_LABEL, "privileged")
    if enforced not in LEVELS or LEVELS.index(enforced) >= LEVELS.index(asked.pod_security):
        return []
    namespace = asked.plan["namespace"]
    seen = f"it enforces {enforced}; the model servers need {asked.pod_security}"
    fix = f"kubectl label namespace {namespace} --overwrite {ENFORCE_LABEL}={asked.pod_security}"
    return [Finding("POD_SECURITY", "error", f"namespace {namespace}", seen, fix)]


def totals(asked: Question) -> dict[str, fractions.Fraction]:
    """What the model servers ask for together, under the names that quotas use."""
    found: dict[str, fractions.Fraction] = collections.defaultdict(fractions.Fraction)
    tiers = pods(asked.plan, asked.objects)
    for role in TIERS:
        count = len(asked.plan[role]["pods"])
        for resource, amount in tiers[role].requests.items():
            found[f"requests.{resource}"] += amount * count
        found["pods"] += count
    found.update({short: found[f"requests.{short}"] for short in ("cpu", "memory") if f"requests.{short}" in found})
    return dict(found)


def quotas(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """Against what is left for everything that is not there yet; pods of ours count as used already."""
    wanted = totals(asked)
    deployed = any(item["metadata"].get("namespace") == asked.plan["namespace"] for item in snapshot.sets)
    found = []
    for quota in snapshot.quotas:
        hard = (quota.get("status") or {}).get("hard") or quota["spec"].get("hard") or {}
        used = {} if deployed else (quota.get("status") or {}).get("used") or {}
        for name, amount in wanted.items():
            if name not in hard:
                continue
            left = quantity(hard[name]) - quantity(used.get(name, "0"))
            if amount > left:
                unit = name.removeprefix("requests.")
                seen = f"{name}: {written(unit, amount)} needed, {written(unit, left)} of {hard[name]} left"
                fix = "Have the quota raised, or take another namespace (wide_ep_namespace)."
                found.append(Finding("QUOTA_TOO_SMALL", "error", f"quota {quota['metadata']['name']}", seen, fix))
    return found


def limit_ranges(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """Above its maximum pods are refused."""
    tiers = pods(asked.plan, asked.objects)
    found = []
    for item in snapshot.limit_ranges:
        for limit in item["spec"].get("limits") or ():
            if limit.get("type") not in ("Container", "Pod"):
                continue
            for resource, most in (limit.get("max") or {}).items():
                over = [role for role in TIERS if tiers[role].requests.get(resource, 0) > quantity(most)]
                if over:
                    amount = written(resource, tiers[over[0]].requests[resource])
                    seen = f"{limit['type']} maximum of {resource} is {most}; {', '.join(over)} asks for {amount}"
                    fix = "Have the limit range raised, or take another namespace (wide_ep_namespace)."
                    found.append(Finding("LIMIT_RANGE", "error", f"limit range {item['metadata']['name']}", seen, fix))
    return found


def helm_releases(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """A run of ours recovers its own release; it is told, because a helm elsewhere may be at work right now."""
    release = asked.plan["release"]
    state = helm_of(snapshot.secrets, release)
    if state.get("status") not in BROKEN:
        return []
    seen = f"revision {state['revision']} is {state['status']}"
    fix = "Make sure that no other run is at work, then: ansible-playbook playbooks/unstick_release.yml."
    return [Finding("HELM_RELEASE_BROKEN", "warning", f"Helm release {release}", seen, fix)]


def stale(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """What earlier runs have left: helper pods, and pods that hang in their deletion."""
    namespace, release = asked.plan["namespace"], asked.plan["release"]
    found = []
    mine = [
        pod
        for pod in snapshot.pods
        if pod["metadata"].get("namespace") == namespace and labels(pod).get(DEPLOYMENT_LABEL) == release
    ]
    helpers = [pod["metadata"]["name"] for pod in mine if COMPONENT_LABEL in labels(pod)]
    if helpers:
        seen = f"{', '.join(sorted(helpers)[:5])} of an interrupted run"
        fix = (
            "Run playbooks/cleanup.yml with --tags verify_remove, or delete them; a prefetch that is at work may go on."
        )
        found.append(Finding("STALE_OBJECT", "warning", "helper pods", seen, fix))
    hanging = [
        f"{pod['metadata']['name']} on {pod['spec'].get('nodeName', 'no node')}"
        for pod in mine
        if is_terminating(pod) and not _node_ready(snapshot, pod["spec"].get("nodeName", ""))
    ]
    if hanging:
        seen = f"{', '.join(hanging[:5])}: their nodes do not confirm the deletion"
        fix = "Remove the Node objects of machines that are gone, or: kubectl delete pod --force on what has no node."
        found.append(Finding("STALE_OBJECT", "error", "pods in deletion", seen, fix))
    return found


def _node_ready(snapshot: Snapshot, name: str) -> bool:
    for node in snapshot.nodes:
        if node["metadata"]["name"] == name:
            conditions = (node.get("status") or {}).get("conditions") or ()
            return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)
    return False


def strangers(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """The pool selects by the guide's label; a pod of someone else with it would be given requests."""
    guide = {"llm-d.ai/guide": "wide-ep-lws"}
    namespace, release = asked.plan["namespace"], asked.plan["release"]
    found = [
        pod["metadata"]["name"]
        for pod in snapshot.pods
        if pod["metadata"].get("namespace") == namespace
        and guide.items() <= labels(pod).items()
        and labels(pod).get(DEPLOYMENT_LABEL) != release
    ]
    if not found:
        return []
    seen = f"{', '.join(sorted(found)[:5])} carry llm-d.ai/guide=wide-ep-lws and are not of release {release}"
    fix = "Remove a deployment that was made by hand from the guide, or take another namespace."
    return [Finding("POOL_STRANGER", "warning", f"namespace {namespace}", seen, fix)]


def priority_class(snapshot: Snapshot, asked: Question) -> list[Finding]:
    there = {item["metadata"]["name"] for item in snapshot.priority_classes}
    named = {pod.spec.get("priorityClassName", "") for pod in pods(asked.plan, asked.objects).values()} - {""}
    if "priority_classes" in snapshot.unreadable or named <= there:
        return []
    seen = f"{', '.join(sorted(named - there))}; there is {', '.join(sorted(there)) or 'none'}"
    fix = "Make the PriorityClass, or correct model_server_priority_class: pods that name an unknown one are refused."
    return [Finding("PRIORITY_CLASS_MISSING", "error", "priority class", seen, fix)]


def storage_class(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """Only a cache on a volume that the cluster makes needs one; its pods stay Pending without."""
    if "storage_classes" in snapshot.unreadable:
        return []
    there = {item["metadata"]["name"]: item["metadata"].get("annotations") or {} for item in snapshot.storage_classes}
    has_default = any(notes.get(DEFAULT_CLASS) == "true" for notes in there.values())
    lacking = dict.fromkeys(
        named or "no name, and none of them is the default one"
        for named in _claimed(asked)
        if (named not in there if named else not has_default)
    )
    if not lacking:
        return []
    seen = f"{', '.join(lacking)}; there is {', '.join(sorted(there)) or 'none'}"
    fix = "Name one that exists in the layer that makes the claim (model_server_layer), or mark one as the default."
    return [Finding("STORAGE_CLASS_MISSING", "error", "storage class", seen, fix)]


def _claimed(asked: Question) -> list[str]:
    """The storage classes of the pods' own claims; empty where the default one is meant."""
    return [
        str(volume["ephemeral"]["volumeClaimTemplate"]["spec"].get("storageClassName") or "")
        for pod in pods(asked.plan, asked.objects).values()
        for volume in pod.spec.get("volumes") or ()
        if "ephemeral" in volume
    ]
