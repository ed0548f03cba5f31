# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import shutil
import typing as t
from pathlib import Path

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_folder import read
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import E2E, ITL, TPOT, TTFT

from .benchmark_data import ALL_FAILED, GUIDE, LOG, NEW, NOT_STREAMED, OLD, STAGE, copy, edit, put, recorded


@pytest.mark.parametrize(
    ("path", "form", "total", "failures", "generation"),
    [
        (OLD, "native", 64, 0, "0.6 or older"),
        (NEW, "native", 64, 0, "0.7"),
        (NEW / STAGE, "native", 64, 0, "0.7"),
        (NOT_STREAMED, "native", 64, 0, "0.7"),
        (ALL_FAILED, "native", 64, 64, "0.7"),
        (LOG, "native", 64, 0, "0.7"),
        (NEW / "inference-perf.partial.stage_0.yaml", "report 0.2.1", 64, 0, None),
        (GUIDE, "report 0.2", 8192, 0, None),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else None,
)
def test_every_form_is_read(path: Path, form: str, total: int, failures: int, generation: str | None) -> None:
    reading = read(path)
    assert reading.findings == ()
    assert reading.run is not None
    run = reading.run
    assert (run.format, run.total, run.failures, run.load.generation) == (form, total, failures, generation)


def test_a_stage_file_says_what_was_asked_and_what_was_measured() -> None:
    run = recorded(NEW)
    load = run.load
    assert (load.model, load.load_type, load.concurrency, load.requests) == ("m", "concurrent", 16, 64)
    assert (load.input_tokens, load.output_tokens, load.streaming, load.token_side) == (200, 100, True, "client")
    assert run.rates["request_rate"] == pytest.approx(12.837360773890552)
    assert run.seconds == pytest.approx(4.985448421)
    assert (run.lengths["output_length"]["mean"], run.server_output["mean"], run.mismatches) == (200, 100, 64)
    assert run.latency[TTFT]["p50"] == pytest.approx(0.05208446200003891)
    assert run.constraints == {"ttft": 0.2, "tpot": 0.02}
    assert run.goodput["goodput_percentage"] == 100


@pytest.mark.parametrize("path", [OLD, NEW], ids=lambda path: path.name)
def test_both_generations_give_every_statistic(path: Path) -> None:
    """0.7 renames the prompt's length, and both call the median so and not p50."""
    run = recorded(path)
    assert run.lengths["input_length"]["mean"] == 200
    names = {"mean", "min", "max", "p0p1", "p1", "p5", "p10", "p25", "p50", "p75", "p90", "p95", "p99", "p99p9"}
    assert all(names <= set(run.latency[name]) for name in (TTFT, TPOT, ITL, E2E))


def test_a_report_beside_a_stage_file_adds_and_never_replaces(tmp_path: Path) -> None:
    folder = copy(NEW, tmp_path)
    path = "results/request_performance/aggregate/latency/request_latency"
    edit(folder / "inference-perf.partial.stage_0.yaml", lambda report: put(report, f"{path}/mean", 99.0))
    before, run = recorded(NEW), recorded(folder)
    assert run.latency[E2E]["mean"] == before.latency[E2E]["mean"] != 99
    assert run.latency[E2E]["stddev"] == pytest.approx(0.013614400800993732)
    assert run.run["uid"].startswith("inference-perf-stage-0-")


def test_units_are_converted(tmp_path: Path) -> None:
    path = tmp_path / "report-v0.2.yaml"
    shutil.copyfile(GUIDE, path)
    latency = "results/request_performance/aggregate/latency/time_to_first_token"

    def change(document: t.Any) -> None:
        section = document["results"]["request_performance"]["aggregate"]["latency"]["time_to_first_token"]
        section.update({name: value * 1000 for name, value in section.items() if name != "units"})
        put(document, f"{latency}/units", "ms")

    edit(path, change)
    assert recorded(path).latency[TTFT] == pytest.approx(recorded(GUIDE).latency[TTFT])


def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "report-v0.2.yaml"
    shutil.copyfile(GUIDE, path)
    place = "results/request_performance/aggregate/latency/inter_token_latency/p50"
    edit(path, lambda document: put(document, place, "5e-06"))
    assert recorded(path).latency[ITL]["p50"] == 5e-06


def test_the_result_may_lie_below_the_folder(tmp_path: Path) -> None:
    shutil.copytree(NEW, tmp_path / "1764072000" / "inference-perf_run_stack")
    reading = read(tmp_path)
    assert reading.run is not None
    assert reading.per_request is not None


def test_one_of_several_stages_is_chosen(tmp_path: Path) -> None:
    folder = copy(OLD, tmp_path)
    shutil.copyfile(folder / STAGE, folder / "stage_1_lifecycle_metrics.json")
    stage = {"num_requests": 64, "concurrency_level": 32}
    edit(folder / "config.yaml", lambda config: config["load"]["stages"].append(stage))
    run = read(folder, stage=1).run
    assert run is not None
    assert (run.load.stage, run.load.concurrency) == (1, 32)


def test_the_harness_s_notes_fill_time_and_release(tmp_path: Path) -> None:
    folder = copy(OLD, tmp_path)
    notes = "harness_start: 2026-11-23T16:18:14Z\nharness_stop: 2026-11-23T16:18:20Z\nharness_version: v0.6.1\n"
    (folder / "run_metadata.yaml").write_text(notes, encoding="utf-8")
    run = recorded(folder)
    assert run.load.tool_version == "v0.6.1"
    assert run.run["time"]["start"].startswith("2026-11-23")
