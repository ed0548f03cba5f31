# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils._inputs import judge, tier_arithmetic
from ansible_collections.llmd.wide_ep.plugins.module_utils._plan import build_plan
from ansible_collections.llmd.wide_ep.tests.unit.plugins.module_utils.test__plan import GUIDE

KNOWN = frozenset({"wide_ep_namespace", "wide_ep_release"})


def codes(names: frozenset[str] = KNOWN, provider: str = "existing", mirror: str = "", **inputs: t.Any) -> list[str]:
    plan = build_plan({**GUIDE, **inputs}).as_dict()
    return [finding.code for finding in judge(names, KNOWN, plan, {"provider": provider, "mirror": mirror})]


def test_the_guide_is_accepted() -> None:
    assert codes() == []


def test_a_mistyped_variable_names_the_nearest() -> None:
    plan = build_plan(GUIDE).as_dict()
    (finding,) = judge({"wide_ep_nmespace"}, KNOWN, plan, {"provider": "existing", "mirror": ""})
    assert finding.subject == "wide_ep_nmespace"
    assert "wide_ep_namespace" in finding.fix


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"namespace": "Llm_d"}, "INPUT_NAME"),
        ({"namespace": "-a"}, "INPUT_NAME"),
        ({"release": "a" * 41}, "INPUT_NAME"),
        ({"release": ""}, "INPUT_NAME"),
        ({"redundant_experts": 31}, "EXPERTS_NOT_DIVISIBLE"),
        ({"decode_hosts_per_group": 5}, "EXPERTS_NOT_DIVISIBLE"),
        ({"router_mode": "gateway"}, "INPUT_COMBINATION"),
        ({"gateway_provider": "istio"}, "INPUT_COMBINATION"),
        ({"load_balancing": "multi_port", "decode_ranks_per_host": 4}, "INPUT_COMBINATION"),
        ({"provider": "coreweave"}, "INPUT_COMBINATION"),
        ({"mirror": "https://registry.example.com"}, "INPUT_COMBINATION"),
        ({"mirror": "registry.example.com/"}, "INPUT_COMBINATION"),
    ],
)
def test_bad_input_is_refused(change: dict[str, t.Any], code: str) -> None:
    assert set(codes(**change)) == {code}


def test_the_hardware_of_the_overlay_is_part_of_the_inputs() -> None:
    plan = build_plan({**GUIDE, "overlay": "dgx_cloud_gb200"}).as_dict()
    inputs = {"provider": "existing", "mirror": "", "shape": {"machine_type": "gb200", "gpus": 4}}
    assert [finding.code for finding in judge(KNOWN, KNOWN, plan, inputs)] == ["CAPACITY_GPUS", "CAPACITY_GPUS"]


@pytest.mark.parametrize("mirror", ["10.0.0.2:5000", "registry.example.com/mirror", "localhost:5000/a/b"])
def test_mirrors_are_accepted(mirror: str) -> None:
    assert codes(mirror=mirror) == []


@given(hosts=st.integers(1, 12), ranks=st.integers(1, 8), redundant=st.integers(0, 256))
def test_the_proposed_redundant_experts_divide(hosts: int, ranks: int, redundant: int) -> None:
    sizes = {
        "decode_hosts_per_group": hosts,
        "decode_ranks_per_host": ranks,
        "prefill_hosts_per_group": hosts,
        "prefill_ranks_per_host": ranks,
    }
    findings = tier_arithmetic(build_plan({**GUIDE, **sizes, "redundant_experts": redundant}).as_dict())
    assert bool(findings) == bool((256 + redundant) % (hosts * ranks))
    for finding in findings:
        proposed = int(finding.fix.split(" to ")[1].split(",")[0])
        assert tier_arithmetic(build_plan({**GUIDE, **sizes, "redundant_experts": proposed}).as_dict()) == []


@pytest.mark.parametrize("key", ["groups", "hosts_per_group", "ranks_per_host"])
def test_less_than_one_is_refused_without_arithmetic(key: str) -> None:
    plan = build_plan(GUIDE).as_dict()
    plan["decode"] = {**plan["decode"], key: 0}
    assert [finding.code for finding in tier_arithmetic(plan)] == ["INPUT_TYPE"]
