# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows what a long module says of its progress while it runs. Private to the collection; it may change at any time.

A module cannot print. It appends lines to a file, which is followed here, in the process of the action.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
import threading
import typing as t
from collections.abc import Callable, Iterator

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

#: Seconds between two looks into the file.
PAUSE = 0.5


class Follower:
    """Hands on each whole line of a file that grows, from where it ended at the beginning."""

    def __init__(self, path: pathlib.Path, show: Callable[[str], t.Any], pause: float = PAUSE) -> None:
        self.path = path
        self.show = show
        self.pause = pause
        self.position = path.stat().st_size if path.exists() else 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.follow, daemon=True)

    def __enter__(self) -> Follower:
        self.thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.ended.set()
        self.thread.join()
        self.look()

    def follow(self) -> None:
        while not self.ended.wait(self.pause):
            self.look()

    def look(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self.position)
            text = file.read()
        whole, newline, _rest = text.rpartition(b"\n")
        self.position += len(whole) + len(newline)
        for line in whole.decode("utf-8", "replace").splitlines():
            self.show(line)


@contextlib.contextmanager
def progress_file(given: str | None) -> Iterator[pathlib.Path]:
    """The file that was asked for, or one for the time of the task."""
    if given:
        yield pathlib.Path(given).expanduser()
        return
    handle, name = tempfile.mkstemp(dir=constants.DEFAULT_LOCAL_TMP, prefix="progress-")
    os.close(handle)
    try:
        yield pathlib.Path(name)
    finally:
        pathlib.Path(name).unlink(missing_ok=True)


class LiveModuleAction(ActionBase):
    """Runs the module of the same name on the host of the task, which is the control host, and shows its progress."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        with progress_file(arguments.get("progress_file")) as path, Follower(path, self._show):
            arguments["progress_file"] = str(path)
            done = self._execute_module(
                module_args=arguments, task_vars=task_vars, wrap_async=bool(self._task.async_val)
            )
        return {**result, **done}

    def _show(self, line: str) -> None:
        if not self._task.no_log:
            display.display(f"  {line}")
