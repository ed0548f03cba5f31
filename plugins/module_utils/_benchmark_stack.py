# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What served a benchmark, as the live cluster tells it, and whether the servers counted what the client did.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_launch import digest
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._prometheus_text import (
    NOT_SERVED,
    PROMPT_TOKENS,
    SIMULATOR_REASON,
    SUCCESS,
    VLLM_REASON,
    Sample,
    parse,
)

GENERATED = "vllm:generation_tokens_total"
STARTED = "process_start_time_seconds"
ENGINE = "vllm"
GPU_RESOURCE = "nvidia.com/gpu"
#: Node label -> what it says; the first that a node has.
GPU_LABELS = ("nvidia.com/gpu.product", "gpu.nvidia.com/model", "cloud.google.com/gke-accelerator")
#: Environment of a server that explains its speed; anything else may hold what a report must not show.
SHOWN_ENVIRONMENT = ("VLLM_", "NVSHMEM_", "NCCL_", "UCX_", "DP_SIZE", "TP_SIZE")
SECRET_WORDS = ("TOKEN", "SECRET", "PASSWORD", "KEY")

Json = t.Mapping[str, t.Any]
JsonObject = dict[str, t.Any]


def fingerprint(sets: t.Iterable[Json], deployments: t.Iterable[Json], load: t.Any) -> str:
    """The same for the same servers, router and load. Pods come and go; their templates say what they are."""
    tiers = [
        {"name": item["metadata"]["name"], "replicas": item["spec"].get("replicas", 1), **item["spec"]} for item in sets
    ]
    routers = [{"name": item["metadata"]["name"], "template": item["spec"]["template"]} for item in deployments]
    by_name: t.Callable[[Json], str] = _name
    return digest([sorted(tiers, key=by_name), sorted(routers, key=by_name), load])


def _name(item: Json) -> str:
    return str(item["name"])


def server(pod: Json) -> JsonObject:
    """The model server among the containers: the one that asks for most resources."""
    containers = pod["spec"]["containers"]
    return t.cast("JsonObject", max(containers, key=lambda one: len((one.get("resources") or {}).get("limits") or {})))


def image_of(pod: Json, container: str) -> str:
    """The image that runs, by digest where the container runtime tells it."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    found: Json = next((status for status in statuses if status["name"] == container), {})
    resolved = str(found.get("imageID") or "")
    name = str(found.get("image") or _spec_image(pod, container))
    digest_part = resolved.partition("@")[2]
    return f"{name.partition('@')[0]}@{digest_part}" if digest_part else name


def _spec_image(pod: Json, container: str) -> str:
    return str(next((one["image"] for one in pod["spec"]["containers"] if one["name"] == container), ""))


def environment(container: Json) -> dict[str, str]:
    return {
        entry["name"]: str(entry["value"])
        for entry in container.get("env") or ()
        if "value" in entry
        and entry["name"].startswith(SHOWN_ENVIRONMENT)
        and not any(word in entry["name"] for word in SECRET_WORDS)
    }


def gpu_of(nodes: t.Iterable[Json]) -> str:
    labels = [(node["metadata"].get("labels") or {}) for node in nodes]
    return next((label[name] for label in labels for name in GPU_LABELS if label.get(name)), "")


def engine(role: str, tier: Json, pods: t.Sequence[Json], nodes: t.Sequence[Json], model: str) -> JsonObject | None:
    """The entry of one tier, from its leader's pod and the plan's numbers; none without a pod."""
    if not pods:
        return None
    leader = min(pods, key=lambda pod: str(pod["metadata"]["name"]))
    container = server(leader)
    image = image_of(leader, container["name"])
    local = {pod["spec"].get("nodeName") for pod in pods}
    gpu = gpu_of(node for node in nodes if node["metadata"]["name"] in local)
    return {
        "label": f"vllm-{role}",
        "tool": ENGINE,
        "tool_version": image,
        "image": image,
        "role": role,
        "model": model,
        **({"gpu": gpu} if gpu else {}),
        "replicas": int(tier["groups"]),
        "gpus": int(tier["gpus"]),
        "tp": 1,
        "dp": int(tier["dp_size"]),
        "dp_local": int(tier["ranks_per_host"]),
        "ep": int(tier["dp_size"]),
        "pp": 1,
        "args": {"command": "\n".join([*(container.get("command") or ()), *(container.get("args") or ())])},
        "envars": environment(container),
    }


def router(pods: t.Sequence[Json], gateway: t.Sequence[Json] = ()) -> list[JsonObject]:
    """Endpoint picker and proxy, which is a pod of the Gateway where there is one.

    A label with the word scheduler is what readers of reports look for.
    """
    labels = {"epp": "inference-scheduler", "envoy": "proxy"}
    found: list[JsonObject] = []
    for container in pods[0]["spec"]["containers"] if pods else ():
        image = image_of(pods[0], container["name"])
        kind = "envoy" if "envoy" in image.rpartition("/")[2] or container["name"].startswith("envoy") else "epp"
        label = labels[kind] if labels[kind] not in [entry["label"] for entry in found] else container["name"]
        found.append({"label": label, "tool": kind, "tool_version": image, "image": image, "replicas": len(pods)})
    if gateway:
        name = gateway[0]["spec"]["containers"][0]["name"]
        image = image_of(gateway[0], name)
        found.append({"label": "proxy", "tool": name, "tool_version": image, "image": image, "replicas": len(gateway)})
    return found


def restarts(pods: t.Iterable[Json]) -> dict[str, tuple[str, int]]:
    """Per pod its uid and how often its containers have started anew."""
    return {
        pod["metadata"]["name"]: (
            str(pod["metadata"].get("uid")),
            sum(
                int(status.get("restartCount") or 0)
                for status in (pod.get("status") or {}).get("containerStatuses") or ()
            ),
        )
        for pod in pods
    }


def change_findings(before: t.Mapping[str, tuple[str, int]], after: t.Mapping[str, tuple[str, int]]) -> list[Finding]:
    """Servers that are not those that the load began with."""
    gone = sorted(name for name, (uid, _count) in before.items() if after.get(name, ("", 0))[0] != uid)
    again = sorted(name for name, state in before.items() if name not in gone and after[name][1] != state[1])
    if not gone and not again:
        return []
    parts = [f"{', '.join(names)} {what}" for names, what in ((gone, "replaced"), (again, "restarted")) if names]
    fix = "Find out why (playbooks/status.yml, the pods' events), then run the benchmark again: it was slowed by this."
    return [Finding("BENCHMARK_STACK_CHANGED", "warning", "model servers", "; ".join(parts), fix)]


# Counters


@dataclasses.dataclass(frozen=True)
class Counted:
    """What one server process served while a run went on."""

    pod: str
    role: str
    rank: str
    requests: float
    prompt_tokens: float
    output_tokens: float


def counted(run: Json) -> tuple[list[Counted], list[str]]:
    """Per process the difference of both looks, and what stands against it: no answer, or a restart in between."""
    scrapes = run.get("counters") or {}
    before = {(entry["pod"], entry["port"]): entry for entry in scrapes.get("before") or ()}
    found, problems = [], []
    for entry in scrapes.get("after") or ():
        first = before.get((entry["pod"], entry["port"]))
        name = f"{entry['pod']}:{entry['port']}"
        if first is None or first.get("error") or entry.get("error"):
            problems.append(f"{name}: {entry.get('error') or (first or {}).get('error') or 'not seen before the load'}")
            continue
        old, new = parse(first["lines"]), parse(entry["lines"])
        if _sum(new, STARTED) != _sum(old, STARTED):
            problems.append(f"{name}: it was started anew during the load")
            continue
        found += _differences(entry, old, new)
    return found, problems


def _differences(entry: Json, old: t.Sequence[Sample], new: t.Sequence[Sample]) -> list[Counted]:
    """One row per engine, where the server tells its ranks apart."""
    engines = sorted({sample.labels.get("engine", "") for sample in new if sample.name == SUCCESS}) or [""]
    rows = []
    for name in engines:
        served = _served(new, name) - _served(old, name)
        prompt = _sum(new, PROMPT_TOKENS, name) - _sum(old, PROMPT_TOKENS, name)
        output = _sum(new, GENERATED, name) - _sum(old, GENERATED, name)
        rows.append(Counted(entry["pod"], entry["role"], name or str(entry["port"]), served, prompt, output))
    return rows


def _sum(samples: t.Iterable[Sample], name: str, engine: str | None = None) -> float:
    return sum(s.value for s in samples if s.name == name and engine in (None, "", s.labels.get("engine", "")))


def _served(samples: t.Iterable[Sample], engine: str) -> float:
    """Requests that ended well; for a prefill server those that it prefilled for others."""
    return sum(
        sample.value
        for sample in samples
        if sample.name == SUCCESS
        and engine in ("", sample.labels.get("engine", ""))
        and (sample.labels.get(SIMULATOR_REASON) or sample.labels.get(VLLM_REASON)) not in NOT_SERVED
    )


def rank_rows(rows: t.Iterable[Counted]) -> list[JsonObject]:
    """For the balance on the page."""
    return [{"role": row.role, "pod": row.pod, "rank": row.rank, "requests": row.requests} for row in rows]


@dataclasses.dataclass(frozen=True)
class Totals:
    requests: float
    prefilled: float
    output_tokens: float

    def as_dict(self) -> dict[str, float]:
        return dataclasses.asdict(self)


def totals(rows: t.Sequence[Counted]) -> Totals:
    """What the servers counted together: decode answers, prefill works for it."""
    decode = [row for row in rows if row.role == "decode"]
    return Totals(
        sum(row.requests for row in decode),
        sum(row.requests for row in rows if row.role == "prefill"),
        sum(row.output_tokens for row in decode),
    )


def agreement(folder: str, client: Json, rows: t.Sequence[Counted], problems: t.Sequence[str]) -> list[Finding]:
    """Whether the servers counted what the client did. ``client`` has its requests and the tokens of their answers."""
    code, where = "BENCHMARK_COUNTERS", f"run {folder}"
    if problems:
        fix = "Compare with the servers' own logs; the client's figures are not confirmed by the servers."
        return [Finding(code, "warning", where, f"counters are missing: {'; '.join(problems[:4])}", fix)]
    if not rows:
        return []
    server_side = totals(rows)
    pairs: list[tuple[str, float, float]] = [("requests", client["requests"], server_side.requests)]
    if client.get("output_tokens") is not None:
        pairs.append(("output tokens", client["output_tokens"], server_side.output_tokens))
    less = [f"{seen:.0f} {what} of the client's {sent:.0f}" for what, sent, seen in pairs if seen < sent]
    more = [f"{seen:.0f} {what}, the client {sent:.0f}" for what, sent, seen in pairs if seen > sent]
    if less:
        fix = "Something between client and servers answers in their place, or a decode pod is not in the pool."
        return [Finding(code, "error", where, f"decode servers counted {', '.join(less)}", fix)]
    if more:
        fix = "Find out who else sends requests: a benchmark needs the deployment for itself."
        return [Finding(code, "warning", where, f"decode servers counted {', '.join(more)}", fix)]
    evidence = f"client and decode servers agree on {client['requests']:.0f} requests"
    if client.get("output_tokens") is not None:
        evidence += f" and {client['output_tokens']:.0f} output tokens"
    evidence += f"; prefill servers counted {server_side.prefilled:.0f}"
    return [Finding(code, "info", where, evidence, "None is needed.")]
