# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment and its nodes in a few lines, as the API server shows them."""

from __future__ import annotations

import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._operate import Seen
from ansible_collections.llmd.wide_ep.plugins.module_utils._plan import build_plan

Object = dict[str, t.Any]
RELEASE, NAMESPACE = "wide-ep-lws", "llm-d-wide-ep"
LABEL = {"wide-ep.llm-d.ai/deployment": RELEASE}


def plan(**changes: t.Any) -> Object:
    inputs = {
        "release": RELEASE,
        "namespace": NAMESPACE,
        "model": "deepseek-ai/DeepSeek-R1-0528",
        "overlay": "gke",
        "components": [],
        "load_balancing": "hybrid",
        "router_mode": "standalone",
        "gateway_provider": "none",
        "redundant_experts": 32,
        **{f"{role}_groups": 1 for role in ("prefill", "decode")},
        **{f"{role}_hosts_per_group": 2 for role in ("prefill", "decode")},
        **{f"{role}_ranks_per_host": 8 for role in ("prefill", "decode")},
        "prefill_all2all_backend": "deepep_high_throughput",
        "decode_all2all_backend": "deepep_low_latency",
    }
    return build_plan({**inputs, **changes}).as_dict()


def pod_spec(gpus: int = 8, **more: t.Any) -> Object:
    amounts = {"nvidia.com/gpu": str(gpus), "cpu": "32", "memory": "512Gi"}
    container = {
        "name": "vllm",
        "image": "registry.example/vllm:v1",
        "resources": {"requests": amounts, "limits": amounts},
        "env": [{"name": "HF_HUB_CACHE", "value": "/var/cache/huggingface"}],
        "volumeMounts": [{"name": "hf-cache", "mountPath": "/var/cache/huggingface"}],
    }
    path = "/mnt/stateful_partition/kube-ephemeral-ssd/shared_disk/vllm-hf-cache/"
    return {
        "containers": [container],
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "volumes": [{"name": "hf-cache", "hostPath": {"path": path}}],
        **more,
    }


def workload(role: str, groups: int = 1, size: int = 2, spec: Object | None = None, **labels: str) -> Object:
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {
            "name": f"{RELEASE}-nvidia-gpu-vllm-{role}",
            "namespace": NAMESPACE,
            "labels": {**LABEL, "llm-d.ai/role": role, **labels},
        },
        "spec": {
            "replicas": groups,
            "leaderWorkerTemplate": {"size": size, "workerTemplate": {"spec": spec or pod_spec()}},
        },
    }


def pod(role: str, group: int, worker: int, node: str, *, ready: bool = True, revision: str = "r1") -> Object:
    name = f"{RELEASE}-nvidia-gpu-vllm-{role}-{group}" + (f"-{worker}" if worker else "")
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {
                **LABEL,
                "llm-d.ai/role": role,
                "leaderworkerset.sigs.k8s.io/name": f"{RELEASE}-nvidia-gpu-vllm-{role}",
                "leaderworkerset.sigs.k8s.io/group-index": str(group),
                "leaderworkerset.sigs.k8s.io/worker-index": str(worker),
                "leaderworkerset.sigs.k8s.io/template-revision-hash": revision,
            },
        },
        "spec": {**pod_spec(), "nodeName": node},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"name": "vllm", "restartCount": 0, "imageID": "registry.example/vllm@sha256:1"}],
        },
    }


def node(name: str, gpus: int = 8, *, allocatable: int | None = None, cordoned: bool = False, **labels: str) -> Object:
    amounts = {"cpu": "220", "memory": "2600Gi", "ephemeral-storage": "10Ti", "pods": "110"}
    rails = {f"networking.gke.io.networks/rdma-{index}.IP": "1" for index in range(8)} if gpus else {}
    there = {**amounts, **rails, "nvidia.com/gpu": str(gpus if allocatable is None else allocatable)}
    taints = [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}] if gpus else []
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints, **({"unschedulable": True} if cordoned else {})},
        "status": {
            "capacity": {**amounts, "nvidia.com/gpu": str(gpus)},
            "allocatable": there,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


ROUTER: Object = {
    "metadata": {
        "name": f"{RELEASE}-epp",
        "namespace": NAMESPACE,
        "annotations": {"meta.helm.sh/release-name": RELEASE},
    },
    "spec": {"replicas": 1},
    "status": {"readyReplicas": 1},
}
SPACE: Object = {"metadata": {"name": NAMESPACE, "labels": LABEL}}


def deployed(decode_groups: int = 1, **changes: t.Any) -> Seen:
    """Prefill on nodes gpu-0 and gpu-1, decode from gpu-2 on."""
    decode = [
        pod("decode", group, worker, f"gpu-{2 + 2 * group + worker}")
        for group in range(decode_groups)
        for worker in (0, 1)
    ]
    given = {
        "namespace": SPACE,
        "sets": (workload("prefill"), workload("decode", decode_groups)),
        "deployments": (ROUTER,),
        "pods": (pod("prefill", 0, 0, "gpu-0"), pod("prefill", 0, 1, "gpu-1"), *decode),
    }
    return Seen(**{**given, **changes})
