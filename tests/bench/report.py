# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how per-request files are read: MB/s and peak memory, against 300 MiB.

Two files are made in a temporary folder and removed afterwards: one of computed metrics with the 16.4 million intervals
that 8,192 requests of 2,000 tokens have, and 2 GB of the full form, which at that size has tens of gigabytes. Each is
read in a process of its own, so that its memory is its own; a second file of a quarter of the size shows that memory
does not grow with it.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import time
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".ansible" / "collections"))

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_requests import read_requests

REQUESTS, TOKENS = 8192, 2000
SLICE_BYTES = 2_000_000_000
LIMIT_BYTES = 300 << 20
CONSTRAINTS = {"ttft": 26.0, "tpot": 0.1}
#: Distinct requests; the file repeats them with times of their own.
DISTINCT = 16


def computed(dice: random.Random, start: float) -> dict[str, t.Any]:
    """A request as ``per_request_fields.computed_metrics`` writes it."""
    intervals = [dice.choice((0.0, dice.expovariate(6.3))) for _token in range(TOKENS - 1)]
    first, whole = dice.uniform(3, 90), sum(intervals)
    return {
        "start_time": start,
        "end_time": start + first + whole,
        "computed_metrics": {
            "request_latency": first + whole,
            "normalized_time_per_output_token": (first + whole) / TOKENS,
            "time_to_first_token": first,
            "time_per_output_token": whole / (TOKENS - 1),
            "inter_token_latency": whole / (TOKENS - 1),
            "inter_token_latencies": intervals,
            "input_tokens": TOKENS,
            "output_tokens": TOKENS,
            "ttft_slo_sec": None,
            "tpot_slo_sec": None,
        },
        "error": None,
    }


def full(dice: random.Random, start: float) -> dict[str, t.Any]:
    """A request with its prompt, its answer and each chunk of the stream."""
    chunk = '{"id": "x", "object": "text_completion", "model": "m", "choices": [{"index": 0, "text": " ab"}]}'
    times, now = [], start + dice.uniform(3, 90)
    for _token in range(TOKENS):
        times.append(now)
        now += dice.expovariate(12)
    return {
        "start_time": start,
        "end_time": now,
        "request": json.dumps(
            {"model": "m", "prompt": "".join(dice.choices("abcdefgh ", k=TOKENS * 4)), "stream": True}
        ),
        "response": f"data: {chunk}\n\n" * TOKENS,
        "info": {
            "request_metrics": {"text": {"input_tokens": TOKENS}, "image": None, "video": None, "audio": None},
            "response_metrics": {
                "output_tokens": TOKENS,
                "server_usage": {"prompt_tokens": TOKENS, "completion_tokens": TOKENS, "total_tokens": 2 * TOKENS},
                "response_chunks": [chunk] * TOKENS,
                "chunk_times": times,
                "output_token_times": times,
            },
            "lora_adapter": None,
            "input_tokens": TOKENS,
        },
        "error": None,
    }


def write(
    path: pathlib.Path, make: t.Callable[[random.Random, float], dict[str, t.Any]], *, size: int, count: int
) -> int:
    """A list of requests of up to ``size`` bytes or ``count`` entries; how many it has."""
    dice = random.Random(7)
    rows = [json.dumps(make(dice, 1000.0 + number), indent=2) for number in range(DISTINCT)]
    written = 0
    with path.open("w") as stream:
        stream.write("[\n")
        while written < count and stream.tell() < size:
            stream.write((",\n" if written else "") + rows[written % DISTINCT])
            written += 1
        stream.write("\n]\n")
    return written


def child(path: pathlib.Path) -> None:
    started, used = time.monotonic(), time.process_time()
    with path.open("rb") as stream:
        found, reader = read_requests(path.name, stream, CONSTRAINTS)
    seconds, used = time.monotonic() - started, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    row = {"requests": found.total, "intervals": found.intervals, "seconds": seconds, "cpu": used, "peak": peak}
    print(json.dumps({**row, "findings": [finding.text() for finding in reader.findings]}))


def measure(label: str, path: pathlib.Path, expected: int) -> tuple[str, int]:
    command = [sys.executable, __file__, "--read", str(path)]
    row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if row["requests"] != expected or row["findings"]:
        raise SystemExit(f"{label}: read {row['requests']} of {expected} requests: {row['findings']}")
    megabytes = path.stat().st_size / 1e6
    cells = (
        f"{label:<34}",
        f"{megabytes:8.0f} MB",
        f"{row['intervals'] / 1e6:8.1f} M",
        f"{row['seconds']:8.1f} s",
        f"{megabytes / row['seconds']:8.0f} MB/s",
        f"{megabytes / row['cpu']:8.0f} MB/s",
        f"{row['peak'] / (1 << 20):8.0f} MiB",
    )
    return "".join(cells), row["peak"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--read", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size, for a quick look")
    arguments = parser.parse_args()
    if arguments.read:
        child(arguments.read)
        return 0
    scale, worst = arguments.scale, 0
    titles = (("size", 11), ("intervals", 10), ("time", 10), ("rate", 13), ("of CPU time", 13), ("peak", 12))
    print(f"{'file':<34}" + "".join(f"{title:>{width}}" for title, width in titles))
    with tempfile.TemporaryDirectory() as folder:
        for label, make, size, count in (
            ("computed metrics, a quarter", computed, sys.maxsize, int(REQUESTS * scale / 4)),
            ("computed metrics, 8,192 x 2,000", computed, sys.maxsize, int(REQUESTS * scale)),
            ("full form, a quarter", full, int(SLICE_BYTES * scale / 4), sys.maxsize),
            ("full form, 2 GB of it", full, int(SLICE_BYTES * scale), sys.maxsize),
        ):
            path = pathlib.Path(folder) / "per_request_lifecycle_metrics.json"
            text, peak = measure(label, path, write(path, make, size=size, count=count))
            print(text, flush=True)
            worst = max(worst, peak)
    met = worst <= LIMIT_BYTES
    print(f"peak {worst / (1 << 20):.0f} MiB, at most {LIMIT_BYTES >> 20} MiB: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
