# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a GKE node pool and what is wrong with them before any call. Private to the collection."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Mapping, Sequence

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_compare import link
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_errors import JsonObject
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_machines import (
    BY_MACHINE_TYPE,
    CAPACITY,
    MACHINES,
    Capacity,
    Machine,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_rest import Target

LONGEST_NAME = 40
RESERVATION = re.compile(
    r"(projects/[^/]+/reservations/)?[a-z][-a-z0-9]*(/reservationBlocks/[^/]+(/reservationSubBlocks/[^/]+)?)?"
)
TAINT_EFFECTS = ("NO_SCHEDULE", "PREFER_NO_SCHEDULE", "NO_EXECUTE")
#: What options of their own say, so that extra may not.
OWN_KEYS = frozenset({"name", "initialNodeCount", "locations", "placementPolicy", "autoscaling", "management"})


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of the module gke_node_pool."""

    project: str
    location: str
    cluster: str
    name: str
    owner: str
    zones: tuple[str, ...]
    machine: str = ""
    machine_type: str = ""
    accelerator_type: str = ""
    accelerator_count: int = 0
    node_count: int | None = None
    max_nodes: int | None = None
    capacity: str = "on_demand"
    reservation: str = ""
    max_run_duration: str = ""
    compact: bool | None = None
    placement_policy: str = ""
    interfaces: t.Literal["explicit", "dranet", "none"] = "explicit"
    accept_stuck_deletion: bool = False
    networks: tuple[Mapping[str, str], ...] = ()
    driver: str = "default"
    driver_version: str = ""
    autoscaling: Mapping[str, t.Any] | None = None
    max_pods: int | None = None
    local_ssd_count: int | None = None
    disk_size_gb: int | None = None
    disk_type: str = ""
    service_account: str = ""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    resource_labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    extra: JsonObject = dataclasses.field(default_factory=dict)

    @property
    def profile(self) -> Machine | None:
        return MACHINES.get(self.machine)

    @property
    def way(self) -> Capacity:
        return CAPACITY[self.capacity]

    @property
    def explicit(self) -> bool:
        return self.profile is not None and self.interfaces == "explicit"

    @property
    def compacted(self) -> bool:
        """A compact placement is what gives nodes their topology labels outside of a dense reservation."""
        if self.compact is not None:
            return self.compact
        return self.profile is not None and self.profile.compact_placement and self.way.compact

    @property
    def static(self) -> bool:
        return self.way.static and self.autoscaling is None

    @property
    def cluster_target(self) -> Target:
        return Target("container", f"projects/{self.project}/locations/{self.location}/clusters/{self.cluster}")

    @property
    def target(self) -> Target:
        return Target("container", f"{self.cluster_target.path}/nodePools/{self.name}")

    @property
    def region(self) -> str:
        return re.sub(r"-[a-z]$", "", self.location)


def judge(options: Options) -> list[Finding]:
    """Everything that is wrong, at once."""
    return [
        *_name(options),
        *_machine(options),
        *_zones(options),
        *_interfaces(options),
        *_capacity(options),
        *_autoscaling(options),
        *_nodes(options),
        *_extra(options),
    ]


def _combination(subject: str, seen: str, fix: str) -> Finding:
    return Finding("INPUT_COMBINATION", "error", subject, seen, fix)


def _name(options: Options) -> list[Finding]:
    if re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", options.name) and len(options.name) <= LONGEST_NAME:
        return []
    seen = f"{options.name!r} has {len(options.name)} characters; GKE allows {LONGEST_NAME} letters, digits and dashes"
    return [Finding("INPUT_NAME", "error", "name", seen, "Begin with a lower-case letter and shorten it.")]


def _machine(options: Options) -> list[Finding]:
    if options.machine and options.profile is None:
        seen = f"{options.machine!r} is no machine profile"
        return [Finding("INPUT_TYPE", "error", "machine", seen, f"Use one of: {', '.join(MACHINES)}.")]
    if options.profile is None:
        return _plain_machine(options)
    profile, findings = options.profile, []
    if options.machine_type and options.machine_type != profile.machine_type:
        seen = f"machine {options.machine} is {profile.machine_type}, machine_type is {options.machine_type}"
        findings.append(_combination("machine, machine_type", seen, "Leave machine_type out."))
    stated = (options.accelerator_type or profile.accelerator_type, options.accelerator_count or profile.gpus)
    if stated != (profile.accelerator_type, profile.gpus):
        seen = f"{stated[1]} x {stated[0]} on {profile.machine_type}"
        fix = f"This machine has {profile.gpus} x {profile.accelerator_type}: leave accelerator_type and _count out."
        findings.append(_combination("accelerator_type, accelerator_count", seen, fix))
    if not profile.proven:
        seen = f"no public deployment of this guide on {profile.machine_type} is known"
        fix = "Expect to adapt it: GB200 has 4 GPUs per node, so 32 of them are 8 nodes."
        findings.append(Finding("INPUT_COMBINATION", "warning", "machine", seen, fix))
    return findings


def _plain_machine(options: Options) -> list[Finding]:
    if options.accelerator_type or options.accelerator_count:
        seen = f"accelerator {options.accelerator_type or '(not set)'} without a machine profile"
        fix = f"Set machine to one of {', '.join(MACHINES)}; GKE has no default machine type with GPUs for it."
        return [_combination("accelerator_type", seen, fix)]
    if not options.machine_type:
        fix = f"Set machine to one of {', '.join(MACHINES)}, or machine_type for a pool without GPUs."
        return [_combination("machine_type", "neither machine nor machine_type is set", fix)]
    if options.machine_type in BY_MACHINE_TYPE:
        seen = f"{options.machine_type} has GPUs and RDMA interfaces"
        return [_combination("machine_type", seen, f"Set machine to {BY_MACHINE_TYPE[options.machine_type]} instead.")]
    return []


def _zones(options: Options) -> list[Finding]:
    strangers = [zone for zone in options.zones if not zone.startswith(f"{options.region}-")]
    if strangers:
        seen = f"{', '.join(strangers)} not in the region of {options.location}"
        return [_combination("zones", seen, f"Name zones of {options.region}.")]
    if options.profile is not None and len(options.zones) != 1:
        seen = f"{len(options.zones)} zones: {', '.join(options.zones) or '(none)'}"
        return [_combination("zones", seen, "Name one zone: RDMA interfaces reach each other within one alone.")]
    return []


# Interfaces


def _interfaces(options: Options) -> list[Finding]:
    if options.profile is None:
        if not options.networks or options.machine:
            return []
        seen = f"{len(options.networks)} networks for a machine without RDMA interfaces"
        return [_combination("networks", seen, "Leave networks out, or set machine.")]
    if options.interfaces == "dranet":
        return _dranet(options)
    if options.interfaces == "none":
        return []
    return _explicit(options, options.profile)


def _dranet(options: Options) -> list[Finding]:
    findings = []
    if options.networks:
        seen = f"interfaces=dranet lets GKE make the networks, and networks names {len(options.networks)}"
        findings.append(
            _combination("interfaces, networks", seen, "Leave networks out, or set interfaces to explicit.")
        )
    if not options.accept_stuck_deletion:
        seen = "node pools with acceleratorNetworkProfile=auto may never finish deleting (llm-d PR 2379)"
        fix = "Set interfaces to explicit, or accept_stuck_deletion to true if you can live with that."
        findings.append(Finding("GCP_NEVER_DELETES", "error", "interfaces", seen, fix))
    return findings


def _explicit(options: Options, profile: Machine) -> list[Finding]:
    expected = f"one gVNIC network, then the {profile.rdma_nics} RDMA subnets from 0 to {profile.rdma_nics - 1}"
    fix = f"Give, in this order: {expected}. RV(networks) of gke_network is that list.".replace(
        "RV(networks)", "networks"
    )
    pairs = [(link(pair["network"]), link(pair["subnetwork"])) for pair in options.networks]
    if len(pairs) != profile.interfaces:
        seen = f"{len(pairs)} networks, {profile.machine_type} takes {profile.interfaces}"
        return [_combination("networks", seen, fix)]
    twice = sorted({subnet for _network, subnet in pairs if [s for _n, s in pairs].count(subnet) > 1})
    if twice:
        return [_combination("networks", f"given twice: {', '.join(twice)}", fix)]
    first, rails = pairs[: profile.gvnics], pairs[profile.gvnics :]
    if len({network for network, _subnet in rails}) != 1 or {network for network, _s in first} & {rails[0][0]}:
        seen = "in order: " + ", ".join(f"{network}/{subnet}" for network, subnet in pairs)
        return [_combination("networks", f"the first must be of another network than the rest; {seen}", fix)]
    return _rail_order([subnet for _network, subnet in rails], fix)


def _rail_order(subnets: Sequence[str], fix: str) -> list[Finding]:
    """Names that end in numbers show the order; others cannot be judged."""
    numbers = [re.search(r"(\d+)$", subnet) for subnet in subnets]
    found = [int(match[1]) for match in numbers if match]
    if len(found) != len(subnets) or found == sorted(found):
        return []
    return [_combination("networks", f"RDMA subnets out of order: {', '.join(subnets)}", fix)]


# Capacity


def _capacity(options: Options) -> list[Finding]:
    """Pairs that exclude each other; each message names both."""
    way = f"capacity={options.capacity}"
    compact = options.compact is True
    rules = (
        (
            options.capacity == "reservation" and not options.reservation,
            f"{way} without reservation",
            "Set reservation to its name, or to projects/P/reservations/R[/reservationBlocks/B].",
        ),
        (
            options.capacity != "reservation" and bool(options.reservation),
            f"{way} with reservation={options.reservation}",
            "Set capacity to reservation, or leave reservation out.",
        ),
        (
            bool(options.reservation) and not RESERVATION.fullmatch(options.reservation),
            f"reservation={options.reservation!r} is no name or path of a reservation",
            "Write R, or projects/P/reservations/R[/reservationBlocks/B[/reservationSubBlocks/S]].",
        ),
        (
            not options.way.static and options.node_count is not None,
            f"{way} with node_count={options.node_count}",
            "Leave node_count out and set max_nodes: the nodes come when pods ask for them.",
        ),
        (
            not options.way.static and options.max_nodes is None,
            f"{way} without max_nodes",
            "Set max_nodes to the greatest number of nodes.",
        ),
        (
            options.capacity == "queued" and compact,
            f"{way} with compact=true",
            "Leave compact out: queued nodes cannot have a compact placement.",
        ),
        (
            compact and options.profile is not None and not options.profile.compact_placement,
            f"compact=true with machine={options.machine}",
            "Leave compact out and name a workload policy in placement_policy.",
        ),
        (
            compact and len(options.zones) > 1,
            f"compact=true in {len(options.zones)} zones",
            "Name one zone.",
        ),
    )
    return [_combination("capacity", seen, fix) for hit, seen, fix in rules if hit]


def _autoscaling(options: Options) -> list[Finding]:
    given = {key for key, value in (options.autoscaling or {}).items() if value is not None}
    findings = []
    if given & {"min_nodes", "max_nodes"} and given & {"total_min_nodes", "total_max_nodes"}:
        fix = "Use min_nodes and max_nodes per zone, or total_min_nodes and total_max_nodes."
        findings.append(_combination("autoscaling", "limits per zone with total limits", fix))
    if options.autoscaling is not None and options.node_count is not None:
        seen = f"autoscaling with node_count={options.node_count}"
        findings.append(_combination("autoscaling", seen, "Leave one of them out: the autoscaler sets the size."))
    if options.autoscaling is not None and not options.way.static:
        seen = f"autoscaling with capacity={options.capacity}"
        findings.append(_combination("autoscaling", seen, "Leave autoscaling out and set max_nodes."))
    return findings


def _nodes(options: Options) -> list[Finding]:
    findings = []
    if options.static and options.node_count is None:
        fix = "Set node_count, per zone."
        findings.append(_combination("node_count", "a pool of fixed size without node_count", fix))
    if (options.driver == "specific") != bool(options.driver_version):
        seen = f"driver={options.driver} with driver_version={options.driver_version or '(not set)'}"
        fix = "driver=specific and driver_version go together."
        findings.append(_combination("driver, driver_version", seen, fix))
    for taint in options.taints:
        if taint.get("effect") not in TAINT_EFFECTS:
            seen = f"{taint.get('key')} has effect {taint.get('effect')!r}"
            findings.append(Finding("INPUT_TYPE", "error", "taints", seen, f"Use one of: {', '.join(TAINT_EFFECTS)}."))
    wanted = options.disk_type
    if options.profile and wanted and options.profile.boot_disk and wanted != options.profile.boot_disk:
        seen = f"disk_type={wanted} on {options.profile.machine_type}"
        findings.append(_combination("disk_type", seen, f"Use {options.profile.boot_disk}, or leave it out."))
    return findings


def _extra(options: Options) -> list[Finding]:
    network = options.extra.get("networkConfig", {})
    taken = sorted(set(options.extra) & OWN_KEYS)
    taken += sorted(f"networkConfig.{key}" for key in set(network) & {"additionalNodeNetworkConfigs"})
    findings = []
    if taken:
        fix = "Use the options for them; extra is for what has none."
        findings.append(_combination("extra", f"sets {', '.join(taken)}", fix))
    if network.get("acceleratorNetworkProfile"):
        seen = f"extra sets networkConfig.acceleratorNetworkProfile to {network['acceleratorNetworkProfile']!r}"
        fix = "Set interfaces to dranet; it goes with no networks of your own, and such pools may never delete."
        findings.append(Finding("GCP_NEVER_DELETES", "error", "extra", seen, fix))
    return findings
