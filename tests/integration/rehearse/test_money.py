# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run costs on GKE: the question before the first write, the budget, idle GPU minutes, what teardown leaves.

Two sites are made. The first waits for its nodes before anything else, runs into its budget, goes on, and leaves
something behind; the second is the site as it is, on a credential that ends every minute.
"""

from __future__ import annotations

import re

import pytest
from rehearsal import Rehearsal, Run, StandIn

INVENTORY = "inventories/gke"
# Longer than what needs no GPU takes to install, so that a site that waits first pays for it.
GPU_POOL_SECONDS = 60.0
TOKEN_SECONDS = 60.0
IDLE = re.compile(r"idle GPU minutes (?P<minutes>[\d.]+) of")
VERIFIED = "requests prefilled remotely"


def idle_minutes(run: Run) -> float:
    found = IDLE.findall(run.output)
    assert found, run.output[-3000:]
    return float(found[-1])


@pytest.fixture(scope="module")
def minutes() -> dict[str, float]:
    """Idle GPU minutes of a site, by the way it was made."""
    return {}


def nothing_is_made_without_a_yes(rehearsal: Rehearsal, cloud: StandIn) -> None:
    done = rehearsal.play("site.yml", quiet=True)
    assert done.code != 0
    assert "wide_ep_confirm_spend" in done.output
    assert cloud.state()["created"] == []


def the_budget_stops_a_run_before_its_next_phase(rehearsal: Rehearsal) -> None:
    """32 GPUs use two GPU minutes in 4 s."""
    done = rehearsal.play("site.yml", wide_ep_confirm_spend=True, wide_ep_gpu_minutes_budget=2)
    assert done.code != 0
    assert "GPU_BUDGET_SPENT" in done.output
    assert VERIFIED not in done.output


def what_is_left_is_named(rehearsal: Rehearsal, cloud: StandIn) -> None:
    """A firewall that Google's controllers forgot keeps the network; the receipt says so, and why."""
    done = rehearsal.play("playbooks/teardown.yml", wide_ep_confirm_teardown=True)
    left = {path.rpartition("/")[2] for path in cloud.left()}
    wall = next(name for name in left if name.startswith("gke-wide-ep-"))
    assert wall in done.output
    assert done.code != 0


def test_nodes_first_within_a_budget(rehearsal: Rehearsal, minutes: dict[str, float]) -> None:
    rehearsal.gpu_pool_seconds = GPU_POOL_SECONDS
    rehearsal.options = ("--leave-firewall",)
    with rehearsal.cloud() as cloud:
        assert cloud is not None
        nothing_is_made_without_a_yes(rehearsal, cloud)
        assert rehearsal.play("playbooks/node_pools.yml", wide_ep_confirm_spend=True).code == 0
        assert rehearsal.play("playbooks/node_pools_wait.yml").code == 0
        the_budget_stops_a_run_before_its_next_phase(rehearsal)
        done = rehearsal.site(wide_ep_gpu_minutes_budget=0)
        assert VERIFIED in done.output
        minutes["serial"] = idle_minutes(done)
        what_is_left_is_named(rehearsal, cloud)


def test_gpus_wait_less_when_all_else_is_installed_meanwhile(rehearsal: Rehearsal, minutes: dict[str, float]) -> None:
    """Against the last part alone of the site whose nodes were there first."""
    rehearsal.gpu_pool_seconds = GPU_POOL_SECONDS
    rehearsal.token_seconds = TOKEN_SECONDS
    rehearsal.options = ()
    with rehearsal.cloud() as cloud:
        assert cloud is not None
        done = rehearsal.site()
        assert VERIFIED in done.output
        assert cloud.state()["tokens_issued"] > done.seconds / TOKEN_SECONDS > 1
        minutes["overlapped"] = idle_minutes(done)
        rehearsal.teardown(quiet=True)
        assert cloud.left() == []
    print(f"idle GPU minutes: {minutes}")
    assert minutes["overlapped"] < minutes["serial"]
