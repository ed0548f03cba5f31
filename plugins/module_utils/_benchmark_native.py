# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that inference-perf itself writes, up to 0.6 and 0.7, as a ``Run``.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import (
    E2E,
    ITL,
    LATENCIES,
    NTPOT,
    TPOT,
    TTFT,
    Failure,
    Load,
    Reader,
    Run,
    ToolCheck,
)

Document = t.Mapping[str, t.Any]

#: The tool's name of a statistic -> ours. It leaves out what ``report.request_lifecycle.percentiles`` does not list.
NAMES = {
    **{name: name for name in ("mean", "min", "p1", "p5", "p10", "p25", "p75", "p90", "p95", "p99", "max")},
    "p0.1": "p0p1",
    "median": "p50",
    "p50": "p50",
    "p99.9": "p99p9",
}
RATE_NAMES = {
    "requests_per_sec": "request_rate",
    "output_tokens_per_sec": "output_token_rate",
    "input_tokens_per_sec": "input_token_rate",
    "total_tokens_per_sec": "total_token_rate",
}
MEDIA = frozenset({"images_per_sec", "videos_per_sec", "audios_per_sec"})
#: What 0.5.0 to 0.7.0 write, by place.
KEYS: dict[str, frozenset[str]] = {
    "": frozenset({"benchmark_time_seconds", "load_summary", "successes", "failures"}),
    "load_summary": frozenset(
        {"count", "schedule_delay", "send_duration", "requested_rate", "achieved_rate", "concurrency"}
    ),
    "successes": frozenset(
        {"count", "latency", "throughput", "request_size_bytes", "prompt_len", "prompt_tokens", "image", "video"}
        | {"audio", "output_len", "output_tokens", "token_count_mismatches", "client_fallback_requests"}
        | {"goodput_metrics"}
    ),
    "successes.latency": frozenset({TTFT, TPOT, ITL, NTPOT, E2E}),
    "successes.throughput": frozenset(RATE_NAMES) | MEDIA,
    "failures": frozenset({"count", "request_latency", "prompt_len", "prompt_tokens", "by_label"}),
}
#: Releases that write a file, from keys that only they have.
UP_TO_0_6, FROM_0_7 = "0.6 or older", "0.7"
STAGE_FILE = re.compile(r"stage_(\d+)_lifecycle_metrics\.json")
MARKER = re.compile(r"^=== (START|END)_(SUMMARY|STAGE_\d+|PARTIAL_BR_V0_2_STAGE_\d+) ===\s*$", re.MULTILINE)


def generation_of(document: Document) -> str | None:
    """Which line of releases wrote a stage or summary file: 0.7 renamed the prompt's length."""
    successes = document.get("successes")
    if not isinstance(successes, t.Mapping):
        return None
    if "prompt_len" in successes:
        return UP_TO_0_6
    return FROM_0_7 if "client_fallback_requests" in successes else None


def generation_of_config(config: Document) -> str | None:
    load = config.get("load")
    if not isinstance(load, t.Mapping) or "num_workers" not in load:
        return None
    return FROM_0_7 if "request_retries" in load else UP_TO_0_6


def is_native(document: t.Any) -> bool:
    return isinstance(document, t.Mapping) and {"load_summary", "successes", "failures"} <= set(document)


def read_stage(label: str, document: Document, config: Document, stage: int = 0) -> tuple[Run, Reader]:
    """A stage or summary file and the configuration beside it."""
    reader = Reader(label)
    _unknown_keys(reader, document)
    summary = reader.mapping("load_summary", document.get("load_summary"))
    successes = reader.mapping("successes", document.get("successes"))
    failures = reader.mapping("failures", document.get("failures"))
    good, failed = _count(reader, "successes", successes), _count(reader, "failures", failures)
    count = reader.count("load_summary.count", summary.get("count"))
    if count is not None and count != good + failed:
        evidence = f"load_summary.count is {count}, successes and failures are {good} and {failed}"
        fix = "Copy the results again; if they stay so, run the benchmark again."
        reader.note("BENCHMARK_INCONSISTENT", "load_summary.count", evidence, fix)
    run = Run(
        source=label,
        format="native",
        total=good + failed,
        failures=failed,
        seconds=reader.number("benchmark_time_seconds", document.get("benchmark_time_seconds")),
        load=_load(reader, document, config, summary, stage),
        lengths=_lengths(reader, successes),
        server_output=_server_output(reader, successes),
        latency=_latency(reader, successes) if good else {},
        rates=_rates(reader, successes),
        request_size=reader.statistics("successes.request_size_bytes", successes.get("request_size_bytes"), NAMES),
        by_label=_labels(reader, failures),
        mismatches=reader.count("successes.token_count_mismatches", successes.get("token_count_mismatches")) or 0,
        goodput=_goodput(reader, successes),
        constraints=_constraints(reader, config),
        config=config,
        document=document,
    )
    return run, reader


def _unknown_keys(reader: Reader, document: Document) -> None:
    for path, known in KEYS.items():
        place: t.Any = document
        for name in filter(None, path.split(".")):
            place = place.get(name) if isinstance(place, t.Mapping) else None
        unknown = sorted(map(str, set(place) - known)) if isinstance(place, t.Mapping) else []
        if unknown:
            fix = "Figures under such keys are not used. Check the release of inference-perf: 0.5 to 0.7 are known."
            reader.note("BENCHMARK_KEY_UNKNOWN", path, f"found {', '.join(unknown)}", fix, "warning")


def _count(reader: Reader, path: str, section: Document) -> int:
    if section.get("count") is None:
        evidence = f"{path}.count is absent"
        reader.note(
            "BENCHMARK_FIELD", f"{path}.count", evidence, "Give a stage file of inference-perf, as it wrote it."
        )
    return reader.count(f"{path}.count", section.get("count")) or 0


def _lengths(reader: Reader, successes: Document) -> dict[str, dict[str, float]]:
    sources = {
        "input_length": "prompt_len" if successes.get("prompt_len") is not None else "prompt_tokens",
        "output_length": "output_len",
    }
    found = {
        ours: reader.statistics(f"successes.{theirs}", successes.get(theirs), NAMES) for ours, theirs in sources.items()
    }
    return {name: statistics for name, statistics in found.items() if statistics}


def _server_output(reader: Reader, successes: Document) -> dict[str, float]:
    return reader.statistics("successes.output_tokens", successes.get("output_tokens"), NAMES)


def _latency(reader: Reader, successes: Document) -> dict[str, dict[str, float]]:
    section = reader.mapping("successes.latency", successes.get("latency"))
    found = {
        name: reader.statistics(f"successes.latency.{name}", section[name], NAMES)
        for name in LATENCIES
        if section.get(name) is not None
    }
    return {name: statistics for name, statistics in found.items() if "mean" in statistics}


def _rates(reader: Reader, successes: Document) -> dict[str, float]:
    section = reader.mapping("successes.throughput", successes.get("throughput"))
    found = {
        ours: reader.number(f"successes.throughput.{theirs}", section.get(theirs))
        for theirs, ours in RATE_NAMES.items()
    }
    return {name: rate for name, rate in found.items() if rate is not None}


def _labels(reader: Reader, failures: Document) -> tuple[Failure, ...]:
    found = []
    for label, entry in reader.mapping("failures.by_label", failures.get("by_label")).items():
        row = reader.mapping(f"failures.by_label.{label}", entry)
        messages = row.get("messages") or []
        first = messages[0] if isinstance(messages, list) and messages else {}
        text = str(first.get("message", "")) if isinstance(first, t.Mapping) else str(first)
        found.append(Failure(str(label), reader.count(f"failures.by_label.{label}.count", row.get("count")) or 0, text))
    return tuple(sorted(found, key=lambda failure: (-failure.count, failure.label)))


def _goodput(reader: Reader, successes: Document) -> dict[str, float]:
    section = reader.mapping("successes.goodput_metrics", successes.get("goodput_metrics"))
    found = {str(name): reader.number(f"successes.goodput_metrics.{name}", value) for name, value in section.items()}
    return {name: value for name, value in found.items() if value is not None}


def _section(config: Document, *path: str) -> Document:
    place: t.Any = config
    for name in path:
        place = place.get(name) if isinstance(place, t.Mapping) else None
    return place if isinstance(place, t.Mapping) else {}


def _constraints(reader: Reader, config: Document) -> dict[str, float]:
    section = _section(config, "report", "goodput", "constraints")
    found = {str(name): reader.number(f"config report.goodput.{name}", value) for name, value in section.items()}
    return {name: value for name, value in found.items() if value is not None}


def _load(reader: Reader, document: Document, config: Document, summary: Document, stage: int) -> Load:
    load = load_of_config(reader, config, stage)
    concurrency = load.concurrency or reader.number("load_summary.concurrency", summary.get("concurrency"))
    generation = generation_of(document) or load.generation
    return dataclasses.replace(load, concurrency=concurrency, generation=generation)


def load_of_config(reader: Reader, config: Document, stage: int) -> Load:
    """What the configuration asks of a stage."""
    stages = _section(config, "load").get("stages") or []
    asked = stages[stage] if isinstance(stages, list) and stage < len(stages) else {}
    asked = asked if isinstance(asked, t.Mapping) else {}
    data, server = _section(config, "data"), _section(config, "server")
    lifecycle = _section(config, "report", "request_lifecycle")
    side = "server" if lifecycle.get("use_server_output_tokens") else "client"
    return Load(
        generation=generation_of_config(config),
        model=server.get("model_name") or None,
        load_type=_section(config, "load").get("type"),
        data_type=data.get("type"),
        input_tokens=_distribution_mean(reader, data, "input_distribution"),
        output_tokens=_distribution_mean(reader, data, "output_distribution"),
        concurrency=reader.number("config load.stages.concurrency_level", asked.get("concurrency_level")),
        requests=reader.count("config load.stages.num_requests", asked.get("num_requests")),
        stage=stage,
        streaming=_section(config, "api").get("streaming"),
        ignore_eos=server.get("ignore_eos"),
        token_side=side if lifecycle else None,
    )


def _distribution_mean(reader: Reader, data: Document, name: str) -> float | None:
    return reader.number(f"config data.{name}.mean", _section(data, name).get("mean"))


def tool_checks(document: t.Any) -> tuple[ToolCheck, ...]:
    """``validation.json`` of 0.7: what the tool's own arithmetic says."""
    if not isinstance(document, t.Mapping):
        return ()
    reports = {"": document.get("global"), **_section(document, "reports")}
    return tuple(
        ToolCheck(severity, str(entry.get("check", "")), str(entry.get("message", "")), name)
        for name, section in reports.items()
        if isinstance(section, t.Mapping)
        for severity, key in (("error", "errors"), ("warning", "warnings"))
        for entry in section.get(key) or []
        if isinstance(entry, t.Mapping)
    )


def log_sections(label: str, text: str) -> tuple[dict[str, str], Reader]:
    """The files that the tool also prints between markers, from 0.6.0 on. A log may be rotated or cut."""
    reader, found = Reader(label), {}
    markers = list(MARKER.finditer(text))
    ends = {match[2]: match for match in markers if match[1] == "END"}
    for start in (match for match in markers if match[1] == "START"):
        end = ends.get(start[2])
        if end is None or end.start() < start.end():
            evidence = f"START_{start[2]} at {start.start()} has no END_{start[2]}; the log has {len(text)} characters"
            reader.note("BENCHMARK_TRUNCATED", start[2], evidence, "Copy the log again, or give the result folder.")
            continue
        found[start[2]] = text[start.end() : end.start()]
    return found, reader
