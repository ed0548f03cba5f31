# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the networks that carry RDMA on GKE. Private to the collection; it may change at any time."""

from __future__ import annotations

import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._preflight_snapshot import Question, Snapshot

Json = t.Mapping[str, t.Any]

#: Condition types that have to hold (gke README of llm-d, #2429).
READY = {"Network": ("Ready", "ParamsReady"), "GKENetworkParamSet": ("Ready",)}
FIX = (
    "playbooks/node_pools.yml makes VPCs, subnets and these objects; each network has a subnet of its own, gVNIC first."
)


def rdma_networks(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """Pods name rdma-0 to rdma-7 in their annotations and are refused at admission without them."""
    if asked.plan["overlay"] not in ("gke", "gke_a4") or asked.rehearsal or "networks" in snapshot.unreadable:
        return []
    if not snapshot.serves("networking.gke.io/v1", "Network"):
        return []
    wanted = [f"rdma-{index}" for index in range(int(asked.shape["rdma_nics"]))]
    found = []
    for kind, items in (("Network", snapshot.networks), ("GKENetworkParamSet", snapshot.parameter_sets)):
        by_name = {item["metadata"]["name"]: item for item in items}
        absent = [name for name in wanted if name not in by_name]
        if absent:
            seen = f"{', '.join(absent)} do not exist; there is {', '.join(sorted(by_name)) or 'none'}"
            found.append(Finding("NODE_NETWORK_INVALID", "error", kind, seen, FIX))
        found += [item for name in wanted if name in by_name for item in _not_ready(kind, by_name[name])]
    found += [_mode(item) for item in snapshot.parameter_sets if _wrong_mode(item, wanted)]
    return found


def _not_ready(kind: str, item: Json) -> list[Finding]:
    conditions = {entry["type"]: entry for entry in (item.get("status") or {}).get("conditions") or ()}
    bad = [
        f"{name}: {conditions.get(name, {}).get('message') or conditions.get(name, {}).get('reason') or 'not told yet'}"
        for name in READY[kind]
        if conditions.get(name, {}).get("status") != "True"
    ]
    if not bad:
        return []
    return [Finding("NODE_NETWORK_INVALID", "error", f"{kind} {item['metadata']['name']}", "; ".join(bad), FIX)]


def _wrong_mode(item: Json, wanted: t.Collection[str]) -> bool:
    return item["metadata"]["name"] in wanted and item["spec"].get("deviceMode") not in (None, "RDMA")


def _mode(item: Json) -> Finding:
    seen = f"deviceMode is {item['spec']['deviceMode']}, not RDMA"
    return Finding("NODE_NETWORK_INVALID", "error", f"GKENetworkParamSet {item['metadata']['name']}", seen, FIX)
