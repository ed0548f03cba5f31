# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read, judge, compare and show the results of a benchmark."""

from __future__ import annotations

import difflib
import json
import pathlib
import typing as t

import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_baselines import BASELINES
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_checks import Limits
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_compare import EXIT
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
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import InProcessAction
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._benchmark_page import missing_package, page

FACTS: dict[str, t.Any] = {
    **{
        name: {"type": "str", "default": ""}
        for name in ("experiment", "cluster", "pod", "user", "description", "start", "end", "tool_version")
    },
    "keywords": {"type": "list", "elements": "str", "default": []},
}
TOPOLOGY: dict[str, t.Any] = {
    **{name: {"type": "int"} for name in ("prefill_gpus", "decode_gpus", "total_gpus", "decode_ranks")},
    "gpu": {"type": "str"},
    "precision": {"type": "str"},
}
STACK: dict[str, t.Any] = {
    **{name: {"type": "str", "required": True} for name in ("label", "tool")},
    **{name: {"type": "str"} for name in ("tool_version", "role", "model", "gpu", "image")},
    **{name: {"type": "int"} for name in ("replicas", "gpus", "tp", "dp", "dp_local", "ep", "pp")},
    **{name: {"type": "dict"} for name in ("args", "envars")},
}


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


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        "results": {"type": "list", "elements": "path", "required": True},
        "stage": {"type": "int"},
        "base": {"type": "list", "elements": "path", "default": []},
        "baseline": {"type": "str", "choices": list(BASELINES)},
        "title": {"type": "str", "default": "Benchmark"},
        "run": {"type": "dict", "options": FACTS},
        "stack": {"type": "list", "elements": "dict", "options": STACK, "default": []},
        "topology": {"type": "dict", "options": TOPOLOGY},
        "ranks": {"type": "list", "elements": "dict", "default": []},
        "notes": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                name: {"type": "str", "required": True} for name in ("code", "severity", "subject", "evidence", "fix")
            },
        },
        "slo": {"type": "dict", "default": {}},
        "max_failure_share": {"type": "float", "default": 0.01},
        "require_token_latency": {"type": "bool", "default": False},
        "strict": {"type": "bool", "default": False},
        "per_request": {"type": "bool", "default": True},
        "allow_differences": {"type": "list", "elements": "str", "default": []},
        "confidence": {"type": "float", "default": 0.95},
        "destination": {"type": "path"},
        "fail_on": {
            "type": "list",
            "elements": "str",
            "choices": list(EXIT),
            "default": ["worse", "not comparable", "invalid"],
        },
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        wrong = refusals(arguments)
        if wrong:
            return self.refusal(wrong)
        judged = judge(request_of(arguments))
        outcome = judged.outcome
        findings = [*outcome.findings, *filter(None, [missing_package()])]
        result = {**data(outcome), "findings": [finding.as_dict() for finding in findings]}
        if arguments["destination"]:
            result |= self._write(pathlib.Path(arguments["destination"]), documents(judged))
        failed = outcome.verdict in arguments["fail_on"]
        shown = [finding for finding in findings if finding.severity == "error" or not failed]
        return {
            **result,
            "failed": failed,
            "msg": "\n".join([headline(outcome), *([report(shown)] if shown and failed else [])]),
            "summary": summary(outcome),
            "warnings": [finding.text() for finding in findings if finding.severity == "warning"],
        }

    def _write(self, folder: pathlib.Path, texts: t.Mapping[str, str]) -> dict[str, t.Any]:
        """Files whose content differs; in check mode none."""
        changed, diff = [], []
        for name, text in texts.items():
            path = folder / name
            before = path.read_text(encoding="utf-8") if path.is_file() else ""
            if before == text:
                continue
            changed.append(str(path))
            if name.endswith((".yaml", ".md")):
                lines = difflib.unified_diff(before.splitlines(True), text.splitlines(True), str(path), str(path))
                diff.append({"prepared": "".join(lines)})
            if not self.check_mode:
                folder.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        return {"changed": bool(changed), "files": [str(folder / name) for name in texts], "diff": diff}


def refusals(arguments: t.Mapping[str, t.Any]) -> list[Finding]:
    """Options that do not fit each other."""
    found = []
    if arguments["base"] and arguments["baseline"]:
        evidence = "both are given"
        found.append(Finding("INPUT_COMBINATION", "error", "base and baseline", evidence, "Give one of them."))
    if not arguments["results"]:
        found.append(Finding("BENCHMARK_NO_RESULT", "error", "results", "the list is empty", "Give a result folder."))
    if not 0 < arguments["confidence"] < 1:
        evidence = f"found {arguments['confidence']}, expected a value between 0 and 1"
        found.append(Finding("INPUT_TYPE", "error", "confidence", evidence, "Give 0.95 for 95 %."))
    return found
