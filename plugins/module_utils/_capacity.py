# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the deployment fit its nodes? Arithmetic before anything is applied.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import collections
import dataclasses
import fractions
import math
import shlex
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._plan import TIERS
from ansible_collections.llmd.wide_ep.plugins.module_utils._quantity import (
    Amounts,
    pod_requests,
    quantity,
    written,
)

Json = t.Mapping[str, t.Any]

GPU = "nvidia.com/gpu"
NOTHING = fractions.Fraction()
CONTAINER = "vllm"
#: A request of this many tokens is what the guide's benchmark sends: 2,000 in, 2,000 out.
REQUEST_TOKENS = 4000
#: Of the start budget, what loading the weights from disk and compiling take (published starts: 7 to 10 minutes).
LOAD_SECONDS = 600
#: vLLM's own default of --gpu-memory-utilization.
DEFAULT_UTILIZATION = 0.9
#: JIT caches, logs and the image's writable layer beside the weights.
DISK_BESIDE_WEIGHTS = 50e9


@dataclasses.dataclass(frozen=True)
class Model:
    """What the arithmetic needs to know of a model, in bytes."""

    routed_experts: int
    #: One expert in every MoE layer, which is what one slot of a rank holds.
    slot: float
    #: What every rank holds beside its experts.
    replicated: float
    kv_per_token: int
    on_disk: float

    def weights(self, slots: float) -> float:
        return slots * self.slot + self.replicated


#: FP8 experts: 3 matrices of 7168 x 2048 in 58 MoE layers; MLA in BF16: 61 layers x (512 + 64) x 2 bytes per token.
DEEPSEEK_V3 = Model(256, 3 * 7168 * 2048 * 58, 19e9, 61 * (512 + 64) * 2, 0.69e12)
MODELS: t.Mapping[str, Model] = dict.fromkeys(
    ("DeepSeek-R1", "DeepSeek-R1-0528", "DeepSeek-V3", "DeepSeek-V3-0324"), DEEPSEEK_V3
)


def model_of(name: str) -> Model | None:
    """The numbers of a model by its name without the owner; None where they are not known."""
    return MODELS.get(name.rstrip("/").rpartition("/")[2])


@dataclasses.dataclass(frozen=True)
class Pod:
    """What a tier's rendered pod says about memory, disk and time."""

    tier: str
    spec: Json
    requests: Amounts
    memory_limit: fractions.Fraction | None
    disk_limit: fractions.Fraction | None
    shared_memory: tuple[tuple[str, fractions.Fraction | None], ...]
    cache: Json
    utilization: float
    kv_bytes: float | None
    symmetric: float
    start_seconds: int

    @property
    def host_cache(self) -> bool:
        return "hostPath" in self.cache


@dataclasses.dataclass(frozen=True)
class GpuMemory:
    """How the memory of one GPU is spent, in bytes; before activations and CUDA graphs."""

    total: float
    usable: float
    weights: float
    redundant: float
    symmetric: float
    kv: float
    kv_per_token: int

    @property
    def tokens(self) -> int:
        return max(0, int(self.kv // self.kv_per_token))


def pods(plan: Json, objects: t.Iterable[Json]) -> dict[str, Pod]:
    """The pod of each tier, out of the rendered LeaderWorkerSets."""
    sets = {item["metadata"]["name"]: item for item in objects if item["kind"] == "LeaderWorkerSet"}
    missing = [plan[tier]["lws_name"] for tier in TIERS if plan[tier]["lws_name"] not in sets]
    if missing:
        raise ValueError(f"the rendered objects lack the LeaderWorkerSet {', '.join(missing)}")
    return {
        tier: _pod(tier, sets[plan[tier]["lws_name"]]["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"])
        for tier in TIERS
    }


def _pod(tier: str, spec: Json) -> Pod:
    container = next(entry for entry in spec["containers"] if entry["name"] == CONTAINER)
    limits = (container.get("resources") or {}).get("limits") or {}
    probe = container.get("startupProbe") or {}
    kv_bytes = argument(container, "kv-cache-memory-bytes")
    return Pod(
        tier=tier,
        spec=spec,
        requests=pod_requests(spec),
        memory_limit=quantity(limits["memory"]) if "memory" in limits else None,
        disk_limit=quantity(limits["ephemeral-storage"]) if "ephemeral-storage" in limits else None,
        shared_memory=tuple(_memory_volumes(spec)),
        cache=cache_volume(spec, container),
        utilization=float(argument(container, "gpu-memory-utilization") or DEFAULT_UTILIZATION),
        kv_bytes=float(kv_bytes) if kv_bytes else None,
        symmetric=_nvshmem_size(environment(container).get("NVSHMEM_SYMMETRIC_SIZE", "0")),
        start_seconds=probe.get("initialDelaySeconds", 0)
        + probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3),
    )


def environment(container: Json) -> dict[str, str]:
    return {entry["name"]: str(entry["value"]) for entry in container.get("env") or () if "value" in entry}


def argument(container: Json, name: str) -> str | None:
    """The value of a vLLM argument in the container's script; a variable is read from its environment."""
    script = " ".join(container.get("args") or ()).replace("\\\n", " ")
    words = shlex.split(script, comments=True)
    value = None
    for index, word in enumerate(words):
        if word == f"--{name}" and index + 1 < len(words):
            value = words[index + 1]
        elif word.startswith(f"--{name}="):
            value = word.partition("=")[2]
    if value and value.startswith("$"):
        return environment(container).get(value.strip("${}"))
    return value


def _nvshmem_size(text: str) -> float:
    """NVSHMEM counts in powers of two whatever the letter's case."""
    digits, unit = text.rstrip("KMGTkmgt"), text[-1:].upper()
    return float(digits or 0) * 1024.0 ** (" KMGT".find(unit) if unit in "KMGT" else 0)


def _memory_volumes(spec: Json) -> t.Iterator[tuple[str, fractions.Fraction | None]]:
    for volume in spec.get("volumes") or ():
        source = volume.get("emptyDir") or {}
        if source.get("medium") == "Memory":
            yield volume["name"], quantity(source["sizeLimit"]) if source.get("sizeLimit") else None


def cache_volume(spec: Json, container: Json) -> dict[str, t.Any]:
    """The volume that holds the hub's cache: the one mounted deepest above it. Empty: the container's own disk."""
    path = environment(container).get("HF_HUB_CACHE", "").rstrip("/") + "/"
    mounts = [mount for mount in container.get("volumeMounts") or () if path.startswith(mount["mountPath"] + "/")]
    if not mounts:
        return {}
    name = max(mounts, key=lambda mount: len(mount["mountPath"]))["name"]
    return next(dict(volume) for volume in spec.get("volumes") or () if volume["name"] == name)


def gpu_memory(model: Model, tier: Json, pod: Pod, shape: Json) -> GpuMemory:
    total = shape["gpu_memory_gb"] * 1e9
    usable = total * pod.utilization
    slots = (model.routed_experts + tier["redundant_experts"]) / tier["dp_size"]
    weights = model.weights(slots)
    # vLLM takes what the communication buffers hold out of its share too, unless the KV size is given.
    kv = pod.kv_bytes if pod.kv_bytes is not None else usable - weights - pod.symmetric
    redundant = tier["redundant_experts"] / tier["dp_size"] * model.slot
    return GpuMemory(total, usable, weights, redundant, pod.symmetric, kv, model.kv_per_token)


def download_seconds(model: Model, gbit_per_s: float) -> float:
    return model.on_disk * 8 / (gbit_per_s * 1e9)


def needed_gbit_per_s(model: Model, start_seconds: int) -> float:
    """The slowest download that leaves time to load and compile; of a budget that is too short, all of it."""
    seconds = start_seconds - LOAD_SECONDS if start_seconds > LOAD_SECONDS else start_seconds
    return model.on_disk * 8 / seconds / 1e9


def shape_findings(plan: Json, shape: Json) -> list[Finding]:
    """What the plan and the hardware alone tell, before anything is rendered."""
    # The rehearsal plays the GPUs: its nodes are of this machine and the model is a simulator, so the provider's
    # hardware says nothing about it. Whether experts divide is a matter of the plan, and is judged in every case.
    if "rehearsal" in plan["components"]:
        return []
    found = []
    for role in TIERS:
        ranks, gpus = plan[role]["ranks_per_host"], shape["gpus"]
        subject, variable = f"{role}: {ranks} ranks per host", f"wide_ep_{role}_ranks_per_host"
        hardware = f"{shape['machine_type']} nodes of overlay {plan['overlay']} have {gpus} GPUs"
        if ranks > gpus:
            groups = plan[role]["dp_size"]
            hosts = -(-groups // gpus)
            fix = f"Set {variable} to {gpus} and wide_ep_{role}_hosts_per_group to {hosts}: {hosts * gpus} ranks."
            found.append(Finding("CAPACITY_GPUS", "error", subject, hardware, fix))
        elif ranks >= 1 and gpus % ranks:
            fitting = ", ".join(str(count) for count in range(1, gpus + 1) if gpus % count == 0)
            seen = f"{hardware}: {gpus % ranks} of them can never be used, and pairs of GPU and NIC are torn apart"
            found.append(Finding("CAPACITY_GPUS", "error", subject, seen, f"Set {variable} to one of {fitting}."))
        elif 1 <= ranks < gpus:
            seen = f"{hardware}; pods with {ranks} share a node and its RDMA networks, which is not proven"
            found.append(Finding("CAPACITY_GPUS", "warning", subject, seen, f"Set {variable} to {gpus}."))
    return found


def object_findings(
    plan: Json, shape: Json, objects: t.Iterable[Json], download_gbit_per_s: float = 0
) -> list[Finding]:
    """What the rendered pods ask of the overlay's nodes."""
    if "rehearsal" in plan["components"]:
        return []
    model = model_of(plan["model"])
    found: list[Finding] = []
    for role, pod in pods(plan, objects).items():
        found += request_findings(pod, shape)
        found += shared_memory_findings(pod)
        if model is not None:
            found += gpu_memory_findings(plan, pod, shape, gpu_memory(model, plan[role], pod, shape))
            found += disk_findings(pod, model)
            found += start_findings(pod, model, download_gbit_per_s)
    return found


def request_findings(pod: Pod, shape: Json) -> list[Finding]:
    """Requests, the sidecar's included, against what a node of the shape can give."""
    offered = {name: quantity(value) for name, value in shape["allocatable"].items()}
    offered |= {name: quantity(value) for name, value in shape["rdma_resources"].items()}
    offered[GPU] = fractions.Fraction(shape["gpus"])
    found = []
    for name, value in pod.requests.items():
        subject = f"{pod.tier}: {name}"
        if name in offered and value > offered[name]:
            seen = f"a pod requests {written(name, value)}; a {shape['machine_type']} node can give "
            seen += written(name, offered[name])
            fix = f"Lower it in model_server_resources, or use other nodes: no node will ever fit a {pod.tier} pod."
            found.append(Finding("CAPACITY_RESOURCE", "error", subject, seen, fix))
        elif name not in offered and "/" in name and value:
            seen = f"a pod requests {written(name, value)}; {shape['machine_type']} nodes are not known to have it"
            fix = "Remove it, or make sure that the device plugin that offers it runs on the nodes."
            found.append(Finding("CAPACITY_RESOURCE", "warning", subject, seen, fix))
    return found


def shared_memory_findings(pod: Pod) -> list[Finding]:
    """Memory volumes count against the memory limit of the container that writes to them."""
    if pod.memory_limit is None:
        return []
    limit = written("memory", pod.memory_limit)
    found = []
    for name, size in pod.shared_memory:
        if size is None or size < pod.memory_limit / 2:
            continue
        severity: t.Literal["error", "warning"] = "error" if size >= pod.memory_limit else "warning"
        seen = f"it may hold {written('memory', size)} of the container's memory limit of {limit}"
        fix = f"Lower the volume's sizeLimit (16Gi is enough), or raise limits.memory of {pod.tier}."
        found.append(Finding("CAPACITY_RESOURCE", severity, f"{pod.tier}: volume {name}", seen, fix))
    return found


def gpu_memory_findings(plan: Json, pod: Pod, shape: Json, memory: GpuMemory) -> list[Finding]:
    used = memory.weights + memory.symmetric
    room = memory.kv if pod.kv_bytes is None else memory.total - used - memory.kv
    needed = REQUEST_TOKENS * memory.kv_per_token if pod.kv_bytes is None else 0
    if room >= needed and memory.tokens >= REQUEST_TOKENS:
        return []
    parts = f"{memory.weights / 1e9:.0f} GB weights ({memory.redundant / 1e9:.0f} of them redundant experts), "
    parts += f"{memory.symmetric / 1e9:.0f} GB NVSHMEM"
    if pod.kv_bytes is None:
        seen = f"{parts} of {memory.usable / 1e9:.0f} GB ({shape['product']}, {pod.utilization:g} used) leave "
        seen += f"{memory.kv / 1e9:.1f} GB for KV; one request of {REQUEST_TOKENS} tokens takes "
        seen += f"{REQUEST_TOKENS * memory.kv_per_token / 1e9:.1f}"
    else:
        seen = f"{parts} and {memory.kv / 1e9:.1f} GB KV on {shape['product']} with {memory.total / 1e9:.0f} GB"
    fix = (
        f"Spread the experts over more ranks (wide_ep_{pod.tier}_hosts_per_group), lower wide_ep_redundant_experts, or "
        f"change gpu-memory-utilization or kv-cache-memory-bytes in model_server_{pod.tier}_arguments."
    )
    ranks = plan[pod.tier]["dp_size"]
    return [Finding("CAPACITY_GPU_MEMORY", "error", f"{pod.tier}: GPU memory at {ranks} ranks", seen, fix)]


def disk_findings(pod: Pod, model: Model) -> list[Finding]:
    """Weights in an emptyDir count against the pod's limit of ephemeral storage; host paths do not."""
    source = pod.cache.get("emptyDir")
    if pod.cache and source is None:
        return []
    size = quantity(source["sizeLimit"]) if source and source.get("sizeLimit") else None
    limits = [limit for limit in (pod.disk_limit, size) if limit is not None]
    if not limits or min(limits) >= model.on_disk + DISK_BESIDE_WEIGHTS:
        return []
    seen = f"the cache is an emptyDir that may hold {written('ephemeral-storage', min(limits))}; the weights take "
    seen += f"{model.on_disk / 1e12:.2f} TB, and what vLLM compiles comes on top"
    fix = "Set model_server_hf_cache to a path on the nodes, or raise limits.ephemeral-storage to 1Ti."
    return [Finding("CAPACITY_DISK", "error", f"{pod.tier}: model cache", seen, fix)]


def start_findings(pod: Pod, model: Model, gbit_per_s: float) -> list[Finding]:
    """A pod that does not start within its budget is restarted, and its group with it, again and again."""
    if gbit_per_s <= 0:
        return []
    needed = download_seconds(model, gbit_per_s) + LOAD_SECONDS
    if needed <= pod.start_seconds:
        return []
    minutes = (
        f"{needed / 60:.0f} min: {model.on_disk / 1e12:.2f} TB at {gbit_per_s:g} Gbit/s, and 10 to load and compile"
    )
    seen = f"the start probe gives {pod.start_seconds / 60:.0f} min, a cold start takes {minutes}"
    fix = (
        "Fill the host caches first (playbooks/prefetch.yml), or "
        if pod.host_cache
        else "Set model_server_hf_cache to a path on the nodes, or "
    )
    fix += f"set model_server_start_budget_seconds to {math.ceil(needed / 60) * 60} or more."
    severity: t.Literal["error", "warning"] = "warning" if pod.host_cache else "error"
    return [Finding("CAPACITY_START_BUDGET", severity, f"{pod.tier}: start", seen, fix)]


def why_not(node: Json, spec: Json) -> str | None:
    """Why a pod may not run on a node whatever is free there; None if it may."""
    node_spec, labels = node.get("spec") or {}, node["metadata"].get("labels") or {}
    conditions = {entry["type"]: entry["status"] for entry in (node.get("status") or {}).get("conditions") or ()}
    if conditions.get("Ready") != "True":
        return "not Ready"
    if node_spec.get("unschedulable"):
        return "cordoned"
    wanted = spec.get("nodeSelector") or {}
    missing = [f"{key}={value}" for key, value in wanted.items() if labels.get(key) != value]
    if missing:
        return f"no label {missing[0]}"
    terms = _required_terms(spec)
    if terms and not any(_term_holds(term, node) for term in terms):
        return "its labels do not match the node affinity"
    for taint in node_spec.get("taints") or ():
        if taint["effect"] in ("NoSchedule", "NoExecute") and not tolerated(taint, spec.get("tolerations") or ()):
            return f"taint {taint['key']}:{taint['effect']}"
    return None


def _required_terms(spec: Json) -> list[Json]:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    return list(required.get("nodeSelectorTerms") or ())


def _term_holds(term: Json, node: Json) -> bool:
    labels = node["metadata"].get("labels") or {}
    name = {"metadata.name": node["metadata"]["name"]}
    return all(_expression_holds(entry, labels) for entry in term.get("matchExpressions") or ()) and all(
        _expression_holds(entry, name) for entry in term.get("matchFields") or ()
    )


def _expression_holds(entry: Json, labels: Json) -> bool:
    value, values = labels.get(entry["key"]), entry.get("values") or []
    held: t.Mapping[str, t.Callable[[], bool]] = {
        "In": lambda: value in values,
        "NotIn": lambda: value not in values,
        "Exists": lambda: value is not None,
        "DoesNotExist": lambda: value is None,
        "Gt": lambda: value is not None and int(value) > int(values[0]),
        "Lt": lambda: value is not None and int(value) < int(values[0]),
    }
    return held[entry["operator"]]()


def tolerated(taint: Json, tolerations: t.Iterable[Json]) -> bool:
    for entry in tolerations:
        same_key = entry.get("key") in (None, "", taint["key"])
        same_value = entry.get("operator") == "Exists" or entry.get("value", "") == taint.get("value", "")
        if same_key and same_value and entry.get("effect") in (None, "", taint["effect"]):
            return True
    return False


def allocatable(node: Json) -> Amounts:
    offered = (node.get("status") or {}).get("allocatable") or {}
    return {name: quantity(value) for name, value in offered.items()}


def node_findings(
    plan: Json, objects: t.Iterable[Json], nodes: t.Sequence[Json], may_grow: bool = False
) -> list[Finding]:
    """The rendered pods against the nodes of the cluster; what other pods hold of them is not known here.

    Without a single GPU node, or where pools grow, too few of them may be no more than a matter of time.
    """
    tiers = pods(plan, objects)
    reasons: collections.Counter[str] = collections.Counter()
    free = {node["metadata"]["name"]: allocatable(node) for node in nodes}
    waiting: list[str] = []
    # The large ones first: small pods find room in what is left.
    for tier in sorted(tiers, key=lambda role: -plan[role]["ranks_per_host"]):
        for name in plan[tier]["pods"]:
            if not _place(tiers[tier], nodes, free, reasons if not waiting else collections.Counter()):
                waiting.append(name)
    if waiting:
        with_gpus = any(allocatable(node).get(GPU) for node in nodes)
        severity: t.Literal["error", "warning"] = "warning" if may_grow or not with_gpus else "error"
        seen = f"{len(waiting)} of {plan['nodes']} pods ({plan['gpus']} GPUs) find no node, first {waiting[0]}; "
        seen += f"{len(nodes)} nodes: " + (", ".join(f"{count} {why}" for why, count in reasons.items()) or "none")
        fix = "Add nodes, uncordon or label them, or make the deployment smaller (wide_ep_*_groups, _hosts_per_group). "
        fix += "Where the pools grow by themselves, set model_server_nodes_may_grow: true."
        return [Finding("CAPACITY_NODES", severity, "nodes of the cluster", seen, fix)]
    return []


def lacking(pod: Pod, offered: Amounts) -> str | None:
    """A resource of which a pod asks more than is offered, GPUs first."""
    names = sorted(pod.requests, key=lambda name: (name != GPU, name))
    return next((name for name in names if pod.requests[name] > offered.get(name, NOTHING)), None)


def _place(pod: Pod, nodes: t.Sequence[Json], free: dict[str, Amounts], reasons: collections.Counter[str]) -> bool:
    tried: collections.Counter[str] = collections.Counter()
    for node in nodes:
        name = node["metadata"]["name"]
        why = why_not(node, pod.spec)
        if why is None:
            short = lacking(pod, allocatable(node))
            why = f"too little {short}" if short else "taken by other pods of it" if lacking(pod, free[name]) else None
        if why is None:
            free[name] = {key: value - pod.requests.get(key, NOTHING) for key, value in free[name].items()}
            return True
        tried[why] += 1
    reasons.update(tried)
    return False
