# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every alert fires where it has to and is silent where it has to be, says promtool; the cases are in alerts.yml."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._monitoring import filled

from ._rendered import ROOT, alerts, groups, promtool, queries, rule_text, run_promtool

# Texts only: YAML would read `0x60` as a hexadecimal number.
CASES = yaml.load((Path(__file__).parent / "alerts.yml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
IDENTITY = {"namespace": "llm-d-wide-ep", "release": "wide-ep-lws"}
WORDS = {
    **{role: f'namespace="llm-d-wide-ep",release="wide-ep-lws",role="{role}"' for role in ("prefill", "decode")},
    "router": 'namespace="llm-d-wide-ep",router="wide-ep-lws-epp"',
}
NAMES = sorted({rule["alert"] for rule in alerts()})

needs_promtool = pytest.mark.skipif(
    promtool() is None, reason="no promtool: it comes with the builder's scenario full, or Debian's package prometheus"
)


def rule_of(name: str, role: str | None) -> dict[str, t.Any]:
    """The rule behind an alert; a name may have one rule for each role."""
    return next(rule for rule in alerts() if rule["alert"] == name and rule["labels"].get("role") in (None, role))


def expected(name: str, fired: dict[str, t.Any]) -> dict[str, t.Any]:
    labels = fired.get("labels", {})
    rule = rule_of(name, labels.get("role"))
    every = {**labels, **rule["labels"]}
    texts = {key: rule_text(text, every, float(fired["value"])) for key, text in rule["annotations"].items()}
    return {"exp_labels": every, "exp_annotations": texts}


def promtool_test(name: str, case: dict[str, t.Any]) -> dict[str, t.Any]:
    series = [{"series": filled(key, WORDS), "values": values} for key, values in case["series"].items()]
    alert = {
        "eval_time": case["at"],
        "alertname": name,
        "exp_alerts": [expected(name, fired) for fired in case["fires"]],
    }
    test = {"interval": "30s", "input_series": series, "alert_rule_test": [alert]}
    return {"rule_files": ["rules.yml"], "evaluation_interval": "30s", "tests": [test]}


def write_rules(folder: Path) -> None:
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": groups()}, sort_keys=False), encoding="utf-8")


@needs_promtool
@pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(name, case, id=f"{name}: {case['case']}") for name, cases in CASES.items() for case in cases],
)
def test_alert(name: str, case: dict[str, t.Any], tmp_path: Path) -> None:
    write_rules(tmp_path)
    (tmp_path / "test.yml").write_text(yaml.safe_dump(promtool_test(name, case)), encoding="utf-8")
    done = run_promtool("test", "rules", "test.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_case_that_fires_and_one_that_does_not(name: str) -> None:
    outcomes = {bool(case["fires"]) for case in CASES[name]}
    assert outcomes == {True, False}


def test_there_are_no_cases_of_alerts_that_do_not_exist() -> None:
    assert sorted(CASES) == NAMES


@needs_promtool
def test_promtool_accepts_the_rules(tmp_path: Path) -> None:
    write_rules(tmp_path)
    done = run_promtool("check", "rules", "--lint=all", "--lint-fatal", "rules.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_accepts_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    """Written down as recording rules, since promtool checks queries nowhere else without a server."""
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries())]
    text = yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]})
    (tmp_path / "rules.yml").write_text(text, encoding="utf-8")
    done = run_promtool("check", "rules", "rules.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_alerts_tell_what_to_do(rule: dict[str, t.Any]) -> None:
    assert rule["labels"].items() >= IDENTITY.items()
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert len(rule["annotations"]["summary"]) < 80
    page = (ROOT / "docs" / "runbooks" / "alerts.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    assert rule["alert"] in headings, "docs/runbooks/alerts.md lacks a section"
    assert rule["annotations"]["runbook_url"].endswith("#" + rule["alert"].lower())


def test_the_runbook_has_no_section_of_an_alert_that_does_not_exist() -> None:
    page = (ROOT / "docs" / "runbooks" / "alerts.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^## (WideEP\w+)$", page, re.MULTILINE)) == NAMES
