# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the mesh check without a network: rounds against the proved minimum, seconds, bytes and memory.

The transport is simulated: agents report what they would have seen on a fabric with faults, and everything from the
plan to the findings is the code that runs on real results. One process per shape, so that its memory is its own.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import resource
import subprocess
import sys
import time
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / ".ansible" / "collections"), str(ROOT / "roles" / "rdma_mesh" / "files" / "prober")]

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_frames as frames
from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_matrix as matrix
from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_schedule as schedule
from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_verdict as verdict
from ansible_collections.llmd.wide_ep.plugins.module_utils._mesh_diagnosis import Facts, diagnose

sys.modules.update(mesh_frames=frames, mesh_matrix=matrix, mesh_schedule=schedule)
import mesh_merge as merge

SHAPES = {"4x8": (4, 8), "32x8": (32, 8), "128x8": (128, 8), "1024x8": (1024, 8)}
FABRICS = ("full", "rail", "faults")
#: NICs per host where they differ: padded to the widest host, which costs rounds where several hosts have fewer.
UNEVEN = ((8, 8, 8, 4), (8, 8, 4, 4), (8,) * 31 + (4,), (8,) * 16 + (4,) * 16)
LIMIT_SECONDS, LIMIT_BYTES = 20.0, 1 << 30


def reached(hosts: int, nics: int, fabric: str) -> list[int]:
    """Per sender the receivers that its probes reach."""
    size, dice = hosts * nics, random.Random(3)
    everything = (1 << size) - 1
    rail = sum(1 << host * nics for host in range(hosts))
    rows = []
    for position in range(size):
        host, nic = divmod(position, nics)
        row = rail << nic if fabric == "rail" else everything
        row &= ~(((1 << nics) - 1) << host * nics)
        if fabric == "faults":
            for _fault in range(max(1, size // 1000)):
                row &= ~(1 << dice.randrange(size))
        rows.append(row)
    return rows


def reports(hosts: int, nics: int, fabric: str) -> t.Iterator[dict[str, t.Any]]:
    """What the agents send to the coordinator; an acknowledgement comes back where both ways work."""
    rows = reached(hosts, nics, fabric)
    size = len(rows)
    columns = matrix.transpose(rows, size)
    acked = [row & back for row, back in zip(rows, columns, strict=True)]
    for host in range(hosts):
        mine = range(host * nics, (host + 1) * nics)
        sent = {"OK": [acked[p] for p in mine]}
        landed = {"seen": [columns[p] for p in mine], "seen_full": [columns[p] for p in mine]}
        yield json.loads(json.dumps(merge.report(host, size, small=sent, full=sent, landed=landed)))


def timed(seconds: dict[str, float], name: str, work: t.Callable[[], t.Any]) -> t.Any:
    start = time.monotonic()
    found = work()
    seconds[name] = round(time.monotonic() - start, 3)
    return found


def measure(shape: str, fabric: str) -> dict[str, t.Any]:
    hosts, nics = SHAPES[shape]
    seconds: dict[str, float] = {}
    cpu = 0.0
    plan = timed(seconds, "plan", lambda: schedule.full((nics,) * hosts))
    made = list(reports(hosts, nics, fabric))
    names = [f"h{host}" for host in range(hosts)]
    table = [matrix.Nic(host, nic, f"mlx5_{nic}") for host in range(hosts) for nic in range(nics)]
    wire = sum(len(json.dumps(report)) for report in made)
    cpu -= time.process_time()

    def collect() -> tuple[str, int]:
        merged = merge.merge("udp", table, made, plan)
        found = {"matrix": matrix.as_dict(matrix.build(names, table, merged.planes))}
        text = "\n".join(frames.write("bench", json.dumps(found)))
        return text, len(text)

    log, log_bytes = timed(seconds, "collect", collect)
    reach = timed(seconds, "read", lambda: matrix.from_dict(json.loads(frames.read(log, "bench"))["matrix"]))
    case = verdict.Case(reach, frozenset(range(hosts)))
    shown = timed(seconds, "classify", lambda: verdict.classify(case))
    timed(seconds, "usable_by", lambda: verdict.usable_by(case))
    findings = timed(seconds, "diagnose", lambda: diagnose(case, Facts()))
    return {
        "shape": shape,
        "fabric": fabric,
        "pairs": schedule.directed_pairs(plan.counts),
        "rounds": len(plan.rounds),
        "least": schedule.least_rounds(plan.counts),
        "verdict": shown.verdict,
        "findings": len(findings),
        "seconds": seconds,
        "total": round(sum(seconds.values()), 2),
        "cpu": round(cpu + time.process_time(), 2),
        "wire_bytes": wire,
        "log_bytes": log_bytes,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def show(row: dict[str, t.Any]) -> str:
    parts = ", ".join(f"{name} {value:.2f}" for name, value in row["seconds"].items())
    columns = (
        f"{row['shape']:>7} {row['fabric']:<6}",
        f"{row['pairs']:>10,} pairs",
        f"{row['rounds']:>5} rounds (least {row['least']})",
        f"{row['total']:>6.2f} s ({row['cpu']:.2f} s of a core)",
        f"{row['memory'] / 2**20:>4.0f} MiB",
        f"reports {row['wire_bytes'] / 1e6:.2f} MB",
        f"log {row['log_bytes'] / 1e6:.2f} MB",
        f"{row['verdict']}: {parts}",
    )
    return "  ".join(columns)


def uneven() -> t.Iterator[tuple[str, bool]]:
    """Rounds of each uneven shape between its proved bounds, and whether they are."""
    for counts in UNEVEN:
        rounds, least = len(schedule.full(counts).rounds), schedule.least_rounds(counts)
        most = (len(counts) - 1) * max(counts)
        hosts = ", ".join(f"{counts.count(nics)} x {nics}" for nics in sorted(set(counts), reverse=True))
        yield f"{hosts} NICs: {rounds} rounds, least {least}, at most {most}", least <= rounds <= most


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), help="this one alone")
    parser.add_argument("--fabric", choices=FABRICS, help="this one alone")
    parser.add_argument("--json", action="store_true", help="one line of JSON per shape and fabric")
    asked = parser.parse_args()
    if asked.shape and asked.fabric:
        row = measure(asked.shape, asked.fabric)
        print(json.dumps(row) if asked.json else show(row), flush=True)
        return 0
    missed = 0
    for line, holds in [] if asked.json or asked.shape else uneven():
        print(line)
        missed += not holds
    for shape in [asked.shape] if asked.shape else SHAPES:
        for fabric in [asked.fabric] if asked.fabric else FABRICS:
            command = [sys.executable, __file__, "--shape", shape, "--fabric", fabric, "--json"]
            row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            print(json.dumps(row) if asked.json else show(row), flush=True)
            # Other work on the machine is not the check's: the core's time counts.
            missed += row["cpu"] > LIMIT_SECONDS or row["memory"] > LIMIT_BYTES or row["rounds"] != row["least"]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
