# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
import types
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def runner(load_tool: Callable[[str], types.ModuleType]) -> types.ModuleType:
    return load_tool("test")


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def stage(runner: types.ModuleType, name: str, code: str = "", **settings: t.Any) -> t.Any:
    return runner.Stage(name, python(code), **settings)


def run(runner: types.ModuleType, logs: Path, stages: list[t.Any], budget: float | None = None) -> list[t.Any]:
    entries: list[t.Any] = runner.run_stages(stages, runner.Runner(logs), budget, 2)
    return entries


@pytest.mark.parametrize(
    ("wanted", "names", "unknown"),
    [
        ("", ["a/x", "a/y", "b/x"], []),
        ("a", ["a/x", "a/y"], []),
        ("b/x a/y", ["a/y", "b/x"], []),
        ("a,c,d/x", ["a/x", "a/y"], ["c", "d/x"]),
    ],
)
def test_selection(runner: types.ModuleType, wanted: str, names: list[str], unknown: list[str]) -> None:
    stages = [stage(runner, name) for name in ("a/x", "a/y", "b/x")]
    selected, unmatched = runner.select(stages, wanted)
    assert [chosen.name for chosen in selected] == names
    assert unmatched == unknown


def test_a_failure_does_not_end_the_run_but_what_needs_it(runner: types.ModuleType, tmp_path: Path) -> None:
    stages = [
        stage(runner, "a/breaks", "raise SystemExit(3)"),
        stage(runner, "b/needs", after=("a/breaks",)),
        stage(runner, "c/needs-b", after=("b/needs",)),
        stage(runner, "d/alone"),
    ]
    entries = run(runner, tmp_path, stages)
    assert [entry.outcome for entry in entries] == ["failed", "NOT RUN", "NOT RUN", "passed"]
    assert "exit code 3" in entries[0].reason
    assert entries[1].reason == "a/breaks did not pass"
    assert runner.exit_code(entries) == 1


def test_needs_outside_of_the_selection_do_not_count(runner: types.ModuleType, tmp_path: Path) -> None:
    (entry,) = run(runner, tmp_path, [stage(runner, "b/needs", after=("a/not-selected",))])
    assert entry.outcome == "passed"


def test_what_is_missing_and_what_exceeds_the_budget_is_not_run(runner: types.ModuleType, tmp_path: Path) -> None:
    stages = [
        stage(runner, "a/absent", missing=lambda: "needs Linux"),
        stage(runner, "b/long", minutes=5),
        stage(runner, "c/short", minutes=0.5),
    ]
    entries = run(runner, tmp_path, stages, budget=1)
    assert [(entry.outcome, entry.reason.partition(",")[0]) for entry in entries] == [
        ("NOT RUN", "needs Linux"),
        ("NOT RUN", "takes about 5 min"),
        ("passed", ""),
    ]


def test_a_run_of_nothing_does_not_pass(runner: types.ModuleType, tmp_path: Path) -> None:
    entries = run(runner, tmp_path, [stage(runner, "a/absent", missing=lambda: "needs Linux")])
    assert runner.exit_code(entries) == 1


def test_output_is_streamed_with_its_stage_and_logged(
    runner: types.ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(runner, tmp_path, [stage(runner, "a/speaks", "import sys; print('out'); print('err', file=sys.stderr)")])
    printed = capsys.readouterr().out
    assert "[a/speaks] out\n" in printed
    assert "[a/speaks] err\n" in printed
    assert sorted((tmp_path / "a-speaks.log").read_text().split()) == ["err", "out"]


def test_a_stage_is_ended_at_its_limit_with_its_children(runner: types.ModuleType, tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import signal; signal.pause()'])"
    (entry,) = run(runner, tmp_path, [stage(runner, "a/hangs", code, limit=0.02)])
    assert entry.outcome == "failed"
    assert "limit of 0.02 min" in entry.reason
    assert entry.seconds < 15


def test_a_daemon_that_keeps_the_output_open_does_not_hold_the_run(runner: types.ModuleType, tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)'], start_new_session=True)\n"
        "print(child.pid, flush=True)"
    )
    (entry,) = run(runner, tmp_path, [stage(runner, "a/forks", code)])
    assert entry.outcome == "passed"
    assert entry.seconds < 25


def test_a_program_that_is_missing_fails_its_stage(runner: types.ModuleType, tmp_path: Path) -> None:
    (entry,) = run(runner, tmp_path, [runner.Stage("a/x", ("/nowhere/program",))])
    assert entry.outcome == "failed"
    assert "cannot start" in entry.reason


def test_ledger(runner: types.ModuleType) -> None:
    entries = [
        runner.Entry("static/ruff", "passed", 1.25),
        runner.Entry("unit/pytest", "failed", 61.0, "exit code 1"),
        runner.Entry("site/first", "NOT RUN", reason="no root"),
    ]
    assert runner.ledger(entries, 70.04) == [
        "stage        seconds  outcome",
        "static/ruff      1.2  passed",
        "unit/pytest     61.0  failed: exit code 1",
        "site/first         -  NOT RUN: no root",
        "total           70.0",
        "",
        "1 passed, 1 failed, 1 skipped",
    ]


def test_stages_do_not_inherit_a_run_id(runner: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMD_WIDE_EP_RUN_ID", "outer")
    environment = runner.stage_environment(stage(runner, "a/x", environment={"LANE": "py311"}))
    assert "LLMD_WIDE_EP_RUN_ID" not in environment
    assert environment["LANE"] == "py311"
    assert environment["PATH"].startswith(str(Path(sys.executable).parent))


def test_every_scenario_is_a_stage(runner: types.ModuleType, tmp_path: Path) -> None:
    for name in ("lws", "router"):
        (tmp_path / "molecule" / name).mkdir(parents=True)
        (tmp_path / "molecule" / name / "molecule.yml").write_text("---\n")
    names = [known.name for known in runner.all_stages(tmp_path)]
    assert [name for name in names if name.startswith("molecule/")] == ["molecule/lws", "molecule/router"]


def test_stages_need_earlier_ones_only(runner: types.ModuleType) -> None:
    seen: set[str] = set()
    for known in runner.extended_stages(runner.ROOT):
        assert set(known.after) <= seen, known.name
        assert known.name not in seen
        seen.add(known.name)


def test_old_logs_are_removed(runner: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMD_WIDE_EP_CACHE", str(tmp_path))
    for number in range(runner.KEPT_LOGS + 3):
        (tmp_path / "logs" / f"2025{number:04}").mkdir(parents=True)
    folder = runner.make_log_folder()
    kept = sorted(entry.name for entry in (tmp_path / "logs").iterdir())
    assert folder.name in kept
    assert len(kept) == runner.KEPT_LOGS + 1
    assert "20250000" not in kept


def test_a_generation_without_its_parts_is_rendered_only(
    load_tool: Callable[[str], types.ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = load_tool("_stages")
    (stage_of_it,) = (one for one in stages.INTEGRATION if one.name == "integration/router-generations")
    monkeypatch.setattr(stages, "no_test_cluster", lambda: None)
    monkeypatch.delenv("LLMD_WIDE_EP_ROUTER_PARTS", raising=False)
    assert "llm_d_router: rendered only" in stage_of_it.missing()
    monkeypatch.setenv("LLMD_WIDE_EP_ROUTER_PARTS", str(tmp_path))
    assert "lacks charts/llm-d-router-standalone" in stage_of_it.missing()
    for folder in ("charts/llm-d-router-standalone", "charts/llm-d-router-gateway", "images"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("epp", "sidecar"):
        (tmp_path / f"images/{name}.tar").touch()
    assert stage_of_it.missing() is None
