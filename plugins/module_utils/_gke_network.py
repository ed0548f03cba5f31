# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of a GKE cluster with RDMA node pools, from options. Private to the collection; it may change.

One VPC for the cluster, one for the second Ethernet interface, and one that the zone's RoCE profile makes: its subnets
are the rails, one for each RDMA interface of a node.
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import typing as t
from collections.abc import Iterable, Sequence

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_compare import (
    Difference,
    Rule,
    Rules,
    link,
    merged_items,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_errors import JsonObject
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_objects import (
    Allowed,
    Change,
    Decision,
    Item,
    description_mark,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_rest import Call, Target

#: Names made of the prefix must stay within Compute Engine's 63 characters.
LONGEST_NAME = 63
PODS_RANGE = "pods"
SERVICES_RANGE = "services"
ROCE_PROFILE = "{zone}-vpc-roce"
GOOGLE_ACCESS = "privateIpGoogleAccess"

RULES: dict[str, Rules] = {
    "networks": {
        "networkProfile": Rule("replace", "link"),
        "routingConfig.routingMode": Rule("update"),
    },
    "subnetworks": {
        "network": Rule("replace", "link"),
        "role": Rule("update"),
        GOOGLE_ACCESS: Rule("update"),
        "secondaryIpRanges": Rule("update", "items"),
    },
    "firewalls": {
        "network": Rule("replace", "link"),
        "allowed": Rule("update", "unordered"),
        "sourceRanges": Rule("update", "unordered"),
    },
    "routers": {"network": Rule("replace", "link"), "nats": Rule("update", "items")},
    "resourcePolicies": {},
}


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of the module gke_network."""

    project: str
    region: str
    zone: str
    name: str
    owner: str
    interfaces: t.Literal["explicit", "dranet", "none"] = "explicit"
    nodes_range: str = "192.168.0.0/18"
    pods_range: str = "10.4.0.0/14"
    services_range: str = "10.0.32.0/20"
    gvnic_range: str = "192.168.64.0/18"
    rdma_range: str = "192.168.128.0/18"
    rdma_subnets: int = 8
    rdma_profile: str = ""
    proxy_range: str = ""
    firewalls: tuple[str, ...] = ("primary", "gvnic")
    nat: bool = True
    mtu: int = 8896
    workload_policy_topology: str = ""

    @property
    def explicit(self) -> bool:
        return self.interfaces == "explicit"

    @property
    def profile(self) -> str:
        return self.rdma_profile or ROCE_PROFILE.format(zone=self.zone)

    @property
    def names(self) -> dict[str, str]:
        return {
            "primary": f"{self.name}-net-0",
            "gvnic": f"{self.name}-net-1",
            "rdma": f"{self.name}-rdma-net",
            "primary_subnet": f"{self.name}-sub-0",
            "gvnic_subnet": f"{self.name}-sub-1",
            "rdma_subnet": f"{self.name}-rdma-sub",
            "proxy_subnet": f"{self.name}-proxy-only",
            "router": f"{self.name}-router",
            "nat": f"{self.name}-nat",
            "policy": f"{self.name}-workload-policy",
        }


# Wanted objects


def items(options: Options, *, check_ranges: bool = True) -> list[Item]:
    """All objects. Level 0 are the networks and policies, level 1 is what is in the networks."""
    return [
        _item(options, kind, scope, body, level)
        for kind, scope, body, level in _bodies(options, _cut(options) if check_ranges else [""] * options.rdma_subnets)
    ]


def _cut(options: Options) -> list[str]:
    """The rails' ranges."""
    if not options.explicit:
        return []
    whole = ipaddress.IPv4Network(options.rdma_range)
    return [str(part) for part in whole.subnets(prefixlen_diff=options.rdma_subnets.bit_length() - 1)]


Body = tuple[str, str, JsonObject, int]


def _bodies(options: Options, rails: Sequence[str]) -> list[Body]:
    names = options.names
    regional = f"regions/{options.region}"
    result: list[Body] = [("networks", "global", _network(names["primary"], options), 0)]
    if options.workload_policy_topology:
        result.append(("resourcePolicies", regional, _policy(options), 0))
    if options.explicit:
        rdma = {**_network(names["rdma"], options), "networkProfile": _profile_path(options)}
        result += [("networks", "global", _network(names["gvnic"], options), 0), ("networks", "global", rdma, 0)]
    result.append(("subnetworks", regional, _primary_subnet(options), 1))
    if options.proxy_range:
        result.append(("subnetworks", regional, _proxy_subnet(options), 1))
    if options.explicit:
        gvnic = _subnet(options, names["gvnic_subnet"], names["gvnic"], options.gvnic_range)
        result.append(("subnetworks", regional, gvnic, 1))
        result += [
            ("subnetworks", regional, _subnet(options, f"{names['rdma_subnet']}-{index}", names["rdma"], rail), 1)
            for index, rail in enumerate(rails)
        ]
    walls = [key for key in options.firewalls if key == "primary" or options.explicit]
    result += [("firewalls", "global", _firewall(options, names[key]), 1) for key in walls]
    if options.nat:
        result.append(("routers", regional, _router(options), 1))
    return result


def _network(name: str, options: Options) -> JsonObject:
    return {
        "name": name,
        "autoCreateSubnetworks": False,
        "mtu": options.mtu,
        "routingConfig": {"routingMode": "REGIONAL"},
    }


def _profile_path(options: Options) -> str:
    return f"projects/{options.project}/global/networkProfiles/{link(options.profile)}"


def network_path(options: Options, name: str) -> str:
    return f"projects/{options.project}/global/networks/{name}"


def subnet_path(options: Options, name: str) -> str:
    return f"projects/{options.project}/regions/{options.region}/subnetworks/{name}"


def _subnet(options: Options, name: str, network: str, cidr: str) -> JsonObject:
    return {"name": name, "network": network_path(options, network), "ipCidrRange": cidr}


def _primary_subnet(options: Options) -> JsonObject:
    secondary = [
        {"rangeName": PODS_RANGE, "ipCidrRange": options.pods_range},
        {"rangeName": SERVICES_RANGE, "ipCidrRange": options.services_range},
    ]
    subnet = _subnet(options, options.names["primary_subnet"], options.names["primary"], options.nodes_range)
    # Nodes without an external address reach Google's registries by this.
    return {**subnet, GOOGLE_ACCESS: True, "secondaryIpRanges": secondary}


def _proxy_subnet(options: Options) -> JsonObject:
    subnet = _subnet(options, options.names["proxy_subnet"], options.names["primary"], options.proxy_range)
    return {**subnet, "purpose": "REGIONAL_MANAGED_PROXY", "role": "ACTIVE"}


def _firewall(options: Options, network: str) -> JsonObject:
    sources = [options.nodes_range, options.pods_range]
    if options.explicit:
        sources.append(options.gvnic_range)
    return {
        "name": f"{network}-internal",
        "network": network_path(options, network),
        "direction": "INGRESS",
        "sourceRanges": sources,
        "allowed": [
            {"IPProtocol": "tcp", "ports": ["0-65535"]},
            {"IPProtocol": "udp", "ports": ["0-65535"]},
            {"IPProtocol": "icmp"},
        ],
    }


def _router(options: Options) -> JsonObject:
    nat = {
        "name": options.names["nat"],
        "natIpAllocateOption": "AUTO_ONLY",
        "sourceSubnetworkIpRangesToNat": "ALL_SUBNETWORKS_ALL_IP_RANGES",
    }
    network = network_path(options, options.names["primary"])
    return {"name": options.names["router"], "network": network, "nats": [nat]}


def _policy(options: Options) -> JsonObject:
    topology = {"type": "HIGH_THROUGHPUT", "acceleratorTopology": options.workload_policy_topology}
    return {"name": options.names["policy"], "workloadPolicy": topology}


def _item(options: Options, kind: str, scope: str, body: JsonObject, level: int) -> Item:
    target = Target("compute", f"projects/{options.project}/{scope}/{kind}/{body['name']}")
    mark = description_mark(options.owner)
    sent = {**body, "description": mark}
    create = Call("POST", target.parent, target, f"create {target.label}", sent, "exists")
    return Item(target, create, body, RULES[kind], "description", mark, lambda found: changes(target, found), level)


def changes(target: Target, found: Iterable[Difference]) -> list[Change]:
    """One patch per object with all its fields, and a call of its own for what has one."""
    by_method: dict[bool, list[Difference]] = {}
    for difference in found:
        by_method.setdefault(difference.path == GOOGLE_ACCESS, []).append(difference)
    return [
        Change(tuple(d.path for d in work), functools.partial(_google_access if own else _patch, target, work))
        for own, work in sorted(by_method.items())
    ]


def _google_access(target: Target, work: Sequence[Difference], _live: JsonObject) -> Call:
    """A subnet's patch does not take it."""
    method = Target(target.service, f"{target.path}/setPrivateIpGoogleAccess")
    return Call("POST", method, target, f"update {target.label}", {GOOGLE_ACCESS: work[0].want})


def _patch(target: Target, work: Sequence[Difference], live: JsonObject) -> Call:
    body: JsonObject = {}
    for difference in work:
        key = difference.path.partition(".")[0]
        body[key] = _patched(key, difference, live)
    if "fingerprint" in live:
        body["fingerprint"] = live["fingerprint"]
    return Call("PATCH", target, target, f"update {target.label}", body)


def _patched(key: str, difference: Difference, live: JsonObject) -> t.Any:
    if key in ("secondaryIpRanges", "nats"):
        return merged_items(difference.want, live.get(key))
    if key == "routingConfig":
        return {"routingMode": difference.want}
    return difference.want


def with_members(decisions: Sequence[Decision], allowed: Allowed) -> list[Decision]:
    """A network that is replaced takes what is in it along; each of it has to be named as well."""
    replaced = {decision.name for decision in decisions if decision.action == "replace"}
    return [_member(decision, allowed) if _within(decision, replaced) else decision for decision in decisions]


def _within(decision: Decision, replaced: set[str]) -> bool:
    return decision.action in ("none", "update") and link(decision.item.compare.get("network", "")) in replaced


def _member(decision: Decision, allowed: Allowed) -> Decision:
    if decision.live is None or decision.name in allowed.replace:
        return dataclasses.replace(decision, action="replace")
    seen = f"it is in network {link(decision.item.compare['network'])}, which is replaced"
    fix = f"Add {decision.name} to allow_replace too: it is deleted and created anew with its network."
    finding = Finding("GCP_REPLACE_REQUIRED", "error", decision.item.target.label, seen, fix)
    return dataclasses.replace(decision, action="refuse", findings=(*decision.findings, finding))


def profile_target(options: Options) -> Target:
    return Target("compute", _profile_path(options))


def for_node_pool(options: Options) -> list[dict[str, str]]:
    """The additional interfaces of a node pool in their order: the second gVNIC, then the rails from 0 on."""
    if not options.explicit:
        return []
    names = options.names
    rails = [(names["rdma"], f"{names['rdma_subnet']}-{index}") for index in range(options.rdma_subnets)]
    return [
        {"network": network_path(options, network), "subnetwork": subnet_path(options, subnet)}
        for network, subnet in [(names["gvnic"], names["gvnic_subnet"]), *rails]
    ]


# What is there


def scopes(region: str) -> list[tuple[str, str]]:
    """All kinds of objects with where they are listed."""
    regional = f"regions/{region}"
    return [
        ("networks", "global"),
        ("subnetworks", regional),
        ("firewalls", "global"),
        ("routers", regional),
        ("resourcePolicies", regional),
    ]


def described(kind: str, live: JsonObject) -> JsonObject:
    """An object with whose it is."""
    prefix, text = description_mark(""), str(live.get("description", ""))
    owner = text.removeprefix(prefix) if text.startswith(prefix) else ""
    return {"kind": kind, "name": live.get("name", ""), "owner": owner, "resource": live}
