# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_derive import (
    Topology,
    derive,
    describe,
    goodput,
    topology_of,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_requests import Requests

from .benchmark_data import ALL_FAILED, GUIDE, NEW, NOT_STREAMED, recorded

TOPOLOGY = Topology(16, 16, 32, 16)


def engine(role: str, count: int, ranks: int) -> dict[str, t.Any]:
    accelerator = {"model": "H200", "count": count, "parallelism": {"dp": ranks}}
    return {"standardized": {"kind": "inference_engine", "role": role, "accelerator": accelerator}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tpsg_decode", 1382.805),
        ("tpsg_total", 691.402),
        ("input_per_prefill_gpu", 1411.634),
        ("duration", 742.373),
        ("in_flight", 1940.279),
        ("occupancy", 94.740),
        ("prefill_share", 12.109),
        ("per_decode_rank", 106.584),
        ("concurrency_per_rank", 128.0),
        ("steady_state", 25631.726),
        ("loss", 13.682),
        ("interactivity", 12.515),
    ],
)
def test_figures_of_the_guide_s_report(name: str, value: float) -> None:
    figures = {figure.name: figure.value for figure in derive(recorded(GUIDE), TOPOLOGY)}
    assert figures[name] == pytest.approx(value, abs=6e-4)


def test_tpsg_by_configured_length_needs_the_configuration() -> None:
    names = {figure.name for figure in derive(recorded(GUIDE), TOPOLOGY)}
    assert "tpsg_normalized" not in names
    figures = {figure.name: figure.value for figure in derive(recorded(NEW), TOPOLOGY)}
    assert figures["tpsg_normalized"] == pytest.approx(12.837360773890552 * 100 / 16)


def test_tokens_that_the_client_counts_anew_are_no_gain() -> None:
    """The mock sends 100 tokens that the client counts as 200."""
    figures = {figure.name: figure for figure in derive(recorded(NEW), TOPOLOGY)}
    assert figures["tpsg_decode"].value == pytest.approx(12.837360773890552 * 100 / 16)
    assert "server's count" in figures["tpsg_decode"].how


def test_without_gpus_nothing_is_said_about_them() -> None:
    assert all(not figure.name.startswith("tpsg") for figure in derive(recorded(GUIDE), None))


def test_a_failed_run_has_no_figures() -> None:
    assert derive(recorded(ALL_FAILED), TOPOLOGY) == []


@pytest.mark.parametrize(
    ("told", "stack", "expected"),
    [
        ({"prefill_gpus": 16, "decode_gpus": 16}, [], (16, 16, 32, 16)),
        ({}, [engine("prefill", 16, 16), engine("decode", 32, 32)], (16, 32, 48, 32)),
        ({"total_gpus": 64}, [engine("prefill", 16, 16), engine("decode", 32, 32)], (16, 32, 64, 32)),
        ({"decode_ranks": 8, "decode_gpus": 16, "prefill_gpus": 16}, [], (16, 16, 32, 8)),
        ({}, [engine("prefill", 8, 8), engine("decode", 8, 8)], (8, 8, 16, 8)),
    ],
)
def test_gpus_come_from_what_is_told_and_from_the_stack(
    told: dict[str, int], stack: list[t.Any], expected: tuple[int, ...]
) -> None:
    topology, findings = topology_of(told, {"stack": stack})
    assert findings == []
    assert topology is not None
    assert dataclasses.astuple(topology)[:4] == expected


def test_a_gpu_that_is_not_known_is_none() -> None:
    unknown = engine("decode", 16, 16)
    unknown["standardized"]["accelerator"]["model"] = "unknown"
    topology, _findings = topology_of({}, {"stack": [engine("prefill", 16, 16), unknown]})
    assert topology is not None
    assert topology.gpu == "H200"
    assert topology_of({"prefill_gpus": 8}, {"stack": [unknown]})[0] == Topology(8, 16, 24, 16)


@pytest.mark.parametrize(
    ("limits", "least", "most"),
    [
        ({"tpot": 0.1}, 1.0, 1.0),
        ({"ttft": 26.0}, 0.75, 0.90),
        ({"ttft": 26.0, "tpot": 0.1}, 0.75, 0.90),
        ({"ttft": 5.0}, 0.05, 0.10),
        ({"ttft": 26.0, "tpot": 0.0805}, 0.25, 0.75),
        ({"ttft": 0.1}, 0.0, 0.0),
    ],
)
def test_percentiles_bound_the_goodput(limits: dict[str, float], least: float, most: float) -> None:
    found, findings = goodput(recorded(GUIDE), limits, None)
    assert findings == []
    assert found is not None
    assert (found.least, found.most) == (pytest.approx(least), pytest.approx(most))
    assert ("bounds" in describe(found)) == (least != most)


def test_the_tool_s_own_goodput_is_of_all_requests() -> None:
    run = recorded(NEW)
    found, _findings = goodput(dataclasses.replace(run, total=128, failures=64), run.constraints, None)
    assert found is not None
    assert (found.least, found.source) == (0.5, "goodput of the load generator")


def test_per_request_figures_say_it_exactly() -> None:
    found, _findings = goodput(recorded(NEW), {"ttft": 0.06}, Requests(total=64, good=48))
    assert found is not None
    assert (found.least, found.most) == (0.75, 0.75)


def test_no_goodput_without_what_it_limits() -> None:
    """The tool says 0 % for a limit on the first token of answers that were not streamed."""
    run = recorded(NOT_STREAMED)
    found, findings = goodput(run, run.constraints, None)
    assert found is None
    assert [finding.code for finding in findings] == ["BENCHMARK_NOT_STREAMED"]


def test_of_failed_requests_none_is_good() -> None:
    run = recorded(ALL_FAILED)
    found, _findings = goodput(run, run.constraints, None)
    assert found is not None
    assert found.most == 0


def test_an_unknown_limit_is_refused() -> None:
    found, findings = goodput(recorded(GUIDE), {"ttfb": 1.0}, None)
    assert found is None
    assert "ttfb" in findings[0].evidence
