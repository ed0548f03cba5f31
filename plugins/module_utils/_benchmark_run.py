# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One measured run, whatever file it was read from: seconds, tokens and counts under one set of names.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import dataclasses
import math
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, Severity

#: Statistics in ascending order, with the share of values below them.
QUANTILES: dict[str, float] = {
    "min": 0.0,
    "p0p1": 0.001,
    "p1": 0.01,
    "p5": 0.05,
    "p10": 0.10,
    "p25": 0.25,
    "p50": 0.50,
    "p75": 0.75,
    "p90": 0.90,
    "p95": 0.95,
    "p99": 0.99,
    "p99p9": 0.999,
    "max": 1.0,
}
STATISTICS = ("mean", "mode", "stddev", *QUANTILES)

TTFT = "time_to_first_token"
TPOT = "time_per_output_token"
ITL = "inter_token_latency"
NTPOT = "normalized_time_per_output_token"
E2E = "request_latency"
#: Latency -> the unit that it is kept in.
LATENCIES = {TTFT: "s", TPOT: "s/token", ITL: "s/token", NTPOT: "s/token", E2E: "s"}
STREAMED = (TTFT, TPOT, ITL)
#: Rate -> its unit.
RATES = {
    "request_rate": "queries/s",
    "output_token_rate": "tokens/s",
    "input_token_rate": "tokens/s",
    "total_token_rate": "tokens/s",
}
LENGTHS = ("input_length", "output_length")

Statistics = t.Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Load:
    """What was asked of the server. ``None`` is what the files do not tell."""

    tool: str = "inference-perf"
    tool_version: str | None = None
    generation: str | None = None
    model: str | None = None
    load_type: str | None = None
    data_type: str | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    concurrency: float | None = None
    requests: int | None = None
    stage: int = 0
    streaming: bool | None = None
    ignore_eos: bool | None = None
    token_side: str | None = None


@dataclasses.dataclass(frozen=True)
class Failure:
    label: str
    count: int
    message: str = ""


@dataclasses.dataclass(frozen=True)
class ToolCheck:
    """What the load generator says about its own files."""

    severity: str
    check: str
    message: str
    file: str


@dataclasses.dataclass(frozen=True)
class Run:
    """``lengths`` and ``rates`` are the client's; ``server_output`` is the length that the server reports."""

    source: str
    format: str
    total: int
    failures: int
    load: Load = Load()
    seconds: float | None = None
    lengths: t.Mapping[str, Statistics] = dataclasses.field(default_factory=dict)
    server_output: Statistics = dataclasses.field(default_factory=dict)
    latency: t.Mapping[str, Statistics] = dataclasses.field(default_factory=dict)
    rates: t.Mapping[str, float] = dataclasses.field(default_factory=dict)
    request_size: Statistics = dataclasses.field(default_factory=dict)
    by_label: tuple[Failure, ...] = ()
    mismatches: int = 0
    goodput: t.Mapping[str, float] = dataclasses.field(default_factory=dict)
    constraints: t.Mapping[str, float] = dataclasses.field(default_factory=dict)
    tool_checks: tuple[ToolCheck, ...] = ()
    run: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    scenario: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    config: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    document: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)

    @property
    def successes(self) -> int:
        return self.total - self.failures

    def mean(self, name: str) -> float | None:
        return (self.lengths.get(name) or self.latency.get(name) or {}).get("mean")

    def at(self, name: str, statistic: str) -> float | None:
        """A statistic of a latency or length."""
        return (self.latency.get(name) or self.lengths.get(name) or {}).get(statistic)

    @property
    def duration(self) -> float | None:
        """Seconds of load: what the tool measured, else what its rates divide by."""
        rate = self.rates.get("request_rate")
        return self.seconds if self.seconds is not None else self.successes / rate if rate else None


class Reader:
    """Takes values out of a document and notes what is wrong with them, with file and path."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.findings: list[Finding] = []

    def note(self, code: str, path: str, evidence: str, fix: str, severity: Severity = "error") -> None:
        subject = f"{self.label}: {path}" if path else self.label
        self.findings.append(Finding(code, severity, subject, evidence, fix))

    def mapping(self, path: str, value: t.Any) -> t.Mapping[str, t.Any]:
        if value is None:
            return {}
        if isinstance(value, t.Mapping):
            return value
        fix = "Give the file as the load generator wrote it."
        self.note("BENCHMARK_SHAPE", path, f"found {shown(value)}, expected a mapping", fix)
        return {}

    def number(self, path: str, value: t.Any, *, least: float | None = 0.0) -> float | None:
        """A finite number, at least ``least``. PyYAML reads ``5e-06`` as text (YAML 1.1 wants a dot): that is one."""
        if value is None:
            return None
        found = _as_float(value)
        fix = "Run the benchmark again: a file with such a value describes no run."
        if found is None:
            self.note("BENCHMARK_VALUE", path, f"found {shown(value)}, expected a number", fix)
        elif not math.isfinite(found):
            self.note("BENCHMARK_VALUE", path, f"found {found}, expected a finite number", fix)
        elif least is not None and found < least:
            self.note("BENCHMARK_VALUE", path, f"found {found:g}, expected {least:g} or more", fix)
        else:
            return found
        return None

    def count(self, path: str, value: t.Any) -> int | None:
        found = self.number(path, value)
        if found is None or found == int(found):
            return None if found is None else int(found)
        self.note(
            "BENCHMARK_VALUE", path, f"found {found}, expected a whole number", "Check where the file comes from."
        )
        return None

    def statistics(self, path: str, value: t.Any, names: t.Mapping[str, str], factor: float = 1.0) -> dict[str, float]:
        """The statistics that are there, under our names; ``names`` maps those of the file to ours."""
        source = self.mapping(path, value)
        found = {
            ours: self.number(f"{path}.{theirs}", source[theirs]) for theirs, ours in names.items() if theirs in source
        }
        return {name: number * factor for name, number in found.items() if number is not None}


def _as_float(value: t.Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def shown(value: t.Any) -> str:
    """A value for a message, short."""
    text = repr(value) if not isinstance(value, t.Mapping) else f"a mapping with keys {', '.join(map(str, value))}"
    return text if len(text) <= 80 else text[:77] + "..."
