# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils._plan import build_plan

GUIDE: dict[str, t.Any] = {
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
    **{
        f"{role}_{key}": value
        for role in ("prefill", "decode")
        for key, value in {"groups": 1, "hosts_per_group": 2, "ranks_per_host": 8}.items()
    },
}


def test_the_guide_uses_32_gpus_on_4_nodes() -> None:
    plan = build_plan(GUIDE).as_dict()
    assert (plan["gpus"], plan["nodes"], plan["target_ports"]) == (32, 4, [8000])
    assert plan["decode"]["dp_size"] == 16
    assert plan["decode"]["experts_per_rank"] == 18


def test_pods_are_named_as_the_controller_names_them() -> None:
    decode = build_plan({**GUIDE, "decode_groups": 2}).decode
    base = "wide-ep-lws-nvidia-gpu-vllm-decode"
    assert decode.pods == (f"{base}-0", f"{base}-0-1", f"{base}-1", f"{base}-1-1")


@pytest.mark.parametrize(("mode", "ports"), [("hybrid", (8000,)), ("multi_port", tuple(range(8000, 8008)))])
def test_target_ports_follow_the_load_balancing_mode(mode: str, ports: tuple[int, ...]) -> None:
    assert build_plan({**GUIDE, "load_balancing": mode}).target_ports == ports


@given(groups=st.integers(1, 20), hosts=st.integers(1, 20), ranks=st.integers(1, 8))
def test_each_pod_is_named_once_and_holds_its_ranks(groups: int, hosts: int, ranks: int) -> None:
    inputs = {**GUIDE, "decode_groups": groups, "decode_hosts_per_group": hosts, "decode_ranks_per_host": ranks}
    decode = build_plan(inputs).decode
    assert len(set(decode.pods)) == groups * hosts
    assert decode.gpus == len(decode.pods) * ranks
