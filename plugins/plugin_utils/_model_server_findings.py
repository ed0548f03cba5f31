# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges what the model servers are rendered from. Private to the collection; it may change at any time."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_forms import MODEL, form_findings
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_manifests import (
    GPU_RESOURCE,
    TIERS,
    Layer,
    check_layer,
    merged_layers,
)
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_releases import release_findings

Json = t.Mapping[str, t.Any]

#: Exactly one of these says who balances the ranks of a pod.
BALANCING = {"hybrid": "data-parallel-hybrid-lb", "multi_port": "data-parallel-multi-port-external-lb"}
OTHER_BALANCING = ("data-parallel-external-lb", "data-parallel-rank", "headless")
#: The supervisor's port stands behind those of the ranks, and the routing sidecar takes no more.
MOST_RANK_PORTS = 8
#: Arguments that follow from the plan or belong together, and what to set instead.
PLANNED = {
    "all2all-backend": "wide_ep_{role}_all2all_backend",
    "data-parallel-size": "wide_ep_{role}_hosts_per_group or wide_ep_{role}_ranks_per_host",
    "data-parallel-size-local": "wide_ep_{role}_ranks_per_host",
    "data-parallel-start-rank": "wide_ep_{role}_ranks_per_host",
    "data-parallel-address": "nothing: it is the group's leader",
    "data-parallel-supervisor-port": "nothing: the probes ask there",
    "model": "wide_ep_model",
    "port": "nothing: the pool's ports follow from wide_ep_load_balancing",
    "served-model-name": "model_server_served_names",
}
SECRET = re.compile(r"(^|[-_])(token|password|secret|api[-_]key|access[-_]key)$", re.IGNORECASE)
LOW_LATENCY = "deepep_low_latency"
REHEARSAL = "rehearsal"
#: The name of the claim that _model_server_compute_domain adds.
COMPUTE_DOMAIN = "compute-domain"


def findings(
    plan: Json, known: Json, judged: t.Iterable[t.Sequence[t.Any]], own: t.Sequence[Layer], user: t.Sequence[Layer]
) -> list[Finding]:
    """All that keeps this plan from being rendered, or the result from serving."""
    for layer in user:
        check_layer(layer)
    judged = list(judged)
    return [
        *form_findings(judged),
        *plan_findings(plan, known),
        *image_findings(plan, known, judged),
        *backend_findings(plan, known, [*own, *user]),
        *argument_findings(plan, user),
        *secret_findings(user),
        *mode_findings(plan, [*own, *user]),
    ]


def combination(subject: str, seen: str, fix: str) -> Finding:
    return Finding("INPUT_COMBINATION", "error", subject, seen, fix)


def plan_findings(plan: Json, known: Json) -> list[Finding]:
    overlay, mode = plan["overlay"], plan["load_balancing"]
    ranks = known["hardware"]["ranks_per_host"].get(overlay)
    found = [
        combination(
            f"wide_ep_{role}_ranks_per_host={plan[role]['ranks_per_host']} with wide_ep_overlay={overlay}",
            f"its hosts have {ranks} GPUs: other pods are never scheduled, or leave GPUs idle",
            f"Set wide_ep_{role}_ranks_per_host to {ranks} and wide_ep_{role}_hosts_per_group to "
            f"{max(1, plan[role]['hosts_per_group'] * plan[role]['ranks_per_host'] // ranks)}.",
        )
        for role in TIERS
        if ranks and plan[role]["ranks_per_host"] != ranks
    ]
    if MODEL.fullmatch(plan["model"]) is None:
        seen = f"{plan['model']!r} is neither a model's name nor a path"
        fix = "Write it as the hub does, for example deepseek-ai/DeepSeek-R1-0528."
        found.append(Finding("INPUT_TYPE", "error", "wide_ep_model", seen, fix))
    if mode != "multi_port":
        return found
    for role in TIERS:
        if plan[role]["ranks_per_host"] > MOST_RANK_PORTS:
            subject = f"wide_ep_{role}_ranks_per_host={plan[role]['ranks_per_host']} with multi_port"
            seen = f"a pod has ports for {MOST_RANK_PORTS} ranks"
            found.append(combination(subject, seen, "Use smaller hosts, or wide_ep_load_balancing=hybrid."))
    return found


def image_findings(plan: Json, known: Json, judged: t.Iterable[t.Sequence[t.Any]]) -> list[Finding]:
    refused = known["hardware"]["refused_images"].get(plan["overlay"], ())
    found = []
    for subject, form, value in judged:
        if form != "image":
            continue
        kind = "sidecar" if str(subject).endswith(".sidecar") else "vllm"
        found += release_findings(
            str(subject), str(value), plan["load_balancing"], known["releases"][kind], refused if kind == "vllm" else ()
        )
    return found


def backend_findings(plan: Json, known: Json, layers: t.Sequence[Layer]) -> list[Finding]:
    found = []
    for role in TIERS:
        backend = plan[role]["all2all_backend"]
        subject = f"wide_ep_{role}_all2all_backend"
        if backend not in known["all2all_backends"]:
            fix = f"Use one of those of vLLM 0.19.1: {', '.join(known['all2all_backends'])}."
            found.append(Finding("INPUT_TYPE", "error", subject, f"vLLM does not know {backend!r}", fix))
        elif backend == LOW_LATENCY and REHEARSAL not in plan["components"]:
            merged = merged_layers(layers, role)
            if not known["rdma_resources"] or not asks_for_rdma(merged):
                seen = (
                    f"{LOW_LATENCY} sends between all ranks by RDMA, and the pods ask for no RDMA resource or network"
                )
                fix = (
                    "Name the nodes' RDMA resource in model_server_resources (limits and requests, for example "
                    f"rdma/ib), or set {subject} to allgather_reducescatter."
                )
                found.append(Finding("RDMA_MISSING", "error", f"{role}: {subject}={backend}", seen, fix))
    found += _compute_domain(plan, known, layers)
    return found


def claims(merged: Json) -> list[str]:
    return [item["name"] for item in merged.get("pod", {}).get("spec", {}).get("resourceClaims", [])]


def _compute_domain(plan: Json, known: Json, layers: t.Sequence[Layer]) -> list[Finding]:
    claimed = any(COMPUTE_DOMAIN in claims(merged_layers(layers, role)) for role in TIERS)
    if not claimed or plan["overlay"] in known["hardware"]["compute_domain"]:
        return []
    return [
        combination(
            f"model_server_compute_domain_claim with wide_ep_overlay={plan['overlay']}",
            "its hosts have no NVLink between each other",
            f"Leave it empty, or use overlay {' or '.join(known['hardware']['compute_domain'])}.",
        )
    ]


def asks_for_rdma(merged: Json) -> bool:
    """A resource of an RDMA device plugin, a claim, or a GKE network of that kind, whose resource is added later."""
    resources = merged.get("container", {}).get("resources", {})
    named = [
        name
        for kind in ("limits", "requests")
        for name, amount in (resources.get(kind) or {}).items()
        if ("rdma" in name or "hostdev" in name) and name != GPU_RESOURCE and str(amount) != "0"
    ]
    notes = merged.get("pod", {}).get("metadata", {}).get("annotations", {})
    networks = str(notes.get("networking.gke.io/interfaces", ""))
    return bool(named) or '"rdma-' in networks or any(name != COMPUTE_DOMAIN for name in claims(merged))


def argument_findings(plan: Json, user: t.Sequence[Layer]) -> list[Finding]:
    """What the user's arguments may not say, because something else follows from the same number."""
    return [
        combination(
            f"{role}: argument {name}",
            f"{given[name]!r} contradicts the plan, from which pods, ports and quotas follow",
            f"Remove it and set {instead.format(role=role)}.",
        )
        for role in TIERS
        for given in [merged_layers(user, role).get("arguments", {})]
        for name, instead in PLANNED.items()
        if name in given
    ]


def secret_findings(user: t.Sequence[Layer]) -> list[Finding]:
    """Values that should be in a Secret: manifests, diffs and process lists show them."""
    shown = [
        (section, name)
        for section in ("environment", "arguments")
        for role in TIERS
        for name, value in merged_layers(user, role).get(section, {}).items()
        if SECRET.search(name) and not isinstance(value, t.Mapping)
    ]
    fix = (
        "Put it into a Secret of the namespace, and write the variable as {secretKeyRef: {name: …, key: …}}; an "
        "argument then reads it as {env: NAME}."
    )
    return [
        Finding("INPUT_TYPE", "error", f"{section}: {name}", "its value would be shown in manifests and diffs", fix)
        for section, name in dict.fromkeys(shown)
    ]


def mode_findings(plan: Json, layers: t.Sequence[Layer]) -> list[Finding]:
    """Whether vLLM's arguments, the sidecar's and the pool's ports are of one load-balancing mode."""
    mode = plan["load_balancing"]
    fix = (
        f"Remove it from the role's variables: everything that belongs to wide_ep_load_balancing={mode} follows from "
        "that one variable."
    )
    found = []
    for role in TIERS:
        merged = merged_layers(layers, role)
        arguments = merged.get("arguments", {})
        given = [name for name in (*BALANCING.values(), *OTHER_BALANCING) if arguments.get(name) not in (None, False)]
        if given != [BALANCING[mode]]:
            seen = f"vLLM gets {' and '.join(given) or 'no load-balancing argument'} instead of {BALANCING[mode]} alone"
            found.append(combination(f"{role}: load balancing", seen, fix))
        if mode == "multi_port" and arguments.get("api-server-count") not in (None, 1):
            seen = "api-server-count is for one endpoint per pod; here each rank has a server"
            found.append(combination(f"{role}: argument api-server-count", seen, fix))
    return found + _sidecar_findings(plan, merged_layers(layers, "decode"), fix)


def _sidecar_findings(plan: Json, merged: Json, fix: str) -> list[Finding]:
    tier, given = plan["decode"], merged.get("sidecar", {})
    multi_port = plan["load_balancing"] == "multi_port"
    size = given.get("data-parallel-size", 1)
    ranks = tier[size["plan"]] if isinstance(size, t.Mapping) else size
    expected = {
        "data-parallel-size": (ranks, tier["ranks_per_host"] if multi_port else 1),
        "port": (given.get("port"), 8000),
        "vllm-port": (given.get("vllm-port"), merged.get("arguments", {}).get("port")),
    }
    return [
        combination(
            f"decode: argument {name} of the routing sidecar",
            f"it is {seen}; the pool's and vLLM's ports need {needed}",
            fix,
        )
        for name, (seen, needed) in expected.items()
        if str(seen) != str(needed)
    ]


def node_findings(plan: Json, nodes: t.Iterable[Json], rdma_resources: Json) -> list[Finding]:
    """Whether the GPU nodes that exist have what low-latency decode needs; none exist before a pool grows."""
    backends = {role: plan[role]["all2all_backend"] for role in TIERS}
    if LOW_LATENCY not in backends.values() or REHEARSAL in plan["components"]:
        return []
    allocatable = [node.get("status", {}).get("allocatable", {}) for node in nodes]
    with_gpus = [found for found in allocatable if str(found.get(GPU_RESOURCE, "0")) != "0"]
    missing = [
        name
        for name in rdma_resources
        if with_gpus and not any(str(found.get(name, "0")) != "0" for found in with_gpus)
    ]
    if not missing:
        return []
    tiers = ", ".join(role for role, backend in backends.items() if backend == LOW_LATENCY)
    return [
        Finding(
            "RDMA_MISSING",
            "error",
            f"{tiers}: {LOW_LATENCY} with wide_ep_overlay={plan['overlay']}",
            f"none of {len(with_gpus)} GPU nodes has {', '.join(missing)}",
            "Install the device plugin or attach the networks that give nodes the resource, choose the overlay of "
            "the nodes, or set the tier's all2all backend to allgather_reducescatter.",
        )
    ]
