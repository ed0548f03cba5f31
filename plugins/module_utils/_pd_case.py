# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an expectation and an observation say together: the arithmetic under the judge in _pd_proof.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_observation import (
    ClientReport,
    Expectation,
    Observation,
    PodState,
    Scrape,
    TierExpectation,
)


@dataclasses.dataclass(frozen=True)
class Delta:
    """What one pod did in the window. ``reset`` says that a counter went backwards: its process began anew."""

    prefilled: float = 0.0
    decoded: float = 0.0
    in_flight_change: float = 0.0
    prompt_tokens: float = 0.0
    reset: bool = False
    #: Prefilled and decoded by rank: by its label, or by the place of its port where ranks have ports of their own.
    ranks: t.Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Case:
    """The expectation beside the observation, with what both sides of the judge derive from them."""

    expected: Expectation
    seen: Observation

    @property
    def report(self) -> ClientReport | None:
        return self.seen.client

    @functools.cached_property
    def pods(self) -> dict[str, PodState]:
        """The latest state of each pod that was there at any time."""
        return {pod.name: pod for pod in (*self.seen.pods_before, *self.seen.pods_after)}

    @functools.cached_property
    def there(self) -> frozenset[str]:
        """Pods that are there, at the end of the proof where it had one."""
        return frozenset(pod.name for pod in self.seen.pods_after or self.seen.pods_before)

    def members(self, tier: TierExpectation) -> list[str]:
        """Expected pods and those that are there beside them."""
        extra = [name for name, pod in self.pods.items() if pod.role == tier.role and name not in tier.pods]
        return [*tier.pods, *sorted(extra)]

    @functools.cached_property
    def deltas(self) -> dict[str, Delta]:
        return deltas(self.report.before, self.report.after) if self.report and self.report.after else {}

    def work(self, tier: TierExpectation, pod: str) -> float:
        delta = self.deltas.get(pod, Delta())
        return delta.prefilled if tier.role == "prefill" else delta.decoded

    def ranks(self, tier: TierExpectation, pod: str) -> dict[str, float]:
        """What each rank of a pod did, by its number in the group; empty where the server does not tell them apart."""
        delta = self.deltas.get(pod, Delta())
        side = 0 if tier.role == "prefill" else 1
        first = tier.first_rank(pod) if self.expected.rank_endpoints else 0
        return {str(first + int(rank)) if first else rank: work[side] for rank, work in delta.ranks.items()}

    @functools.cached_property
    def decisions(self) -> dict[str, float] | None:
        """What the endpoint picker decided in the window; None where its metrics are not given or began anew."""
        report = self.report
        if report is None or not report.decisions_after or self.router_restarts:
            return None
        if any(one.error for one in (*report.decisions_before, *report.decisions_after)):
            return None
        grown: dict[str, float] = {}
        for sign, side in ((-1, report.decisions_before), (1, report.decisions_after)):
            for one in side:
                for kind, count in one.counts.items():
                    grown[kind] = grown.get(kind, 0.0) + sign * count
        return grown

    @functools.cached_property
    def router_restarts(self) -> dict[str, str]:
        """Pods of the endpoint picker that did not live through the proof, and how that shows."""
        found: dict[str, str] = {}
        after = self.seen.router_after
        later = {pod.name: pod for pod in after or ()}
        for pod in self.seen.router_before if after is not None else ():
            if pod.name not in later:
                found[pod.name] = f"it is gone; there is {', '.join(sorted(later)) or 'no other'}"
            elif pod.incarnation != later[pod.name].incarnation:
                found[pod.name] = "one of its containers was started anew"
        began = {one.pod: one.started for one in (self.report.decisions_before if self.report else ())}
        for one in self.report.decisions_after if self.report else ():
            if None not in (one.started, began.get(one.pod)) and one.started != began[one.pod]:
                found.setdefault(one.pod, "its process began anew")
        return found

    def tier_work(self, role: str) -> float:
        tiers = (tier for tier in self.expected.tiers if tier.role == role)
        return sum(self.work(tier, pod) for tier in tiers for pod in self.members(tier))

    @property
    def answered(self) -> int:
        return self.report.answered if self.report else 0

    @property
    def unprefilled(self) -> int:
        """Requests that entered decode in the window and for which no prefill was counted.

        Requests of other clients are in both sums. Those in decode when the window opened were prefilled before it, and
        those still in decode at its end were prefilled within it.
        """
        decode = [delta for pod, delta in self.deltas.items() if self.role_of(pod) == "decode"]
        entered = self.tier_work("decode") + sum(delta.in_flight_change for delta in decode)
        return int(max(0.0, max(entered, self.answered) - self.tier_work("prefill")))

    def role_of(self, pod: str) -> str:
        return self.expected.role_of(pod) or (self.pods[pod].role if pod in self.pods else "")

    @property
    def prefilled_remotely(self) -> int:
        return max(0, self.answered - self.unprefilled)

    @property
    def where(self) -> str:
        return self.expected.namespace


def deltas(before: t.Iterable[Scrape], after: t.Iterable[Scrape]) -> dict[str, Delta]:
    """Per pod the difference of two scrapes, summed over its ports; a reset counter counts from zero."""
    earlier = {(scrape.pod, scrape.port): scrape for scrape in before}
    ports: dict[str, list[int]] = {}
    for pod, port in sorted(earlier):
        ports.setdefault(pod, []).append(port)
    found: dict[str, Delta] = {}
    for late in after:
        early = earlier.get((late.pod, late.port))
        if early is None or early.error or late.error:
            continue
        one = _delta(early, late)
        if len(ports[late.pod]) > 1:
            # Servers of one rank each may all call it by the same label.
            rank = str(ports[late.pod].index(late.port))
            one = dataclasses.replace(one, ranks={rank: (one.prefilled, one.decoded)})
        found[late.pod] = _add(found[late.pod], one) if late.pod in found else one
    return found


def _delta(early: Scrape, late: Scrape) -> Delta:
    a, b = early.served, late.served
    reset = b.total < a.total or a.started != b.started

    def grown(name: str) -> float:
        return float(getattr(b, name)) - (0.0 if reset else float(getattr(a, name)))

    names = sorted({*a.ranks, *b.ranks})
    totals = {name: b.ranks.get(name, 0.0) - (0.0 if reset else a.ranks.get(name, 0.0)) for name in names}
    # Only vLLM has labels of ranks, and it does not tell the two kinds of work apart.
    ranks = {name: (total, total) for name, total in totals.items()}
    return Delta(grown("prefilled"), grown("decoded"), b.in_flight - a.in_flight, grown("prompt_tokens"), reset, ranks)


def _add(one: Delta, other: Delta) -> Delta:
    return Delta(
        one.prefilled + other.prefilled,
        one.decoded + other.decoded,
        one.in_flight_change + other.in_flight_change,
        one.prompt_tokens + other.prompt_tokens,
        one.reset or other.reset,
        {**one.ranks, **other.ranks},
    )
