# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the networks of a GKE cluster, offline and at Google. Private to the collection."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Sequence

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_network as network
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_compare import link
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_errors import JsonObject


def judge(options: network.Options) -> list[Finding]:
    """What is wrong with the options, before any call."""
    return [*_ranges(options), *_names(options), *_zones(options), *_firewalls(options)]


def _ranges(options: network.Options) -> list[Finding]:
    given = {
        "nodes_range": options.nodes_range,
        "pods_range": options.pods_range,
        "services_range": options.services_range,
        "proxy_range": options.proxy_range,
        **({"gvnic_range": options.gvnic_range, "rdma_range": options.rdma_range} if options.explicit else {}),
    }
    parsed: dict[str, ipaddress.IPv4Network] = {}
    findings = []
    for key, text in given.items():
        if not text:
            continue
        try:
            parsed[key] = ipaddress.IPv4Network(text)
        except ValueError as error:
            fix = "Write it as ADDRESS/PREFIX with no bits set behind the prefix."
            findings.append(Finding("INPUT_TYPE", "error", key, f"{text!r} is no IPv4 range: {error}", fix))
    for (one, first), (other, second) in itertools.combinations(parsed.items(), 2):
        if first.overlaps(second):
            seen = f"{one} {first} and {other} {second} overlap"
            fix = "Give each its own range; none of them may be reachable in another of your networks either."
            findings.append(Finding("INPUT_COMBINATION", "error", f"{one}, {other}", seen, fix))
    if "rdma_range" in parsed:
        findings += _rails(options, parsed["rdma_range"])
    return findings


def _rails(options: network.Options, rdma: ipaddress.IPv4Network) -> list[Finding]:
    if options.rdma_subnets not in (4, 8):
        seen = f"{options.rdma_subnets} subnets; a node has one RDMA interface per GPU: 8 (A3 Ultra, A4) or 4 (A4X)"
        return [Finding("INPUT_COMBINATION", "error", "rdma_subnets", seen, "Set it to 8, or 4 for A4X.")]
    # The smallest subnet that Google accepts is a /29.
    if rdma.prefixlen + options.rdma_subnets.bit_length() - 1 > 29:
        seen = f"{rdma} cannot be cut into {options.rdma_subnets} subnets of /29 or more"
        return [Finding("INPUT_COMBINATION", "error", "rdma_range", seen, "Give a greater range, such as a /18.")]
    return []


def _names(options: network.Options) -> list[Finding]:
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", options.name):
        fix = "Begin with a lower-case letter, go on with letters, digits and dashes."
        return [Finding("INPUT_NAME", "error", "name", f"{options.name!r} is no name for Compute Engine", fix)]
    longest = max((item.target.name for item in network.items(options, check_ranges=False)), key=len, default="")
    if len(longest) <= network.LONGEST_NAME:
        return []
    room = network.LONGEST_NAME - (len(longest) - len(options.name))
    seen = f"{longest!r} has {len(longest)} characters, Compute Engine allows {network.LONGEST_NAME}"
    return [Finding("INPUT_NAME", "error", "name", seen, f"Use at most {room} characters.")]


def _zones(options: network.Options) -> list[Finding]:
    findings = []
    if not options.zone.startswith(f"{options.region}-"):
        seen = f"zone {options.zone} is not in region {options.region}"
        findings.append(Finding("INPUT_COMBINATION", "error", "zone", seen, "Name a zone of the region."))
    profile_zone = re.sub(r"-vpc-roce(-metal)?$", "", link(options.profile))
    if options.explicit and profile_zone != options.zone:
        seen = f"the profile {link(options.profile)} is for zone {profile_zone}, the nodes are in {options.zone}"
        fix = "Leave rdma_profile out, or choose the profile of the nodes' zone."
        findings.append(Finding("INPUT_COMBINATION", "error", "rdma_profile", seen, fix))
    return findings


def _firewalls(options: network.Options) -> list[Finding]:
    if "rdma" not in options.firewalls:
        return []
    seen = "a firewall rule on the RDMA network: its profile does not allow any"
    fix = "Remove rdma from firewalls. Only a regional policy of type RDMA_ROCE_POLICY can restrict that network."
    return [Finding("INPUT_COMBINATION", "error", "firewalls", seen, fix)]


# Judgement of what is there


def profile_findings(options: network.Options, profile: JsonObject | None, offered: Sequence[str]) -> list[Finding]:
    """The zone's RoCE profile; ``offered`` are the profiles that exist."""
    name = link(options.profile)
    if profile is None:
        zones = sorted(re.sub(r"-vpc-roce$", "", item) for item in offered if item.endswith("-vpc-roce"))
        seen = f"the zone {options.zone} has no network profile {name}"
        return [Finding("GCP_ZONE", "error", "zone", seen, f"Use a zone that has it: {', '.join(zones) or 'none'}.")]
    zone = profile.get("location", {}).get("name")
    kinds = profile.get("features", {}).get("interfaceTypes", [])
    if zone == options.zone and "MRDMA" in kinds:
        return []
    seen = f"profile {name} is for {zone} and interfaces {', '.join(kinds) or '(none)'}"
    fix = f"Choose the profile of {options.zone} with interface type MRDMA."
    return [Finding("GCP_ZONE", "error", "rdma_profile", seen, fix)]
