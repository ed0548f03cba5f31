# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads per-request files of any size in one pass, one request at a time.

Private to the collection: it may change at any time, do not import it from elsewhere.

Such a file has tens of gigabytes at full size, and the intervals between tokens alone are 16 million. So nothing is
kept but histograms.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import itertools
import math
import operator
import struct
import sys
import traceback
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import (
    E2E,
    ITL,
    LATENCIES,
    NTPOT,
    QUANTILES,
    TPOT,
    TTFT,
    Reader,
    Run,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

try:
    import ijson
except ImportError:
    HAS_IJSON = False
    IJSON_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    HAS_IJSON = True
    IJSON_IMPORT_ERROR = None

#: Keys of goodput constraints -> the latency that each limits.
CONSTRAINTS = {"ttft": TTFT, "tpot": TPOT, "itl": ITL, "ntpot": NTPOT, "request_latency": E2E}
READ_BYTES = 1 << 18
#: Means of the file and of the aggregates come from the same values.
TOLERANCE = 0.005
_UPPER_HALF = 1 if sys.byteorder == "little" else 0
_NEGATIVE, _NOT_FINITE = 0x8000, 0x7F80


class Histogram:
    """Counts per upper half of a 32-bit float: bins of 0.8 % of their value, so quantiles are right to 0.4 %.

    The conversion runs in C for a whole list, which no logarithm in Python does.
    """

    def __init__(self) -> None:
        self.bins: collections.Counter[int] = collections.Counter()
        self.sum = 0.0
        self.least, self.most = math.inf, -math.inf

    def add(self, values: t.Sequence[float]) -> None:
        if not values:
            return
        halves = array.array("H", array.array("f", values).tobytes())
        self.bins.update(halves[_UPPER_HALF::2])
        self.sum += sum(values)
        lowest, highest = min(values), max(values)
        self.least, self.most = min(self.least, lowest), max(self.most, highest)

    @property
    def count(self) -> int:
        return self.bins.total()

    @property
    def impossible(self) -> int:
        """How many values are negative, infinite or no numbers."""
        return sum(number for half, number in self.bins.items() if half & _NEGATIVE or half >= _NOT_FINITE)

    def points(self) -> list[tuple[float, int]]:
        """Middle of each bin and how many values it has, ascending."""
        return [(_middle(half), number) for half, number in sorted(self.bins.items())]

    def quantile(self, share: float) -> float:
        if share <= 0 or share >= 1:
            return self.least if share <= 0 else self.most
        rank, seen = share * (self.count - 1), 0
        for value, number in self.points():
            seen += number
            if seen > rank:
                return min(max(value, self.least), self.most)
        return self.most

    def statistics(self) -> dict[str, float]:
        if not self.count:
            return {}
        return {"mean": self.sum / self.count, **{name: self.quantile(share) for name, share in QUANTILES.items()}}


def _middle(half: int) -> float:
    return 0.0 if half == 0 else float(struct.unpack(">f", struct.pack(">HH", half, 0x8000))[0])


@dataclasses.dataclass
class Requests:
    """What one pass over the file has found."""

    total: int = 0
    failures: int = 0
    intervals: int = 0
    good: int = 0
    latency: dict[str, Histogram] = dataclasses.field(default_factory=dict)
    attained: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    client_tokens: int = 0
    server_tokens: int | None = None
    started: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
    ended: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)

    @property
    def successes(self) -> int:
        return self.total - self.failures

    def in_flight(self) -> list[tuple[int, int]]:
        """Second since the first request, and how many requests are under way at its end."""
        if not self.started:
            return []
        first, last = min(self.started), max(*self.started, *self.ended)
        changes = (self.started[second] - self.ended[second] for second in range(first, last + 1))
        return list(enumerate(itertools.accumulate(changes)))


def read_requests(label: str, stream: t.BinaryIO, constraints: t.Mapping[str, float]) -> tuple[Requests, Reader]:
    """One pass over the file; what is wrong with it is noted."""
    reader, found = Reader(label), Requests()
    limits = {CONSTRAINTS[name]: limit for name, limit in constraints.items() if name in CONSTRAINTS}
    try:
        for record in ijson.items(stream, "item", use_float=True, buf_size=READ_BYTES):
            if not isinstance(record, dict):
                evidence = f"entry {found.total} is {type(record).__name__}, expected a mapping"
                reader.note("BENCHMARK_PER_REQUEST", "", evidence, "Give the file as inference-perf wrote it.")
                break
            _add(found, record, limits)
    except ijson.IncompleteJSONError as error:
        evidence = f"it ends or breaks after {found.total} requests: {_first_line(error)}"
        reader.note("BENCHMARK_TRUNCATED", "", evidence, "Copy the file again and compare its checksum.")
    except (ijson.JSONError, ValueError, TypeError) as error:
        evidence = f"entry {found.total} cannot be read: {_first_line(error)}"
        reader.note("BENCHMARK_PER_REQUEST", "", evidence, "Copy the file again; NaN and infinity are no JSON.")
    for name, histogram in found.latency.items():
        if histogram.impossible:
            evidence = f"{histogram.impossible} of {histogram.count} values are negative or not finite"
            reader.note("BENCHMARK_VALUE", name, evidence, "Run the benchmark again: these figures describe no run.")
    return found, reader


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


def _add(found: Requests, record: dict[str, t.Any], limits: t.Mapping[str, float]) -> None:
    found.total += 1
    start, end = record.get("start_time"), record.get("end_time")
    if isinstance(start, (int, float)) and isinstance(end, (int, float)):
        found.started[math.floor(start)] += 1
        found.ended[math.floor(end)] += 1
    if record.get("error") is not None:
        found.failures += 1
        return
    metrics = record.get("computed_metrics")
    values, intervals = _computed(metrics) if isinstance(metrics, dict) else _derived(record)
    for name, value in values.items():
        found.latency.setdefault(name, Histogram()).add((value,))
    if intervals:
        found.intervals += len(intervals)
        found.latency.setdefault(ITL, Histogram()).add(intervals)
        values[ITL] = sum(intervals) / len(intervals)
    _count_tokens(found, record, metrics)
    attained = {name: name in values and values[name] <= limit for name, limit in limits.items()}
    found.attained.update(name for name, met in attained.items() if met)
    found.good += all(attained.values())


def _computed(metrics: dict[str, t.Any]) -> tuple[dict[str, float], list[float]]:
    values = {name: metrics[name] for name in (TTFT, TPOT, NTPOT, E2E) if metrics.get(name) is not None}
    return values, metrics.get("inter_token_latencies") or []


def _derived(record: dict[str, t.Any]) -> tuple[dict[str, float], list[float]]:
    """The same figures from the times of the tokens, as the tool defines them."""
    response = (record.get("info") or {}).get("response_metrics") or {}
    start, end = float(record["start_time"]), float(record["end_time"])
    tokens, times = response.get("output_tokens"), response.get("output_token_times") or []
    values = {E2E: end - start}
    if tokens:
        values[NTPOT] = values[E2E] / tokens
    if not times:
        return values, []
    values[TTFT] = times[0] - start
    if len(times) > 1:
        values[TPOT] = (times[-1] - times[0]) / (len(times) - 1)
    return values, list(map(operator.sub, times[1:], times))


def _count_tokens(found: Requests, record: dict[str, t.Any], metrics: t.Any) -> None:
    response = (record.get("info") or {}).get("response_metrics") or {}
    client = metrics.get("output_tokens") if isinstance(metrics, dict) else response.get("output_tokens")
    found.client_tokens += int(client or 0)
    server = (response.get("server_usage") or {}).get("completion_tokens")
    if server is not None:
        found.server_tokens = (found.server_tokens or 0) + int(server)


def check_requests(run: Run, found: Requests, label: str) -> list[Finding]:
    """Whether the file and the aggregates are of one run."""
    reader = Reader(label)
    fix = "Copy the results again into an empty folder; if they stay so, trust neither."
    if (found.total, found.failures) != (run.total, run.failures):
        evidence = (
            f"it has {found.total} requests and {found.failures} failures, {run.source} {run.total} and {run.failures}"
        )
        reader.note("BENCHMARK_PER_REQUEST", "", evidence, fix)
        return reader.findings
    for name in LATENCIES:
        told, histogram = run.at(name, "mean"), found.latency.get(name)
        if told is None or histogram is None or not histogram.count:
            continue
        mean = histogram.sum / histogram.count
        if abs(mean - told) > TOLERANCE * abs(told):
            evidence = f"its mean is {mean:.6g} {LATENCIES[name]}, that of {run.source} {told:.6g}"
            reader.note("BENCHMARK_PER_REQUEST", name, evidence, fix)
    return reader.findings


def missing_package() -> Finding | None:
    """Without ijson everything but the per-request file can be read."""
    if HAS_IJSON:
        return None
    fix = "Install ijson into the Python environment of Ansible: `make setup`."
    return Finding("BENCHMARK_PACKAGE_MISSING", "warning", "Python package ijson", "it cannot be imported", fix)
