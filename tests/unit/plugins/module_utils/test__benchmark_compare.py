# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import math
import random
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_baselines import BASELINES
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_checks import check
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_compare import EXIT, Comparison, Side, compare
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_derive import Topology
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import Run

from .benchmark_data import GUIDE, LOAD, made, recorded

TOPOLOGY = Topology(16, 16, 32, 16, "NVIDIA-H200", "fp8")
TRIALS = 120
RATES = st.lists(st.floats(5.0, 20.0), min_size=1, max_size=6)


def side(label: str, rates: t.Sequence[float], **changes: t.Any) -> Side:
    return Side(label, tuple(made(rate) for rate in rates), **{"topology": TOPOLOGY, **changes})


def verdict(base: t.Sequence[float], now: t.Sequence[float], **changes: t.Any) -> Comparison:
    return compare(side("base", base), side("now", now, **changes))


@pytest.mark.parametrize(
    ("base", "now", "expected", "reason"),
    [
        # Repeats within a percent of each other.
        ((11.0, 11.05, 10.95), (11.02, 10.98, 11.0), "same", "within its tolerance"),
        ((11.0, 11.05, 10.95), (9.6, 9.65, 9.55), "worse", "Output"),
        ((11.0, 11.05, 10.95), (12.6, 12.55, 12.65), "better", "Output"),
        # 5 % is the tolerance: a change of just that is neither.
        ((11.0, 11.05, 10.95), (10.45, 10.5, 10.4), "not comparable", "more repeats are needed"),
        # One slow repeat of three says nothing about the healthy mode.
        ((11.0, 11.05, 10.95), (11.0, 7.6, 11.03), "same", "within its tolerance"),
        ((11.0, 7.5, 10.95), (11.0, 7.6, 11.03), "same", "within its tolerance"),
        # Nearly always slow is worse, although the one healthy repeat is as fast.
        ((11.0,) * 6, (7.5, 7.6, 7.55, 7.5, 11.0, 11.0), "worse", "slow mode"),
        # Only slow repeats are a slow build.
        ((11.0, 11.05, 10.95), (7.6, 7.65, 7.55), "worse", "Output"),
        # Nothing is known of a mode of which there is one repeat.
        ((11.0, 11.05, 10.95), (11.0, 7.6), "not comparable", "differ too much"),
        ((11.0, 10.2, 9.5), (11.0, 11.0, 11.0), "not comparable", "differ too much"),
        # Single runs: only beyond the slow mode's depth.
        ((11.0,), (8.0,), "not comparable", "too few repeats"),
        ((11.0,), (6.0,), "worse", "Output"),
        ((11.0,), (22.0,), "better", "Output"),
        ((11.0, 11.0), (11.0, 11.0), "same", "within its tolerance"),
    ],
)
def test_verdicts(base: tuple[float, ...], now: tuple[float, ...], expected: str, reason: str) -> None:
    found = verdict(base, now)
    assert (found.verdict, found.exit_code) == (expected, EXIT[found.verdict])
    assert reason in found.reason
    assert (found.confidence is None) == (expected == "not comparable")


def test_exit_codes_tell_slower_from_unknown_from_broken() -> None:
    assert EXIT == {"better": 0, "same": 0, "worse": 3, "not comparable": 4, "invalid": 5}


def test_worse_is_a_finding_with_its_changes() -> None:
    (finding,) = [f for f in verdict((11.0,) * 3, (9.0,) * 3).findings if f.code == "BENCHMARK_WORSE"]
    assert "Output -18.2%" in finding.evidence
    assert "TPOT, median +22.2%" in finding.evidence


def test_an_invalid_side_ends_the_comparison() -> None:
    found = verdict((11.0,), (11.0,), valid=False)
    assert (found.verdict, found.exit_code, found.rows) == ("invalid", 5, ())
    assert "now" in found.reason


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "other"),
        ("input_tokens", 1000),
        ("output_tokens", 1000),
        ("concurrency", 1024),
        ("load_type", "constant"),
        ("streaming", False),
        ("tool_version", "0.6.1"),
        ("token_side", "client"),
    ],
)
def test_unlike_loads_are_refused_unless_told(field: str, value: t.Any) -> None:
    other = made(11.0, load=dataclasses.replace(LOAD, **{field: value}))
    candidate = Side("now", (other,) * 3, TOPOLOGY)
    refused = compare(side("base", (11.0,) * 3), candidate)
    assert refused.verdict == "not comparable"
    (finding,) = refused.findings
    assert (finding.code, finding.subject) == ("BENCHMARK_NOT_COMPARABLE", field)
    assert f"{value} in the candidate" in finding.evidence
    assert compare(side("base", (11.0,) * 3), candidate, allow=[field]).verdict == "same"


@pytest.mark.parametrize(
    ("topology", "field"),
    [
        (Topology(16, 32, 48, 32, "NVIDIA-H200", "fp8"), "decode_gpus"),
        (Topology(8, 16, 24, 16, "NVIDIA-H200", "fp8"), "prefill_gpus"),
        (Topology(16, 16, 32, 16, "NVIDIA-B200", "fp8"), "gpu"),
        (Topology(16, 16, 32, 16, "NVIDIA-H200", "nvfp4"), "precision"),
    ],
)
def test_unlike_hardware_is_refused(topology: Topology, field: str) -> None:
    found = compare(side("base", (11.0,) * 3), side("now", (11.0,) * 3, topology=topology))
    assert found.verdict == "not comparable"
    assert field in {finding.subject for finding in found.findings}


@pytest.mark.parametrize(("gpu", "alike"), [("NVIDIA-H200-141GB-HBM3e", True), ("H200", True), ("NVIDIA-GH200", False)])
def test_a_gpu_is_known_by_its_family(gpu: str, alike: bool) -> None:
    topology = dataclasses.replace(TOPOLOGY, gpu=gpu)
    found = compare(side("base", (11.0,) * 3), side("now", (11.0,) * 3, topology=topology))
    assert (found.verdict == "same") == alike


def test_a_run_of_ours_is_compared_with_the_guide_by_requests() -> None:
    """The guide's load generator is older and counts tokens on the client."""
    guide = BASELINES["guide-cks-h200"]
    base = Side("guide-cks-h200", (guide.run,), guide.topology, published=True)
    load = dataclasses.replace(LOAD, model="deepseek-ai/DeepSeek-R1-0528", data_type="random", ignore_eos=True)
    candidate = Side("now", tuple(made(rate, load=load) for rate in (13.0, 13.1, 12.9)), TOPOLOGY)
    refused = compare(base, candidate)
    assert {finding.subject for finding in refused.findings} == {"tool_version", "token_side"}
    found = compare(base, candidate, allow=["tool_version", "token_side"])
    assert (found.verdict, found.reason.split(",")[0]) == ("better", "Requests +17.8%")


def test_repeats_of_one_side_must_be_alike() -> None:
    odd = made(11.0, load=dataclasses.replace(LOAD, concurrency=1024))
    found = compare(side("base", (11.0,) * 3), Side("now", (made(11.0), made(11.0), odd), TOPOLOGY))
    assert found.verdict == "not comparable"


def test_what_is_not_known_is_not_held_against_a_side() -> None:
    bare = made(11.0, load=dataclasses.replace(LOAD, model=None, streaming=None, tool_version=None))
    assert compare(side("base", (11.0,) * 3), Side("now", (bare,) * 3)).verdict == "same"


@pytest.mark.parametrize("field", ["tool_version", "token_side"])
def test_where_tokens_are_counted_otherwise_only_requests_are_compared(field: str) -> None:
    """Twice the output tokens by another count are no gain."""
    rates = {"request_rate": 11.0, "output_token_rate": 44000.0}
    other = made(11.0, load=dataclasses.replace(LOAD, **{field: "0.6" if field == "tool_version" else "client"}))
    other = dataclasses.replace(other, rates=rates)
    found = compare(side("base", (11.0,) * 3), Side("now", (other,) * 3, TOPOLOGY), allow=[field])
    assert found.verdict == "same"
    assert {row.metric for row in found.rows}.isdisjoint({"output_token_rate", "tpot_p50"})


def test_a_client_that_counts_anew_is_compared_by_requests() -> None:
    load = dataclasses.replace(LOAD, token_side="client")
    runs = [made(11.0, load=load, lengths={"output_length": {"mean": 4000.0}}, server_output={"mean": 2000.0})] * 3
    found = compare(Side("base", tuple(runs), TOPOLOGY), Side("now", tuple(runs), TOPOLOGY))
    assert {row.metric for row in found.rows}.isdisjoint({"output_token_rate", "tpot_p50"})
    assert any(finding.code == "BENCHMARK_TOKEN_RECOUNT" for finding in found.findings)


def test_where_the_rates_follow_the_server_the_client_s_count_does_not_matter() -> None:
    runs = (made(11.0, lengths={"output_length": {"mean": 4000.0}}, server_output={"mean": 2000.0}),) * 3
    found = compare(Side("base", runs, TOPOLOGY), Side("now", runs, TOPOLOGY))
    assert found.verdict == "same"
    assert {row.metric for row in found.rows} >= {"output_token_rate", "tpot_p50"}


def test_late_percentiles_gate_with_five_repeats_only() -> None:
    def slow_tail(rate: float) -> Run:
        run = made(rate)
        tail = {name: {**values, "p99": values["p99"] * 3} for name, values in run.latency.items()}
        return dataclasses.replace(run, latency=tail)

    for repeats, expected in ((3, "same"), (5, "worse")):
        candidate = Side("now", tuple(slow_tail(11.0) for _repeat in range(repeats)), TOPOLOGY)
        assert compare(side("base", (11.0,) * repeats), candidate).verdict == expected


@given(RATES)
@settings(max_examples=60, deadline=None)
def test_a_run_is_never_better_or_worse_than_itself(rates: list[float]) -> None:
    assert verdict(rates, rates).verdict in ("same", "not comparable")


@given(RATES, RATES, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_repeats_does_not_matter(base: list[float], now: list[float], dice: random.Random) -> None:
    mixed = dice.sample(now, len(now))
    one, other = verdict(base, now), verdict(base, mixed)
    assert one.verdict == other.verdict
    assert [row.verdict for row in one.rows] == [row.verdict for row in other.rows]


@given(RATES, RATES)
@settings(max_examples=60, deadline=None)
def test_better_one_way_is_not_better_the_other_way(base: list[float], now: list[float]) -> None:
    there, back = (verdict(*pair).verdict for pair in ((base, now), (now, base)))
    assert (there, back) not in {("better", "better"), ("better", "same"), ("same", "better"), ("worse", "worse")}


@given(RATES, RATES, st.floats(0.1, 10.0))
@settings(max_examples=60, deadline=None)
def test_the_scale_does_not_matter(base: list[float], now: list[float], factor: float) -> None:
    scaled = verdict([rate * factor for rate in base], [rate * factor for rate in now])
    found = verdict(base, now)
    assert [round(row.change, 9) for row in found.rows] == pytest.approx([row.change for row in scaled.rows], abs=1e-6)


def repeats(dice: random.Random, center: float, number: int, slow: float) -> list[float]:
    """Healthy repeats of 1 %, and slow ones a third below."""
    factors = [0.68 if dice.random() < slow else 1.0 for _repeat in range(number)]
    return [center * factor * math.exp(dice.gauss(0, 0.01)) for factor in factors]


@pytest.mark.parametrize(
    ("number", "shift", "slow", "expected", "least"),
    [
        (3, 0.88, 0.0, "worse", 0.95),
        (3, 1.14, 0.0, "better", 0.95),
        (3, 1.0, 0.0, "same", 0.95),
        (5, 0.92, 0.0, "worse", 0.60),
        # With one slow repeat in five, five repeats still find what three cannot.
        (5, 0.85, 0.2, "worse", 0.85),
    ],
)
def test_power(number: int, shift: float, slow: float, expected: str, least: float) -> None:
    """How often a known change is found, at 1 % between repeats."""
    dice = random.Random(11)
    found = [
        verdict(repeats(dice, 11, number, slow), repeats(dice, 11 * shift, number, slow)).verdict
        for _trial in range(TRIALS)
    ]
    assert found.count(expected) / len(found) >= least  # type: ignore[arg-type]


@pytest.mark.parametrize("slow", [0.0, 0.2])
def test_false_alarms_are_rare(slow: float) -> None:
    dice = random.Random(5)
    found = [verdict(repeats(dice, 11, 5, slow), repeats(dice, 11, 5, slow)).verdict for _trial in range(TRIALS)]
    assert (found.count("worse") + found.count("better")) / len(found) <= 0.03


@pytest.mark.parametrize("name", BASELINES)
def test_published_figures_are_possible_and_have_a_source(name: str) -> None:
    found = BASELINES[name]
    assert found.source
    assert found.date.startswith("2026")
    assert [finding.code for finding in check(found.run) if finding.severity == "error"] == []
    assert found.topology.prefill_gpus + found.topology.decode_gpus == found.topology.total_gpus


def test_the_guide_s_baseline_is_the_guide_s_report() -> None:
    baseline, report = BASELINES["guide-cks-h200"].run, recorded(GUIDE)
    for name, values in report.latency.items():
        assert baseline.latency[name] == pytest.approx(dict(values), rel=1e-5)
    for name, rate in report.rates.items():
        assert baseline.rates[name] == pytest.approx(rate, rel=1e-9)
