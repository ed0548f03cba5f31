# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster in memory with the reading half of Client, and a clock that the tests own."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Resource
from ansible_collections.llmd.wide_ep.plugins.module_utils._predicates import (
    LWS_GROUP,
    LWS_NAME,
    LWS_REVISION,
    LWS_WORKER,
)

Object = dict[str, t.Any]

RESOURCES = {
    ("v1", "Pod"): Resource("v1", "Pod", "pods", True),
    ("v1", "Node"): Resource("v1", "Node", "nodes", False),
    ("v1", "Service"): Resource("v1", "Service", "services", True),
    ("apps/v1", "Deployment"): Resource("apps/v1", "Deployment", "deployments", True),
    ("batch/v1", "Job"): Resource("batch/v1", "Job", "jobs", True),
    ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet"): Resource(
        "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "leaderworkersets", True
    ),
    ("kueue.x-k8s.io/v1beta2", "Workload"): Resource("kueue.x-k8s.io/v1beta2", "Workload", "workloads", True),
    ("inference.networking.k8s.io/v1", "InferencePool"): Resource(
        "inference.networking.k8s.io/v1", "InferencePool", "inferencepools", True
    ),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): Resource(
        "gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes", True
    ),
}


def fail(error: Exception) -> t.NoReturn:
    raise error


class FakeClock:
    """Runs the script's actions when their time comes."""

    def __init__(self, script: dict[float, Callable[[], t.Any]] | None = None) -> None:
        self._script = dict(sorted((script or {}).items()))
        self.time = 1000.0
        self.start = self.time

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.time += max(seconds, 0.001)
        for when in [when for when in self._script if when <= self.time - self.start]:
            self._script.pop(when)()


class FakeCluster:
    server = "https://fake:6443"

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Object]] = {}
        self.warnings_seen: list[Object] = []
        self.log_lines: dict[tuple[str, str, bool], str] = {}
        self.error: Exception | None = None
        self.server_time: float | None = None
        self.request_count = 0
        self.requests: list[str] = []
        self.served = dict(RESOURCES)

    def put(self, obj: Object) -> None:
        key = (obj["kind"], obj["metadata"].get("namespace", ""))
        self.objects.setdefault(key, {})[obj["metadata"]["name"]] = obj

    def drop(self, kind: str, namespace: str, name: str) -> None:
        del self.objects[(kind, namespace)][name]

    def _ask(self, what: str) -> None:
        self.request_count += 1
        self.requests.append(what)
        if self.error:
            fail(self.error)

    def discover(self, api_version: str, kind: str) -> Resource | None:
        return self.served.get((api_version, kind))

    def _at(self, path: str) -> tuple[str, str, str | None]:
        """Kind, namespace and name of a path."""
        parts = path.split("/")
        namespace = parts[parts.index("namespaces") + 1] if "namespaces" in parts else ""
        if "endpointslices" in parts:
            return "EndpointSlice", namespace, None
        resource = next(r for r in RESOURCES.values() if r.plural in parts)
        rest = parts[parts.index(resource.plural) + 1 :]
        return resource.kind, namespace, rest[0] if rest else None

    def get_or_none(self, path: str, params: t.Any = None) -> Object | None:
        self._ask(f"GET {path}")
        kind, namespace, name = self._at(path)
        return self.objects.get((kind, namespace), {}).get(name or "")

    def list(self, path: str, params: t.Any = None) -> list[Object]:
        self._ask(f"LIST {path}")
        kind, namespace, _name = self._at(path)
        wanted = dict(term.split("=") for term in ((params or {}).get("labelSelector") or "").split(",") if term)
        found = self.objects.get((kind, namespace), {}).values()
        return [o for o in found if wanted.items() <= (o["metadata"].get("labels") or {}).items()]

    def events(self, namespace: str, field_selector: str | None = None) -> list[Object]:
        self._ask(f"EVENTS {namespace}")
        return [event for event in self.warnings_seen if event["involvedObject"]["namespace"] == namespace]

    def logs(self, namespace: str, pod: str, container: str, *, tail: int = 20, previous: bool = False) -> str:
        self._ask(f"LOG {pod}/{container}")
        try:
            return self.log_lines[(pod, container, previous)]
        except KeyError:
            raise ApiError(400, "BadRequest", "previous terminated container not found", f"/{pod}/log") from None


def lws(name: str = "decode", *, groups: int = 1, size: int = 2, ready: int = 1, generation: int = 1) -> Object:
    available = "True" if ready == groups else "False"
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": f"uid-{name}",
            "generation": generation,
            "labels": {"llm-d.ai/role": name},
        },
        "spec": {"replicas": groups, "leaderWorkerTemplate": {"size": size}},
        "status": {
            "observedGeneration": generation,
            "readyReplicas": ready,
            "updatedReplicas": groups,
            "conditions": [{"type": "Available", "status": available, "observedGeneration": generation}],
        },
    }


def lws_pod(
    group: int = 0,
    worker: int = 0,
    *,
    ready: bool = True,
    uid: str = "",
    revision: str = "r1",
    lws_name: str = "decode",
) -> Object:
    """A pod of the guide's set: the leader has no worker suffix."""
    name = f"{lws_name}-{group}" + (f"-{worker}" if worker else "")
    state = {"running": {"startedAt": "2026-11-25T09:00:00Z"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": uid or f"uid-{name}",
            "labels": {LWS_NAME: lws_name, LWS_GROUP: str(group), LWS_WORKER: str(worker), LWS_REVISION: revision},
        },
        "spec": {"nodeName": "local-gpu-0", "containers": [{"name": "vllm", "startupProbe": {}}]},
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "Ready", "status": "True" if ready else "False"},
            ],
            "containerStatuses": [
                {"name": "vllm", "ready": ready, "started": ready, "restartCount": 0, "state": state}
            ],
        },
    }


def queued(lws_object: Object) -> Object:
    """The set, in a Kueue queue."""
    metadata = lws_object["metadata"]
    return {**lws_object, "metadata": {**metadata, "labels": {**metadata["labels"], "kueue.x-k8s.io/queue-name": "q"}}}


def gated(pod: Object) -> Object:
    entry = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
    return {**pod, "status": {"phase": "Pending", "conditions": [entry]}}


def workload(message: str = "", *, admitted: bool = False, owner: str = "uid-decode", group: int = 0) -> Object:
    """The Workload of one group of a set, as Kueue 0.19 makes it."""
    reserved = {"type": "QuotaReserved", "status": "True" if admitted else "False"}
    if message:
        reserved = {**reserved, "reason": "Pending", "message": message}
    container = {"name": "vllm", "resources": {"limits": {"nvidia.com/gpu": "8"}, "requests": {"cpu": "32"}}}
    pod_set = {
        "name": "main",
        "count": 2,
        "template": {"spec": {"containers": [container]}},
        "topologyRequest": {"required": "cloud.google.com/gce-topology-block"},
    }
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "Workload",
        "metadata": {"name": f"w-{group}", "namespace": "ns", "uid": f"w-{group}", "ownerReferences": [{"uid": owner}]},
        "spec": {"active": True, "podSets": [pod_set]},
        "status": {"conditions": [reserved, *([{"type": "Admitted", "status": "True"}] if admitted else [])]},
    }


def with_waiting(
    pod: Object, reason: str, message: str = "", restarts: int = 0, exit_code: int | None = None
) -> Object:
    last = {"terminated": {"exitCode": exit_code, "reason": "Error"}} if exit_code is not None else {}
    entry = {
        "name": "vllm",
        "ready": False,
        "started": False,
        "restartCount": restarts,
        "state": {"waiting": {"reason": reason, "message": message}},
        "lastState": last,
    }
    conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}]
    return {**pod, "status": {"phase": "Pending", "conditions": conditions, "containerStatuses": [entry]}}


def unschedulable(pod: Object) -> Object:
    message = "0/5 nodes are available: 5 Insufficient nvidia.com/gpu."
    entry = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {**pod, "status": {"phase": "Pending", "conditions": [entry]}}


def deployment(name: str = "epp", *, ready: bool = True) -> Object:
    number = 1 if ready else 0
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}", "generation": 1},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}},
        "status": {
            "observedGeneration": 1,
            "replicas": 1,
            "updatedReplicas": 1,
            "readyReplicas": number,
            "availableReplicas": number,
        },
    }


def warning(reason: str, message: str, kind: str, name: str, *, at: str, count: int = 1, uid: str = "e1") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{uid}", "namespace": "ns", "uid": uid},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "count": count,
        "lastTimestamp": at,
        "involvedObject": {"kind": kind, "namespace": "ns", "name": name, "uid": f"uid-{name}"},
    }
