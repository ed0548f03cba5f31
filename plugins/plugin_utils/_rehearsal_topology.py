# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every name and address of a rehearsal cluster. Private to the collection; it may change at any time."""

from __future__ import annotations

import ipaddress
import re
import typing as t

#: Ranges inside the sandbox. They are the same in every cluster, since nothing outside can reach or see them.
NODE_RANGE = "10.200.0.0/24"
POD_RANGE = "10.244.0.0/16"
SERVICE_RANGE = "10.96.0.0/16"
RAIL_RANGE = "10.202.0.0/16"
DNS_ADDRESS = "10.96.0.10"
API_SERVICE_ADDRESS = "10.96.0.1"

FIRST_NODE_HOST = 10
#: Descriptors of PID 1 that hold the nodes' mount namespaces.
FIRST_DESCRIPTOR = 2000
FABRICS = ("full_mesh", "rail_only")
FAULTS = ("drop", "down", "mtu")
ENDPOINT = re.compile(r"^(?P<node>[a-z0-9-]+)/rail(?P<rail>\d+)$")


class TopologyError(ValueError):
    """An input that no cluster can be made of."""


def _hosts(network: str, index: int) -> str:
    return str(ipaddress.ip_network(network)[index])


def _subnet(network: str, prefix: int, index: int) -> str:
    parent = ipaddress.ip_network(network)
    base = int(parent.network_address) + (index << (32 - prefix))
    return f"{ipaddress.ip_address(base)}/{prefix}"


def fill(value: t.Any, words: t.Mapping[str, t.Any]) -> t.Any:
    """Replace ``{index}``, ``{block}``, ``{position}`` and ``{name}`` in the strings of a profile."""
    if isinstance(value, str):
        return value.format(**words)
    if isinstance(value, dict):
        return {fill(key, words): fill(item, words) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, words) for item in value]
    return value


def rails(node_host: int, count: int) -> list[dict[str, t.Any]]:
    """One subnet per rail, as the networks of GPU clouds have it; a node has the same host part on each."""
    result = []
    for index in range(count):
        subnet = _subnet(RAIL_RANGE, 24, index)
        address = _hosts(subnet, node_host)
        result.append({"name": f"rail{index}", "index": index, "subnet": subnet, "address": address,
                       "gateway": _hosts(subnet, 1), "table": 100 + index})  # fmt: skip
    return result


def node(name: str, kind: str, position: int, index: int, profile: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    words = {"name": name, "index": index, "position": position, "block": index // profile["nodes_per_block"]}
    part = profile[f"{kind}_node"]
    node_name = f"{name}-{kind}-{index}"
    return {
        "name": node_name,
        "kind": kind,
        "position": position,
        "address": _hosts(NODE_RANGE, FIRST_NODE_HOST + position),
        "pods": _subnet(POD_RANGE, 24, position),
        "mounts": FIRST_DESCRIPTOR + position,
        "cgroup": f"/llmd-wide-ep-{name}/{node_name}",
        "rails": rails(FIRST_NODE_HOST + position, part["rails"]),
        "labels": fill(dict(part["labels"]), words),
        "taints": fill(list(part["taints"]), words),
        "resources": {key: str(value) for key, value in fill(dict(part["resources"]), words).items()},
    }


def check_faults(faults: t.Sequence[t.Mapping[str, t.Any]], nodes: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    """Every fault names a known kind and rails that exist."""
    known = {f"{item['name']}/{rail['name']}" for item in nodes for rail in item["rails"]}
    for fault in faults:
        kind = fault.get("type")
        if kind not in FAULTS:
            raise TopologyError(f"fabric fault {dict(fault)!r}: type is {kind!r}, expected one of {', '.join(FAULTS)}")
        ends = [fault.get("source")] + ([fault.get("target")] if kind == "drop" else [])
        for end in ends:
            if end not in known:
                raise TopologyError(
                    f"fabric fault {dict(fault)!r}: {end!r} is no rail, {min(known, default='none')!r} is"
                )
        if kind == "mtu" and not 68 <= int(fault.get("mtu", 0)) <= 65535:
            raise TopologyError(f"fabric fault {dict(fault)!r}: mtu must be between 68 and 65535")


def drops(faults: t.Sequence[t.Mapping[str, t.Any]], nodes: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, str]]:
    """The one-way drops as address pairs."""
    address = {f"{item['name']}/{rail['name']}": rail["address"] for item in nodes for rail in item["rails"]}
    return [{"source": address[fault["source"]], "target": address[fault["target"]]}
            for fault in faults if fault["type"] == "drop"]  # fmt: skip


def topology(
    name: str,
    subnet: str,
    profile: t.Mapping[str, t.Any],
    *,
    gpu_nodes: int = 4,
    fabric: str = "full_mesh",
    faults: t.Sequence[t.Mapping[str, t.Any]] = (),
) -> dict[str, t.Any]:
    """The whole cluster as plain data, from which every configuration file is rendered."""
    if fabric not in FABRICS:
        raise TopologyError(f"fabric is {fabric!r}, expected one of {', '.join(FABRICS)}")
    link = ipaddress.ip_network(subnet)
    if link.prefixlen != 30:
        raise TopologyError(f"subnet is {subnet!r}, expected a /30: one address for the host, one for the cluster")
    nodes = [node(name, "cpu", 0, 0, profile)]
    nodes += [node(name, "gpu", index + 1, index, profile) for index in range(gpu_nodes)]
    check_faults(faults, nodes)
    return {
        "name": name,
        "address": str(link[2]),
        "host_address": str(link[1]),
        "prefix": link.prefixlen,
        "host_interface": f"lwe-{name}",
        "gateway": _hosts(NODE_RANGE, 1),
        "dns": DNS_ADDRESS,
        "api_service": API_SERVICE_ADDRESS,
        "ranges": {"nodes": NODE_RANGE, "pods": POD_RANGE, "services": SERVICE_RANGE, "rails": RAIL_RANGE},
        "fabric": {
            "mode": fabric,
            "mtu": profile["rail_mtu"],
            "rails": [{"name": rail["name"], "gateway": rail["gateway"], "subnet": rail["subnet"]}
                      for rail in rails(FIRST_NODE_HOST, profile["gpu_node"]["rails"])],
            "drops": drops(faults, nodes),
            "ports": [dict(fault) for fault in faults if fault["type"] != "drop"],
        },
        "nodes": nodes,
    }  # fmt: skip


#: Kinds of bootstrap objects -> path below the API's root, for objects with and without a namespace.
COLLECTIONS = {
    "CustomResourceDefinition": "apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "ClusterRole": "apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "EndpointSlice": "apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
    "Service": "api/v1/namespaces/{namespace}/services",
}


def object_path(item: t.Mapping[str, t.Any]) -> str:
    kind, metadata = item["kind"], item["metadata"]
    if kind not in COLLECTIONS:
        raise TopologyError(f"bootstrap object {metadata['name']}: kind {kind!r} is none of {', '.join(COLLECTIONS)}")
    return f"/{COLLECTIONS[kind].format(namespace=metadata.get('namespace'))}/{metadata['name']}"


def dns_objects(cluster: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """A Service without selector, since CoreDNS is no pod here."""
    head = {"name": "kube-dns", "namespace": "kube-system", "labels": {"kubernetes.io/name": "CoreDNS"}}
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    labels = {"kubernetes.io/service-name": "kube-dns", "endpointslice.kubernetes.io/managed-by": "rehearsal-steward"}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": head,
         "spec": {"clusterIP": cluster["dns"], "ports": ports}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
         "metadata": {**head, "name": "kube-dns-rehearsal", "labels": labels},
         "endpoints": [{"addresses": [cluster["gateway"]], "conditions": {"ready": True}}], "ports": ports},
    ]  # fmt: skip


#: What the provider's parts leave in the API, and no pod could be made with once they do not run.
WARDEN = (
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/"
    "warden-mutating.config.common-webhooks.networking.gke.io"
)
#: The labels that name the pool of a node, and say how it was made. With the provider's parts its pool gives them.
POOL_LABELS = ("cloud.google.com/gke-nodepool", "compute.coreweave.com/node-pool")
POOL_CHOICES = ("cloud.google.com/gke-gpu-driver-version",)


def provider_config(cluster: dict[str, t.Any], profile: str) -> dict[str, t.Any]:
    """Which node stands for which pool, taken out of the labels that are kept on the nodes."""
    nodes = []
    for item in cluster["nodes"]:
        names = [item["labels"].pop(label) for label in POOL_LABELS if label in item["labels"]]
        for label in POOL_CHOICES:
            item["labels"].pop(label, None)
        nodes.append({"name": item["name"], "kind": item["kind"], "pool": names[0]})
    return {"profile": "gke" if profile.startswith("gke") else profile, "nodes": nodes}


def desired(
    cluster: t.Mapping[str, t.Any], objects: t.Iterable[t.Mapping[str, t.Any]], absent: t.Sequence[str] = ()
) -> dict[str, t.Any]:
    """What the steward keeps true in the API."""
    keys = ("labels", "taints", "resources", "pods")
    return {
        "objects": [{"path": object_path(item), "object": item} for item in [*objects, *dns_objects(cluster)]],
        "absent": list(absent),
        "nodes": {item["name"]: {key: item[key] for key in keys} for item in cluster["nodes"]},
    }
