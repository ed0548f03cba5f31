# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cloud objects that controllers inside a GKE cluster make, and that outlive it. Private to the collection.

Load balancers and disks belong to Services, Gateways and claims. Deleting the cluster first leaves them without the
controller that would remove them, and their networks cannot be deleted.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Iterable, Mapping

JsonObject = dict[str, t.Any]

#: Kind -> what makes it, for the message about one that is left.
MAKERS = {
    "forwardingRules": "a Service of type LoadBalancer, or a Gateway",
    "networkEndpointGroups": "a Service with NEGs, or a Gateway",
    "healthChecks": "a Service of type LoadBalancer, or a Gateway",
    "firewalls": "the cluster, a Service of type LoadBalancer, or a Gateway",
    "addresses": "a Service of type LoadBalancer, or a Gateway",
    "disks": "a PersistentVolumeClaim",
}
#: Compute answers these by scope; firewalls are global.
AGGREGATED = ("forwardingRules", "networkEndpointGroups", "healthChecks", "addresses", "disks")
#: The label that GKE gives to what it makes for a cluster.
CLUSTER_LABEL = "goog-k8s-cluster-name"
#: Firewalls of the cluster itself go with it: gke-<cluster>-<hash>-all, -vms, -master ...
CLUSTER_FIREWALL = re.compile(r"gke-(?P<cluster>.+)-[0-9a-f]{8}-[a-z-]+")
#: Health checks name no network; these are the names of GKE's controllers.
CONTROLLER_NAME = re.compile(r"(k8s|gkegw|gkemcg)[-0-9a-z]*")


@dataclasses.dataclass(frozen=True)
class Leftover:
    kind: str
    name: str
    scope: str
    reason: str
    with_cluster: bool = False

    def as_dict(self) -> JsonObject:
        return dataclasses.asdict(self)


def base(link: t.Any) -> str:
    return str(link or "").rpartition("/")[2]


def flattened(kind: str, pages: Iterable[tuple[str, Mapping[str, t.Any]]]) -> list[JsonObject]:
    """An aggregated list's objects, each with its scope."""
    return [{**body, "scope": scope} for scope, content in pages for body in content.get(kind) or []]


def ours(kind: str, body: Mapping[str, t.Any], network: str, cluster: str) -> bool:
    """By the network that is ours, by GKE's label, or by what a controller wrote into the description."""
    if body.get("network") and base(body["network"]) == network:
        return True
    if (body.get("labels") or {}).get(CLUSTER_LABEL) == cluster:
        return True
    described = str(body.get("description") or "")
    named = CONTROLLER_NAME.match(str(body.get("name", ""))) or kind == "disks"
    return bool(named) and re.search(rf"\b{re.escape(cluster)}\b", described) is not None


def leftovers(
    found: Mapping[str, Iterable[Mapping[str, t.Any]]], network: str, cluster: str, own: Iterable[str] = ()
) -> list[Leftover]:
    """What is left of a cluster's controllers. ``own`` are names that this collection keeps itself."""
    kept = set(own)
    result = []
    for kind, bodies in found.items():
        for body in bodies:
            name = str(body.get("name", ""))
            if name in kept or not ours(kind, body, network, cluster):
                continue
            result.append(
                Leftover(kind, name, str(body.get("scope", "global")), reason(kind, body), goes(kind, body, cluster))
            )
    return sorted(result, key=lambda item: (item.kind, item.scope, item.name))


def goes(kind: str, body: Mapping[str, t.Any], cluster: str) -> bool:
    """Whether it is the cluster's own and is deleted with it."""
    match = CLUSTER_FIREWALL.fullmatch(str(body.get("name", "")))
    return kind == "firewalls" and match is not None and match["cluster"] == cluster


def reason(kind: str, body: Mapping[str, t.Any]) -> str:
    """Who made it, as far as its description says so."""
    described = str(body.get("description") or "")
    found = re.search(
        r'"(?:kubernetes\.io/service-name|service-name|kubernetes\.io/created-for/pvc/name)":\s*"([^"]+)"', described
    )
    maker = f"made for {found[1]}" if found else f"made by {MAKERS[kind]}"
    users = [base(user) for user in body.get("users") or []]
    return f"{maker}; in use by {', '.join(users)}" if users else maker
