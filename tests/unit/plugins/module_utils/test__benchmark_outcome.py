# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_judge import Request, judge
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_outcome import (
    Outcome,
    data,
    headline,
    junit,
    markdown,
    quantity,
    time_text,
    unlisted_codes,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

from .benchmark_data import ALL_FAILED, GUIDE, OLD

TOPOLOGY = {"prefill_gpus": 16, "decode_gpus": 16}


def outcome(*results: Path, baseline: str | None = None) -> Outcome:
    return judge(Request(results, topology=TOPOLOGY, baseline=baseline, per_request=False)).outcome


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1382.805, "1,383"), (691.4, "691.4"), (11.0349, "11.03"), (22124.9, "22,125")]
)
def test_quantities(value: float, text: str) -> None:
    assert quantity(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (11.0752, "11.08 s"), (0.0799, "79.9 ms"), (6.39e-6, "6.39 us")]
)
def test_times(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def test_the_markdown_says_what_a_reader_looks_for() -> None:
    text = markdown(outcome(GUIDE, GUIDE, GUIDE, baseline="guide-cks-h200-dp-supervisor"))
    assert "**worse than guide-cks-h200-dp-supervisor (confidence above 99.9%): Output -20.6%, Requests -23.0%" in text
    assert "| TPSG | 1,383 tokens/s per GPU | output tokens/s / 16 decode GPUs |" in text
    assert "| TPOT | 79.7 ms | 79.9 ms | 82 ms | 83.41 ms | 99.71 ms |" in text
    assert "| Output | 27,853 tokens/s | 22,125 tokens/s | -20.6% |" in text
    assert "BENCHMARK_ITL_DEGENERATE" in text


def test_evidence_is_no_markup() -> None:
    finding = Finding("BENCHMARK_ALL_FAILED", "error", "x", "<b>a|b</b>\n[click](http://x)", "*fix*")
    text = markdown(Outcome("T", None, (finding,)))
    assert "\\<b\\>a\\|b\\</b\\> \\[click\\](http://x)" in text


@pytest.mark.parametrize(
    ("results", "baseline", "failing"),
    [
        ((OLD,), None, []),
        ((ALL_FAILED,), None, ["requests were answered"]),
        ((GUIDE,) * 3, "guide-cks-h200-dp-supervisor", ["not slower than guide-cks-h200-dp-supervisor"]),
        ((GUIDE,) * 3, "guide-gke-b200-1k1k", ["not slower than guide-gke-b200-1k1k"]),
        ((OLD.parent / "none",), None, ["the result is complete"]),
    ],
)
def test_junit_fails_the_case_that_is_meant(
    results: tuple[Path, ...], baseline: str | None, failing: list[str]
) -> None:
    suite = ElementTree.fromstring(junit(outcome(*results, baseline=baseline)))
    failed = [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
    assert (failed, suite.get("failures"), suite.get("tests")) == (failing, str(len(failing)), str(len(suite)))


def test_warnings_are_the_output_of_a_case_that_passes() -> None:
    suite = ElementTree.fromstring(junit(outcome(OLD)))
    (case,) = [case for case in suite if case.get("name") == "tokens are counted as they were generated"]
    assert "BENCHMARK_TOKEN_RECOUNT" in str(case.findtext("system-out"))


def test_control_characters_do_not_break_the_xml() -> None:
    finding = Finding("BENCHMARK_ALL_FAILED", "error", "x", "\x1b[31mred\x00", "fix")
    assert ElementTree.fromstring(junit(Outcome("T", None, (finding,)))).get("failures") == "1"


def test_every_code_belongs_to_a_test_case() -> None:
    assert unlisted_codes() == set()


@pytest.mark.parametrize("results", [(OLD,), (ALL_FAILED,), (OLD.parent / "none",)])
def test_the_data_are_plain_values(results: tuple[Path, ...]) -> None:
    found = data(outcome(*results))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["exit_code"] == (0 if results == (OLD,) else 5)


def test_the_headline_of_a_run_that_failed_says_why() -> None:
    assert headline(outcome(ALL_FAILED)).startswith("invalid: 64 of 64 requests failed; 64 x Connection Error")
