# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether nodes are what the overlay asks for. Private to the collection; it may change at any time."""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils import _node_pools_driver as driver_table
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, Severity
from ansible_collections.llmd.wide_ep.plugins.module_utils._quantity import quantity

Json = t.Mapping[str, t.Any]

GPU = "nvidia.com/gpu"
ZONE = "topology.kubernetes.io/zone"
HOSTNAME = "kubernetes.io/hostname"
SHOWN = 4
#: Where nodes tell the driver's branch or version: GPU feature discovery in two generations, then GKE's own label.
DRIVER_LABELS = (
    "nvidia.com/cuda.driver-version.major",
    "nvidia.com/cuda.driver.major",
    "cloud.google.com/gke-gpu-driver-version",
)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """``strict`` makes absent topology labels an error; ``backend`` and ``cuda`` are the prefill's and the image's."""

    count: int
    shape: Json
    strict: bool = False
    backend: str = ""
    cuda: str = ""
    pool: str = ""


def findings(nodes: t.Sequence[Json], wanted: Wanted) -> list[Finding]:
    return [
        *count_findings(nodes, wanted),
        *resource_findings(nodes, wanted),
        *one_value_findings(nodes),
        *topology_findings(nodes, wanted),
        *driver_findings(nodes, wanted),
    ]


def name(node: Json) -> str:
    return str(node["metadata"]["name"])


def labels(node: Json) -> Json:
    return t.cast(Json, node["metadata"].get("labels") or {})


def shown(names: t.Iterable[str]) -> str:
    """A few names, and how many more there are."""
    listed = sorted(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more


def count_findings(nodes: t.Sequence[Json], wanted: Wanted) -> list[Finding]:
    usable = [node for node in nodes if not node.get("spec", {}).get("unschedulable")]
    if len(usable) >= wanted.count:
        return []
    cordoned = f", {len(nodes) - len(usable)} of them cordoned" if len(nodes) > len(usable) else ""
    seen = f"{len(nodes)} GPU nodes{cordoned}; the deployment needs {wanted.count}"
    fix = "Add nodes to the pool, uncordon them, or set node_pools_selector to labels that all GPU nodes carry."
    return [Finding("NODE_COUNT", "error", wanted.pool or "GPU nodes", seen, fix)]


def asked_of(shape: Json) -> dict[str, str]:
    """Per node: all GPUs, and the RDMA devices under the provider's name for them."""
    return {GPU: str(shape["gpus"]), **shape["rdma_resources"]}


def resource_findings(nodes: t.Sequence[Json], wanted: Wanted) -> list[Finding]:
    """One finding per resource: the nodes of a pool lack the same."""
    lacking: dict[str, list[Json]] = collections.defaultdict(list)
    for node in nodes:
        there = node.get("status", {}).get("allocatable") or {}
        for resource, amount in asked_of(wanted.shape).items():
            if quantity(there.get(resource, "0")) < quantity(amount):
                lacking[resource].append(node)
    grouped: dict[tuple[str, ...], list[str]] = collections.defaultdict(list)
    for resource, found in lacking.items():
        grouped[tuple(name(node) for node in found)].append(resource)
    by_name = {name(node): node for node in nodes}
    return [_resource_finding(resources, [by_name[n] for n in names], wanted) for names, resources in grouped.items()]


def _resource_finding(resources: t.Sequence[str], nodes: t.Sequence[Json], wanted: Wanted) -> Finding:
    there = nodes[0].get("status", {}).get("allocatable") or {}
    devices = {key: value for key, value in sorted(there.items()) if "/" in key}
    seen = (
        f"{shown(name(node) for node in nodes)}: not {', '.join(_amount(r, wanted) for r in resources)}; "
        f"allocatable is {', '.join(f'{key}={value}' for key, value in devices.items()) or 'no device at all'}"
    )
    return Finding("NODE_RESOURCE", "error", ", ".join(resources), seen, _resource_fix(resources, devices))


def _amount(resource: str, wanted: Wanted) -> str:
    return f"{resource}={asked_of(wanted.shape)[resource]}"


def _resource_fix(resources: t.Sequence[str], devices: Json) -> str:
    if GPU in resources:
        return (
            "The device plugin does not announce the GPUs: see that the driver is installed (on GKE, by "
            "node_pools_driver) and that its DaemonSets are ready."
        )
    if any(resource.endswith(".IP") for resource in resources) and any("rdma-" in key for key in devices):
        return (
            "Nodes of a GPU pool with eight RDMA interfaces announce the names that end in .IP: see that the pool was "
            "made with the networks in their order, gVNIC first, and that Networks rdma-0 to rdma-7 are Ready."
        )
    return (
        "Install what announces RDMA devices (multi-networking on GKE, the provider's device plugin elsewhere), or "
        "choose the overlay whose resource names these nodes have."
    )


def one_value_findings(nodes: t.Sequence[Json]) -> list[Finding]:
    """One zone, and one GPU product: rails end at the zone, and ranks that differ wait for the slowest."""
    found = []
    for label, what, fix in (
        (ZONE, "zones", "Use the nodes of one zone: the RDMA fabric does not leave it."),
        ("nvidia.com/gpu.product", "GPU products", "Use nodes of one GPU product, by node_pools_selector."),
    ):
        values = sorted({labels(node)[label] for node in nodes if label in labels(node)})
        if len(values) > 1:
            found.append(Finding("NODE_MIX", "error", label, f"{len(values)} {what}: {', '.join(values)}", fix))
    return found


def topology_findings(nodes: t.Sequence[Json], wanted: Wanted) -> list[Finding]:
    """Only queues that place groups by topology need the labels."""
    severity: Severity = "error" if wanted.strict else "warning"
    found = []
    for level in wanted.shape.get("topology_levels") or ():
        lacking = [name(node) for node in nodes if level not in labels(node)]
        if lacking and level != HOSTNAME:
            fix = (
                "Ask for a compact placement or a dense reservation (spot nodes without one have no such labels), or "
                "do without the component topology_aware."
            )
            found.append(Finding("NODE_TOPOLOGY", severity, level, f"not a label of {shown(lacking)}", fix))
    return found


def driver_of(node: Json) -> str:
    return next((str(labels(node)[label]) for label in DRIVER_LABELS if label in labels(node)), "")


def driver_findings(nodes: t.Sequence[Json], wanted: Wanted) -> list[Finding]:
    """One driver on all nodes, and one that goes with image and backend."""
    drivers: dict[str, list[str]] = collections.defaultdict(list)
    for node in nodes:
        drivers[driver_of(node)].append(name(node))
    found = []
    if len(drivers) > 1:
        seen = "; ".join(f"{driver or 'no label'} on {shown(names)}" for driver, names in sorted(drivers.items()))
        fix = "Recreate the nodes that have the older one: a rollout of the driver is under way or was interrupted."
        found.append(Finding("NODE_MIX", "error", "GPU drivers", seen, fix))
    for driver, names in sorted(drivers.items()):
        if driver and wanted.backend:
            found += driver_table.findings(driver, wanted.cuda, wanted.backend, f"driver of {shown(names)}")
    return found
