# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node pools of Kubernetes Engine."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

from .cloud import COMPUTE_BASE, CONTAINER_BASE, Cloud, Json, Refused
from .compute import region_of

NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
# DISC, UpdateNodePoolRequest: the wrapped maps, and what is not a concern of its own.
WRAPPED = {"labels": "labels", "taints": "taints", "tags": "tags", "resourceLabels": "labels"}
OF_POOL = {"locations", "upgradeSettings", "nodeDrainConfig", "maintenancePolicy", "queuedProvisioning"}
ENVELOPE = {"name", "etag", "nodeConfigUpdateMode"}
# KCC.
FILLED_CONFIG: Json = {
    "diskSizeGb": 100,
    "diskType": "pd-balanced",
    "imageType": "COS_CONTAINERD",
    "metadata": {"disable-legacy-endpoints": "true"},
    "oauthScopes": ["https://www.googleapis.com/auth/devstorage.read_only"],
    "serviceAccount": "default",
    "shieldedInstanceConfig": {"enableIntegrityMonitoring": True},
    "windowsNodeConfig": {},
    "effectiveCgroupMode": "EFFECTIVE_CGROUP_MODE_V2",
}


class Pools:
    """The methods, by their last name. ``begin`` starts an operation on the cluster."""

    def __init__(self, cloud: Cloud, begin: Callable[..., Json]) -> None:
        self.cloud = cloud
        self.begin = begin
        # After how many looks a pool that lacked capacity has it after all (TF reads it again).
        self.fills_after: dict[str, int] = {}

    def shown(self, path: str) -> Json:
        body = copy.deepcopy(self.cloud.find(path))
        body["etag"] = self.etag(body)
        return body

    def etag(self, body: Json) -> str:
        return self.cloud.fingerprint({k: v for k, v in body.items() if k not in ("etag", "status", "conditions")})

    def get(self, path: str, _body: None) -> Json:
        have = self.cloud.find(path)
        if path in self.fills_after and have["status"] == "ERROR":
            self.fills_after[path] -= 1
            if self.fills_after[path] <= 0:
                have |= {"status": "RUNNING", "conditions": []}
        return self.shown(path)

    def list(self, path: str, _body: None) -> Json:
        return {"nodePools": [self.shown(pool) for pool in self.cloud.under(f"{path}/")]}

    def create(self, parent: str, body: Json) -> Json:
        wanted = body["nodePool"]
        path = f"{parent}/{wanted.get('name', '')}"
        cluster = parent.removesuffix("/nodePools")
        if not NAME.fullmatch(wanted.get("name", "")):
            raise Refused(400, f"Invalid node pool name {wanted.get('name')!r}: at most 40 characters.")
        self.cloud.find(cluster)
        if path in self.cloud.objects:
            raise Refused(409, f"Already exists: {path}.")
        self.check(cluster, wanted)
        self.store(path, wanted)
        shown: Json = self.begin(
            "CREATE_NODE_POOL", path, lambda: self.running(path), lambda: self.failed(path), new=True
        )
        operation = self.cloud.operations[shown["name"]]
        if wanted.get("config", {}).get("accelerators"):
            operation.seconds = max(operation.seconds, self.cloud.gpu_pool_seconds)
        operation.error = self.reservation_error(path, wanted)
        return shown

    def running(self, path: str) -> None:
        self.cloud.objects[path]["status"] = "RUNNING"

    def failed(self, path: str) -> None:
        """A failed creation leaves the pool, with the reason in its conditions (TF; DISC, NodePool.conditions)."""
        operation = next(o for o in self.cloud.operations.values() if o.target == path and o.error)
        error = operation.error or {}
        condition = {"code": error.get("condition", "UNKNOWN"), "message": error["message"]}
        self.cloud.objects[path] |= {"status": error.get("status", "ERROR"), "conditions": [condition]}
        if "fills_after" in error:
            self.fills_after[path] = error["fills_after"]

    def check(self, cluster: str, wanted: Json) -> None:
        config = wanted.get("config", {})
        network = wanted.get("networkConfig", {})
        extra = network.get("additionalNodeNetworkConfigs", [])
        zones = wanted.get("locations") or self.cloud.objects[cluster]["locations"]
        affinity = config.get("reservationAffinity", {}).get("consumeReservationType", "")
        rules = (
            # CT's preconditions of its node pools, and DOC setup-multinetwork-support-for-pods.
            (config.get("spot") and affinity == "SPECIFIC_RESERVATION", "spot and a reservation are exclusive"),
            (config.get("flexStart") and affinity == "SPECIFIC_RESERVATION", "flexStart and a reservation"),
            (network.get("acceleratorNetworkProfile") and extra, "acceleratorNetworkProfile with additional networks"),
            (
                extra and not self.cloud.objects[cluster].get("networkConfig", {}).get("enableMultiNetworking"),
                "additional networks need a cluster with multi-networking",
            ),
            (len({pair["subnetwork"] for pair in extra}) != len(extra), "a subnetwork is given twice"),
            (wanted.get("placementPolicy", {}).get("type") == "COMPACT" and len(zones) > 1, "COMPACT in several zones"),
        )
        for hit, message in rules:
            if hit:
                raise Refused(400, f"Invalid node pool: {message}.")
        for zone in zones:
            if zone not in self.cloud.zones or config.get("machineType") not in self.cloud.zones[zone].machine_types:
                raise Refused(400, f"Machine type {config.get('machineType')!r} does not exist in zone {zone!r}.")
        self.check_networks(cluster, extra, zones)

    def check_networks(self, cluster: str, extra: list[Json], zones: list[str]) -> None:
        project = f"projects/{self.cloud.project}"
        own = self.cloud.path_of(self.cloud.objects[cluster].get("network", ""), f"{project}/global/networks")
        for pair in extra:
            network = self.cloud.path_of(pair["network"], f"{project}/global/networks")
            subnets = f"{project}/regions/{region_of(cluster)}/subnetworks"
            for reference in (network, self.cloud.path_of(pair["subnetwork"], subnets)):
                self.cloud.find(reference)
                if reference not in self.cloud.ready:
                    raise Refused(400, f"The resource '{reference}' is not ready")
            if network == own:
                # GNA, condition DeviceModeCantUseDefaultVPC.
                raise Refused(400, "An additional network must not be the cluster's own.")
            profile = self.cloud.profile_of(network)
            if profile and zones != [profile["zone"]]:
                # DOC rdma-network-profiles: instances must be in the profile's zone.
                raise Refused(400, f"The network's profile is for zone {profile['zone']}, the node pool in {zones}.")

    def reservation_error(self, path: str, wanted: Json) -> Json | None:
        """A reservation that is full or of another shape is told by the operation, in texts that users report."""
        config = wanted["config"]
        values = config.get("reservationAffinity", {}).get("values", [])
        if not values:
            return None
        name = re.sub(r"^.*reservations/", "", values[0]).partition("/")[0]
        zone = (wanted.get("locations") or self.cloud.objects[path.partition("/nodePools/")[0]]["locations"])[0]
        found = self.cloud.objects.get(f"projects/{self.cloud.project}/zones/{zone}/reservations/{name}")
        if found is None:
            return {"code": 5, "message": f"Reservation {name} not found in {zone}.", "condition": "UNKNOWN"}
        specific = found["specificReservation"]
        free = int(specific["count"]) - int(specific["inUseCount"])
        if specific["instanceProperties"]["machineType"] != config["machineType"]:
            return {"code": 3, "message": f"The reservation {name} is incorrect for the requested resources."}
        if free < wanted.get("initialNodeCount", 0):
            return {"code": 8, "message": f"RESOURCE_EXHAUSTED: reservation {name} has {free} free instances."}
        return None

    def store(self, path: str, wanted: Json) -> None:
        body = copy.deepcopy(wanted)
        body["config"] = {**FILLED_CONFIG, **body.get("config", {})}
        labels = {"goog-gke-node-pool-provisioning-model": "on-demand", **body["config"].get("resourceLabels", {})}
        body["config"]["resourceLabels"] = labels
        body.setdefault("locations", self.cloud.objects[path.partition("/nodePools/")[0]]["locations"])
        body.setdefault("maxPodsConstraint", {"maxPodsPerNode": "110"})
        body.setdefault("upgradeSettings", {"strategy": "SURGE", "maxSurge": 1})
        body.setdefault("queuedProvisioning", {})
        body["networkConfig"] = {"podRange": "pods", "podIpv4CidrBlock": "10.4.0.0/14", **body.get("networkConfig", {})}
        groups = []
        for zone in body["locations"]:
            group = f"projects/{self.cloud.project}/zones/{zone}/instanceGroupManagers/gke-{body['name']}-{zone[-1]}"
            self.cloud.objects[group] = {
                "name": group.rpartition("/")[2],
                "targetSize": body.get("initialNodeCount", 0),
            }
            groups.append(COMPUTE_BASE + group)
        body |= {
            "status": "PROVISIONING",
            "version": self.cloud.master_version,
            "podIpv4CidrSize": 24,
            "selfLink": CONTAINER_BASE + path,
            "instanceGroupUrls": groups,
        }
        self.cloud.store(path, body)

    def drop(self, path: str) -> None:
        for link in self.cloud.objects[path]["instanceGroupUrls"]:
            self.cloud.objects.pop(self.cloud.path_of(link, ""), None)
        self.cloud.drop(path)

    def update(self, path: str, body: Json) -> Json:
        have = self.cloud.find(path)
        etag = body.get("etag")
        if etag is not None and etag != self.etag(have):
            # DISC, UpdateNodePoolRequest.etag: an ABORTED error.
            raise Refused(409, "The etag does not match.", code="ABORTED")
        concerns = sorted(set(body) - ENVELOPE)
        if len(concerns) != 1:
            # TF sends single-concern bodies.
            raise Refused(400, f"One concern per update, got {concerns}.")
        key = concerns[0]
        if key == "nodeNetworkConfig" and "additionalNodeNetworkConfigs" in body[key]:
            # DOC setup-multinetwork-support-for-pods: interfaces cannot be added to an existing node pool.
            raise Refused(400, "The networks of a node pool cannot be changed.")

        def finish() -> None:
            value = body[key][WRAPPED[key]] if key in WRAPPED else body[key]
            target = have if key in OF_POOL else have["config"]
            target[key] = int(value) if key == "diskSizeGb" else value

        shown: Json = self.begin("UPGRADE_NODES", path, finish)
        return shown

    def setSize(self, path: str, body: Json) -> Json:  # noqa: N802
        have = self.cloud.find(path)

        def finish() -> None:
            for link in have["instanceGroupUrls"]:
                self.cloud.objects[self.cloud.path_of(link, "")]["targetSize"] = body["nodeCount"]

        shown: Json = self.begin("SET_NODE_POOL_SIZE", path, finish)
        return shown

    def setAutoscaling(self, path: str, body: Json) -> Json:  # noqa: N802
        have = self.cloud.find(path)
        fresh = {"autoscaling": body["autoscaling"]}
        shown: Json = self.begin("UPDATE_CLUSTER", path, lambda: have.update(fresh))
        return shown

    def setManagement(self, path: str, body: Json) -> Json:  # noqa: N802
        have = self.cloud.find(path)
        fresh = {"management": body["management"]}
        shown: Json = self.begin("SET_NODE_POOL_MANAGEMENT", path, lambda: have.update(fresh))
        return shown

    def delete(self, path: str, _body: None) -> Json:
        have = self.cloud.find(path)
        shown: Json = self.begin("DELETE_NODE_POOL", path, lambda: self.drop(path))
        have["status"] = "STOPPING"
        if have["networkConfig"].get("acceleratorNetworkProfile") == "auto":
            # llm-d PR 2379: such pools may never finish deleting.
            self.cloud.operations[shown["name"]].stuck = True
        return shown
