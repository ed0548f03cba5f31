# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what senders and receivers saw to one code per directed pair.

A report has the outcome of a small and of a full payload as planes of rows per sending NIC, and per receiving NIC the
senders whose payloads landed. The sender's status alone does not tell the direction: on RC it needs the way back.
"""

from __future__ import annotations

import base64
import binascii
import typing as t
import zlib
from dataclasses import dataclass, field

import mesh_matrix as matrix
import mesh_schedule as schedule

#: What a sender without any other status has seen.
SILENCE = {"udp": "NO_DELIVERY", "rdma": "RETRY_EXC"}
#: Codes that a sender can report on its own.
SENDER = ("OK", "AH_FAIL", "RTR_FAIL", "RTS_FAIL", "RETRY_EXC", "RNR", "LOC_PROT", "OTHER")
RECEIVER = ("seen", "seen_full", "damaged")

Json = dict[str, t.Any]
Rows = list[int]


class ReportError(ValueError):
    """A report does not have the shape that it should."""


@dataclass
class Merged:
    planes: dict[str, Rows]
    errors: list[list[t.Any]] = field(default_factory=list)


def pack(rows: t.Sequence[int], size: int) -> str:
    width = (size + 7) // 8
    return base64.b64encode(zlib.compress(b"".join(row.to_bytes(width, "little") for row in rows), 1)).decode("ascii")


def unpack(text: t.Any, count: int, size: int) -> Rows:
    """``count`` rows of ``size`` bits; no more is inflated."""
    width = (size + 7) // 8
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(text, validate=True), count * width + 1)
    except (TypeError, ValueError, binascii.Error, zlib.error) as error:
        raise ReportError(f"rows do not unpack: {error}") from error
    if len(data) != count * width:
        raise ReportError(f"{len(data)} bytes of rows, {count * width} are expected")
    rows = [int.from_bytes(data[line * width : (line + 1) * width], "little") for line in range(count)]
    if any(row >> size for row in rows):
        raise ReportError("a row has more bits than there are NICs")
    return rows


def report(
    host: int,
    size: int,
    *,
    small: t.Mapping[str, Rows],
    full: t.Mapping[str, Rows],
    landed: t.Mapping[str, Rows],
    wrong: t.Sequence[t.Sequence[int]] = (),
    errors: t.Sequence[t.Sequence[t.Any]] = (),
) -> Json:
    """What an agent sends of its own NICs at the end."""
    return {
        "type": "report",
        "host": host,
        "small": {code: pack(rows, size) for code, rows in small.items() if any(rows)},
        "full": {code: pack(rows, size) for code, rows in full.items() if any(rows)},
        **{name: pack(landed[name], size) for name in RECEIVER if any(landed.get(name, ()))},
        "wrong": [list(pair) for pair in wrong],
        "errors": [list(error) for error in errors],
    }


@dataclass
class _Seen:
    """All reports side by side, by position of the NIC."""

    size: int
    small: dict[str, Rows] = field(default_factory=dict)
    full: dict[str, Rows] = field(default_factory=dict)
    landed: dict[str, Rows] = field(default_factory=dict)
    wrong: Rows = field(default_factory=list)
    errors: list[list[t.Any]] = field(default_factory=list)

    def add(self, found: Json, mine: t.Sequence[int]) -> None:
        for name in ("small", "full"):
            planes = getattr(self, name)
            for code, text in _mapping(found, name).items():
                if code not in SENDER:
                    raise ReportError(f"a sender cannot report {code!r}")
                self._put(planes.setdefault(code, [0] * self.size), text, mine)
        for name in RECEIVER:
            if found.get(name):
                self._put(self.landed.setdefault(name, [0] * self.size), found[name], mine)
        for source, target in found.get("wrong") or ():
            if 0 <= source < self.size and 0 <= target < self.size:
                self.wrong[source] |= 1 << target
        self.errors += [error for error in found.get("errors") or () if len(error) == 4]

    def _put(self, rows: Rows, text: t.Any, mine: t.Sequence[int]) -> None:
        for position, row in zip(mine, unpack(text, len(mine), self.size)):  # noqa: B905 - of Python 3.10
            rows[position] = row


def _mapping(found: Json, name: str) -> Json:
    value = found.get(name) or {}
    if not isinstance(value, dict):
        raise ReportError(f"{name} is no mapping")
    return value


def merge(transport: str, nics: t.Sequence[matrix.Nic], reports: t.Iterable[Json], plan: schedule.Schedule) -> Merged:
    """The planes of the pairs that the plan holds, between hosts that reported."""
    size = len(nics)
    by_host: dict[int, list[int]] = {}
    for position, nic in enumerate(nics):
        by_host.setdefault(nic.host, []).append(position)
    seen = _Seen(size, wrong=[0] * size)
    joined = 0
    for found in reports:
        mine = by_host.get(found["host"], [])
        seen.add(found, mine)
        for position in mine:
            joined |= 1 << position
    tested = [row & joined if joined >> at & 1 else 0 for at, row in enumerate(planned(nics, plan))]
    return Merged(_codes(transport, seen, tested), seen.errors)


def planned(nics: t.Sequence[matrix.Nic], plan: schedule.Schedule) -> Rows:
    """The pairs of the plan as rows."""
    hosts = len(plan.counts)
    if plan.allowed is None and len(plan.rounds) == len(schedule.full(plan.counts).rounds):
        return list(matrix.Matrix(("",) * hosts, tuple(nics), {}).wanted())
    offset, at = [], 0
    for count in plan.counts:
        offset.append(at)
        at += count
    rows = [0] * len(nics)
    for turn in plan.rounds:
        for host, nic, peer, other in plan.pairs(turn):
            rows[offset[host] + nic] |= 1 << (offset[peer] + other)
    return rows


def _codes(transport: str, seen: _Seen, tested: Rows) -> dict[str, Rows]:
    size = seen.size
    landed = {name: matrix.transpose(rows, size) for name, rows in seen.landed.items()}
    none = (0,) * size
    seen_small, seen_full = landed.get("seen", none), landed.get("seen_full", none)
    damaged = landed.get("damaged", none)
    small_ok, full_ok = seen.small.get("OK", none), seen.full.get("OK", none)
    planes: dict[str, Rows] = {}

    def put(code: str, row: int, position: int, rest: int) -> int:
        """Give the code to the pairs of the row that have none yet."""
        if row & rest:
            planes.setdefault(code, [0] * size)[position] = planes.get(code, none)[position] | (row & rest)
        return rest & ~row

    for at in range(size):
        # A completion without the nonce at the receiver went to another host, or was damaged.
        unseen = ~seen_full[at] if transport == "rdma" else 0
        rest = put("OK", full_ok[at] & small_ok[at] & ~unseen, at, tested[at])
        rest = put("WRONG_PEER", seen.wrong[at], at, rest)
        rest = put("CORRUPT", damaged[at], at, rest)
        rest = put("WRONG_PEER", full_ok[at] & unseen, at, rest)
        # Without a completion of the small payload the full one was never sent on RC: its nonce alone has to tell.
        arrived = seen_full[at] | (seen_small[at] & ~small_ok[at] if transport == "rdma" else 0)
        rest = put("NO_ACK", arrived, at, rest)
        rest = put("SMALL_OK_MTU_FAIL", small_ok[at] | seen_small[at], at, rest)
        for code in SENDER[1:]:
            rest = put(code, seen.small.get(code, none)[at], at, rest)
        put(SILENCE[transport], rest, at, rest)
    return planes
