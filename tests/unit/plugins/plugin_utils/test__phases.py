# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _phases
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._phases import (
    WIDTH,
    Failure,
    PhaseError,
    Recorder,
    Table,
    as_json,
    new_run_id,
    parse_result,
    render,
    run_folder,
    table_lines,
    write_document,
)

SITE = ("lws", "router", "wait", "verify")


def recorder(mode: _phases.Mode = "apply") -> Recorder:
    return Recorder("20260102T030405Z-abcd", mode, SITE, 100.0)


def deployed(mode: _phases.Mode = "apply") -> Recorder:
    """A run whose last phase is reached twice, as by two plays of one playbook."""
    run = recorder(mode)
    run.enter("lws", 101.0)
    run.task_done(changed=True)
    run.enter("router", 103.5)
    run.task_done(changed=False)
    run.enter("wait", 104.0)
    run.enter("verify", 110.0)
    run.task_done(changed=False)
    run.enter("verify", 111.0)
    run.finish(failed=False, now=112.0)
    return run


def test_seconds_are_attributed_to_the_phase_of_the_play() -> None:
    run = deployed()
    assert {phase.name: phase.seconds for phase in run.phases.values()} == {
        "lws": 2.5,
        "router": 0.5,
        "wait": 6.0,
        "verify": 2.0,
    }
    assert run.total_seconds == 12.0


def test_outcomes() -> None:
    run = deployed()
    assert [phase.outcome(run.failed) for phase in run.phases.values()] == ["changed", "ok", "nothing to do", "ok"]


@pytest.mark.parametrize(
    ("failed", "outcome", "failing"), [(True, "failed", "lws"), (False, "changed", None)], ids=["failed", "rescued"]
)
def test_a_failure_counts_only_in_a_failed_run(failed: bool, outcome: str, failing: str | None) -> None:
    run = recorder()
    run.enter("lws", 101.0)
    run.task_done(changed=True)
    run.task_failed(Failure("local", "Install", "no"))
    run.finish(failed, 102.0)
    assert run.phases["lws"].outcome(run.failed) == outcome
    assert (run.failing.name if run.failing else None) == failing


def test_phases_after_the_failing_one_are_not_reached() -> None:
    run = recorder()
    run.enter("lws", 101.0)
    run.task_failed(Failure("local", "Install", "ERROR X: y\n  fix:  z"))
    run.finish(True, 102.0)
    text = "\n".join(render(run, []))
    assert text.count("not reached") == 3
    assert "FAILED in phase lws on local, task: Install" in text
    assert "  fix:  z" in text
    assert "run the same command again" in text


def test_a_long_message_is_cut() -> None:
    run = recorder()
    run.enter("lws", 101.0)
    run.task_failed(Failure("local", "Install", "\n".join(f"line {number}" for number in range(30))))
    run.finish(True, 102.0)
    text = "\n".join(render(run, []))
    assert "line 11" in text
    assert "line 12" not in text
    assert "(18 more lines above)" in text


def test_check_mode_says_so() -> None:
    text = "\n".join(render(deployed("check"), []))
    assert "check mode: nothing was changed" in text
    assert "1 would change" in text


TWO_NODES = [{"gpus": 8, "since": 1000.0}] * 2


def counted(waited: bool = True, applied: bool = True) -> Recorder:
    """Two nodes of 8 GPUs, made at 1000 s since the epoch, which is when the run begins."""
    run = Recorder("20260102T030405Z-abcd", "apply", ("router", "wait", "verify"), 100.0, 900.0)
    run.enter("router", 100.0)
    run.task_done(changed=applied)
    run.count_gpus("local", TWO_NODES, 101.0)
    if waited:
        run.enter("wait", 160.0)
        run.enter("verify", 220.0)
    run.finish(failed=not waited, now=280.0)
    return run


@pytest.mark.parametrize(
    ("run", "idle"),
    [
        pytest.param(counted(), {"router": 16.0, "wait": 16.0, "verify": 0.0}, id="until the wait ends"),
        pytest.param(counted(applied=False), {"router": 0.0, "wait": 0.0, "verify": 0.0}, id="served before"),
        pytest.param(counted(waited=False), {"router": 48.0}, id="never"),
    ],
)
def test_gpu_minutes_are_idle_until_the_deployment_serves(run: Recorder, idle: dict[str, float]) -> None:
    assert {name: round(minutes.idle, 3) for name, minutes in run.gpu_phases.items()} == idle


def test_gpu_minutes_are_shown_and_kept() -> None:
    run = counted()
    text = "\n".join(render(run, []))
    assert "phase   seconds  changed  idle GPU min  outcome" in text
    assert "idle GPU minutes 32.0 of 48.0 in this run; 48.0 since the nodes were made" in text
    rows = {row["phase"]: row for row in run.document("local", "now")["phases"]}
    assert (rows["wait"]["gpu_minutes"], rows["wait"]["idle_gpu_minutes"]) == (16.0, 16.0)


def test_without_gpus_nothing_is_said_of_them() -> None:
    assert "GPU" not in "\n".join(render(deployed(), []))
    assert "gpu_minutes" not in deployed().document("local", "now")["phases"][0]


def test_a_node_that_is_gone_costs_no_more() -> None:
    run = counted()
    run.count_gpus("local", TWO_NODES[:1], 160.0)
    assert run.gpu_phases["verify"].total == pytest.approx(8.0)


def test_a_pool_that_was_replaced_counts_with_both_lives() -> None:
    run = counted()
    run.count_gpus("local", [{"gpus": 8, "since": 1060.0}], 160.0)
    assert sorted((span.gpus, span.since, span.until) for span in run.spans if span.until) == [(8, 1000.0, 1060.0)] * 2
    assert [span.since for span in run.spans if span.until is None] == [1060.0]


def test_hosts_of_one_cluster_count_its_nodes_once() -> None:
    run = counted()
    run.count_gpus("other", TWO_NODES, 101.0)
    assert run.gpu_phases["router"].total == pytest.approx(16.0)


ARGUMENTS: dict[str, t.Any] = {
    "phase": "verify",
    "summary": [["endpoint", "http://wide-ep-lws-epp"], ["streamed", True]],
    "tables": [{"title": "Requests", "columns": ["pod", "requests"], "rows": [["decode-0", 12], ["decode-0-1", 4]]}],
    "data": {"b": 1, "a": {"d": 1, "c": 2}},
}


def test_results_are_printed() -> None:
    run = deployed()
    run.add(parse_result(ARGUMENTS, "wide-ep-lws", "local"), Path("/artifacts/run"))
    lines = render(run, ["artifacts/run"])
    assert "verify" in lines
    assert "  endpoint  http://wide-ep-lws-epp" in lines
    assert "  streamed  yes" in lines
    assert "  decode-0          12" in lines
    assert "Results in artifacts/run" in lines


def test_a_second_result_of_a_phase_replaces_the_first() -> None:
    run = deployed()
    for value in ("first", "second"):
        run.add(parse_result({"phase": "verify", "summary": [["what", value]]}, "r", "local"), None)
    text = "\n".join(render(run, []))
    assert "second" in text
    assert "first" not in text


def test_hosts_are_told_apart_where_there_are_several() -> None:
    run = deployed()
    for host in ("east", "west"):
        run.add(parse_result(ARGUMENTS, "wide-ep-lws", host), None)
    assert {"verify (east)", "verify (west)"} <= set(render(run, []))
    assert [result["host"] for result in run.document("west", "now")["results"]] == ["west"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phase": "../x"}, "not a playbook's name"),
        ({"summary": [["only a label"]]}, "each entry is \\[label, value\\]"),
        ({"summary": ["ab"]}, "each entry is \\[label, value\\]"),
        ({"tables": [{"title": "x", "columns": ["a"], "row": []}]}, "needs title, columns and rows"),
        ({"tables": [{"title": "x", "columns": ["a", "b"], "rows": [["1"]]}]}, "has 2 columns, got the row \\['1'\\]"),
    ],
)
def test_bad_results_are_refused(change: dict[str, t.Any], message: str) -> None:
    with pytest.raises(PhaseError, match=message):
        parse_result({**ARGUMENTS, **change}, "wide-ep-lws", "local")


@pytest.mark.parametrize("run_id", ["", "../x", "a/b", ".hidden", "x" * 64])
def test_bad_run_ids_are_refused(run_id: str) -> None:
    with pytest.raises(PhaseError, match="letters, digits"):
        run_folder("/artifacts", "wide-ep-lws", run_id)


def test_run_ids_sort_by_time_and_are_valid() -> None:
    first, second = new_run_id(1.0), new_run_id(2.0)
    assert first < second
    assert run_folder("/artifacts", "wide-ep-lws", first) == Path("/artifacts/wide-ep-lws", first)


def test_document_keeps_its_order_and_sorts_data() -> None:
    result = parse_result(ARGUMENTS, "wide-ep-lws", "local")
    text = as_json(result.document("run", "apply", "2026-01-02T03:04:05Z"))
    loaded = json.loads(text)
    assert list(loaded)[:3] == ["schema", "version", "run_id"]
    assert list(loaded)[-1] == "data"
    assert list(loaded["data"]) == ["a", "b"]
    assert list(loaded["data"]["a"]) == ["c", "d"]


def test_files_are_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "release" / "verify.json"
    write_document(path, {"a": 1})
    with pytest.raises(TypeError):
        write_document(path, {"a": object()})

    def fail(*_paths: object) -> None:
        raise OSError("full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="full"):
        write_document(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["verify.json"]


def test_run_document() -> None:
    document = deployed().document("local", "2026-01-02T03:04:05Z")
    assert document["outcome"] == "ok"
    assert document["changed"] == 1
    assert document["phases"][0] == {
        "phase": "lws",
        "outcome": "changed",
        "seconds": 2.5,
        "changed": 1,
        "tasks": 1,
    }


CELL = st.text(st.characters(codec="ascii", exclude_categories=("C",)), max_size=60)


@given(st.lists(st.tuples(CELL, CELL, CELL), max_size=5))
def test_tables_fit_the_width(rows: list[tuple[str, str, str]]) -> None:
    lines = table_lines(Table("x", ("pod", "role", "requests"), tuple(rows)))
    assert len(lines) == len(rows) + 2
    assert max(map(len, lines)) <= WIDTH


@given(st.text(min_size=1, max_size=30), st.text(max_size=400), st.text(max_size=400))
def test_summary_fits_the_width(label: str, value: str, message: str) -> None:
    run = deployed()
    run.add(parse_result({"phase": "verify", "summary": [[" ".join(label.split()), value]]}, "r", "local"), None)
    run.phases["verify"].failure = Failure("local", "Verify", message)
    run.failed = True
    assert all(len(line) <= WIDTH for line in render(run, []))
