# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who takes part in a run and who sends to whom, as the coordinator tells every agent."""

from __future__ import annotations

import hashlib
import hmac
import typing as t
from dataclasses import dataclass

import mesh_matrix as matrix
import mesh_schedule as schedule

Json = dict[str, t.Any]
NONCE = 16


@dataclass(frozen=True)
class World:
    """``nics`` holds, by position, what each NIC's own host says of it; ``offsets`` the first position per host."""

    run_id: str
    key: str
    me: int
    names: tuple[str, ...]
    nics: tuple[Json, ...]
    table: tuple[matrix.Nic, ...]
    offsets: tuple[int, ...]
    plan: schedule.Schedule

    @property
    def size(self) -> int:
        return len(self.nics)

    @property
    def mine(self) -> range:
        """Positions of this host's NICs."""
        return range(self.offsets[self.me], self.offsets[self.me] + self.plan.counts[self.me])

    def targets(self, turn: schedule.Round) -> t.Iterator[tuple[int, int]]:
        """Positions of sender and receiver, of this host's senders in one round."""
        for host, nic, peer, other in self.plan.sends(turn, self.me):
            yield self.offsets[host] + nic, self.offsets[peer] + other

    def nonce(self, source: int, target: int, kind: int) -> bytes:
        """What a payload holds: nothing of another run, pair or kind passes for it."""
        text = f"{self.run_id} {source} {target} {kind}".encode()
        return hmac.new(self.key.encode(), text, hashlib.sha256).digest()[:NONCE]


def make_plan(counts: t.Sequence[int], spec: Json) -> schedule.Schedule:
    """The rounds that the run asks for: all pairs, a sample, or those of new hosts."""
    mode = spec.get("mode", "full")
    if mode == "sampled":
        return schedule.sampled(counts, int(spec["rounds"]), int(spec.get("seed", 0)))
    if mode == "increment":
        return schedule.increment(counts, [int(host) for host in spec["new"]])
    return schedule.full(counts)


def world(run_id: str, key: str, me: int, hosts: t.Sequence[Json], spec: Json) -> World:
    """From the coordinator's list of hosts; one that did not join has no NICs."""
    counts = [len(host["nics"]) for host in hosts]
    offsets: list[int] = []
    nics: list[Json] = []
    table: list[matrix.Nic] = []
    for position, host in enumerate(hosts):
        offsets.append(len(nics))
        for index, nic in enumerate(host["nics"]):
            nics.append(nic)
            table.append(matrix.Nic(position, index, nic["name"]))
    names = tuple(host["name"] for host in hosts)
    return World(run_id, key, me, names, tuple(nics), tuple(table), tuple(offsets), make_plan(counts, spec))
