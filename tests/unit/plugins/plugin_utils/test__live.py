# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib
import threading

import pytest

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _live
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._live import Follower, progress_file


def append(path: pathlib.Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def test_lines_are_shown_while_it_runs(tmp_path: pathlib.Path) -> None:
    """Whole lines alone, none twice, and none that were there before."""
    path = tmp_path / "progress"
    append(path, "of an earlier run\n")
    shown: list[str] = []
    seen = threading.Event()

    def show(line: str) -> None:
        shown.append(line)
        seen.set()

    with Follower(path, show, pause=0.01):
        append(path, "one\ntw")
        assert seen.wait(10)
        assert shown == ["one"]
        append(path, "o\nthree\nfou")
    assert shown == ["one", "two", "three"]


def test_a_file_that_comes_later_or_never(tmp_path: pathlib.Path) -> None:
    shown: list[str] = []
    with Follower(tmp_path / "late", shown.append, pause=0.01):
        append(tmp_path / "late", "first\n")
    with Follower(tmp_path / "never", shown.append, pause=0.01):
        pass
    assert shown == ["first"]


def test_progress_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was asked for stays; one of the task's own is private and goes."""
    monkeypatch.setattr(_live.constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    with progress_file(str(tmp_path / "mine")) as path:
        append(path, "x\n")
    assert (tmp_path / "mine").read_text() == "x\n"
    with progress_file(None) as path:
        assert path.stat().st_mode & 0o077 == 0
        append(path, "x\n")
    assert not path.exists()
