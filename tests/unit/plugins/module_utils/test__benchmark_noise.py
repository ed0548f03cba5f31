# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_noise import (
    difference,
    modes,
    more_often,
    student_cdf,
    student_quantile,
)

RATES = st.lists(st.floats(1.0, 1e6), min_size=1, max_size=8)
MODEL = {"sign": 1, "noise": 0.015, "tolerance": 0.05, "confidence": 0.95}


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (6, 2.447), (8, 2.306), (10, 2.228), (18, 2.101)],
)
def test_student_s_t_as_in_the_tables(freedom: int, quantile: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(quantile, abs=5e-4)


@given(st.floats(-50, 50), st.integers(1, 40))
@settings(max_examples=80, deadline=None)
def test_the_distribution_is_symmetric_and_ascends(value: float, freedom: int) -> None:
    assert student_cdf(value, freedom) + student_cdf(-value, freedom) == pytest.approx(1)
    assert student_cdf(value + 0.1, freedom) >= student_cdf(value, freedom) - 1e-12


@pytest.mark.parametrize(
    ("values", "slow", "stable"),
    [
        # NVIDIA/aicr #1197 and #2385.
        ((123_043, 84_049, 122_151), (1,), True),
        ((20_769, 21_100), (), True),
        ((100.0,), (), True),
        ((100.0, 70.0), (1,), False),
        ((100.0, 69.0, 70.0), (1, 2), False),
        ((100.0, 93.0, 86.0, 80.0), (), False),
    ],
)
def test_slow_repeats_are_told_from_healthy_ones(
    values: tuple[float, ...], slow: tuple[int, ...], stable: bool
) -> None:
    found = modes(values)
    assert (found.slow, found.stable) == (slow, stable)


@given(RATES, st.floats(0.001, 1000))
@settings(max_examples=80, deadline=None)
def test_modes_depend_neither_on_order_nor_on_the_unit(values: list[float], factor: float) -> None:
    shuffled = sorted(values)
    found, other = modes(values), modes(shuffled)
    assert sorted(values[index] for index in found.slow) == sorted(shuffled[index] for index in other.slow)
    assert math.isclose(modes([value * factor for value in values]).spread, found.spread, abs_tol=1e-6)


@given(RATES, RATES)
@settings(max_examples=80, deadline=None)
def test_probabilities_are_probabilities_and_swap_with_the_sides(base: list[float], now: list[float]) -> None:
    there, back = difference(base, now, **MODEL), difference(now, base, **MODEL)  # type: ignore[arg-type]
    assert there.worse + there.same + there.better == pytest.approx(1)
    assert there.worse == pytest.approx(back.better, abs=1e-9)
    assert there.low == pytest.approx(-back.high, abs=1e-9)


@given(RATES)
@settings(max_examples=80, deadline=None)
def test_a_side_is_never_better_or_worse_than_itself(values: list[float]) -> None:
    assert difference(values, values, **MODEL).verdict(0.95) in ("same", "unresolved")  # type: ignore[arg-type]


def test_for_latencies_less_is_better() -> None:
    slower = difference([1.0] * 3, [1.5] * 3, sign=-1, noise=0.015, tolerance=0.05, confidence=0.95)
    assert slower.verdict(0.95) == "worse"


def test_agreement_by_chance_does_not_prove_that_there_is_no_noise() -> None:
    two, three = (difference([100.0] * number, [100.0] * number, **MODEL) for number in (2, 3))  # type: ignore[arg-type]
    assert two.high == pytest.approx(0.0300, abs=1e-4)
    assert three.high == pytest.approx(0.0200, abs=1e-4)


@pytest.mark.parametrize(
    ("slow", "of", "slow_before", "of_before", "chance"),
    [(3, 3, 0, 3, 0.05), (0, 3, 0, 3, 1.0), (1, 3, 0, 3, 0.5), (5, 6, 0, 6, 0.00758), (1, 3, 1, 3, 0.8)],
)
def test_slow_repeats_on_one_side(slow: int, of: int, slow_before: int, of_before: int, chance: float) -> None:
    assert more_often(slow, of, slow_before, of_before) == pytest.approx(chance, rel=1e-3)
