# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the control plane: versions, kinds, controllers, DNS, clock. Private to the collection."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, Severity
from ansible_collections.llmd.wide_ep.plugins.module_utils._preflight_snapshot import Question, Snapshot

Json = t.Mapping[str, t.Any]

#: Native sidecars are on by default from here on, and stable from there (kubernetes/enhancements #753).
SIDECARS = (1, 29)
RECOMMENDED = (1, 33)
#: The server's Date header has whole seconds, and a token's lifetime is counted in minutes.
SKEW_SECONDS = 5.0
SKEW_ERROR_SECONDS = 60.0

#: Providers of a gateway that the role gateway installs, the Gateway API with them.
INSTALLED = frozenset({"agentgateway", "istio"})

#: Kind, API version, when it is needed, severity, and what brings it.
Need = tuple[str, str, t.Callable[[Question], bool], Severity, str]
NEEDS: tuple[Need, ...] = (
    (
        "LeaderWorkerSet",
        "leaderworkerset.x-k8s.io/v1",
        lambda _asked: True,
        "warning",
        "playbooks/lws.yml installs it; site.yml does so by itself.",
    ),
    (
        "InferencePool",
        "inference.networking.k8s.io/v1",
        lambda _asked: True,
        "warning",
        "playbooks/gateway.yml applies its definition; site.yml does so by itself.",
    ),
    (
        "ClusterQueue",
        "kueue.x-k8s.io/v1beta2",
        lambda asked: "topology_aware" in asked.components,
        "warning",
        "playbooks/kueue.yml installs Kueue; site.yml does so by itself. A Kueue older than 0.16 has to be upgraded.",
    ),
    (
        "HTTPRoute",
        "gateway.networking.k8s.io/v1",
        lambda asked: asked.plan["router_mode"] == "gateway" and asked.plan["gateway_provider"] in INSTALLED,
        "warning",
        "playbooks/gateway.yml installs the Gateway API; site.yml does so by itself.",
    ),
    (
        "HTTPRoute",
        "gateway.networking.k8s.io/v1",
        lambda asked: asked.plan["router_mode"] == "gateway" and asked.plan["gateway_provider"] not in INSTALLED,
        "error",
        "Install the Gateway API and a gateway (wide_ep_gateway_provider), or set wide_ep_router_mode: standalone.",
    ),
    (
        "Network",
        "networking.gke.io/v1",
        lambda asked: asked.plan["overlay"] in ("gke", "gke_a4") and not asked.rehearsal,
        "error",
        "The cluster has no multi-networking: make it anew with --enable-multi-networking and Dataplane V2.",
    ),
)
MONITORS = (("PodMonitor", "monitoring.coreos.com/v1"), ("PodMonitoring", "monitoring.googleapis.com/v1"))


def version_of(text: str) -> tuple[int, int]:
    match = re.match(r"v?(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def kubernetes_version(snapshot: Snapshot, _asked: Question) -> list[Finding]:
    found = version_of(snapshot.version)
    if found < SIDECARS:
        seen = f"{snapshot.version or 'unknown'}; native sidecars need 1.29, without them decode pods stay Init:0/1"
        return [Finding("K8S_TOO_OLD", "error", "Kubernetes", seen, "Upgrade the cluster to 1.33 or newer.")]
    if found < RECOMMENDED:
        seen = f"{snapshot.version}; llm-d recommends 1.33, where native sidecars are stable"
        return [Finding("K8S_TOO_OLD", "warning", "Kubernetes", seen, "Plan the upgrade of the cluster.")]
    return []


def kinds(snapshot: Snapshot, asked: Question) -> list[Finding]:
    found = []
    for kind, api_version, needed, severity, fix in NEEDS:
        if needed(asked) and not snapshot.serves(api_version, kind):
            group = api_version.rpartition("/")[0]
            others = [version for version in snapshot.kinds if version.startswith(f"{group}/")]
            seen = f"{api_version} is not served; of that group there is {', '.join(others) or 'nothing'}"
            found.append(Finding("CRD_MISSING", severity, kind, seen, fix))
    return found


def monitors(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """The role decides what to do about it; here it is told before anything is deployed."""
    if "monitoring" not in asked.components or any(snapshot.serves(version, kind) for kind, version in MONITORS):
        return []
    fix = "Install the Prometheus operator, use managed Prometheus on GKE, or set monitoring_absent: skip."
    seen = "neither the Prometheus operator's PodMonitor nor Google's PodMonitoring is served"
    return [Finding("MONITORING_ABSENT", "warning", "component monitoring", seen, fix)]


def controllers(snapshot: Snapshot, asked: Question) -> list[Finding]:
    """A controller that is installed and does not run holds up everything without a word."""
    watched = [(asked.lws_namespace, "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet")]
    if "topology_aware" in asked.components:
        watched.append((asked.kueue_namespace, "kueue.x-k8s.io/v1beta2", "ClusterQueue"))
    found = []
    for namespace, api_version, kind in watched:
        here = [item for item in snapshot.deployments if item["metadata"].get("namespace") == namespace]
        if not snapshot.serves(api_version, kind) or "deployments" in snapshot.unreadable:
            continue
        # One that was installed into another namespace by someone else is found by its role.
        for item in here:
            if problem := _not_available(item):
                subject = f"Deployment {namespace}/{item['metadata']['name']}"
                fix = f"Look at its pods: kubectl -n {namespace} get pods; then run site.yml again."
                found.append(Finding("CONTROLLER_DOWN", "error", subject, problem, fix))
    return found


def _not_available(deployment: Json) -> str:
    wanted = int(deployment["spec"].get("replicas", 1))
    ready = int((deployment.get("status") or {}).get("readyReplicas") or 0)
    if wanted == 0:
        return "it is scaled to 0"
    return "" if ready else f"0 of {wanted} pods are ready"


def dns(snapshot: Snapshot, _asked: Question) -> list[Finding]:
    """Model servers find their leader by name; without DNS every start ends in a timeout."""
    if "dns_slices" in snapshot.unreadable:
        return []
    ready = [
        address
        for piece in snapshot.dns_slices
        for endpoint in piece.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
        for address in endpoint.get("addresses") or ()
    ]
    if ready:
        return []
    seen = f"Service kube-system/kube-dns has {len(snapshot.dns_slices)} endpoint slices and no ready endpoint"
    fix = (
        "Look at the DNS pods: kubectl -n kube-system get pods -l k8s-app=kube-dns; node-local DNS alone is not enough."
    )
    return [Finding("DNS_DOWN", "error", "cluster DNS", seen, fix)]


def clock(snapshot: Snapshot, _asked: Question) -> list[Finding]:
    """Locks, tokens and certificates compare both clocks."""
    if snapshot.clock is None or abs(snapshot.clock) <= SKEW_SECONDS:
        return []
    severity: Severity = "error" if abs(snapshot.clock) > SKEW_ERROR_SECONDS else "warning"
    side = "ahead of" if snapshot.clock > 0 else "behind"
    seen = f"the API server is {abs(snapshot.clock):.0f} s {side} this machine"
    fix = "Synchronize both with NTP: a lock could be taken over while it is held, and tokens be refused."
    return [Finding("CLOCK_SKEW", severity, "clocks", seen, fix)]


def readable(snapshot: Snapshot, _asked: Question) -> list[Finding]:
    return [
        Finding(
            "PREFLIGHT_UNREADABLE",
            "info",
            part,
            f"{why}; its checks did not run",
            "Grant the right to read it (docs/reference/rbac.yaml), or check it by hand.",
        )
        for part, why in snapshot.unreadable.items()
    ]
