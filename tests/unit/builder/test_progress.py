# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io

import pytest
from builder.progress import Progress, Task, clock_text, remaining, seconds_text
from hypothesis import given
from hypothesis import strategies as st

TASKS = [Task("etcd v3.6.14", 50), Task("kube-apiserver v1.36.3", 200), Task("kubelet v1.36.3", 20)]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "0:00"), (0, "0:00"), (59.6, "1:00"), (131, "2:11"), (3600, "60:00")]
)
def test_clock_text(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (10, "10 s"), (203.6, "204 s")])
def test_seconds_text(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("done", "spent", "running", "expected"),
    [
        (0, 0, 0, 270),  # nothing known: the table
        (1, 50, 0, 220),  # as the table says
        (1, 160, 0, 440),  # (160 + 60) / (50 + 60) = 2 times slower
        (1, 160, 30, 410),  # what already ran is taken off
        (1, 50, 999, 20),  # a task that takes longer than it should does not eat the others' time
        (3, 300, 0, 0),
    ],
)
def test_remaining(done: int, spent: float, running: float, expected: float) -> None:
    assert remaining(TASKS, done, spent, running) == pytest.approx(expected)


@given(st.integers(0, 3), st.floats(0, 1e5), st.floats(0, 1e5))
def test_remaining_is_never_negative(done: int, spent: float, running: float) -> None:
    assert remaining(TASKS, done, spent, running) >= 0


def test_lines_without_a_terminal() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(TASKS, stream, clock=clock)
    for seconds in (50, 75, 9.5):
        with progress.task() as tick:
            clock.now += seconds / 2
            tick()
            clock.now += seconds / 2
    assert stream.getvalue().splitlines() == [
        "[1/3] etcd v3.6.14 ...",
        "[1/3] etcd v3.6.14 ... 50 s (3:40 left?)",
        "[2/3] kube-apiserver v1.36.3 ...",
        "[2/3] kube-apiserver v1.36.3 ... 38 s so far (3:02 left?)",
        "[2/3] kube-apiserver v1.36.3 ... 75 s (0:12 left?)",
        "[3/3] kubelet v1.36.3 ...",
        "[3/3] kubelet v1.36.3 ... 9.5 s",
    ]


def test_numbers_are_aligned() -> None:
    stream = io.StringIO()
    progress = Progress([Task(f"p{n}", 1) for n in range(14)], stream, clock=Clock())
    for _number in range(14):
        with progress.task():
            pass
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("[ 1/14] p0 ...")
    assert lines[-1].startswith("[14/14] p13 ...")


def test_heartbeat_comes_every_half_minute() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress(TASKS, stream, clock=clock).task() as tick:
        for _second in range(100):
            clock.now += 1
            tick()
    assert [line for line in stream.getvalue().splitlines() if "so far" in line] == [
        "[1/3] etcd v3.6.14 ... 30 s so far (4:00 left?)",
        "[1/3] etcd v3.6.14 ... 60 s so far (3:40 left?)",
        "[1/3] etcd v3.6.14 ... 90 s so far (3:40 left?)",
    ]


def test_terminal_shows_one_live_line() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress(TASKS[:1], stream, live=True, clock=clock).task() as tick:
        clock.now += 2
        tick()
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.split("\r\x1b[K")[-1] == "[1/1] etcd v3.6.14 ... 2.0 s\n"
    assert "2 s so far (0:48 left?)" in text


def test_a_stopped_task_is_not_shown_as_done() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(TASKS, stream, clock=clock)

    def interrupted() -> None:
        with progress.task():
            clock.now += 3
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert stream.getvalue().splitlines()[-1] == "[1/3] etcd v3.6.14 ... stopped after 3.0 s"
    assert progress.done == 0
