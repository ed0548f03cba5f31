# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recorded results of benchmarks, and runs made of a few numbers."""

from __future__ import annotations

import json
import shutil
import typing as t
from pathlib import Path

import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_folder import read
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import E2E, TPOT, TTFT, Load, Run

DATA = Path(__file__).parents[3] / "data" / "benchmark"
GUIDE = DATA / "guide-cks-h200.report-v0.2.yaml"
OLD, NEW = DATA / "inference-perf-0.6.1", DATA / "inference-perf-0.7.0"
NOT_STREAMED, ALL_FAILED = DATA / "inference-perf-0.7.0-nonstreaming", DATA / "inference-perf-0.7.0-all-failed"
SERVER_TOKENS, DROPPED = DATA / "inference-perf-0.7.0-server-tokens", DATA / "inference-perf-0.7.0-dropped"
LOG = DATA / "inference-perf-0.7.0.stdout.log"
STAGE = "stage_0_lifecycle_metrics.json"
LOAD = Load(
    model="m",
    tool_version="0.7.0",
    load_type="concurrent",
    input_tokens=2000,
    output_tokens=2000,
    concurrency=2048,
    requests=8192,
    streaming=True,
    token_side="server",
)


def recorded(path: Path) -> Run:
    run = read(path).run
    assert run is not None
    return run


def made(rate: float = 11.0, **changes: t.Any) -> Run:
    """A run whose latencies follow from its rate."""
    latency = {
        TTFT: {"mean": 220 / rate, "p50": 110 / rate, "p99": 880 / rate},
        TPOT: {"mean": 0.88 / rate, "p50": 0.88 / rate, "p99": 0.9 / rate},
        E2E: {"mean": 1900 / rate, "p50": 1830 / rate, "p99": 2700 / rate},
    }
    values: dict[str, t.Any] = {
        "source": "made",
        "format": "native",
        "total": 8192,
        "failures": 0,
        "load": LOAD,
        "latency": latency,
        "rates": {"request_rate": rate, "output_token_rate": 2000 * rate},
        **changes,
    }
    return Run(**values)


def copy(path: Path, to: Path) -> Path:
    """A folder of results to spoil."""
    return Path(shutil.copytree(path, to / path.name))


def edit(path: Path, change: t.Callable[[t.Any], t.Any]) -> None:
    """Change a JSON or YAML file; what the function returns replaces the document unless it is None."""
    is_json = path.suffix == ".json"
    text = path.read_text(encoding="utf-8")
    document = json.loads(text) if is_json else yaml.safe_load(text)
    changed = change(document)
    document = document if changed is None else changed
    path.write_text(json.dumps(document) if is_json else yaml.safe_dump(document), encoding="utf-8")


def put(document: t.Any, path: str, value: t.Any) -> None:
    """Set the value at a path of keys, separated by slashes."""
    *parents, last = path.split("/")
    for name in parents:
        document = document[name]
    document[last] = value
