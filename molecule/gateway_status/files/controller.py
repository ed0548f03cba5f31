# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for the controllers of GKE and agentgateway: writes the status that they are documented to write.

Usage: controller.py KUBECONFIG NAMESPACE SECONDS

It serves the GatewayClasses of CONTROLLERS and behaves as ConfigMap `stand-in` of the namespace says. Once every
object has the status of a turn, it sets its annotation `seen` to that `turn`. It ends after SECONDS, or when
the ConfigMap is gone.

Assumed, with the source of each rule:
- Accepted and Programmed of a Gateway, Accepted and ResolvedRefs of a route's parent: Gateway API, "Conditions".
- Accepted and ResolvedRefs of a pool's parent, the placeholder parent of kind Status: InferencePool v1 (inference
  extension v1.5.0) and agentgateway v1.4.1, pkg/agentgateway/plugins/inference_plugin.go.
- Reconciled of a route's parent, GWCER104 for a route with timeouts: GKE, "Troubleshoot Gateway" and kserve #5707.
- Attached of a policy: GKE, "Configure Gateway resources using Policies".
"""

from __future__ import annotations

import sys
import time
import typing as t

from kubernetes import client, config

Json = dict[str, t.Any]

GATEWAY, POOL, GKE = "gateway.networking.k8s.io", "inference.networking.k8s.io", "networking.gke.io"
CONTROLLERS = {"networking.gke.io/gateway", "agentgateway.dev/agentgateway"}
ADDRESS = "10.128.0.77"
#: By behavior, the conditions of a Gateway that differ from a good one's.
PROGRAMMED: dict[str, tuple[str, str, str]] = {
    "never_programmed": ("False", "Pending", "The Gateway is being provisioned"),
    "not_programmed": ("False", "Invalid", "an active proxy-only subnetwork is required in the region"),
    "not_assigned": ("False", "AddressNotAssigned", "no addresses could be assigned"),
}
REFS = {"refs_unresolved": ("False", "BackendNotFound", "the backend InferencePool was not found")}


def condition(kind: str, generation: int, status: str = "True", reason: str = "", message: str = "") -> Json:
    return {
        "type": kind,
        "status": status,
        "reason": reason or kind,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


class StandIn:
    def __init__(self, kubeconfig: str, namespace: str) -> None:
        api = config.new_client_from_config(kubeconfig)
        self.core, self.custom, self.namespace = client.CoreV1Api(api), client.CustomObjectsApi(api), namespace

    def behavior(self) -> tuple[str, str]:
        try:
            data = self.core.read_namespaced_config_map("stand-in", self.namespace).data
        except client.ApiException as error:
            if error.status == 404:
                return "", ""
            raise
        return data["behavior"], data["turn"]

    def confirm(self, turn: str) -> None:
        self.core.patch_namespaced_config_map("stand-in", self.namespace, {"metadata": {"annotations": {"seen": turn}}})

    def list(self, group: str, version: str, plural: str) -> list[Json]:
        """None of a kind that the cluster does not serve."""
        try:
            found = self.custom.list_namespaced_custom_object(group, version, self.namespace, plural)
        except client.ApiException as error:
            if error.status == 404:
                return []
            raise
        return t.cast("list[Json]", found["items"])

    def write(self, group: str, version: str, plural: str, obj: Json, status: Json) -> None:
        """Write a status that differs; an object that is gone meanwhile needs none."""
        if shown(obj.get("status")) == shown({**(obj.get("status") or {}), **status}):
            return
        name = obj["metadata"]["name"]
        try:
            self.custom.patch_namespaced_custom_object_status(
                group, version, self.namespace, plural, name, {"status": status}
            )
        except client.ApiException as error:
            if error.status not in (404, 409):
                raise

    def classes(self) -> dict[str, str]:
        """Accept the classes that are served; return them with their controllers."""
        served: dict[str, str] = {}
        for item in self.custom.list_cluster_custom_object(GATEWAY, "v1", "gatewayclasses")["items"]:
            name, controller = item["metadata"]["name"], item["spec"]["controllerName"]
            if controller not in CONTROLLERS:
                continue
            served[name] = controller
            status = {"conditions": [condition("Accepted", item["metadata"]["generation"])]}
            if shown(item.get("status")) != shown(status):
                self.custom.patch_cluster_custom_object_status(
                    GATEWAY, "v1", "gatewayclasses", name, {"status": status}
                )
        return served

    def turn(self, behavior: str) -> None:
        """Write the status of everything once."""
        served, gateways = self.classes(), {}
        for item in self.list(GATEWAY, "v1", "gateways"):
            if controller := served.get(item["spec"]["gatewayClassName"]):
                gateways[item["metadata"]["name"]] = controller
                self.write(GATEWAY, "v1", "gateways", item, gateway_status(item, behavior))
        pools: dict[str, set[str]] = {}
        for item in self.list(GATEWAY, "v1", "httproutes"):
            refs = [ref["name"] for ref in item["spec"].get("parentRefs", []) if ref["name"] in gateways]
            self.write(GATEWAY, "v1", "httproutes", item, route_status(item, refs, gateways, behavior))
            for rule in item["spec"]["rules"]:
                for backend in rule.get("backendRefs", []):
                    pools.setdefault(backend["name"], set()).update(refs)
        for item in self.list(POOL, "v1", "inferencepools"):
            refs = sorted(pools.get(item["metadata"]["name"], set()))
            self.write(POOL, "v1", "inferencepools", item, pool_status(item, refs))
        for plural in ("healthcheckpolicies", "gcpbackendpolicies"):
            for item in self.list(GKE, "v1", plural):
                self.write(GKE, "v1", plural, item, policy_status(item, behavior))


def gateway_status(item: Json, behavior: str) -> Json:
    generation = item["metadata"]["generation"]
    if behavior == "silent":
        return {"conditions": [], "addresses": []}
    programmed = PROGRAMMED.get(behavior, ("True", "Programmed", ""))
    addresses = [] if behavior in PROGRAMMED or behavior == "no_address" else [{"type": "IPAddress", "value": ADDRESS}]
    conditions = [condition("Accepted", generation), condition("Programmed", generation, *programmed)]
    return {"conditions": conditions, "addresses": addresses}


def route_status(item: Json, refs: list[str], gateways: dict[str, str], behavior: str) -> Json:
    generation = item["metadata"]["generation"]
    parents = []
    for name in refs:
        conditions = [
            condition("Accepted", generation),
            condition("ResolvedRefs", generation, *REFS.get(behavior, ("True", "ResolvedRefs", ""))),
        ]
        if gateways[name].startswith("networking.gke.io"):
            timed = any(rule.get("timeouts") for rule in item["spec"]["rules"])
            refused = ("False", "ReconciliationFailed", "error GWCER104: HTTPRoute timeouts are not supported")
            conditions.append(
                condition("Reconciled", generation, *(refused if timed else ("True", "ReconciliationSucceeded", "")))
            )
        ref = {"group": GATEWAY, "kind": "Gateway", "name": name}
        parents.append({"parentRef": ref, "controllerName": gateways[name], "conditions": conditions})
    return {"parents": parents}


def pool_status(item: Json, refs: list[str]) -> Json:
    generation = item["metadata"]["generation"]
    placeholder = {
        "parentRef": {"kind": "Status", "name": "default"},
        "conditions": [condition("Accepted", generation, "Unknown", "Pending", "Waiting for controller")],
    }
    good = [condition("Accepted", generation), condition("ResolvedRefs", generation)]
    named = [{"parentRef": {"group": GATEWAY, "kind": "Gateway", "name": name}, "conditions": good} for name in refs]
    return {"parents": [placeholder, *named]}


def policy_status(item: Json, behavior: str) -> Json:
    generation = item["metadata"]["generation"]
    lost = ("False", "TargetNotFound", "the InferencePool of targetRef was not found")
    return {"conditions": [condition("Attached", generation, *(lost if behavior == "unattached" else ()))]}


def shown(status: t.Any) -> t.Any:
    """A status without its times."""
    if isinstance(status, dict):
        return {key: shown(value) for key, value in status.items() if key != "lastTransitionTime"}
    return [shown(item) for item in status] if isinstance(status, list) else status


def main(kubeconfig: str, namespace: str, seconds: str) -> None:
    stand_in, end = StandIn(kubeconfig, namespace), time.monotonic() + float(seconds)
    while time.monotonic() < end:
        behavior, turn = stand_in.behavior()
        if not behavior:
            return
        stand_in.turn(behavior)
        stand_in.confirm(turn)
        time.sleep(0.5)


if __name__ == "__main__":
    main(*sys.argv[1:])
