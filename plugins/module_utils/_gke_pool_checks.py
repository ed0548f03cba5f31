# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true at Google before a node pool is created. Private to the collection; it may change at any time.

Each check reads one thing and judges it. What the identity may not read is reported as not checked, never as passed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_quota
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, Severity
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_cluster import serves_rdma
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_compare import link
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_errors import ApiError, JsonObject
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_machines import Machine
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_pool_options import Options
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_rest import Client, Target

#: Whether it is a mistake, or in check mode only something that an earlier task would have made.
Missing = Severity
Check = Callable[[Options, Client, Missing], list[Finding]]


def findings(options: Options, client: Client, *, check_mode: bool) -> list[Finding]:
    """All checks, each by itself. In check mode, what is not there yet may still be made, and is only told."""
    result: list[Finding] = []
    missing: Missing = "info" if check_mode else "error"
    for what, check in CHECKS:
        try:
            result += check(options, client, missing)
        except ApiError as error:
            if error.status != 403:
                raise
            fix = "Give the identity the right to read it, or make sure of it yourself."
            result.append(Finding("GCP_PERMISSION", "warning", f"{what} is not checked", error.message, fix))
    return result


def machine_type(options: Options) -> str:
    return options.profile.machine_type if options.profile else options.machine_type


# Cluster


def check_cluster(options: Options, client: Client, missing: Missing) -> list[Finding]:
    live = client.get(options.cluster_target)
    if live is None:
        seen = f"there is none in {options.location} of project {options.project}"
        fix = "Create it with gke_cluster, or correct cluster, location and project."
        return [Finding("GCP_CLUSTER", missing, f"cluster {options.cluster}", seen, fix)]
    if options.profile is None or options.interfaces == "none":
        return []
    own = link(live.get("network", ""))
    taken = [pair["network"] for pair in options.networks if link(pair["network"]) == own]
    result = serves_rdma(live, dranet=options.interfaces == "dranet")
    if options.explicit and taken:
        fix = "Give the second gVNIC and the RDMA interfaces networks of their own."
        result.append(Finding("GCP_NETWORK", "error", f"network {own}", "it is the cluster's own network", fix))
    return result


# Machines


def check_machine(options: Options, client: Client, _missing: Missing) -> list[Finding]:
    wanted = machine_type(options)
    lacking = [
        zone
        for zone in options.zones
        if client.get(Target("compute", f"projects/{options.project}/zones/{zone}/machineTypes/{wanted}")) is None
    ]
    if not lacking:
        return []
    everywhere = Target("compute", f"projects/{options.project}/aggregated/machineTypes")
    listed = client.pages(everywhere, "items", {"filter": f"name={wanted}"})
    return machine_findings(wanted, lacking, dict(listed))


def machine_findings(wanted: str, lacking: Sequence[str], listed: Mapping[str, JsonObject]) -> list[Finding]:
    zones = sorted(
        link(scope)
        for scope, found in listed.items()
        if any(offered.get("name") == wanted for offered in found.get("machineTypes", []))
    )
    fix = f"Zones that have it: {', '.join(zones)}." if zones else "No zone offers it to this project."
    return [Finding("GCP_ZONE", "error", f"zone {zone}", f"it has no machine type {wanted}", fix) for zone in lacking]


# Networks


def check_networks(options: Options, client: Client, missing: Missing) -> list[Finding]:
    profile = options.profile
    if not options.explicit or profile is None:
        return []
    wanted = dict.fromkeys(link(pair["network"]) for pair in options.networks)
    found = {}
    for name in wanted:
        reference = next(pair["network"] for pair in options.networks if link(pair["network"]) == name)
        tail = re.search(r"projects/.+", reference)
        path = tail[0] if tail else f"projects/{options.project}/global/networks/{name}"
        found[name] = client.get(Target("compute", path))
    return network_findings(options, profile, found, missing)


def network_findings(
    options: Options, profile: Machine, found: Mapping[str, JsonObject | None], missing: Missing
) -> list[Finding]:
    """The RDMA interfaces need a network of the zone's RoCE profile, the gVNICs one without a profile."""
    rails = {link(pair["network"]) for pair in options.networks[profile.gvnics :]}
    result = []
    for name, live in found.items():
        subject = f"network {name}"
        if live is None:
            fix = "Create it with gke_network, or correct networks."
            result.append(Finding("GCP_NETWORK", missing, subject, "it does not exist", fix))
            continue
        have = link(live.get("networkProfile", ""))
        wanted = f"{options.zones[0]}-vpc-roce" if name in rails else ""
        if have != wanted:
            seen = f"its network profile is {have or '(none)'}, nodes in {options.zones[0]} need {wanted or '(none)'}"
            fix = "A profile is set when a network is created and cannot be changed: create another network."
            result.append(Finding("GCP_NETWORK", "error", subject, seen, fix))
    return result


# Reservation and placement


def check_reservation(options: Options, client: Client, _missing: Missing) -> list[Finding]:
    if not options.reservation:
        return []
    match = re.match(r"(?:projects/([^/]+)/reservations/)?([^/]+)(?:/reservationBlocks/([^/]+))?", options.reservation)
    project, name, block = match.groups() if match else (None, options.reservation, None)
    # A path with a block in it is answered with 404 here (cluster-toolkit PR 5043).
    path = f"projects/{project or options.project}/zones/{options.zones[0]}/reservations/{name}"
    live = client.get(Target("compute", path))
    result = reservation_findings(options, name, live)
    if block and live is not None:
        answer = client.get(Target("compute", f"{path}/reservationBlocks/{block}")) or {}
        result += block_findings(f"{name}/reservationBlocks/{block}", answer.get("resource", answer))
    return result


def reservation_findings(options: Options, name: str, live: JsonObject | None) -> list[Finding]:
    subject = f"reservation {name}"
    if live is None:
        seen = f"there is none of that name in {options.zones[0]}"
        fix = "Correct reservation and zones; one of another project is written projects/P/reservations/R."
        return [Finding("GCP_RESERVATION", "error", subject, seen, fix)]
    specific = live.get("specificReservation", {})
    have = str(specific.get("instanceProperties", {}).get("machineType", ""))
    need = (options.node_count or 0) * len(options.zones)
    free = int(specific.get("assuredCount") or specific.get("count") or 0) - int(specific.get("inUseCount") or 0)
    rules = (
        (live.get("status") != "READY", f"its status is {live.get('status')}", "Wait until it is READY."),
        (
            have != machine_type(options),
            f"it is for {have or '(not set)'}, the node pool for {machine_type(options)}",
            "Name a reservation of the same machine type.",
        ),
        (free < need, f"{free} instances are free, {need} are needed", "Free some, or set a smaller node_count."),
    )
    return [Finding("GCP_RESERVATION", "error", subject, seen, fix) for hit, seen, fix in rules if hit]


def block_findings(name: str, live: JsonObject) -> list[Finding]:
    health = live.get("healthInfo", {}).get("healthStatus", "HEALTHY")
    if health == "HEALTHY":
        return []
    fix = "Use another block, or ask Google about it; a part of its hosts may not start."
    return [Finding("GCP_RESERVATION", "warning", f"reservation {name}", f"its health is {health}", fix)]


def check_policy(options: Options, client: Client, missing: Missing) -> list[Finding]:
    if not options.placement_policy:
        return []
    name = link(options.placement_policy)
    path = f"projects/{options.project}/regions/{options.region}/resourcePolicies/{name}"
    if client.get(Target("compute", path)) is not None:
        return []
    seen = f"there is none of that name in region {options.region} of project {options.project}"
    fix = "A placement policy must be of the node pool's project and region: create it there."
    return [Finding("GCP_NETWORK", missing, f"policy {name}", seen, fix)]


CHECKS: tuple[tuple[str, Check], ...] = (
    ("cluster", check_cluster),
    *_gke_quota.CHECKS,
    ("machine type", check_machine),
    ("networks", check_networks),
    ("reservation", check_reservation),
    ("placement policy", check_policy),
)
