# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every check with a snapshot on which it fires and one on which it is silent."""

from __future__ import annotations

import dataclasses
import typing as t

import operate_data as data
import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._preflight_snapshot import Question, Snapshot
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _preflight

Object = dict[str, t.Any]

SHAPE = {
    "machine_type": "a3-ultragpu-8g",
    "product": "H200",
    "architecture": "amd64",
    "gpus": 8,
    "gpu_memory_gb": 141,
    "rdma_nics": 8,
    "allocatable": {"cpu": "220", "memory": "2600Gi", "ephemeral-storage": "10Ti"},
    "rdma_resources": {f"networking.gke.io.networks/rdma-{index}.IP": "1" for index in range(8)},
    "labels": {},
    "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}],
    "topology_levels": ["cloud.google.com/gce-topology-block", "kubernetes.io/hostname"],
}
SSD = {"cloud.google.com/gke-ephemeral-storage-local-ssd": "true"}
LABELS = {**SSD, "nvidia.com/cuda.driver-version.major": "570", "cloud.google.com/gce-topology-block": "b1"}
ZEROS = {f"networking.gke.io.networks/rdma-{index}": "0" for index in range(8)}


def spec(zeros: bool = True, **more: t.Any) -> Object:
    found = data.pod_spec(**more)
    if zeros:
        found["containers"][0]["resources"]["limits"] = {**found["containers"][0]["resources"]["limits"], **ZEROS}
    return found


def gpu_nodes(count: int = 4, **labels: str) -> list[Object]:
    return [data.node(f"gpu-{index}", **(labels or LABELS)) for index in range(count)]


def network(kind: str, index: int, **conditions: str) -> Object:
    given = conditions or ({"Ready": "True", "ParamsReady": "True"} if kind == "Network" else {"Ready": "True"})
    return {
        "kind": kind,
        "metadata": {"name": f"rdma-{index}"},
        "spec": {"deviceMode": "RDMA"} if kind == "GKENetworkParamSet" else {},
        "status": {"conditions": [{"type": name, "status": value, "reason": "r"} for name, value in conditions.items()]}
        if conditions
        else {"conditions": [{"type": name, "status": value} for name, value in given.items()]},
    }


KINDS = {
    "leaderworkerset.x-k8s.io/v1": frozenset({"LeaderWorkerSet"}),
    "inference.networking.k8s.io/v1": frozenset({"InferencePool"}),
    "kueue.x-k8s.io/v1beta2": frozenset({"ClusterQueue"}),
    "networking.gke.io/v1": frozenset({"Network", "GKENetworkParamSet"}),
    "monitoring.coreos.com/v1": frozenset({"PodMonitor"}),
}
LWS_DEPLOYMENT = {
    "metadata": {"name": "lws-controller-manager", "namespace": "lws-system"},
    "spec": {"replicas": 2, "template": {"spec": {"containers": [{"image": "registry.k8s.io/lws/lws:v0.9.0"}]}}},
    "status": {"readyReplicas": 2},
}
HEALTHY = Snapshot(
    version="v1.34.1-gke.100",
    kinds=KINDS,
    nodes=(*gpu_nodes(), data.node("cpu-0", 0)),
    deployments=(LWS_DEPLOYMENT,),
    namespace=data.SPACE,
    token={"kind": "Secret", "metadata": {"name": "llm-d-hf-token"}, "data": {"HF_TOKEN": "<hidden>"}},
    networks=tuple(network("Network", index) for index in range(8)),
    parameter_sets=tuple(network("GKENetworkParamSet", index) for index in range(8)),
    dns_slices=({"endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}]},),
    clock=0.4,
)


def question(components: t.Sequence[str] = (), plan: Object | None = None, **changes: t.Any) -> Question:
    objects = (data.workload("prefill", spec=spec()), data.workload("decode", spec=spec()))
    given: Object = {
        "plan": {**data.plan(components=components), **(plan or {})},
        "shape": SHAPE,
        "objects": objects,
        "router_requests": [{"cpu": "4", "memory": "8Gi"}] * 2,
        "cuda": "12.9",
    }
    return Question(**{**given, **changes})


def taken(node: str, *, priority: int = 0, name: str = "other") -> Object:
    return {
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {}},
        "spec": {**data.pod_spec(1), "nodeName": node, "priority": priority},
        "status": {"phase": "Running"},
    }


def helper(name: str, node: str = "gpu-0", *, going: bool = False, **labels: str) -> Object:
    return {
        "metadata": {
            "name": name,
            "namespace": data.NAMESPACE,
            "uid": name,
            "labels": {**data.LABEL, **labels},
            **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if going else {}),
        },
        "spec": {"containers": [], "nodeName": node},
        "status": {"phase": "Running"},
    }


def with_objects(**changes: t.Any) -> dict[str, t.Any]:
    return {"objects": (data.workload("prefill", spec=spec(**changes)), data.workload("decode", spec=spec(**changes)))}


def claim(name: str = "") -> Object:
    """A volume of the pod's own."""
    spec = {"storageClassName": name} if name else {}
    return {"name": "hf-cache", "ephemeral": {"volumeClaimTemplate": {"spec": spec}}}


def storage(name: str, default: str = "false") -> Object:
    return {"metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": default}}}


def limited(resource: str, most: str) -> Object:
    return {"metadata": {"name": "limits"}, "spec": {"limits": [{"type": "Container", "max": {resource: most}}]}}


def quota(name: str, hard: str, used: str = "0") -> Object:
    return {"metadata": {"name": "quota"}, "spec": {}, "status": {"hard": {name: hard}, "used": {name: used}}}


STRANGER = {
    "metadata": {"name": "by-hand", "namespace": data.NAMESPACE, "labels": {"llm-d.ai/guide": "wide-ep-lws"}},
    "spec": {"containers": []},
    "status": {},
}
UNHEALTHY_NODE = data.node("gpu-3", allocatable=7, **LABELS)
PRESSED = data.node("gpu-3", **LABELS)
PRESSED["status"]["conditions"].append({"type": "DiskPressure", "status": "True", "message": "full"})
SMALL_DISK = data.node("gpu-3", **LABELS)
SMALL_DISK["status"]["allocatable"]["ephemeral-storage"] = "100Gi"
NO_RDMA = data.node("gpu-3", **LABELS)
NO_RDMA["status"]["allocatable"] = {
    key: value for key, value in NO_RDMA["status"]["allocatable"].items() if "rdma" not in key
}
NOT_SERVED = {version: kinds for version, kinds in KINDS.items() if "leaderworkerset" not in version}
OLD_LWS: Object = {
    **LWS_DEPLOYMENT,
    "spec": {"template": {"spec": {"containers": [{"image": "registry.k8s.io/lws/lws:v0.6.2"}]}}},
}
DOWN = {**LWS_DEPLOYMENT, "status": {}}
FOREIGN = {"metadata": {"name": data.NAMESPACE, "labels": {}}}
RESTRICTED = {"metadata": {"name": data.NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}
PENDING = {"metadata": {"labels": {"name": data.RELEASE, "status": "pending-upgrade", "version": "2"}}}
GATEWAY = {"router_mode": "gateway", "gateway_provider": "none"}
MAPPED = (network("Network", 0, Ready="True", ParamsReady="False"), *HEALTHY.networks[1:])
NETDEVICE = {**network("GKENetworkParamSet", 3), "spec": {"deviceMode": "NetDevice"}}
MIXED_ZONE = data.node("gpu-3", **{**LABELS, "topology.kubernetes.io/zone": "b"})
ONE_ZONE = [data.node(f"gpu-{index}", **{**LABELS, "topology.kubernetes.io/zone": "a"}) for index in range(3)]


def nodes(*changed: Object, plain: bool = True) -> tuple[Object, ...]:
    return (*gpu_nodes(4 - len(changed)), *changed, *([data.node("cpu-0", 0)] if plain else []))


#: The check, what is changed in the snapshot and in the question, the code and severity, and words of the finding.
Case = tuple[str, dict[str, t.Any], dict[str, t.Any], str, str, str]
FIRING: tuple[Case, ...] = (
    ("Kubernetes version", {"version": "v1.28.9"}, {}, "K8S_TOO_OLD", "error", "Init:0/1"),
    ("Kubernetes version", {"version": "v1.31.0"}, {}, "K8S_TOO_OLD", "warning", "1.33"),
    (
        "kinds of objects",
        {"kinds": NOT_SERVED},
        {},
        "CRD_MISSING",
        "warning",
        "leaderworkerset.x-k8s.io/v1 is not served",
    ),
    ("kinds of objects", {}, {"plan": GATEWAY}, "CRD_MISSING", "error", "gateway.networking.k8s.io"),
    (
        "kinds of objects",
        {},
        {"plan": {**GATEWAY, "gateway_provider": "istio"}},
        "CRD_MISSING",
        "warning",
        "gateway.networking.k8s.io",
    ),
    (
        "monitoring",
        {"kinds": {**KINDS, "monitoring.coreos.com/v1": frozenset()}},
        {"components": ["monitoring"]},
        "MONITORING_ABSENT",
        "warning",
        "PodMonitor",
    ),
    ("LeaderWorkerSet version", {"deployments": (OLD_LWS,)}, {}, "LWS_TOO_OLD", "error", "it runs v0.6.2"),
    ("controllers", {"deployments": (DOWN,)}, {}, "CONTROLLER_DOWN", "error", "0 of 2 pods are ready"),
    (
        "DNS",
        {"dns_slices": ({"endpoints": [{"addresses": ["a"], "conditions": {"ready": False}}]},)},
        {},
        "DNS_DOWN",
        "error",
        "",
    ),
    ("clocks", {"clock": 9.0}, {}, "CLOCK_SKEW", "warning", "9 s ahead"),
    ("clocks", {"clock": -90.0}, {}, "CLOCK_SKEW", "error", "90 s behind"),
    (
        "what may be read",
        {"unreadable": {"nodes": "nodes is forbidden"}},
        {},
        "PREFLIGHT_UNREADABLE",
        "info",
        "forbidden",
    ),
    ("pods fit the kind of node", {}, {"shape": {**SHAPE, "gpus": 4}}, "CAPACITY_RESOURCE", "error", "can give 4"),
    ("enough nodes", {"nodes": tuple(gpu_nodes(3))}, {}, "CAPACITY_NODES", "error", "1 of 4 pods"),
    ("GPUs free", {"pods": (taken("gpu-2"),)}, {}, "GPUS_TAKEN", "error", "default/other (1 on gpu-2, priority 0)"),
    (
        "GPUs free",
        {"pods": (taken("gpu-2", priority=-1),)},
        {},
        "GPUS_TAKEN",
        "warning",
        "only without preemptible pods",
    ),
    ("GPUs free", {"pods": (taken("gpu-2"),)}, {"may_grow": True}, "GPUS_TAKEN", "warning", "3 of 4 pods"),
    ("GPUs healthy", {"nodes": nodes(UNHEALTHY_NODE)}, {}, "GPU_UNHEALTHY", "warning", "7 of 8 GPUs"),
    ("pressure", {"nodes": nodes(PRESSED)}, {}, "NODE_PRESSURE", "error", "DiskPressure: full"),
    ("GPU and RDMA resources", {"nodes": nodes(NO_RDMA)}, {}, "NODE_RESOURCE", "error", "rdma-0.IP=1"),
    ("names of RDMA resources", {}, with_objects(zeros=False), "RDMA_MISSING", "error", "pods stay Pending"),
    ("one zone and product", {"nodes": (*ONE_ZONE, MIXED_ZONE)}, {}, "NODE_MIX", "error", "2 zones: a, b"),
    (
        "topology labels",
        {"nodes": tuple(gpu_nodes(**SSD))},
        {"components": ["topology_aware"]},
        "NODE_TOPOLOGY",
        "error",
        "gpu-0",
    ),
    (
        "driver",
        {"nodes": tuple(gpu_nodes(**{**LABELS, "nvidia.com/cuda.driver-version.major": "580"}))},
        {},
        "DRIVER_COMBINATION",
        "error",
        "cudaErrorIllegalAddress",
    ),
    ("model caches", {"nodes": tuple(gpu_nodes(other="label"))}, {}, "HOST_CACHE", "error", "boot disk"),
    ("disks", {"nodes": nodes(SMALL_DISK)}, {}, "HOST_CACHE", "warning", "1 nodes with 100Gi"),
    ("room for router and benchmark", {"nodes": tuple(gpu_nodes())}, {}, "CPU_NODE_MISSING", "error", "8 cpu"),
    (
        "room for router and benchmark",
        {},
        {"harness_requests": [{"cpu": "400"}]},
        "CPU_NODE_MISSING",
        "error",
        "212 of 400 cpu free",
    ),
    ("RDMA networks", {"networks": HEALTHY.networks[:7]}, {}, "NODE_NETWORK_INVALID", "error", "rdma-7 do not exist"),
    ("RDMA networks", {"networks": MAPPED}, {}, "NODE_NETWORK_INVALID", "error", "ParamsReady: r"),
    (
        "RDMA networks",
        {"parameter_sets": (*HEALTHY.parameter_sets[:3], NETDEVICE, *HEALTHY.parameter_sets[4:])},
        {},
        "NODE_NETWORK_INVALID",
        "error",
        "NetDevice",
    ),
    ("owner", {"namespace": FOREIGN}, {}, "NAMESPACE_FOREIGN", "error", "not set"),
    ("token", {"token": None}, {}, "HF_TOKEN_MISSING", "error", "does not exist"),
    ("pod security", {"namespace": RESTRICTED}, {}, "POD_SECURITY", "error", "it enforces baseline"),
    (
        "quotas",
        {"quotas": (quota("requests.nvidia.com/gpu", "40", "16"),)},
        {},
        "QUOTA_TOO_SMALL",
        "error",
        "24 of 40 left",
    ),
    (
        "limit ranges",
        {"limit_ranges": (limited("memory", "256Gi"),)},
        {},
        "LIMIT_RANGE",
        "error",
        "prefill, decode asks",
    ),
    ("Helm releases", {"secrets": (PENDING,)}, {}, "HELM_RELEASE_BROKEN", "warning", "revision 2 is pending-upgrade"),
    (
        "leftovers",
        {"pods": (helper("left", **{"wide-ep.llm-d.ai/component": "prefetch"}),)},
        {},
        "STALE_OBJECT",
        "warning",
        "left of an interrupted run",
    ),
    (
        "leftovers",
        {"pods": (helper("hangs", "gone-node", going=True),)},
        {},
        "STALE_OBJECT",
        "error",
        "hangs on gone-node",
    ),
    ("other model servers", {"pods": (STRANGER,)}, {}, "POOL_STRANGER", "warning", "by-hand"),
    (
        "priority class",
        {},
        with_objects(priorityClassName="critical"),
        "PRIORITY_CLASS_MISSING",
        "error",
        "critical; there is none",
    ),
    (
        "storage class",
        {},
        with_objects(volumes=[claim("fast")]),
        "STORAGE_CLASS_MISSING",
        "error",
        "fast; there is none",
    ),
    (
        "storage class",
        {},
        with_objects(volumes=[claim()]),
        "STORAGE_CLASS_MISSING",
        "error",
        "none of them is the default",
    ),
)


def outcome(name: str, snapshot: Snapshot, asked: Question) -> _preflight.Outcome:
    (check,) = [check for check in _preflight.CHECKS if check.name == name]
    return _preflight.judge(snapshot, asked, [check])[0]


@pytest.mark.parametrize("case", FIRING, ids=[f"{case[0]}-{number}" for number, case in enumerate(FIRING)])
def test_check_fires(case: Case) -> None:
    name, seen, asked, code, severity, words = case
    findings = outcome(name, dataclasses.replace(HEALTHY, **seen), question(**asked)).findings
    assert {(item.code, item.severity) for item in findings} == {(code, severity)}
    assert words in " ".join(item.evidence for item in findings)
    assert all(item.fix for item in findings)


@pytest.mark.parametrize("check", _preflight.CHECKS, ids=lambda check: str(check.name))
def test_check_is_silent_on_a_healthy_cluster(check: _preflight.Check) -> None:
    components = ["monitoring", "topology_aware"]
    asked = question(components=components, harness_requests=[{"cpu": "16", "memory": "32Gi"}])
    assert check.judge(HEALTHY, asked) == []


@pytest.mark.parametrize("case", FIRING, ids=[f"{case[0]}-{number}" for number, case in enumerate(FIRING)])
def test_what_fires_is_the_change_alone(case: Case) -> None:
    """The same check is silent on what the case changes: its cluster or, where that is healthy, its question."""
    name, seen, asked, *_rest = case
    assert outcome(name, HEALTHY, question(**(asked if seen else {}))).findings == ()


def test_every_check_has_a_case_that_makes_it_fire() -> None:
    assert {case[0] for case in FIRING} == {check.name for check in _preflight.CHECKS}
    assert len({check.name for check in _preflight.CHECKS}) == len(_preflight.CHECKS)


#: What looks like trouble and is none.
SILENT: tuple[tuple[str, dict[str, t.Any], dict[str, t.Any]], ...] = (
    # Pods of the deployment itself have what they need.
    ("GPUs free", {"pods": data.deployed().pods}, {}),
    # A pod that has ended holds nothing.
    ("GPUs free", {"pods": ({**taken("gpu-2"), "status": {"phase": "Succeeded"}},)}, {}),
    # Too few nodes has a finding of its own.
    ("GPUs free", {"nodes": tuple(gpu_nodes(3)), "pods": (taken("gpu-2"),)}, {}),
    ("token", {"token": None}, {"token_provided": True}),
    ("token", {"token": None}, {"token_optional": True}),
    ("owner", {"namespace": None}, {}),
    ("pod security", {"namespace": None}, {}),
    ("quotas", {"quotas": (quota("requests.nvidia.com/gpu", "32"),)}, {}),
    ("quotas", {"quotas": (quota("requests.nvidia.com/gpu", "32", "32"),), "sets": (data.workload("decode"),)}, {}),
    ("limit ranges", {"limit_ranges": (limited("memory", "512Gi"),)}, {}),
    ("RDMA networks", {"networks": ()}, {"components": ["rehearsal"]}),
    ("RDMA networks", {"networks": ()}, {"plan": {"overlay": "coreweave"}}),
    (
        "driver",
        {"nodes": tuple(gpu_nodes(**{"nvidia.com/cuda.driver-version.major": "580"}))},
        {"components": ["rehearsal"]},
    ),
    ("leftovers", {"pods": (helper("goes", "gpu-0", going=True),)}, {}),
    ("other model servers", {"pods": data.deployed().pods}, {}),
    ("storage class", {"storage_classes": (storage("fast"),)}, with_objects(volumes=[claim("fast")])),
    ("storage class", {"storage_classes": (storage("any", "true"),)}, with_objects(volumes=[claim()])),
    # A build of someone's own has no number.
    (
        "LeaderWorkerSet version",
        {"deployments": ({**OLD_LWS, "spec": {"template": {"spec": {"containers": [{"image": "mine/lws:main"}]}}}},)},
        {},
    ),
    (
        "priority class",
        {"priority_classes": ({"metadata": {"name": "critical"}},)},
        with_objects(priorityClassName="critical"),
    ),
)


@pytest.mark.parametrize("case", SILENT, ids=[f"{case[0]}-{number}" for number, case in enumerate(SILENT)])
def test_check_knows_what_is_no_trouble(case: tuple[str, dict[str, t.Any], dict[str, t.Any]]) -> None:
    name, seen, asked = case
    assert outcome(name, dataclasses.replace(HEALTHY, **seen), question(**asked)).findings == ()


def test_table_has_a_row_per_check_and_the_worst_word() -> None:
    outcomes = _preflight.judge(dataclasses.replace(HEALTHY, clock=9.0), question())
    rows = {row[1]: row[2:] for row in _preflight.table(outcomes)["rows"]}
    assert rows["clocks"] == ["warning", "CLOCK_SKEW"]
    assert rows["DNS"] == ["ok", ""]
    assert len(rows) == len(_preflight.CHECKS)
