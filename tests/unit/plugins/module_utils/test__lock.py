# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
import os
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._lock import Holder, is_alive, judge_lease, process_start

NOW = datetime.datetime(2026, 1, 1, 12, 0, 0, tzinfo=datetime.UTC)
ME = Holder("machine-a", 10, "500", "run-1")
OTHER_MACHINE = Holder("machine-b", 11, "600", "run-2")
SAME_MACHINE = Holder("machine-a", 11, "600", "run-2")


def lease(holder: str, age: int = 60) -> dict[str, t.Any]:
    renewed = (NOW - datetime.timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 7200}


@pytest.mark.parametrize(
    ("spec", "alive", "take_over", "free", "reason"),
    [
        (None, True, False, True, ""),
        (lease(str(ME)), True, False, True, ""),
        ({"holderIdentity": ""}, True, False, True, ""),
        (lease(str(OTHER_MACHINE)), False, False, False, "machine-b"),
        (lease(str(OTHER_MACHINE)), True, True, True, "by request"),
        (lease(str(OTHER_MACHINE), age=7201), True, False, True, "expired"),
        (lease(str(SAME_MACHINE)), True, False, False, "run-2"),
        (lease(str(SAME_MACHINE)), False, False, True, "has ended"),
        (lease("someone by hand"), False, False, False, "by hand"),
    ],
)
def test_who_gets_the_lock(
    spec: dict[str, t.Any] | None, alive: bool, take_over: bool, free: bool, reason: str
) -> None:
    verdict = judge_lease(spec, ME, NOW, alive=lambda _holder: alive, take_over=take_over)
    assert verdict.free is free
    assert reason in verdict.reason


def test_holder_survives_its_text() -> None:
    assert Holder.parse(str(ME)) == ME


@pytest.mark.skipif(sys.platform != "linux", reason="process start times come from /proc")
def test_a_finished_process_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    holder = Holder("here", child.pid, process_start(child.pid) or "", "run")
    assert is_alive(holder)
    assert not is_alive(Holder("here", child.pid, "another start", "run"))
    child.communicate(b"\n")
    assert not is_alive(holder)


def test_this_run_is_alive() -> None:
    assert is_alive(Holder.of_this_run(os.getpid(), "run"))
