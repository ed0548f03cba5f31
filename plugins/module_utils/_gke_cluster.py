# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A GKE cluster for RDMA node pools, from options. Private to the collection; it may change at any time."""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import re
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_compare import (
    Difference,
    Rule,
    Rules,
    merged_map,
    value_at,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_errors import JsonObject
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_objects import OWNER_LABEL, Change, Item
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_rest import Call, Target

LONGEST_NAME = 40
#: Names of nodes and load balancers are made of it; from 16 characters on they are cut (gpu-recipes).
COMFORTABLE_NAME = 15
#: The versions that the RDMA overlays are known to run on: explicit networks, and networks by DRA.
MINIMUM_VERSION = "1.33.4"
MINIMUM_DRANET = "1.34.1-gke.1829001"

# Field -> its key in ClusterUpdate; exactly one of them goes with each request.
DESIRED: dict[str, str] = {
    "addonsConfig": "desiredAddonsConfig",
    "controlPlaneEndpointsConfig": "desiredControlPlaneEndpointsConfig",
    "locations": "desiredLocations",
    "loggingConfig": "desiredLoggingConfig",
    "monitoringConfig": "desiredMonitoringConfig",
    "networkConfig.defaultEnablePrivateNodes": "desiredDefaultEnablePrivateNodes",
    "networkConfig.gatewayApiConfig": "desiredGatewayApiConfig",
    "releaseChannel": "desiredReleaseChannel",
    "workloadIdentityConfig": "desiredWorkloadIdentityConfig",
}
RULES: Rules = {
    **{path: Rule("update") for path in DESIRED},
    "controlPlaneEndpointsConfig.ipEndpointsConfig.authorizedNetworksConfig.cidrBlocks": Rule("update", "cidrs"),
    "loggingConfig.componentConfig.enableComponents": Rule("update", "unordered"),
    # It moves the nodes of every pool.
    "locations": Rule("disruptive", "unordered"),
    "maintenancePolicy": Rule("update"),
    "monitoringConfig.componentConfig.enableComponents": Rule("update", "unordered"),
    "network": Rule("replace", "link"),
    "resourceLabels": Rule("update", "owned"),
    "subnetwork": Rule("replace", "link"),
}
# What Google fills into an updatable field and does not take back.
FILLED_IN = frozenset(
    {
        "privateEndpoint",
        "publicEndpoint",
        "endpoint",
        "duration",
        "lastDisruptionTime",
        "lastMinorVersionDisruptionTime",
    }
)


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of the module gke_cluster."""

    project: str
    location: str
    name: str
    owner: str
    network: str
    subnetwork: str
    pods_range_name: str = "pods"
    services_range_name: str = "services"
    release_channel: str = "REGULAR"
    version: str = ""
    private_nodes: bool = True
    authorized_networks: tuple[str, ...] = ()
    gateway_api: bool = False
    maintenance_exclusion: Mapping[str, str] | None = None
    monitoring: tuple[str, ...] = ()
    node_locations: tuple[str, ...] = ()
    system_machine_type: str = "e2-standard-4"
    system_nodes: int = 1
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    extra: JsonObject = dataclasses.field(default_factory=dict)

    @property
    def region(self) -> str:
        return re.sub(r"-[a-z]$", "", self.location)

    @property
    def target(self) -> Target:
        return Target("container", f"projects/{self.project}/locations/{self.location}/clusters/{self.name}")


# Offline judgement


def judge(options: Options) -> list[Finding]:
    return [
        *_name(options),
        *_version(options),
        *_networks(options),
        *_zones(options),
        *_exclusion(options),
        *_extra(options),
    ]


def _name(options: Options) -> list[Finding]:
    size = len(options.name)
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", options.name) or size > LONGEST_NAME:
        seen = f"{options.name!r} has {size} characters; GKE allows {LONGEST_NAME} letters, digits and dashes"
        return [Finding("INPUT_NAME", "error", "name", seen, "Begin with a lower-case letter and shorten it.")]
    if size > COMFORTABLE_NAME:
        seen = f"{options.name!r} has {size} characters; names made of it are cut from {COMFORTABLE_NAME + 1} on"
        return [Finding("INPUT_NAME", "warning", "name", seen, f"Use at most {COMFORTABLE_NAME}.")]
    return []


def _version(options: Options) -> list[Finding]:
    """One that is given as far as it is given: 1.33 is its newest patch."""
    given = version_key(options.version)
    if not given or given >= version_key(MINIMUM_VERSION)[: len(given)]:
        return []
    return [too_old("version", options.version, MINIMUM_VERSION, f"Set version to {MINIMUM_VERSION} or newer.")]


def too_old(subject: str, found: str, minimum: str, fix: str) -> Finding:
    return Finding("GCP_CLUSTER", "error", subject, f"GKE {found}, at least {minimum} is needed", fix)


def _networks(options: Options) -> list[Finding]:
    findings = []
    for text in options.authorized_networks:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            fix = "Write it as ADDRESS/PREFIX, such as 203.0.113.7/32 for one host."
            findings.append(Finding("INPUT_TYPE", "error", "authorized_networks", f"{text!r}: {error}", fix))
    return findings


def _zones(options: Options) -> list[Finding]:
    strangers = [zone for zone in options.node_locations if not zone.startswith(f"{options.region}-")]
    if not strangers:
        return []
    seen = f"{', '.join(strangers)} not in the region of {options.location}"
    return [Finding("INPUT_COMBINATION", "error", "node_locations", seen, f"Name zones of {options.region}.")]


def _exclusion(options: Options) -> list[Finding]:
    window = options.maintenance_exclusion
    if not window or bool(window.get("end_time")) != bool(window.get("until_end_of_support")):
        return []
    seen = "a maintenance exclusion ends at end_time or with the version's support, exactly one of them"
    fix = "Set either maintenance_exclusion.end_time or maintenance_exclusion.until_end_of_support."
    return [Finding("INPUT_COMBINATION", "error", "maintenance_exclusion", seen, fix)]


def _extra(options: Options) -> list[Finding]:
    taken = sorted(set(options.extra) & {"name", "nodePools", "initialNodeCount", "resourceLabels"})
    if not taken:
        return []
    fix = "Use the options for them; extra is for what has none."
    return [Finding("INPUT_COMBINATION", "error", "extra", f"sets {', '.join(taken)}", fix)]


# The wanted object


def compared(options: Options) -> JsonObject:
    """What the cluster must be like, now and later."""
    wanted: JsonObject = {
        "network": options.network,
        "subnetwork": options.subnetwork,
        "ipAllocationPolicy": {
            "useIpAliases": True,
            "clusterSecondaryRangeName": options.pods_range_name,
            "servicesSecondaryRangeName": options.services_range_name,
        },
        "networkConfig": {
            # RDMA interfaces as pod networks need both, and both can be set at creation alone.
            "datapathProvider": "ADVANCED_DATAPATH",
            "enableMultiNetworking": True,
            "defaultEnablePrivateNodes": options.private_nodes,
            **({"gatewayApiConfig": {"channel": "CHANNEL_STANDARD"}} if options.gateway_api else {}),
        },
        "releaseChannel": {"channel": options.release_channel},
        "workloadIdentityConfig": {"workloadPool": f"{options.project}.svc.id.goog"},
        "resourceLabels": {**options.labels, OWNER_LABEL: options.owner},
    }
    if options.authorized_networks:
        blocks = [{"cidrBlock": text} for text in options.authorized_networks]
        allowed = {"authorizedNetworksConfig": {"enabled": True, "cidrBlocks": blocks}}
        wanted["controlPlaneEndpointsConfig"] = {"ipEndpointsConfig": allowed}
    if options.monitoring:
        wanted["monitoringConfig"] = {"componentConfig": {"enableComponents": list(options.monitoring)}}
    if options.maintenance_exclusion:
        wanted["maintenancePolicy"] = {"window": {"maintenanceExclusions": exclusions(options.maintenance_exclusion)}}
    if options.node_locations:
        wanted["locations"] = list(options.node_locations)
    return merged(wanted, options.extra)


def exclusions(window: Mapping[str, str]) -> JsonObject:
    scope = {"scope": "NO_MINOR_OR_NODE_UPGRADES"}
    if window.get("until_end_of_support"):
        scope["endTimeBehavior"] = "UNTIL_END_OF_SUPPORT"
    times = {"startTime": window["start_time"]}
    if window.get("end_time"):
        times["endTime"] = window["end_time"]
    return {window["name"]: {**times, "maintenanceExclusionOptions": scope}}


def merged(base: JsonObject, extra: Mapping[str, t.Any]) -> JsonObject:
    """``extra`` over ``base``, maps key by key."""
    result = dict(base)
    for key, value in extra.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result


def item(options: Options) -> Item:
    wanted = compared(options)
    # The node pool that every cluster begins with runs GKE's own pods, pinned to one zone: spread over three it is what
    # runs into stock-outs of small machines.
    system = {
        "name": "system",
        "initialNodeCount": options.system_nodes,
        "config": {"machineType": options.system_machine_type, "resourceLabels": {OWNER_LABEL: options.owner}},
        **({"locations": [options.node_locations[0]]} if options.node_locations else {}),
    }
    body = {**wanted, "name": options.name, "nodePools": [system]}
    if options.version:
        body["initialClusterVersion"] = options.version
    create = Call(
        "POST", options.target.parent, options.target, f"create {options.target.label}", {"cluster": body}, "exists"
    )
    return Item(
        options.target,
        create,
        wanted,
        RULES,
        f"resourceLabels.{OWNER_LABEL}",
        options.owner,
        lambda found: changes(options, found),
    )


def changes(options: Options, found: Iterable[Difference]) -> list[Change]:
    """One call per field, in the order of the table; labels and the maintenance policy have calls of their own."""
    by_field: dict[str, list[Difference]] = {}
    for difference in found:
        by_field.setdefault(_field(difference.path), []).append(difference)
    return [
        Change(tuple(difference.path for difference in work), functools.partial(_call, options, field))
        for field, work in sorted(by_field.items())
    ]


def _field(path: str) -> str:
    """The updatable field that a difference is in."""
    known = [*DESIRED, "resourceLabels", "maintenancePolicy"]
    return next((field for field in known if path == field or path.startswith(f"{field}.")), path)


def _call(options: Options, field: str, live: JsonObject) -> Call:
    target, what = options.target, f"update {field} of {options.target.label}"
    wanted = compared(options)
    if field == "resourceLabels":
        labels = merged_map(wanted["resourceLabels"], live.get("resourceLabels"))
        body = {"resourceLabels": labels, "labelFingerprint": live.get("labelFingerprint", "")}
        return Call("POST", Target("container", f"{target.path}:setResourceLabels"), target, what, body)
    if field == "maintenancePolicy":
        policy = merged(writable(live.get("maintenancePolicy", {})), wanted["maintenancePolicy"])
        body = {"maintenancePolicy": policy}
        return Call("POST", Target("container", f"{target.path}:setMaintenancePolicy"), target, what, body)
    value = value_at(wanted, field)
    if isinstance(value, dict):
        value = merged(writable(value_at(live, field) or {}), value)
    update = {DESIRED[field]: value}
    if live.get("etag"):
        update["etag"] = live["etag"]
    return Call("PUT", target, target, what, {"update": update})


def writable(value: t.Any) -> t.Any:
    """What is there, without what Google filled in."""
    if isinstance(value, dict):
        return {key: writable(inner) for key, inner in value.items() if key not in FILLED_IN}
    return value


# Judgement of what is there


def serves_rdma(live: JsonObject, *, dranet: bool) -> list[Finding]:
    """Whether a cluster can have RDMA node pools."""
    network = live.get("networkConfig", {})
    name = f"cluster {live.get('name', '')}"
    needs: list[tuple[str, t.Any, str]] = [("datapathProvider", "ADVANCED_DATAPATH", "Dataplane V2")]
    if not dranet:
        needs.append(("enableMultiNetworking", True, "multi-networking"))
    findings = [
        Finding(
            "GCP_CLUSTER",
            "error",
            name,
            f"it lacks {what}: networkConfig.{key} is {network.get(key, 'not set')}",
            "That is set when a cluster is created and cannot be added: create another cluster.",
        )
        for key, value, what in needs
        if network.get(key) != value
    ]
    minimum, found = MINIMUM_DRANET if dranet else MINIMUM_VERSION, str(live.get("currentMasterVersion", ""))
    if found and version_key(found) < version_key(minimum):
        findings.append(too_old(name, found, minimum, "Upgrade the control plane, then run again."))
    return findings


def channel_findings(options: Options, server: JsonObject) -> list[Finding]:
    """The version that a new cluster gets where none is asked for."""
    versions = {channel["channel"]: channel.get("defaultVersion", "") for channel in server.get("channels", [])}
    found = versions.get(options.release_channel, "")
    if options.version or not found or version_key(found) >= version_key(MINIMUM_VERSION):
        return []
    subject = f"release channel {options.release_channel}"
    return [too_old(subject, found, MINIMUM_VERSION, f"Set version to {MINIMUM_VERSION} or newer, or another channel.")]


def version_key(version: str) -> tuple[int, ...]:
    """``1.34.1-gke.1829001`` in an order that compares."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def state_findings(live: JsonObject) -> list[Finding]:
    """A cluster that is there and broken."""
    if live.get("status") not in ("ERROR", "DEGRADED"):
        return []
    told = "; ".join(str(condition.get("message", "")) for condition in conditions(live)) or "no condition is given"
    fix = "Look at the cluster in the console. What cannot be repaired is deleted with state=absent."
    return [Finding("GCP_NODE_POOL", "error", f"cluster {live.get('name')}", f"{live['status']}: {told}", fix)]


def conditions(live: JsonObject) -> Sequence[JsonObject]:
    return t.cast(Sequence[JsonObject], live.get("conditions") or [])
