# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils._gpu_minutes import (
    PhaseMinutes,
    Span,
    Stretch,
    budget_finding,
    by_phase,
    seconds,
    spans,
    used,
)

FOUR = [Span(8, 0.0)] * 4


def node(name: str, created: str, gpus: str | None) -> dict[str, t.Any]:
    capacity = {"cpu": "4", **({"nvidia.com/gpu": gpus} if gpus else {})}
    status = {"capacity": capacity, "allocatable": {"nvidia.com/gpu": "0"}}
    return {"metadata": {"name": name, "creationTimestamp": created}, "status": status}


def test_spans_are_of_nodes_with_gpus() -> None:
    """By capacity: a GPU that is not allocatable is paid for."""
    found = spans(
        [
            node("b", "2026-11-25T10:00:30Z", "8"),
            node("cpu", "2026-11-25T09:00:00Z", None),
            node("a", "2026-11-25T10:00:00Z", "4"),
        ]
    )
    begin = seconds("2026-11-25T10:00:00Z")
    assert found == [Span(4, begin), Span(8, begin + 30)]


@pytest.mark.parametrize(
    ("begin", "end", "minutes"),
    [(0, 60, 32.0), (0, 0, 0.0), (60, 0, 0.0), (-600, 60, 32.0), (30, 90, 32.0)],
)
def test_used(begin: float, end: float, minutes: float) -> None:
    assert used(FOUR, end, begin) == minutes


def test_a_deleted_node_stops_counting() -> None:
    assert used([Span(8, 0, 30)], 600) == 4.0
    assert used([Span(8, 0, 30)], 15) == 2.0


def test_phases_are_idle_until_it_serves() -> None:
    phases = [Stretch("lws", 0, 60), Stretch("wait", 60, 180), Stretch("verify", 180, 240)]
    assert by_phase(FOUR, phases, 150) == [
        PhaseMinutes("lws", 32, 32),
        PhaseMinutes("wait", 64, 48),
        PhaseMinutes("verify", 32, 0),
    ]
    assert sum(phase.idle for phase in by_phase(FOUR, phases)) == 128


def test_overlapped_is_cheaper_than_serial() -> None:
    """The nodes come after 15 minutes either way; serially, everything else begins only then."""
    others = [("lws", 60), ("kueue", 60), ("workspace", 10), ("router", 50), ("load", 600)]

    def idle(begin: float) -> float:
        nodes, phases = [Span(8, 900.0)] * 4, []
        for name, length in others:
            # Weights are loaded by GPU nodes.
            start = max(begin, 900.0) if name == "load" else begin
            phases.append(Stretch(name, begin, start + length))
            begin = start + length
        return sum(phase.idle for phase in by_phase(nodes, phases, begin))

    assert idle(900.0) == pytest.approx(32 * 13)
    assert idle(0.0) == pytest.approx(32 * 10)


@pytest.mark.parametrize(
    ("minutes", "budget", "stops"), [(99.9, 100, False), (100, 100, True), (1e9, 0, False), (0, 0.1, False)]
)
def test_budget(minutes: float, budget: float, stops: bool) -> None:
    found = budget_finding(minutes, budget)
    assert (found is not None) is stops
    if found is not None:
        assert (found.code, found.severity) == ("GPU_BUDGET_SPENT", "error")
        assert "wide_ep_gpu_minutes_budget=100" in found.subject


SPANS = st.lists(st.builds(Span, st.integers(1, 8), st.floats(0, 1e6), st.none()), max_size=6)


@given(SPANS, st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_phases_add_up(found: list[Span], one: float, other: float, third: float) -> None:
    begin, middle, end = sorted((one, other, third))
    parts = by_phase(found, [Stretch("a", begin, middle), Stretch("b", middle, end)], middle)
    assert sum(part.total for part in parts) == pytest.approx(used(found, end, begin))
    assert parts[0].idle == parts[0].total
    assert parts[1].idle == 0
    assert all(0 <= part.idle <= part.total for part in parts)
