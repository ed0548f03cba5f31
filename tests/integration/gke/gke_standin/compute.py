# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute Engine: networks and what is in them, policies, reservations, what zones offer, sizes of instance groups."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from .cloud import COMPUTE_BASE, CREATED, Cloud, Json, Operation, Refused

# RFC 1035, as the description of every `name` in the document has it, at most 63 characters.
NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
KINDS = {
    "networks": "network",
    "subnetworks": "subnetwork",
    "firewalls": "firewall",
    "routers": "router",
    "resourcePolicies": "resourcePolicy",
}
# DISC, descriptions of the patch methods and of their fields; the rest is create-only.
PATCHABLE = {
    "networks": {"routingConfig"},
    "subnetworks": {"fingerprint", "secondaryIpRanges", "role", "stackType", "privateIpv6GoogleAccess"},
    "firewalls": {"allowed", "denied", "description", "disabled", "priority", "sourceRanges", "logConfig"},
    "routers": {"nats", "bgp", "description"},
}


class Compute:
    """The methods, by their id without the service's name."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def handle(self, name: str, path: str, query: dict[str, str], body: Json | None) -> Json:
        resource, _dot, verb = name.partition(".")
        if "Operations" in resource:
            return self.operations(verb, path, query)
        if resource == "instanceGroupManagers":
            return self.group(path)
        if resource in ("machineTypes", "acceleratorTypes"):
            return self.offers(resource, verb, path)
        if resource == "reservationBlocks":
            return self.blocks(verb, path)
        if verb == "aggregatedList":
            return self.everywhere(resource)
        handler: t.Callable[..., Json] = getattr(self, verb)
        return handler(resource, path, query, body)

    def account(self, resource: str, path: str) -> Json:
        """A project, or a region of it, with its quotas (DISC: Project.quotas, Region.quotas)."""
        if path.split("/")[1] != self.cloud.project:
            raise Refused(404, f"The resource '{path}' was not found", reason="notFound")
        given = self.cloud.quotas.get("" if resource == "projects" else path.rpartition("/")[2], {})
        quotas = [{"metric": metric, "limit": limit, "usage": used} for metric, (limit, used) in given.items()]
        return {"kind": f"compute#{resource[:-1]}", "name": path.rpartition("/")[2], "quotas": quotas}

    # Objects

    def get(self, resource: str, path: str, _query: dict[str, str], _body: None) -> Json:
        if resource in ("projects", "regions"):
            return self.account(resource, path)
        found = self.cloud.find(path)
        if resource == "networks":
            mine = [p for p in self.cloud.objects if "/subnetworks/" in p and self.network_of(p) == path]
            return {**found, "subnetworks": [COMPUTE_BASE + p for p in sorted(mine)]} if mine else found
        return found

    def list(self, resource: str, path: str, _query: dict[str, str], _body: None) -> Json:
        items = [self.cloud.objects[p] for p in self.cloud.under(f"{path}/") if "/" not in p[len(path) + 1 :]]
        return {"kind": f"compute#{resource}List", "items": items} if items else {"kind": f"compute#{resource}List"}

    def insert(self, resource: str, parent: str, query: dict[str, str], body: Json) -> Json:
        name = body.get("name", "")
        if not NAME.fullmatch(name):
            raise Refused(400, f"Invalid value for field 'resource.name': '{name}'.", reason="invalid")
        path = f"{parent}/{name}"
        repeated = self.cloud.repeated(query.get("requestId", ""), path, "insert")
        if repeated:
            return self.shown(repeated)
        if path in self.cloud.objects:
            raise Refused(409, f"The resource '{path}' already exists", reason="alreadyExists")
        filled = getattr(self, f"check_{resource}")(path, dict(body))
        filled |= {
            "kind": f"compute#{KINDS[resource]}",
            "id": str(4_000_000 + len(self.cloud.created)),
            "creationTimestamp": CREATED,
            "selfLink": COMPUTE_BASE + path,
        }
        self.cloud.store(path, filled)
        shown = self.begin("insert", path, query, lambda: self.cloud.ready.add(path))
        self.cloud.operations[shown["name"]].fail = lambda: self.cloud.drop(path)
        return shown

    def patch(self, resource: str, path: str, query: dict[str, str], body: Json) -> Json:
        have = self.cloud.find(path)
        if resource == "subnetworks" and body.get("fingerprint") != have["fingerprint"]:
            # DISC, Subnetwork.fingerprint: must be up to date, otherwise 412 conditionNotMet.
            raise Refused(412, "Invalid fingerprint.", reason="conditionNotMet")
        for key, value in body.items():
            if key not in PATCHABLE[resource] and have.get(key) != value:
                raise Refused(400, f"Field '{key}' cannot be changed after creation.", reason="invalid")

        def finish() -> None:
            have.update({key: value for key, value in body.items() if key != "fingerprint"})
            if "fingerprint" in have:
                have["fingerprint"] = self.cloud.fingerprint({**have, "fingerprint": ""})

        return self.begin("patch", path, query, finish)

    def setPrivateIpGoogleAccess(  # noqa: N802
        self, _resource: str, path: str, query: dict[str, str], body: Json
    ) -> Json:
        """DISC, Subnetwork.privateIpGoogleAccess: updated by this method."""
        path = path.removesuffix("/setPrivateIpGoogleAccess")
        have = self.cloud.find(path)
        return self.begin("setPrivateIpGoogleAccess", path, query, lambda: have.update(body))

    def delete(self, _resource: str, path: str, query: dict[str, str], _body: None) -> Json:
        repeated = self.cloud.repeated(query.get("requestId", ""), path, "delete")
        if repeated:
            return self.shown(repeated)
        self.cloud.find(path)
        users = self.users(path)
        if users:
            raise Refused(
                400,
                f"The resource '{path}' is already being used by '{users[0]}'",
                reason="resourceInUseByAnotherResource",
            )
        return self.begin("delete", path, query, lambda: self.cloud.drop(path))

    # Operations

    def begin(self, kind: str, path: str, query: dict[str, str], finish: t.Callable[[], None]) -> Json:
        busy = self.cloud.open_on(path)
        if busy:
            # Compute's answer to a change of what is being changed.
            raise Refused(400, f"The resource '{path}' is not ready", reason="resourceNotReady")
        scope = re.sub(r"/[^/]+/[^/]+$", "", path)
        return self.shown(self.cloud.start(scope, kind, path, finish, query.get("requestId", "")))

    def shown(self, operation: Operation) -> Json:
        body: Json = {
            "kind": "compute#operation",
            "name": operation.name,
            "operationType": operation.kind,
            "status": operation.status,
            "progress": {"PENDING": 0, "RUNNING": 50, "DONE": 100}[operation.status],
            "targetLink": COMPUTE_BASE + operation.target,
            "selfLink": COMPUTE_BASE + operation.path,
        }
        if operation.error and not operation.open:
            body["error"] = {"errors": [{"code": operation.error["code"], "message": operation.error["message"]}]}
            body["httpErrorStatusCode"] = 400
        return body

    def operations(self, verb: str, path: str, query: dict[str, str]) -> Json:
        if verb == "list":
            scope = path.removesuffix("/operations")
            chosen = [o for o in self.cloud.operations.values() if o.scope == scope]
            if query.get("filter") in ("status!=DONE", "status != DONE"):
                chosen = [o for o in chosen if o.open]
            return {"kind": "compute#operationList", "items": [self.shown(o) for o in chosen]}
        operation = self.cloud.operation(path)
        self.cloud.look(operation)
        return self.shown(operation)

    # Rules of creation

    def check_networks(self, _path: str, body: Json) -> Json:
        body.setdefault("autoCreateSubnetworks", True)
        body.setdefault("mtu", 8896 if "networkProfile" in body else 1460)
        body.setdefault("routingConfig", {"routingMode": "REGIONAL"})
        link = body.get("networkProfile")
        if link:
            profile = self.cloud.path_of(link, f"projects/{self.cloud.project}/global/networkProfiles")
            if profile not in self.cloud.objects:
                raise Refused(400, f"Invalid value for field 'resource.networkProfile': '{link}'.", reason="invalid")
            if body["autoCreateSubnetworks"]:
                raise Refused(400, "A network with this profile must be in custom mode.", reason="invalid")
            body["networkProfile"] = COMPUTE_BASE + profile
        return body

    def check_subnetworks(self, path: str, body: Json) -> Json:
        network = self.network(body)
        if self.cloud.objects[network]["autoCreateSubnetworks"]:
            raise Refused(400, "Subnetworks can only be added to a network in custom mode.", reason="invalid")
        profile = self.cloud.profile_of(network)
        if profile.get("allowAliasIpRanges", "").endswith("BLOCKED") and body.get("secondaryIpRanges"):
            raise Refused(400, "The network profile does not allow secondary ranges.", reason="invalid")
        mine = ranges(body)
        for other in self.cloud.under("projects/"):
            if "/subnetworks/" in other and self.network_of(other) == network:
                for taken in ranges(self.cloud.objects[other]):
                    if any(taken.overlaps(new) for new in mine):
                        # DISC, Subnetwork.ipCidrRange: unique and non-overlapping within a network.
                        message = f"Invalid IPCidrRange: {body['ipCidrRange']} conflicts with {other}"
                        raise Refused(400, message, reason="invalid")
        body["network"] = COMPUTE_BASE + network
        body["region"] = COMPUTE_BASE + path.partition("/subnetworks/")[0]
        body.setdefault("purpose", "PRIVATE")
        body.setdefault("stackType", "IPV4_ONLY")
        body["fingerprint"] = self.cloud.fingerprint(body)
        return body

    def check_firewalls(self, _path: str, body: Json) -> Json:
        network = self.network(body)
        if self.cloud.profile_of(network).get("allowVpcFirewallRules", "").endswith("BLOCKED"):
            # DOC rdma-network-profiles: no VPC firewall rules, only a policy of type RDMA_ROCE_POLICY.
            raise Refused(400, "The network profile does not allow firewall rules.", reason="invalid")
        body["network"] = COMPUTE_BASE + network
        body.setdefault("direction", "INGRESS")
        body.setdefault("priority", 1000)
        return body

    def check_routers(self, path: str, body: Json) -> Json:
        network = self.network(body)
        if self.cloud.profile_of(network).get("allowCloudRouter", "").endswith("BLOCKED"):
            raise Refused(400, "The network profile does not allow Cloud Router.", reason="invalid")
        body["network"] = COMPUTE_BASE + network
        body["region"] = COMPUTE_BASE + path.partition("/routers/")[0]
        for nat in body.get("nats", []):
            nat.setdefault("type", "PUBLIC")
            nat.setdefault("endpointTypes", ["ENDPOINT_TYPE_VM"])
        return body

    def check_resourcePolicies(self, path: str, body: Json) -> Json:  # noqa: N802
        kinds = [key for key in body if key.endswith("Policy")]
        if len(kinds) != 1:
            raise Refused(400, "Exactly one policy must be set.", reason="invalid")
        return {**body, "region": COMPUTE_BASE + path.partition("/resourcePolicies/")[0], "status": "READY"}

    # References

    def network(self, body: Json) -> str:
        path = self.cloud.path_of(body.get("network", ""), f"projects/{self.cloud.project}/global/networks")
        self.cloud.find(path)
        if path not in self.cloud.ready:
            raise Refused(400, f"The resource '{path}' is not ready", reason="resourceNotReady")
        return path

    def network_of(self, path: str) -> str:
        link = self.cloud.objects[path].get("network", "")
        return self.cloud.path_of(link, f"projects/{self.cloud.project}/global/networks")

    def users(self, path: str) -> list[str]:
        """What refers to an object and so keeps it from being deleted."""
        return sorted(other for other in self.cloud.objects if path in set(self.references(other)))

    def references(self, path: str) -> t.Iterator[str]:
        body = self.cloud.objects[path]
        project = f"projects/{self.cloud.project}"
        pairs = [body, *body.get("networkConfig", {}).get("additionalNodeNetworkConfigs", [])]
        for pair in pairs:
            if "network" in pair:
                yield self.cloud.path_of(pair["network"], f"{project}/global/networks")
            if "subnetwork" in pair:
                yield self.cloud.path_of(pair["subnetwork"], f"{project}/regions/{region_of(path)}/subnetworks")
        policy = body.get("placementPolicy", {}).get("policyName")
        if policy:
            yield self.cloud.path_of(policy, f"{project}/regions/{region_of(path)}/resourcePolicies")

    def everywhere(self, resource: str) -> Json:
        """The objects of a kind by their scope: `global`, `regions/R` or `zones/Z`."""
        items: Json = {}
        for path, body in sorted(self.cloud.objects.items()):
            scope, kind = re.sub(r"^projects/[^/]+/|/[^/]+$", "", path).rpartition("/")[::2]
            if kind == resource:
                items.setdefault(scope, {resource: []})[resource].append(body)
        return {"kind": f"compute#{resource.removesuffix('s')}AggregatedList", "items": items}

    # What zones offer

    def offers(self, resource: str, verb: str, path: str) -> Json:
        attribute = "machine_types" if resource == "machineTypes" else "accelerator_types"
        if verb == "aggregatedList":
            items: Json = {}
            for zone, offered in self.cloud.zones.items():
                items[f"zones/{zone}"] = {"machineTypes": [{"name": name} for name in offered.machine_types]}
            return {"kind": "compute#machineTypeAggregatedList", "items": items}
        zone, name = re.findall(r"/zones/([^/]+)/\w+/([^/]+)$", path)[0]
        if zone not in self.cloud.zones or name not in getattr(self.cloud.zones[zone], attribute):
            raise Refused(404, f"The resource '{path}' was not found", reason="notFound")
        return {"name": name, "zone": zone, "selfLink": COMPUTE_BASE + path}

    def blocks(self, verb: str, path: str) -> Json:
        if verb == "get":
            found = self.cloud.find(path)
            return {"resource": found}
        self.cloud.find(path.removesuffix("/reservationBlocks"))
        return {"items": [self.cloud.objects[p] for p in self.cloud.under(f"{path}/")]}

    def group(self, path: str) -> Json:
        """A node pool's nodes in one zone. The size is there at once, the nodes are not."""
        found = self.cloud.find(path)
        return {"name": found["name"], "targetSize": found["targetSize"], "selfLink": COMPUTE_BASE + path}


def ranges(body: Json) -> list[ipaddress.IPv4Network]:
    texts = [body["ipCidrRange"], *(item["ipCidrRange"] for item in body.get("secondaryIpRanges", []))]
    try:
        return [ipaddress.IPv4Network(text) for text in texts]
    except ValueError as error:
        raise Refused(400, f"Invalid value for field 'resource.ipCidrRange': {error}", reason="invalid") from error


def region_of(path: str) -> str:
    """The region of an object, whose location may be a zone."""
    location = re.findall(r"/(?:locations|zones|regions)/([^/]+)", path)
    return re.sub(r"-[a-z]$", "", location[0]) if location else ""
