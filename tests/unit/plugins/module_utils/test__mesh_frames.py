# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A result is read whole or not at all."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_frames as frames

TEXT = '{"a": "' + "".join(f"{number:x}-" for number in range(9000)) + '"}'
RUN, KEY = "run-7", "secret"
LINES = list(frames.write(RUN, TEXT, KEY))


def read(lines: t.Iterable[str]) -> str:
    return frames.read("\n".join(lines), RUN, KEY)


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=9000), st.text("abc-123", min_size=1, max_size=20))
def test_what_is_written_is_read(text: str, run_id: str) -> None:
    assert frames.read("\n".join(frames.write(run_id, text, KEY)), run_id, KEY) == text


def test_lines_are_short_and_plain() -> None:
    assert len(LINES) > 3
    assert max(map(len, LINES)) <= 4096, "container runtimes split longer lines"
    assert all(line.isascii() for line in LINES)


def test_other_lines_do_not_matter() -> None:
    other = list(frames.write("run-6", "{}", KEY))
    noise = ["", "warning: RDMA-MESH", *other, f"{frames.PREFIX} {RUN}", frames.progress(RUN, phase="join")]
    assert read([*noise, *LINES[:2], *noise, *LINES[2:], *noise]) == TEXT
    assert read(reversed(LINES)) == TEXT


def flipped(line: str) -> str:
    head, _space, chunk = line.rpartition(" ")
    return f"{head} {'A' if chunk[0] != 'A' else 'B'}{chunk[1:]}"


FORGED = list(frames.write(RUN, '{"verdict": "FULL_MESH"}', "guess"))
BROKEN: list[tuple[str, list[str], str]] = [
    ("empty", [], "without the last line of run run-7: 0 chunks"),
    ("truncated", LINES[:-1], "without the last line"),
    ("first line rotated away", LINES[1:], r"of 1?\d chunks, the first that is missing is \[1\]"),
    ("one lost", [*LINES[:1], *LINES[2:]], r"missing is \[2\]"),
    ("repeated", [*LINES, LINES[0]], "chunk 1 occurs twice"),
    ("two ends", [*LINES, LINES[-1]], "the last line occurs twice"),
    ("changed", [flipped(LINES[0]), *LINES[1:]], "changed or forged"),
    ("forged", FORGED, "changed or forged"),
    ("forged end", [*LINES[:-1], FORGED[-1]], "chunks|changed or forged"),
    ("cut line", [LINES[0][:-40], *LINES[1:]], "changed or forged"),
    ("strange number", [f"{frames.PREFIX} {RUN} x/9 AAAA", *LINES], "'x' is no number"),
    ("strange count", [*LINES[:-1], f"{frames.PREFIX} {RUN} end -1 ab"], "'-1' is no number"),
    ("of another run", list(frames.write("run-8", TEXT, KEY)), "without the last line"),
]


@pytest.mark.parametrize(("lines", "message"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_anything_else_is_refused(lines: list[str], message: str) -> None:
    with pytest.raises(frames.FrameError, match=message):
        read(lines)


def test_a_log_ends_with_its_whole_last_line() -> None:
    log = "\n".join([frames.progress(RUN, phase="join"), *LINES])
    assert not frames.ended(log, RUN), "the rest of the line may be on its way"
    assert frames.ended(log + "\n", RUN)
    assert not frames.ended(log + "\n", "run-8")
    assert not frames.ended("\n".join(LINES[:-1]) + "\n", RUN)


def test_the_key_is_part_of_the_seal() -> None:
    with pytest.raises(frames.FrameError, match="forged"):
        frames.read("\n".join(LINES), RUN, "another")


def test_a_bomb_is_not_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "LARGEST", 1000)
    with pytest.raises(frames.FrameError, match="larger than"):
        frames.read("\n".join(frames.write(RUN, "x" * 1001, KEY)), RUN, KEY)


def test_progress() -> None:
    log = "\n".join([frames.progress(RUN, phase="join", joined=3), frames.progress("other", phase="join"),
                     f"{frames.PREFIX} {RUN} progress {{", f"{frames.PREFIX} {RUN} progress []", *LINES])  # fmt: skip
    assert frames.read_progress(log, RUN) == [{"phase": "join", "joined": 3}]
