# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds where clients send their requests, and what stands between them and the pool.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_observation import Endpoint, PodState, Route, pod_state

GATEWAY = "llm-d-inference-gateway"
GATEWAY_API = "/apis/gateway.networking.k8s.io/v1/namespaces"
#: Conditions of an HTTPRoute under its Gateway that must hold before requests reach the pool.
ROUTE_CONDITIONS = ("Accepted", "ResolvedRefs")

JsonObject = dict[str, t.Any]


class Place(t.Protocol):
    """Whose endpoint it is."""

    @property
    def namespace(self) -> str: ...
    @property
    def release(self) -> str: ...
    @property
    def router_mode(self) -> str: ...


def find_endpoint(client: Client, place: Place) -> Endpoint:
    """Where the guide sends its requests: the EPP's Service, or the Gateway's first address."""
    service = _service(client, place)
    if place.router_mode != "gateway":
        return service
    gateway = _gateway(client, place)
    # A gateway that fails open goes on without an endpoint picker, and decode-only.
    return service if gateway.url is not None and gateway.ready and not service.ready else gateway


def read_routers(client: Client, place: Place) -> tuple[PodState, ...]:
    """The pods of the endpoint picker, by the selector of its Service.

    Not those that are being deleted: it drains for as long as its grace period of 130 s, and takes no requests then.
    """
    base = f"/api/v1/namespaces/{place.namespace}"
    service = client.get_or_none(f"{base}/services/{place.release}-epp")
    selector = _selector(service) if service else ""
    pods = client.list(f"{base}/pods", {"labelSelector": selector}) if selector else []
    return tuple(pod_state(pod) for pod in pods if not pod["metadata"].get("deletionTimestamp"))


def _selector(service: JsonObject) -> str:
    return ",".join(f"{key}={value}" for key, value in ((service.get("spec") or {}).get("selector") or {}).items())


def _service(client: Client, place: Place) -> Endpoint:
    base, name = f"/api/v1/namespaces/{place.namespace}", f"{place.release}-epp"
    subject = f"Service {place.namespace}/{name}"
    service = client.get_or_none(f"{base}/services/{name}")
    if service is None:
        return Endpoint(subject, None, 0, "it does not exist")
    spec = service["spec"]
    if place.router_mode != "gateway" and 80 not in [port["port"] for port in spec.get("ports") or ()]:
        return Endpoint(subject, None, 0, "it has no port 80")
    selector = _selector(service)
    pods = [pod_state(pod) for pod in client.list(f"{base}/pods", {"labelSelector": selector})]
    ready = sum(pod.ready for pod in pods)
    states = "; ".join(f"pod {pod.name}: {pod.reason}" for pod in pods if not pod.ready)
    return Endpoint(subject, f"http://{_host(spec['clusterIP'])}:80", ready, states or f"no pod matches {selector}")


def _gateway(client: Client, place: Place) -> Endpoint:
    path = f"{GATEWAY_API}/{place.namespace}/gateways/{GATEWAY}"
    subject = f"Gateway {place.namespace}/{GATEWAY}"
    gateway = client.get_or_none(path)
    if gateway is None:
        return Endpoint(subject, None, 0, "it does not exist")
    status = gateway.get("status") or {}
    programmed: JsonObject = next((c for c in status.get("conditions") or () if c.get("type") == "Programmed"), {})
    evidence = f"Programmed is {programmed.get('status', 'not set')}: {programmed.get('message', 'no message')}"
    addresses = [entry.get("value") for entry in status.get("addresses") or () if entry.get("value")]
    if not addresses:
        return Endpoint(subject, None, 0, f"it has no address; {evidence}")
    return Endpoint(subject, f"http://{_host(addresses[0])}:80", int(programmed.get("status") == "True"), evidence)


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def find_route(client: Client, place: Place) -> Route | None:
    """The HTTPRoute from the Gateway to the pool; None where there is no Gateway to have one."""
    if place.router_mode != "gateway":
        return None
    wanted = f"HTTPRoute of Gateway {place.namespace}/{GATEWAY}"
    if client.discover("gateway.networking.k8s.io/v1", "HTTPRoute") is None:
        return Route(wanted, False, "the cluster does not serve HTTPRoutes")
    routes = client.list(f"{GATEWAY_API}/{place.namespace}/httproutes")
    ours = [route for route in routes if _is_from_gateway(route, place) and _leads_to_pool(route, place)]
    if not ours:
        others = ", ".join(sorted(route["metadata"]["name"] for route in routes)) or "none"
        return Route(wanted, False, f"no HTTPRoute leads to InferencePool {place.release}; there is {others}")
    problems = [_route_problem(route) for route in ours]
    name = f"HTTPRoute {place.namespace}/{ours[0]['metadata']['name']}"
    return Route(name, True, "" if "" in problems else problems[0])


def _is_from_gateway(route: JsonObject, place: Place) -> bool:
    parents = (route.get("spec") or {}).get("parentRefs") or ()
    return any(
        parent.get("name") == GATEWAY
        and parent.get("kind", "Gateway") == "Gateway"
        and parent.get("namespace", place.namespace) == place.namespace
        for parent in parents
    )


def _leads_to_pool(route: JsonObject, place: Place) -> bool:
    rules = (route.get("spec") or {}).get("rules") or ()
    targets = [target for rule in rules for target in rule.get("backendRefs") or ()]
    return any(target.get("kind") == "InferencePool" and target.get("name") == place.release for target in targets)


def _route_problem(route: JsonObject) -> str:
    """What the Gateway's controller says against the route; nothing where it serves it."""
    parents = [
        parent
        for parent in (route.get("status") or {}).get("parents") or ()
        if (parent.get("parentRef") or {}).get("name") == GATEWAY
    ]
    if not parents:
        return "no controller says anything about it"
    conditions = {c.get("type"): c for parent in parents for c in parent.get("conditions") or ()}
    for kind in ROUTE_CONDITIONS:
        found = conditions.get(kind) or {}
        if found.get("status") != "True":
            said = f"{found.get('reason', '')} {found.get('message', '')}".strip() or "no reason given"
            return f"{kind} is {found.get('status', 'not set')}: {said}"
    return ""
