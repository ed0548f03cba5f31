# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a deployment is, as tables and findings. Private to the collection; it may change at any time."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils import _operate
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._operate import Group, Seen
from ansible_collections.llmd.wide_ep.plugins.module_utils._plan import TIERS
from ansible_collections.llmd.wide_ep.plugins.module_utils._predicates import (
    LWS_NAME,
    LWS_REVISION,
    is_terminating,
    labels,
    pod_ready,
)

Json = t.Mapping[str, t.Any]
JsonObject = dict[str, t.Any]
Row = list[t.Any]


def restarts(pod: Json) -> int:
    status = pod.get("status") or {}
    entries = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    return sum(int(entry.get("restartCount", 0)) for entry in entries)


def phase(pod: JsonObject) -> str:
    """One or two words: what kubectl shows in its column STATUS, as far as it matters here."""
    if is_terminating(pod):
        return "Terminating"
    if pod_ready(pod):
        return "Ready"
    status = pod.get("status") or {}
    for entry in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (entry.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "", "PodInitializing", "ContainerCreating"):
            return str(waiting["reason"])
    for entry in status.get("conditions") or ():
        if entry["type"] == "PodScheduled" and entry["status"] != "True":
            return str(entry.get("reason") or "Unschedulable")
    return f"{status.get('phase') or 'Pending'}, not ready"


def node_trouble(name: str, node: Json | None) -> str:
    """Why a node cannot run pods; empty where it can."""
    if node is None:
        return f"node {name} does not exist"
    conditions: t.Sequence[Json] = (node.get("status") or {}).get("conditions") or ()
    ready: Json = next((entry for entry in conditions if entry["type"] == "Ready"), {})
    if ready.get("status") == "True":
        return ""
    why = f"{ready.get('reason') or 'no condition'} since {ready.get('lastTransitionTime', '?')}"
    return f"node {name} is not Ready ({why})"


def nodes_to_ask(known: t.Iterable[Group]) -> list[str]:
    """The nodes of pods that are not ready."""
    pods = [pod for group in known for pod in group.pods if not pod_ready(pod) or is_terminating(pod)]
    return list(dict.fromkeys(pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")))


def age(stamp: str, now: float) -> str:
    """The time since a timestamp in its largest unit."""
    since = datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
    seconds = max(0, int(now - since))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def tier_rows(plan: Json, seen: Seen, known: t.Sequence[Group]) -> list[Row]:
    rows = []
    for role in TIERS:
        workload = seen.set_of(plan[role]["lws_name"])
        if workload is None:
            rows.append([role, f"0 of {plan[role]['groups']}", "-", plan[role]["gpus"], "absent"])
            continue
        mine = [group for group in known if group.role == role]
        pods = [pod for group in mine for pod in group.pods]
        ready = sum(group.ready for group in mine)
        spec = workload["spec"]
        total = int(spec.get("replicas", 1)) * int(spec["leaderWorkerTemplate"].get("size", 1))
        revision = ", ".join(sorted({labels(pod).get(LWS_REVISION, "-") for pod in pods})) or "-"
        shown = f"{sum(pod_ready(pod) for pod in pods)} of {total}"
        rows.append([role, f"{ready} of {spec.get('replicas', 1)}", shown, sum(g.gpus for g in mine), revision])
    return rows


def pod_rows(known: t.Iterable[Group], now: float) -> list[Row]:
    return [
        [
            pod["metadata"]["name"],
            pod["spec"].get("nodeName", "-"),
            phase(pod),
            restarts(pod),
            age(pod["metadata"]["creationTimestamp"], now),
        ]
        for group in known
        for pod in group.pods
    ]


def version_rows(seen: Seen, release: str) -> list[Row]:
    """Images by container; several of one container are told apart, they should be one."""
    found: dict[tuple[str, str], set[str]] = {}
    for pod in seen.pods:
        owner = labels(pod).get("llm-d.ai/role") or ("router" if LWS_NAME not in labels(pod) else "-")
        if owner == "router" and not pod["metadata"]["name"].startswith(f"{release}-epp"):
            continue
        for container in (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]):
            found.setdefault((owner, container["name"]), set()).add(container["image"])
    return [[owner, name, image] for (owner, name), images in sorted(found.items()) for image in sorted(images)]


def router_rows(seen: Seen, release: str, helm: Json) -> list[Row]:
    router = next((item for item in seen.deployments if item["metadata"]["name"] == f"{release}-epp"), None)
    if router is None:
        return [["absent", "-", "-", "-"]]
    ready = (router.get("status") or {}).get("readyReplicas", 0)
    wanted = router["spec"].get("replicas", 1)
    return [[f"{ready} of {wanted} ready", helm.get("status", "-"), helm.get("revision", "-"), helm.get("chart", "-")]]


def helm_of(secrets: t.Iterable[Json], release: str) -> JsonObject:
    """Revision and state of a release from the labels of Helm's records; their content is not read."""
    of_release = [item for item in secrets if labels(dict(item)).get("name") == release]
    latest = max(of_release, key=lambda item: int(labels(dict(item)).get("version", 0)), default=None)
    if latest is None:
        return {}
    found = labels(dict(latest))
    return {"status": found.get("status", "unknown"), "revision": int(found.get("version", 0))}


def findings(
    plan: Json,
    seen: Seen,
    known: t.Sequence[Group],
    helm: Json,
    proof: Json | None,
    *,
    nodes: t.Mapping[str, str] | None = None,
) -> list[Finding]:
    """What is not as it should be. Half a deployment is told part by part, not as one refusal.

    ``nodes`` are those with a trouble, by name.
    """
    state, found = _operate.presence(plan, seen)
    if state in ("absent", "foreign"):
        return found
    found += [_unhealthy(group, nodes or {}) for group in known if not group.ready]
    found += _operate.mixed_revisions(plan, seen)
    if helm and helm.get("status") != "deployed":
        text = f"revision {helm.get('revision')} is {helm.get('status')}"
        release_fix = "Run playbooks/unstick_release.yml."
        found.append(Finding("HELM_RELEASE_BROKEN", "error", f"release {plan['release']}", text, release_fix))
    if proof and proof.get("passed") is False:
        text = f"the proof of {proof.get('written', 'unknown time')} failed"
        proof_fix = "Run playbooks/verify.yml: it names the broken part."
        found.append(Finding("DEPLOYMENT_UNHEALTHY", "warning", "last proof", text, proof_fix))
    return found


def _unhealthy(group: Group, nodes: t.Mapping[str, str]) -> Finding:
    bad = [f"{pod['metadata']['name']} {phase(pod)}" for pod in group.pods if not pod_ready(pod) or is_terminating(pod)]
    missing = group.size - len(group.pods)
    bad += [f"{missing} of {group.size} pods do not exist"] if missing > 0 else []
    lost = [nodes[name] for name in group.nodes if name in nodes]
    fix = "Run playbooks/wait.yml: it names what holds a pod back. At night: playbooks/collect_diagnostics.yml first."
    if lost:
        fix = "Bring the node back, or delete its Node object where the machine is gone for good: the group then moves "
        fix += "alone to a node with room. Until then its pods are kept on the node."
    return Finding("DEPLOYMENT_UNHEALTHY", "error", group.title, ", ".join([*bad, *lost]) or "no pod", fix)
