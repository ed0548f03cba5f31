# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils._prometheus_text import (
    Sample,
    Served,
    decided,
    kept_lines,
    model_names,
    parse,
    served,
)

METRICS = Path(__file__).parents[3] / "data" / "metrics"
SIMULATOR = "llm-d-inference-sim-0.10.2"
VLLM = "vllm-0.19.1"

LINES = [
    ("vllm:x_total 3", [Sample("vllm:x_total", 3.0)]),
    ("vllm:x_total 3 1795598427000", [Sample("vllm:x_total", 3.0)]),
    ('x{a="1",b="2"} 1e3', [Sample("x", 1000.0, {"a": "1", "b": "2"})]),
    ('x{ a = "1" , } 1', [Sample("x", 1.0, {"a": "1"})]),
    (r'x{a="q\"u, o}te\\ \n"} 1', [Sample("x", 1.0, {"a": 'q"u, o}te\\ \n'})]),
    ("x{} 1", [Sample("x", 1.0)]),
    ("# TYPE x counter", []),
    ("#x 1", []),
    ("", []),
    ("x", []),
    ("x one", []),
    ("x NaN", []),
    ("x +Inf", []),
]

#: folder, file, prefilled, decoded, in flight
RECORDED = [
    (SIMULATOR, "prefill_before", 0, 0, 0),
    (SIMULATOR, "prefill_after", 3, 0, 0),
    (SIMULATOR, "decode_before", 0, 0, 0),
    (SIMULATOR, "decode_after", 0, 4, 0),
    (VLLM, "prefill_before", 5, 5, 0),
    (VLLM, "prefill_after", 21, 21, 0),
    (VLLM, "decode_before", 4, 4, 0),
    (VLLM, "decode_after", 19, 19, 0),
]


def read(folder: str, name: str) -> Served:
    text = (METRICS / folder / f"{name}.txt").read_text(encoding="utf-8")
    return served(parse(kept_lines(text)))


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_parse(line: str, expected: list[Sample]) -> None:
    assert parse([line]) == expected


@pytest.mark.parametrize(("folder", "name", "prefilled", "decoded", "in_flight"), RECORDED)
def test_served_of_recordings(folder: str, name: str, prefilled: int, decoded: int, in_flight: int) -> None:
    found = read(folder, name)
    assert (found.prefilled, found.decoded, found.in_flight) == (prefilled, decoded, in_flight)


def test_kept_lines_lose_nothing_that_counts() -> None:
    text = (METRICS / SIMULATOR / "decode_after.txt").read_text(encoding="utf-8")
    assert served(parse(kept_lines(text))) == served(parse(text.splitlines()))
    assert len(kept_lines(text)) < 10


def test_ranks_come_from_the_engine_label() -> None:
    found = read(VLLM, "decode_after")
    assert found.ranks == {"8": 6, "9": 3, "10": 2, "11": 2, "12": 2, "13": 2, "14": 2, "15": 0}
    assert read(SIMULATOR, "decode_after").ranks == {}


def test_requests_in_flight_are_running_and_waiting() -> None:
    lines = ["vllm:num_requests_running 2", "vllm:num_requests_waiting 3", "vllm:num_requests_waiting_by_reason 9"]
    assert served(parse(lines)).in_flight == 5


def test_start_of_the_process() -> None:
    assert read(VLLM, "prefill_before").started == 1795590000.12
    assert read(SIMULATOR, "prefill_before").started is None


def test_model_names() -> None:
    text = (METRICS / SIMULATOR / "prefill_before.txt").read_text(encoding="utf-8")
    assert model_names(parse(kept_lines(text))) == {"deepseek-ai/DeepSeek-R1-0528"}


@given(st.text())
def test_parse_is_total(text: str) -> None:
    assert all(isinstance(sample.value, float) for sample in parse(text.splitlines()))


@given(st.dictionaries(st.from_regex(r"\A[a-z_]{1,8}\Z"), st.text(st.characters(blacklist_categories=("Cs", "Cc")))))
def test_labels_survive_escaping(labels: dict[str, str]) -> None:
    quoted = ",".join('{}="{}"'.format(k, v.replace("\\", "\\\\").replace('"', '\\"')) for k, v in labels.items())
    assert parse([f"x{{{quoted}}} 1"]) == [Sample("x", 1.0, labels)]


def test_decisions_of_a_recorded_endpoint_picker() -> None:
    text = (METRICS / "llm-d-inference-scheduler-0.7.1" / "epp.txt").read_text(encoding="utf-8")
    assert decided(parse(kept_lines(text))) == {"prefill-decode": 137, "decode-only": 140}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], {}),
        (['llm_d_epp_disagg_decision_total{decision_type="decode-only",plugin_name="a"} 2'], {"decode-only": 2}),
        (
            [
                'llm_d_inference_scheduler_disagg_decision_total{decision_type="prefill-decode"} 7',
                'llm_d_epp_disagg_decision_total{decision_type="prefill-decode",model_name="m"} 3',
                'llm_d_epp_disagg_decision_total{decision_type="prefill-decode",model_name="unknown"} 2',
            ],
            {"prefill-decode": 5},
        ),
    ],
)
def test_decisions_are_counted_once(lines: list[str], expected: dict[str, float]) -> None:
    """Releases between two names count each decision under both."""
    assert decided(parse(kept_lines("\n".join(lines)))) == expected
