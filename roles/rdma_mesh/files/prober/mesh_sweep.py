# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Datagrams to all peers and their acknowledgements, whatever carries them: each direction is known on its own."""

from __future__ import annotations

import struct
import time
import typing as t

from mesh_world import NONCE, World

#: Mark, version and kind, sender, receiver, payload's size. The nonce follows.
HEADER = struct.Struct("!4sBBIIH")
MARK, VERSION = b"WEPM", 1
SMALL, FULL, ACK = 0, 1, 2
#: Datagrams that are sent before those that arrived are read: a receiver without room drops silently.
BURST = 32

Json = dict[str, t.Any]
Rounds = t.Sequence[t.Any]


class Sweep:
    """Subclasses carry: ``transmit`` sends a datagram, ``turn`` reads what has arrived, ``room`` is a full payload."""

    def __init__(self, world: World, options: Json) -> None:
        self.world = world
        self.passes = int(options.get("passes", 3))
        self.settle = float(options.get("settle", 0.25))
        self.acked: dict[int, list[int]] = {SMALL: [0] * world.size, FULL: [0] * world.size}
        self.seen: dict[int, list[int]] = {SMALL: [0] * world.size, FULL: [0] * world.size}
        self.damaged = [0] * world.size
        self.wrong: set[tuple[int, int]] = set()
        self.errors: dict[tuple[int, int, int], int] = {}
        self.strange = 0

    def transmit(self, kind: int, source: int, target: int, body: bytes) -> None:
        raise NotImplementedError

    def turn(self, seconds: float) -> int:
        raise NotImplementedError

    def room(self, source: int, target: int) -> int:
        raise NotImplementedError

    # --- sending ---

    def sweep(self, tell: t.Callable[[Json], None]) -> None:
        """The schedule in order, the first two rounds alone; again for pairs that did not answer."""
        rounds = self.world.plan.rounds
        for number in range(self.passes):
            first = rounds[:2] if number == 0 else rounds
            self._send_rounds(first)
            self._settle(first)
            if number == 0:
                tell({"step": "first rounds", "same": self._answered(0), "cross": self._answered(1), "rounds": 2})
                self._send_rounds(rounds[2:])
                self._settle(rounds)
            missing, pairs = self.missing(rounds)
            tell({"step": f"pass {number + 1}", "rounds": len(rounds), "pairs": pairs, "failures": missing})
            if not missing:
                break

    def _answered(self, number: int) -> list[int]:
        """Answered and planned pairs of one round."""
        missing, pairs = self.missing(self.world.plan.rounds[number : number + 1])
        return [pairs - missing, pairs]

    def missing(self, rounds: Rounds) -> tuple[int, int]:
        """Pairs of these rounds that did not answer in both sizes, and all of them."""
        missing = planned = 0
        for turn in rounds:
            for source, target in self.world.targets(turn):
                planned += 1
                missing += not (self.acked[SMALL][source] & self.acked[FULL][source]) >> target & 1
        return missing, planned

    def _send_rounds(self, rounds: Rounds) -> None:
        sent = 0
        for turn in rounds:
            for source, target in self.world.targets(turn):
                for kind in (SMALL, FULL):
                    if not self.acked[kind][source] >> target & 1:
                        self.transmit(kind, source, target, self.body(kind, source, target))
                        sent += 1
                if sent >= BURST:
                    self.turn(0)
                    sent = 0

    def body(self, kind: int, source: int, target: int) -> bytes:
        size = self.room(source, target) if kind == FULL else NONCE
        head = HEADER.pack(MARK, VERSION, kind, source, target, size) + self.world.nonce(source, target, kind)
        return head + bytes([kind + 1]) * (size - NONCE)

    def _settle(self, rounds: Rounds) -> None:
        """Read until nothing has arrived for a while, or everything has."""
        quiet = time.monotonic() + self.settle
        hard = time.monotonic() + 20 * self.settle
        while time.monotonic() < min(quiet, hard):
            if self.turn(0.01):
                quiet = time.monotonic() + self.settle
            if not self.missing(rounds)[0]:
                return

    # --- receiving ---

    def take(self, position: int, data: bytes, answer: t.Callable[[int, bytes], None]) -> bool:
        """Count a datagram of this run and answer it; anything else is passed over."""
        if len(data) < HEADER.size + NONCE or data[:4] != MARK:
            self.strange += 1
            return False
        _mark, version, kind, source, target, size = HEADER.unpack_from(data)
        known = max(source, target) < self.world.size and version == VERSION and kind <= FULL + ACK
        if not known or data[HEADER.size : HEADER.size + NONCE] != self.world.nonce(source, target, kind):
            self.strange += 1
            return False
        if kind >= ACK:
            return self._take_ack(position, kind - ACK, source, target)
        if target != position:
            self.wrong.add((source, target))
        elif len(data) != HEADER.size + size or data[HEADER.size + NONCE :] != bytes([kind + 1]) * (size - NONCE):
            self.damaged[position] |= 1 << source
        else:
            self.seen[kind][position] |= 1 << source
            head = HEADER.pack(MARK, VERSION, kind + ACK, source, target, NONCE)
            answer(source, head + self.world.nonce(source, target, kind + ACK))
        return True

    def _take_ack(self, position: int, kind: int, source: int, target: int) -> bool:
        if source != position:
            self.strange += 1
            return False
        self.acked[kind][source] |= 1 << target
        return True
