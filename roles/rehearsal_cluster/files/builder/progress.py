# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress that a person understands: which of how many, how long it took, how long it may still take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

HEARTBEAT_SECONDS = 30.0
# A warm Go cache makes a build far quicker than the table says, a busy machine or a slow network slower; the first
# tasks (which also download) must not decide alone, so the table counts as so many seconds of experience.
PRIOR_SECONDS = 60.0


@dataclass(frozen=True)
class Task:
    """A piece of work and how long it takes from empty caches on two cores."""

    label: str
    seconds: float


def clock_text(seconds: float) -> str:
    """Render minutes and seconds."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


def seconds_text(seconds: float) -> str:
    """Render a duration: tenths below ten seconds."""
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def remaining(tasks: Sequence[Task], done: int, spent: float, running: float = 0.0) -> float:
    """Estimate the seconds left: the table's figures, scaled by how the finished tasks compared with them."""
    expected = sum(task.seconds for task in tasks[:done])
    ratio = (spent + PRIOR_SECONDS) / (expected + PRIOR_SECONDS)
    left = [task.seconds * ratio for task in tasks[done:]]
    return max(0.0, sum(left) - (min(running, left[0]) if left else 0.0))


class Progress:
    """Prints tasks as they start, run and end."""

    def __init__(
        self,
        tasks: Sequence[Task],
        stream: TextIO,
        *,
        live: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tasks = list(tasks)
        self.stream = stream
        self.live = stream.isatty() if live is None else live
        self.clock = clock
        self.done = 0
        self.spent = 0.0
        self.spoke = 0.0

    def head(self, task: Task) -> str:
        """Render the number and name of the running task."""
        width = len(str(len(self.tasks)))
        return f"[{self.done + 1:>{width}}/{len(self.tasks)}] {task.label} ..."

    def left(self, running: float = 0.0) -> str:
        """Render the estimate; empty when nothing is left."""
        if self.done >= len(self.tasks):
            return ""
        return f" ({clock_text(remaining(self.tasks, self.done, self.spent, running))} left?)"

    def say(self, text: str, end: str = "\n") -> None:
        """Print, over the live line if there is one."""
        self.stream.write(("\r\x1b[K" if self.live else "") + text + end)
        self.stream.flush()

    @contextmanager
    def task(self) -> Iterator[Callable[[], None]]:
        """Run the next task; gives the function to call while it runs."""
        task, begin = self.tasks[self.done], self.clock()
        self.spoke = begin
        self.say(self.head(task), end="" if self.live else "\n")

        def tick() -> None:
            now = self.clock()
            if self.live or now - self.spoke >= HEARTBEAT_SECONDS:
                self.spoke = now
                running = f"{self.head(task)} {now - begin:.0f} s so far{self.left(now - begin)}"
                self.say(running, end="" if self.live else "\n")

        head = self.head(task)
        try:
            yield tick
        except BaseException:
            self.say(f"{head} stopped after {seconds_text(self.clock() - begin)}")
            raise
        seconds = self.clock() - begin
        self.done += 1
        self.spent += seconds
        self.say(f"{head} {seconds_text(seconds)}{self.left()}")
