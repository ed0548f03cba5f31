# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What monitors a deployment: which kinds of objects, the objects themselves, and whether they can do their work.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

Json = dict[str, t.Any]
Tree = t.Any

ROLES = ("prefill", "decode")
ROLE_LABEL = "llm-d.ai/role"
DEPLOYMENT_LABEL = "wide-ep.llm-d.ai/deployment"
#: Pod label -> label of every series. The rules and the dashboard select and group by the latter.
MODEL_SERVER_LABELS = {
    ROLE_LABEL: "role",
    DEPLOYMENT_LABEL: "release",
    "leaderworkerset.sigs.k8s.io/group-index": "group",
}
#: vLLM's port for each rank, by name. In decode, rank0 to rankN are the sidecar's.
RANK_PORTS = {"prefill": "rank", "decode": "vllm-rank"}
#: The endpoint picker's container.
ROUTER = "epp"
ROUTER_PORT = "metrics"
ROUTER_OPEN = "--metrics-endpoint-auth=false"

#: Kind of monitoring -> API version, the kind that scrapes and the kind that holds rules.
KINDS: dict[str, tuple[str, str, str]] = {
    "prometheus_operator": ("monitoring.coreos.com/v1", "PodMonitor", "PrometheusRule"),
    "gke": ("monitoring.googleapis.com/v1", "PodMonitoring", "Rules"),
}
_TOKEN = re.compile(r"@([a-z_]+)@")


@dataclasses.dataclass(frozen=True)
class Decision:
    """``action`` is apply, skip or refuse; ``kind`` is empty unless it is apply."""

    action: str
    kind: str
    reason: str
    finding: Finding | None = None

    def as_dict(self) -> Json:
        text = self.finding.text() if self.finding else ""
        return {"action": self.action, "kind": self.kind, "reason": self.reason, "text": text}


def decide(served: t.Iterable[t.Mapping[str, t.Any]], kind: str, absent: str) -> Decision:
    """Which kind of monitoring to make, given the kinds that the API server serves: all of its objects or none."""
    have = {(item["apiVersion"], item["kind"]) for item in served}
    asked = list(KINDS) if kind == "auto" else [kind]
    lacking = {name: [one for one in KINDS[name][1:] if (KINDS[name][0], one) not in have] for name in asked}
    complete = [name for name in asked if not lacking[name]]
    if complete:
        version, scrapes, rules = KINDS[complete[0]]
        return Decision("apply", complete[0], f"{scrapes} and {rules} of {version} are served")
    seen = "; ".join(f"{' and '.join(kinds)} of {KINDS[name][0]}" for name, kinds in lacking.items())
    seen = f"the API server does not serve {seen}"
    if absent == "skip":
        return Decision("skip", "", f"monitoring_absent is skip and {seen}")
    fix = (
        "Install the Prometheus operator with its CRDs (Helm chart kube-prometheus-stack, or prometheus-operator-crds "
        "for the CRDs alone); on GKE, gcloud container clusters update <cluster> --enable-managed-prometheus. "
        "Or set monitoring_absent: skip."
    )
    return Decision("refuse", "", seen, Finding("MONITORING_ABSENT", "error", f"monitoring ({kind})", seen, fix))


@dataclasses.dataclass(frozen=True)
class Target:
    """What one monitor scrapes: pods by labels, a container's ports by name, and which pod labels the series carry."""

    name: str
    match: t.Mapping[str, str]
    container: str
    ports: tuple[str, ...]
    labels: t.Mapping[str, str]


def targets(plan: t.Mapping[str, t.Any], guide_labels: t.Mapping[str, str], *, router: str) -> list[Target]:
    """What to scrape; ``router`` is the label that tells the endpoint picker's pods, empty to leave it out.

    Decode is scraped at vLLM's own port: its sidecar only passes /metrics on, so that a scrape of both counts
    everything twice, and one of the sidecar alone sees nothing where the sidecar is what broke.
    """
    found = []
    for role in ROLES:
        match = {**guide_labels, ROLE_LABEL: role, DEPLOYMENT_LABEL: plan["release"]}
        found.append(Target(role, match, "vllm", _ports_of(plan, role), MODEL_SERVER_LABELS))
    if router:
        name = f"{plan['release']}-epp"
        found.append(Target(name, {router: name}, ROUTER, (ROUTER_PORT,), {router: "router"}))
    return found


def _ports_of(plan: t.Mapping[str, t.Any], role: str) -> tuple[str, ...]:
    if plan["load_balancing"] != "multi_port":
        return ("modelserver",)
    return tuple(f"{RANK_PORTS[role]}{rank}" for rank in range(plan[role]["ranks_per_host"]))


def pod_monitor_spec(target: Target, interval: str) -> Json:
    relabelings = [
        {
            "action": "replace",
            "sourceLabels": ["__meta_kubernetes_pod_label_" + re.sub(r"[^a-zA-Z0-9_]", "_", source)],
            "targetLabel": label,
        }
        for source, label in target.labels.items()
    ]
    common = {"path": "/metrics", "interval": interval, "relabelings": relabelings}
    return {
        "selector": {"matchLabels": dict(target.match)},
        "podMetricsEndpoints": [{"port": port, **common} for port in target.ports],
    }


def pod_monitoring_spec(target: Target, interval: str) -> Json:
    return {
        "selector": {"matchLabels": dict(target.match)},
        "endpoints": [{"port": port, "path": "/metrics", "interval": interval} for port in target.ports],
        "targetLabels": {
            "metadata": ["pod", "container", "node"],
            "fromPod": [{"from": source, "to": label} for source, label in target.labels.items()],
        },
    }


SPECS: dict[str, t.Callable[[Target, str], Json]] = {
    "prometheus_operator": pod_monitor_spec,
    "gke": pod_monitoring_spec,
}


def filled(tree: Tree, values: t.Mapping[str, t.Any]) -> Tree:
    """The tree with every ``@word@`` in its texts replaced. A word without a value is a mistake in the file."""
    if isinstance(tree, dict):
        return {key: filled(value, values) for key, value in tree.items()}
    if isinstance(tree, list):
        return [filled(item, values) for item in tree]
    return _TOKEN.sub(lambda match: str(values[match[1]]), tree) if isinstance(tree, str) else tree


def selectors(namespace: str, release: str) -> dict[str, str]:
    return {
        "own": f'namespace="{namespace}",release="{release}"',
        "router": f'namespace="{namespace}",router="{release}-epp"',
    }


def rule_groups(
    source: t.Mapping[str, t.Any],
    plan: t.Mapping[str, t.Any],
    settings: t.Mapping[str, t.Any],
    *,
    runbook: str,
    off: t.Collection[str] = (),
) -> list[Json]:
    """The groups of the rules file for one deployment, without the alerts that are switched off."""
    known = {rule["alert"] for group in source["groups"] for rule in group["rules"] if "alert" in rule}
    if unknown := sorted(set(off) - known):
        raise ValueError(f"no such alert: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    endpoints = {f"{role}_endpoints": len(plan[role]["pods"]) * len(_ports_of(plan, role)) for role in ROLES}
    identity = {"namespace": plan["namespace"], "release": plan["release"]}
    groups = filled(source["groups"], {**selectors(**identity), **identity, **endpoints, **settings})
    for group in groups:
        rules = [rule for rule in group["rules"] if rule.get("alert") not in off]
        group["rules"] = [_completed(rule, identity, runbook) if "alert" in rule else rule for rule in rules]
    return [group for group in groups if group["rules"]]


def _completed(rule: Json, identity: t.Mapping[str, str], runbook: str) -> Json:
    """An alert with the deployment's labels, which some expressions drop, and the address of its runbook."""
    url = f"{runbook}#{rule['alert'].lower()}"
    return {
        **rule,
        "labels": {**identity, **rule["labels"]},
        "annotations": {**rule["annotations"], "runbook_url": url},
    }


def objects(
    kind: str,
    scraped: t.Sequence[Target],
    groups: t.Sequence[Json],
    plan: t.Mapping[str, t.Any],
    *,
    interval: str,
    labels: t.Mapping[str, str],
) -> list[Json]:
    """The monitors, one for each target, and the object with the rules."""
    version, scrapes, rules = KINDS[kind]

    def made(name: str, of_kind: str, spec: Json) -> Json:
        metadata = _metadata(name, plan, labels)
        return {"apiVersion": version, "kind": of_kind, "metadata": metadata, "spec": spec}

    monitors = [made(target.name, scrapes, SPECS[kind](target, interval)) for target in scraped]
    return [*monitors, made(plan["release"], rules, {"groups": list(groups)})]


def config_map(plan: t.Mapping[str, t.Any], labels: t.Mapping[str, str], files: t.Mapping[str, str]) -> Json:
    metadata = _metadata(f"{plan['release']}-dashboard", plan, labels)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(files)}


def _metadata(name: str, plan: t.Mapping[str, t.Any], labels: t.Mapping[str, str]) -> Json:
    return {"name": name, "namespace": plan["namespace"], "labels": {**labels, **plan["labels"]}}


def problems(scraped: t.Sequence[Target], pods: t.Sequence[t.Mapping[str, t.Any]]) -> list[Finding]:
    """Why a monitor would get no series from pods that it selects."""
    found = []
    for target in scraped:
        selected = [pod for pod in pods if _has_labels(pod, target.match)]
        if not selected:
            continue
        for port in target.ports:
            lacking = [pod["metadata"]["name"] for pod in selected if port not in _ports(pod, target.container)]
            if lacking:
                found.append(_port_missing(target, port, lacking, selected[0]))
        if target.container == ROUTER:
            found += [_router_closed(pod) for pod in selected if ROUTER_OPEN not in _arguments(pod, target.container)]
    return found


def _has_labels(pod: t.Mapping[str, t.Any], wanted: t.Mapping[str, str]) -> bool:
    labels = pod["metadata"].get("labels") or {}
    # Ansible's mappings have no views that compare.
    return all(labels.get(key) == value for key, value in wanted.items())


def _containers(pod: t.Mapping[str, t.Any], name: str) -> list[Json]:
    return [
        one for one in (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]) if one["name"] == name
    ]


def _ports(pod: t.Mapping[str, t.Any], container: str) -> set[str]:
    return {port.get("name", "") for one in _containers(pod, container) for port in one.get("ports") or ()}


def _arguments(pod: t.Mapping[str, t.Any], container: str) -> list[str]:
    return [text for one in _containers(pod, container) for text in one.get("args") or ()]


def _port_missing(target: Target, port: str, lacking: list[str], example: t.Mapping[str, t.Any]) -> Finding:
    there = ", ".join(sorted(_ports(example, target.container))) or "none"
    seen = f"container {target.container} of {', '.join(lacking)} has no port {port}; its ports: {there}"
    fix = "Deploy model servers and monitoring with one wide_ep_load_balancing: playbooks/model_server.yml, then this."
    return Finding("MONITOR_PORT_MISSING", "error", f"monitor {target.name}", seen, fix)


def _router_closed(pod: t.Mapping[str, t.Any]) -> Finding:
    seen = f"pod {pod['metadata']['name']} asks for a token on /metrics: container epp lacks {ROUTER_OPEN}"
    fix = (
        "Run playbooks/router.yml, which opens them, or set monitoring_router: false and scrape the endpoint picker "
        "with a token of your own."
    )
    return Finding("ROUTER_METRICS_CLOSED", "error", "monitor of the endpoint picker", seen, fix)
