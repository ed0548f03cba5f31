# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real verbs on soft-RoCE guests: 4 hosts with 8 NICs, every pair on a queue pair of its own.

It takes minutes of emulation and downloads a kernel: it runs where LLMD_WIDE_EP_SOFT_ROCE names a folder for the
unpacked packages.
"""

from __future__ import annotations

import os
import sys
import typing as t
from pathlib import Path

import pytest
from loading import load_file

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_frames as frames
from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_result as results
from ansible_collections.llmd.wide_ep.plugins.module_utils._mesh_matrix import bit_count
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._mesh_program import program_files

ROOT = Path(__file__).parents[3]
CACHE = os.environ.get("LLMD_WIDE_EP_SOFT_ROCE", "")
guests = load_file(Path(__file__).with_name("guests.py"), "mesh_guests")

HOSTS, NICS = 4, 8
RUN, KEY = "guests-1", "a key"

pytestmark = pytest.mark.skipif(not CACHE or os.geteuid() != 0, reason="LLMD_WIDE_EP_SOFT_ROCE is not set, or no root")


def run(
    hosts: int, nics: int, lost: list[tuple[int, int, int, int]], *, bare: int = 0, **options: t.Any
) -> results.Analysis:
    config = {
        "run_id": RUN,
        "key": KEY,
        "hosts": hosts,
        "transport": "rdma",
        "nics": ["rxe*"],
        "coordinator": "172.31.0.10",
        "port": 18515,
        "join_seconds": 240,
        "phase_seconds": 120,
        "deadline_seconds": 500,
        # Emulated hosts answer late: a second until a queue pair gives up.
        "rdma": {"timeout": 16, "retry_cnt": 3, "window": 16, "settle": 0.5, **options},
    }
    setup = {
        "hosts": hosts,
        "nics": nics,
        "lost": lost,
        "config": config,
        "bare": bare,
        # The guests have a /tmp of their own, so that a link from there leads nowhere.
        "python": str(Path(sys.executable).resolve()),
        "seconds": 500,
        "files": program_files(ROOT / "roles/rdma_mesh/files/prober"),
        "root": str(guests.packages(Path(CACHE))),
    }
    printed = guests.isolated(setup)
    assert "PYVERBS absent" in printed["log"], "the prober binds the library itself; no public image has more"
    analysis = results.analyze(results.read(frames.read(printed["log"], RUN, KEY)))
    raw = analysis.result.raw
    # On a line of its own, whatever the test runner has printed before.
    print(f"\n{hosts}x{nics}: {usable(analysis)} pairs usable, guests ready after "
          f"{max(printed['ready'].values())} s, run {raw['duration_s']} s "
          f"{raw['seconds']}")  # fmt: skip
    taken = [int(line.split()[1]) / 1000 for line in printed["log"].splitlines() if line.startswith("BARE ")]
    if taken:
        each = sum(taken) / len(taken)
        print(f"one perftest process per pair: {each:.2f} s each of {len(taken)}, {each * 768:.0f} s for 768 pairs")
    elif bare:
        print(f"one perftest process per pair: none of {bare} ended")
    return analysis


def usable(analysis: results.Analysis) -> int:
    return sum(map(bit_count, analysis.result.case.usable))


def test_all_768_pairs_of_a_full_mesh() -> None:
    analysis = run(HOSTS, NICS, [], bare=4)
    assert usable(analysis) == 768, results.text_matrix(analysis.result.case.matrix)
    # An emulated host loses packets now and then, which its counters tell.
    assert analysis.shape.verdict in ("FULL_MESH", "FULL_MESH_DEGRADED")


def test_rails_alone_are_96_pairs() -> None:
    lost = [(h, i, g, j) for h in range(HOSTS) for g in range(HOSTS) if h != g for i in range(NICS)
            for j in range(NICS) if i != j]  # fmt: skip
    analysis = run(HOSTS, NICS, lost)
    assert usable(analysis) == 96, results.text_matrix(analysis.result.case.matrix)
    assert analysis.shape.verdict == "RAIL_ONLY"


def test_the_nonce_tells_the_direction() -> None:
    analysis = run(2, 2, [(0, 0, 1, 1)], bare=3, rate_seconds=0.2)
    found = analysis.result.case.matrix
    assert (found.code(0, 3), found.code(3, 0)) == ("RETRY_EXC", "NO_ACK"), results.text_matrix(found)
    assert analysis.shape.verdict == "ONE_WAY"
    assert ("RDMA_ONE_WAY", "path node-0/rxe0 -> node-1/rxe1") in [(f.code, f.subject) for f in analysis.findings]
    assert len(analysis.result.raw["rates"]) == 6
    assert len(analysis.result.raw["latencies"]) == 6
