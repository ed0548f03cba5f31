# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured for each directed pair of NICs. Private to the collection; it may change at any time.

Also mounted beside the prober in its pod: standard library only, Python 3.9, no imports from the collection.

A row is a Python integer in which bit d stands for the pair from the row's NIC to NIC d. Each outcome has a plane of
such rows, so that 8,192 x 8,192 pairs are a few times 8 MB and whole rows are compared at once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import typing as t
import zlib
from dataclasses import dataclass

SCHEMA = 1
#: The position is the code in the encoded matrix. NOT_MEASURED is 0: a matrix of zeros must not read as "all fine".
CODES = (
    "NOT_MEASURED",
    "OK",
    "SLOW",
    "NO_ACK",
    "NO_DELIVERY",
    "AH_FAIL",
    "RTR_FAIL",
    "RTS_FAIL",
    "RETRY_EXC",
    "RNR",
    "LOC_PROT",
    "WRONG_PEER",
    "CORRUPT",
    "SMALL_OK_MTU_FAIL",
    "OTHER",
)
NUMBER = {name: number for number, name in enumerate(CODES)}
USABLE = ("OK", "SLOW")
#: The payload arrived where it should. On RC success needs the way back too, so that direction shows here alone.
DELIVERED = ("OK", "SLOW", "NO_ACK")
#: Something from the sender reached the receiver, which tells that both of their NICs live.
ARRIVED = (*DELIVERED, "SMALL_OK_MTU_FAIL", "CORRUPT")

Rows = tuple[int, ...]
Json = dict[str, t.Any]


class MatrixError(ValueError):
    """The text is no matrix; str() names field and position."""


@dataclass(frozen=True)
class Nic:
    """A port of a device. ``host`` is the position of its host, ``index`` its position on that host."""

    host: int
    index: int
    name: str


@dataclass(frozen=True)
class Matrix:
    """``planes`` holds the rows of every code that occurs, but NOT_MEASURED; a pair has at most one code."""

    hosts: tuple[str, ...]
    nics: tuple[Nic, ...]
    planes: t.Mapping[str, Rows]

    @property
    def size(self) -> int:
        return len(self.nics)

    def rows(self, codes: t.Iterable[str]) -> Rows:
        """The pairs with one of the codes."""
        found = [self.planes[code] for code in codes if code in self.planes]
        if not found:
            return (0,) * self.size
        if len(found) == 1:
            return found[0]
        return tuple(_union(rows) for rows in zip(*found))  # noqa: B905 - strict is of Python 3.10

    def host_masks(self) -> tuple[int, ...]:
        masks = [0] * len(self.hosts)
        for position, nic in enumerate(self.nics):
            masks[nic.host] |= 1 << position
        return tuple(masks)

    def counts(self) -> tuple[int, ...]:
        return tuple(bit_count(mask) for mask in self.host_masks())

    def wanted(self) -> Rows:
        """All pairs on different hosts."""
        everything, masks = (1 << self.size) - 1, self.host_masks()
        return tuple(everything & ~masks[nic.host] for nic in self.nics)

    def code(self, source: int, target: int) -> str:
        found = (code for code, rows in self.planes.items() if rows[source] >> target & 1)
        return next(found, CODES[0])

    def label(self, position: int) -> str:
        nic = self.nics[position]
        return f"{self.hosts[nic.host]}/{nic.name}"

    def without_hosts(self, hosts: t.Collection[int]) -> Matrix:
        """The same with all pairs of these hosts not measured."""
        masks = self.host_masks()
        return self.without_nics(_union(masks[host] for host in hosts))

    def without_nics(self, gone: int) -> Matrix:
        """The same with all pairs of the NICs in this mask not measured."""
        planes = {
            code: tuple(0 if gone >> position & 1 else row & ~gone for position, row in enumerate(rows))
            for code, rows in self.planes.items()
        }
        return Matrix(self.hosts, self.nics, {code: rows for code, rows in planes.items() if any(rows)})


def bit_count(mask: int) -> int:
    return bin(mask).count("1")  # int.bit_count is of Python 3.10


def bits(mask: int) -> t.Iterator[int]:
    """The positions of the set bits, upwards."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _union(masks: t.Iterable[int]) -> int:
    found = 0
    for mask in masks:
        found |= mask
    return found


def transpose(rows: t.Sequence[int], size: int) -> Rows:
    """Swap rows and columns: halves of blocks are exchanged in the whole matrix at once, once per power of two."""
    side = max(8, 1 << max(0, size - 1).bit_length())
    width = side // 8
    packed = b"".join(row.to_bytes(width, "little") for row in rows) + bytes(width * (side - len(rows)))
    whole, step = int.from_bytes(packed, "little"), side // 2
    while step:
        # In rows with the step's bit clear, columns with it set: they change places with their mirror image.
        line = _stripe(side, step)
        mask = int.from_bytes(
            (line.to_bytes(width, "little") * step + bytes(width * step)) * (side // 2 // step), "little"
        )
        shift = step * (side - 1)
        moved = ((whole >> shift) ^ whole) & mask
        whole ^= moved ^ (moved << shift)
        step //= 2
    out = whole.to_bytes(side * width, "little")
    return tuple(int.from_bytes(out[line * width : (line + 1) * width], "little") for line in range(size))


def _stripe(side: int, step: int) -> int:
    block, period = ((1 << step) - 1) << step, 2 * step
    while period < side:
        block |= block << period
        period *= 2
    return block


def build(hosts: t.Sequence[str], nics: t.Sequence[Nic], planes: t.Mapping[str, t.Sequence[int]]) -> Matrix:
    """A matrix whose parts fit each other, or MatrixError."""
    unknown = [code for code in planes if code not in NUMBER]
    if unknown:
        raise MatrixError(f"unknown code {unknown[0]!r}")
    kept = {code: tuple(rows) for code, rows in planes.items() if code != CODES[0] and any(rows)}
    matrix = Matrix(tuple(hosts), tuple(nics), kept)
    _check_nics(matrix)
    wanted, seen = matrix.wanted(), [0] * matrix.size
    for code, rows in kept.items():
        if len(rows) != matrix.size:
            raise MatrixError(f"{code} has {len(rows)} rows, there are {matrix.size} NICs")
        for position, row in enumerate(rows):
            if row & ~wanted[position]:
                raise MatrixError(f"{code}, row {position}: a pair on one host, or beyond the last NIC")
            if row & seen[position]:
                raise MatrixError(f"{code}, row {position}: a pair has two codes")
            seen[position] |= row
    return matrix


def _check_nics(matrix: Matrix) -> None:
    if len(set(matrix.hosts)) != len(matrix.hosts):
        twice = next(name for name in matrix.hosts if matrix.hosts.count(name) > 1)
        raise MatrixError(f"host {twice!r} occurs twice")
    seen = set()
    for position, nic in enumerate(matrix.nics):
        if not 0 <= nic.host < len(matrix.hosts):
            raise MatrixError(f"nics[{position}]: no host {nic.host}")
        if (nic.host, nic.name) in seen:
            raise MatrixError(f"nics[{position}]: {matrix.label(position)} occurs twice")
        seen.add((nic.host, nic.name))


# --- one byte per pair, as files and messages hold it ---


def row_bytes(planes: t.Mapping[str, int], size: int) -> bytes:
    """A row of code numbers, one byte per pair."""
    total = 0
    for code, row in planes.items():
        if row:
            number = NUMBER[code]
            text = format(row, f"0{size}b").translate({48: 0, 49: number})
            total |= int.from_bytes(text.encode("ascii"), "big")
    return total.to_bytes(size, "little")


#: Per code number, the table that makes its bytes "1" and all others "0".
_ONES = [bytes(49 if value == number else 48 for value in range(256)) for number in range(len(CODES))]


def row_planes(line: bytes) -> dict[str, int]:
    """The planes of a row of code numbers; the reverse of row_bytes."""
    turned = line[::-1]
    return {CODES[number]: int(turned.translate(_ONES[number]), 2) for number in set(line) if number}


def encode(matrix: Matrix) -> str:
    """All codes row by row, compressed, as text."""
    packer, size = zlib.compressobj(6), matrix.size
    parts = [
        packer.compress(row_bytes({code: rows[position] for code, rows in matrix.planes.items()}, size))
        for position in range(size)
    ]
    return base64.b64encode(b"".join([*parts, packer.flush()])).decode("ascii")


def decode(data: str, size: int) -> dict[str, list[int]]:
    """The planes in ``encode``'s text. Nothing is inflated beyond size x size bytes."""
    try:
        packed = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MatrixError(f"reach.data: not base64: {error}") from error
    planes: dict[str, list[int]] = {}
    unpacker = zlib.decompressobj()
    pending, position = packed, 0
    while position < size:
        line, pending = _inflate(unpacker, pending, size)
        if len(line) < size:
            raise MatrixError(f"reach.data: ends in row {position} of {size}")
        if max(line) >= len(CODES):
            raise MatrixError(f"reach.data: row {position}: unknown code {max(line)}")
        for code, row in row_planes(line).items():
            planes.setdefault(code, [0] * size)[position] = row
        position += 1
    if _inflate(unpacker, pending, 1)[0] or not unpacker.eof:
        raise MatrixError(f"reach.data: longer than {size} x {size} pairs, or cut off")
    return planes


def _inflate(unpacker: t.Any, pending: bytes, wanted: int) -> tuple[bytes, bytes]:
    found = b""
    while len(found) < wanted and (pending or not unpacker.eof):
        try:
            part = unpacker.decompress(pending, wanted - len(found))
        except zlib.error as error:
            raise MatrixError(f"reach.data: not compressed by zlib: {error}") from error
        more = unpacker.unconsumed_tail
        if not part and more == pending:
            break
        if not part and not more:
            return found, b""
        found, pending = found + part, more
    return found, pending


def as_dict(matrix: Matrix) -> Json:
    """The matrix as files hold it."""
    return {
        "schema": SCHEMA,
        "hosts": list(matrix.hosts),
        "nics": [[nic.host, nic.index, nic.name] for nic in matrix.nics],
        "reach": {"codes": list(CODES), "data": encode(matrix)},
    }


def from_dict(data: t.Any) -> Matrix:
    """The reverse of as_dict; MatrixError names the field that does not fit."""
    try:
        schema, hosts, listed, reach = data["schema"], data["hosts"], data["nics"], data["reach"]
        text, codes = reach["data"], reach["codes"]
    except (KeyError, TypeError) as error:
        raise MatrixError(f"field {error} is missing") from error
    if schema != SCHEMA:
        raise MatrixError(f"schema is {schema!r}, this reads {SCHEMA}")
    if codes != list(CODES):
        raise MatrixError(f"reach.codes: {codes!r} instead of {list(CODES)!r}")
    if not isinstance(hosts, list) or not all(isinstance(name, str) for name in hosts):
        raise MatrixError("hosts: not a list of names")
    if not isinstance(text, str):
        raise MatrixError("reach.data: not text")
    nics = []
    for position, entry in enumerate(listed if isinstance(listed, list) else [listed]):
        if not (isinstance(entry, list) and [type(part) for part in entry] == [int, int, str]):
            raise MatrixError(f"nics[{position}]: {entry!r} is not host, index, name")
        nics.append(Nic(*entry))
    return build(hosts, nics, decode(text, len(nics)))


def fingerprint(facts: t.Mapping[str, t.Any]) -> str:
    """What a kept verdict stands for: node UIDs and boot ids, NIC GUIDs, driver, transport, mask."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
