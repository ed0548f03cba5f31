# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run costs on GKE: idle GPU minutes, the budget, the question before the first write, what teardown leaves."""

from __future__ import annotations

import re

from rehearsal import Rehearsal

INVENTORY = "inventories/gke"
IDLE = re.compile(r"idle GPU minutes (?P<minutes>[\d.]+) of")


def idle_minutes(output: str) -> float:
    found = IDLE.findall(output)
    assert found, output[-3000:]
    return float(found[-1])


def test_nothing_is_made_without_a_yes(rehearsal: Rehearsal) -> None:
    with rehearsal.cloud() as cloud:
        done = rehearsal.play("site.yml", quiet=True)
        assert done.code != 0
        assert "wide_ep_confirm_spend" in done.output
        assert cloud is not None
        assert cloud.state()["created"] == []


def test_the_budget_stops_a_run_before_the_next_phase(rehearsal: Rehearsal) -> None:
    """32 GPUs use two GPU minutes in 4 s. The run after it goes on, and ends verified."""
    with rehearsal.cloud() as cloud:
        assert cloud is not None
        done = rehearsal.play("site.yml", wide_ep_confirm_spend=True, wide_ep_gpu_minutes_budget=2)
        assert done.code != 0
        assert "GPU_BUDGET_SPENT" in done.output
        assert "requests prefilled remotely" not in done.output
        assert any(path.endswith("nodePools/gpu") for path in cloud.left())
        assert "requests prefilled remotely" in rehearsal.site(wide_ep_gpu_minutes_budget=0).output
        rehearsal.teardown()
        assert cloud.left() == []


def test_gpus_wait_less_when_all_else_is_installed_meanwhile(rehearsal: Rehearsal) -> None:
    """Serial: the nodes first, then the site. Overlapped: the site alone."""
    rehearsal.gpu_pool_seconds = 60
    idle = {}
    for way in ("serial", "overlapped"):
        with rehearsal.cloud() as cloud:
            assert cloud is not None
            if way == "serial":
                first = rehearsal.play("playbooks/node_pools.yml", wide_ep_confirm_spend=True)
                assert first.code == 0
                waited = rehearsal.play("playbooks/node_pools_wait.yml")
                assert waited.code == 0
            idle[way] = idle_minutes(rehearsal.site().output)
            rehearsal.teardown(quiet=True)
            assert cloud.left() == []
    print(f"idle GPU minutes: {idle}")
    assert idle["overlapped"] < idle["serial"]


def test_what_is_left_is_named(rehearsal: Rehearsal) -> None:
    """A firewall that Google's controllers forgot keeps the network; the receipt says so, and why."""
    rehearsal.options = ("--leave-firewall",)
    with rehearsal.cloud() as cloud:
        assert cloud is not None
        made = rehearsal.play("playbooks/node_pools.yml", wide_ep_confirm_spend=True)
        assert made.code == 0
        done = rehearsal.play("playbooks/teardown.yml", wide_ep_confirm_teardown=True)
        left = {path.rpartition("/")[2] for path in cloud.left()}
        wall = next(name for name in left if name.startswith("gke-wide-ep-"))
        assert wall in done.output
        assert done.code != 0
