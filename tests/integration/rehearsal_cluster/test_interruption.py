# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is interrupted or killed at any point of a start is completed by the next one.

Needs root and built programs. Makes a cluster of its own, several times.
"""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from _cluster import ROOT, Cluster, end_tree, wait
from leftovers import leftovers

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize(
    "moment", ["cluster/pki/ca.crt", "rootfs.new", "cluster/run/plan.json", "cluster/run/boot.json"]
)
def test_an_interrupted_run_is_completed_by_the_next(moment: str, number: signal.Signals) -> None:
    one = Cluster("it-stop", {"rehearsal_cluster_gpu_nodes": 0})
    one.play("rehearsal_cluster_remove")
    quiet = subprocess.DEVNULL
    run = subprocess.Popen(
        one.command("rehearsal_cluster"), cwd=ROOT, start_new_session=True, stdout=quiet, stderr=quiet
    )
    wait((one.paths.state / moment).exists, 60, f"{moment} to appear")
    end_tree(run.pid, number)
    run.wait(timeout=30)
    try:
        one.ensure()
        assert one.ensure() == 0
    finally:
        assert one.play("rehearsal_cluster_remove").returncode == 0
        assert one.play("rehearsal_cluster_remove").returncode == 0
    assert leftovers(one.name) == []
