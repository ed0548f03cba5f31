# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of checks. Private to the collection; it may change at any time.

What roles judge of their own parts is judged here with the same functions. A check takes the snapshot and the question
and gives findings; it asks no one.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils import (
    _capacity,
    _preflight_cluster,
    _preflight_namespace,
    _preflight_network,
    _preflight_nodes,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._preflight_snapshot import Question, Snapshot
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _node_pools_nodes, _platform, _workspace

Json = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Check:
    subject: str
    name: str
    judge: t.Callable[[Snapshot, Question], list[Finding]]


@dataclasses.dataclass(frozen=True)
class Outcome:
    check: Check
    findings: tuple[Finding, ...]

    @property
    def word(self) -> str:
        worst = {finding.severity for finding in self.findings}
        return next((word for word in ("error", "warning", "info") if word in worst), "ok")


def namespace_owner(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """The decision of the role workspace."""
    decision = _workspace.decide_namespace(
        snapshot.namespace,
        asked.plan["namespace"],
        asked.plan["release"],
        adopt=asked.adopt_namespace,
        level=asked.pod_security,
    )
    # The level of an adopted namespace has a check of its own.
    return [decision.finding] if decision.finding and "enforces" not in decision.reason else []


def token(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """The decision of the role workspace."""
    if asked.token_optional or "token" in snapshot.unreadable:
        return []
    decision = _workspace.decide_token(
        snapshot.token, asked.token_secret, asked.token_key, provided=asked.token_provided, replace=False
    )
    return [decision.finding] if decision.finding else []


def nodes_fit(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """The judgement of the role model_server: enough nodes that fit, whatever is free on them."""
    if "nodes" in snapshot.unreadable:
        return []
    return _capacity.node_findings(asked.plan, asked.objects, snapshot.nodes, asked.may_grow)


def pods_fit(_snapshot: Snapshot, asked: Question) -> list[Finding]:
    """The judgement of the role model_server: the pods against the overlay's kind of node."""
    return _capacity.object_findings(asked.plan, asked.shape, asked.objects, 0)


def _wanted(asked: Question) -> _node_pools_nodes.Wanted:
    return _node_pools_nodes.Wanted(
        count=int(asked.plan["nodes"]),
        shape=asked.shape,
        strict="topology_aware" in asked.components,
        backend=str(asked.plan["prefill"]["all2all_backend"]),
        cuda=asked.cuda,
    )


def resources(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """The judgement of the role node_pools: GPUs and RDMA devices under the names of the overlay."""
    return _node_pools_nodes.resource_findings(_preflight_nodes.gpu_nodes(snapshot, asked), _wanted(asked))


def one_kind(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """The judgement of the role node_pools: one zone and one GPU product."""
    return _node_pools_nodes.one_value_findings(_preflight_nodes.gpu_nodes(snapshot, asked))


def topology(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """The judgement of the role node_pools, where groups are placed by topology."""
    if "topology_aware" not in asked.components:
        return []
    return _node_pools_nodes.topology_findings(_preflight_nodes.gpu_nodes(snapshot, asked), _wanted(asked))


def drivers(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """The judgement of the role node_pools. The rehearsal's nodes wear labels and have no driver."""
    if asked.rehearsal:
        return []
    return _node_pools_nodes.driver_findings(_preflight_nodes.gpu_nodes(snapshot, asked), _wanted(asked))


def lws_version(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """The judgement of the role lws, on the controller in its namespace. An unknown tag is taken at its word."""
    least = _platform.parse(asked.lws_minimum)
    found = []
    for item in snapshot.deployments:
        version = _platform.lws_version(item) if item["metadata"].get("namespace") == asked.lws_namespace else ""
        numbers = _platform.parse(version)
        if numbers and least and numbers < least:
            subject = f"Deployment {asked.lws_namespace}/{item['metadata']['name']}"
            seen = f"it runs {version}; {asked.lws_minimum} is the oldest that suffices"
            fix = "Upgrade it as its owner does; lws_upgrade=true lets playbooks/lws.yml upgrade one of ours."
            found.append(Finding("LWS_TOO_OLD", "error", subject, seen, fix))
    return found


CHECKS: tuple[Check, ...] = (
    Check("cluster", "Kubernetes version", _preflight_cluster.kubernetes_version),
    Check("cluster", "kinds of objects", _preflight_cluster.kinds),
    Check("cluster", "monitoring", _preflight_cluster.monitors),
    Check("cluster", "controllers", _preflight_cluster.controllers),
    Check("cluster", "LeaderWorkerSet version", lws_version),
    Check("cluster", "DNS", _preflight_cluster.dns),
    Check("cluster", "clocks", _preflight_cluster.clock),
    Check("cluster", "what may be read", _preflight_cluster.readable),
    Check("nodes", "pods fit the kind of node", pods_fit),
    Check("nodes", "enough nodes", nodes_fit),
    Check("nodes", "GPUs free", _preflight_nodes.gpus_free),
    Check("nodes", "GPUs healthy", _preflight_nodes.gpus_healthy),
    Check("nodes", "pressure", _preflight_nodes.pressure),
    Check("nodes", "GPU and RDMA resources", resources),
    Check("nodes", "names of RDMA resources", _preflight_nodes.warden),
    Check("nodes", "one zone and product", one_kind),
    Check("nodes", "topology labels", topology),
    Check("nodes", "driver", drivers),
    Check("nodes", "model caches", _preflight_nodes.host_caches),
    Check("nodes", "disks", _preflight_nodes.disk),
    Check("nodes", "room for router and benchmark", _preflight_nodes.cpu_room),
    Check("network", "RDMA networks", _preflight_network.rdma_networks),
    Check("namespace", "owner", namespace_owner),
    Check("namespace", "token", token),
    Check("namespace", "pod security", _preflight_namespace.pod_security),
    Check("namespace", "quotas", _preflight_namespace.quotas),
    Check("namespace", "limit ranges", _preflight_namespace.limit_ranges),
    Check("namespace", "Helm releases", _preflight_namespace.helm_releases),
    Check("namespace", "leftovers", _preflight_namespace.stale),
    Check("namespace", "other model servers", _preflight_namespace.strangers),
    Check("namespace", "priority class", _preflight_namespace.priority_class),
    Check("namespace", "storage class", _preflight_namespace.storage_class),
)


def judge(snapshot: Snapshot, asked: Question, checks: t.Iterable[Check] = CHECKS) -> list[Outcome]:
    return [Outcome(check, tuple(check.judge(snapshot, asked))) for check in checks]


def table(outcomes: t.Iterable[Outcome]) -> dict[str, t.Any]:
    rows = [
        [
            outcome.check.subject,
            outcome.check.name,
            outcome.word,
            ", ".join(dict.fromkeys(finding.code for finding in outcome.findings)),
        ]
        for outcome in outcomes
    ]
    return {"title": "Checks", "columns": ["subject", "check", "result", "findings"], "rows": rows}
