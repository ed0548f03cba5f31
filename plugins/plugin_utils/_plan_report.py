# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a deployment for people and for programs. Private to the collection; it may change at any time."""

from __future__ import annotations

import collections
import dataclasses
import fractions
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils import _capacity
from ansible_collections.llmd.wide_ep.plugins.module_utils._capacity import GpuMemory, Model, Pod
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, report
from ansible_collections.llmd.wide_ep.plugins.module_utils._quantity import written

Json = t.Mapping[str, t.Any]

#: NIXL listens on its declared port plus the rank's number in its group.
NIXL_PORT = "nixl"
RPC_PORT = 5555
UNKNOWN = "unknown, not checked"


@dataclasses.dataclass(frozen=True)
class Inputs:
    """All that the report is made of."""

    plan: Json
    shape: Json
    objects: t.Sequence[Json]
    mirror: str
    images: Json
    gbit_per_s: float
    pods: t.Mapping[str, Pod]

    @property
    def model(self) -> Model | None:
        return _capacity.model_of(self.plan["model"])

    @property
    def rehearsed(self) -> bool:
        return "rehearsal" in self.plan["components"]

    def memory(self) -> dict[str, GpuMemory]:
        """Per tier how the memory of one GPU is spent; empty where that cannot be known."""
        model = self.model
        if model is None or self.rehearsed:
            return {}
        return {role: _capacity.gpu_memory(model, self.plan[role], pod, self.shape) for role, pod in self.pods.items()}


def build(
    plan: Json, shape: Json, objects: t.Sequence[Json], *, mirror: str, images: Json, gbit_per_s: float
) -> dict[str, t.Any]:
    inputs = Inputs(plan, shape, objects, mirror, images, gbit_per_s, _capacity.pods(plan, objects))
    findings = [
        *_capacity.shape_findings(plan, shape),
        *_capacity.object_findings(plan, shape, objects, gbit_per_s),
    ]
    errors = [finding for finding in findings if finding.severity == "error"]
    tables = [
        tier_table(inputs),
        resource_table(inputs),
        *([memory_table(inputs)] if inputs.memory() else []),
        pod_table(inputs),
        port_table(inputs),
        image_table(inputs),
        *([finding_table(findings)] if findings else []),
    ]
    return {
        "summary": summary(inputs, findings),
        "tables": tables,
        "data": data(inputs, findings),
        "findings": [finding.as_dict() for finding in findings],
        "text": report(findings),
        "errors": report(errors),
    }


def summary(inputs: Inputs, findings: t.Sequence[Finding]) -> list[list[t.Any]]:
    plan, shape = inputs.plan, inputs.shape
    components = ", ".join(plan["components"]) or "none"
    quota = ", ".join(f"{name} {value}" for name, value in quotas(inputs).items())
    pairs: list[tuple[str, t.Any]] = [
        ("Deployment", f"{plan['release']} in namespace {plan['namespace']}"),
        ("Model", plan["model"]),
        ("Overlay", f"{plan['overlay']}, components: {components}"),
        ("Pods", f"{plan['nodes']}, one per node, with {plan['gpus']} GPUs"),
        ("Node", node_line(shape) if not inputs.rehearsed else "the rehearsal cluster's"),
        ("Quota for all pods", quota),
        ("Router", f"{plan['router_mode']}, gateway {plan['gateway_provider']}, ports {_ports(plan)}"),
        ("Model cache", "; ".join(sorted({_cache(pod) for pod in inputs.pods.values()}))),
        ("GPU memory", memory_line(inputs)),
        ("Start budget", start_line(inputs)),
        ("Findings", f"{len(findings)}, of them {sum(f.severity == 'error' for f in findings)} errors"),
    ]
    return [[label, value] for label, value in pairs]


def node_line(shape: Json) -> str:
    offered = shape["allocatable"]
    return (
        f"{shape['machine_type']}: {shape['gpus']} x {shape['product']} with {shape['gpu_memory_gb']} GB, "
        f"{shape['rdma_nics']} RDMA NICs; for pods {offered['cpu']} CPU, {offered['memory']} memory, "
        f"{offered['ephemeral-storage']} disk"
    )


def _ports(plan: Json) -> str:
    ports = plan["target_ports"]
    return str(ports[0]) if len(ports) == 1 else f"{ports[0]}-{ports[-1]}"


def _cache(pod: Pod) -> str:
    if pod.host_cache:
        return f"{pod.cache['hostPath']['path']} on the node"
    kinds = sorted(set(pod.cache) - {"name"})
    return f"{kinds[0]}: it is downloaded at every start" if kinds else "in the container: downloaded at every start"


def memory_line(inputs: Inputs) -> str:
    if inputs.rehearsed:
        return "the simulator uses none"
    if inputs.model is None:
        return f"{UNKNOWN}: the numbers of this model are not in the table"
    parts = [
        f"{role} {memory.weights / 1e9:.0f} GB weights, {memory.kv / 1e9:.0f} GB KV for {memory.tokens:,} tokens"
        for role, memory in inputs.memory().items()
    ]
    return "; ".join(parts)


def start_line(inputs: Inputs) -> str:
    budget = min((pod.start_seconds for pod in inputs.pods.values()), default=0)
    line = f"{budget / 60:.0f} min"
    model = inputs.model
    if inputs.rehearsed:
        return f"{line}; the simulator downloads nothing"
    if model is None:
        return f"{line}; size of the model {UNKNOWN}"
    needed = _capacity.needed_gbit_per_s(model, budget)
    line += f"; {model.on_disk / 1e12:.2f} TB per node from cold need {needed:.1f} Gbit/s per node"
    total = needed * inputs.plan["nodes"]
    line += f", {total:.1f} for all, with {_capacity.LOAD_SECONDS // 60} min left to load"
    if inputs.gbit_per_s > 0:
        minutes = _capacity.download_seconds(model, inputs.gbit_per_s) / 60
        line += f"; at {inputs.gbit_per_s:g} Gbit/s the download takes {minutes:.0f} min"
    return line


def _table(title: str, columns: t.Sequence[str], rows: t.Iterable[t.Sequence[t.Any]]) -> dict[str, t.Any]:
    return {"title": title, "columns": list(columns), "rows": [list(row) for row in rows]}


def tier_table(inputs: Inputs) -> dict[str, t.Any]:
    columns = ("tier", "groups", "hosts", "ranks", "pods", "GPUs", "EP", "experts/GPU", "all2all backend")
    rows = []
    for role in inputs.pods:
        tier = inputs.plan[role]
        size = [tier[key] for key in ("groups", "hosts_per_group", "ranks_per_host", "nodes", "gpus", "dp_size")]
        rows.append([role, *size, tier["experts_per_rank"], tier["all2all_backend"]])
    return _table("Tiers (a group is a LeaderWorkerSet replica, a host is a pod)", columns, rows)


def resource_table(inputs: Inputs) -> dict[str, t.Any]:
    """Requests of one pod, its sidecar included."""
    main = ("cpu", "memory", "ephemeral-storage", _capacity.GPU)
    columns = ("tier", "CPU", "memory", "memory limit", "/dev/shm", "disk", "GPUs", "other")
    rows = []
    for role, pod in inputs.pods.items():
        amounts = [written(name, pod.requests[name]) if name in pod.requests else None for name in main]
        shared = ", ".join(written("memory", size) if size else "no limit" for _name, size in pod.shared_memory)
        other = ", ".join(f"{n} {written(n, v)}" for n, v in pod.requests.items() if n not in main and v)
        limit = written("memory", pod.memory_limit) if pod.memory_limit else None
        rows.append([role, amounts[0], amounts[1], limit, shared or None, amounts[2], amounts[3], other or None])
    return _table("Requests of one pod", columns, rows)


def memory_table(inputs: Inputs) -> dict[str, t.Any]:
    columns = ("tier", "GPU", "used by vLLM", "weights", "redundant", "NVSHMEM", "KV", "KV tokens", "4k requests")
    rows = []
    for role, memory in inputs.memory().items():
        parts = (memory.total, memory.usable, memory.weights, memory.redundant, memory.symmetric, memory.kv)
        requests = memory.tokens // _capacity.REQUEST_TOKENS
        rows.append([role, *(f"{part / 1e9:.1f}" for part in parts), f"{memory.tokens:,}", requests])
    return _table("Memory of one GPU in GB (weights include the redundant experts)", columns, rows)


def pod_table(inputs: Inputs) -> dict[str, t.Any]:
    """A row per group; its workers have the leader's name and a number."""
    rows = []
    for role in inputs.pods:
        tier = inputs.plan[role]
        last = tier["hosts_per_group"] - 1
        workers = {0: None, 1: "-1"}.get(last, f"-1 to -{last}")
        rows += [[role, group, tier["pods"][group * (last + 1)], workers] for group in range(tier["groups"])]
    return _table(
        "Pods (workers are named as their leader, with a number)", ("tier", "group", "leader", "workers"), rows
    )


def port_table(inputs: Inputs) -> dict[str, t.Any]:
    rows: list[list[t.Any]] = []
    for role, pod in inputs.pods.items():
        ranks = inputs.plan[role]["dp_size"]
        for container in [*(pod.spec.get("initContainers") or ()), *pod.spec["containers"]]:
            for port in container.get("ports") or ():
                first = port["containerPort"]
                shown = f"{first}-{first + ranks - 1}" if port.get("name") == NIXL_PORT and ranks > 1 else str(first)
                rows.append([role, container["name"], port.get("name"), shown])
        rows.append([role, _capacity.CONTAINER, "data-parallel rpc, on the leader", str(RPC_PORT)])
    return _table(
        "Ports (ranks also connect to each other on dynamic ones)", ("tier", "container", "port", "number"), rows
    )


def image_table(inputs: Inputs) -> dict[str, t.Any]:
    used: dict[str, list[str]] = collections.defaultdict(list)
    for role, pod in inputs.pods.items():
        for container in [*(pod.spec.get("initContainers") or ()), *pod.spec["containers"]]:
            used[container["image"]].append(f"{role}/{container['name']}")
    for name, reference in inputs.images.items():
        behind = f"{inputs.mirror.rstrip('/')}/{reference}" if inputs.mirror else reference
        if behind not in used:
            used[behind].append(name)
    return _table("Images", ("image", "for"), [[image, ", ".join(names)] for image, names in used.items()])


def finding_table(findings: t.Sequence[Finding]) -> dict[str, t.Any]:
    rows = [[finding.severity, finding.code, finding.subject] for finding in findings]
    return _table("Findings", ("severity", "code", "subject"), rows)


def quotas(inputs: Inputs) -> dict[str, str]:
    """What all pods ask for together; a queue has to offer as much."""
    total: dict[str, fractions.Fraction] = collections.defaultdict(fractions.Fraction)
    for role, pod in inputs.pods.items():
        for name, value in pod.requests.items():
            total[name] += value * inputs.plan[role]["nodes"]
    return {name: written(name, value) for name, value in sorted(total.items()) if value}


def data(inputs: Inputs, findings: t.Sequence[Finding]) -> dict[str, t.Any]:
    model, budgets = inputs.model, [pod.start_seconds for pod in inputs.pods.values()]
    known = model is not None and not inputs.rehearsed
    return {
        "plan": dict(inputs.plan),
        "node": dict(inputs.shape),
        "requests_per_pod": {
            role: {name: written(name, value) for name, value in pod.requests.items()}
            for role, pod in inputs.pods.items()
        },
        "requests": quotas(inputs),
        "gpu_memory": {
            role: {**dataclasses.asdict(memory), "kv_tokens": memory.tokens} for role, memory in inputs.memory().items()
        },
        "ports": port_table(inputs)["rows"],
        "images": image_table(inputs)["rows"],
        "start_budget_seconds": min(budgets, default=None),
        "model_bytes": model.on_disk if model and known else None,
        "needed_gbit_per_s": _capacity.needed_gbit_per_s(model, min(budgets)) if model and known and budgets else None,
        "download_gbit_per_s": inputs.gbit_per_s or None,
        "not_checked": [] if known else ["GPU memory", "disk", "start budget"],
        "findings": [finding.as_dict() for finding in findings],
    }
