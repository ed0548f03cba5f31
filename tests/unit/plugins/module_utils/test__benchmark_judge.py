# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each bad input with its message and exit code, and a good one's verdict."""

from __future__ import annotations

import json
import shutil
import typing as t
from pathlib import Path

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_checks import Limits
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_judge import Request, judge
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_report import Facts
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

from .benchmark_data import (
    ALL_FAILED,
    DROPPED,
    GUIDE,
    LOG,
    NEW,
    NOT_STREAMED,
    OLD,
    SERVER_TOKENS,
    STAGE,
    copy,
    edit,
    put,
)

INVALID = 5
TOPOLOGY = {"prefill_gpus": 16, "decode_gpus": 16}
AGGREGATE = "results/request_performance/aggregate"
Spoil = t.Callable[[Path], Path]


def stage(path: str, value: t.Any, folder: Path = OLD) -> Spoil:
    """A result whose stage file has another value at a path."""

    def spoil(tmp_path: Path) -> Path:
        found = copy(folder, tmp_path)
        edit(found / STAGE, lambda document: put(document, path, value))
        return found

    return spoil


def of_report(path: str, value: t.Any) -> Spoil:
    """The guide's report with another value at a path; ``...`` removes it."""

    def change(document: t.Any) -> None:
        if value is not ...:
            return put(document, path, value)
        *parents, last = path.split("/")
        for name in parents:
            document = document[name]
        del document[last]
        return None

    def spoil(tmp_path: Path) -> Path:
        found = tmp_path / "report-v0.2.yaml"
        shutil.copyfile(GUIDE, found)
        edit(found, change)
        return found

    return spoil


def text(name: str, content: str, folder: Path = OLD) -> Spoil:
    """A result folder in which one file has this text."""

    def spoil(tmp_path: Path) -> Path:
        found = copy(folder, tmp_path)
        (found / name).write_text(content, encoding="utf-8")
        return found

    return spoil


def cut(name: str, share: float, folder: Path = OLD) -> Spoil:
    """A result folder in which one file ends early."""
    whole = (folder / name).read_text(encoding="utf-8")
    return text(name, whole[: int(len(whole) * share)], folder)


def alone(name: str, content: str) -> Spoil:
    def spoil(tmp_path: Path) -> Path:
        (tmp_path / name).write_text(content, encoding="utf-8")
        return tmp_path / name

    return spoil


def config(path: str, value: t.Any) -> Spoil:
    def spoil(tmp_path: Path) -> Path:
        found = copy(OLD, tmp_path)
        edit(found / "config.yaml", lambda document: put(document, path, value))
        return found

    return spoil


def several_runs(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        shutil.copytree(OLD, tmp_path / name)
    return tmp_path


def several_stages(tmp_path: Path) -> Path:
    found = copy(OLD, tmp_path)
    shutil.copyfile(found / STAGE, found / "stage_1_lifecycle_metrics.json")
    edit(found / "config.yaml", lambda document: document["load"]["stages"].append({"num_requests": 64}))
    return found


def cut_log(tmp_path: Path) -> Path:
    whole = LOG.read_text(encoding="utf-8")
    (tmp_path / "stdout.log").write_text(whole[: whole.index("=== END_STAGE_0")], encoding="utf-8")
    return tmp_path / "stdout.log"


def mixed_generations(tmp_path: Path) -> Path:
    found = copy(NEW, tmp_path)
    shutil.copyfile(OLD / "summary_lifecycle_metrics.json", found / "summary_lifecycle_metrics.json")
    return found


def leftover_report(tmp_path: Path) -> Path:
    found = copy(NEW, tmp_path)
    edit(found / "inference-perf.partial.stage_0.yaml", lambda d: put(d, f"{AGGREGATE}/requests/total", 8192))
    return found


def part_failed(count: int) -> Spoil:
    def spoil(tmp_path: Path) -> Path:
        found = copy(OLD, tmp_path)
        label = {"Timeout": {"count": count, "messages": [{"message": "no answer within 300 s"}]}}

        def change(document: t.Any) -> None:
            put(document, "load_summary/count", 64 + count)
            put(document, "failures/count", count)
            put(document, "failures/by_label", label)

        edit(found / STAGE, change)
        edit(found / "config.yaml", lambda document: put(document, "load/stages", [{"num_requests": 64 + count}]))
        edit(found / "summary_lifecycle_metrics.json", lambda document: put(document, "load_summary/count", 64 + count))
        return found

    return spoil


def folder_without_results(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text("{}", encoding="utf-8")
    return tmp_path


CASES: dict[str, tuple[Spoil, str, str, str]] = {
    "no such path": (lambda tmp: tmp / "none", "BENCHMARK_NO_RESULT", "error", "it does not exist"),
    "empty folder": (lambda tmp: tmp, "BENCHMARK_NO_RESULT", "error", "it holds nothing; looked for stage_<n>"),
    "folder without results": (folder_without_results, "BENCHMARK_NO_RESULT", "error", "it holds config.yaml"),
    "empty file": (text(STAGE, ""), "BENCHMARK_TRUNCATED", "error", "it is empty (0 bytes)"),
    "truncated JSON": (cut(STAGE, 0.6), "BENCHMARK_TRUNCATED", "error", "4251 bytes and does not parse"),
    "truncated YAML": (cut("config.yaml", 0.31), "BENCHMARK_TRUNCATED", "error", "does not parse"),
    "log without its end": (cut_log, "BENCHMARK_TRUNCATED", "error", "has no END_STAGE_0"),
    "log without results": (alone("x.log", "hello"), "BENCHMARK_NO_RESULT", "error", "no section STAGE_0"),
    "list instead of a mapping": (text(STAGE, "[1]"), "BENCHMARK_SHAPE", "error", "found [1] at the top"),
    "several documents": (alone("a.yaml", "a: 1\n---\nb: 2\n"), "BENCHMARK_SHAPE", "error", "2 YAML documents"),
    "another JSON file": (alone("a.json", '{"a": 1}'), "BENCHMARK_SHAPE", "error", "a mapping with keys a"),
    "a file of Prometheus metrics": (
        alone("stage_0_prometheus_metrics.json", "{}"),
        "BENCHMARK_SHAPE",
        "error",
        "not of one stage",
    ),
    "several stages": (several_stages, "BENCHMARK_AMBIGUOUS", "error", "it holds the stages 0, 1"),
    "several runs": (several_runs, "BENCHMARK_AMBIGUOUS", "error", "2 folders hold results: one, two"),
    "missing stage file": (
        config("load/stages", [{"num_requests": 64}, {"num_requests": 64}]),
        "BENCHMARK_STAGE_MISSING",
        "error",
        "stages 1 have no file; there are those of 0",
    ),
    "mixed generations": (mixed_generations, "BENCHMARK_MIXED", "error", "of inference-perf 0.6 or older"),
    "a report of another run": (leftover_report, "BENCHMARK_MIXED", "error", "has 8192 requests"),
    "version is missing": (of_report("version", ...), "BENCHMARK_VERSION", "error", "it is absent"),
    "version is not known": (of_report("version", "1.0"), "BENCHMARK_VERSION", "error", "found '1.0', expected"),
    "version is a number": (of_report("version", 0.2), "BENCHMARK_VERSION", "warning", "found the number 0.2"),
    "total is missing": (of_report(f"{AGGREGATE}/requests/total", ...), "BENCHMARK_FIELD", "error", "it is absent"),
    "unit of another field": (
        of_report(f"{AGGREGATE}/throughput/request_rate/units", "ms"),
        "BENCHMARK_UNITS",
        "error",
        "found 'ms', expected queries/s",
    ),
    "unknown key": (stage("successes/novelty", 1), "BENCHMARK_KEY_UNKNOWN", "warning", "found novelty"),
    "NaN": (
        stage("successes/latency/request_latency/mean", float("nan")),
        "BENCHMARK_VALUE",
        "error",
        "found nan, expected a finite number",
    ),
    "infinite": (
        of_report(f"{AGGREGATE}/latency/request_latency/max", float("inf")),
        "BENCHMARK_VALUE",
        "error",
        "found inf",
    ),
    "negative latency": (
        stage("successes/latency/time_to_first_token/p50", -1),
        "BENCHMARK_VALUE",
        "error",
        "found -1, expected 0 or more",
    ),
    "negative count": (stage("failures/count", -3), "BENCHMARK_VALUE", "error", "found -3"),
    "text for a number": (
        stage("successes/throughput/requests_per_sec", "fast"),
        "BENCHMARK_VALUE",
        "error",
        "found 'fast', expected a number",
    ),
    "more failures than requests": (
        of_report(f"{AGGREGATE}/requests/failures", 9000),
        "BENCHMARK_INCONSISTENT",
        "error",
        "9000 failures of 8192",
    ),
    "no request": (of_report(f"{AGGREGATE}/requests/total", 0), "BENCHMARK_INCOMPLETE", "error", "no request was sent"),
    "all failed": (
        lambda tmp: ALL_FAILED,
        "BENCHMARK_ALL_FAILED",
        "error",
        "64 of 64 requests failed; 64 x Connection Error: Cannot connect",
    ),
    "too many failed": (
        part_failed(4),
        "BENCHMARK_REQUESTS_FAILED",
        "error",
        "4 of 68 requests failed (5.88%, allowed are 1.00%); 4 x Timeout: no answer",
    ),
    "cut by its deadline": (
        config("load/stages", [{"num_requests": 8192, "concurrency_level": 16}]),
        "BENCHMARK_INCOMPLETE",
        "error",
        "64 requests of 8192 were sent",
    ),
    "prompts that could not be made": (
        lambda tmp: DROPPED,
        "BENCHMARK_INCOMPLETE",
        "error",
        "39 requests of 64 were sent",
    ),
    "throughput is zero": (
        stage("successes/throughput/output_tokens_per_sec", 0.0),
        "BENCHMARK_INCONSISTENT",
        "error",
        "it is 0 although 64 requests were answered",
    ),
    "times do not add up": (
        of_report(f"{AGGREGATE}/latency/request_latency/mean", 240.0),
        "BENCHMARK_INCONSISTENT",
        "warning",
        "TTFT and TPOT make",
    ),
    "throughput is missing": (
        of_report(f"{AGGREGATE}/throughput/request_rate", ...),
        "BENCHMARK_INCONSISTENT",
        "error",
        "it is absent although 8192",
    ),
    "token rate does not fit": (
        of_report(f"{AGGREGATE}/throughput/output_token_rate/mean", 25000.0),
        "BENCHMARK_INCONSISTENT",
        "error",
        "found 25000 tokens/s, requests/s times mean length are 22124.9",
    ),
    "total is not the sum": (
        stage("successes/throughput/total_tokens_per_sec", 1.0),
        "BENCHMARK_INCONSISTENT",
        "error",
        "found 1 tokens/s, input and output are 5124.25",
    ),
    "seconds do not fit": (
        stage("benchmark_time_seconds", 60.0),
        "BENCHMARK_INCONSISTENT",
        "error",
        "768.6 requests, not 64",
    ),
    "percentiles descend": (
        stage("successes/latency/request_latency/p90", 0.5),
        "BENCHMARK_INCONSISTENT",
        "error",
        "p75 is 1.19978, p90 is 0.5",
    ),
    "mean beyond the maximum": (
        stage("successes/latency/request_latency/mean", 7.0),
        "BENCHMARK_INCONSISTENT",
        "error",
        "the mean 7 is outside",
    ),
    "counts do not add up": (
        stage("successes/count", 60),
        "BENCHMARK_INCONSISTENT",
        "error",
        "load_summary.count is 64",
    ),
    "the tool's own error": (
        text(
            "validation.json",
            json.dumps({"global": {"errors": [{"check": "x.sum", "message": "does not add up"}]}}),
        ),
        "BENCHMARK_TOOL_CHECK",
        "error",
        "x.sum: does not add up",
    ),
    "not streamed": (lambda tmp: NOT_STREAMED, "BENCHMARK_NOT_STREAMED", "warning", "streaming is False"),
    "tokens counted anew": (
        lambda tmp: OLD,
        "BENCHMARK_TOKEN_RECOUNT",
        "warning",
        "the client counts 200 output tokens per request, the server 100; 64 requests differ",
    ),
    "degenerate ITL": (
        lambda tmp: GUIDE,
        "BENCHMARK_ITL_DEGENERATE",
        "warning",
        "are 6.39 us or less, their mean is 79.7",
    ),
    "placeholder id": (lambda tmp: GUIDE, "BENCHMARK_PLACEHOLDER", "warning", "1b4db7eb... is what old images write"),
    "placeholder configuration": (lambda tmp: GUIDE, "BENCHMARK_PLACEHOLDER", "warning", "74234e98..."),
    "placeholder rate": (lambda tmp: GUIDE, "BENCHMARK_PLACEHOLDER", "warning", "8192 is the number of requests"),
    "prompts of another length": (
        config("data/input_distribution/mean", 180.0),
        "BENCHMARK_LENGTH",
        "warning",
        "180 tokens were asked for, 200 are measured",
    ),
    "GPUs are not known": (lambda tmp: OLD, "BENCHMARK_TOPOLOGY", "warning", "neither the report's stack nor topology"),
}


def about(findings: t.Sequence[Finding], code: str, severity: str, evidence: str) -> list[Finding]:
    return [f for f in findings if (f.code, f.severity) == (code, severity) and evidence in f.evidence]


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str, tmp_path: Path) -> None:
    spoil, code, severity, evidence = CASES[name]
    outcome = judge(Request((spoil(tmp_path),), per_request=False)).outcome
    found = about(outcome.findings, code, severity, evidence)
    assert found, [finding.text() for finding in outcome.findings]
    assert all(finding.fix for finding in found)
    assert (outcome.exit_code, outcome.verdict) == ((INVALID, "invalid") if severity == "error" else (0, "valid"))


def test_failures_below_the_threshold_are_a_warning(tmp_path: Path) -> None:
    limits = Limits(failure_share=0.10)
    outcome = judge(Request((part_failed(4)(tmp_path),), limits=limits)).outcome
    assert outcome.exit_code == 0
    assert about(outcome.findings, "BENCHMARK_REQUESTS_FAILED", "warning", "4 of 68")


def test_where_the_server_counts_the_client_s_count_is_told_and_not_held_against_the_run() -> None:
    """inference-perf 0.7.0 with use_server_output_tokens: 100 tokens sent, 200 counted on the client."""
    outcome = judge(Request((SERVER_TOKENS,), topology=TOPOLOGY)).outcome
    assert outcome.exit_code == 0
    assert about(outcome.findings, "BENCHMARK_TOKEN_RECOUNT", "info", "the client counts 200 output tokens per request")
    codes = {f.code for f in outcome.findings if f.severity == "warning"}
    assert codes - {"BENCHMARK_PACKAGE_MISSING"} == {"BENCHMARK_ITL_DEGENERATE"}
    assert outcome.run is not None
    assert outcome.run.rates["output_token_rate"] == pytest.approx(100 * outcome.run.rates["request_rate"])


def test_token_latencies_can_be_required() -> None:
    outcome = judge(Request((NOT_STREAMED,), limits=Limits(tokens=True))).outcome
    assert outcome.exit_code == INVALID
    assert about(outcome.findings, "BENCHMARK_NOT_STREAMED", "error", "time_to_first_token")


@pytest.mark.parametrize(
    "topology",
    [
        {"prefill_gpus": 0, "decode_gpus": 16},
        {"prefill_gpus": -1, "decode_gpus": 16},
        {"prefill_gpus": 16, "decode_gpus": 16, "total_gpus": 24},
    ],
)
def test_impossible_gpus(topology: dict[str, int]) -> None:
    outcome = judge(Request((GUIDE,), topology=topology)).outcome
    assert outcome.exit_code == INVALID
    assert about(outcome.findings, "BENCHMARK_TOPOLOGY", "error", "prefill_gpus")


def test_the_guide_s_report_is_valid_and_flagged() -> None:
    outcome = judge(Request((GUIDE,), topology=TOPOLOGY)).outcome
    assert (outcome.verdict, outcome.exit_code) == ("valid", 0)
    figures = {figure.name: round(figure.value, 1) for figure in outcome.figures}
    assert (figures["tpsg_decode"], figures["tpsg_total"]) == (1382.8, 691.4)
    assert {finding.code for finding in outcome.findings} >= {"BENCHMARK_PLACEHOLDER", "BENCHMARK_ITL_DEGENERATE"}


def test_one_bad_repeat_makes_the_whole_invalid(tmp_path: Path) -> None:
    outcome = judge(Request((OLD, ALL_FAILED))).outcome
    assert outcome.exit_code == INVALID
    failed = [finding.subject for finding in outcome.findings if finding.code == "BENCHMARK_ALL_FAILED"]
    assert failed == [f"repeat 1: {STAGE}: requests"]


def test_what_all_repeats_have_is_said_once() -> None:
    one, three = (judge(Request((GUIDE,) * number, topology=TOPOLOGY)).outcome.findings for number in (1, 3))
    assert one == three


def test_a_missing_repeat_is_named() -> None:
    outcome = judge(Request((OLD, OLD.parent / "none"))).outcome
    assert outcome.run is None
    assert outcome.exit_code == INVALID


def test_an_invalid_base_is_no_base() -> None:
    outcome = judge(Request((OLD,), base=(ALL_FAILED,))).outcome
    assert (outcome.verdict, outcome.exit_code) == ("invalid", INVALID)


def test_a_published_baseline_of_another_shape_is_refused() -> None:
    outcome = judge(Request((GUIDE,), topology=TOPOLOGY, baseline="guide-gke-b200-1k1k")).outcome
    assert (outcome.verdict, outcome.exit_code) == ("not comparable", 4)
    assert {f.subject for f in outcome.findings if f.code == "BENCHMARK_NOT_COMPARABLE"} == {
        "input_tokens",
        "output_tokens",
    }


def test_a_single_run_is_not_called_worse_than_what_noise_can_do() -> None:
    outcome = judge(Request((GUIDE,), topology=TOPOLOGY, baseline="guide-cks-h200-dp-supervisor")).outcome
    assert (outcome.verdict, outcome.exit_code) == ("not comparable", 4)
    assert "too few repeats" in outcome.reason
    assert any(finding.code == "BENCHMARK_FEW_RUNS" for finding in outcome.findings)


def test_repeats_are_told_worse_than_the_published_figures() -> None:
    request = Request((GUIDE,) * 3, topology=TOPOLOGY, baseline="guide-cks-h200-dp-supervisor")
    outcome = judge(request).outcome
    assert (outcome.verdict, outcome.exit_code) == ("worse", 3)
    assert outcome.confidence is not None
    assert outcome.confidence > 0.99


def test_the_same_files_give_the_same_reports() -> None:
    request = Request((NEW,), facts=Facts(experiment="e", start="2026-11-23T16:18:14Z"), per_request=False)
    assert judge(request).reports == judge(request).reports
