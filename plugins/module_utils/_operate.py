# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a runbook finds of a deployment, what it would interrupt, and whether there is room for what it moves.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import collections
import dataclasses
import fractions
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._capacity import (
    GPU,
    NOTHING,
    allocatable,
    why_not,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._plan import TIERS
from ansible_collections.llmd.wide_ep.plugins.module_utils._predicates import (
    LWS_GROUP,
    LWS_NAME,
    LWS_REVISION,
    LWS_WORKER,
    labels,
    live_pods,
    pod_ready,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._quantity import Amounts, pod_requests, written

Json = t.Mapping[str, t.Any]
JsonObject = dict[str, t.Any]

DEPLOYMENT_LABEL = "wide-ep.llm-d.ai/deployment"
HELM_NAME = "meta.helm.sh/release-name"
State = t.Literal["absent", "partial", "foreign", "present"]


@dataclasses.dataclass(frozen=True)
class Seen:
    """One look at the cluster: the namespace and what is in it of the deployment."""

    namespace: JsonObject | None
    sets: tuple[JsonObject, ...]
    deployments: tuple[JsonObject, ...]
    pods: tuple[JsonObject, ...]

    def set_of(self, name: str) -> JsonObject | None:
        return next((item for item in self.sets if item["metadata"]["name"] == name), None)

    def pods_of(self, name: str) -> list[JsonObject]:
        return [pod for pod in self.pods if labels(pod).get(LWS_NAME) == name]


@dataclasses.dataclass(frozen=True)
class Group:
    """One group of a tier: the pods that start, serve and go together."""

    role: str
    set_name: str
    index: int
    size: int
    pods: tuple[JsonObject, ...]

    @property
    def ready(self) -> bool:
        live = live_pods(self.pods)
        return len(live) == self.size and all(pod_ready(pod) for pod in live)

    @property
    def gpus(self) -> int:
        return sum(int(pod_requests(pod["spec"]).get(GPU, NOTHING)) for pod in self.pods)

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(pod["spec"]["nodeName"] for pod in self.pods if pod["spec"].get("nodeName")))

    @property
    def leader(self) -> JsonObject | None:
        return next((pod for pod in self.pods if labels(pod).get(LWS_WORKER) == "0"), None)

    @property
    def title(self) -> str:
        return f"{self.role} group {self.index}"


def parts(plan: Json, seen: Seen) -> dict[str, JsonObject | None]:
    """The parts without which it is no deployment, by title."""
    router = f"{plan['release']}-epp"
    found = next((item for item in seen.deployments if item["metadata"]["name"] == router), None)
    sets = {f"LeaderWorkerSet {plan[role]['lws_name']}": seen.set_of(plan[role]["lws_name"]) for role in TIERS}
    return {f"Deployment {router}": found, **sets}


def is_ours(item: Json, release: str) -> bool:
    notes = item["metadata"].get("annotations") or {}
    return release in (labels(dict(item)).get(DEPLOYMENT_LABEL), notes.get(HELM_NAME))


def presence(plan: Json, seen: Seen) -> tuple[State, list[Finding]]:
    """Whether the deployment is there, half there or someone else's, and how to go on."""
    release, where = plan["release"], f"{plan['release']} in namespace {plan['namespace']}"
    found = parts(plan, seen)
    there = {title: item for title, item in found.items() if item}
    foreign = [title for title, item in there.items() if not is_ours(item, release)]
    if foreign:
        evidence = f"{', '.join(foreign)} exist without the label {DEPLOYMENT_LABEL}={release}"
        fix = "Leave it to its owner, or choose another wide_ep_release or wide_ep_namespace."
        return "foreign", [Finding("DEPLOYMENT_FOREIGN", "error", where, evidence, fix)]
    if not there:
        evidence = "the namespace does not exist" if seen.namespace is None else f"no {', no '.join(found)}"
        fix = "Check wide_ep_namespace, wide_ep_release and the inventory, or deploy it: ansible-playbook site.yml."
        return "absent", [Finding("DEPLOYMENT_ABSENT", "error", where, evidence, fix)]
    missing = [title for title, item in found.items() if item is None]
    if missing:
        evidence = f"{', '.join(there)} exist; {', '.join(missing)} do not"
        fix = "Run site.yml: it makes what is missing and leaves the rest. Then run this again."
        return "partial", [Finding("DEPLOYMENT_PARTIAL", "error", where, evidence, fix)]
    return "present", []


def groups(role: str, workload: Json, pods: t.Iterable[JsonObject]) -> list[Group]:
    """The groups that a set asks for, with the pods that each has now."""
    by_index: dict[int, list[JsonObject]] = collections.defaultdict(list)
    for pod in pods:
        by_index[int(labels(pod).get(LWS_GROUP, "-1"))].append(pod)
    size = int(workload["spec"]["leaderWorkerTemplate"].get("size", 1))
    wanted = range(int(workload["spec"].get("replicas", 1)))
    indexes = sorted({*wanted, *(index for index in by_index if index >= 0)})
    name = workload["metadata"]["name"]
    return [Group(role, name, index, size, tuple(by_index.get(index, ()))) for index in indexes]


def all_groups(plan: Json, seen: Seen) -> list[Group]:
    found = []
    for role in TIERS:
        workload = seen.set_of(plan[role]["lws_name"])
        if workload:
            found += groups(role, workload, seen.pods_of(plan[role]["lws_name"]))
    return found


def mixed_revisions(plan: Json, seen: Seen) -> list[Finding]:
    """An upgrade on top of one that is not over would leave pods of three templates and no way back."""
    found = []
    for role in TIERS:
        pods = live_pods(seen.pods_of(plan[role]["lws_name"]))
        revisions = collections.Counter(labels(pod).get(LWS_REVISION, "none") for pod in pods)
        if len(revisions) > 1:
            evidence = ", ".join(f"{count} pods of {revision}" for revision, count in sorted(revisions.items()))
            fix = "Wait for it (playbooks/wait.yml), or go back with playbooks/rollback.yml. Then run this again."
            found.append(Finding("REVISIONS_MIXED", "error", f"{role}: template revisions", evidence, fix))
    return found


def target_group(plan: Json, seen: Seen, role: str, index: int) -> tuple[Group | None, list[Finding]]:
    known = [group for group in all_groups(plan, seen) if group.pods or group.index >= 0]
    for group in known:
        if (group.role, group.index) == (role, index):
            return group, []
    evidence = f"{role or 'no tier'} group {index}; the groups are {', '.join(item.title for item in known) or 'none'}"
    fix = "Set operate_tier to prefill or decode, and operate_group to one of its groups."
    return None, [Finding("RUNBOOK_TARGET", "error", "operate_tier, operate_group", evidence, fix)]


def spare(group: Group, known: t.Iterable[Group], gone: t.Collection[Group] = ()) -> int:
    """How many other groups of the tier serve meanwhile."""
    return sum(other.role == group.role and other != group and other not in gone and other.ready for other in known)


def interruption(group: Group, others: int, budget: int) -> str:
    """What users notice while one group is away, and for how long at most."""
    head = f"{group.title}: {len(group.pods)} pods, {group.gpus} GPUs on {', '.join(group.nodes) or 'no node'}"
    if others:
        plural = "s" if others > 1 else ""
        serves = f"{others} other group{plural} of the tier serve{'' if others > 1 else 's'} the others"
        return f"{head}; requests under way on it fail, {serves}; back in at most {budget} s"
    lost = {
        "decode": "every request fails",
        "prefill": "every request fails, or is answered decode-only where the sidecar is older than v0.9.0",
    }
    return f"{head}; no other group of the tier is ready: {lost[group.role]} for at most {budget} s"


# --- Room ------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Demand:
    """A pod that needs a node."""

    name: str
    spec: Json

    @property
    def requests(self) -> Amounts:
        return pod_requests(self.spec)


def free_amounts(
    nodes: t.Iterable[Json], pods: t.Iterable[Json], leaving: t.Collection[str] = (), below: int | None = None
) -> dict[str, dict[str, t.Any]]:
    """What is left on every node; pods that leave (by uid) or that yield (priority under ``below``) hold nothing."""
    free = {node["metadata"]["name"]: dict(allocatable(node)) for node in nodes}
    for pod in pods:
        name, phase = pod["spec"].get("nodeName"), (pod.get("status") or {}).get("phase")
        if name not in free or phase in ("Succeeded", "Failed") or pod["metadata"].get("uid") in leaving:
            continue
        if below is not None and int(pod["spec"].get("priority") or 0) < below:
            continue
        requests = {**pod_requests(pod["spec"]), "pods": fractions.Fraction(1)}
        for resource, amount in requests.items():
            if resource in free[name]:
                free[name][resource] -= amount
    return free


def place(
    demands: t.Iterable[Demand], nodes: t.Sequence[Json], free: dict[str, dict[str, t.Any]]
) -> tuple[dict[str, str], collections.Counter[str]]:
    """A node for each pod, the largest first, and why nodes did not do for those without one."""
    placed: dict[str, str] = {}
    reasons: collections.Counter[str] = collections.Counter()
    for demand in sorted(demands, key=lambda item: -item.requests.get(GPU, NOTHING)):
        tried: collections.Counter[str] = collections.Counter()
        for node in nodes:
            name = node["metadata"]["name"]
            why = why_not(node, demand.spec) or short_of(demand.requests, free[name])
            if why is None:
                placed[demand.name] = name
                asked = demand.requests
                free[name] = {key: left - asked.get(key, NOTHING) for key, left in free[name].items()}
                break
            tried[why] += 1
        else:
            reasons = reasons or tried
    return placed, reasons


def short_of(requests: Amounts, free: Json) -> str | None:
    """The first resource of which too little is left, GPUs first."""
    for name in sorted(requests, key=lambda key: (key != GPU, key)):
        if requests[name] > free.get(name, NOTHING):
            left = written(name, max(free.get(name, NOTHING), NOTHING))
            return f"with {left} of {written(name, requests[name])} {name} free"
    return None


def room_findings(
    subject: str, demands: t.Sequence[Demand], nodes: t.Sequence[Json], free: dict[str, dict[str, t.Any]], fix: str
) -> list[Finding]:
    placed, reasons = place(demands, nodes, free)
    waiting = [demand.name for demand in demands if demand.name not in placed]
    if not waiting:
        return []
    why = "; ".join(f"{count} {'nodes' if count > 1 else 'node'} {text}" for text, count in reasons.most_common())
    evidence = f"{len(waiting)} of {len(demands)} pods find no node, first {waiting[0]}: {why or 'there is no node'}"
    return [Finding("NO_ROOM", "error", subject, evidence, fix)]


def template_of(workload: Json) -> Json:
    found: Json = workload["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]
    return found


# --- Scale -----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Scale:
    """The change of one tier's size."""

    role: str
    groups: tuple[int, int]
    hosts: tuple[int, int]

    @property
    def kind(self) -> str:
        if self.hosts[0] != self.hosts[1]:
            return "resize"
        return (
            {True: "up", False: "down"}[self.groups[1] > self.groups[0]] if self.groups[0] != self.groups[1] else "none"
        )

    @property
    def text(self) -> str:
        shown = [
            f"{name} {before} to {after}"
            for name, (before, after) in (("groups", self.groups), ("hosts per group", self.hosts))
            if before != after
        ]
        return f"{self.role}: {', '.join(shown) or 'unchanged'}"


def scale_of(role: str, plan: Json, workload: Json) -> Scale:
    spec = workload["spec"]
    now = int(spec.get("replicas", 1)), int(spec["leaderWorkerTemplate"].get("size", 1))
    return Scale(role, (now[0], plan[role]["groups"]), (now[1], plan[role]["hosts_per_group"]))


def scale_demands(scale: Scale, plan: Json, workload: Json) -> list[Demand]:
    """The pods that are new: all of a tier whose groups change their size, else those of the added groups."""
    first = 0 if scale.kind == "resize" else scale.groups[0]
    hosts = scale.hosts[1]
    names = plan[scale.role]["pods"][first * hosts :]
    return [Demand(name, template_of(workload)) for name in names]


def scale_leaving(scale: Scale, known: t.Iterable[Group]) -> list[Group]:
    """The groups whose pods go: the last ones first, or all where the size of the groups changes."""
    first = 0 if scale.kind == "resize" else scale.groups[1]
    return [group for group in known if group.role == scale.role and group.index >= first and group.pods]
