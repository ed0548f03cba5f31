# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from a run and the GPUs that served it: TPSG, goodput, balance of prefill and decode.

Private to the collection: it may change at any time, do not import it from elsewhere.

TPSG is output tokens per second and decode GPU; the same rate over all GPUs is another figure, and half of it here.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_requests import CONSTRAINTS, Requests
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import (
    E2E,
    QUANTILES,
    TPOT,
    TTFT,
    Run,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

#: What reports hold where the model of the GPUs is not known.
UNKNOWN = "unknown"
#: Beyond this share the client's count of tokens is not the server's.
RECOUNT = 0.01


@dataclasses.dataclass(frozen=True)
class Topology:
    """The GPUs that served a run, by role."""

    prefill_gpus: int
    decode_gpus: int
    total_gpus: int
    decode_ranks: int
    gpu: str | None = None
    precision: str | None = None


@dataclasses.dataclass(frozen=True)
class Figure:
    name: str
    label: str
    value: float
    unit: str
    how: str


@dataclasses.dataclass(frozen=True)
class Goodput:
    """Share of all requests within every limit. Without per-request figures only bounds of it are known."""

    limits: t.Mapping[str, float]
    least: float
    most: float
    source: str

    @property
    def exact(self) -> bool:
        return self.least == self.most


def topology_of(
    values: t.Mapping[str, t.Any], scenario: t.Mapping[str, t.Any]
) -> tuple[Topology | None, list[Finding]]:
    """The GPUs per role: as told, else from the stack of the report."""
    told = {name: value for name, value in values.items() if value is not None}
    counts = {"prefill": 0, "decode": 0}
    gpu, ranks = None, 0
    for engine in _engines(scenario):
        accelerator = engine.get("accelerator") or {}
        if engine.get("role") in counts:
            counts[engine["role"]] += int(accelerator.get("count") or 0)
            gpu = accelerator["model"] if accelerator.get("model") not in (None, "", UNKNOWN) else gpu
        if engine.get("role") == "decode":
            ranks += int((accelerator.get("parallelism") or {}).get("dp") or 0)
    prefill = told.get("prefill_gpus", counts["prefill"])
    decode = told.get("decode_gpus", counts["decode"])
    total = told.get("total_gpus", prefill + decode)
    if not prefill and not decode:
        evidence = "neither the report's stack nor topology tells them"
        fix = "Give topology.prefill_gpus and topology.decode_gpus; without them there is no TPSG."
        return None, [Finding("BENCHMARK_TOPOLOGY", "warning", "GPUs per role", evidence, fix)]
    if prefill <= 0 or decode <= 0 or prefill + decode > total:
        evidence = f"prefill_gpus {prefill}, decode_gpus {decode}, total_gpus {total}"
        fix = "Give GPUs of 1 or more per role whose sum is not above total_gpus."
        return None, [Finding("BENCHMARK_TOPOLOGY", "error", "GPUs per role", evidence, fix)]
    return Topology(
        prefill,
        decode,
        total,
        told.get("decode_ranks") or ranks or decode,
        told.get("gpu") or gpu,
        told.get("precision"),
    ), []


def _engines(scenario: t.Mapping[str, t.Any]) -> list[t.Mapping[str, t.Any]]:
    stack = scenario.get("stack")
    parts = (
        [entry.get("standardized") for entry in stack if isinstance(entry, t.Mapping)]
        if isinstance(stack, list)
        else []
    )
    return [part for part in parts if isinstance(part, t.Mapping) and part.get("kind") == "inference_engine"]


def derive(run: Run, topology: Topology | None) -> list[Figure]:
    if run.successes <= 0 or not run.rates.get("request_rate"):
        return []
    return [*_of_run(run), *(_of_gpus(run, topology) if topology else [])]


def _of_run(run: Run) -> list[Figure]:
    rate = run.rates["request_rate"]
    whole, first, each = run.mean(E2E), run.mean(TTFT), run.at(TPOT, "p50")
    found: list[Figure | None] = [
        Figure("duration", "Duration", run.duration, "s", "answered requests / requests/s") if run.duration else None,
        Figure("failure_share", "Failed", run.failures / run.total * 100, "%", "failed / sent requests"),
        _figure("prefill_share", "TTFT of the whole", (first, whole), unit="%", how="mean TTFT / mean E2E"),
        _figure("interactivity", "Per user, median", (1.0, each), unit="tokens/s", how="1 / median TPOT"),
    ]
    if whole:
        in_flight = rate * whole
        found.append(Figure("in_flight", "Requests in flight", in_flight, "", "requests/s x mean E2E"))
        parts = (in_flight, run.load.concurrency)
        found.append(_figure("occupancy", "Of the concurrency in use", parts, unit="%", how="in flight / concurrency"))
    if run.load.concurrency and each and run.rates.get("output_token_rate"):
        peak = run.load.concurrency / each
        loss = 100 * (1 - run.rates["output_token_rate"] / peak)
        found.append(Figure("steady_state", "With all slots decoding", peak, "tokens/s", "concurrency / median TPOT"))
        found.append(Figure("loss", "Lost to prefill and waves", loss, "%", "1 - output tokens/s / that"))
    return [figure for figure in found if figure is not None]


def _figure(name: str, label: str, ratio: tuple[float | None, float | None], *, unit: str, how: str) -> Figure | None:
    """A ratio where both of its parts are known; in percent where that is its unit."""
    above, below = ratio
    if above is None or not below:
        return None
    return Figure(name, label, above / below * (100 if unit == "%" else 1), unit, how)


def input_rate(run: Run) -> float | None:
    """Old images leave it out; the total has it."""
    told, total, output = (run.rates.get(f"{kind}_token_rate") for kind in ("input", "total", "output"))
    if told is not None or total is None or output is None:
        return told
    return total - output


def output_rate(run: Run) -> tuple[float | None, str]:
    """Output tokens per second, and how. A client that counts the text anew can be off by a factor of two."""
    told, rate = run.rates.get("output_token_rate"), run.rates.get("request_rate")
    client, server = run.mean("output_length"), run.server_output.get("mean")
    if told is None or rate is None or not client or not server or abs(client - server) <= RECOUNT * client:
        return told, "output tokens/s"
    return rate * server, "requests/s x output tokens by the server's count"


def _of_gpus(run: Run, topology: Topology) -> list[Figure]:
    figures = [*_rates_of_gpus(run, topology), *_balance(run, topology)]
    return [figure for figure in figures if figure is not None]


def _rates_of_gpus(run: Run, topology: Topology) -> list[Figure | None]:
    unit, (output, counted) = "tokens/s per GPU", output_rate(run)
    decode, prefill, total = topology.decode_gpus, topology.prefill_gpus, topology.total_gpus
    asked = run.load.output_tokens if run.config else None
    normalized = run.rates["request_rate"] * asked if asked else None
    how = "requests/s x configured output length / decode GPUs"
    return [
        _figure("tpsg_decode", "TPSG", (output, decode), unit=unit, how=f"{counted} / {decode} decode GPUs"),
        _figure("tpsg_total", "Over all GPUs", (output, total), unit=unit, how=f"{counted} / {total} GPUs"),
        _figure(
            "input_per_prefill_gpu",
            "Input",
            (input_rate(run), prefill),
            unit=unit,
            how=f"input tokens/s / {prefill} prefill GPUs",
        ),
        _figure("tpsg_normalized", "TPSG by configured length", (normalized, decode), unit=unit, how=how),
    ]


def _balance(run: Run, topology: Topology) -> list[Figure | None]:
    rate, ranks, whole, first = run.rates["request_rate"], topology.decode_ranks, run.mean(E2E), run.mean(TTFT)
    decoding = whole - first if whole and first is not None else None
    on_ranks = rate * decoding if decoding is not None else None
    how = f"requests/s x (mean E2E - mean TTFT) / {ranks} ranks"
    return [
        _figure("per_decode_rank", "Decoding per decode rank", (on_ranks, ranks), unit="requests", how=how),
        _figure(
            "balance", "Decoding per request in prefill", (decoding, first), unit="", how="(E2E - TTFT) / TTFT, means"
        ),
        _figure(
            "concurrency_per_rank",
            "Concurrency per decode rank",
            (run.load.concurrency, ranks),
            unit="requests",
            how=f"concurrency / {ranks} decode ranks",
        ),
    ]


def goodput(run: Run, limits: t.Mapping[str, float], requests: Requests | None) -> tuple[Goodput | None, list[Finding]]:
    """Failed requests are never good."""
    unknown = sorted(set(limits) - set(CONSTRAINTS))
    if unknown:
        evidence = f"found {', '.join(unknown)}, expected {', '.join(CONSTRAINTS)}"
        return None, [Finding("BENCHMARK_VALUE", "error", "slo", evidence, "Name the limits so, in seconds.")]
    if not limits or run.total <= 0:
        return None, []
    missing = [name for name in limits if CONSTRAINTS[name] not in run.latency]
    if missing and run.successes > 0:
        evidence = f"{', '.join(missing)} limit what the report does not have"
        fix = "Set api.streaming: true, or leave these limits out."
        return None, [Finding("BENCHMARK_NOT_STREAMED", "warning", "slo", evidence, fix)]
    return Goodput(limits, *_share(run, limits, requests)), []


def _share(run: Run, limits: t.Mapping[str, float], requests: Requests | None) -> tuple[float, float, str]:
    """The least and the most that it can be, and what says so."""
    answered = run.successes / run.total
    told = run.goodput.get("goodput_percentage")
    if run.successes <= 0:
        return 0.0, 0.0, "no request was answered"
    if requests is not None and requests.total:
        share = requests.good / requests.total
        return share, share, "per-request file"
    if told is not None and dict(limits) == dict(run.constraints):
        share = told / 100 * answered
        return share, share, "goodput of the load generator"
    bounds = [_attained(run.latency[CONSTRAINTS[name]], limit) for name, limit in limits.items()]
    least = max(0.0, 1 - sum(1 - low for low, _high in bounds)) * answered
    return least, min(high for _low, high in bounds) * answered, "percentiles"


def _attained(values: t.Mapping[str, float], limit: float) -> tuple[float, float]:
    """Between which shares of the requests that meet a limit the percentiles place it."""
    within = [share for statistic, share in QUANTILES.items() if statistic in values and values[statistic] <= limit]
    beyond = [share for statistic, share in QUANTILES.items() if statistic in values and values[statistic] > limit]
    return (max(within, default=0.0), min(beyond, default=1.0))


def describe(goodput_of: Goodput) -> str:
    limits = ", ".join(f"{name} <= {limit:g} s" for name, limit in goodput_of.limits.items())
    if goodput_of.exact:
        return f"{goodput_of.least:.1%} of requests ({limits}; {goodput_of.source})"
    return f"{goodput_of.least:.1%} to {goodput_of.most:.1%} of requests ({limits}; bounds from {goodput_of.source})"
