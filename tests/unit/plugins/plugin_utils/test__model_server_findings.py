# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._plan import build_plan
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_findings import findings, node_findings

ROLE = Path(__file__).parents[4] / "roles/model_server"
VARIABLES = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))
RDMA = {"rdma/ib": "1"}
KNOWN = {
    "all2all_backends": VARIABLES["_model_server_all2all_backends"],
    "releases": VARIABLES["_model_server_releases"],
    "hardware": VARIABLES["_model_server_hardware"],
    "rdma_resources": RDMA,
}
INPUTS: dict[str, Any] = {
    "release": "wide-ep-lws",
    "namespace": "llm-d-wide-ep",
    "model": "deepseek-ai/DeepSeek-R1-0528",
    "overlay": "coreweave",
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
IMAGES = {"hybrid": "ghcr.io/llm-d/llm-d-cuda:v0.7.0", "multi_port": "ghcr.io/llm-d/llm-d-cuda:v0.8.1"}
FOUR = {f"{role}_{key}": 4 for role in ("prefill", "decode") for key in ("hosts_per_group", "ranks_per_host")}
GB200 = {"overlay": "dgx_cloud_gb200", **FOUR}
MULTI_PORT = {"load_balancing": "multi_port"}
CLAIM = {"pod": {"spec": {"resourceClaims": [{"name": "compute-domain", "resourceClaimTemplateName": "x"}]}}}
NO_RDMA = {"container": {"resources": {kind: {"rdma/ib": None} for kind in ("limits", "requests")}}}
DRANET = {"pod": {"spec": {"resourceClaims": [{"name": "nics", "resourceClaimTemplateName": "x"}]}}}


def layers(*names: str) -> list[dict[str, Any]]:
    return [yaml.safe_load((ROLE / f"files/layers/{name}.yml").read_text(encoding="utf-8")) for name in names]


def own_layers(inputs: dict[str, Any]) -> list[dict[str, Any]]:
    mode = VARIABLES["_model_server_modes"][inputs["load_balancing"]]["layers"]
    parts = [part for name in inputs["components"] for part in VARIABLES["_model_server_components"][name]]
    return layers("base", *mode, *VARIABLES["_model_server_overlays"][inputs["overlay"]], *parts)


def judge(changes: dict[str, Any], user: dict[str, Any], image: str = "") -> list[str]:
    """The subjects of what is found."""
    inputs = {**INPUTS, **changes}
    image = image or IMAGES[inputs["load_balancing"]]
    judged = [("wide_ep_image_overrides.vllm", "image", image), ("model_server_served_names", "served names", [])]
    plan = build_plan(inputs).as_dict()
    return [item.subject for item in findings(plan, KNOWN, judged, own_layers(inputs), [user] if user else [])]


# Changed inputs, the user's layer, and the subjects of the findings.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "fits": ({}, {}, []),
    "gke": ({"overlay": "gke"}, {}, []),
    "b200": ({"overlay": "gke_a4"}, {}, []),
    "gb200": (GB200, {}, []),
    "multi_port": (MULTI_PORT, {}, []),
    "rehearsal": ({"components": ["rehearsal"]}, {"common": NO_RDMA}, []),
    "local path": ({"model": "/models/R1 (fp8)"}, {}, []),
    "model that is an argument": ({"model": "--port"}, {}, ["wide_ep_model"]),
    "model with a line break": ({"model": "a\nb"}, {}, ["wide_ep_model"]),
    "eight ranks on gb200": (
        {"overlay": "dgx_cloud_gb200", "prefill_hosts_per_group": 4, "prefill_ranks_per_host": 4},
        {},
        ["wide_ep_decode_ranks_per_host=8 with wide_ep_overlay=dgx_cloud_gb200"],
    ),
    "multi_port on the rehearsal cluster": ({**MULTI_PORT, "components": ["rehearsal"]}, {}, []),
    "more ranks than ports": (
        {**MULTI_PORT, "decode_ranks_per_host": 16, "prefill_ranks_per_host": 8},
        {},
        ["wide_ep_decode_ranks_per_host=16 with multi_port"],
    ),
    "unknown backend": ({"prefill_all2all_backend": "deepep"}, {}, ["wide_ep_prefill_all2all_backend"]),
    "low latency without RDMA": (
        {},
        {"common": NO_RDMA},
        ["decode: wide_ep_decode_all2all_backend=deepep_low_latency"],
    ),
    "another backend without RDMA": ({"decode_all2all_backend": "naive"}, {"common": NO_RDMA}, []),
    "RDMA by a claim": ({}, {"common": {**NO_RDMA, **DRANET}}, []),
    "a compute domain is no RDMA": (
        GB200,
        {"common": {**NO_RDMA, **CLAIM}},
        ["decode: wide_ep_decode_all2all_backend=deepep_low_latency"],
    ),
    "compute domain on gb200": (GB200, {"common": CLAIM}, []),
    "compute domain elsewhere": (
        {},
        {"decode": CLAIM},
        ["model_server_compute_domain_claim with wide_ep_overlay=coreweave"],
    ),
    "an argument of the plan": (
        {},
        {"decode": {"arguments": {"all2all-backend": "naive", "data-parallel-size": 8, "max-model-len": 1}}},
        ["decode: argument all2all-backend", "decode: argument data-parallel-size"],
    ),
    "secrets in the open": (
        {},
        {"common": {"environment": {"HF_TOKEN": "x", "MAX_TOKENS": "1"}, "arguments": {"api-key": "x"}}},
        ["environment: HF_TOKEN", "arguments: api-key"],
    ),
    "secrets by reference": (
        {},
        {
            "common": {
                "environment": {"VLLM_API_KEY": {"secretKeyRef": {"name": "x", "key": "y"}}},
                "arguments": {"api-key": {"env": "VLLM_API_KEY"}},
            }
        },
        [],
    ),
    "hybrid argument in multi_port": (
        MULTI_PORT,
        {"prefill": {"arguments": {"data-parallel-hybrid-lb": True}}},
        ["prefill: load balancing"],
    ),
    "no balancing at all": (
        {},
        {"decode": {"arguments": {"data-parallel-hybrid-lb": None}}},
        ["decode: load balancing"],
    ),
    "external balancing": (
        {},
        {"common": {"arguments": {"data-parallel-external-lb": True}}},
        ["prefill: load balancing", "decode: load balancing"],
    ),
    "servers per pod in multi_port": (
        MULTI_PORT,
        {"decode": {"arguments": {"api-server-count": 4}}},
        ["decode: argument api-server-count"],
    ),
    "sidecar with rank ports in hybrid": (
        {},
        {"decode": {"sidecar": {"data-parallel-size": 8}}},
        ["decode: argument data-parallel-size of the routing sidecar"],
    ),
    "sidecar without rank ports in multi_port": (
        MULTI_PORT,
        {"decode": {"sidecar": {"data-parallel-size": None}}},
        ["decode: argument data-parallel-size of the routing sidecar"],
    ),
    "sidecar on another port": (
        {},
        {"decode": {"sidecar": {"port": 9000, "vllm-port": 8201}}},
        ["decode: argument port of the routing sidecar", "decode: argument vllm-port of the routing sidecar"],
    ),
}


@pytest.mark.parametrize(("changes", "user", "subjects"), CASES.values(), ids=CASES.keys())
def test_findings(changes: dict[str, Any], user: dict[str, Any], subjects: list[str]) -> None:
    before = copy.deepcopy((changes, user))
    assert judge(changes, user) == subjects
    assert (changes, user) == before


def test_images_are_judged_by_mode_and_hardware() -> None:
    subject = ["wide_ep_image_overrides.vllm"]
    assert judge(MULTI_PORT, {}, IMAGES["hybrid"]) == subject
    assert judge({"overlay": "gke"}, {}, "docker.io/vllm/vllm-openai:v0.19.1") == subject
    assert judge({}, {}, "docker.io/vllm/vllm-openai:v0.19.1") == []
    assert judge({}, {}, "r.example.com/llm-d-cuda@sha256:abc") == subject


def test_a_mistyped_layer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown section decode\.enviroment"):
        judge({}, {"decode": {"enviroment": {}}})


def node(**allocatable: str) -> dict[str, Any]:
    return {"status": {"allocatable": {name.replace("__", "/"): value for name, value in allocatable.items()}}}


GPU = {"nvidia.com__gpu": "8"}
NODES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], list[str]]] = {
    "no nodes yet": ({}, [], []),
    "CPU nodes": ({}, [node(cpu="8")], []),
    "with RDMA": ({}, [node(cpu="8"), node(**GPU, rdma__ib="1")], []),
    "one of two": ({}, [node(**GPU), node(**GPU, rdma__ib="1")], []),
    "without": ({}, [node(**GPU), node(**GPU, rdma__ib="0")], ["none of 2 GPU nodes has rdma/ib"]),
    "rehearsal": ({"components": ["rehearsal"]}, [node(**GPU)], []),
    "no low latency": ({"decode_all2all_backend": "naive"}, [node(**GPU)], []),
}


@pytest.mark.parametrize(("changes", "nodes", "seen"), NODES.values(), ids=NODES.keys())
def test_node_findings(changes: dict[str, Any], nodes: list[dict[str, Any]], seen: list[str]) -> None:
    plan = build_plan({**INPUTS, **changes}).as_dict()
    assert [finding.evidence for finding in node_findings(plan, nodes, RDMA)] == seen
