# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may change a deployment: decisions on its Lease. Private to the collection; it may change at any time."""

from __future__ import annotations

import dataclasses
import datetime
import os
import pathlib
import socket
import typing as t
import uuid

#: The longest run that is planned for: the 60 minutes of the model servers' wait and as much for everything else.
LEASE_SECONDS = 2 * 60 * 60


@dataclasses.dataclass(frozen=True)
class Holder:
    """A run of ansible-playbook: ``<machine>/<process>/<process start>/<run id>``."""

    machine: str
    pid: int
    started: str
    run_id: str

    def __str__(self) -> str:
        return f"{self.machine}/{self.pid}/{self.started}/{self.run_id}"

    @classmethod
    def parse(cls, text: str) -> Holder | None:
        parts = text.split("/", 3)
        if len(parts) != 4 or not parts[1].isdigit():
            return None
        return cls(parts[0], int(parts[1]), parts[2], parts[3])

    @classmethod
    def of_this_run(cls, pid: int, run_id: str) -> Holder:
        # uuid1's node part would show the hardware address; a hash of the host name tells machines apart without it.
        machine = uuid.uuid5(uuid.NAMESPACE_DNS, socket.gethostname()).hex[:12]
        return cls(machine, pid, process_start(pid) or "0", run_id)


def process_start(pid: int) -> str | None:
    """The start time of a process in clock ticks since boot, or None where it is gone or cannot be told."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]


def is_alive(holder: Holder) -> bool:
    """Whether the process of ``holder``, which ran on this machine, still runs."""
    if pathlib.Path("/proc/self/stat").exists():
        return process_start(holder.pid) == holder.started
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@dataclasses.dataclass(frozen=True)
class Verdict:
    """``free`` to take; ``reason`` says why a held lock is free (empty: it was not held), or who holds it."""

    free: bool
    reason: str


def judge_lease(
    spec: t.Mapping[str, t.Any] | None,
    me: Holder,
    now: datetime.datetime,
    alive: t.Callable[[Holder], bool] = is_alive,
    take_over: bool = False,
) -> Verdict:
    """Decide on the ``spec`` of an existing Lease (None: there is none)."""
    held_by = (spec or {}).get("holderIdentity") or ""
    if spec is None or held_by in ("", str(me)):
        return Verdict(True, "")
    since = datetime.datetime.fromisoformat(spec["renewTime"].replace("Z", "+00:00"))
    age = int((now - since).total_seconds())
    holder = Holder.parse(held_by)
    described = f"{held_by}, {age} s ago"
    if take_over:
        return Verdict(True, f"taken over by request from {described}")
    if age > int(spec.get("leaseDurationSeconds", LEASE_SECONDS)):
        return Verdict(True, f"expired, was held by {described}")
    if holder and holder.machine == me.machine and not alive(holder):
        return Verdict(True, f"its run has ended, was held by {described}")
    return Verdict(False, described)
