# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._pd_endpoint import find_endpoint, find_route, read_routers

SERVICE = "/api/v1/namespaces/n/services/wide-ep-lws-epp"
GATEWAY = "/apis/gateway.networking.k8s.io/v1/namespaces/n/gateways/llm-d-inference-gateway"
ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/n/httproutes"
PODS = "/api/v1/namespaces/n/pods"


@dataclasses.dataclass(frozen=True)
class Place:
    namespace: str = "n"
    release: str = "wide-ep-lws"
    router_mode: str = "standalone"


STANDALONE, THROUGH_GATEWAY = Place(), Place(router_mode="gateway")


class FakeClient:
    """Answers by path; a path that is not there does not exist."""

    def __init__(self, paths: dict[str, t.Any], serves_routes: bool = True) -> None:
        self.paths = paths
        self.serves_routes = serves_routes

    def get_or_none(self, path: str, params: t.Any = None) -> t.Any:
        return self.paths.get(path)

    def list(self, path: str, params: t.Any = None) -> t.Any:
        assert path != PODS or params == {"labelSelector": "app=epp"}
        return self.paths.get(path, [])

    def discover(self, api_version: str, kind: str) -> t.Any:
        return kind if self.serves_routes else None


def client(paths: dict[str, t.Any], serves_routes: bool = True) -> Client:
    return t.cast(Client, FakeClient(paths, serves_routes))


def pod(name: str, ready: bool = True) -> dict[str, t.Any]:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": {"name": name}, "status": {"podIP": "10.1.0.1", "conditions": conditions}}


def service(**spec: t.Any) -> dict[str, t.Any]:
    return {"spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80}], "selector": {"app": "epp"}, **spec}}


def gateway(*addresses: str, programmed: str = "True") -> dict[str, t.Any]:
    conditions = [{"type": "Programmed", "status": programmed, "message": "no LB"}]
    return {"status": {"addresses": [{"value": one} for one in addresses], "conditions": conditions}}


ROUTER = {SERVICE: service(), PODS: [pod("epp")]}
NAME = "gw.n.svc.cluster.local"

ENDPOINTS: dict[str, tuple[Place, dict[str, t.Any], str | None, int, str]] = {
    "no Service": (STANDALONE, {}, None, 0, "does not exist"),
    "no port": (STANDALONE, {SERVICE: service(ports=[{"port": 9002}])}, None, 0, "no port 80"),
    "no pod": (STANDALONE, {SERVICE: service()}, "http://10.96.0.7:80", 0, "no pod matches app=epp"),
    "no ready pod": (
        STANDALONE,
        {SERVICE: service(), PODS: [pod("epp", ready=False)]},
        "http://10.96.0.7:80",
        0,
        "pod epp: Ready",
    ),
    "standalone": (STANDALONE, ROUTER, "http://10.96.0.7:80", 1, ""),
    "IPv6": (STANDALONE, {**ROUTER, SERVICE: service(clusterIP="fd00::7")}, "http://[fd00::7]:80", 1, ""),
    "no Gateway": (THROUGH_GATEWAY, ROUTER, None, 0, "does not exist"),
    "no status": (THROUGH_GATEWAY, {**ROUTER, GATEWAY: {}}, None, 0, "no address"),
    "no address": (THROUGH_GATEWAY, {**ROUTER, GATEWAY: gateway(programmed="False")}, None, 0, "no LB"),
    "a name": (THROUGH_GATEWAY, {**ROUTER, GATEWAY: gateway(NAME)}, f"http://{NAME}:80", 1, ""),
    "an address, not programmed": (
        THROUGH_GATEWAY,
        {**ROUTER, GATEWAY: gateway("10.0.0.1", programmed="False")},
        "http://10.0.0.1:80",
        0,
        "Programmed is False: no LB",
    ),
    "a Service without port 80 behind a Gateway": (
        THROUGH_GATEWAY,
        {**ROUTER, SERVICE: service(ports=[{"port": 9002}]), GATEWAY: gateway("10.0.0.1")},
        "http://10.0.0.1:80",
        1,
        "",
    ),
    "no endpoint picker behind a Gateway that fails open": (
        THROUGH_GATEWAY,
        {SERVICE: service(), GATEWAY: gateway("10.0.0.1")},
        "http://10.96.0.7:80",
        0,
        "no pod matches app=epp",
    ),
}


@pytest.mark.parametrize("name", ENDPOINTS)
def test_find_endpoint(name: str) -> None:
    place, paths, url, ready, evidence = ENDPOINTS[name]
    endpoint = find_endpoint(client(paths), place)
    assert (endpoint.url, endpoint.ready) == (url, ready)
    assert evidence in endpoint.evidence


def test_read_routers() -> None:
    assert [one.name for one in read_routers(client(ROUTER), STANDALONE)] == ["epp"]
    draining = {**ROUTER, PODS: [{"metadata": {"name": "epp", "deletionTimestamp": "2026-01-01T00:00:00Z"}}]}
    assert read_routers(client(draining), STANDALONE) == ()
    assert read_routers(client({}), STANDALONE) == ()
    assert read_routers(client({SERVICE: service(selector=None)}), STANDALONE) == ()


HOLDS = [{"type": "Accepted", "status": "True"}, {"type": "ResolvedRefs", "status": "True"}]


def route(
    name: str = "wide-ep-lws",
    parent: t.Mapping[str, str] | None = None,
    target: t.Mapping[str, str] | None = None,
    conditions: list[dict[str, str]] | None = None,
) -> dict[str, t.Any]:
    gateway_ref = {"name": "llm-d-inference-gateway", **(parent or {})}
    pool = {"kind": "InferencePool", "name": "wide-ep-lws", **(target or {})}
    status = [] if conditions is None else [{"parentRef": gateway_ref, "conditions": conditions}]
    return {
        "metadata": {"name": name},
        "spec": {"parentRefs": [gateway_ref], "rules": [{"backendRefs": [pool]}]},
        "status": {"parents": status},
    }


RESOLVED = {"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound", "message": "no pool"}
FOUND: dict[str, tuple[list[dict[str, t.Any]], bool, str]] = {
    "none": ([], False, "no HTTPRoute leads to InferencePool wide-ep-lws; there is none"),
    "served": ([route(conditions=HOLDS)], True, ""),
    "of another Gateway": ([route(parent={"name": "other"}, conditions=HOLDS)], False, "there is wide-ep-lws"),
    "of a Gateway elsewhere": ([route(parent={"namespace": "m"}, conditions=HOLDS)], False, "there is wide-ep-lws"),
    "of a Service of that name": ([route(parent={"kind": "Service"}, conditions=HOLDS)], False, "there is"),
    "to another pool": ([route(target={"name": "other"}, conditions=HOLDS)], False, "there is wide-ep-lws"),
    "to a Service": ([route(target={"kind": "Service"}, conditions=HOLDS)], False, "there is wide-ep-lws"),
    "without status": ([route()], True, "no controller says anything about it"),
    "not resolved": ([route(conditions=[HOLDS[0], RESOLVED])], True, "ResolvedRefs is False: BackendNotFound no pool"),
    "not accepted yet": ([route(conditions=[])], True, "Accepted is not set: no reason given"),
    "one of two": ([route("a", conditions=[]), route("b", conditions=HOLDS)], True, ""),
}


@pytest.mark.parametrize("name", FOUND)
def test_find_route(name: str) -> None:
    routes, exists, problem = FOUND[name]
    found = find_route(client({ROUTES: routes}), THROUGH_GATEWAY)
    assert found is not None
    assert found.exists is exists
    assert problem in found.problem
    assert bool(problem) is bool(found.problem)


def test_there_is_no_route_without_a_gateway() -> None:
    assert find_route(client({ROUTES: [route()]}), STANDALONE) is None


def test_a_cluster_without_the_gateway_api() -> None:
    found = find_route(client({}, serves_routes=False), THROUGH_GATEWAY)
    assert found is not None
    assert (found.exists, found.problem) == (False, "the cluster does not serve HTTPRoutes")
