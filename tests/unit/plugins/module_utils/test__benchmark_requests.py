# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import io
import json
import math
import typing as t
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_judge import Request, judge
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_requests import (
    Histogram,
    Requests,
    check_requests,
    read_requests,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import E2E, ITL, LATENCIES, TPOT, TTFT

from .benchmark_data import ALL_FAILED, DATA, NEW, copy, recorded

pytest.importorskip("ijson", reason="per-request files are read with ijson")

PER_REQUEST = "per_request_lifecycle_metrics.json"


def parse(text: str, limits: dict[str, float] | None = None) -> tuple[Requests, list[str]]:
    found, reader = read_requests("file", io.BytesIO(text.encode()), limits or {})
    return found, [f"{finding.code} {finding.evidence}" for finding in reader.findings]


def metrics(**values: t.Any) -> dict[str, t.Any]:
    defaults = {TTFT: 1.0, TPOT: 0.1, E2E: 3.0, "inter_token_latencies": [0.0, 0.2], "output_tokens": 3}
    return {"start_time": 10.0, "end_time": 13.0, "computed_metrics": {**defaults, **values}, "error": None}


def test_the_file_gives_the_figures_of_the_stage() -> None:
    run = recorded(NEW)
    with (NEW / PER_REQUEST).open("rb") as stream:
        found, reader = read_requests(PER_REQUEST, stream, run.constraints)
    assert reader.findings == []
    assert check_requests(run, found, PER_REQUEST) == []
    assert (found.total, found.failures, found.intervals, found.good) == (64, 0, 64 * 199, 64)
    for name in LATENCIES:
        statistics = found.latency[name].statistics()
        assert statistics["mean"] == pytest.approx(run.latency[name]["mean"], rel=1e-4)
        assert statistics["p90"] == pytest.approx(run.latency[name]["p90"], rel=0.02)


@pytest.mark.parametrize(
    ("name", "server", "streamed"), [("0.6.1", 200, True), ("0.7.0", 200, True), ("0.7.0-nonstreaming", 200, False)]
)
def test_the_full_form_gives_the_same_figures(name: str, server: int, streamed: bool) -> None:
    with (DATA / "full-form" / f"{name}.json").open("rb") as stream:
        found, reader = read_requests(name, stream, {"request_latency": 2.0})
    assert reader.findings == []
    assert (found.total, found.good, found.client_tokens, found.server_tokens) == (2, 2, 400, server)
    assert found.latency[E2E].statistics()["mean"] == pytest.approx(1.1, rel=0.1)
    assert (TTFT in found.latency, found.intervals) == (streamed, 398 if streamed else 0)
    if streamed:
        assert found.latency[TPOT].sum == pytest.approx(found.latency[ITL].sum / 199, rel=1e-6)


def test_failed_requests_are_counted_and_nothing_else() -> None:
    with (ALL_FAILED / PER_REQUEST).open("rb") as stream:
        found, reader = read_requests(PER_REQUEST, stream, {"ttft": 1.0})
    assert (found.total, found.failures, found.good, found.latency) == (64, 64, 0, {})
    assert reader.findings == []


@pytest.mark.parametrize(
    ("limits", "good"),
    [({"ttft": 1.0}, 2), ({"ttft": 1.0, "tpot": 0.05}, 1), ({"ttft": 0.5}, 0), ({"itl": 0.1}, 2), ({}, 3)],
)
def test_goodput_is_of_requests_that_meet_every_limit(limits: dict[str, float], good: int) -> None:
    rows = [metrics(), metrics(**{TPOT: 0.01}), metrics(**{TTFT: 2.0, "inter_token_latencies": [0.5]})]
    assert parse(json.dumps(rows), limits)[0].good == good


def test_requests_in_flight() -> None:
    rows = [{**metrics(), "start_time": 0.2, "end_time": 2.5}, {**metrics(), "start_time": 1.9, "end_time": 3.1}]
    assert parse(json.dumps(rows))[0].in_flight() == [(0, 1), (1, 2), (2, 1), (3, 0)]


WHOLE = json.dumps([metrics(), metrics()])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "BENCHMARK_TRUNCATED it ends or breaks after 0 requests"),
        (WHOLE[:-40], "BENCHMARK_TRUNCATED it ends or breaks after 1 requests"),
        (WHOLE.replace("0.1", "NaN", 1), "after 0 requests: lexical error"),
        ("[1, 2]", "BENCHMARK_PER_REQUEST entry 0 is int, expected a mapping"),
        (json.dumps([metrics(inter_token_latencies="x")]), "BENCHMARK_PER_REQUEST entry 1 cannot be read"),
        (json.dumps([metrics(**{TTFT: -1.0})]), "BENCHMARK_VALUE 1 of 1 values are negative or not finite"),
    ],
)
def test_what_is_wrong_with_the_file_is_told(text: str, problem: str) -> None:
    _found, problems = parse(text)
    assert problem in " ".join(problems)


def test_a_file_of_another_run_is_refused(tmp_path: Path) -> None:
    folder = copy(NEW, tmp_path)
    rows = json.loads((folder / PER_REQUEST).read_text())
    (folder / PER_REQUEST).write_text(json.dumps(rows[:40]))
    outcome = judge(Request((folder,))).outcome
    assert outcome.exit_code == 5
    assert any("it has 40 requests" in finding.evidence for finding in outcome.findings)


def test_means_must_agree() -> None:
    run = recorded(NEW)
    latency = {**run.latency, TTFT: {"mean": 0.09}}
    with (NEW / PER_REQUEST).open("rb") as stream:
        found, _reader = read_requests(PER_REQUEST, stream, {})
    (finding,) = check_requests(dataclasses.replace(run, latency=latency), found, PER_REQUEST)
    assert (finding.code, finding.subject) == ("BENCHMARK_PER_REQUEST", f"{PER_REQUEST}: {TTFT}")


@given(st.lists(st.floats(1e-6, 1e4), min_size=1, max_size=200), st.floats(0, 1))
@settings(max_examples=80, deadline=None)
def test_quantiles_are_right_to_half_a_percent(values: list[float], share: float) -> None:
    histogram = Histogram()
    histogram.add(values[: len(values) // 2])
    histogram.add(values[len(values) // 2 :])
    expected = sorted(values)[int(share * (len(values) - 1))]
    assert histogram.quantile(share) == pytest.approx(expected, rel=0.005)
    assert histogram.count == len(values)
    assert histogram.sum == pytest.approx(math.fsum(values))
    assert (histogram.least, histogram.most) == (min(values), max(values))


@pytest.mark.parametrize("value", [-1.0, math.inf, -math.inf, math.nan, -1e-9])
def test_impossible_values_are_counted(value: float) -> None:
    histogram = Histogram()
    histogram.add([0.0, 1.0, value])
    assert histogram.impossible == 1
