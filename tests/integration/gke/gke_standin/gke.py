# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes Engine: clusters and their operations. Node pools are in pools.py."""

from __future__ import annotations

import copy
import re
import typing as t
from collections.abc import Callable

from .cloud import COMPUTE_BASE, CONTAINER_BASE, CREATED, Cloud, Json, Operation, Refused
from .compute import region_of
from .pools import Pools

NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
# DISC, Operation.targetLink: the examples name the project by its number.
PROJECT_NUMBER = "123456789012"
# DISC, ClusterUpdate: where the value of each field lands.
DESIRED = {
    "desiredAddonsConfig": ("addonsConfig",),
    "desiredControlPlaneEndpointsConfig": ("controlPlaneEndpointsConfig",),
    "desiredDefaultEnablePrivateNodes": ("networkConfig", "defaultEnablePrivateNodes"),
    "desiredGatewayApiConfig": ("networkConfig", "gatewayApiConfig"),
    "desiredLocations": ("locations",),
    "desiredLoggingConfig": ("loggingConfig",),
    "desiredMonitoringConfig": ("monitoringConfig",),
    "desiredReleaseChannel": ("releaseChannel",),
    "desiredWorkloadIdentityConfig": ("workloadIdentityConfig",),
}


class Gke:
    """The methods, by their id without the service's name."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.pools = Pools(cloud, self.begin)

    def handle(self, name: str, path: str, query: dict[str, str], body: Json | None) -> Json:
        path, _colon, action = path.partition(":")
        parts = name.split(".")
        if parts[-2] == "operations":
            return self.operations(parts[-1], path)
        if parts[-1] == "getServerConfig":
            return self.server_config()
        if parts[-2] == "nodePools":
            return t.cast(Json, getattr(self.pools, action or parts[-1])(path, body))
        return t.cast(Json, getattr(self, action or parts[-1])(path, body))

    # Clusters

    def get(self, path: str, _body: None) -> Json:
        body = copy.deepcopy(self.cloud.find(path))
        body["etag"] = self.etag(body)
        body["nodePools"] = [self.pools.shown(pool) for pool in self.cloud.under(f"{path}/nodePools/")]
        return body

    def list(self, path: str, _body: None) -> Json:
        prefix = f"{path}/"
        return {"clusters": [self.get(p, None) for p in self.cloud.under(prefix) if "/nodePools/" not in p]}

    def create(self, parent: str, body: Json) -> Json:
        wanted = copy.deepcopy(body["cluster"])
        path = f"{parent.removesuffix('/clusters')}/clusters/{wanted.get('name', '')}"
        if not NAME.fullmatch(wanted.get("name", "")):
            raise Refused(400, f"Invalid cluster name {wanted.get('name')!r}: at most 40 characters.")
        if path in self.cloud.objects:
            raise Refused(409, f"Already exists: {path}.")
        self.check(path, wanted)
        pools = wanted.pop("nodePools", [])
        self.cloud.store(path, self.filled(path, wanted))
        for pool in pools:
            self.pools.store(f"{path}/nodePools/{pool['name']}", pool)

        def finish() -> None:
            self.cloud.objects[path] |= {"status": "RUNNING", **self.access()}
            self.open_firewall(path)
            for pool in pools:
                self.cloud.objects[f"{path}/nodePools/{pool['name']}"]["status"] = "RUNNING"

        return self.begin("CREATE_CLUSTER", path, finish, lambda: self.fail(path), new=True)

    def check(self, path: str, wanted: Json) -> None:
        network = wanted.get("networkConfig", {})
        if network.get("enableMultiNetworking") and network.get("datapathProvider") != "ADVANCED_DATAPATH":
            # DOC setup-multinetwork-support-for-pods: multi-networking needs Dataplane V2.
            raise Refused(400, "Multi-networking requires Dataplane V2.")
        if bool(wanted.get("nodePools")) == bool(wanted.get("initialNodeCount")):
            raise Refused(400, "Either initialNodeCount or nodePools must be set.")
        project = f"projects/{self.cloud.project}"
        vpc = self.cloud.path_of(wanted.get("network", "default"), f"{project}/global/networks")
        subnet = self.cloud.path_of(wanted.get("subnetwork", ""), f"{project}/regions/{region_of(path)}/subnetworks")
        for reference in (vpc, subnet):
            self.cloud.find(reference)
            if reference not in self.cloud.ready:
                raise Refused(400, f"The resource '{reference}' is not ready")
        have = {item["rangeName"] for item in self.cloud.objects[subnet].get("secondaryIpRanges", [])}
        policy = wanted.get("ipAllocationPolicy", {})
        for key in ("clusterSecondaryRangeName", "servicesSecondaryRangeName"):
            if key in policy and policy[key] not in have:
                raise Refused(400, f"Pod or service secondary range {policy[key]!r} not found in {subnet}.")

    def filled(self, path: str, wanted: Json) -> Json:
        """What the server adds (KCC); a release channel is always on for a new cluster."""
        labels = wanted.get("resourceLabels", {})
        wanted.setdefault("locations", [path.split("/")[3]])
        wanted.setdefault("releaseChannel", {"channel": "REGULAR"})
        location = path.split("/")[3]
        return {
            **wanted,
            "status": "PROVISIONING",
            "selfLink": CONTAINER_BASE + path,
            "location": location,
            "createTime": CREATED,
            "currentMasterVersion": self.cloud.master_version,
            "labelFingerprint": self.cloud.fingerprint(labels),
            "maintenancePolicy": {
                "resourceVersion": self.cloud.fingerprint(wanted.get("maintenancePolicy")),
                **wanted.get("maintenancePolicy", {}),
            },
        }

    def access(self) -> Json:
        keys = {"clusterCaCertificate": self.cloud.authority, "clientKey": "SECRET-KEY"}
        return {"endpoint": self.cloud.endpoint, "masterAuth": keys}

    def firewall(self, path: str) -> str:
        """The rule by which a cluster's nodes reach each other: DOC firewall-rules, gke-CLUSTER-HASH-all."""
        name = f"gke-{path.rpartition('/')[2]}-{self.cloud.fingerprint(path)}-all"
        return f"projects/{self.cloud.project}/global/firewalls/{name}"

    def open_firewall(self, path: str) -> None:
        rule = self.firewall(path)
        network = self.cloud.objects[path].get("network", "default")
        network = self.cloud.path_of(network, f"projects/{self.cloud.project}/global/networks")
        self.cloud.objects[rule] = {
            "kind": "compute#firewall",
            "id": str(4_000_000 + len(self.cloud.created)),
            "name": rule.rpartition("/")[2],
            "network": COMPUTE_BASE + network,
            "direction": "INGRESS",
            "priority": 1000,
            "sourceRanges": ["10.4.0.0/14"],
            "allowed": [{"IPProtocol": name} for name in ("tcp", "udp", "icmp", "esp", "ah", "sctp")],
            "selfLink": COMPUTE_BASE + rule,
        }
        self.cloud.ready.add(rule)

    def fail(self, path: str) -> None:
        self.cloud.objects[path]["status"] = "ERROR"

    def etag(self, body: Json) -> str:
        return self.cloud.fingerprint({k: v for k, v in body.items() if k not in ("etag", "status", "nodePools")})

    def update(self, path: str, body: Json) -> Json:
        have = self.cloud.find(path)
        change = dict(body["update"])
        etag = change.pop("etag", None)
        if etag is not None and etag != self.etag(have):
            # DISC, ClusterUpdate.etag: an ABORTED error.
            raise Refused(409, "The etag does not match.", code="ABORTED")
        if len(change) != 1:
            # DISC, ClusterUpdate: exactly one update can be applied with each request.
            raise Refused(400, f"Exactly one update must be set, got {sorted(change)}.")
        key, value = next(iter(change.items()))
        if key not in DESIRED:
            raise Refused(400, f"{key} cannot be changed.")

        def finish() -> None:
            inner = have
            for part in DESIRED[key][:-1]:
                inner = inner.setdefault(part, {})
            inner[DESIRED[key][-1]] = value

        return self.begin("UPDATE_CLUSTER", path, finish)

    def setResourceLabels(self, path: str, body: Json) -> Json:  # noqa: N802
        have = self.cloud.find(path)
        if body.get("labelFingerprint") != have["labelFingerprint"]:
            # DISC, SetLabelsRequest.labelFingerprint: must be up to date.
            raise Refused(412, "Labels could not be set due to fingerprint mismatch.")
        labels = body.get("resourceLabels", {})
        fresh = {"resourceLabels": labels, "labelFingerprint": self.cloud.fingerprint(labels)}
        return self.begin("SET_LABELS", path, lambda: have.update(fresh))

    def setMaintenancePolicy(self, path: str, body: Json) -> Json:  # noqa: N802
        have = self.cloud.find(path)
        policy = dict(body["maintenancePolicy"])
        if policy.get("resourceVersion") != have["maintenancePolicy"]["resourceVersion"]:
            # DISC, MaintenancePolicy.resourceVersion: guards against undoing other changes.
            raise Refused(409, "The maintenance policy was changed in between.", code="ABORTED")
        policy["resourceVersion"] = self.cloud.fingerprint(policy)
        return self.begin("SET_MAINTENANCE_POLICY", path, lambda: have.update({"maintenancePolicy": policy}))

    def delete(self, path: str, _body: None) -> Json:
        have = self.cloud.find(path)

        def finish() -> None:
            for pool in self.cloud.under(f"{path}/nodePools/"):
                self.pools.drop(pool)
            self.cloud.drop(path)
            if not self.cloud.leave_firewall:
                self.cloud.objects.pop(self.firewall(path), None)

        shown = self.begin("DELETE_CLUSTER", path, finish)
        have["status"] = "STOPPING"
        return shown

    # Operations

    def begin(
        self,
        kind: str,
        target: str,
        finish: Callable[[], None],
        fail: Callable[[], None] | None = None,
        *,
        new: bool = False,
    ) -> Json:
        cluster = target.partition("/nodePools/")[0]
        busy = None if new and "/nodePools/" not in target else self.cloud.open_on(cluster)
        if busy:
            if new:
                self.cloud.objects.pop(target, None)
                self.cloud.created.remove(target)
            # TF retries this one with back-off.
            raise Refused(400, f"Cluster is running incompatible operation {busy.name}.", code="FAILED_PRECONDITION")
        operation = self.cloud.start(cluster.partition("/clusters/")[0], kind, target, finish)
        operation.fail = fail
        return self.shown_operation(operation)

    def shown_operation(self, operation: Operation) -> Json:
        location = operation.scope.rpartition("/")[2]
        family = "zones" if re.search(r"-[a-z]$", location) else "locations"
        tail = operation.target.split("/", 4)[4]
        body: Json = {
            "name": operation.name,
            "operationType": operation.kind,
            "status": operation.status,
            "location": location,
            "selfLink": CONTAINER_BASE + operation.path,
            "targetLink": f"{CONTAINER_BASE}projects/{PROJECT_NUMBER}/{family}/{location}/{tail}",
            "startTime": CREATED,
        }
        if operation.error and not operation.open:
            body["error"] = {"code": operation.error["code"], "message": operation.error["message"]}
        return body

    def operations(self, verb: str, path: str) -> Json:
        if verb == "list":
            scope = path.removesuffix("/operations")
            return {"operations": [self.shown_operation(o) for o in self.cloud.operations.values() if o.scope == scope]}
        operation = self.cloud.operation(path)
        self.cloud.look(operation)
        return self.shown_operation(operation)

    def server_config(self) -> Json:
        version = self.cloud.master_version
        channel = {"channel": "REGULAR", "defaultVersion": version, "validVersions": [version]}
        return {"defaultClusterVersion": version, "validMasterVersions": [version], "channels": [channel]}
