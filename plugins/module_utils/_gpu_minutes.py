# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPU minutes: what the GPUs of a cluster have cost so far, and in which phase. Private to the collection.

A GPU counts from the creation of its node on, whatever it does. Until the deployment serves, its minutes are idle.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t
from collections.abc import Iterable, Sequence

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

Json = t.Mapping[str, t.Any]

GPU = "nvidia.com/gpu"


@dataclasses.dataclass(frozen=True)
class Span:
    """The GPUs of one node, from its creation on; ``until`` is its deletion, where it is known."""

    gpus: int
    since: float
    until: float | None = None

    def minutes(self, begin: float, end: float) -> float:
        last = end if self.until is None else min(end, self.until)
        return self.gpus * max(0.0, last - max(begin, self.since)) / 60


@dataclasses.dataclass(frozen=True)
class Stretch:
    """A phase, by the clock."""

    name: str
    begin: float
    end: float


@dataclasses.dataclass(frozen=True)
class PhaseMinutes:
    name: str
    total: float
    idle: float


def seconds(timestamp: str) -> float:
    """An RFC 3339 time, as Kubernetes and Google write it, as seconds since the epoch."""
    return datetime.datetime.fromisoformat(timestamp).timestamp()


def spans(nodes: Iterable[Json]) -> list[Span]:
    """Of the nodes with GPUs. Capacity counts: a GPU that is not allocatable is paid for all the same."""
    found = []
    for node in nodes:
        gpus = int((node.get("status", {}).get("capacity") or {}).get(GPU, 0))
        if gpus:
            found.append(Span(gpus, seconds(node["metadata"]["creationTimestamp"])))
    return sorted(found, key=lambda span: (span.since, span.gpus))


def used(found: Iterable[Span], now: float, begin: float = 0.0) -> float:
    """GPU minutes between ``begin`` and ``now``."""
    return sum(span.minutes(begin, now) for span in found)


def by_phase(
    found: Sequence[Span], phases: Iterable[Stretch], serving_since: float | None = None
) -> list[PhaseMinutes]:
    """The minutes of each phase. What comes before ``serving_since`` is idle; without it all of them are."""
    result = []
    for phase in phases:
        until = phase.end if serving_since is None else min(phase.end, max(phase.begin, serving_since))
        result.append(PhaseMinutes(phase.name, used(found, phase.end, phase.begin), used(found, until, phase.begin)))
    return result


def budget_finding(minutes: float, budget: float) -> Finding | None:
    """Why no further phase starts; None while there is something left, or without a budget."""
    if budget <= 0 or minutes < budget:
        return None
    return Finding(
        "GPU_BUDGET_SPENT",
        "error",
        f"wide_ep_gpu_minutes_budget={budget:g}",
        f"the GPUs exist for {minutes:.0f} GPU minutes; the run stops before its next phase, and they go on costing",
        "Raise wide_ep_gpu_minutes_budget and run the same command again, which goes on where this run stopped; or "
        "take the nodes away with playbooks/teardown.yml.",
    )
