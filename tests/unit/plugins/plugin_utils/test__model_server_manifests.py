# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._plan import build_plan
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_manifests import (
    REVISION_ANNOTATION,
    Options,
    manifests,
    model_label,
)

LAYERS = Path(__file__).parents[4] / "roles/model_server/files/layers"
OPTIONS = Options("vllm:1", "sidecar:1", "Always", "deepseek-r1")
INPUTS: dict[str, Any] = {
    "release": "wide-ep-lws",
    "namespace": "llm-d-wide-ep",
    "model": "deepseek-ai/DeepSeek-R1-0528",
    "overlay": "gke",
    "components": [],
    "load_balancing": "hybrid",
    "router_mode": "standalone",
    "gateway_provider": "none",
    "redundant_experts": 32,
    "prefill_all2all_backend": "deepep_high_throughput",
    "decode_all2all_backend": "deepep_low_latency",
    **{f"{role}_{key}": n for role in ("prefill", "decode") for key, n in (("groups", 1), ("hosts_per_group", 2))},
    **{f"{role}_ranks_per_host": 8 for role in ("prefill", "decode")},
}


def layer(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((LAYERS / f"{name}.yml").read_text(encoding="utf-8"))
    return loaded


def render(*extra: dict[str, Any], overlay: str = "overlay_gke", **inputs: Any) -> dict[str, dict[str, Any]]:
    """The LeaderWorkerSets by role."""
    plan = build_plan({**INPUTS, **inputs}).as_dict()
    objects = manifests(plan, OPTIONS, [layer("base"), layer(overlay), *extra])
    return {item["metadata"]["labels"]["llm-d.ai/role"]: item for item in objects[1:]}


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    template: dict[str, Any] = workload["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    return template


def vllm(workload: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = pod(workload)["spec"]["containers"][0]
    return container


def arguments(workload: dict[str, Any]) -> dict[str, str]:
    """vLLM's arguments by name; a flag has an empty value."""
    words = shlex.split(vllm(workload)["args"][0].partition("exec vllm serve")[2].replace("\\\n", " "))[1:]
    named: dict[str, str] = {}
    for word in words:
        if word.startswith("--"):
            named[word[2:]] = ""
        else:
            named[list(named)[-1]] = word
    return named


def variables(workload: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in vllm(workload)["env"]}


def test_sizes_follow_from_the_plan() -> None:
    sets = render(prefill_groups=3, decode_hosts_per_group=4, decode_ranks_per_host=4, redundant_experts=64)
    spec = sets["prefill"]["spec"]
    assert (spec["replicas"], spec["leaderWorkerTemplate"]["size"]) == (3, 2)
    assert sets["decode"]["spec"]["leaderWorkerTemplate"]["size"] == 4
    resources = vllm(sets["decode"])["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "4"
    assert variables(sets["decode"])["DP_SIZE_LOCAL"] == "4"
    assert '"num_redundant_experts":"64"' in arguments(sets["decode"])["eplb-config"]


def test_names_are_those_of_the_guide() -> None:
    plan = build_plan(INPUTS).as_dict()
    account, *sets = manifests(plan, OPTIONS, [layer("base"), layer("overlay_gke")])
    assert account["metadata"]["name"] == pod(sets[0])["spec"]["serviceAccountName"] == "deepseek-r1"
    assert [item["metadata"]["name"] for item in sets] == [
        "wide-ep-lws-nvidia-gpu-vllm-prefill",
        "wide-ep-lws-nvidia-gpu-vllm-decode",
    ]


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_pods_carry_the_labels_that_others_select_by(role: str) -> None:
    workload = render()[role]
    expected = {
        "llm-d.ai/guide": "wide-ep-lws",
        "llm-d.ai/role": role,
        "llm-d.ai/model": "DeepSeek-R1-0528",
        "wide-ep.llm-d.ai/deployment": "wide-ep-lws",
    }
    assert expected.items() <= pod(workload)["metadata"]["labels"].items()
    assert expected.items() <= workload["metadata"]["labels"].items()


ARGUMENTS = {
    "prefill": {
        "port": "8000",
        "gpu-memory-utilization": "0.8",
        "all2all-backend": "deepep_high_throughput",
        "dbo-prefill-token-threshold": "32",
    },
    "decode": {
        "port": "8200",
        "gpu-memory-utilization": "0.9",
        "all2all-backend": "deepep_low_latency",
        "dbo-decode-token-threshold": "32",
        "max-num-seqs": "$MAX_TOKENS",
        "max-num-batched-tokens": "$MAX_TOKENS",
    },
}
# Present on one tier only.
ABSENT = {
    "prefill": {"max-num-seqs", "max-num-batched-tokens", "dbo-decode-token-threshold", "kv-cache-memory-bytes"},
    "decode": {"dbo-prefill-token-threshold", "kv-cache-memory-bytes"},
}


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_arguments_of_a_tier(role: str) -> None:
    given = arguments(render()[role])
    assert ARGUMENTS[role].items() <= given.items()
    assert not ABSENT[role] & set(given)
    assert {"data-parallel-hybrid-lb": "", "data-parallel-address": "$LWS_LEADER_ADDRESS"}.items() <= given.items()


def test_only_decode_has_the_routing_sidecar_in_front_of_vllm() -> None:
    sets = render()
    assert "initContainers" not in pod(sets["prefill"])["spec"]
    (sidecar,) = pod(sets["decode"])["spec"]["initContainers"]
    assert sidecar["image"] == "sidecar:1"
    assert sidecar["restartPolicy"] == "Always"
    assert {"--port=8000", "--vllm-port=8200"} <= set(sidecar["args"])
    assert vllm(sets["decode"])["ports"][0] == {"name": "modelserver", "containerPort": 8200, "protocol": "TCP"}


def test_each_tier_prefers_to_stand_together_and_not_with_the_other() -> None:
    for role, workload in render().items():
        terms = pod(workload)["spec"]["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        selectors = [term["podAffinityTerm"]["labelSelector"]["matchLabels"] for term in terms]
        assert selectors == [{"llm-d.ai/role": role}] * 2


def test_gke_zeroes_the_rdma_names_that_its_nodes_lack() -> None:
    for workload in render().values():
        for kind in ("limits", "requests"):
            resources = vllm(workload)["resources"][kind]
            assert [resources[f"networking.gke.io.networks/rdma-{n}"] for n in range(8)] == ["0"] * 8


def test_rehearsal_is_small_and_unprivileged() -> None:
    for workload in render(layer("component_rehearsal")).values():
        container = vllm(workload)
        assert "privileged" not in container["securityContext"]
        assert "ephemeral-storage" not in {**container["resources"]["limits"], **container["resources"]["requests"]}
        assert container["resources"]["requests"]["cpu"] == "50m"
        assert variables(workload)["HF_TOKEN"]["secretKeyRef"] == {
            "name": "llm-d-hf-token",
            "key": "HF_TOKEN",
            "optional": True,
        }


def ports(container: dict[str, Any]) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container["ports"]}


@pytest.mark.parametrize("ranks", [8, 4])
def test_multi_port_gives_each_rank_a_port_and_probes_the_supervisor(ranks: int) -> None:
    inputs = {f"{role}_ranks_per_host": ranks for role in ("prefill", "decode")}
    sets = render(layer("mode_multi_port"), load_balancing="multi_port", **inputs)
    prefill, decode = vllm(sets["prefill"]), vllm(sets["decode"])
    (sidecar,) = pod(sets["decode"])["spec"]["initContainers"]
    assert ports(prefill) == {**{f"rank{n}": 8000 + n for n in range(ranks)}, "supervisor": 8008}
    assert ports(decode) == {**{f"vllm-rank{n}": 8200 + n for n in range(ranks)}, "supervisor": 8208}
    assert ports(sidecar) == {f"rank{n}": 8000 + n for n in range(ranks)}
    assert {f"--data-parallel-size={ranks}", "--port=8000", "--vllm-port=8200"} <= set(sidecar["args"])
    for role, workload in sets.items():
        given = arguments(workload)
        assert given["data-parallel-supervisor-port"] == str(ports(vllm(workload))["supervisor"])
        assert {"data-parallel-hybrid-lb", "api-server-count", "trust-remote-code"}.isdisjoint(given), role
        probes = {kind: vllm(workload)[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
        assert {probe["port"] for probe in probes.values()} == {"supervisor"}
        assert probes["readiness"]["path"] == "/readyz"


def test_b200_has_the_network_of_gke_and_its_own_kv_cache() -> None:
    b200 = render(layer("overlay_gke_a4"))
    assert arguments(b200["decode"])["kv-cache-memory-bytes"] == "$KV_CACHE_MEMORY_BYTES"
    assert variables(b200["decode"])["KV_CACHE_MEMORY_BYTES"] == "63000000000"
    assert "kv-cache-memory-bytes" not in arguments(b200["prefill"])
    assert pod(b200["prefill"]) == pod(render()["prefill"])


def test_infiniband_asks_for_the_switch_and_names_its_adapters() -> None:
    for workload in render(overlay="overlay_coreweave").values():
        resources = vllm(workload)["resources"]
        assert resources["limits"]["rdma/ib"] == resources["requests"]["rdma/ib"] == "1"
        assert {"NCCL_IB_HCA": "ibp", "NVSHMEM_HCA_PREFIX": "ibp"}.items() <= variables(workload).items()
        assert "privileged" not in vllm(workload)["securityContext"]
        assert [volume["hostPath"]["path"] for volume in pod(workload)["spec"]["volumes"][1:]] == [
            "/mnt/local/hf-cache",
            "/mnt/local/jit-cache",
        ]


def test_gb200_tolerates_arm_and_fits_a_rehearsal_node_twice() -> None:
    for workload in render(overlay="overlay_dgx_cloud_gb200").values():
        assert {"nvidia.com/gpu", "kubernetes.io/arch"} == {
            item["key"] for item in pod(workload)["spec"]["tolerations"]
        }
        assert vllm(workload)["resources"]["limits"]["rdma/ib"] == "1"
    small = render(layer("component_rehearsal"), layer("rehearsal_dgx_cloud_gb200"), overlay="overlay_dgx_cloud_gb200")
    assert all("rdma/ib" not in vllm(workload)["resources"]["limits"] for workload in small.values())


def test_with_topology_kueue_alone_picks_the_nodes() -> None:
    for workload in render(layer("component_topology_aware")).values():
        assert "affinity" not in pod(workload)["spec"]
        assert not any("group-name" in key for key in pod(workload)["metadata"]["annotations"])


@pytest.mark.parametrize(
    ("place", "volume"),
    [
        ("emptyDir", {"name": "hf-cache", "emptyDir": {}}),
        ("/data/hf", {"name": "hf-cache", "hostPath": {"path": "/data/hf", "type": "DirectoryOrCreate"}}),
    ],
)
def test_the_last_layer_that_names_a_cache_decides(place: str, volume: dict[str, Any]) -> None:
    workload = render({"common": {"caches": {"hf-cache": place}}})["decode"]
    assert pod(workload)["spec"]["volumes"][1] == volume
    assert "hostPath" in pod(workload)["spec"]["volumes"][2]


def test_the_backend_is_that_of_the_plan() -> None:
    assert arguments(render(decode_all2all_backend="naive")["decode"])["all2all-backend"] == "naive"


def test_without_redundant_experts_the_balancer_stays() -> None:
    given = arguments(render(redundant_experts=0)["decode"])
    assert given["enable-eplb"] == ""
    assert '"num_redundant_experts":"0"' in given["eplb-config"]


def test_a_later_layer_wins_and_null_removes() -> None:
    workload = render(
        {
            "decode": {
                "arguments": {"enable-eplb": None, "eplb-config": None, "max-num-seqs": 512},
                "environment": {"NVIDIA_GDRCOPY": None, "VLLM_LOGGING_LEVEL": "DEBUG"},
            }
        }
    )["decode"]
    given = arguments(workload)
    assert {"enable-eplb", "eplb-config"}.isdisjoint(given)
    assert given["max-num-seqs"] == "512"
    assert "NVIDIA_GDRCOPY" not in variables(workload)
    assert variables(workload)["VLLM_LOGGING_LEVEL"] == "DEBUG"


def test_another_overlay_is_data_only() -> None:
    infiniband = {
        "common": {
            "environment": {"NVSHMEM_HCA_PREFIX": "ibp"},
            "container": {"resources": {"limits": {"rdma/ib": "1"}, "requests": {"rdma/ib": "1"}}},
            "pod": {"spec": {"volumes": [{"name": "hf-cache", "emptyDir": None, "hostPath": {"path": "/mnt/hf"}}]}},
            "workload": {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "default"}}},
        }
    }
    workload = manifests(build_plan(INPUTS).as_dict(), OPTIONS, [layer("base"), infiniband])[1]
    assert variables(workload)["NVSHMEM_HCA_PREFIX"] == "ibp"
    assert vllm(workload)["resources"]["limits"]["rdma/ib"] == "1"
    assert pod(workload)["spec"]["volumes"][1] == {"name": "hf-cache", "hostPath": {"path": "/mnt/hf"}}
    assert workload["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "default"


def test_the_revision_follows_the_pod_template_alone() -> None:
    def revision(workload: dict[str, Any]) -> str:
        value: str = pod(workload)["metadata"]["annotations"][REVISION_ANNOTATION]
        return value

    plain, scaled = render()["decode"], render(decode_groups=2)["decode"]
    changed = render({"decode": {"environment": {"A": "1"}}})
    assert revision(plain) == revision(scaled) == revision(copy.deepcopy(plain))
    assert revision(changed["decode"]) != revision(plain)
    assert revision(changed["prefill"]) == revision(render()["prefill"])


REFUSED = {
    "unknown scope": ({"name": "x", "encode": {}}, "layer x: unknown scope 'encode'"),
    "unknown section": ({"name": "x", "decode": {"enviroment": {}}}, "unknown section decode.enviroment"),
    "boolean variable": ({"common": {"environment": {"A": True}}}, "A has the value True; quote it"),
    "variable name": ({"common": {"environment": {"a b": "1"}}}, "'a b' is not the name"),
    "argument name": ({"common": {"arguments": {"--port": 1}}}, "without the leading dashes"),
}


@pytest.mark.parametrize(("extra", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_layer_that_would_be_misread_is_refused(extra: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render(extra)


@pytest.mark.parametrize(
    ("model", "label"),
    [
        ("deepseek-ai/DeepSeek-R1-0528", "DeepSeek-R1-0528"),
        ("/models/my model/", "my-model"),
        ("x" * 80, "x" * 63),
        ("org/-a$b-", "a-b"),
    ],
)
def test_model_label(model: str, label: str) -> None:
    assert model_label({"model": model}) == {"llm-d.ai/model": label}
