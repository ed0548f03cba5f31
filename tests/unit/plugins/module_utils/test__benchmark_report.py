# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_checks import check
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_report import Facts, read_report, write_report
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_schema import schema_findings

from .benchmark_data import ALL_FAILED, GUIDE, NEW, NOT_STREAMED, OLD, put, recorded

STACK = (
    {
        "label": "decode",
        "role": "decode",
        "tool": "vllm",
        "tool_version": "0.19.1@sha256:0",
        "image": "vllm@sha256:0",
        "model": "m",
        "gpu": "NVIDIA-H200",
        "gpus": 16,
        "dp": 16,
        "dp_local": 8,
        "ep": 16,
        "tp": 1,
        "args": {"--all2all-backend": "deepep_low_latency"},
    },
    {"label": "endpoint-picker scheduler", "tool": "llm-d-router", "tool_version": "v0.9.0", "image": "epp@sha256:1"},
)
FACTS = Facts(
    experiment="wide-ep/1764072000",
    cluster="rehearsal",
    pod="0a1b",
    user="namespace=llm-d-wide-ep",
    description="rehearsal",
    keywords=("wide-ep",),
    start="2026-11-23T16:18:14Z",
    end="2026-11-23T16:18:20Z",
    tool_version="0.7.0",
    stack=STACK,
)
AGGREGATE = "results/request_performance/aggregate"


@pytest.mark.parametrize("version", ["0.2", "0.2.1"])
@pytest.mark.parametrize("path", [GUIDE, OLD, NEW, NOT_STREAMED, ALL_FAILED], ids=lambda path: path.name)
def test_what_is_written_follows_the_published_schema(path: Path, version: str) -> None:
    pytest.importorskip("llmd_benchmark_report", reason="the schema's models are those of this package")
    for facts in (Facts(), FACTS):
        document = write_report(recorded(path), facts, version)
        assert [finding.text() for finding in schema_findings("report", document, strict=True)] == []


@pytest.mark.parametrize("path", [GUIDE, OLD, NEW, NOT_STREAMED], ids=lambda path: path.name)
def test_what_is_written_is_read_as_it_was(path: Path) -> None:
    run = recorded(path)
    text = yaml.safe_dump(write_report(run, FACTS, "0.2.1"))
    again, reader = read_report("report", yaml.safe_load(text))
    assert reader.findings == []
    assert again is not None
    assert (again.total, again.failures, again.rates) == (run.total, run.failures, dict(run.rates))
    assert {name: dict(values) for name, values in again.latency.items()} == {
        n: dict(v) for n, v in run.latency.items()
    }
    assert (again.load.concurrency, again.load.input_tokens, again.load.streaming) == (
        run.load.concurrency,
        run.load.input_tokens,
        run.load.streaming,
    )


def test_placeholders_become_real_values() -> None:
    document = write_report(recorded(GUIDE), FACTS, "0.2")
    run = document["run"]
    assert run["eid"] not in ("", "1b4db7eb-4057-5ddf-91e0-36dec72071f5")
    assert (run["pid"], run["user"], run["keywords"]) == ("0a1b", "namespace=llm-d-wide-ep", ["wide-ep"])
    assert run["time"] == {"duration": "PT742.373S", "start": FACTS.start, "end": FACTS.end}
    load = document["scenario"]["load"]["standardized"]
    assert (load["tool_version"], load["concurrency"], "rate_qps" in load) == ("0.7.0", 2048, False)
    again, _reader = read_report("report", document)
    assert again is not None
    assert [f for f in check(again) if f.code == "BENCHMARK_PLACEHOLDER"] == []


def test_what_is_not_known_is_left_out() -> None:
    document = write_report(recorded(GUIDE), Facts(), "0.2")
    assert "eid" not in document["run"]
    assert document["run"]["time"] == {"duration": "PT742.373S"}
    assert "stack" not in document["scenario"]


def test_a_fixed_length_is_no_gaussian() -> None:
    load = write_report(recorded(NEW), FACTS, "0.2")["scenario"]["load"]
    assert load["standardized"]["input_seq_len"] == {"distribution": "fixed", "value": 200.0, "min": 200, "max": 200}
    assert load["standardized"]["source"] == "random"
    assert (
        load["metadata"]["cfg_id"]
        != write_report(recorded(OLD), FACTS, "0.2")["scenario"]["load"]["metadata"]["cfg_id"]
    )


def test_the_stack_says_role_gpus_and_digest() -> None:
    decode, picker = write_report(recorded(NEW), FACTS, "0.2.1")["scenario"]["stack"]
    assert decode["standardized"]["accelerator"] == {
        "model": "NVIDIA-H200",
        "count": 16,
        "parallelism": {"tp": 1, "dp": 16, "dp_local": 8, "ep": 16},
    }
    assert (decode["standardized"]["role"], decode["native"]["config"]) == ("decode", {"image": "vllm@sha256:0"})
    assert picker["standardized"] == {"kind": "generic", "tool": "llm-d-router", "tool_version": "v0.9.0"}
    assert len(decode["metadata"]["cfg_id"]) == 64


def test_only_0_2_1_has_the_size_of_requests() -> None:
    requests = [
        write_report(recorded(NEW), FACTS, version)["results"]["request_performance"]["aggregate"]["requests"]
        for version in ("0.2", "0.2.1")
    ]
    assert ["request_size" in found for found in requests] == [False, True]


def test_what_another_report_measured_is_kept() -> None:
    document = yaml.safe_load(GUIDE.read_text())
    put(document, "results/observability", {"vllm_x": {"units": "count", "mean": 1.0}})
    run, _reader = read_report("report", document)
    assert run is not None
    written = write_report(run, FACTS, "0.2.1")
    assert written["results"]["observability"] == {"vllm_x": {"units": "count", "mean": 1.0}}
    assert written["run"]["uid"] == document["run"]["uid"]


def test_report_0_1_is_read_with_reduced_fields() -> None:
    document = {
        "version": "0.1",
        "scenario": {"model": {"name": "m"}, "load": {"name": "inference-perf"}},
        "metrics": {
            "requests": {"total": 64, "failures": 0, "input_length": {"units": "count", "mean": 0}},
            "latency": {"time_to_first_token": {"units": "ms", "mean": 54.0}},
            "throughput": {"output_tokens_per_sec": 2600.0, "requests_per_sec": 13.0, "total_tokens_per_sec": 5200.0},
        },
    }
    run, reader = read_report("report", document)
    assert run is not None
    assert (run.format, run.rates["request_rate"], run.mean("time_to_first_token")) == ("report 0.1", 13, 0.054)
    assert run.mean("input_length") is None
    assert [(finding.code, finding.severity) for finding in reader.findings] == [("BENCHMARK_VERSION", "warning")]


@pytest.mark.parametrize(
    ("path", "value", "code", "strict", "severity"),
    [
        ("run/novelty", 1, "BENCHMARK_KEY_UNKNOWN", False, "warning"),
        ("run/novelty", 1, "BENCHMARK_KEY_UNKNOWN", True, "error"),
        ("run/uid", None, "BENCHMARK_FIELD", False, "error"),
        (f"{AGGREGATE}/requests/total", -1, "BENCHMARK_VALUE", False, "error"),
        (f"{AGGREGATE}/throughput/request_rate/units", "ms", "BENCHMARK_UNITS", False, "error"),
        (f"{AGGREGATE}/throughput/request_rate/units", "furlongs", "BENCHMARK_UNITS", False, "error"),
        (f"{AGGREGATE}/latency/request_latency/units", "tokens/s", "BENCHMARK_UNITS", False, "error"),
    ],
)
def test_the_schema_s_complaints(path: str, value: t.Any, code: str, strict: bool, severity: str) -> None:
    pytest.importorskip("llmd_benchmark_report", reason="the schema's models are those of this package")
    document = copy.deepcopy(yaml.safe_load(GUIDE.read_text()))
    put(document, path, value)
    findings = schema_findings("report", document, strict=strict)
    assert [(finding.code, finding.severity) for finding in findings] == [(code, severity)]
    assert findings[0].subject.startswith("report: ")
