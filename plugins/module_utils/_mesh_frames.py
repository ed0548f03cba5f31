# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One result in one log, whole or not at all. Private to the collection; it may change at any time.

Also mounted beside the prober in its pod: standard library only, Python 3.9, no imports from the collection.

A pod's log merges both output streams, is cut by rotation, and may hold an earlier run's lines. Each line has a prefix
and the run's id; the last one has the number of chunks and a keyed checksum of all of them. Lines stay below 4 KiB:
container runtimes split longer ones. The log is never bare JSON: the kubernetes client would decode it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import typing as t
import zlib

PREFIX = "RDMA-MESH"
CHUNK = 3000
#: A result of 1,024 hosts with 8 NICs is a few MB. Nothing beyond this is inflated.
LARGEST = 256 << 20


class FrameError(ValueError):
    """The log holds no whole result of the run; str() says what is wrong."""


def write(run_id: str, text: str, key: str = "") -> t.Iterator[str]:
    """The lines of a result."""
    packed = base64.b64encode(zlib.compress(text.encode("utf-8"), 6)).decode("ascii")
    chunks = [packed[start : start + CHUNK] for start in range(0, len(packed), CHUNK)]
    for number, chunk in enumerate(chunks, 1):
        yield f"{PREFIX} {run_id} {number}/{len(chunks)} {chunk}"
    yield f"{PREFIX} {run_id} end {len(chunks)} {checksum(run_id, packed, key)}"


def checksum(run_id: str, packed: str, key: str) -> str:
    return hmac.new(key.encode(), f"{run_id}\n{packed}".encode(), hashlib.sha256).hexdigest()


def progress(run_id: str, **facts: t.Any) -> str:
    """A line that tells how far the run is."""
    return f"{PREFIX} {run_id} progress {json.dumps(facts, sort_keys=True, separators=(',', ':'))}"


def read(log: str, run_id: str, key: str = "") -> str:
    """The result in the log. Lines of other runs and other writers are passed over."""
    chunks, total, seal = _collect(log, run_id)
    if total is None:
        raise FrameError(f"the log ends without the last line of run {run_id}: {len(chunks)} chunks")
    missing = [number for number in range(1, total + 1) if number not in chunks]
    if missing or len(chunks) != total:
        raise FrameError(f"{len(chunks)} of {total} chunks, the first that is missing is {missing[:1] or 'none'}")
    packed = "".join(chunks[number] for number in range(1, total + 1))
    if not hmac.compare_digest(checksum(run_id, packed, key), seal):
        raise FrameError("the checksum does not fit: lines were changed or forged")
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(base64.b64decode(packed, validate=True), LARGEST)
    except (binascii.Error, zlib.error) as error:
        raise FrameError(f"the chunks do not unpack: {error}") from error
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise FrameError(f"the result is cut off, or larger than {LARGEST >> 20} MiB")
    return text.decode("utf-8")


def ended(log: str, run_id: str) -> bool:
    """Whether the last line of the result is there, good or bad."""
    return re.search(rf"^{PREFIX} {re.escape(run_id)} end .*\n", log, re.MULTILINE) is not None


def _collect(log: str, run_id: str) -> tuple[dict[int, str], int | None, str]:
    chunks: dict[int, str] = {}
    total, seal = None, ""
    for line in log.splitlines():
        words = line.split(" ")
        if len(words) < 4 or words[0] != PREFIX or words[1] != run_id or words[2] == "progress":
            continue
        if words[2] == "end":
            if total is not None:
                raise FrameError("the last line occurs twice")
            total, seal = _number(words[3]), words[4] if len(words) == 5 else ""
            continue
        number = _number(words[2].partition("/")[0])
        if number in chunks:
            raise FrameError(f"chunk {number} occurs twice")
        chunks[number] = words[3]
    return chunks, total, seal


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise FrameError(f"{text[:20]!r} is no number of a chunk")
    return int(text)


def read_progress(log: str, run_id: str) -> list[dict[str, t.Any]]:
    """What the progress lines of the run tell, in their order; broken ones are passed over."""
    found = []
    start = f"{PREFIX} {run_id} progress "
    for line in log.splitlines():
        if line.startswith(start):
            try:
                facts = json.loads(line[len(start) :])
            except ValueError:
                continue
            if isinstance(facts, dict):
                found.append(facts)
    return found
