# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool that one task starts and another waits for, with other work in between."""

from __future__ import annotations

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from _harness import CPU, FAMILY, GPU, Bench
from gke_standin.server import Fault

POOL_PATH = f"{FAMILY}/nodePools/gpu"


def test_started_then_waited_for(site: Bench) -> None:
    """The start returns while the pool is made; starting again sends nothing; waiting ends with the pool."""
    site.build()
    site.cloud.polls = 8
    started = site.good("gke_node_pool", {**GPU, "wait": False})
    assert started["changed"]
    assert started["node_pool"]["status"] == "PROVISIONING"
    assert len(started["operations"]) == 1
    again = site.good("gke_node_pool", {**GPU, "wait": False})
    assert (again["changed"], again["operations"]) == (False, started["operations"])
    assert again["node_pool"]["status"] == "PROVISIONING"
    assert not site.good("gke_node_pool", GPU, check=True)["changed"]
    waited = site.good("gke_node_pool", GPU)
    assert (waited["changed"], waited["node_pool"]["status"]) == (False, "RUNNING")
    assert [request.verb for request in site.stand_in.writes()] == ["POST"]


def test_a_started_pool_without_machines(site: Bench) -> None:
    """Whoever waits for it is told why it does not come, and nothing is created again."""
    site.build()
    error = {"code": 8, "message": "GCE_STOCKOUT: the zone does not have enough resources"}
    site.stand_in.faults = [Fault(r".*nodePools\.create", operation=error)]
    assert site.good("gke_node_pool", {**GPU, "wait": False})["changed"]
    site.bad("gke_node_pool", GPU, "GCP_NO_CAPACITY")
    assert len(site.stand_in.writes()) == 1


def test_another_pool_waits_for_the_started_one(site: Bench) -> None:
    """One operation at a time in a cluster: the second one is sent when the first is done."""
    site.build()
    site.cloud.polls = 4
    site.good("gke_node_pool", {**GPU, "wait": False})
    assert site.good("gke_node_pool", CPU)["changed"]
    assert site.cloud.objects[POOL_PATH]["status"] == "RUNNING"
    assert site.created() == list(dict.fromkeys(site.created()))


@pytest.mark.parametrize("wait", [True, False])
def test_removal_that_is_only_started(site: Bench, wait: bool) -> None:
    site.build(pool=True)
    site.cloud.polls = 3
    assert site.good("gke_node_pool", {**GPU, "state": "absent", "wait": wait})["changed"]
    assert (POOL_PATH in site.cloud.objects) is not wait
    assert not site.good("gke_node_pool", {**GPU, "state": "absent"})["changed"]
    assert POOL_PATH not in site.cloud.objects


def test_replacement_that_is_only_started(site: Bench) -> None:
    """The old pool is gone before the new one is asked for."""
    site.build(pool=True)
    given = {**GPU, "max_pods": 32, "allow_replace": ["gpu"]}
    result = site.good("gke_node_pool", {**given, "wait": False})
    assert [action["action"] for action in result["actions"]] == ["replace"]
    assert [request.verb for request in site.stand_in.writes()] == ["DELETE", "POST"]
    assert not site.good("gke_node_pool", given)["changed"]
