# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import dataclasses
import typing as t
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils import _capacity
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._plan import build_plan
from ansible_collections.llmd.wide_ep.tests.unit.plugins.module_utils.test__plan import GUIDE

ROOT = Path(__file__).parents[4]
SHAPES: dict[str, t.Any] = yaml.safe_load((ROOT / "roles/wide_ep/vars/main.yml").read_text())["_wide_ep_node_shapes"]
RENDERED: list[dict[str, t.Any]] = yaml.safe_load((ROOT / "tests/data/rendered/gke.yaml").read_text())["items"]
PLAN = build_plan(GUIDE).as_dict()
DECODE = PLAN["decode"]["lws_name"]


def plan(**inputs: t.Any) -> dict[str, t.Any]:
    return build_plan({**GUIDE, **inputs}).as_dict()


def objects(change: t.Callable[[dict[str, t.Any], dict[str, t.Any]], None] | None = None) -> list[dict[str, t.Any]]:
    """The rendered objects with the decode pod changed: ``change(pod spec, vllm container)``."""
    rendered = copy.deepcopy(RENDERED)
    for item in rendered:
        if change and item["metadata"]["name"] == DECODE:
            spec = item["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]
            change(spec, spec["containers"][0])
    return rendered


def found(findings: t.Sequence[Finding]) -> list[tuple[str, str, str]]:
    return [(finding.code, finding.severity, finding.subject.partition(":")[0]) for finding in findings]


def test_the_guide_fits_its_nodes() -> None:
    assert _capacity.shape_findings(PLAN, SHAPES["gke"]) == []
    assert _capacity.object_findings(PLAN, SHAPES["gke"], RENDERED, 3) == []


@pytest.mark.parametrize(
    ("overlay", "ranks", "severity", "words"),
    [
        ("gke", 8, None, ""),
        ("dgx_cloud_gb200", 8, "error", "to 4 and wide_ep_decode_hosts_per_group to 4: 16 ranks"),
        ("dgx_cloud_gb200", 4, None, ""),
        ("gke", 16, "error", "have 8 GPUs"),
        ("gke", 3, "error", "one of 1, 2, 4, 8"),
        ("gke", 4, "warning", "not proven"),
    ],
)
def test_ranks_per_host_against_the_gpus_of_a_node(overlay: str, ranks: int, severity: str | None, words: str) -> None:
    made = plan(overlay=overlay, decode_ranks_per_host=ranks, prefill_ranks_per_host=SHAPES[overlay]["gpus"])
    findings = _capacity.shape_findings(made, SHAPES[overlay])
    assert [finding.severity for finding in findings] == ([severity] if severity else [])
    assert words in "".join(finding.evidence + finding.fix for finding in findings)


def test_objects_without_a_tier_are_no_objects() -> None:
    with pytest.raises(ValueError, match=DECODE):
        _capacity.object_findings(PLAN, SHAPES["gke"], RENDERED[:2])


def test_the_rehearsal_has_no_hardware_to_compare_with() -> None:
    made = plan(components=["rehearsal"], decode_ranks_per_host=16)
    assert _capacity.shape_findings(made, SHAPES["gke"]) == []
    assert _capacity.object_findings(made, SHAPES["gke"], RENDERED) == []


def ask(**resources: str) -> t.Callable[[dict[str, t.Any], dict[str, t.Any]], None]:
    def change(spec: dict[str, t.Any], container: dict[str, t.Any]) -> None:
        container["resources"]["requests"].update(resources)
        container["resources"]["limits"].update({k: v for k, v in resources.items() if k != "cpu"})

    return change


def sidecar(spec: dict[str, t.Any], container: dict[str, t.Any]) -> None:
    container["resources"]["requests"]["cpu"] = "219"
    spec["initContainers"][0]["resources"] = {"requests": {"cpu": "2"}}


def shared(size: str | None) -> t.Callable[[dict[str, t.Any], dict[str, t.Any]], None]:
    def change(spec: dict[str, t.Any], container: dict[str, t.Any]) -> None:
        volume = next(entry for entry in spec["volumes"] if entry["name"] == "dshm")
        volume["emptyDir"] = {"medium": "Memory", **({"sizeLimit": size} if size else {})}

    return change


def cache(source: dict[str, t.Any], limit: str) -> t.Callable[[dict[str, t.Any], dict[str, t.Any]], None]:
    def change(spec: dict[str, t.Any], container: dict[str, t.Any]) -> None:
        spec["volumes"] = [
            {"name": "hf-cache", **source} if entry["name"] == "hf-cache" else entry for entry in spec["volumes"]
        ]
        for part in ("requests", "limits"):
            container["resources"][part]["ephemeral-storage"] = limit

    return change


def script(old: str, new: str) -> t.Callable[[dict[str, t.Any], dict[str, t.Any]], None]:
    def change(spec: dict[str, t.Any], container: dict[str, t.Any]) -> None:
        text = container["args"][0]
        assert old in text
        container["args"] = [text.replace(old, new)]

    return change


@pytest.mark.parametrize(
    ("change", "expected", "words"),
    [
        (ask(cpu="221"), ("CAPACITY_RESOURCE", "error"), "221; a a3-ultragpu-8g node can give 220"),
        (ask(memory="3Ti"), ("CAPACITY_RESOURCE", "error"), "3Ti"),
        (sidecar, ("CAPACITY_RESOURCE", "error"), "221"),
        (ask(**{"rdma/ib": "1"}), ("CAPACITY_RESOURCE", "warning"), "not known to have it"),
        (ask(**{"rdma/ib": "0"}), None, ""),
        (shared("512Gi"), ("CAPACITY_RESOURCE", "error"), "memory limit of 512Gi"),
        (shared("300Gi"), ("CAPACITY_RESOURCE", "warning"), "300Gi"),
        (shared("16Gi"), None, ""),
        (cache({"emptyDir": {}}, "600Gi"), ("CAPACITY_DISK", "error"), "0.69 TB"),
        (cache({"emptyDir": {"sizeLimit": "100Gi"}}, "1Ti"), ("CAPACITY_DISK", "error"), "100Gi"),
        (cache({"emptyDir": {}}, "1Ti"), None, ""),
        (cache({"hostPath": {"path": "/mnt/local"}}, "100Gi"), None, ""),
        (
            script("--gpu-memory-utilization 0.9", "--gpu-memory-utilization 0.5"),
            ("CAPACITY_GPU_MEMORY", "error"),
            "65 GB weights (5 of them redundant experts)",
        ),
        (
            script("exec vllm serve", "exec vllm serve --kv-cache-memory-bytes=63000000000"),
            ("CAPACITY_GPU_MEMORY", "error"),
            "63.0 GB KV on H200 with 141 GB",
        ),
    ],
)
def test_what_a_pod_asks_of_its_node(change: t.Any, expected: tuple[str, str] | None, words: str) -> None:
    findings = _capacity.object_findings(PLAN, SHAPES["gke"], objects(change))
    assert found(findings) == ([(*expected, "decode")] if expected else [])
    assert words in "".join(finding.evidence for finding in findings)


def test_the_kv_cache_of_b200_is_896000_tokens_of_63_gb() -> None:
    pod = _capacity.pods(
        PLAN, objects(script("exec vllm serve", "exec vllm serve --kv-cache-memory-bytes 63000000000"))
    )
    memory = _capacity.gpu_memory(_capacity.DEEPSEEK_V3, PLAN["decode"], pod["decode"], SHAPES["gke_a4"])
    assert round(memory.tokens, -3) == 897_000
    assert memory.tokens // _capacity.REQUEST_TOKENS == 224
    assert round(memory.weights / 1e9) == 65
    assert round(memory.redundant / 1e9, 1) == 5.1
    assert _capacity.gpu_memory_findings(PLAN, pod["decode"], SHAPES["gke_a4"], memory) == []


def test_a_variable_of_the_script_is_read_from_the_environment() -> None:
    def change(spec: dict[str, t.Any], container: dict[str, t.Any]) -> None:
        container["env"].append({"name": "KV_CACHE_MEMORY_BYTES", "value": "7"})
        script("exec vllm serve", 'exec vllm serve --kv-cache-memory-bytes "$KV_CACHE_MEMORY_BYTES"')(spec, container)

    assert _capacity.pods(PLAN, objects(change))["decode"].kv_bytes == 7


@pytest.mark.parametrize(("text", "size"), [("16G", 16 << 30), ("16g", 16 << 30), ("512M", 512 << 20), ("7", 7)])
def test_nvshmem_sizes_are_powers_of_two(text: str, size: int) -> None:
    assert _capacity._nvshmem_size(text) == size


def test_eight_ranks_leave_no_room_for_kv_on_h200() -> None:
    made = plan(decode_hosts_per_group=1)
    findings = _capacity.object_findings(made, SHAPES["gke"], RENDERED)
    assert found(findings) == [("CAPACITY_GPU_MEMORY", "error", "decode")]
    assert "wide_ep_decode_hosts_per_group" in findings[0].fix


def test_an_unknown_model_is_not_checked() -> None:
    made = plan(model="example.com/Other-1T", decode_hosts_per_group=1)
    assert _capacity.model_of(made["model"]) is None
    assert _capacity.object_findings(made, SHAPES["gke"], objects(cache({"emptyDir": {}}, "1Gi")), 0.1) == []


@pytest.mark.parametrize(
    ("rate", "host", "expected"),
    [
        (0, True, []),
        (2.0, True, ["warning", "warning"]),
        (2.0, False, ["warning", "error"]),
        (3.0, False, []),
    ],
)
def test_a_cold_start_against_its_budget(rate: float, host: bool, expected: list[str]) -> None:
    change = None if host else cache({"emptyDir": {}}, "1Ti")
    findings = _capacity.object_findings(PLAN, SHAPES["gke"], objects(change), rate)
    assert [finding.severity for finding in findings if finding.code == "CAPACITY_START_BUDGET"] == expected
    assert all("56 min" in finding.evidence for finding in findings)


@settings(deadline=None)
@given(rate=st.floats(0.05, 100), budget=st.integers(700, 20_000))
def test_the_budget_that_is_proposed_suffices(rate: float, budget: int) -> None:
    pod = dataclasses.replace(_capacity.pods(PLAN, RENDERED)["decode"], start_seconds=budget)
    findings = _capacity.start_findings(pod, _capacity.DEEPSEEK_V3, rate)
    assert bool(findings) == (rate < _capacity.needed_gbit_per_s(_capacity.DEEPSEEK_V3, budget))
    for finding in findings:
        proposed = int(finding.fix.partition("_seconds to ")[2].split()[0])
        again = dataclasses.replace(pod, start_seconds=proposed)
        assert _capacity.start_findings(again, _capacity.DEEPSEEK_V3, rate) == []


@settings(deadline=None)
@given(hosts=st.integers(1, 16), ranks=st.integers(1, 8), redundant=st.integers(0, 256))
def test_more_ranks_never_need_more_memory(hosts: int, ranks: int, redundant: int) -> None:
    pod = _capacity.pods(PLAN, RENDERED)["decode"]

    def memory(count: int) -> _capacity.GpuMemory:
        tier = {"dp_size": count * ranks, "redundant_experts": redundant}
        return _capacity.gpu_memory(_capacity.DEEPSEEK_V3, tier, pod, SHAPES["gke"])

    fewer, more = memory(hosts), memory(hosts + 1)
    assert more.weights <= fewer.weights
    assert more.kv >= fewer.kv
    assert abs(fewer.usable - fewer.weights - fewer.symmetric - fewer.kv) < 1


def node(name: str, **changes: t.Any) -> dict[str, t.Any]:
    """A node of A3 Ultra, ready and empty."""
    shape = SHAPES["gke"]
    offered = {**shape["allocatable"], "nvidia.com/gpu": "8", **shape["rdma_resources"], **changes.get("offered", {})}
    return {
        "metadata": {"name": name, "labels": {**shape["labels"], **changes.get("labels", {})}},
        "spec": {"taints": [*shape["taints"], *changes.get("taints", [])], **changes.get("spec", {})},
        "status": {
            "allocatable": offered,
            "conditions": [{"type": "Ready", "status": changes.get("ready", "True")}],
        },
    }


NODES = [node(f"gpu-{index}") for index in range(4)]
FOREIGN = {"key": "example.com/other", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        (NODES, None),
        (NODES[:3], "first wide-ep-lws-nvidia-gpu-vllm-decode-0-1; 3 nodes: 3 taken by other pods of it"),
        ([], "4 of 4 pods"),
        ([*NODES[:3], node("x", ready="Unknown")], "1 not Ready"),
        ([*NODES[:3], node("x", spec={"unschedulable": True})], "1 cordoned"),
        ([*NODES[:3], node("x", taints=[FOREIGN])], "1 taint example.com/other:NoSchedule"),
        ([*NODES[:3], node("x", taints=[{**FOREIGN, "effect": "PreferNoSchedule"}])], None),
        ([*NODES[:3], node("x", offered={"nvidia.com/gpu": "4"})], "too little nvidia.com/gpu"),
        ([*NODES[:3], node("x", offered={"memory": "500Gi"})], "too little memory"),
        ([*NODES[:3], node("x", offered={"nvidia.com/gpu": "0"})], "too little nvidia.com/gpu"),
    ],
)
def test_pods_against_the_nodes_of_the_cluster(nodes: list[dict[str, t.Any]], words: str | None) -> None:
    findings = _capacity.node_findings(PLAN, RENDERED, nodes)
    assert [finding.code for finding in findings] == (["CAPACITY_NODES"] if words else [])
    assert not words or words in findings[0].evidence


def test_a_node_with_room_for_two_takes_two() -> None:
    offered = {"nvidia.com/gpu": "16", "memory": "2Ti"}
    large = [node(f"gpu-{index}", offered=offered) for index in range(2)]
    assert _capacity.node_findings(PLAN, RENDERED, large) == []


@pytest.mark.parametrize(
    ("nodes", "may_grow", "severity"),
    [
        (NODES[:3], False, "error"),
        (NODES[:3], True, "warning"),
        ([], False, "warning"),
        ([node("cpu", offered={"nvidia.com/gpu": "0"})], False, "warning"),
    ],
)
def test_pools_that_grow_are_not_refused(nodes: list[dict[str, t.Any]], may_grow: bool, severity: str) -> None:
    assert [finding.severity for finding in _capacity.node_findings(PLAN, RENDERED, nodes, may_grow)] == [severity]


@pytest.mark.parametrize(
    ("expressions", "fits"),
    [
        ([{"key": "cloud.google.com/gke-gpu", "operator": "Exists"}], True),
        ([{"key": "a", "operator": "In", "values": ["b"]}], False),
        ([{"key": "a", "operator": "NotIn", "values": ["b"]}], True),
        ([{"key": "a", "operator": "DoesNotExist"}], True),
        ([{"key": "cores", "operator": "Gt", "values": ["7"]}], True),
        ([{"key": "cores", "operator": "Lt", "values": ["7"]}], False),
        ([{"key": "none", "operator": "Gt", "values": ["7"]}], False),
    ],
)
def test_required_node_affinity(expressions: list[dict[str, t.Any]], fits: bool) -> None:
    term = {"nodeSelectorTerms": [{"matchExpressions": expressions}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}
    spec = {"affinity": affinity, "tolerations": [{"operator": "Exists"}]}
    assert (_capacity.why_not(node("x", labels={"cores": "8"}), spec) is None) == fits


@pytest.mark.parametrize(
    ("toleration", "holds"),
    [
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "value": "v", "effect": "NoSchedule"}, True),
        ({"key": "k", "value": "other"}, False),
        ({"key": "k", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"operator": "Exists"}, True),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations(toleration: dict[str, t.Any], holds: bool) -> None:
    assert _capacity.tolerated({"key": "k", "value": "v", "effect": "NoSchedule"}, [toleration]) == holds
