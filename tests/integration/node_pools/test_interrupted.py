# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's playbooks, killed again and again: the same end as an undisturbed run, and nothing made twice.

It needs a rehearsal cluster, dressed as GKE's.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "rehearse"))

from rehearsal import ROOT, Json, Rehearsal, StandIn, program

NAME = os.environ.get("LLMD_WIDE_EP_TEST_REHEARSAL") or "rehearse"
MAKE = ("playbooks/node_pools.yml", {"wide_ep_confirm_spend": True})
WAIT = ("playbooks/node_pools_wait.yml", {})
REMOVE = ("playbooks/teardown.yml", {"wide_ep_confirm_teardown": True})
# Creations: 16 of networks and what is in them, the cluster with its system pool, the CPU pool, the GPU pool.
AT_CREATIONS = (1, 4, 16, 17, 19, 20)
# What differs between two ways to the same end.
VOLATILE = ("id", "fingerprint", "labelFingerprint", "etag")


@pytest.fixture(scope="module")
def rehearsal() -> Iterator[Rehearsal]:
    made = Rehearsal("inventories/gke", NAME, gpu_pool_seconds=10)
    made.up()
    yield made
    if not os.environ.get("LLMD_WIDE_EP_TEST_KEEP"):
        made.down()


def done(rehearsal: Rehearsal, what: tuple[str, Json]) -> dict[str, int]:
    """A run to its end."""
    finished = rehearsal.play(what[0], quiet=True, **what[1])
    assert finished.code == 0, finished.output[-4000:]
    return finished.recap


def killed(rehearsal: Rehearsal, cloud: StandIn, what: tuple[str, Json], key: str, count: int) -> bool:
    """A run that is killed, with everything that it started, once the cloud has made or deleted so many objects."""
    command = [program("ansible-playbook"), what[0], *rehearsal.sources, "-e", json.dumps(what[1])]
    settings = {**os.environ, **rehearsal.environment}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None and len(cloud.state()[key]) < count:
        time.sleep(0.05)
    was_running = process.poll() is None
    if was_running:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return was_running


def end(cloud: StandIn) -> Json:
    return {
        path: {key: value for key, value in body.items() if key not in VOLATILE}
        for path, body in cloud.state()["objects"].items()
    }


def test_killed_at_creations_and_deletions(rehearsal: Rehearsal) -> None:
    with rehearsal.cloud() as cloud:
        assert cloud is not None
        done(rehearsal, MAKE)
        done(rehearsal, WAIT)
        wanted = end(cloud)
        done(rehearsal, REMOVE)
        assert cloud.left() == []
        before = len(cloud.state()["created"])
        for count in AT_CREATIONS:
            assert killed(rehearsal, cloud, MAKE, "created", before + count), f"over before creation {count}"
        done(rehearsal, MAKE)
        done(rehearsal, WAIT)
        assert end(cloud) == wanted
        created = cloud.state()["created"][before:]
        assert len(created) == len(set(created)) == before
        assert done(rehearsal, MAKE)["changed"] == 0
        gone = len(cloud.state()["deleted"])
        for count in (1, 3, 5):
            assert killed(rehearsal, cloud, REMOVE, "deleted", gone + count), f"over before deletion {count}"
        done(rehearsal, REMOVE)
        assert cloud.left() == []
        deleted = cloud.state()["deleted"][gone:]
        assert len(deleted) == len(set(deleted))
        assert done(rehearsal, REMOVE)["changed"] == 0
        cloud.check()
