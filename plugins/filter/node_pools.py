# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters on node pools, their networks and their nodes."""

from __future__ import annotations

import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils import _node_pools_driver as driver
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, report
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _node_pools_cks as cks
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _node_pools_gke as gke
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _node_pools_nodes as nodes_of
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _node_pools_removal as removal
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _node_pools_spend as spend

Json = t.Mapping[str, t.Any]


def verdict(findings: t.Sequence[Finding]) -> dict[str, t.Any]:
    """Findings as tasks use them: the errors' text, which is empty where nothing stops, and the warnings'."""
    return {
        "errors": report([finding for finding in findings if finding.severity == "error"]),
        "warnings": report([finding for finding in findings if finding.severity != "error"]),
        "findings": [finding.as_dict() for finding in findings],
    }


def node_pools_input_findings(needed: t.Mapping[str, str], combination: t.Mapping[str, str]) -> dict[str, t.Any]:
    """What a provider has to be told, and whether driver, image and backend go together where the driver is known."""
    missing = [
        Finding("INPUT_MISSING", "error", name, "it is empty", "Set it in the inventory; nobody else knows it.")
        for name, value in needed.items()
        if not value
    ]
    known = combination["driver_version"]
    return verdict([*missing, *(driver.findings(known, combination["cuda"], combination["backend"]) if known else [])])


def node_pools_node_findings(nodes: t.Sequence[Json], wanted: Json) -> dict[str, t.Any]:
    """Whether nodes are what the overlay asks for."""
    return verdict(nodes_of.findings(nodes, nodes_of.Wanted(**wanted)))


def node_pools_cks_pools(pools: t.Sequence[Json], labels: Json) -> list[dict[str, t.Any]]:
    """NodePool objects from names and specs."""
    return [cks.pool(entry["name"], entry["spec"], labels) for entry in pools]


def node_pools_cks_decisions(wanted: t.Sequence[Json], existing: t.Sequence[Json]) -> dict[str, t.Any]:
    """What to do about the NodePools, and why not."""
    live = {item["metadata"]["name"]: item for item in existing}
    decisions = [cks.decide(item, live.get(item["metadata"]["name"])) for item in wanted]
    found = [
        *cks.input_findings({item["metadata"]["name"]: item["spec"] for item in wanted}),
        *(decision.finding for decision in decisions if decision.finding),
    ]
    due = {decision.name for decision in decisions if decision.action in ("create", "update")}
    return {
        "actions": [decision.as_dict() for decision in decisions if decision.action != "none"],
        "due": [item for item in wanted if item["metadata"]["name"] in due],
        **verdict(found),
    }


def node_pools_cks_token(message: str) -> str:
    """Why CoreWeave refuses everything, empty where the message is of another kind."""
    finding = cks.token_finding(message)
    return report([finding]) if finding else ""


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "node_pools_cks_decisions": node_pools_cks_decisions,
            "node_pools_cks_pools": node_pools_cks_pools,
            "node_pools_cks_removal": cks.removal,
            "node_pools_cks_token": node_pools_cks_token,
            "node_pools_gke_kubeconfig": gke.kubeconfig,
            "node_pools_gke_objects": gke.network_objects,
            "node_pools_input_findings": node_pools_input_findings,
            "node_pools_keeping": spend.keeping,
            "node_pools_node_findings": node_pools_node_findings,
            "node_pools_plan": spend.plan,
            "node_pools_receipt": removal.receipt,
            "node_pools_wait_objects": gke.wait_objects,
        }
