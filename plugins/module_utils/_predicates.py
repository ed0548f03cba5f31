# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is this object ready? One pure predicate per kind, in one table.

Private to the collection: it may change at any time, do not import it from elsewhere.

A predicate takes the object as the API server returns it and what belongs to it (pods, endpoint slices), and
returns a Verdict. It never counts a status that the controller wrote for an older generation of the object.
Adding a kind is one function, one row in KINDS and one test.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field, replace

JsonObject = dict[str, t.Any]
State = t.Literal["ready", "progressing", "failed"]

LWS_NAME = "leaderworkerset.sigs.k8s.io/name"
LWS_GROUP = "leaderworkerset.sigs.k8s.io/group-index"
LWS_WORKER = "leaderworkerset.sigs.k8s.io/worker-index"
LWS_REVISION = "leaderworkerset.sigs.k8s.io/template-revision-hash"
SERVICE_NAME = "kubernetes.io/service-name"
QUEUE_NAME = "kueue.x-k8s.io/queue-name"
GKE_CONTROLLER = "networking.gke.io/"
#: What a parent says about a route or a pool, and the reason where it says no.
PARENT_CONDITIONS = {
    "Accepted": "RouteNotAccepted",
    "ResolvedRefs": "RefsNotResolved",
    "Reconciled": "RouteNotReconciled",
}
NO_ANSWER = "no controller answered"


@dataclass(frozen=True)
class Verdict:
    """`reason` is a key of the failure policy where the policy has something to say about this state."""

    state: State
    detail: str
    counts: t.Mapping[str, int] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Related:
    """What belongs to an object: its pods, for a Service its EndpointSlices, in a queue its Workloads.

    `workloads` is None where the object is in no queue or they cannot be read, `routes`, the HTTPRoutes of the
    namespace of a pool, where they are not served or cannot be read.
    """

    pods: tuple[JsonObject, ...] = ()
    slices: tuple[JsonObject, ...] = ()
    workloads: tuple[JsonObject, ...] | None = None
    routes: tuple[JsonObject, ...] | None = None


Predicate = t.Callable[[JsonObject, Related], Verdict]
PodSelector = t.Callable[[JsonObject], t.Union[JsonObject, None]]


@dataclass(frozen=True)
class Kind:
    """`settled`: once ready, always ready, so it is not read again."""

    judge: Predicate
    pods: PodSelector | None = None
    slices: bool = False
    workloads: bool = False
    routes: bool = False
    settled: bool = False


def labels(obj: JsonObject) -> dict[str, str]:
    return obj.get("metadata", {}).get("labels") or {}


def status(obj: JsonObject) -> JsonObject:
    return obj.get("status") or {}


def condition(obj: JsonObject, kind: str) -> JsonObject:
    return next((c for c in status(obj).get("conditions") or [] if c.get("type") == kind), {})


def condition_holds(holder: JsonObject, entry: JsonObject) -> bool:
    """True now: not a True from before the last change of `holder`."""
    generation = holder.get("metadata", {}).get("generation", 0)
    return entry.get("status") == "True" and entry.get("observedGeneration", generation) >= generation


def is_observed(obj: JsonObject) -> bool:
    return status(obj).get("observedGeneration", 0) >= obj.get("metadata", {}).get("generation", 0)


def why(entry: JsonObject) -> str:
    parts = [str(entry[key]) for key in ("reason", "message") if entry.get(key)]
    return ": ".join(parts)


def pod_ready(pod: JsonObject) -> bool:
    return condition(pod, "Ready").get("status") == "True" and not is_terminating(pod)


def is_terminating(obj: JsonObject) -> bool:
    return bool(obj.get("metadata", {}).get("deletionTimestamp"))


def live_pods(pods: t.Iterable[JsonObject]) -> list[JsonObject]:
    """Pods that should serve: not on their way out, not ended (a replaced one stays listed as Failed)."""
    ended = ("Succeeded", "Failed")
    return [pod for pod in pods if not is_terminating(pod) and status(pod).get("phase") not in ended]


def _pod_counts(pods: t.Iterable[JsonObject], desired: int) -> dict[str, int]:
    live = live_pods(pods)
    return {"pods_ready": sum(map(pod_ready, live)), "pods_desired": desired}


def _spec_selector(obj: JsonObject) -> JsonObject | None:
    return obj.get("spec", {}).get("selector") or None


def _lws_selector(obj: JsonObject) -> JsonObject:
    return {"matchLabels": {LWS_NAME: obj["metadata"]["name"]}}


def selects(selector: JsonObject, pod: JsonObject) -> bool:
    """A LabelSelector, as the API server would apply it."""
    have = labels(pod)
    if any(have.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or []:
        inside = have.get(term["key"]) in (term.get("values") or [])
        holds = {"In": inside, "NotIn": not inside, "Exists": term["key"] in have}
        if not holds.get(term["operator"], term["key"] not in have):
            return False
    return True


def judge_leader_worker_set(obj: JsonObject, related: Related) -> Verdict:
    """Available is kept from the previous template until the controller looks again, hence generation and counts.

    status.readyReplicas counts ready groups whatever their template, updatedReplicas those of the current one.
    """
    spec, now = obj.get("spec", {}), status(obj)
    groups, size = spec.get("replicas", 1), spec.get("leaderWorkerTemplate", {}).get("size", 1)
    rolling = (spec.get("rolloutStrategy") or {}).get("rollingUpdateConfiguration") or {}
    kept_back = min(groups, int(rolling.get("partition") or 0))
    ready, updated = now.get("readyReplicas", 0), now.get("updatedReplicas", 0)
    live = live_pods(related.pods)
    held = held_back(related.workloads, groups)
    counts = {"groups_ready": ready, "groups_desired": groups, **_pod_counts(related.pods, groups * size)}
    if held:
        return Verdict("progressing", held.detail, counts, held.reason)
    available = condition(obj, "Available")
    missing = (
        (not _lws_observed(obj, available), "the controller has not seen the last change yet"),
        (updated < groups - kept_back, f"{updated} of {groups} groups have the current template"),
        (ready != groups, f"{ready} of {groups} groups ready"),
        (len(live) != groups * size, f"{len(live)} of {groups * size} pods exist"),
        (not kept_back and len({labels(pod).get(LWS_REVISION) for pod in live}) > 1, "pods of two templates"),
        (any(not pod_ready(pod) for pod in live), f"{counts['pods_ready']} of {groups * size} pods ready"),
        (not condition_holds(obj, available), f"not Available: {why(condition(obj, 'Progressing'))}"),
    )
    return _first(missing, "available", counts)


def _lws_observed(obj: JsonObject, available: JsonObject) -> bool:
    """status.observedGeneration came with LWS 0.7; before that only the condition carries a generation."""
    if "observedGeneration" in status(obj):
        return is_observed(obj)
    return bool(available) and condition_holds(obj, available)


def _first(missing: t.Iterable[tuple[bool, str]], done: str, counts: t.Mapping[str, int]) -> Verdict:
    """The first thing that is missing, or ready."""
    for absent, detail in missing:
        if absent:
            return Verdict("progressing", detail.rstrip(": "), counts)
    return Verdict("ready", done, counts)


def judge_deployment(obj: JsonObject, related: Related) -> Verdict:
    now, wanted = status(obj), obj.get("spec", {}).get("replicas", 1)
    updated, available = now.get("updatedReplicas", 0), now.get("availableReplicas", 0)
    counts = {"ready": now.get("readyReplicas", 0), "desired": wanted}
    if not is_observed(obj):
        return Verdict("progressing", "the controller has not seen the last change yet", counts)
    stuck = condition(obj, "Progressing")
    if stuck.get("status") == "False" and stuck.get("reason") == "ProgressDeadlineExceeded":
        return Verdict("progressing", why(stuck), counts, "ProgressDeadlineExceeded")
    missing = (
        (updated < wanted, f"{updated} of {wanted} replicas updated"),
        (now.get("replicas", 0) > updated, f"{now.get('replicas', 0) - updated} old replicas left"),
        (available < wanted, f"{available} of {wanted} replicas available"),
        (bool(now.get("unavailableReplicas")), f"{now.get('unavailableReplicas')} replicas unavailable"),
    )
    return _first(missing, "available", counts)


def judge_stateful_set(obj: JsonObject, related: Related) -> Verdict:
    spec, now = obj.get("spec", {}), status(obj)
    wanted = spec.get("replicas", 1)
    partition = ((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition", 0)
    on_delete = (spec.get("updateStrategy") or {}).get("type") == "OnDelete"
    updated, ready = now.get("updatedReplicas", 0), now.get("readyReplicas", 0)
    due = 0 if on_delete else max(0, wanted - partition)
    missing = (
        (not is_observed(obj), "the controller has not seen the last change yet"),
        (updated < due, f"{updated} of {due} replicas updated"),
        (ready < wanted, f"{ready} of {wanted} replicas ready"),
        (now.get("replicas", 0) != wanted, f"{now.get('replicas', 0)} of {wanted} replicas exist"),
    )
    return _first(missing, "ready", {"ready": ready, "desired": wanted})


def judge_daemon_set(obj: JsonObject, related: Related) -> Verdict:
    now = status(obj)
    wanted, ready = now.get("desiredNumberScheduled", 0), now.get("numberReady", 0)
    on_delete = (obj.get("spec", {}).get("updateStrategy") or {}).get("type") == "OnDelete"
    updated = wanted if on_delete else now.get("updatedNumberScheduled", 0)
    missing = (
        (not is_observed(obj), "the controller has not seen the last change yet"),
        (updated < wanted, f"{updated} of {wanted} pods updated"),
        (min(ready, now.get("numberAvailable", 0)) < wanted, f"{ready} of {wanted} pods ready"),
    )
    return _first(missing, "ready", {"ready": ready, "desired": wanted})


def judge_job(obj: JsonObject, related: Related) -> Verdict:
    now, wanted = status(obj), obj.get("spec", {}).get("completions") or 1
    counts = {"succeeded": now.get("succeeded", 0), "desired": wanted}
    for kind in ("Failed", "FailureTarget"):
        entry = condition(obj, kind)
        if entry.get("status") == "True":
            return Verdict("failed", why(entry), counts, "JobFailed")
    if condition(obj, "Complete").get("status") == "True":
        return Verdict("ready", "complete", counts)
    return Verdict("progressing", f"{counts['succeeded']} of {wanted} pods succeeded", counts)


def judge_pod(obj: JsonObject, related: Related) -> Verdict:
    now = status(obj)
    phase = now.get("phase", "Pending")
    counts = {"pods_ready": int(pod_ready(obj)), "pods_desired": 1}
    if phase == "Succeeded":
        return Verdict("ready", "completed", {"pods_ready": 1, "pods_desired": 1})
    if phase == "Failed":
        return Verdict(
            "failed", why(now) or "Failed", counts, "Evicted" if now.get("reason") == "Evicted" else "PodFailed"
        )
    if is_terminating(obj):
        return Verdict("progressing", "is being deleted", counts)
    if pod_ready(obj):
        return Verdict("ready", "ready", counts)
    return Verdict("progressing", f"{phase}, not ready", counts)


def judge_service(obj: JsonObject, related: Related) -> Verdict:
    if obj.get("spec", {}).get("type") == "ExternalName":
        return Verdict("ready", "external name")
    endpoints = [e for entry in related.slices for e in entry.get("endpoints") or []]
    # `ready` left out means unknown, which consumers must read as ready (EndpointConditions in discovery.k8s.io/v1).
    ready = [e for e in endpoints if (e.get("conditions") or {}).get("ready") is not False]
    counts = {"endpoints_ready": len(ready), "endpoints": len(endpoints)}
    return _first([(not ready, f"no ready endpoint of {len(endpoints)}")], "has endpoints", counts)


def judge_crd(obj: JsonObject, related: Related) -> Verdict:
    names = condition(obj, "NamesAccepted")
    if names.get("status") == "False":
        return Verdict("failed", why(names), {}, "NamesNotAccepted")
    established = condition(obj, "Established")
    return _first([(established.get("status") != "True", "not Established")], "established", {})


def judge_gateway_class(obj: JsonObject, related: Related) -> Verdict:
    accepted = condition(obj, "Accepted")
    reason = "" if condition_holds(obj, accepted) else "GatewayClassNotAccepted"
    detail = f"not Accepted: {why(accepted) or NO_ANSWER}" if reason else "accepted"
    return Verdict("progressing" if reason else "ready", detail, {}, reason)


def judge_gateway(obj: JsonObject, related: Related) -> Verdict:
    """Programmed and with an address, which may be a name: an implementation may lack either for good."""
    values = [entry["value"] for entry in status(obj).get("addresses") or [] if entry.get("value")]
    counts = {"addresses": len(values)}
    for kind in ("Accepted", "Programmed"):
        entry = condition(obj, kind)
        if not condition_holds(obj, entry):
            detail = f"not {kind}: {why(entry) or NO_ANSWER}"
            return Verdict("progressing", detail, counts, _gateway_reason(kind, entry))
    if not values:
        return Verdict("progressing", "Programmed, but it has no address", counts, "GatewayWithoutAddress")
    return Verdict("ready", f"programmed at {values[0]}", counts)


def _gateway_reason(kind: str, entry: JsonObject) -> str:
    if entry.get("reason") == "AddressNotAssigned":
        return "GatewayWithoutAddress"
    refused = entry.get("status") == "False" and entry.get("reason") != "Pending"
    if kind == "Accepted":
        return "GatewayNotAccepted" if refused else "GatewayUnclaimed"
    return "GatewayNotProgrammed" if refused else "GatewayPending"


def _refers(ref: JsonObject, obj: JsonObject) -> tuple[str, str, str, str]:
    """What a reference to a parent means, with its defaults filled in."""
    namespace = ref.get("namespace") or obj["metadata"].get("namespace", "")
    return ref.get("kind") or "Gateway", namespace, ref.get("name", ""), ref.get("sectionName", "")


def judge_parents(obj: JsonObject, wanted: t.Sequence[JsonObject]) -> Verdict:
    """Each wanted parent has answered with a yes; entries of others, placeholders among them, say nothing about it."""
    counts = {"parents": 0, "parents_desired": len(wanted)}
    for ref in wanted:
        entries = [
            entry
            for entry in status(obj).get("parents") or []
            if _refers(entry.get("parentRef") or {}, obj) == _refers(ref, obj)
        ]
        if not entries:
            detail = f"{_refers(ref, obj)[0]} {ref.get('name')} has not answered yet"
            return Verdict("progressing", detail, counts, "ParentUnanswered")
        counts = {**counts, "parents": counts["parents"] + 1}
        for entry in entries:
            if refused := _parent_refusal(obj, entry):
                return replace(refused, counts=counts)
    return Verdict("ready", "accepted" if wanted else "no gateway uses it", counts)


def _parent_refusal(obj: JsonObject, entry: JsonObject) -> Verdict | None:
    by_type = {c["type"]: c for c in entry.get("conditions") or []}
    for kind, reason in PARENT_CONDITIONS.items():
        # GKE accepts a route long before its load balancer has it, and says by a condition of its own when it does.
        if kind == "Reconciled" and not str(entry.get("controllerName", "")).startswith(GKE_CONTROLLER):
            continue
        found = by_type.get(kind, {})
        if not condition_holds(obj, found):
            name = (entry.get("parentRef") or {}).get("name", "")
            detail = f"not {kind} by {name}: {why(found) or NO_ANSWER}"
            return Verdict("progressing", detail, {}, reason if found.get("status") == "False" else "ParentUnanswered")
    return None


def judge_http_route(obj: JsonObject, related: Related) -> Verdict:
    return judge_parents(obj, obj.get("spec", {}).get("parentRefs") or [])


def judge_inference_pool(obj: JsonObject, related: Related) -> Verdict:
    """Without a gateway nobody writes a status: then it is enough that the pool exists.

    Which gateways have to answer is known by the routes that lead to the pool. Where those cannot be read, all that
    have answered count, but not the placeholder of kind Status and name default that some CRDs put there.
    """
    if related.routes is None:
        answered = [entry.get("parentRef") or {} for entry in status(obj).get("parents") or []]
        return judge_parents(obj, [ref for ref in answered if ref.get("name") and ref.get("kind") != "Status"])
    leading = [route for route in related.routes if not is_terminating(route) and _leads_to(route, obj)]
    return judge_parents(obj, _gateways(leading))


def _leads_to(route: JsonObject, pool: JsonObject) -> bool:
    group = pool["apiVersion"].rpartition("/")[0]
    wanted = (group, pool["kind"], pool["metadata"]["name"])
    refs = [ref for rule in route.get("spec", {}).get("rules") or [] for ref in rule.get("backendRefs") or []]
    return any((ref.get("group", ""), ref.get("kind", "Service"), ref.get("name")) == wanted for ref in refs)


def _gateways(routes: t.Iterable[JsonObject]) -> list[JsonObject]:
    """The Gateways of the routes, each once: a pool's status names no listener."""
    found: dict[tuple[str, str, str, str], JsonObject] = {}
    for route in routes:
        for ref in route.get("spec", {}).get("parentRefs") or []:
            named = {key: ref[key] for key in ("name", "namespace") if ref.get(key)}
            if ref.get("kind", "Gateway") == "Gateway":
                found[_refers(named, route)] = named
    return list(found.values())


def judge_gke_policy(obj: JsonObject, related: Related) -> Verdict:
    """GKE's HealthCheckPolicy and GCPBackendPolicy."""
    attached = condition(obj, "Attached")
    if condition_holds(obj, attached):
        return Verdict("ready", "attached")
    reason = "PolicyNotAttached" if attached.get("status") == "False" else "ParentUnanswered"
    return Verdict("progressing", f"not Attached: {why(attached) or NO_ANSWER}", {}, reason)


#: Why Kueue holds a Workload back, the first that applies: by the reason of QuotaReserved where Kueue gives a fine one,
#: else by its message (without a feature gate the reason is Pending or Inadmissible, Kueue 0.19).
_HELD: tuple[tuple[str, frozenset[str], re.Pattern[str]], ...] = (
    (
        "WorkloadUnplaced",
        frozenset({"TopologyPlacementFailed"}),
        re.compile(r"topology \S+ (allows|doesn't allow)|no topology domains", re.I),
    ),
    (
        "WorkloadInadmissible",
        frozenset({"Inadmissible", "NoMatchingFlavor", "ExceedsMaxQuota", "Misconfigured", "Suspended"}),
        re.compile(
            r"maximum capacity|unavailable in ClusterQueue|untolerated taint|doesn't match node ?affinity"
            r"|does not contain the requested level|TopologyAwareScheduling",
            re.I,
        ),
    ),
    ("WorkloadWaiting", frozenset({"WaitingForQuota"}), re.compile(r"insufficient", re.I)),
)
_TOPOLOGY_REQUESTS = (("required", "in one {}"), ("preferred", "in one {} if possible"))


def judge_workload(obj: JsonObject, related: Related) -> Verdict:
    """Kueue's unit of admission. One that was evicted waits for admission again, unless it was deactivated."""
    finished, evicted = condition(obj, "Finished"), condition(obj, "Evicted")
    reserved, admitted = condition(obj, "QuotaReserved"), condition(obj, "Admitted")
    if finished.get("status") == "True":
        return Verdict("ready", why(finished))
    if admitted.get("status") == "True":
        return Verdict("ready", "admitted")
    if obj.get("spec", {}).get("active") is False:
        return Verdict("failed", f"deactivated: {why(evicted)}".rstrip(": "), {}, "WorkloadEvicted")
    if reserved.get("status") == "True":
        return Verdict("progressing", f"quota reserved, not admitted: {why(admitted)}".rstrip(": "))
    again = f"evicted ({why(evicted)}), " if evicted.get("status") == "True" else ""
    said = re.sub(
        r"^couldn't assign flavors to pod set \S+: ", "", reserved.get("message") or reserved.get("reason", "")
    )
    asked = workload_request(obj)
    detail = f"{again}not admitted: {said or 'Kueue has not looked at it yet'}" + (
        f"; asks for {asked}" if asked else ""
    )
    return Verdict("progressing", detail, {}, _held_reason(reserved))


def _held_reason(reserved: JsonObject) -> str:
    for reason, known, pattern in _HELD:
        if reserved.get("reason") in known or pattern.search(reserved.get("message", "")):
            return reason
    return ""


def workload_request(obj: JsonObject) -> str:
    """What a Workload asks for in few words: pods, their devices, and the domain that they must share."""
    return ", ".join(_pod_set_request(pod_set) for pod_set in obj.get("spec", {}).get("podSets") or [])


def _pod_set_request(pod_set: JsonObject) -> str:
    devices: dict[str, str] = {}
    for container in (pod_set.get("template") or {}).get("spec", {}).get("containers") or []:
        resources = container.get("resources") or {}
        asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        devices.update({name: value for name, value in asked.items() if "/" in name and str(value) != "0"})
    shown = ", ".join(f"{value} {name}" for name, value in sorted(devices.items()))
    wanted = pod_set.get("topologyRequest") or {}
    where = next((words.format(wanted[kind]) for kind, words in _TOPOLOGY_REQUESTS if wanted.get(kind)), "")
    number = pod_set.get("count", 1)
    parts = (f"{number} pod{'s' * (number != 1)}", shown and f"with {shown} each", where)
    return " ".join(filter(None, parts))


def held_back(workloads: tuple[JsonObject, ...] | None, groups: int) -> Verdict | None:
    """Why Kueue does not let a group start; None where it does, or does not have to be asked."""
    if workloads is None:
        return None
    verdicts = [(obj, judge_workload(obj, Related())) for obj in workloads if not is_terminating(obj)]
    waiting = [(obj, verdict) for obj, verdict in verdicts if verdict.state != "ready"]
    if waiting:
        # The one that says why first: the others have often not been looked at yet.
        obj, verdict = min(waiting, key=lambda pair: (pair[1].reason == "", pair[0]["metadata"]["name"]))
        others = f"; {len(waiting)} of {groups} groups wait" if groups > 1 else ""
        return replace(verdict, detail=f"{verdict.detail} (Workload {obj['metadata']['name']}){others}")
    if len(verdicts) < groups:
        return Verdict("progressing", f"{len(verdicts)} of {groups} Workloads exist", {}, "WorkloadMissing")
    return None


def judge_queue(obj: JsonObject, related: Related) -> Verdict:
    """Kueue's ClusterQueue and LocalQueue."""
    active = condition(obj, "Active")
    reason = "QueueInactive" if active.get("status") == "False" else ""
    if active.get("status") == "True":
        return Verdict("ready", "active")
    return Verdict("progressing", f"not active: {why(active)}".rstrip(": "), {}, reason)


def judge_node(obj: JsonObject, related: Related) -> Verdict:
    entry = condition(obj, "Ready")
    missing = (
        (entry.get("status") != "True", f"not Ready: {why(entry)}"),
        (bool(obj.get("spec", {}).get("unschedulable")), "cordoned"),
    )
    return _first(missing, "ready", {})


def judge_node_pool(obj: JsonObject, related: Related) -> Verdict:
    """CoreWeave's NodePool; its vocabulary is not published in full, so only these reasons are terminal."""
    validated = next((c for kind in ("Validated", "Valid") if (c := condition(obj, kind))), {})
    quota, capacity = condition(obj, "Quota"), condition(obj, "Capacity")
    wanted = obj.get("spec", {}).get("targetNodes", 0)
    counts = {"nodes": status(obj).get("currentNodes", 0), "desired": wanted}
    if validated.get("status") == "False":
        return Verdict("failed", why(validated), counts, "NodePoolInvalid")
    if quota.get("status") == "False" and quota.get("reason") == "NotSet":
        return Verdict("failed", why(quota), counts, "NodePoolInvalid")
    at_target = condition(obj, "AtTarget")
    detail = f"{counts['nodes']} of {wanted} nodes: {why(capacity) or why(at_target)}"
    # The condition carries no generation: right after a change of the target it is that of the target before.
    stale = "targetNodes" in obj.get("spec", {}) and counts["nodes"] != wanted
    return _first([(stale or not condition_holds(obj, at_target), detail)], "at target", counts)


def judge_gke_network(obj: JsonObject, related: Related) -> Verdict:
    """GKE's Network and GKENetworkParamSet. A reason that says what is wrong with the parameters does not heal."""
    for kind in ("ParamsReady", "Ready"):
        entry = condition(obj, kind)
        if kind == "ParamsReady" and obj["kind"] != "Network":
            continue
        if not condition_holds(obj, entry):
            wrong = entry.get("status") == "False" and entry.get("reason") != "GNPParamsNotReady"
            detail = f"not {kind}: {why(entry) or 'no controller answered'}"
            return Verdict("progressing", detail, {}, "NodeNetworkInvalid" if wrong else "")
    return Verdict("ready", "ready")


def judge_condition(obj: JsonObject, related: Related) -> Verdict:
    """A kind without a row: by its Ready, Available or Established condition, else it is enough that it exists."""
    for kind in ("Ready", "Available", "Established"):
        entry = condition(obj, kind)
        if entry:
            return _first([(not condition_holds(obj, entry), f"not {kind}: {why(entry)}")], kind.lower(), {})
    return Verdict("ready", "exists")


KINDS: dict[tuple[str, str], Kind] = {
    ("leaderworkerset.x-k8s.io", "LeaderWorkerSet"): Kind(judge_leader_worker_set, pods=_lws_selector, workloads=True),
    ("apps", "Deployment"): Kind(judge_deployment, pods=_spec_selector),
    ("apps", "StatefulSet"): Kind(judge_stateful_set, pods=_spec_selector),
    ("apps", "DaemonSet"): Kind(judge_daemon_set, pods=_spec_selector),
    ("batch", "Job"): Kind(judge_job, pods=_spec_selector, settled=True),
    ("", "Pod"): Kind(judge_pod),
    ("", "Service"): Kind(judge_service, slices=True),
    ("", "Node"): Kind(judge_node),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): Kind(judge_crd, settled=True),
    ("gateway.networking.k8s.io", "GatewayClass"): Kind(judge_gateway_class),
    ("gateway.networking.k8s.io", "Gateway"): Kind(judge_gateway),
    ("gateway.networking.k8s.io", "HTTPRoute"): Kind(judge_http_route),
    ("inference.networking.k8s.io", "InferencePool"): Kind(judge_inference_pool, routes=True),
    ("inference.networking.x-k8s.io", "InferencePool"): Kind(judge_inference_pool, routes=True),
    ("networking.gke.io", "HealthCheckPolicy"): Kind(judge_gke_policy),
    ("networking.gke.io", "GCPBackendPolicy"): Kind(judge_gke_policy),
    ("kueue.x-k8s.io", "Workload"): Kind(judge_workload),
    ("kueue.x-k8s.io", "ClusterQueue"): Kind(judge_queue),
    ("kueue.x-k8s.io", "LocalQueue"): Kind(judge_queue),
    ("compute.coreweave.com", "NodePool"): Kind(judge_node_pool),
    ("networking.gke.io", "Network"): Kind(judge_gke_network),
    ("networking.gke.io", "GKENetworkParamSet"): Kind(judge_gke_network),
}
OTHER_KIND = Kind(judge_condition)


def kind_of(api_version: str, kind: str) -> Kind:
    """By group: versions of a kind share their status."""
    return KINDS.get((api_version.rpartition("/")[0], kind), OTHER_KIND)


def judge(obj: JsonObject, related: Related) -> Verdict:
    """The kind's verdict; an object is never ready while a pod of it that should serve is not."""
    kind = kind_of(obj["apiVersion"], obj["kind"])
    if is_terminating(obj):
        return Verdict("progressing", "is being deleted", {}, "ObjectDeleted")
    verdict = kind.judge(obj, related)
    waiting = [] if kind.settled else [pod for pod in live_pods(related.pods) if not pod_ready(pod)]
    if verdict.state == "ready" and waiting:
        return Verdict("progressing", f"{len(waiting)} pods not ready", verdict.counts)
    return verdict
