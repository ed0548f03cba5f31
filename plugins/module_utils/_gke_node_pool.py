# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A GKE node pool from options: what is sent, what is compared, how it changes. Private to the collection."""

from __future__ import annotations

import functools
import typing as t
from collections.abc import Callable, Iterable, Mapping

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_cluster import merged, writable
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_compare import (
    Difference,
    Rule,
    Rules,
    merged_items,
    merged_map,
    value_at,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_errors import SCOPE, JsonObject, cause_of
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_machines import DRANET_LABEL, DRIVERS
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_objects import OWNER_LABEL, Change, Item
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_pool_options import Options
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_rest import Call, Target

#: Where the size that was read from the instance groups is put into a live object.
SIZE = "targetSize"
DRIVER = "config.accelerators.gpuDriverInstallationConfig"

# Field of a node pool -> its key in UpdateNodePoolRequest and what the key's message wraps, if it does.
PUT: dict[str, tuple[str, str]] = {
    "config.labels": ("labels", "labels"),
    "config.taints": ("taints", "taints"),
    "config.tags": ("tags", "tags"),
    "config.resourceLabels": ("resourceLabels", "labels"),
    "maintenancePolicy": ("maintenancePolicy", ""),
    "nodeDrainConfig": ("nodeDrainConfig", ""),
    "upgradeSettings": ("upgradeSettings", ""),
    # From here on every node is made anew.
    "locations": ("locations", ""),
    "config.accelerators": ("accelerators", ""),
    "config.bootDisk": ("bootDisk", ""),
    "config.diskSizeGb": ("diskSizeGb", ""),
    "config.diskType": ("diskType", ""),
    "config.flexStart": ("flexStart", ""),
    "config.gcfsConfig": ("gcfsConfig", ""),
    "config.gvnic": ("gvnic", ""),
    "config.imageType": ("imageType", ""),
    "config.kubeletConfig": ("kubeletConfig", ""),
    "config.linuxNodeConfig": ("linuxNodeConfig", ""),
    "config.loggingConfig": ("loggingConfig", ""),
    "config.machineType": ("machineType", ""),
    "config.maxRunDuration": ("maxRunDuration", ""),
    "config.workloadMetadataConfig": ("workloadMetadataConfig", ""),
    "queuedProvisioning": ("queuedProvisioning", ""),
}
IN_PLACE = frozenset(list(PUT)[: list(PUT).index("locations")])
# Field -> the pool's own method and the key of its body.
METHODS: dict[str, tuple[str, str]] = {
    SIZE: ("setSize", "nodeCount"),
    "autoscaling": ("setAutoscaling", "autoscaling"),
    "management": ("setManagement", "management"),
}
NORMAL = {
    "config.labels": "owned",
    "config.resourceLabels": "owned",
    "config.taints": "items",
    "config.tags": "unordered",
    "config.maxRunDuration": "seconds",
    "locations": "unordered",
}
RULES: Rules = {
    **{path: Rule("update" if path in IN_PLACE else "disruptive", NORMAL.get(path, "plain")) for path in PUT},
    **{path: Rule("update") for path in METHODS},
    DRIVER: Rule("alarm"),
    "networkConfig.additionalNodeNetworkConfigs": Rule("replace", "networks"),
    "config.reservationAffinity": Rule("replace", "reservation"),
    "placementPolicy.policyName": Rule("replace", "link"),
}


# The wanted object


def created(options: Options) -> JsonObject:
    """What a creation sends."""
    wanted = compared(options)
    wanted.pop(SIZE, None)
    accelerators = wanted["config"].get("accelerators")
    if accelerators:
        # The driver is compared on its own; it is sent with its accelerator.
        wanted["config"]["accelerators"] = [{**accelerators[0], **driver(options)}]
    count = (options.node_count or 0) if options.static else 0
    return {"name": options.name, "initialNodeCount": count, **wanted}


def compared(options: Options) -> JsonObject:
    """What the pool must be like, now and later. Without what an option leaves to Google."""
    wanted: JsonObject = {"config": _config(options), **_pool(options)}
    if options.zones:
        wanted["locations"] = list(options.zones)
    if options.max_pods is not None:
        wanted["maxPodsConstraint"] = {"maxPodsPerNode": str(options.max_pods)}
    if options.explicit:
        wanted["networkConfig"] = {"additionalNodeNetworkConfigs": [dict(pair) for pair in options.networks]}
    elif options.profile is not None and options.interfaces == "dranet":
        wanted["networkConfig"] = {"acceleratorNetworkProfile": "auto"}
    if options.static and options.node_count is not None:
        wanted[SIZE] = options.node_count * max(1, len(options.zones))
    return merged(wanted, options.extra)


def driver(options: Options) -> JsonObject:
    version = {"specificVersion": options.driver_version} if options.driver_version else {}
    return {"gpuDriverInstallationConfig": {"gpuDriverVersion": DRIVERS[options.driver], **version}}


def _config(options: Options) -> JsonObject:
    profile, way = options.profile, options.way
    config: JsonObject = {
        "machineType": profile.machine_type if profile else options.machine_type,
        "resourceLabels": {**options.resource_labels, OWNER_LABEL: options.owner},
        **way.config,
    }
    labels = dict(options.labels)
    if profile is not None:
        config["accelerators"] = [{"acceleratorType": profile.accelerator_type, "acceleratorCount": str(profile.gpus)}]
        config["gvnic"] = {"enabled": True}
        # Caches on the host need the local disks as ephemeral storage; the number is the machine's own.
        count = {} if options.local_ssd_count is None else {"localSsdCount": options.local_ssd_count}
        config["ephemeralStorageLocalSsdConfig"] = count
        labels |= DRANET_LABEL if options.interfaces == "dranet" else {}
    disk_type = options.disk_type or (profile.boot_disk if profile else "")
    optional = {
        "labels": labels,
        "taints": [dict(taint) for taint in options.taints],
        "diskType": disk_type,
        "diskSizeGb": options.disk_size_gb,
        "serviceAccount": options.service_account,
        # What an account may do is decided by its roles alone; without a scope it could not even pull images.
        "oauthScopes": [SCOPE] if options.service_account else [],
        "maxRunDuration": options.max_run_duration,
    }
    config |= {key: value for key, value in optional.items() if value}
    if options.capacity == "reservation":
        config["reservationAffinity"] = {
            "consumeReservationType": "SPECIFIC_RESERVATION",
            "key": "compute.googleapis.com/reservation-name",
            "values": [options.reservation],
        }
    return config


def _pool(options: Options) -> JsonObject:
    way = options.way
    pool: JsonObject = {"management": {"autoRepair": way.auto_repair, "autoUpgrade": way.auto_upgrade}}
    if way.max_surge is not None:
        settings = {"strategy": "SURGE", "maxSurge": way.max_surge, "maxUnavailable": way.max_unavailable}
        pool["upgradeSettings"] = settings
    if options.placement_policy:
        pool["placementPolicy"] = {"policyName": options.placement_policy}
    elif options.compacted:
        pool["placementPolicy"] = {"type": "COMPACT"}
    pool = merged(pool, way.pool)
    if not way.static:
        pool["autoscaling"] = {**pool["autoscaling"], "totalMinNodeCount": 0, "totalMaxNodeCount": options.max_nodes}
    elif options.autoscaling is not None:
        pool["autoscaling"] = {"enabled": True, **_limits(options.autoscaling)}
    return pool


LIMITS = {
    "min_nodes": "minNodeCount",
    "max_nodes": "maxNodeCount",
    "total_min_nodes": "totalMinNodeCount",
    "total_max_nodes": "totalMaxNodeCount",
    "location_policy": "locationPolicy",
}


def _limits(given: Mapping[str, t.Any]) -> JsonObject:
    return {key: given[option] for option, key in LIMITS.items() if given.get(option) is not None}


def item(options: Options) -> Item:
    target = options.target
    body = {"nodePool": created(options)}
    create = Call("POST", target.parent, target, f"create {target.label}", body, "exists")
    wanted = compared(options)
    if options.profile is not None:
        wanted["config"]["accelerators"] = accelerator_parts(wanted["config"]["accelerators"])
        wanted["config"]["accelerators"]["gpuDriverInstallationConfig"] = driver(options)["gpuDriverInstallationConfig"]
    owner_at = f"config.resourceLabels.{OWNER_LABEL}"
    return Item(target, create, wanted, RULES, owner_at, options.owner, lambda found: changes(options, found))


def accelerator_parts(accelerators: t.Any) -> JsonObject:
    """The one accelerator as a map, so that its driver is a field of its own."""
    first = (accelerators or [{}])[0]
    return t.cast(JsonObject, first)


def comparable(live: JsonObject, size: int | None) -> JsonObject:
    """A live pool in the form that is compared, with its size."""
    config = dict(live.get("config", {}))
    if config.get("accelerators"):
        config["accelerators"] = accelerator_parts(config["accelerators"])
    return {**live, "config": config, SIZE: size}


# Changes


def changes(options: Options, found: Iterable[Difference]) -> list[Change]:
    """One concern per call, the size last."""
    by_field: dict[str, list[Difference]] = {}
    for difference in found:
        by_field.setdefault(_field(difference.path), []).append(difference)
    order = [*PUT, "autoscaling", "management", SIZE]
    return [
        Change(tuple(d.path for d in by_field[field]), functools.partial(_call, options, field))
        for field in sorted(by_field, key=order.index)
    ]


def _field(path: str) -> str:
    return next(field for field in (*PUT, *METHODS) if path == field or path.startswith(f"{field}."))


def _call(options: Options, field: str, live: JsonObject) -> Call:
    target, what = options.target, f"update {field} of {options.target.label}"
    wanted = compared(options)
    if field in METHODS:
        method, key = METHODS[field]
        value = value_at(wanted, field)
        if field == SIZE:
            value = options.node_count
        elif isinstance(value, dict):
            value = merged(writable(live.get(field) or {}), value)
        return Call("POST", Target("container", f"{target.path}:{method}"), target, what, {key: value})
    key, wrapped = PUT[field]
    value = MERGES.get(field, _whole)(value_at(wanted, field), value_at(live, field))
    if field == "config.accelerators":
        value = [{**value[0], **driver(options)}]
    if field == "config.diskSizeGb":
        value = str(value)
    body: JsonObject = {key: {wrapped: value} if wrapped else value}
    if live.get("etag"):
        body["etag"] = live["etag"]
    return Call("PUT", target, target, what, body)


def _whole(want: t.Any, have: t.Any) -> t.Any:
    if isinstance(want, dict) and isinstance(have, dict):
        return merged(writable(have), want)
    return want


# A map or list replaces the one that is there, keys of others included.
MERGES: dict[str, Callable[[t.Any, t.Any], t.Any]] = {
    "config.labels": merged_map,
    "config.resourceLabels": merged_map,
    "config.taints": merged_items,
}


# What a pool says of itself


BROKEN = ("ERROR", "RUNNING_WITH_ERROR")
SETTLED = ("RUNNING", *BROKEN)


def state_findings(live: JsonObject) -> list[Finding]:
    """A pool that is there and broken, with its conditions."""
    if live.get("status") not in BROKEN:
        return []
    name = f"node pool {live.get('name')}"
    told = [
        f"{live['status']}: {condition.get('code') or condition.get('canonicalCode', '')}: {condition.get('message')}"
        for condition in live.get("conditions") or []
    ] or [f"{live['status']}: {live.get('statusMessage') or 'no condition is given'}"]
    fix = "Remove the cause that its conditions name; state=absent removes the pool."
    return [cause_of(text, name, "GCP_NODE_POOL", fix) for text in told]
