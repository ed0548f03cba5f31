# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A benchmark as one HTML file that needs nothing else. Private to the collection; it may change at any time."""

from __future__ import annotations

import typing as t

import jinja2
from markupsafe import Markup

from ansible_collections.llmd.wide_ep.plugins.module_utils import _benchmark_outcome as text
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_derive import describe, output_rate
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_outcome import Outcome, quantity, time_text
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import E2E, TPOT, TTFT
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._benchmark_charts import HAS_MATPLOTLIB, charts
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._benchmark_template import PAGE, STYLE

TONES = {
    "better": "good",
    "same": "good",
    "valid": "good",
    "worse": "bad",
    "invalid": "bad",
    "not comparable": "warn",
    "error": "bad",
    "warning": "warn",
    "info": "plain",
}
TILES = (
    ("tpsg_decode", "TPSG, per decode GPU"),
    ("tpsg_total", "Output, over all GPUs"),
    ("concurrency_per_rank", "Concurrency per decode rank"),
)
RANK = {"error": 0, "warning": 1, "info": 2}


def page(outcome: Outcome) -> str:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    drawn = (
        charts(outcome.run, outcome.base_run, outcome.base_label, outcome.requests, outcome.comparison)
        if outcome.run
        else {}
    )
    ranks, spread = rank_bars(outcome)
    return environment.from_string(PAGE).render(
        outcome=outcome,
        style=Markup(STYLE),
        load=f"{text.load_text(outcome.run)}; measured by {text.tool_text(outcome.run)}" if outcome.run else "",
        hardware=hardware(outcome),
        confidence=text.share_text(outcome.confidence) if outcome.confidence is not None else "",
        tone=TONES[outcome.verdict],
        tiles=tiles(outcome),
        columns=list(text.COLUMNS),
        latency_rows=text.latency_rows(outcome.run) if outcome.run else [],
        figure_rows=figure_rows(outcome),
        comparison_rows=text.comparison_rows(outcome.comparison) if outcome.comparison else [],
        charts={name: [Markup(chart) for chart in drawn.get(name, [])] for name in ("latency", "load", "comparison")},
        ranks=ranks,
        spread=spread,
        findings=[
            {**finding.as_dict(), "tone": TONES[finding.severity]}
            for finding in sorted(outcome.findings, key=lambda finding: RANK[finding.severity])
        ],
        stack_rows=stack_rows(outcome),
        run_rows=run_rows(outcome),
    )


def hardware(outcome: Outcome) -> str:
    topology = outcome.topology
    if topology is None:
        return ""
    gpus = f"{topology.total_gpus} GPUs" + (f" ({topology.gpu})" if topology.gpu else "")
    return f"{gpus}: {topology.prefill_gpus} prefill, {topology.decode_gpus} decode in {topology.decode_ranks} ranks"


def tiles(outcome: Outcome) -> list[dict[str, str]]:
    """What a reader wants to know first."""
    run = outcome.run
    if run is None or run.successes <= 0:
        return []
    found = [
        {"label": label, "value": quantity(figure.value), "unit": figure.unit.replace(" per GPU", "")}
        for name, label in TILES
        if (figure := outcome.figure(name))
    ]
    rates = (("Output", output_rate(run)[0], "tokens/s"), ("Requests", run.rates.get("request_rate"), "/s"))
    found += [
        {"label": label, "value": quantity(rate), "unit": unit} for label, rate, unit in rates if rate is not None
    ]
    for name, label in ((TTFT, "TTFT, median"), (TPOT, "TPOT, median"), (E2E, "Request, median")):
        half = run.at(name, "p50")
        if half is not None:
            value, unit = time_text(half).split(" ", 1)
            found.append({"label": label, "value": value, "unit": unit})
    if outcome.goodput is not None:
        low, high = (f"{share:.0%}".removesuffix("%") for share in (outcome.goodput.least, outcome.goodput.most))
        found.append({"label": "Goodput", "value": low if low == high else f"{low}-{high}", "unit": "%"})
    found.append({"label": "Failed", "value": str(run.failures), "unit": f"of {run.total}"})
    return found


def figure_rows(outcome: Outcome) -> list[list[str]]:
    if outcome.run is None or outcome.run.successes <= 0:
        return []
    rows = [[*row, "measured"] for row in text.rate_rows(outcome.run)]
    rows += [[one.label, f"{quantity(one.value)} {one.unit}".strip(), one.how] for one in outcome.figures]
    if outcome.goodput is not None:
        rows.append(["Goodput", "", describe(outcome.goodput)])
    if len(outcome.repeats) > 1:
        values = ", ".join(quantity(run.rates.get("output_token_rate", 0.0)) for run in outcome.repeats)
        rows.append(["Output of the repeats", "", f"{values} tokens/s"])
    return rows


def rank_label(row: t.Mapping[str, t.Any]) -> str:
    """What tells ranks apart: all pods of a tier begin alike."""
    role, pod = str(row.get("role") or ""), str(row.get("pod") or "")
    short = role + pod.rpartition(f"-{role}")[2] if role and f"-{role}-" in pod else f"{role} {pod}".strip()
    return f"{short}, {row['rank']}" if row.get("rank") not in (None, "") else short


def rank_bars(outcome: Outcome) -> tuple[list[dict[str, t.Any]], str]:
    """A bar per rank, and how far the busiest is from the mean."""
    counts = [float(row.get("requests") or 0) for row in outcome.ranks]
    most = max(counts, default=0.0)
    if most <= 0:
        return [], ""
    bars = [
        {
            "label": rank_label(row),
            "title": " ".join(str(row[key]) for key in ("role", "pod", "rank") if row.get(key) not in (None, "")),
            "percent": round(100 * count / most, 1),
            "requests": f"{count:.0f}",
        }
        for row, count in zip(outcome.ranks, counts, strict=True)
    ]
    mean = sum(counts) / len(counts)
    return bars, f"The busiest rank has {most / mean:.2f} times the mean of {mean:.1f} requests."


def release_text(entry: t.Mapping[str, t.Any]) -> str:
    """An image with as much of its digest as people compare; the report has the whole."""
    name, sign, digest = str(entry.get("tool_version", "")).partition("@sha256:")
    return f"{name}{sign}{digest[:12]}"


def stack_rows(outcome: Outcome) -> list[list[str]]:
    rows = []
    for entry in outcome.stack:
        kinds = ("tp", "dp", "dp_local", "ep", "pp")
        parallelism = ", ".join(f"{name} {entry[name]}" for name in kinds if entry.get(name))
        cells = (entry.get("label"), entry.get("tool"), release_text(entry), entry.get("role"), entry.get("gpus"))
        rows.append([*("" if cell is None else str(cell) for cell in cells), parallelism])
    return rows


def run_rows(outcome: Outcome) -> list[list[str]]:
    run = outcome.run
    if run is None:
        return []
    rows = [["Result", run.source], ["Load generator", text.tool_text(run)]]
    rows += [
        [name.capitalize(), str(outcome.time[name])] for name in ("start", "end", "duration") if outcome.time.get(name)
    ]
    rows += [[name, str(run.run[name])] for name in ("uid", "eid", "cid", "pid", "user") if run.run.get(name)]
    return rows


def missing_package() -> Finding | None:
    if HAS_MATPLOTLIB:
        return None
    fix = "Install matplotlib into the Python environment of Ansible: `make setup`."
    evidence = "it cannot be imported; the page has tables and no charts"
    return Finding("BENCHMARK_PACKAGE_MISSING", "warning", "Python package matplotlib", evidence, fix)
