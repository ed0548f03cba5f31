# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the Prometheus text format and tells what a model server has served.

Private to the collection: it may change at any time, do not import it from elsewhere.

Standard library only and free of relative imports: the client pod of the proof mounts this very file, so that both
sides count alike. Format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import math
import re
import typing as t
from dataclasses import dataclass, field

SUCCESS = "vllm:request_success_total"
PROMPT_TOKENS = "vllm:prompt_tokens_total"
#: What the proof keeps of a scrape; histograms and process metrics would only swell the report.
KEPT = (
    SUCCESS,
    PROMPT_TOKENS,
    "vllm:generation_tokens_total",
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "process_start_time_seconds",
)
#: What the endpoint picker decided, by decision_type; releases that know both names count under both.
DECISIONS = ("llm_d_epp_disagg_decision_total", "llm_d_inference_scheduler_disagg_decision_total")
IN_FLIGHT = ("vllm:num_requests_running", "vllm:num_requests_waiting")

#: llm-d-inference-sim names the label finish_reason and counts a prompt that it prefilled for another pod as
#: remote_decode. vLLM names it finished_reason and has no such value: a prefilled prompt ends by its one-token limit.
SIMULATOR_REASON = "finish_reason"
VLLM_REASON = "finished_reason"
REMOTE = "remote_decode"
NOT_SERVED = frozenset({"abort", "error"})

_LINE = re.compile(r"^(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)(?:\s+-?\d+)?\s*$")
_LABEL = re.compile(r'\s*(?P<key>[a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"(?P<value>(?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


@dataclass(frozen=True)
class Sample:
    name: str
    value: float
    labels: t.Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Served:
    """What one process has counted since it started.

    ``prefilled`` counts prompts prefilled for another pod, ``decoded`` requests answered to the end. vLLM does not tell
    the two apart, so that there both are ``total`` and the pod's role decides which one means something.
    """

    total: float = 0.0
    prefilled: float = 0.0
    decoded: float = 0.0
    in_flight: float = 0.0
    prompt_tokens: float = 0.0
    started: float | None = None
    ranks: t.Mapping[str, float] = field(default_factory=dict)


def kept_lines(text: str) -> list[str]:
    """The lines of a scrape that the proof needs."""
    kept = (*KEPT, *DECISIONS)
    return [line for line in text.splitlines() if line.startswith(kept) and not line.startswith("#")]


def parse(lines: t.Iterable[str]) -> list[Sample]:
    """Samples of the text; comments, blank and malformed lines are passed over, as the format asks of a reader."""
    found = (_sample(line) for line in lines)
    return [sample for sample in found if sample is not None]


def served(samples: t.Iterable[Sample]) -> Served:
    """Add up what a model server has served; a counter that has not been touched yet is absent and counts as 0."""
    sums = dict.fromkeys(("total", "prefilled", "decoded", "in_flight", "prompt_tokens"), 0.0)
    started = None
    ranks: dict[str, float] = {}
    for sample in samples:
        for key, value in _shares(sample).items():
            sums[key] += value
        if sample.name == "process_start_time_seconds":
            started = sample.value
        if sample.name == SUCCESS and "engine" in sample.labels:
            rank = sample.labels["engine"]
            ranks[rank] = ranks.get(rank, 0.0) + _success(sample)["total"]
    return Served(**sums, started=started, ranks=ranks)


def decided(samples: t.Iterable[Sample]) -> dict[str, float]:
    """How often an endpoint picker took each decision; one that it has not taken yet is absent."""
    found: dict[str, dict[str, float]] = {name: {} for name in DECISIONS}
    for sample in samples:
        kind = sample.labels.get("decision_type")
        if kind and sample.name in found:
            found[sample.name][kind] = found[sample.name].get(kind, 0.0) + sample.value
    return next((counts for counts in found.values() if counts), {})


def started(samples: t.Iterable[Sample]) -> float | None:
    """When the process began, by its own account."""
    return next((sample.value for sample in samples if sample.name == "process_start_time_seconds"), None)


def model_names(samples: t.Iterable[Sample]) -> frozenset[str]:
    """The names under which the server serves its model."""
    return frozenset(name for sample in samples if (name := sample.labels.get("model_name")))


def _shares(sample: Sample) -> dict[str, float]:
    if sample.name == SUCCESS:
        return _success(sample)
    if sample.name in IN_FLIGHT:
        return {"in_flight": sample.value}
    if sample.name == PROMPT_TOKENS:
        return {"prompt_tokens": sample.value}
    return {}


def _success(sample: Sample) -> dict[str, float]:
    count = sample.value
    if SIMULATOR_REASON in sample.labels:
        remote = sample.labels[SIMULATOR_REASON] == REMOTE
        return {"total": count, "prefilled" if remote else "decoded": count}
    if sample.labels.get(VLLM_REASON) in NOT_SERVED:
        return {"total": 0.0}
    return {"total": count, "prefilled": count, "decoded": count}


def _sample(line: str) -> Sample | None:
    match = None if line.startswith("#") else _LINE.match(line)
    if match is None:
        return None
    try:
        value = float(match["value"])
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    labels = {m["key"]: _unescape(m["value"]) for m in _LABEL.finditer(match["labels"] or "")}
    return Sample(match["name"], value, labels)


def _unescape(text: str) -> str:
    return re.sub(r'\\[\\"n]', lambda match: _ESCAPES[match.group()], text)
