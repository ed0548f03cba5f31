# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads, and the configuration of inference-perf for each, as both of its generations take it.

Private to the collection: it may change at any time, do not import it from elsewhere.

Up to 0.6 the tool ignores keys that it does not know, so that a misspelled one changes the load without a word; from
0.7 on it refuses them. So nothing is written that the release at hand does not know.
"""

from __future__ import annotations

import dataclasses
import math
import re
import typing as t
import urllib.parse

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, Severity

#: Releases from which on the tool knows something.
FIXED_LENGTH, SEED, GOODPUT = (0, 5), (0, 5), (0, 5)
SERVER_TOKENS, COMPUTED_METRICS, LOAD_TIMEOUT = (0, 6, 1), (0, 7), (0, 7)
#: Output tokens above which the full per-request form fills the memory of the load generator.
PER_REQUEST_TOKENS = 1_000_000
#: With fewer waves of requests the first one, all prefill, decides the figures.
WAVES = 3
TOKEN_LIMITS = frozenset({"ttft", "tpot", "itl"})


@dataclasses.dataclass(frozen=True)
class Profile:
    """One stage of load: so many requests at once, each with a prompt and an answer of these lengths."""

    name: str
    concurrency: int
    requests: int
    input_tokens: int
    output_tokens: int
    streaming: bool = True
    #: Without one, aiohttp ends a request after 300 s, and at 2,048 in flight the slowest takes 260 s.
    request_timeout: float | None = 1800.0
    seed: int = 20260526
    per_request: bool = False
    max_workers: int = 16
    slo: t.Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def waves(self) -> float:
        return self.requests / self.concurrency

    @property
    def workers(self) -> int:
        """Processes that share the requests evenly. The tool would take the node's CPUs, whatever the pod's limit."""
        fitting = (16, 8, 4, 2, 1)
        return next(count for count in fitting if count <= max(1, self.max_workers) and self.concurrency % count == 0)


GUIDE = Profile("2048_concurrent_2k_isl_2k_osl", 2048, 8192, 2000, 2000, slo={"ttft": 26.0, "tpot": 0.1})
REHEARSAL = Profile("rehearsal", 16, 64, 200, 100, max_workers=2)
#: Requests at once per decode rank, from half empty to beyond what a rank's KV cache is planned for.
SWEEP = (32, 64, 96, 128, 160, 192, 224, 256)


def sweep(ranks: int, profile: Profile = GUIDE, per_rank: t.Sequence[int] = SWEEP) -> tuple[Profile, ...]:
    """The profile at each number of requests per decode rank, with as many waves."""
    sizes = [count * ranks for count in per_rank]
    return tuple(
        dataclasses.replace(
            profile, name=f"{profile.name}_at_{size}", concurrency=size, requests=math.ceil(profile.waves * size)
        )
        for size in sizes
    )


class ProfileError(ValueError):
    """A workload that cannot be made; str() says why."""


#: Names of workloads that are no profile of their own.
SWEEP_NAME = "sweep"
#: What a workload of the user's own may say.
CUSTOM: dict[str, type] = {
    "concurrency": int,
    "requests": int,
    "input_tokens": int,
    "output_tokens": int,
    "streaming": bool,
    "max_workers": int,
}
NAME = re.compile(r"[a-z0-9]([a-z0-9_.-]{0,60}[a-z0-9])?")


def named(names: t.Sequence[str], ranks: int, custom: t.Mapping[str, t.Mapping[str, t.Any]]) -> tuple[Profile, ...]:
    """The workloads of these names: the guide's, the rehearsal's, the sweep's several, or the user's own."""
    known: dict[str, tuple[Profile, ...]] = {profile.name: (profile,) for profile in (GUIDE, REHEARSAL)}
    known[SWEEP_NAME] = sweep(ranks)
    own = {name: (_custom(name, values),) for name, values in custom.items()}
    found: list[Profile] = []
    for name in dict.fromkeys(names):
        if name not in {**known, **own}:
            raise ProfileError(f"there is no workload {name!r}; known are {', '.join(sorted({**known, **own}))}")
        found += {**known, **own}[name]
    if not found:
        raise ProfileError("no workload is named")
    return tuple(found)


def _custom(name: str, values: t.Mapping[str, t.Any]) -> Profile:
    if not NAME.fullmatch(name):
        raise ProfileError(f"{name!r} is no name of a workload: use small letters, digits, _, . and -")
    unknown = sorted(set(values) - set(CUSTOM))
    if unknown:
        raise ProfileError(f"{name}: unknown keys {', '.join(unknown)}; known are {', '.join(CUSTOM)}")
    missing = [key for key in ("concurrency", "requests", "input_tokens", "output_tokens") if key not in values]
    if missing:
        raise ProfileError(f"{name}: {', '.join(missing)} missing")
    for key, value in values.items():
        # True is an int to Python, and no number of anything.
        fits = isinstance(value, bool) is (CUSTOM[key] is bool) and isinstance(value, CUSTOM[key])
        if not fits or (CUSTOM[key] is int and value < 1):
            wanted = "true or false" if CUSTOM[key] is bool else "a whole number of 1 or more"
            raise ProfileError(f"{name}.{key}: found {value!r}, expected {wanted}")
    return Profile(name, **values)


@dataclasses.dataclass(frozen=True)
class Target:
    """Where the load goes, and with which release of the tool."""

    model: str
    base_url: str
    #: A folder in the pod works without a network; the id of a model is fetched from its hub.
    tokenizer: str
    results: str
    release: str

    @property
    def version(self) -> tuple[int, ...]:
        numbers = self.release.removeprefix("v").split(".")
        return tuple(int(number) for number in numbers if number.isdigit())


def config(profile: Profile, target: Target) -> dict[str, t.Any]:
    """The tool's configuration file, with only what its release knows."""
    known = target.version
    stage = {"num_requests": profile.requests, "concurrency_level": profile.concurrency}
    timeout = {} if profile.request_timeout is None else {"request_timeout": profile.request_timeout}
    load: dict[str, t.Any] = {"type": "concurrent", "stages": [stage], "num_workers": profile.workers, **timeout}
    if known >= SEED:
        load["base_seed"] = profile.seed
    report: dict[str, t.Any] = {"request_lifecycle": _lifecycle(profile, known)}
    if profile.slo and known >= GOODPUT:
        report["goodput"] = {"constraints": dict(profile.slo)}
    tokenizer: dict[str, t.Any] = {"pretrained_model_name_or_path": target.tokenizer}
    if known >= LOAD_TIMEOUT:
        tokenizer["load_timeout"] = 600.0
    return {
        "load": load,
        "api": {"type": "completion", "streaming": profile.streaming},
        "server": {"type": "vllm", "model_name": target.model, "base_url": target.base_url, "ignore_eos": True},
        "tokenizer": tokenizer,
        "data": {
            "type": "random",
            "input_distribution": _length(profile.input_tokens, known),
            "output_distribution": _length(profile.output_tokens, known),
        },
        "report": report,
        "storage": {"local_storage": {"path": target.results}},
    }


def _length(tokens: int, known: tuple[int, ...]) -> dict[str, t.Any]:
    fixed = {"type": "fixed"} if known >= FIXED_LENGTH else {}
    return {**fixed, "min": tokens, "max": tokens, "mean": tokens, "std_dev": 0}


def _lifecycle(profile: Profile, known: tuple[int, ...]) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {"summary": True, "per_stage": True, "per_request": profile.per_request}
    if known >= SERVER_TOKENS:
        found["use_server_output_tokens"] = True
    if profile.per_request and known >= COMPUTED_METRICS:
        left_out = dict.fromkeys(("request", "response", "info", "response_chunks"), False)
        found["per_request_fields"] = {**left_out, "computed_metrics": True}
    return found


def profile_findings(profile: Profile, target: Target, deadline: float, seconds: float | None = None) -> list[Finding]:
    """What is wrong before any load is made. ``seconds`` is how long it is expected to take, where that is known."""
    return [*_of_target(target), *_of_load(profile, deadline, seconds), *_of_release(profile, target)]


def _finding(subject: str, evidence: str, fix: str, severity: Severity = "error") -> Finding:
    return Finding("BENCHMARK_PROFILE", severity, subject, evidence, fix)


def _of_target(target: Target) -> t.Iterator[Finding]:
    url = urllib.parse.urlsplit(target.base_url)
    if url.scheme not in ("http", "https") or not url.netloc or url.path:
        fix = "Give scheme, host and port alone, such as http://10.0.0.1:80; the tool appends /v1/completions."
        yield _finding("base_url", f"found {target.base_url!r}", fix)
    if len(target.version) < 2:
        evidence = f"found {target.release!r}, expected a release such as 0.6.1"
        yield _finding("release of inference-perf", evidence, "Give the release that the image holds.")


def _of_load(profile: Profile, deadline: float, seconds: float | None) -> t.Iterator[Finding]:
    size = f"{profile.requests} requests at {profile.concurrency} at once"
    if profile.requests < profile.concurrency:
        yield _finding(profile.name, size, "Send at least as many requests as shall be under way at once.", "warning")
    elif profile.waves < WAVES:
        fix = f"Send {WAVES * profile.concurrency} or more: the first wave is all prefill."
        yield _finding(profile.name, size, fix, "warning")
    if profile.request_timeout is None:
        fix = "Set request_timeout: without it aiohttp ends each request after 300 s."
        yield _finding(profile.name, "request_timeout is not set", fix, "warning")
    if seconds is not None and 0 < deadline < seconds:
        fix = "Give it more time: its processes are killed at the deadline, and what is measured by then is lost."
        yield _finding(profile.name, f"the deadline is {deadline:g} s, {seconds:g} s are expected", fix, "warning")
    limits = sorted(TOKEN_LIMITS & set(profile.slo))
    if limits and not profile.streaming:
        evidence = f"{', '.join(limits)} have limits, and answers are not streamed"
        yield _finding(profile.name, evidence, "Set streaming: true; without it there is no first token to time.")


def _of_release(profile: Profile, target: Target) -> t.Iterator[Finding]:
    known, tokens = target.version, profile.requests * profile.output_tokens
    if profile.per_request and known < COMPUTED_METRICS and tokens > PER_REQUEST_TOKENS:
        evidence = f"per_request with {tokens / 1e6:.1f} million output tokens and release {target.release}"
        fix = "Use inference-perf 0.7, which can write the metrics alone, or leave per_request out."
        yield _finding(profile.name, evidence, fix)
    if known and known < SERVER_TOKENS:
        evidence = f"release {target.release} counts output tokens anew on the client"
        yield _finding(profile.name, evidence, "Use inference-perf 0.6.1 or newer (harness image v0.7.8).", "warning")
