# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes there are: those of the node pools, as far as the cluster has nodes to give.

A pool is ``{name, kind, count, labels, taints}``. On GKE the pools are in the cloud's API, which tells them by a
ConfigMap; on CoreWeave they are NodePool objects of the cluster.
"""

from __future__ import annotations

import typing as t

#: The provider's label with the name of a node's pool.
LABELS = {"gke": "cloud.google.com/gke-nodepool", "coreweave": "compute.coreweave.com/node-pool"}
#: Instance types by their family, as far as the nodes here can stand for them.
CPU_FAMILIES = ("cd-", "cr-")
GPU_FAMILIES = ("gd-", "b200-", "gb200-", "gb300-")

Data = dict[str, t.Any]


class Member(t.NamedTuple):
    """A node's place in a pool."""

    pool: str
    labels: t.Mapping[str, str]
    taints: t.Sequence[t.Mapping[str, str]]


def assign(nodes: t.Sequence[Data], pools: t.Sequence[Data], current: t.Mapping[str, str]) -> dict[str, Member]:
    """Node -> pool. A node stays in its pool; a pool that shrinks gives up the last nodes that are not busy."""
    result: dict[str, Member] = {}
    for pool in pools:
        mine = [node["name"] for node in nodes if node["kind"] == pool["kind"]]
        kept = [name for name in mine if current.get(name) == pool["name"] and name not in result]
        free = [name for name in mine if name not in kept and name not in result]
        free = [name for name in free if current.get(name) not in {other["name"] for other in pools}]
        chosen = [*sorted(kept, key=pool.get("busy", ()).__contains__, reverse=True), *free][: pool["count"]]
        if not pool.get("interrupt", True):
            chosen += [name for name in kept if name in pool.get("busy", ()) and name not in chosen]
        member = Member(pool["name"], pool.get("labels", {}), pool.get("taints", ()))
        result.update(dict.fromkeys(chosen, member))
    return result


def kind_of(instance_type: str) -> str:
    """cpu, gpu, or empty for what does not exist."""
    if instance_type.startswith(CPU_FAMILIES):
        return "cpu"
    return "gpu" if instance_type.startswith(GPU_FAMILIES) else ""


def pool_of(item: Data, busy: t.Collection[str]) -> Data | None:
    """A CoreWeave NodePool as a pool; None where it was not validated."""
    spec = item["spec"]
    kind = kind_of(spec["instanceType"])
    if not kind:
        return None
    leaving = "deletionTimestamp" in item["metadata"]
    strategy = spec.get("lifecycle", {}).get("scaleDownStrategy", "IdleOnly")
    return {
        "name": item["metadata"]["name"],
        "kind": kind,
        "count": 0 if leaving else spec.get("targetNodes", 0),
        "labels": spec.get("nodeLabels", {}),
        "taints": spec.get("nodeTaints", []),
        "busy": sorted(busy),
        "interrupt": strategy == "PreferIdle",
    }


def verdicts(item: Data, given: int, ready: int) -> dict[str, tuple[bool, str, str]]:
    """The conditions of a NodePool that has ``given`` nodes, of which ``ready`` are ready."""
    spec = item["spec"]
    target = spec.get("targetNodes", 0)
    if not kind_of(spec["instanceType"]):
        message = f"instance type {spec['instanceType']!r} is not available in this zone"
        return {"Validated": (False, "Invalid", message)}
    short, reached = target > given, target == given == ready
    return {
        "Validated": (True, "Valid", ""),
        "Quota": (True, "Under", ""),
        "Capacity": (not short, "QueuedAwaitingCapacity" if short else "Sufficient", ""),
        "AtTarget": (reached, "AtTarget" if reached else "Scaling", ""),
    }


def numbers(item: Data, given: int, ready: int) -> dict[str, int]:
    target = item["spec"].get("targetNodes", 0)
    return {"currentNodes": ready, "inProgressNodes": given - ready, "queuedNodes": max(target - given, 0)}
