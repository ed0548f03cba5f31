# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of nodes: GPUs that are free, healthy and alike, room for the router, caches. Private to the collection."""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils import _operate
from ansible_collections.llmd.wide_ep.plugins.module_utils._capacity import GPU, NOTHING, allocatable, pods, why_not
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._operate import DEPLOYMENT_LABEL, Demand
from ansible_collections.llmd.wide_ep.plugins.module_utils._plan import TIERS
from ansible_collections.llmd.wide_ep.plugins.module_utils._preflight_snapshot import Question, Snapshot
from ansible_collections.llmd.wide_ep.plugins.module_utils._quantity import pod_requests, quantity, written

Json = t.Mapping[str, t.Any]
JsonObject = dict[str, t.Any]

PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
LOCAL_SSD = "cloud.google.com/gke-ephemeral-storage-local-ssd"
SHOWN = 5


def name(node: Json) -> str:
    return str(node["metadata"]["name"])


def gpu_nodes(snapshot: Snapshot, asked: Question) -> list[JsonObject]:
    """Nodes with GPUs on which the model servers may run, whatever else is on them."""
    specs = [pod.spec for pod in pods(asked.plan, asked.objects).values()]
    return [
        node
        for node in snapshot.nodes
        if _gpus(node, "capacity") and any(why_not(node, spec) in (None, "not Ready", "cordoned") for spec in specs)
    ]


def _gpus(node: Json, part: str) -> int:
    return int(quantity(((node.get("status") or {}).get(part) or {}).get(GPU, "0")))


def others(snapshot: Snapshot, asked: Question) -> list[JsonObject]:
    """The pods of everyone else: ours have what they need already."""
    release = asked.plan["release"]
    return [pod for pod in snapshot.pods if (pod["metadata"].get("labels") or {}).get(DEPLOYMENT_LABEL) != release]


def demands(asked: Question) -> list[Demand]:
    tiers = pods(asked.plan, asked.objects)
    return [Demand(pod, tiers[role].spec) for role in TIERS for pod in asked.plan[role]["pods"]]


def gpus_free(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """Whole nodes are needed: GPUs that are free here and there do not add up.

    Health checks of providers (CoreWeave's hourly verification, llm-d PR 788) hold GPUs at a priority below zero and
    yield; anything else has to go first.
    """
    wanted, nodes = demands(asked), snapshot.nodes
    taken = others(snapshot, asked)
    usable = [node for node in nodes if any(why_not(node, demand.spec) is None for demand in wanted)]
    if len(_operate.place(wanted, usable, _operate.free_amounts(usable, []))[0]) < len(wanted):
        # Too few nodes even when all are empty: CAPACITY_NODES tells that.
        return []
    if len(_operate.place(wanted, usable, _operate.free_amounts(usable, taken))[0]) == len(wanted):
        return []
    yielding = _operate.free_amounts(usable, taken, below=0)
    placed, reasons = _operate.place(wanted, usable, yielding)
    holders = _holders(taken, {name(node) for node in usable})
    if len(placed) == len(wanted):
        fix = "They yield to pods of a higher priority: set model_server_priority_class, or wait until they are done."
        seen = f"enough is free only without preemptible pods: {holders}"
        return [Finding("GPUS_TAKEN", "warning", "GPUs", seen, fix)]
    why = "; ".join(f"{count} nodes {text}" for text, count in reasons.most_common(3))
    seen = f"{len(placed)} of {len(wanted)} pods find room ({why}); held by {holders}"
    fix = "Remove what holds them, add nodes, or make the deployment smaller (wide_ep_*_groups, _hosts_per_group)."
    return [Finding("GPUS_TAKEN", "warning" if asked.may_grow else "error", "GPUs", seen, fix)]


def _holders(taken: t.Iterable[Json], nodes: t.Collection[str]) -> str:
    found = [
        f"{pod['metadata'].get('namespace')}/{pod['metadata']['name']} ({int(pod_requests(pod['spec'])[GPU])} on "
        f"{pod['spec']['nodeName']}, priority {int(pod['spec'].get('priority') or 0)})"
        for pod in taken
        if pod["spec"].get("nodeName") in nodes and pod_requests(pod["spec"]).get(GPU, NOTHING)
    ]
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more if found else "other resources than GPUs"


def gpus_healthy(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """A device plugin takes a broken GPU out of what is allocatable."""
    found = []
    for node in gpu_nodes(snapshot, asked):
        there, has = _gpus(node, "allocatable"), _gpus(node, "capacity")
        if there < has:
            fix = (
                "Drain the node (playbooks/drain_node.yml) and have it repaired; nvidia-smi and dmesg tell Xid errors."
            )
            seen = f"{there} of {has} GPUs are allocatable"
            found.append(Finding("GPU_UNHEALTHY", "warning", f"Node {name(node)}", seen, fix))
    return found


def pressure(snapshot: Snapshot, asked: Question) -> list[Finding]:
    found = []
    for node in gpu_nodes(snapshot, asked):
        conditions = (node.get("status") or {}).get("conditions") or ()
        bad = [entry for entry in conditions if entry["type"] in PRESSURES and entry["status"] == "True"]
        if bad:
            seen = ", ".join(f"{entry['type']}: {entry.get('message', '')}" for entry in bad)
            fix = "Free it (on disks: old images and model caches), or drain the node: playbooks/drain_node.yml."
            found.append(Finding("NODE_PRESSURE", "error", f"Node {name(node)}", seen, fix))
    return found


def cpu_room(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """The router, and where it runs the benchmark's client, need a node without the taint of the GPU nodes."""
    found = []
    taken = others(snapshot, asked)
    plain = [node for node in snapshot.nodes if why_not(node, {}) is None]
    free = _operate.free_amounts(plain, taken)
    for subject, requests in (("router", asked.router_requests), ("benchmark client", asked.harness_requests)):
        if not requests:
            continue
        spec = {"containers": [{"name": subject, "resources": {"requests": asks}} for asks in requests]}
        placed, reasons = _operate.place([Demand(subject, spec)], plain, free)
        if placed:
            continue
        total = ", ".join(f"{written(key, value)} {key}" for key, value in pod_requests(spec).items())
        why = "; ".join(f"{count} {text}" for text, count in reasons.most_common(3)) or "there is no such node"
        fix = "Add a CPU node (for router and benchmark together 32 vCPU), or lower router_epp_resources and "
        fix += "router_proxy_resources, or tolerate the GPU nodes' taint with router_tolerations."
        seen = f"{total} on a node without taints; of {len(plain)} such nodes: {why}"
        found.append(Finding("CPU_NODE_MISSING", "error", subject, seen, fix))
    return found


def host_caches(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """GKE's path for the cache is on the boot disk unless local SSDs back the ephemeral storage."""
    if asked.plan["overlay"] not in ("gke", "gke_a4") or asked.rehearsal:
        return []
    caches = [pod.cache.get("hostPath", {}).get("path", "") for pod in pods(asked.plan, asked.objects).values()]
    if not any("kube-ephemeral-ssd" in path for path in caches):
        return []
    lacking = [name(node) for node in gpu_nodes(snapshot, asked) if LOCAL_SSD not in _labels(node)]
    if not lacking:
        return []
    seen = f"{', '.join(sorted(lacking)[:SHOWN])} lack the label {LOCAL_SSD}=true; the cache would fill the boot disk"
    fix = "Make the pool with local SSD as ephemeral storage (node_pools does), or set model_server_hf_cache elsewhere."
    return [Finding("HOST_CACHE", "error", "model cache of the nodes", seen, fix)]


def disk(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """The weights are 0.69 TB; what the kubelet calls allocatable is the disk behind the caches in most clusters."""
    if asked.rehearsal:
        return []
    small: collections.Counter[str] = collections.Counter()
    for node in gpu_nodes(snapshot, asked):
        there = allocatable(node).get("ephemeral-storage", NOTHING)
        if 0 < there < quantity("800G"):
            small[written("ephemeral-storage", there)] += 1
    if not small:
        return []
    seen = ", ".join(f"{count} nodes with {size}" for size, count in small.items())
    fix = (
        "Use nodes with 1 TB or more for images and weights, or put the cache on another disk (model_server_hf_cache)."
    )
    return [Finding("HOST_CACHE", "warning", "disks of the GPU nodes", seen, fix)]


def warden(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """GKE's admission asks for both names of an RDMA network; nodes with H200 have one (llm-d PR 1738)."""
    if asked.plan["overlay"] not in ("gke", "gke_a4"):
        return []
    prefix = "networking.gke.io.networks/rdma-"
    zeroed = {
        role: [
            key
            for container in pod.spec["containers"]
            for key, value in ((container.get("resources") or {}).get("limits") or {}).items()
            if key.startswith(prefix) and not key.endswith(".IP") and quantity(value) == 0
        ]
        for role, pod in pods(asked.plan, asked.objects).items()
    }
    plain = [
        name(node)
        for node in gpu_nodes(snapshot, asked)
        if any(key.startswith(prefix) and key.endswith(".IP") for key in allocatable(node))
        and not any(key.startswith(prefix) and not key.endswith(".IP") for key in allocatable(node))
    ]
    bare = [role for role, keys in zeroed.items() if len(keys) < len(asked.shape["rdma_resources"])]
    if not plain or not bare:
        return []
    seen = f"{', '.join(bare)} would be given {prefix}N, of which {len(plain)} nodes have none: pods stay Pending"
    fix = "Leave the zeros of the overlay in place: model_server_resources or model_server_layer takes them out."
    return [Finding("RDMA_MISSING", "error", "RDMA resource names", seen, fix)]


def _labels(node: Json) -> Json:
    return t.cast(Json, node["metadata"].get("labels") or {})
