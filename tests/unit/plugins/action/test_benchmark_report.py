# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import subprocess
import sys
import types
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.action.benchmark_report import ActionModule, refusals
from ansible_collections.llmd.wide_ep.plugins.modules import benchmark_report

DATA = Path(__file__).parents[3] / "data" / "benchmark"
GUIDE = DATA / "guide-cks-h200.report-v0.2.yaml"
NEW, ALL_FAILED = DATA / "inference-perf-0.7.0", DATA / "inference-perf-0.7.0-all-failed"
DEFAULTS: dict[str, t.Any] = {name: option.get("default") for name, option in ActionModule.ARGUMENTS.items()}
FILES = {
    *("benchmark_report_v0.2.yaml", "benchmark_report_v0.2.1.yaml"),
    *("outcome.json", "summary.md", "junit.xml", "report.html"),
}


def act(check_mode: bool = False, **arguments: t.Any) -> dict[str, t.Any]:
    """Run the action without a play around it."""
    action = object.__new__(ActionModule)
    action._task = types.SimpleNamespace(check_mode=check_mode)
    return action.act({**DEFAULTS, **arguments}, {})


def test_a_run_is_judged_and_written(tmp_path: Path) -> None:
    topology = {"prefill_gpus": 16, "decode_gpus": 16}
    result = act(results=[str(GUIDE)], topology=topology, destination=str(tmp_path / "report"))
    assert (result["failed"], result["changed"], result["verdict"], result["exit_code"]) == (False, True, "valid", 0)
    assert round(result["figures"]["tpsg_decode"], 1) == 1382.8
    assert ["TPSG", "1,383 tokens/s per GPU"] in result["summary"]
    assert {path.name for path in (tmp_path / "report").iterdir()} == FILES == {Path(f).name for f in result["files"]}
    document = yaml.safe_load((tmp_path / "report" / "benchmark_report_v0.2.yaml").read_text())
    assert document["version"] == "0.2"
    assert any("BENCHMARK_PLACEHOLDER" in warning for warning in result["warnings"])


def test_values_of_a_play_carry_tags(tmp_path: Path) -> None:
    class Tagged(str):
        __slots__ = ()

    facts = {"experiment": Tagged("e"), "start": Tagged("2026-11-23T16:18:14Z"), "keywords": [Tagged("k")]}
    act(results=[Tagged(NEW)], per_request=False, destination=Tagged(tmp_path), run=facts)
    document = yaml.safe_load((tmp_path / "benchmark_report_v0.2.1.yaml").read_text())
    assert document["run"]["keywords"] == ["k"]


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    arguments = {"results": [str(NEW)], "per_request": False, "destination": str(tmp_path)}
    first = act(**arguments)
    assert (first["changed"], len(first["diff"])) == (True, 3)
    second = act(**arguments)
    assert (second["changed"], second["diff"]) == (False, [])


def test_check_mode_writes_nothing_and_says_what_it_would(tmp_path: Path) -> None:
    result = act(check_mode=True, results=[str(NEW)], per_request=False, destination=str(tmp_path / "report"))
    assert result["changed"]
    assert len(result["files"]) == len(FILES)
    assert list(tmp_path.iterdir()) == []


def test_repeats_have_a_report_each(tmp_path: Path) -> None:
    act(results=[str(NEW)] * 3, per_request=False, destination=str(tmp_path))
    reports = sorted(path.name for path in tmp_path.glob("benchmark_report*"))
    assert reports == [f"benchmark_report-{n}_v{v}.yaml" for n in range(3) for v in ("0.2.1", "0.2")]


@pytest.mark.parametrize(
    ("arguments", "failed", "exit_code", "message"),
    [
        ({"results": [str(ALL_FAILED)]}, True, 5, "BENCHMARK_ALL_FAILED"),
        ({"results": [str(ALL_FAILED)], "fail_on": ["worse"]}, False, 5, "invalid: 64 of 64 requests failed"),
        ({"results": [str(DATA / "none")]}, True, 5, "it does not exist"),
        ({"results": [str(GUIDE)], "baseline": "guide-gke-b200-1k1k"}, True, 4, "they differ in input_tokens"),
        ({"results": [str(GUIDE)] * 3, "baseline": "guide-cks-h200-dp-supervisor"}, True, 3, "BENCHMARK_WORSE"),
        (
            {"results": [str(GUIDE)] * 3, "baseline": "guide-cks-h200-dp-supervisor", "fail_on": ["invalid"]},
            False,
            3,
            "worse than guide-cks-h200-dp-supervisor",
        ),
    ],
)
def test_verdicts_fail_the_task(arguments: dict[str, t.Any], failed: bool, exit_code: int, message: str) -> None:
    result = act(per_request=False, **arguments)
    assert (result["failed"], result["exit_code"]) == (failed, exit_code)
    assert message in result["msg"]


@pytest.mark.parametrize(
    ("arguments", "subject"),
    [
        ({"results": ["a"], "base": ["b"], "baseline": "guide-gke-h200"}, "base and baseline"),
        ({"results": []}, "results"),
        ({"results": ["a"], "confidence": 95.0}, "confidence"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments: dict[str, t.Any], subject: str) -> None:
    assert [finding.subject for finding in refusals({**DEFAULTS, **arguments})] == [subject]
    result = act(**arguments)
    assert result["failed"]
    assert subject in result["msg"]


def test_no_file_is_written_for_options_that_do_not_fit(tmp_path: Path) -> None:
    act(results=[], destination=str(tmp_path / "report"))
    assert list(tmp_path.iterdir()) == []


def documented(options: dict[str, t.Any]) -> dict[str, t.Any]:
    kept = ("type", "elements", "required", "default", "choices")
    return {
        name: {
            **{key: option[key] for key in kept if option.get(key) not in (None, False)},
            **(
                {"options": documented(nested)} if (nested := option.get("suboptions") or option.get("options")) else {}
            ),
        }
        for name, option in options.items()
    }


def test_options_are_documented_as_they_are() -> None:
    documentation = yaml.safe_load(benchmark_report.DOCUMENTATION)["options"]
    assert documented(documentation) == documented(ActionModule.ARGUMENTS)


def test_results_are_documented() -> None:
    result = act(results=[str(NEW)], per_request=False)
    hidden = {"failed", "msg", "warnings", "changed", "diff"}
    assert set(result) - hidden == set(yaml.safe_load(benchmark_report.RETURN)) - {"files"}


def test_a_play_that_skips_the_report_pays_nothing_for_it() -> None:
    """Ansible loads the action of every task of a play, and a site without the benchmark has this one."""
    slow = "{'matplotlib', 'llmd_benchmark_report'}"
    script = f"import sys, {ActionModule.__module__}; print({slow} & set(sys.modules) or 'none')"
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=paths)
    assert done.stdout.strip() == "none"
