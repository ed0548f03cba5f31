# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the folders of a benchmark's repeats to what is said of them.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.llmd.wide_ep.plugins.module_utils import _benchmark_report as report
from ansible_collections.llmd.wide_ep.plugins.module_utils import _benchmark_requests as per_request
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_baselines import BASELINES
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_checks import Limits, check
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_compare import Comparison, Side, compare
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_derive import (
    Topology,
    derive,
    goodput,
    topology_of,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_folder import Reading, read
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_outcome import Outcome
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_report import Facts
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import Run
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_schema import schema_findings
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, has_errors


@dataclasses.dataclass(frozen=True)
class Request:
    """What to judge, and against what."""

    results: tuple[Path, ...]
    title: str = "Benchmark"
    stage: int | None = None
    base: tuple[Path, ...] = ()
    baseline: str | None = None
    topology: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    slo: t.Mapping[str, float] = dataclasses.field(default_factory=dict)
    limits: Limits = dataclasses.field(default_factory=Limits)
    facts: Facts = dataclasses.field(default_factory=Facts)
    ranks: tuple[t.Mapping[str, t.Any], ...] = ()
    strict: bool = False
    per_request: bool = True
    allow_differences: tuple[str, ...] = ()
    confidence: float = 0.95
    #: What was found out beside the files: while the load ran, and by the servers' own counters.
    notes: tuple[Finding, ...] = ()


@dataclasses.dataclass(frozen=True)
class Judged:
    """The outcome, and the reports to write: file name by document."""

    outcome: Outcome
    reports: t.Mapping[str, t.Mapping[str, t.Any]]


@dataclasses.dataclass(frozen=True)
class _Repeat:
    reading: Reading
    findings: tuple[Finding, ...]

    @property
    def run(self) -> Run | None:
        return self.reading.run


def judge(request: Request) -> Judged:
    repeats = [_repeat(path, request) for path in request.results]
    runs = [repeat.run for repeat in repeats if repeat.run is not None]
    findings = [*_of_repeats([repeat.findings for repeat in repeats]), *request.notes]
    if len(runs) < len(request.results) or not runs:
        return Judged(Outcome(request.title, None, tuple(_once(findings))), {})
    chosen = repeats[_middle(runs)]
    run = t.cast(Run, chosen.run)
    reports = _reports(runs, request)
    facts_stack = {"stack": [report.component(entry) for entry in request.facts.stack]}
    topology, found = topology_of(request.topology, facts_stack if request.facts.stack else run.scenario)
    findings += found
    requests, found = _requests(chosen, request)
    findings += found
    share, found = goodput(run, request.slo or run.constraints, requests)
    findings += found
    findings += _written(reports)
    comparison, base_label, base_run, found = _compared(request, tuple(runs), topology, has_errors(findings))
    findings += found
    own = report.write_report(run, request.facts, "0.2.1")
    outcome = Outcome(
        title=request.title,
        run=dataclasses.replace(run, run=own["run"]),
        findings=tuple(_once(findings)),
        topology=topology,
        figures=tuple(derive(run, topology)),
        goodput=share,
        comparison=comparison,
        base_label=base_label,
        base_run=base_run,
        requests=requests,
        repeats=tuple(runs),
        ranks=request.ranks,
        stack=request.facts.stack,
        time=own["run"]["time"],
    )
    return Judged(outcome, reports)


def _of_repeats(findings: t.Sequence[t.Sequence[Finding]]) -> list[Finding]:
    """What is found in every repeat once, and what is found in some with their numbers."""
    repeats: dict[Finding, list[int]] = {}
    for index, found in enumerate(findings):
        for finding in dict.fromkeys(found):
            repeats.setdefault(finding, []).append(index)
    return [
        finding
        if len(numbers) == len(findings)
        else dataclasses.replace(finding, subject=f"repeat {', '.join(map(str, numbers))}: {finding.subject}")
        for finding, numbers in repeats.items()
    ]


def _once(findings: t.Sequence[Finding]) -> list[Finding]:
    return list(dict.fromkeys(findings))


def _repeat(path: Path, request: Request) -> _Repeat:
    reading = read(path, request.stage)
    findings = list(reading.findings)
    if reading.run is not None:
        if reading.run.format.startswith("report"):
            findings += schema_findings(reading.run.source, reading.run.document, strict=request.strict)
        findings += check(reading.run, request.limits)
    return _Repeat(reading, tuple(findings))


def _middle(runs: t.Sequence[Run]) -> int:
    """Of repeats the one to show: the middle one by output."""
    ranked = sorted(range(len(runs)), key=lambda index: runs[index].rates.get("output_token_rate", 0.0))
    return ranked[len(ranked) // 2]


def _reports(runs: t.Sequence[Run], request: Request) -> dict[str, t.Mapping[str, t.Any]]:
    found: dict[str, t.Mapping[str, t.Any]] = {}
    for index, run in enumerate(runs):
        repeat = f"-{index}" if len(runs) > 1 else ""
        for version in report.WRITABLE:
            found[f"benchmark_report{repeat}_v{version}.yaml"] = report.write_report(run, request.facts, version)
    return found


def _written(reports: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[Finding]:
    return [finding for name, document in reports.items() for finding in schema_findings(name, document)]


def _requests(repeat: _Repeat, request: Request) -> tuple[per_request.Requests | None, list[Finding]]:
    """Per-request figures of the shown repeat, where its file is there and belongs to the one stage."""
    path, run = repeat.reading.per_request, repeat.run
    if path is None or run is None or not request.per_request or len(repeat.reading.stages) > 1:
        return None, []
    missing = per_request.missing_package()
    if missing is not None:
        return None, [missing]
    with path.open("rb") as stream:
        found, reader = per_request.read_requests(path.name, stream, request.slo or run.constraints)
    findings = reader.findings or per_request.check_requests(run, found, path.name)
    return (None if findings else found), findings


def _compared(
    request: Request, runs: tuple[Run, ...], topology: Topology | None, invalid: bool
) -> tuple[Comparison | None, str, Run | None, list[Finding]]:
    base, findings = _base(request)
    if base is None:
        return None, "", None, findings
    candidate = Side("this run", runs, topology, valid=not invalid)
    comparison = compare(base, candidate, allow=request.allow_differences, confidence=request.confidence)
    shown = base.runs[_middle(base.runs)] if base.runs else None
    return comparison, base.label, shown, [*findings, *comparison.findings]


def _base(request: Request) -> tuple[Side | None, list[Finding]]:
    if request.baseline:
        found = BASELINES[request.baseline]
        return Side(request.baseline, (found.run,), found.topology, published=True), []
    if not request.base:
        return None, []
    repeats = [_repeat(path, request) for path in request.base]
    # Warnings about the base are its own report's matter.
    findings = [finding for repeat in repeats for finding in repeat.findings if finding.severity == "error"]
    runs = tuple(repeat.run for repeat in repeats if repeat.run is not None)
    topology = topology_of({}, runs[0].scenario)[0] if runs else None
    label = request.base[0].name if len(request.base) == 1 else f"{len(request.base)} repeats of the base"
    return Side(label, runs, topology, valid=not findings), findings
