# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run costs on GKE: the question before the first write, the budget, idle GPU minutes, what teardown leaves.

Two sites are made, on a credential that ends every minute. The first waits for its nodes before anything else, runs
into its budget, goes on, and leaves something behind; the second is the site as it is.
"""

from __future__ import annotations

import re

import pytest
from rehearsal import Rehearsal, Run, StandIn

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_auth
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_rest import Call, Client, Pace, Target

INVENTORY = "inventories/gke-a4"
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


def what_is_left_is_named(rehearsal: Rehearsal, cloud: StandIn) -> str:
    """A firewall that Google's controllers forgot keeps the network; the receipt says so, and why."""
    done = rehearsal.play("playbooks/teardown.yml", wide_ep_confirm_teardown=True)
    wall = next(path for path in cloud.left() if path.rpartition("/")[2].startswith("gke-wide-ep-"))
    assert wall.rpartition("/")[2] in done.output
    assert done.code != 0
    return wall


def remove_by_hand(rehearsal: Rehearsal, cloud: StandIn, path: str) -> None:
    """As the receipt advises."""
    session = _gke_auth.session(str(rehearsal.cloud_folder / "key.json"), None)
    client = Client(session, cloud.url, print, Pace(1, 10, 60))
    target = Target("compute", path)
    client.wait([client.write(Call("DELETE", target, target, f"remove {target.label}", done="gone"))])


@pytest.fixture
def dear(rehearsal: Rehearsal) -> Rehearsal:
    rehearsal.gpu_pool_seconds = GPU_POOL_SECONDS
    rehearsal.token_seconds = TOKEN_SECONDS
    rehearsal.options = ()
    return rehearsal


def tokens_ended(cloud: StandIn, done: Run) -> bool:
    issued: int = cloud.state()["tokens_issued"]
    return issued > done.seconds / TOKEN_SECONDS > 1


def test_nodes_first_within_a_budget(dear: Rehearsal, minutes: dict[str, float]) -> None:
    dear.options = ("--leave-firewall",)
    with dear.cloud() as cloud:
        assert cloud is not None
        nothing_is_made_without_a_yes(dear, cloud)
        assert dear.play("playbooks/node_pools.yml", wide_ep_confirm_spend=True).code == 0
        assert dear.play("playbooks/node_pools_wait.yml").code == 0
        the_budget_stops_a_run_before_its_next_phase(dear)
        done = dear.site(wide_ep_gpu_minutes_budget=0)
        assert VERIFIED in done.output
        assert tokens_ended(cloud, done)
        minutes["serial"] = idle_minutes(done)
        print(f"idle GPU minutes: {minutes}")
        remove_by_hand(dear, cloud, what_is_left_is_named(dear, cloud))
        dear.teardown()
        assert cloud.left() == []
        cloud.check()


def test_gpus_wait_less_when_all_else_is_installed_meanwhile(dear: Rehearsal, minutes: dict[str, float]) -> None:
    """Against the last part alone of the site whose nodes were there first."""
    with dear.cloud() as cloud:
        assert cloud is not None
        done = dear.site()
        assert VERIFIED in done.output
        assert tokens_ended(cloud, done)
        minutes["overlapped"] = idle_minutes(done)
        dear.teardown(quiet=True)
        assert cloud.left() == []
    print(f"idle GPU minutes: {minutes}")
    assert minutes["overlapped"] < minutes["serial"]
