# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sees a deployment and sends requests to it from a pod of its cluster. Private to the collection; it may change."""

from __future__ import annotations

import dataclasses
import json
import secrets
import time
import typing as t
from pathlib import Path

from ansible_collections.llmd.wide_ep.plugins.module_utils import _prometheus_text
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client, ClientError
from ansible_collections.llmd.wide_ep.plugins.module_utils._kv_transport import Transport
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_observation import (
    ClientReport,
    Expectation,
    LwsState,
    Observation,
    PodState,
    ReportError,
    lws_state,
    pod_state,
    read_report,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_proof import DONE
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._kv_run import KvSettings, executor, measure
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._pd_endpoint import find_endpoint, find_route, read_routers

LWS_NAME_LABEL = "leaderworkerset.sigs.k8s.io/name"
DEPLOYMENT_LABEL = "wide-ep.llm-d.ai/deployment"
COMPONENT_LABEL = "wide-ep.llm-d.ai/component"
MOUNT = "/opt/verify"
#: The sidecar listens on the target ports; vLLM behind it on these.
VLLM_PORT_BEHIND_SIDECAR = 8200
ROUTER_METRICS_PORT = 9090
POLL_SECONDS = 0.25
#: A container that waits for one of these does not start by waiting longer. ErrImagePull is the first try only.
STUCK = frozenset(
    {
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)

JsonObject = dict[str, t.Any]


class ClientPodError(Exception):
    """The client pod cannot do its work; str() is the evidence."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to ask; ``program`` is the client program's text."""

    namespace: str
    release: str
    router_mode: str
    image: str
    program: str
    target_ports: tuple[int, ...]
    requests: int
    max_requests: int
    concurrency: int
    max_tokens: int
    long_prompt_words: int
    request_timeout: float
    ready_timeout: float
    start_timeout: float
    timeout: float
    tolerations: tuple[JsonObject, ...] = ()
    node_selector: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Where the network of the KV cache is looked at.
    kv: KvSettings | None = None


def observe(client: Client, expected: Expectation, settings: Settings) -> Observation:
    """Read the endpoint and the pods, let the client pod ask, read the pods again."""
    before = read_pods(client, expected)
    endpoint, route = find_endpoint(client, settings), find_route(client, settings)
    routers = read_routers(client, settings)
    seen = Observation(endpoint, {}, before, (), router_before=routers, route_before=route)
    if endpoint.url is not None and endpoint.ready and (route is None or route.exists):
        seen = _asked(client, expected, settings, seen)
    return dataclasses.replace(seen, lws=read_lws(client, expected, seen.pods_after or before))


def _asked(client: Client, expected: Expectation, settings: Settings, seen: Observation) -> Observation:
    """What the client pod reports, and what is there after it."""
    name = f"{settings.release[:40]}-verify-{secrets.token_hex(3)}"
    told = client_input(expected, settings, str(seen.endpoint.url), seen.pods_before, seen.router_before)
    try:
        report = run_client(client, name, told, settings)
        seen = dataclasses.replace(seen, client=report)
        if settings.kv and report.stage == DONE:
            seen = dataclasses.replace(seen, transports=_transports(client, name, told, settings, seen))
    except (ClientPodError, ReportError) as error:
        seen = dataclasses.replace(seen, client_problem=(f"pod {name}", str(error)))
    return dataclasses.replace(
        seen,
        pods_after=read_pods(client, expected),
        router_after=read_routers(client, settings),
        route_after=find_route(client, settings),
    )


def _transports(
    client: Client, name: str, told: JsonObject, settings: Settings, seen: Observation
) -> tuple[Transport, ...]:
    if settings.kv is None:
        return ()

    def ask(transfers: t.Sequence[JsonObject]) -> ClientReport:
        return run_client(client, f"{name}-kv", {**told, "transfers": list(transfers), "max_tokens": 1}, settings)

    return measure(seen.pods_before, settings.kv, executor(client, settings.namespace), ask)


def read_pods(client: Client, expected: Expectation) -> tuple[PodState, ...]:
    names = ",".join(tier.lws_name for tier in expected.tiers)
    found = client.list(
        f"/api/v1/namespaces/{expected.namespace}/pods", {"labelSelector": f"{LWS_NAME_LABEL} in ({names})"}
    )
    return tuple(pod_state(pod) for pod in found)


def read_lws(client: Client, expected: Expectation, pods: t.Iterable[PodState]) -> dict[str, LwsState]:
    """The sets of tiers that lack pods; the others need no explanation."""
    there = {pod.name for pod in pods}
    short = [tier for tier in expected.tiers if not there.issuperset(tier.pods)]
    base = f"/apis/leaderworkerset.x-k8s.io/v1/namespaces/{expected.namespace}/leaderworkersets/"
    return {tier.role: lws_state(tier.lws_name, client.get_or_none(base + tier.lws_name)) for tier in short}


def client_input(
    expected: Expectation,
    settings: Settings,
    url: str,
    pods: t.Iterable[PodState],
    routers: t.Iterable[PodState] = (),
) -> JsonObject:
    """What the client program is told; pods without an address have nothing to ask."""
    targets = [_target(pod, settings) for pod in pods if pod.ip]
    asked = [{"pod": pod.name, "ip": pod.ip, "port": ROUTER_METRICS_PORT} for pod in routers if pod.ip]
    return {
        "model": expected.model,
        "url": url,
        "nonce": secrets.token_hex(4),
        "targets": targets,
        "routers": asked,
        "requests": settings.requests,
        "max_requests": settings.max_requests,
        "concurrency": settings.concurrency,
        "max_tokens": settings.max_tokens,
        "long_prompt_words": settings.long_prompt_words,
        "request_timeout": settings.request_timeout,
        "ready_timeout": settings.ready_timeout,
        "ready_interval": 0.5,
        "scrape_timeout": 5,
        "settle_timeout": 3,
        "settle_interval": 0.1,
    }


def _target(pod: PodState, settings: Settings) -> JsonObject:
    target: JsonObject = {"pod": pod.name, "role": pod.role, "ip": pod.ip, "ports": list(settings.target_ports)}
    if pod.role != "decode":
        return target
    behind = [VLLM_PORT_BEHIND_SIDECAR + index for index in range(len(settings.target_ports))]
    return {**target, "ports": behind, "sidecar_ports": list(settings.target_ports)}


def pod_manifest(name: str, settings: Settings) -> JsonObject:
    """Never with the label llm-d.ai/guide: the EPP's decode filter takes any pod of the pool without a role."""
    container = {
        "name": "client",
        "image": settings.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", f"{MOUNT}/client.py", f"{MOUNT}/input.json"],
        "env": [{"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "program", "mountPath": MOUNT, "readOnly": True}],
    }
    spec: JsonObject = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": int(settings.start_timeout + settings.timeout) + 60,
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "program", "configMap": {"name": name}}],
        "tolerations": list(settings.tolerations),
        "nodeSelector": dict(settings.node_selector),
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _metadata(name, settings), "spec": spec}


def config_map_manifest(name: str, settings: Settings, told: JsonObject, owner: JsonObject) -> JsonObject:
    """Owned by the pod, so that it goes with it even where this process cannot remove it."""
    reference = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": owner["metadata"]["uid"]}
    data = {
        "client.py": settings.program,
        "prometheus_text.py": Path(_prometheus_text.__file__).read_text(encoding="utf-8"),
        "input.json": json.dumps(told),
    }
    metadata = {**_metadata(name, settings), "ownerReferences": [reference]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _metadata(name: str, settings: Settings) -> JsonObject:
    labels = {DEPLOYMENT_LABEL: settings.release, COMPONENT_LABEL: "verify"}
    return {"name": name, "namespace": settings.namespace, "labels": labels}


def run_client(client: Client, name: str, told: JsonObject, settings: Settings) -> ClientReport:
    """Create the pod and what it mounts, wait for its end, read its log, and remove both whatever happens."""
    base = f"/api/v1/namespaces/{settings.namespace}"
    remove_finished(client, settings)
    try:
        owner = client.create(f"{base}/pods", pod_manifest(name, settings))
        client.create(f"{base}/configmaps", config_map_manifest(name, settings, told, owner))
        failed = wait_for_end(client, name, settings)
        log = client.logs(settings.namespace, name, "client", tail=None)
        if failed:
            last = [line for line in log.splitlines() if line.strip()][-5:]
            raise ClientPodError(f"{failed}; its last lines: {' | '.join(last) or 'none'}")
        return read_report(log)
    finally:
        remove(client, settings.namespace, name)


def remove_finished(client: Client, settings: Settings) -> None:
    """What runs that were killed have left behind."""
    selector = {"labelSelector": f"{DEPLOYMENT_LABEL}={settings.release},{COMPONENT_LABEL}=verify"}
    for pod in client.list(f"/api/v1/namespaces/{settings.namespace}/pods", selector):
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            remove(client, settings.namespace, pod["metadata"]["name"])


def remove(client: Client, namespace: str, name: str) -> None:
    for plural in ("pods", "configmaps"):
        try:
            client.delete(f"/api/v1/namespaces/{namespace}/{plural}/{name}", params={"gracePeriodSeconds": 0})
        except ClientError as error:
            if not getattr(error, "not_found", False):
                client.warnings.append(f"{plural} {namespace}/{name} of the proof could not be removed: {error}")


def wait_for_end(client: Client, name: str, settings: Settings) -> str | None:
    """None once the pod has succeeded, a reason once it has failed; ClientPodError where neither will come."""
    path = f"/api/v1/namespaces/{settings.namespace}/pods/{name}"
    started = time.monotonic()
    while True:
        status = client.get(path).get("status") or {}
        phase = status.get("phase")
        if phase == "Succeeded":
            return None
        if phase == "Failed":
            return f"it failed: {status.get('reason') or _exit(status)}"
        waited = time.monotonic() - started
        stuck = _stuck(status)
        limit = settings.start_timeout if phase != "Running" else settings.start_timeout + settings.timeout
        if stuck or waited > limit:
            reason = stuck or f"it is {phase or 'unknown'} after {waited:.0f} s"
            raise ClientPodError("; ".join([reason, *_events(client, settings.namespace, name)]))
        time.sleep(POLL_SECONDS)


def _stuck(status: JsonObject) -> str | None:
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in STUCK:
            return f"{waiting['reason']}: {waiting.get('message', 'no message')}"
    return None


def _exit(status: JsonObject) -> str:
    ended = [(container.get("state") or {}).get("terminated") for container in status.get("containerStatuses") or ()]
    codes = [f"exit code {end.get('exitCode')}" for end in ended if end]
    return ", ".join(codes) or "no reason given"


def _events(client: Client, namespace: str, name: str) -> list[str]:
    """What the cluster said about the pod; it helps the reader, so its absence is no error."""
    try:
        found = client.events(namespace, f"involvedObject.name={name}")
    except ClientError:
        return []
    warnings = [event for event in found if event.get("type") == "Warning"]
    return [f"{event.get('reason')}: {event.get('message')}" for event in warnings[-3:]]
