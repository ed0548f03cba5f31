# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes objects of the prefill and decode tiers. Private to the collection; it may change at any time.

A layer is data: what a tier, an overlay, a component or the user sets. The guide's manifests are the first layer, and
all layers have the same shape, so that another overlay needs no code:

* ``arguments``: vLLM's arguments by name, without dashes; C(null) removes one.
* ``environment``: the container's variables by name; a value, a C(valueFrom) mapping, or C(null) to remove one.
* ``sidecar``: the routing sidecar's arguments; C({plan: NAME}) takes a number from the tier's plan.
* ``caches``: the volumes hf-cache and jit-cache by name: a path of the node, or C(emptyDir).
* ``rank_ports``: by container, a port per rank: the C(name) in front of the rank's number, and the C(first) port.
* ``container``, ``pod``, ``workload``: patches of the C(vllm) container, the pod template and the LeaderWorkerSet.

Each layer has a ``name`` for messages, and these keys under ``common``, ``prefill`` and ``decode``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import typing as t

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_command import (
    ENVIRONMENT_NAME,
    proxy_arguments,
    script,
)
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._overlay import merge, merge_all

TIERS = ("prefill", "decode")
SECTIONS = ("arguments", "environment", "sidecar", "caches", "rank_ports", "container", "pod", "workload")
SCOPES = ("common", *TIERS)
CONTAINER = "vllm"
SIDECAR = "routing-proxy"
GPU_RESOURCE = "nvidia.com/gpu"
REVISION_ANNOTATION = "wide-ep.llm-d.ai/revision"
EMPTY_DIR = "emptyDir"

Layer = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Tier:
    """What the plan says about one tier."""

    role: str
    lws_name: str
    groups: int
    hosts_per_group: int
    ranks_per_host: int
    redundant_experts: int
    all2all_backend: str

    @classmethod
    def from_plan(cls, plan: t.Mapping[str, t.Any], role: str) -> Tier:
        return cls(**{field.name: plan[role][field.name] for field in dataclasses.fields(cls)})


@dataclasses.dataclass(frozen=True)
class Options:
    """What is neither in the plan nor a layer."""

    vllm_image: str
    sidecar_image: str
    image_pull_policy: str
    service_account: str


def manifests(plan: t.Mapping[str, t.Any], options: Options, layers: t.Sequence[Layer]) -> list[dict[str, t.Any]]:
    """The service account and one LeaderWorkerSet per tier. Later layers win."""
    for layer in layers:
        check_layer(layer)
    sets = [leader_worker_set(plan, options, layers, role) for role in TIERS]
    return [service_account(plan, options, sets[0]), *sets]


def check_layer(layer: Layer) -> None:
    """Refuse what would be ignored: a mistyped key must not change nothing in silence."""
    name = layer.get("name", "without a name")
    for scope, sections in layer.items():
        if scope == "name":
            continue
        if scope not in SCOPES:
            raise ValueError(f"layer {name}: unknown scope {scope!r}; one of {', '.join(SCOPES)}")
        for section in sections or {}:
            if section not in SECTIONS:
                raise ValueError(f"layer {name}: unknown section {scope}.{section}; one of {', '.join(SECTIONS)}")


def leader_worker_set(
    plan: t.Mapping[str, t.Any], options: Options, layers: t.Sequence[Layer], role: str
) -> dict[str, t.Any]:
    tier = Tier.from_plan(plan, role)
    merged = merged_layers(layers, role)
    pod = merge(merged["pod"], pod_values(plan, options))
    pod["spec"] = merge(pod["spec"], {"containers": [vllm_container(plan, options, tier, merged)]})
    if "initContainers" in pod["spec"]:
        pod["spec"] = merge(pod["spec"], {"initContainers": [sidecar_values(options, tier, merged)]})
    pod["spec"] = with_rank_ports(pod["spec"], merged.get("rank_ports", {}), tier.ranks_per_host)
    pod["metadata"]["annotations"] = {**pod["metadata"].get("annotations", {}), REVISION_ANNOTATION: revision(pod)}
    workload = merge(merged["workload"], workload_values(plan, tier))
    workload["spec"]["leaderWorkerTemplate"]["workerTemplate"] = pod
    return workload


def merged_layers(layers: t.Iterable[Layer], role: str) -> dict[str, t.Any]:
    """What the layers say together about one tier."""
    scopes = [layer.get(scope) or {} for layer in layers for scope in ("common", role)]
    return merge_all(part for scope in scopes for part in (volumes_of(scope.get("caches") or {}), scope))


def volumes_of(caches: t.Mapping[str, str]) -> dict[str, t.Any]:
    """The caches as a patch, so that the last layer that names one decides what it is."""
    volumes: list[dict[str, t.Any]] = [
        {"name": name, "hostPath": None, "emptyDir": {}}
        if place == EMPTY_DIR
        else {"name": name, "emptyDir": None, "hostPath": {"path": place, "type": "DirectoryOrCreate"}}
        for name, place in caches.items()
    ]
    return {"pod": {"spec": {"volumes": volumes}}} if volumes else {}


def with_rank_ports(
    spec: t.Mapping[str, t.Any], rank_ports: t.Mapping[str, t.Mapping[str, t.Any]], ranks: int
) -> dict[str, t.Any]:
    """The pod's spec with a port for each rank, in front of the containers' other ports."""

    def expanded(container: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        wanted = rank_ports.get(container["name"])
        if wanted is None:
            return dict(container)
        ports = [
            {"name": f"{wanted['name']}{rank}", "containerPort": wanted["first"] + rank, "protocol": "TCP"}
            for rank in range(ranks)
        ]
        return {**container, "ports": ports + container.get("ports", [])}

    kinds = [kind for kind in ("initContainers", "containers") if kind in spec]
    return {**spec, **{kind: [expanded(container) for container in spec[kind]] for kind in kinds}}


def workload_values(plan: t.Mapping[str, t.Any], tier: Tier) -> dict[str, t.Any]:
    return {
        "metadata": {
            "name": tier.lws_name,
            "namespace": plan["namespace"],
            "labels": {**model_label(plan), **plan["labels"]},
        },
        "spec": {"replicas": tier.groups, "leaderWorkerTemplate": {"size": tier.hosts_per_group}},
    }


def pod_values(plan: t.Mapping[str, t.Any], options: Options) -> dict[str, t.Any]:
    return {
        "metadata": {"labels": {**model_label(plan), **plan["labels"]}},
        "spec": {"serviceAccountName": options.service_account},
    }


def vllm_container(
    plan: t.Mapping[str, t.Any], options: Options, tier: Tier, merged: t.Mapping[str, t.Any]
) -> dict[str, t.Any]:
    arguments = {**merged.get("arguments", {}), "all2all-backend": tier.all2all_backend}
    if "eplb-config" in arguments:
        # vLLM parses the numbers out of strings, as the guide writes them.
        redundant = {"num_redundant_experts": str(tier.redundant_experts)}
        arguments["eplb-config"] = {**arguments["eplb-config"], **redundant}
    gpus = {GPU_RESOURCE: str(tier.ranks_per_host)}
    values = {
        "name": CONTAINER,
        "image": options.vllm_image,
        "imagePullPolicy": options.image_pull_policy,
        "command": ["/bin/bash", "-c"],
        "args": [script(plan["model"], arguments)],
        "env": environment({**merged.get("environment", {}), "DP_SIZE_LOCAL": tier.ranks_per_host}),
        "resources": {"limits": gpus, "requests": gpus},
    }
    return merge(values, merged.get("container", {}))


def sidecar_values(options: Options, tier: Tier, merged: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {
        "name": SIDECAR,
        "image": options.sidecar_image,
        "imagePullPolicy": options.image_pull_policy,
        "args": proxy_arguments(merged.get("sidecar", {}), dataclasses.asdict(tier)),
    }


def environment(variables: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    entries = []
    for name, value in variables.items():
        if not ENVIRONMENT_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of an environment variable")
        if isinstance(value, t.Mapping):
            entries.append({"name": name, "valueFrom": dict(value)})
        elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError(f"{name} has the value {value!r}; quote it, so that the program sees what you mean")
        else:
            entries.append({"name": name, "value": str(value)})
    return entries


def service_account(plan: t.Mapping[str, t.Any], options: Options, workload: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    shared = ("llm-d.ai/accelerator-variant", "llm-d.ai/accelerator-vendor", "llm-d.ai/guide", "llm-d.ai/model")
    labels = workload["metadata"]["labels"]
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": options.service_account,
            "namespace": plan["namespace"],
            "labels": {**{key: labels[key] for key in shared if key in labels}, **plan["labels"]},
        },
    }


def model_label(plan: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The guide's label: the model's name without its owner, made a valid label value."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", plan["model"].rstrip("/").rpartition("/")[2])[:63]
    return {"llm-d.ai/model": name.strip("-_.")}


def revision(pod: t.Mapping[str, t.Any]) -> str:
    """A hash of the pod template: tells pods of the current template from older ones."""
    return hashlib.sha256(json.dumps(pod, sort_keys=True).encode()).hexdigest()[:12]
