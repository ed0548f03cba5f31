# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a run is better than another one, the same, worse, or nothing of that kind can be said.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import dataclasses
import math
import re
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_derive import Topology
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_noise import (
    Difference,
    Modes,
    difference,
    modes,
    more_often,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import E2E, TPOT, TTFT, Run
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

#: The modes of the base and of the candidate.
Split = tuple[Modes, Modes]
Verdict = t.Literal["better", "same", "worse", "not comparable", "invalid"]
#: Status of a process that ends with a verdict; 1 and 2 are those of a tool that fails.
EXIT: dict[Verdict, int] = {"better": 0, "same": 0, "worse": 3, "not comparable": 4, "invalid": 5}
#: With fewer repeats a slow run cannot be told from a slow build.
FEW = 3
#: Beyond the slow mode's known depth (a third below): such a change is one even between single runs.
FLOOR = 0.40
#: Measured lengths may stand for configured ones: 2,000 asked for were 2,047 sent before inference-perf 0.5.0.
LENGTHS_ALIKE = 0.03
#: Slow repeats on one side only, at this probability by chance, are a change.
CHANCE = 0.05


@dataclasses.dataclass(frozen=True)
class Metric:
    """``tolerance`` is what does not matter, ``noise`` the deviation that a healthy repeat is assumed to have."""

    name: str
    label: str
    read: t.Callable[[Run], float | None]
    sign: int
    tolerance: float
    noise: float
    unit: str
    repeats: int = 1
    counts_tokens: bool = False

    def values(self, runs: t.Sequence[Run]) -> list[float]:
        found = [self.read(run) for run in runs]
        return [value for value in found if value is not None and value > 0]


def _rate(name: str) -> t.Callable[[Run], float | None]:
    return lambda run: run.rates.get(name)


def _latency(name: str, statistic: str) -> t.Callable[[Run], float | None]:
    return lambda run: run.at(name, statistic)


#: The first two decide alone where the others are not known. Percentiles near the end are waves of arrivals: they
#: differ by a factor at the knee (NVIDIA/aicr #1196), so they count only with many repeats.
METRICS = (
    Metric("output_token_rate", "Output", _rate("output_token_rate"), 1, 0.05, 0.015, "tokens/s", counts_tokens=True),
    Metric("request_rate", "Requests", _rate("request_rate"), 1, 0.05, 0.015, "requests/s"),
    Metric("tpot_p50", "TPOT, median", _latency(TPOT, "p50"), -1, 0.05, 0.015, "s", counts_tokens=True),
    Metric("e2e_p50", "E2E, median", _latency(E2E, "p50"), -1, 0.10, 0.03, "s"),
    Metric("ttft_p50", "TTFT, median", _latency(TTFT, "p50"), -1, 0.15, 0.05, "s"),
    Metric("e2e_p99", "E2E, p99", _latency(E2E, "p99"), -1, 0.15, 0.05, "s", repeats=5),
    Metric("ttft_p99", "TTFT, p99", _latency(TTFT, "p99"), -1, 0.25, 0.10, "s", repeats=5),
)
PRIMARY = ("output_token_rate", "request_rate")


@dataclasses.dataclass(frozen=True)
class Side:
    """Repeats of one thing. Published figures are one value that stands for a setup, not one throw of the dice."""

    label: str
    runs: tuple[Run, ...]
    topology: Topology | None = None
    published: bool = False
    valid: bool = True

    @property
    def few(self) -> bool:
        return len(self.runs) < FEW and not self.published


@dataclasses.dataclass(frozen=True)
class Row:
    """``change`` is that of the value itself: -0.1 is a tenth less, whether that is good or bad."""

    metric: str
    label: str
    unit: str
    base: float
    candidate: float
    change: float
    low: float
    high: float
    verdict: str
    probability: float
    gates: bool


@dataclasses.dataclass(frozen=True)
class Comparison:
    verdict: Verdict
    reason: str
    #: Probability of the verdict under the noise model; none where it is not about speed.
    confidence: float | None
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        return EXIT[self.verdict]


def shape(run: Run, topology: Topology | None) -> dict[str, t.Any]:
    """What must be alike for two runs to measure the same thing. ``None`` is what is not known."""
    load = run.load
    return {
        "model": load.model,
        "input_tokens": load.input_tokens or run.mean("input_length"),
        "output_tokens": load.output_tokens or run.mean("output_length"),
        "load_type": load.load_type,
        "data_type": load.data_type,
        "concurrency": load.concurrency,
        "requests": load.requests or run.total,
        "streaming": load.streaming,
        "ignore_eos": load.ignore_eos,
        "tool": load.tool,
        "tool_version": load.tool_version or load.generation,
        "token_side": load.token_side,
        "gpu": topology.gpu if topology else None,
        "precision": topology.precision if topology else None,
        "prefill_gpus": topology.prefill_gpus if topology else None,
        "decode_gpus": topology.decode_gpus if topology else None,
        "decode_ranks": topology.decode_ranks if topology else None,
    }


#: Differences in these change what a token is; requests/s remain comparable.
COUNTING = frozenset({"tool_version", "token_side"})


def differences(base: t.Mapping[str, t.Any], candidate: t.Mapping[str, t.Any]) -> dict[str, tuple[t.Any, t.Any]]:
    """Fields that both sides know and that are not alike."""
    pairs = {name: (base[name], candidate[name]) for name in base}
    return {name: pair for name, pair in pairs.items() if None not in pair and not _alike(name, *pair)}


def _alike(name: str, one: t.Any, other: t.Any) -> bool:
    if name in ("input_tokens", "output_tokens"):
        return abs(one - other) <= LENGTHS_ALIKE * max(one, other)
    if name == "tool_version":
        return _release(one) == _release(other)
    if name == "gpu":
        return _family(one) == _family(other)
    return bool(one == other)


def _family(gpu: str) -> str:
    """Labels of nodes add memory and form to it: NVIDIA-H200-141GB-HBM3e is an H200."""
    found = re.search(r"[A-Z]{1,2}\d{2,3}", gpu)
    return found[0] if found else gpu


def _release(version: str) -> str:
    """Releases of one line count alike: 0.7.0 is as 0.7."""
    return ".".join(str(version).removeprefix("v").split(".")[:2])


def compare(base: Side, candidate: Side, *, allow: t.Collection[str] = (), confidence: float = 0.95) -> Comparison:
    """The verdict on the candidate. ``allow`` names fields that may differ, such as the one that is under test."""
    invalid = [side.label for side in (base, candidate) if not side.valid or not side.runs]
    if invalid:
        return _refused("invalid", f"{' and '.join(invalid)} cannot be trusted: see the findings", ())
    unlike = _unlike(base, candidate)
    refused = {name: pair for name, pair in unlike.items() if name not in allow}
    if refused:
        return _refused("not comparable", f"they differ in {', '.join(refused)}", tuple(_unlike_findings(refused)))
    split = (modes(_primary(base)), modes(_primary(candidate)))
    findings = [*_stability(base, split[0]), *_stability(candidate, split[1])]
    if not all(found.stable for found in split):
        return _refused("not comparable", "the repeats of one side differ too much among themselves", tuple(findings))
    counting = bool(COUNTING & set(unlike)) or any(_recounted(run) for run in (*base.runs, *candidate.runs))
    if counting:
        findings.append(_counting_finding(unlike))
    rows = _rows(base, candidate, split, counting, confidence)
    verdict, reason, probability = _decide(rows, base, candidate, split)
    if base.few or candidate.few:
        findings.append(_few_finding(base, candidate))
    if verdict == "worse":
        findings.append(_worse_finding(candidate, reason, rows))
    return Comparison(verdict, reason, probability, tuple(rows), tuple(findings))


def _refused(verdict: Verdict, reason: str, findings: tuple[Finding, ...]) -> Comparison:
    return Comparison(verdict, reason, None, (), findings)


def _unlike(base: Side, candidate: Side) -> dict[str, tuple[t.Any, t.Any]]:
    """Of each field the first difference, between repeats of one side as well."""
    first = shape(base.runs[0], base.topology)
    shapes = [shape(run, side.topology) for side in (base, candidate) for run in side.runs]
    found: dict[str, tuple[t.Any, t.Any]] = {}
    for other in shapes[1:]:
        for name, pair in differences(first, other).items():
            found.setdefault(name, pair)
    return found


def _unlike_findings(refused: t.Mapping[str, tuple[t.Any, t.Any]]) -> t.Iterator[Finding]:
    for name, (one, other) in refused.items():
        fix = f"Compare with a run of the same {name}, or allow it with allow_differences where it is what is tested."
        yield Finding("BENCHMARK_NOT_COMPARABLE", "error", name, f"{one} in the base, {other} in the candidate", fix)


def _primary(side: Side) -> list[float]:
    return [run.rates.get("request_rate") or run.rates.get("output_token_rate") or math.ulp(0.0) for run in side.runs]


def _recounted(run: Run) -> bool:
    client, server = run.mean("output_length"), run.server_output.get("mean")
    follows = run.load.token_side == "server"
    return bool(client and server and not follows and abs(client - server) > 0.01 * max(client, server))


def _counting_finding(unlike: t.Collection[str]) -> Finding:
    why = ", ".join(sorted(COUNTING & set(unlike))) or "the client's count of output tokens"
    evidence = f"{why} changes what is counted; compared by requests/s, TTFT and E2E"
    fix = "Run both with use_server_output_tokens: true and one release of inference-perf."
    return Finding("BENCHMARK_TOKEN_RECOUNT", "warning", "output tokens", evidence, fix)


def _stability(side: Side, found: Modes) -> t.Iterator[Finding]:
    values = ", ".join(f"{value:.5g}" for value in _primary(side))
    if found.spread > math.log(1.10):
        evidence = f"requests/s of its repeats are {values}: no two modes, and {math.expm1(found.spread):.0%} apart"
        fix = "Look for what else uses the GPUs, the network or the nodes, then repeat the benchmark."
        yield Finding("BENCHMARK_UNSTABLE", "error", side.label, evidence, fix)
    elif found.slow:
        enough = found.stable
        evidence = f"requests/s of its repeats are {values}: {len(found.slow)} of {len(side.runs)} in a slow mode"
        fix = "Repeat it at least three times more; the slow repeats' server logs and NIC counters say why."
        yield Finding("BENCHMARK_UNSTABLE", "warning" if enough else "error", side.label, evidence, fix)


def _few_finding(base: Side, candidate: Side) -> Finding:
    counts = ", ".join(f"{len(side.runs)} of {side.label}" for side in (base, candidate))
    evidence = f"{counts}; at least {FEW} are needed to tell a slow repeat from a slow build"
    fix = "Repeat the benchmark, base and candidate in turn."
    return Finding("BENCHMARK_FEW_RUNS", "warning", "repeats", evidence, fix)


def _worse_finding(candidate: Side, reason: str, rows: t.Sequence[Row]) -> Finding:
    changes = _changes([row for row in rows if row.verdict == "worse" and row.gates])
    fix = "Compare the stacks of both reports, then the findings and the balance of prefill and decode."
    return Finding("BENCHMARK_WORSE", "error", candidate.label, changes or reason, fix)


def _rows(base: Side, candidate: Side, split: Split, counting: bool, confidence: float) -> list[Row]:
    rows = []
    healthy = [
        [side.runs[index] for index in found.healthy] for side, found in zip((base, candidate), split, strict=True)
    ]
    for metric in METRICS:
        before, now = map(metric.values, healthy)
        if not before or not now or (counting and metric.counts_tokens):
            continue
        found = difference(
            before, now, sign=metric.sign, noise=metric.noise, tolerance=metric.tolerance, confidence=confidence
        )
        rows.append(_row(metric, before, now, found, confidence))
    return rows


def _row(metric: Metric, before: list[float], now: list[float], found: Difference, confidence: float) -> Row:
    verdict = found.verdict(confidence)
    edges = sorted(math.expm1(metric.sign * edge) for edge in (found.low, found.high))
    return Row(
        metric=metric.name,
        label=metric.label,
        unit=metric.unit,
        base=_center(before),
        candidate=_center(now),
        change=math.expm1(metric.sign * found.ratio),
        low=edges[0],
        high=edges[1],
        verdict=verdict,
        probability={"worse": found.worse, "same": found.same, "better": found.better}.get(verdict, found.same),
        gates=min(len(before), len(now)) >= metric.repeats,
    )


def _center(values: t.Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def _decide(rows: t.Sequence[Row], base: Side, candidate: Side, split: Split) -> tuple[Verdict, str, float | None]:
    gating = [row for row in rows if row.gates]
    primary = next((row for name in PRIMARY for row in gating if row.metric == name), None)
    if primary is None:
        return "not comparable", "neither side has a rate that can be compared", None
    few = base.few or candidate.few
    moved = [row for row in gating if row.verdict in ("worse", "better") and (not few or _beyond_slow_mode(row))]
    worse = [row for row in moved if row.verdict == "worse"]
    if worse or _slow_more_often(base, candidate, split):
        changes = _changes(worse) or "more repeats are in the slow mode"
        return "worse", changes, max([row.probability for row in worse], default=1 - CHANCE)
    if moved and primary.verdict in ("better", "same"):
        return "better", _changes(moved), max(row.probability for row in moved)
    if primary.verdict == "same":
        open_rows = [row.label for row in gating if row.verdict != "same"]
        note = f"; not resolved: {', '.join(open_rows)}" if open_rows else ""
        return "same", f"{primary.label} within its tolerance{note}", primary.probability
    span = f"{primary.label} changed by {primary.low:+.1%} to {primary.high:+.1%}"
    why = "too few repeats to tell a slow repeat from a change" if few else "more repeats are needed"
    return "not comparable", f"{span}: {why}", None


def _changes(rows: t.Sequence[Row]) -> str:
    return ", ".join(f"{row.label} {row.change:+.1%}" for row in rows)


def _beyond_slow_mode(row: Row) -> bool:
    """The slow mode is a third below: between few repeats only more than that is a change."""
    return row.metric in PRIMARY and abs(math.log1p(row.change)) > -math.log1p(-FLOOR)


def _slow_more_often(base: Side, candidate: Side, split: Split) -> bool:
    before, now = split
    chance = more_often(len(now.slow), len(candidate.runs), len(before.slow), len(base.runs))
    return bool(now.slow) and chance < CHANCE
