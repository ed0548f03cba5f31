# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a pod from being ready, and how long to bear it.

Private to the collection: it may change at any time, do not import it from elsewhere.

POLICY is the failure policy as data. Pods and events are turned into Troubles, whose reasons are its keys. The
kubelet's reasons alone do not decide: ErrImagePull is both an image that does not exist and a registry that is busy,
so messages are read as well.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from datetime import datetime

from ansible_collections.llmd.wide_ep.plugins.module_utils._predicates import (
    JsonObject,
    condition,
    is_terminating,
    pod_ready,
    status,
    why,
)


@dataclass(frozen=True)
class Rule:
    """Terminal after `grace` seconds (0: at once), once the container has restarted `restarts` times."""

    code: str
    grace: float
    fix: str
    restarts: int = 0


_PULL_AGAIN = "Check the node's way to the registry and its limits; a mirror (wide_ep_mirror) avoids both."
_ADMISSION = "Change the object or the policy that the message names, then run again."
_SEE_LOGS = "Read the last log lines below; fix the arguments, the image or what the process needs, then run again."
_SEE_STATUS = "Read the message; kubectl describe shows the whole status."
_ROOM = (
    "Free, uncordon or add nodes of one domain that carry the labels of all levels; or ask for less, by "
    "wide_ep_topology_level (a wider one) or wide_ep_topology_mode (preferred)."
)
_NO_WORKLOAD = (
    "Kueue does not manage this set: see that it runs, that leaderworkerset.x-k8s.io/leaderworkerset is one of its "
    "frameworks and that its managedJobsNamespaceSelector takes the namespace; then recreate the set."
)
_NO_CONTROLLER = (
    "See that the controller of the provider runs and serves this class (playbooks/gateway.yml installs it for istio "
    "and agentgateway; kubectl get gatewayclass lists what is served)."
)
_NO_ADDRESS = (
    "The cluster gives Services of type LoadBalancer no address, or has none left: use gateway_exposure=internal, or "
    "give the cluster a load balancer. On GKE, see that the region has a proxy-only subnet."
)
_REFS = (
    "Create what the message names, or correct the reference. For an InferencePool on istio, see that istiod runs with "
    "ENABLE_GATEWAY_API_INFERENCE_EXTENSION=true."
)
_UNANSWERED = (
    "The controller of the Gateway does not look at this object: see its log, that the Gateway is Programmed, and that "
    "the controller supports the kind (istio and agentgateway do so for InferencePool by a setting)."
)

POLICY: dict[str, Rule] = {
    "ImageDenied": Rule("IMAGE_DENIED", 0, "Give the namespace a pull secret for this registry, or use a mirror."),
    "ImageNotFound": Rule("IMAGE_NOT_FOUND", 0, "Correct the image's name, tag or digest, or copy it to the mirror."),
    "InvalidImageName": Rule("IMAGE_NOT_FOUND", 0, "Correct the image reference."),
    "ErrImageNeverPull": Rule("IMAGE_NOT_FOUND", 0, "Load the image on the node, or allow pulling it."),
    "ImagePullThrottled": Rule("IMAGE_PULL_FAILED", 600, _PULL_AGAIN),
    "RegistryUnreachable": Rule("IMAGE_PULL_FAILED", 600, _PULL_AGAIN),
    "ImagePullFailed": Rule("IMAGE_PULL_FAILED", 180, _PULL_AGAIN),
    # A Secret or ConfigMap that is applied a moment after the pod heals by itself.
    "CreateContainerConfigError": Rule("CONTAINER_CONFIG", 20, "Create the Secret or ConfigMap key that is missing."),
    "CreateContainerError": Rule("CONTAINER_CREATE", 60, _SEE_STATUS),
    "CrashLoopBackOff": Rule("CRASH_LOOP", 0, _SEE_LOGS, restarts=2),
    "ContainerRestarting": Rule("CRASH_LOOP", 60, _SEE_LOGS, restarts=3),
    "ReadinessProbeFailed": Rule("PROBE_FAILED", 600, _SEE_LOGS),
    # Without a startup probe, not ready may also mean that the model is still loading.
    "ReadinessPending": Rule("PROBE_FAILED", 1800, _SEE_LOGS),
    "Unschedulable": Rule("UNSCHEDULABLE", 300, "Free or add nodes that fit, or lower the requests."),
    "FailedMount": Rule("VOLUME_MOUNT", 300, "Create what the volume refers to, or fix the storage."),
    "FailedCreatePodSandBox": Rule("POD_SANDBOX", 300, "Look at the network plugin and the runtime of the node."),
    "PodFailed": Rule("POD_FAILED", 0, _SEE_LOGS),
    "Evicted": Rule("POD_EVICTED", 0, "Free the resource that the message names on the node, then run again."),
    "AdmissionDenied": Rule("ADMISSION_DENIED", 0, _ADMISSION),
    "QuotaExceeded": Rule("QUOTA_EXCEEDED", 0, "Raise the quota of the namespace or lower what is asked for."),
    "FailedCreate": Rule("ADMISSION_DENIED", 120, _ADMISSION),
    "GroupRecreated": Rule("GROUP_RECREATED", 0, _SEE_LOGS),
    "ProgressDeadlineExceeded": Rule("NOT_READY_IN_TIME", 60, _SEE_STATUS),
    "JobFailed": Rule("JOB_FAILED", 0, _SEE_LOGS),
    "NamesNotAccepted": Rule("CRD_CONFLICT", 0, "Remove the CustomResourceDefinition that has the same names."),
    "GatewayClassNotAccepted": Rule("GATEWAY_CLASS", 180, _NO_CONTROLLER),
    # A controller reads its classes at intervals; one that does not run answers nothing at all.
    "GatewayUnclaimed": Rule("GATEWAY_NOT_ACCEPTED", 180, _NO_CONTROLLER),
    "GatewayNotAccepted": Rule("GATEWAY_NOT_ACCEPTED", 180, _SEE_STATUS),
    # A cloud's load balancer takes minutes, and says meanwhile that it is not programmed.
    "GatewayPending": Rule("GATEWAY_NOT_PROGRAMMED", 900, _SEE_STATUS),
    "GatewayNotProgrammed": Rule("GATEWAY_NOT_PROGRAMMED", 600, _SEE_STATUS),
    "GatewayWithoutAddress": Rule("GATEWAY_NO_ADDRESS", 300, _NO_ADDRESS),
    "RouteNotAccepted": Rule("ROUTE_NOT_ACCEPTED", 180, _SEE_STATUS),
    # The pool or the Service of its endpoint picker may be applied a moment later.
    "RefsNotResolved": Rule("ROUTE_REFS_UNRESOLVED", 180, _REFS),
    "RouteNotReconciled": Rule("ROUTE_NOT_ACCEPTED", 600, _SEE_STATUS),
    "ParentUnanswered": Rule("ROUTE_UNANSWERED", 600, _UNANSWERED),
    "PolicyNotAttached": Rule("GATEWAY_POLICY", 300, _SEE_STATUS),
    "WorkloadEvicted": Rule("WORKLOAD_NOT_ADMITTED", 0, "Free what the message names, then activate or recreate it."),
    "WorkloadInadmissible": Rule("WORKLOAD_NOT_ADMITTED", 300, "Raise the ClusterQueue's quota or fix its flavors."),
    # Like Unschedulable: other groups end, nodes join.
    "WorkloadWaiting": Rule("WORKLOAD_NOT_ADMITTED", 300, "Free the quota that the message names, or raise it."),
    "WorkloadUnplaced": Rule("WORKLOAD_NOT_ADMITTED", 300, _ROOM),
    "WorkloadMissing": Rule("WORKLOAD_NOT_ADMITTED", 60, _NO_WORKLOAD),
    "QueueInactive": Rule("WORKLOAD_NOT_ADMITTED", 60, "Create what the message names, or correct its name."),
    "NodePoolInvalid": Rule("NODE_POOL_INVALID", 0, _SEE_STATUS),
    # The controller of multi-networking looks again every minute; a subnet may be made a moment after it.
    "NodeNetworkInvalid": Rule(
        "NODE_NETWORK_INVALID",
        120,
        "Make the VPC and subnet that the object names, each for one Network, and not default.",
    ),
    "ObjectMissing": Rule("OBJECT_MISSING", 300, "Apply the object first, or correct its name and namespace."),
    "KindMissing": Rule("OBJECT_MISSING", 300, "Install the CustomResourceDefinition of this kind first."),
    "ObjectDeleted": Rule("OBJECT_MISSING", 300, "Wait until the deletion ends (finalizers), then apply it again."),
}


@dataclass(frozen=True)
class Trouble:
    """One reason why something is not ready; `key` stays the same while it lasts."""

    reason: str
    subject: str
    message: str
    key: str
    namespace: str = ""
    pod: str = ""
    container: str = ""
    node: str = ""
    restarts: int = 0


_PULL_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("ImagePullThrottled", re.compile(r"\b429\b|too ?many ?requests|QPS exceeded|rate limit", re.I)),
    (
        "ImageDenied",
        re.compile(r"denied|unauthorized|\b40[13]\b|forbidden|authorization failed|insufficient_scope", re.I),
    ),
    (
        "RegistryUnreachable",
        re.compile(
            r"time-?d? ?out|deadline exceeded|no such host|connection re(fused|set)|no route to host|unreachable"
            r"|server misbehaving|\bEOF\b|\b50[0234]\b|temporary failure",
            re.I,
        ),
    ),
    ("ImageNotFound", re.compile(r"not found|manifest unknown|name unknown|does not exist", re.I)),
)

_CREATE_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("QuotaExceeded", re.compile(r"exceeded quota", re.I)),
    (
        "AdmissionDenied",
        re.compile(r"denied the request|violates PodSecurity|security context constraint|is invalid:", re.I),
    ),
)

_WAITING: dict[str, str] = {
    "InvalidImageName": "InvalidImageName",
    "ErrImageNeverPull": "ErrImageNeverPull",
    "SignatureValidationFailed": "ImageDenied",
    "RegistryUnavailable": "RegistryUnreachable",
    "ImageInspectError": "ImagePullFailed",
    "CreateContainerConfigError": "CreateContainerConfigError",
    "CreateContainerError": "CreateContainerError",
    "PreCreateHookError": "CreateContainerError",
    "PreStartHookError": "CreateContainerError",
    "PostStartHookError": "CrashLoopBackOff",
    "RunContainerError": "CreateContainerError",
    "CrashLoopBackOff": "CrashLoopBackOff",
}
_PULLING = frozenset({"ErrImagePull", "ImagePullBackOff"})
_EVENTS: dict[str, str] = {
    "FailedCreate": "FailedCreate",
    "FailedUpdate": "FailedCreate",
    "FailedMount": "FailedMount",
    "FailedAttachVolume": "FailedMount",
    "FailedCreatePodSandBox": "FailedCreatePodSandBox",
}


def classify(message: str, patterns: t.Iterable[tuple[str, re.Pattern[str]]], otherwise: str) -> str:
    return next((reason for reason, pattern in patterns if pattern.search(message)), otherwise)


def classify_pull(message: str) -> str:
    """Image references are cut out first: a repository may be called denied or 404."""
    return classify(re.sub(r'"[^"]*"', '""', message), _PULL_PATTERNS, "ImagePullFailed")


def classify_create(message: str) -> str:
    return classify(message, _CREATE_PATTERNS, "FailedCreate")


def name_of(obj: JsonObject) -> str:
    metadata = obj.get("metadata", {})
    namespace = metadata.get("namespace")
    return f"{obj.get('kind', 'Pod')} {namespace + '/' if namespace else ''}{metadata.get('name', '')}"


def pod_troubles(pod: JsonObject) -> list[Trouble]:
    """All that is wrong with a pod that is not ready; nothing for one that ends on purpose."""
    now = status(pod)
    if is_terminating(pod) or pod_ready(pod) or now.get("phase") == "Succeeded":
        return []
    if now.get("phase") == "Failed":
        reason = "Evicted" if now.get("reason") == "Evicted" else "PodFailed"
        return [_trouble(pod, reason, why(now) or _ended_container(pod) or "Failed")]
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        return [_trouble(pod, "Unschedulable", scheduled.get("message", ""))]
    return [found for spec, entry in container_statuses(pod) if (found := _container_trouble(pod, spec, entry))]


def container_statuses(pod: JsonObject) -> list[tuple[JsonObject, JsonObject]]:
    """Containers with their status: init containers and native sidecars first, as the kubelet starts them."""
    specs = {
        entry["name"]: {**entry, "init": field == "initContainers"}
        for field in ("initContainers", "containers")
        for entry in pod.get("spec", {}).get(field) or []
    }
    found = [*(status(pod).get("initContainerStatuses") or []), *(status(pod).get("containerStatuses") or [])]
    return [(specs.get(entry["name"], {}), entry) for entry in found]


def is_sidecar(spec: JsonObject) -> bool:
    return bool(spec.get("init")) and spec.get("restartPolicy") == "Always"


def _trouble(pod: JsonObject, reason: str, message: str, container: str = "", restarts: int = 0) -> Trouble:
    metadata = pod["metadata"]
    subject = name_of({"kind": "Pod", **pod})
    return Trouble(
        reason=reason,
        subject=f"{subject}, container {container}" if container else subject,
        message=" ".join(message.split()),
        key=f"{metadata.get('uid', subject)}/{container}/{reason}",
        namespace=metadata.get("namespace", ""),
        pod=metadata["name"],
        container=container,
        node=pod.get("spec", {}).get("nodeName", ""),
        restarts=restarts,
    )


def _container_trouble(pod: JsonObject, spec: JsonObject, entry: JsonObject) -> Trouble | None:
    restarts = entry.get("restartCount", 0)
    waiting = (entry.get("state") or {}).get("waiting")
    if waiting:
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        known = classify_pull(message) if reason in _PULLING else _WAITING.get(reason)
        if known == "CrashLoopBackOff":
            message = exit_text(entry) or message
        if known != reason:
            message = f"{reason}: {message}".rstrip(": ")
        return _trouble(pod, known, message, entry["name"], restarts) if known else None
    if is_crashed(pod, spec, entry):
        return _trouble(pod, "CrashLoopBackOff", exit_text(entry), entry["name"], restarts)
    running = "running" in (entry.get("state") or {})
    if not running or entry.get("ready") or (spec.get("init") and not is_sidecar(spec)):
        return None
    if restarts and (ended := exit_text(entry)):
        return _trouble(
            pod, "ContainerRestarting", f"restarted {restarts} times, last {ended}", entry["name"], restarts
        )
    if not entry.get("started") or "readinessProbe" not in spec:
        return None
    reason = "ReadinessProbeFailed" if "startupProbe" in spec else "ReadinessPending"
    return _trouble(pod, reason, "runs, but its readiness probe does not pass", entry["name"], restarts)


def is_crashed(pod: JsonObject, spec: JsonObject, entry: JsonObject) -> bool:
    """Ended and to be restarted: the kubelet (1.36) shows most of a back-off as terminated, not as CrashLoopBackOff."""
    ended = (entry.get("state") or {}).get("terminated")
    if not ended:
        return False
    policy = pod.get("spec", {}).get("restartPolicy", "Always")
    if is_sidecar(spec) or (policy == "Always" and not spec.get("init")):
        return True
    return policy != "Never" and ended.get("exitCode") != 0


def exit_text(entry: JsonObject) -> str:
    """How the container ended: now, or the last time."""
    state, last = entry.get("state") or {}, entry.get("lastState") or {}
    ended = state.get("terminated") or last.get("terminated")
    if not ended:
        return ""
    text = f"exit code {ended.get('exitCode')} ({ended.get('reason', 'Error')})"
    return f"{text}: {ended['message'].strip()}" if ended.get("message") else text


def _ended_container(pod: JsonObject) -> str:
    texts = [f"container {entry['name']} {exit_text(entry)}" for _spec, entry in container_statuses(pod)]
    return next((text for text in texts if "exit code" in text and "exit code 0" not in text), "")


def pod_stage(pod: JsonObject) -> str:
    """One word for the live line; an empty one for a pod that is ready."""
    scheduled, now = condition(pod, "PodScheduled"), status(pod)
    pairs = container_statuses(pod)
    entries = [entry for _spec, entry in pairs]
    crashed = any(is_crashed(pod, spec, entry) for spec, entry in pairs)
    reasons = {((entry.get("state") or {}).get("waiting") or {}).get("reason") for entry in entries} - {None}
    stages = (
        ("terminating", is_terminating(pod)),
        ("", pod_ready(pod) or now.get("phase") == "Succeeded"),
        ("failed", now.get("phase") == "Failed"),
        ("gated", scheduled.get("reason") == "SchedulingGated"),
        ("unschedulable", scheduled.get("reason") == "Unschedulable"),
        ("pull errors", bool(reasons & _PULLING)),
        ("crashing", crashed or "CrashLoopBackOff" in reasons),
        ("config errors", bool(reasons & set(_WAITING))),
        ("unscheduled", scheduled.get("status") != "True"),
        # The sandbox exists and the container is still being created: the kubelet pulls its image.
        ("pulling", bool(reasons) and condition(pod, "PodReadyToStartContainers").get("status") == "True"),
        ("creating", bool(reasons) or not entries),
        ("starting", True),
    )
    return next(stage for stage, holds in stages if holds)


def timestamp(text: str | None) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None


def started_since(pod: JsonObject, now: float | None) -> float:
    """Seconds since the last container without a probe started, infinite when each has one or none runs.

    A native sidecar runs before the containers start: where one of them has passed a probe since, it has settled.
    """
    probes = {"readinessProbe", "startupProbe"}
    pairs = container_statuses(pod)
    probed = any(probes & set(spec) for spec, _entry in pairs if not spec.get("init"))
    started = [
        timestamp(entry["state"]["running"].get("startedAt"))
        for spec, entry in pairs
        if "running" in (entry.get("state") or {}) and not probes & set(spec) and not (probed and is_sidecar(spec))
    ]
    known = [when for when in started if when is not None]
    return now - max(known) if known and now is not None else float("inf")


def event_time(event: JsonObject) -> float | None:
    series = event.get("series") or {}
    candidates = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event.get("metadata", {}).get("creationTimestamp"),
    )
    return timestamp(next((text for text in candidates if text), None))


def event_count(event: JsonObject) -> int:
    return int((event.get("series") or {}).get("count") or event.get("count") or 1)


def event_trouble(event: JsonObject, *, fresh: bool) -> Trouble | None:
    """A denial seen while waiting cannot heal; an older one may have been answered since, so it gets a grace."""
    reason = _EVENTS.get(event.get("reason", ""))
    if reason is None:
        return None
    message = " ".join(event.get("message", "").split())
    if reason == "FailedCreate" and fresh:
        reason = classify_create(message)
    about = event["involvedObject"]
    pod = about["name"] if about.get("kind") == "Pod" else ""
    subject = name_of({"kind": about.get("kind"), "metadata": about})
    key = f"{about.get('uid', subject)}//{reason}"
    return Trouble(reason, subject, message, key, namespace=about.get("namespace", ""), pod=pod)
