# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How repeats of one benchmark scatter, and what a difference between two sets of them says.

Private to the collection: it may change at any time, do not import it from elsewhere.

The model. Healthy repeats scatter by about one percent around one value. Now and then a repeat is in a slow mode, a
tenth to a third below: at 2,048 requests in flight byte-identical runs gave 123,043, 84,049 and 122,151 tokens/s
(NVIDIA/aicr #1197), elsewhere 20,769 and 21,100 (#2385). So repeats are first split where a gap separates the slow
ones, and the healthy ones are compared on logarithms by Student's t with a pooled variance. A prior variance worth
``PRIOR_DF`` repeats stands in where there are few: two repeats that agree by chance do not prove that there is no
noise.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import typing as t

PRIOR_DF = 4
#: A neighbor this much lower is in the slow mode, and a healthy mode wider than this is none.
GAP = math.log(1.10)


@dataclasses.dataclass(frozen=True)
class Modes:
    """Positions of healthy and of slow repeats, and how far the healthy ones are apart."""

    healthy: tuple[int, ...]
    slow: tuple[int, ...]
    spread: float

    @property
    def stable(self) -> bool:
        """Enough of one mode to speak of: slow repeats may not be all that is known but for one."""
        return self.spread <= GAP and (not self.slow or len(self.healthy) >= 2)


@dataclasses.dataclass(frozen=True)
class Difference:
    """Logarithm of candidate over base, its interval, and the probability of each answer."""

    ratio: float
    low: float
    high: float
    worse: float
    same: float
    better: float

    def verdict(self, confidence: float) -> str:
        """What the interval says; ``unresolved`` where it reaches over the tolerance."""
        tail = (1 - confidence) / 2
        if self.worse >= 1 - tail:
            return "worse"
        if self.better >= 1 - tail:
            return "better"
        return "same" if min(1 - self.worse, 1 - self.better) >= 1 - tail else "unresolved"


def modes(values: t.Sequence[float]) -> Modes:
    """``values`` are rates. The split is at the widest gap, if it is wide enough to be one."""
    ranked = sorted(range(len(values)), key=lambda index: values[index])
    logs = [math.log(values[index]) for index in ranked]
    gaps = [high - low for low, high in itertools.pairwise(logs)]
    cut = gaps.index(max(gaps)) + 1 if gaps and max(gaps) > GAP else 0
    return Modes(tuple(sorted(ranked[cut:])), tuple(sorted(ranked[:cut])), logs[-1] - logs[cut])


def difference(
    base: t.Sequence[float],
    candidate: t.Sequence[float],
    *,
    sign: int,
    noise: float,
    tolerance: float,
    confidence: float,
) -> Difference:
    """``sign`` is -1 where smaller is better; ``noise`` the prior deviation of one repeat's logarithm."""
    ours, theirs = ([sign * math.log(value) for value in side] for side in (candidate, base))
    shift = _mean(ours) - _mean(theirs)
    squares = sum((value - _mean(side)) ** 2 for side in (ours, theirs) for value in side)
    freedom = PRIOR_DF + len(ours) + len(theirs) - 2
    deviation = math.sqrt((PRIOR_DF * noise**2 + squares) / freedom)
    error = deviation * math.sqrt(1 / len(ours) + 1 / len(theirs))
    limit = math.log1p(tolerance)
    below, above = (student_cdf((edge - shift) / error, freedom) for edge in (-limit, limit))
    width = student_quantile((1 + confidence) / 2, freedom) * error
    return Difference(shift, shift - width, shift + width, below, above - below, 1 - above)


def _mean(values: t.Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def student_cdf(value: float, freedom: int) -> float:
    """Student's t distribution for whole degrees of freedom, by its finite series."""
    angle = math.atan2(value, math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    if freedom % 2:
        term = total = cosine if freedom > 1 else 0.0
        for step in range(3, freedom - 1, 2):
            term *= cosine * cosine * (step - 1) / step
            total += term
        share = 2 / math.pi * (angle + sine * total)
    else:
        term = total = 1.0
        for step in range(2, freedom - 1, 2):
            term *= cosine * cosine * (step - 1) / step
            total += term
        share = sine * total
    return 0.5 + share / 2


def student_quantile(share: float, freedom: int) -> float:
    low, high = -1e3, 1e3
    for _halving in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, freedom) < share else (low, middle)
    return (low + high) / 2


def more_often(slow: int, of: int, slow_before: int, of_before: int) -> float:
    """Probability of at least so many slow repeats now, had both sides the same rate (Fisher's exact test)."""
    both, drawn = of + of_before, slow + slow_before
    ways = math.comb(both, drawn)
    cases = range(slow, min(drawn, of) + 1)
    return sum(math.comb(of, count) * math.comb(of_before, drawn - count) for count in cases) / ways
