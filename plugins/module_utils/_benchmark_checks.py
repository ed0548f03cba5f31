# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the figures of a run can be true, and can be trusted.

Private to the collection: it may change at any time, do not import it from elsewhere.

inference-perf exits with 0 when every request failed, and when it has sent none. Only the figures tell.
"""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_report import EMPTY_EXPERIMENT
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import (
    E2E,
    ITL,
    QUANTILES,
    STREAMED,
    TPOT,
    TTFT,
    Run,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, Severity

Findings = t.Iterator[Finding]

#: Rates and means are computed from the same values, so that only rounding separates them.
ARITHMETIC = 0.001
#: E2E = TTFT + TPOT * (n - 1) holds per request; on means the lengths' spread adds some percent (3 % at 2k/2k).
IDENTITY = 0.10
#: Before January 2026 the tool rounded the concurrency up over its workers: 2064 for 2048 (inference-perf #320).
OVERSHOOT = 0.05
COUNTS = 0.01
SLACK = 1e-9
#: Several tokens of one read of the socket share a time, so that most intervals are microseconds.
DEGENERATE = 0.1
#: What old harness images write where they know nothing; the first is the sha256 of "null".
PLACEHOLDERS = {
    ("scenario", "load", "metadata", "cfg_id"): "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b",
    ("run", "eid"): EMPTY_EXPERIMENT,
}
#: Complaints of the tool that say nothing about the run, or that our own checks make with more detail.
ECHOES = (
    *("negative minimum", "token count disagrees", "client output_tokens diverging"),
    # With per_request_fields of computed_metrics alone there are no responses to look at.
    "carry no response metrics",
)
RERUN = "Run the benchmark again."


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a run may have. ``failure_share`` of requests; ``tokens`` whether latencies of tokens are needed."""

    failure_share: float = 0.01
    tokens: bool = False


def check(run: Run, limits: Limits = Limits()) -> list[Finding]:
    findings = [finding for one in CHECKS for finding in one(run, limits)]
    if any(finding.code == "BENCHMARK_ALL_FAILED" for finding in findings):
        return [finding for finding in findings if finding.code not in {"BENCHMARK_NOT_STREAMED"}]
    return findings


def _at(run: Run, path: str) -> str:
    return f"{run.source}: {path}"


def check_requests(run: Run, limits: Limits) -> Findings:
    shares = f"{run.failures} of {run.total} requests"
    causes = "; ".join(f"{failure.count} x {failure.label}: {failure.message}" for failure in run.by_label[:3])
    why = f"; {causes}" if causes else ""
    fix = "Check the endpoint with playbooks/verify.yml, then run the benchmark again."
    if run.total <= 0:
        evidence = "no request was sent"
        fix = "Read the load generator's log: a tokenizer that needs the network, or a wrong configuration, sends none."
        yield Finding("BENCHMARK_INCOMPLETE", "error", _at(run, "requests"), evidence, fix)
    elif run.failures > run.total:
        evidence = f"{run.failures} failures of {run.total} requests"
        yield Finding(
            "BENCHMARK_INCONSISTENT", "error", _at(run, "requests.failures"), evidence, "Copy the results again."
        )
    elif run.failures == run.total:
        yield Finding("BENCHMARK_ALL_FAILED", "error", _at(run, "requests"), f"{shares} failed{why}", fix)
    elif run.failures:
        share = run.failures / run.total
        severity: Severity = "error" if share > limits.failure_share else "warning"
        evidence = f"{shares} failed ({share:.2%}, allowed are {limits.failure_share:.2%}){why}"
        fix += " Latencies and rates describe only the requests that were answered."
        yield Finding("BENCHMARK_REQUESTS_FAILED", severity, _at(run, "requests"), evidence, fix)


def check_complete(run: Run, limits: Limits) -> Findings:
    asked = run.load.requests
    if asked is not None and run.total != asked and run.total > 0:
        evidence = f"{run.total} requests of {asked} were sent"
        # inference-perf 0.7.0 drops requests whose prompt it cannot make, counts them nowhere and exits with 0.
        fix = (
            "Its deadline or an interrupt has cut it, or prompts could not be made: look for 'Failed to get request' "
            "in its log. At 2,048 in flight 8,192 requests take 742 s."
        )
        yield Finding("BENCHMARK_INCOMPLETE", "error", _at(run, "requests.total"), evidence, fix)


def _differ(one: float, other: float, tolerance: float) -> bool:
    return abs(one - other) > tolerance * max(abs(one), abs(other))


def check_rates(run: Run, limits: Limits) -> Findings:
    """Rates, counts, lengths and seconds are tied to each other."""
    if run.successes <= 0:
        return
    rate = run.rates.get("request_rate")
    missing = [name for name in ("request_rate", "output_token_rate") if not run.rates.get(name)]
    for name in missing:
        evidence = f"it is {'0' if name in run.rates else 'absent'} although {run.successes} requests were answered"
        yield Finding("BENCHMARK_INCONSISTENT", "error", _at(run, f"throughput.{name}"), evidence, RERUN)
    if rate is None or missing:
        return
    if run.seconds and _differ(rate * run.seconds, run.successes, COUNTS):
        evidence = f"{rate:.6g}/s for {run.seconds:.6g} s are {rate * run.seconds:.1f} requests, not {run.successes}"
        yield Finding("BENCHMARK_INCONSISTENT", "error", _at(run, "throughput.request_rate"), evidence, RERUN)
    yield from _check_token_rates(run, rate)


def _check_token_rates(run: Run, rate: float) -> Findings:
    # With use_server_output_tokens the rate follows the server's count, else the client's.
    lengths = {
        "input_token_rate": [run.mean("input_length")],
        "output_token_rate": [run.mean("output_length"), run.server_output.get("mean")],
    }
    for name, means in lengths.items():
        told, known = run.rates.get(name), [mean for mean in means if mean is not None]
        if told is None or not known:
            continue
        products = [rate * mean for mean in known]
        if all(_differ(told, product, ARITHMETIC) for product in products):
            expected = " or ".join(f"{product:.6g}" for product in products)
            evidence = f"found {told:.6g} tokens/s, requests/s times mean length are {expected}"
            yield Finding("BENCHMARK_INCONSISTENT", "error", _at(run, f"throughput.{name}"), evidence, RERUN)
    parts = [run.rates.get(name) for name in ("total_token_rate", "input_token_rate", "output_token_rate")]
    total, taken, given = parts
    if total is not None and taken is not None and given is not None and _differ(total, taken + given, ARITHMETIC):
        evidence = f"found {total:.6g} tokens/s, input and output are {taken + given:.6g}"
        yield Finding("BENCHMARK_INCONSISTENT", "error", _at(run, "throughput.total_token_rate"), evidence, RERUN)


def check_distributions(run: Run, limits: Limits) -> Findings:
    """Percentiles ascend, and a mean lies between the extremes."""
    for name, values in {**run.lengths, **run.latency}.items():
        steps = [(statistic, values[statistic]) for statistic in QUANTILES if statistic in values]
        for (low, one), (high, other) in itertools.pairwise(steps):
            if one > other + SLACK * abs(other):
                evidence = f"{low} is {one:.6g}, {high} is {other:.6g}"
                yield Finding("BENCHMARK_INCONSISTENT", "error", _at(run, name), evidence, RERUN)
        mean = values.get("mean")
        least, most = values.get("min"), values.get("max")
        if mean is not None and (
            (least is not None and mean < least - SLACK * abs(least))
            or (most is not None and mean > most + SLACK * abs(most))
        ):
            evidence = f"the mean {mean:.6g} is outside of {least} to {most}"
            yield Finding("BENCHMARK_INCONSISTENT", "error", _at(run, f"{name}.mean"), evidence, RERUN)


def check_identity(run: Run, limits: Limits) -> Findings:
    """End to end is the first token and the others after it, and no more requests are under way than were asked."""
    whole, first, each = (run.mean(name) for name in (E2E, TTFT, TPOT))
    # With use_server_output_tokens the time per token is per token of the server's count.
    counts = [count for count in (run.mean("output_length"), run.server_output.get("mean")) if count]
    if whole and first is not None and each is not None and counts:
        sums = [first + each * (count - 1) for count in counts]
        if all(_differ(whole, one, IDENTITY) for one in sums):
            expected = " or ".join(f"{one:.6g}" for one in sums)
            evidence = f"its mean is {whole:.6g} s, TTFT and TPOT make {expected} s"
            fix = "Compare by requests/s; the count of tokens does not fit the times."
            yield Finding("BENCHMARK_INCONSISTENT", "warning", _at(run, E2E), evidence, fix)
    rate, limit = run.rates.get("request_rate"), run.load.concurrency
    if whole and rate and limit and rate * whole > limit * (1 + OVERSHOOT):
        evidence = f"{rate * whole:.0f} requests are under way on average, {limit:.0f} were asked for"
        yield Finding(
            "BENCHMARK_INCONSISTENT",
            "warning",
            _at(run, "concurrency"),
            evidence,
            "Check num_workers: it must divide it.",
        )


def check_tokens(run: Run, limits: Limits) -> Findings:
    if run.successes <= 0:
        return
    absent = [name for name in STREAMED if name not in run.latency]
    if absent:
        evidence = f"{', '.join(absent)} are absent; streaming is {run.load.streaming}"
        fix = "Set api.streaming: true, then run the benchmark again."
        severity: Severity = "error" if limits.tokens else "warning"
        yield Finding("BENCHMARK_NOT_STREAMED", severity, _at(run, "latency"), evidence, fix)
    half, mean = run.at(ITL, "p50"), run.mean(ITL)
    if half is not None and mean and half < DEGENERATE * mean:
        evidence = f"half of the intervals are {half * 1e6:.3g} us or less, their mean is {mean * 1e3:.4g} ms"
        fix = "Use TPOT. Tokens that arrive in one read of the socket share one time."
        yield Finding("BENCHMARK_ITL_DEGENERATE", "warning", _at(run, ITL), evidence, fix)


def check_recount(run: Run, limits: Limits) -> Findings:
    client, server = run.mean("output_length"), run.server_output.get("mean")
    differs = client is not None and server is not None and _differ(client, server, COUNTS)
    if not differs and not run.mismatches:
        return
    means = (
        f"the client counts {client:.6g} output tokens per request, the server {server:.6g}"
        if server and client
        else ""
    )
    requests = f"{run.mismatches} requests differ" if run.mismatches else ""
    fix = (
        "Set report.request_lifecycle.use_server_output_tokens: true (inference-perf 0.6.1 or newer), or compare by "
        "requests/s times the configured output length."
    )
    severity: Severity = "warning"
    if run.load.token_side == "server":
        severity, fix = "info", "None is needed: rates and times per token follow the server's count."
    evidence = "; ".join(filter(None, (means, requests)))
    yield Finding("BENCHMARK_TOKEN_RECOUNT", severity, _at(run, "output_length"), evidence, fix)


def check_lengths(run: Run, limits: Limits) -> Findings:
    output = run.server_output.get("mean") or run.mean("output_length")
    pairs = (
        ("input_length", run.load.input_tokens, run.mean("input_length")),
        ("output_length", run.load.output_tokens, output),
    )
    for name, asked, seen in pairs:
        if asked and seen and _differ(asked, seen, COUNTS):
            evidence = f"{asked:.6g} tokens were asked for, {seen:.6g} are measured"
            fix = "Set type: fixed in the distribution (inference-perf 0.5.0 or newer) and server.ignore_eos: true."
            yield Finding("BENCHMARK_LENGTH", "warning", _at(run, name), evidence, fix)


def check_placeholders(run: Run, limits: Limits) -> Findings:
    if not run.format.startswith("report 0.2"):
        return
    places = {"run": run.run, "scenario": run.scenario}
    seen = []
    for path, placeholder in PLACEHOLDERS.items():
        if _value(places, path) == placeholder:
            seen.append((".".join(path), f"{placeholder[:8]}... is what old images write for every run"))
    standardized = ("scenario", "load", "standardized")
    rate = _value(places, (*standardized, "rate_qps"))
    if isinstance(rate, (int, float)) and rate == run.total:
        seen.append((".".join((*standardized, "rate_qps")), f"{rate:g} is the number of requests, no rate"))
    if not _value(places, ("run", "time")):
        seen.append(("run.time", "it is empty"))
    if run.scenario and not _value(places, (*standardized, "tool_version")):
        seen.append((".".join((*standardized, "tool_version")), "it is empty"))
    for name, evidence in seen:
        fix = "Do not group or compare by it. Reports that this collection writes have the real value."
        yield Finding("BENCHMARK_PLACEHOLDER", "warning", _at(run, name), evidence, fix)


def _value(place: t.Any, path: t.Sequence[str]) -> t.Any:
    for name in path:
        place = place.get(name) if isinstance(place, t.Mapping) else None
    return place


def check_tool(run: Run, limits: Limits) -> Findings:
    for entry in run.tool_checks:
        if entry.severity != "error" and any(echo in entry.message for echo in ECHOES):
            continue
        severity: Severity = "error" if entry.severity == "error" else "warning"
        evidence = f"{entry.check}: {entry.message}"
        subject = entry.file or run.source
        yield Finding("BENCHMARK_TOOL_CHECK", severity, f"{subject}: validation.json", evidence, RERUN)


CHECKS: tuple[t.Callable[[Run, Limits], Findings], ...] = (
    check_requests,
    check_complete,
    check_rates,
    check_distributions,
    check_identity,
    check_tokens,
    check_recount,
    check_lengths,
    check_placeholders,
    check_tool,
)
