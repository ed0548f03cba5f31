# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which NIC sends to which in which round. Private to the collection; it may change at any time.

Also mounted beside the prober in its pod: standard library only, Python 3.9, no imports from the collection.

In round (a, b) NIC i of host h sends to NIC (i+b) mod N of host (h+a) mod H. A round is a translation of the group
Z_H x Z_N, hence a permutation: each NIC sends once and receives once. a != 0, so both ends are on different hosts, and
the pair (h,i) -> (g,j) occurs for a = g-h and b = j-i alone: exactly once. (H-1)N rounds of HN pairs are all directed
pairs; a NIC has (H-1)N receivers and sends once a round, so that no schedule is shorter. Hosts with fewer NICs are
padded to N: what is left of a permutation is still a matching.
"""

from __future__ import annotations

import itertools
import random
import typing as t
from dataclasses import dataclass


class Round(t.NamedTuple):
    """A shift by ``hosts`` and ``nics``."""

    hosts: int
    nics: int


#: Source host and NIC, destination host and NIC.
Pair = tuple[int, int, int, int]
Allowed = t.Callable[[int, int, int, int], bool]


@dataclass(frozen=True)
class Schedule:
    """Rounds over hosts with so many NICs each; ``allowed`` filters the pairs where not all are wanted."""

    counts: tuple[int, ...]
    rounds: tuple[Round, ...]
    allowed: Allowed | None = None

    @property
    def width(self) -> int:
        return max(self.counts, default=0)

    def target(self, turn: Round, host: int, nic: int) -> tuple[int, int] | None:
        """Whom the NIC sends to in this round."""
        peer, other = (host + turn.hosts) % len(self.counts), (nic + turn.nics) % self.width
        if nic >= self.counts[host] or other >= self.counts[peer]:
            return None
        if self.allowed and not self.allowed(host, nic, peer, other):
            return None
        return peer, other

    def sends(self, turn: Round, host: int) -> t.Iterator[Pair]:
        """The pairs of one sending host in this round."""
        for nic in range(self.counts[host]):
            found = self.target(turn, host, nic)
            if found:
                yield host, nic, found[0], found[1]

    def pairs(self, turn: Round) -> t.Iterator[Pair]:
        return itertools.chain.from_iterable(self.sends(turn, host) for host in range(len(self.counts)))

    def size(self) -> int:
        """How many pairs the rounds hold."""
        if self.allowed is None and len(set(self.counts)) == 1:
            return len(self.rounds) * sum(self.counts)
        return sum(1 for turn in self.rounds for _pair in self.pairs(turn))


def directed_pairs(counts: t.Sequence[int]) -> int:
    """How many directed pairs of NICs on different hosts there are."""
    total = sum(counts)
    return sum(count * (total - count) for count in counts)


def least_rounds(counts: t.Sequence[int]) -> int:
    """No schedule is shorter: the NIC with the most peers sends to one of them a round."""
    have = [count for count in counts if count]
    return sum(have) - min(have) if len(have) > 1 else 0


def all_shifts(hosts: int, width: int) -> t.Iterator[Round]:
    """Every round once; the two that tell a rail-only fabric from a mesh come first."""
    if hosts < 2 or not width:
        return
    first = [Round(1, 0), Round(1, 1)][:width]
    yield from first
    for nics in range(width):
        for shift in range(1, hosts):
            if Round(shift, nics) not in first:
                yield Round(shift, nics)


def full(counts: t.Sequence[int]) -> Schedule:
    """All directed pairs; rounds that padding leaves empty are left out."""
    counts = tuple(counts)
    everything = tuple(all_shifts(len(counts), max(counts, default=0)))
    return _without_empty(Schedule(counts, everything), uniform=len(set(counts)) == 1)


def masked(counts: t.Sequence[int], allowed: Allowed) -> Schedule:
    """The pairs that ``allowed`` lets through."""
    counts = tuple(counts)
    everything = tuple(all_shifts(len(counts), max(counts, default=0)))
    return _without_empty(Schedule(counts, everything, allowed), uniform=False)


def increment(counts: t.Sequence[int], new: t.Collection[int]) -> Schedule:
    """The pairs with at least one end on a new host: what is left to probe when hosts join a measured mesh."""
    fresh = frozenset(new)
    unknown = sorted(host for host in fresh if not 0 <= host < len(counts))
    if unknown:
        raise ValueError(f"there is no host {unknown[0]}: {len(counts)} hosts are known")
    return masked(counts, lambda host, _nic, peer, _other: host in fresh or peer in fresh)


def between(senders: int, receivers: int) -> list[list[tuple[int, int]]]:
    """Each sender to each receiver once, in max(m, n) rounds: the largest degree, hence the fewest.

    The reverse direction fits into the same rounds, as links are full duplex.
    """
    length = max(senders, receivers) if senders and receivers else 0
    return [
        [(x, (x + shift) % length) for x in range(senders) if (x + shift) % length < receivers]
        for shift in range(length)
    ]


def sampled(counts: t.Sequence[int], budget: int, seed: int = 0) -> Schedule:
    """Host shifts by powers of two with every NIC shift, then random rounds until ``budget`` rounds are used.

    A fault of a whole NIC, host or rail shows in any round. One that hits the share f of a NIC's paths is missed by s
    rounds with probability (1-f)^s.
    """
    counts = tuple(counts)
    hosts, width = len(counts), max(counts, default=0)
    if budget < 2:
        raise ValueError(f"a sample of {budget} rounds cannot tell rails from a mesh: at least 2 are needed")
    powers = [1 << bit for bit in range(hosts.bit_length()) if 1 << bit < hosts]
    first = dict.fromkeys([*itertools.islice(all_shifts(hosts, width), 2)])
    first.update(dict.fromkeys(Round(shift, nics) for shift in powers for nics in range(width)))
    rest = [turn for turn in all_shifts(hosts, width) if turn not in first]
    random.Random(seed).shuffle(rest)
    return _without_empty(Schedule(counts, tuple([*first, *rest][:budget])), uniform=len(set(counts)) == 1)


def _without_empty(schedule: Schedule, *, uniform: bool) -> Schedule:
    if uniform:
        return schedule
    kept = tuple(turn for turn in schedule.rounds if next(schedule.pairs(turn), None))
    return Schedule(schedule.counts, kept, schedule.allowed)
