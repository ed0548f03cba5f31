# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What benchmark_report makes of results. Private to the collection; it may change at any time."""

from __future__ import annotations

import functools
import json
import pathlib
import typing as t

import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_checks import Limits
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_judge import Judged, Request, judge
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_outcome import (
    Outcome,
    data,
    headline,
    junit,
    latency_rows,
    markdown,
    quantity,
    rate_rows,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_report import Facts
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, report
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._benchmark_page import missing_package, page


class _Dumper(yaml.SafeDumper):
    """Numbers with all digits, and a plain list of keys in the order of the schema."""


def request_of(arguments: t.Mapping[str, t.Any]) -> Request:
    # Values of a play carry tags, and YAML has no representation for such strings.
    arguments = json.loads(json.dumps(arguments))
    facts = dict(arguments["run"] or {})
    stack = tuple({key: value for key, value in entry.items() if value is not None} for entry in arguments["stack"])
    facts["keywords"] = tuple(facts.get("keywords") or ())
    return Request(
        results=tuple(map(pathlib.Path, arguments["results"])),
        title=arguments["title"],
        stage=arguments["stage"],
        base=tuple(map(pathlib.Path, arguments["base"])),
        baseline=arguments["baseline"],
        topology=arguments["topology"] or {},
        slo={str(name): float(limit) for name, limit in arguments["slo"].items()},
        limits=Limits(arguments["max_failure_share"], arguments["require_token_latency"]),
        facts=Facts(**facts, stack=stack),
        ranks=tuple(arguments["ranks"]),
        strict=arguments["strict"],
        per_request=arguments["per_request"],
        allow_differences=tuple(arguments["allow_differences"]),
        confidence=arguments["confidence"],
        notes=tuple(Finding(**note) for note in arguments["notes"]),
    )


def documents(judged: Judged) -> dict[str, str]:
    """File name by content. The same results give the same files."""
    texts = {name: yaml.dump(content, Dumper=_Dumper, sort_keys=False) for name, content in judged.reports.items()}
    outcome = judged.outcome
    return {
        **texts,
        "outcome.json": json.dumps(data(outcome), indent=1, sort_keys=True) + "\n",
        "summary.md": markdown(outcome),
        "junit.xml": junit(outcome),
        "report.html": page(outcome),
    }


def summary(outcome: Outcome) -> list[list[str]]:
    rows = [["Benchmark", headline(outcome)]]
    if outcome.run is not None:
        rows += rate_rows(outcome.run)[:1]
        rows += [
            [figure.label, f"{quantity(figure.value)} {figure.unit}"]
            for figure in map(outcome.figure, ("tpsg_decode", "tpsg_total"))
            if figure is not None
        ]
        rows += [[row[0], f"{row[2]} median, {row[4]} p99"] for row in latency_rows(outcome.run) if row[0] != "ITL"]
    return rows


def judged(arguments: t.Mapping[str, t.Any]) -> tuple[dict[str, t.Any], t.Callable[[], dict[str, str]]]:
    """The action's result, and its files, which are made where they are asked for."""
    found = judge(request_of(arguments))
    outcome = found.outcome
    findings = [*outcome.findings, *filter(None, [missing_package()])]
    failed = outcome.verdict in arguments["fail_on"]
    shown = [finding for finding in findings if finding.severity == "error" or not failed]
    result = {
        **data(outcome),
        "findings": [finding.as_dict() for finding in findings],
        "failed": failed,
        "msg": "\n".join([headline(outcome), *([report(shown)] if shown and failed else [])]),
        "summary": summary(outcome),
        "warnings": [finding.text() for finding in findings if finding.severity == "warning"],
    }
    return result, functools.partial(documents, found)
