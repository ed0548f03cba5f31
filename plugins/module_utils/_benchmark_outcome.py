# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a benchmark, as Markdown for a pull request and as JUnit for a CI system.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import dataclasses
import typing as t
from xml.etree import ElementTree

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_compare import EXIT, Comparison
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_derive import Figure, Goodput, Topology, describe
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_requests import Requests
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import E2E, ITL, LATENCIES, TPOT, TTFT, Run
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import CODES, Finding, has_errors

SHORT = {TTFT: "TTFT", TPOT: "TPOT", ITL: "ITL", E2E: "Request"}
COLUMNS = ("mean", "p50", "p90", "p99", "max")
RATE_LABELS = {
    "output_token_rate": ("Output", "tokens/s"),
    "input_token_rate": ("Input", "tokens/s"),
    "total_token_rate": ("Total", "tokens/s"),
    "request_rate": ("Requests", "requests/s"),
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Everything that is known of one benchmark. ``ranks`` are rows of pod, role, rank and requests."""

    title: str
    run: Run | None
    findings: tuple[Finding, ...]
    topology: Topology | None = None
    figures: tuple[Figure, ...] = ()
    goodput: Goodput | None = None
    comparison: Comparison | None = None
    base_label: str = ""
    base_run: Run | None = None
    requests: Requests | None = None
    repeats: tuple[Run, ...] = ()
    ranks: tuple[t.Mapping[str, t.Any], ...] = ()
    stack: tuple[t.Mapping[str, t.Any], ...] = ()
    time: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)

    @property
    def valid(self) -> bool:
        """A run whose own findings hold no error. What only the comparison says is not against it."""
        own = self.comparison.findings if self.comparison else ()
        return self.run is not None and not has_errors(finding for finding in self.findings if finding not in own)

    @property
    def verdict(self) -> str:
        if not self.valid:
            return "invalid"
        return self.comparison.verdict if self.comparison else "valid"

    @property
    def reason(self) -> str:
        if not self.valid:
            return next((finding.evidence for finding in self.findings if finding.severity == "error"), "no result")
        return self.comparison.reason if self.comparison else "no finding is an error"

    @property
    def confidence(self) -> float | None:
        return self.comparison.confidence if self.valid and self.comparison else None

    @property
    def exit_code(self) -> int:
        if not self.valid:
            return EXIT["invalid"]
        return self.comparison.exit_code if self.comparison else 0

    def figure(self, name: str) -> Figure | None:
        return next((figure for figure in self.figures if figure.name == name), None)


def quantity(value: float) -> str:
    """Four digits that count, and whole thousands."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def time_text(seconds: float, per: str = "") -> str:
    """In the unit in which a person would say it."""
    if abs(seconds) >= 1 or seconds == 0:
        return f"{seconds:.4g} s{per}"
    return f"{seconds * 1e3:.4g} ms{per}" if abs(seconds) >= 1e-3 else f"{seconds * 1e6:.3g} us{per}"


def share_text(share: float) -> str:
    """No model is that sure of anything."""
    return "above 99.9%" if share > 0.999 else f"{share:.1%}"


def latency_rows(run: Run) -> list[list[str]]:
    rows = []
    for name, label in SHORT.items():
        values = run.latency.get(name)
        if values:
            rows.append([label, *(time_text(values[column]) if column in values else "" for column in COLUMNS)])
    return rows


def rate_rows(run: Run) -> list[list[str]]:
    if run.successes <= 0:
        return []
    return [
        [label, f"{quantity(run.rates[name])} {unit}"]
        for name, (label, unit) in RATE_LABELS.items()
        if name in run.rates
    ]


def load_text(run: Run) -> str:
    load = run.load
    size = (
        f"{load.input_tokens:.0f}/{load.output_tokens:.0f} tokens" if load.input_tokens and load.output_tokens else ""
    )
    at_once = f"{load.concurrency:.0f} at once" if load.concurrency else ""
    return ", ".join(filter(None, (load.model, size, at_once, f"{run.total} requests, {run.failures} failed")))


def tool_text(run: Run) -> str:
    return f"{run.load.tool} {run.load.tool_version or run.load.generation or 'of unknown release'}"


def comparison_rows(comparison: Comparison) -> list[list[str]]:
    show: dict[str, t.Callable[[float], str]] = {"s": time_text}
    rows = []
    for row in comparison.rows:
        text = show.get(row.unit, lambda value, unit=row.unit: f"{quantity(value)} {unit}")
        verdict = row.verdict if row.gates else f"{row.verdict} (shown only)"
        span = f"{row.low:+.1%} to {row.high:+.1%}"
        rows.append([row.label, text(row.base), text(row.candidate), f"{row.change:+.1%}", span, verdict])
    return rows


def headline(outcome: Outcome) -> str:
    sure = f" (confidence {share_text(outcome.confidence)})" if outcome.confidence is not None else ""
    against = f" than {outcome.base_label}" if outcome.verdict in ("better", "worse") else ""
    return f"{outcome.verdict}{against}{sure}: {outcome.reason}"


# Markdown


def markdown(outcome: Outcome) -> str:
    parts = [f"# {outcome.title}", f"**{_cell(headline(outcome))}**"]
    if outcome.run is not None:
        parts += _run_parts(outcome, outcome.run)
    if outcome.comparison is not None and outcome.comparison.rows:
        head = ["", outcome.base_label, "now", "change", "95 % interval", "verdict"]
        parts += ["## Comparison", _table(head, comparison_rows(outcome.comparison))]
    if outcome.findings:
        rows = [[f.severity, f"`{f.code}`", f.subject, f.evidence, f.fix] for f in outcome.findings]
        parts += ["## Findings", _table(["", "code", "where", "seen", "fix"], rows)]
    return "\n\n".join(parts) + "\n"


def _run_parts(outcome: Outcome, run: Run) -> list[str]:
    parts = [f"{load_text(run)}. Measured by {tool_text(run)}."]
    figures = [
        [figure.label, f"{quantity(figure.value)} {figure.unit}".strip(), figure.how] for figure in outcome.figures
    ]
    if outcome.goodput is not None:
        figures.append(["Goodput", describe(outcome.goodput), "requests within every limit"])
    rates = [[*row, "measured"] for row in rate_rows(run)]
    if rates or figures:
        parts += ["## Throughput", _table(["", "", "how"], [*rates, *figures])]
    if rows := latency_rows(run):
        parts += ["## Latency", _table(["", *COLUMNS], rows)]
    return parts


def _table(head: t.Sequence[str], rows: t.Sequence[t.Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(str(cell)) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Text that stays in its cell and is no markup: evidence quotes what servers answered."""
    flat = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "|<>[]*" else letter for letter in flat)


# JUnit

#: Test case -> codes that make it fail. Every code belongs to one case, so that none is lost.
CASES: dict[str, tuple[str, ...]] = {
    "the result is complete": ("NO_RESULT", "TRUNCATED", "SHAPE", "AMBIGUOUS", "MIXED", "STAGE_MISSING", "INCOMPLETE"),
    "the report follows its schema": ("VERSION", "KEY_UNKNOWN", "FIELD", "UNITS", "PLACEHOLDER", "PACKAGE_MISSING"),
    "requests were answered": ("ALL_FAILED", "REQUESTS_FAILED"),
    "the figures are possible": ("VALUE", "INCONSISTENT", "TOOL_CHECK", "PER_REQUEST", "TOPOLOGY"),
    "tokens are counted as they were generated": ("TOKEN_RECOUNT", "LENGTH", "NOT_STREAMED", "ITL_DEGENERATE"),
    "the servers counted what the client did": ("COUNTERS", "STACK_CHANGED"),
}
#: What is said before there are results.
BEFORE = (
    *("PROFILE", "ENDPOINT", "MODEL", "TOOL", "TOKENIZER", "LOAD_ENDED", "DEADLINE", "DISK", "FOLDER"),
    *("POD", "POD_IN_USE", "COLLECT"),
)
COMPARED = ("NOT_COMPARABLE", "UNSTABLE", "FEW_RUNS", "WORSE")


def junit(outcome: Outcome) -> str:
    """One test case per question; findings that are errors fail it, warnings are its output."""
    cases = dict(CASES)
    if outcome.comparison is not None:
        cases[f"not slower than {outcome.base_label}"] = COMPARED
    suite = ElementTree.Element("testsuite", name=outcome.title)
    failures = 0
    for name, codes in cases.items():
        case = ElementTree.SubElement(suite, "testcase", classname="benchmark", name=name)
        about = [finding for finding in outcome.findings if finding.code.removeprefix("BENCHMARK_") in codes]
        errors = [finding for finding in about if finding.severity == "error"]
        unresolved = codes is COMPARED and outcome.verdict == "not comparable"
        if errors or unresolved:
            failures += 1
            message = errors[0].evidence if errors else outcome.reason
            failure = ElementTree.SubElement(case, "failure", message=_xml(message), type=outcome.verdict)
            failure.text = _xml("\n".join(finding.text() for finding in errors))
        if others := [finding for finding in about if finding not in errors]:
            ElementTree.SubElement(case, "system-out").text = _xml("\n".join(finding.text() for finding in others))
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(failures))
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    """XML 1.0 has no way to write most control characters."""
    return "".join(letter for letter in text if letter in "\n\t" or ord(letter) >= 32)


def unlisted_codes() -> set[str]:
    """Codes of benchmarks that no test case shows."""
    listed = {f"BENCHMARK_{code}" for codes in (*CASES.values(), COMPARED, BEFORE) for code in codes}
    return {code for code in CODES if code.startswith("BENCHMARK_")} - listed


def data(outcome: Outcome) -> dict[str, t.Any]:
    """The outcome for a task: plain values, latencies in seconds."""
    run = outcome.run
    return {
        "verdict": outcome.verdict,
        "reason": outcome.reason,
        "confidence": outcome.confidence,
        "exit_code": outcome.exit_code,
        "valid": outcome.valid,
        "requests": {"total": run.total, "failures": run.failures} if run else {},
        "rates": dict(run.rates) if run else {},
        "latency": {name: dict(run.latency[name]) for name in LATENCIES if name in run.latency} if run else {},
        "figures": {figure.name: figure.value for figure in outcome.figures},
        "goodput": dataclasses.asdict(outcome.goodput) if outcome.goodput else None,
        "comparison": [dataclasses.asdict(row) for row in outcome.comparison.rows] if outcome.comparison else [],
        "findings": [finding.as_dict() for finding in outcome.findings],
    }
