# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are written whole, with their mode, and only when they differ."""

from __future__ import annotations

import pathlib

from ansible_collections.llmd.wide_ep.plugins.module_utils._rehearsal_files import Wanted, ensure


def test_a_second_run_writes_nothing(tmp_path: pathlib.Path) -> None:
    wanted = Wanted(tmp_path / "a/b/file", b"text", 0o600)
    assert ensure([wanted], check_mode=False) == [wanted]
    assert wanted.path.read_bytes() == b"text"
    assert wanted.path.stat().st_mode & 0o777 == 0o600
    assert ensure([wanted], check_mode=False) == []


def test_another_mode_is_a_difference(tmp_path: pathlib.Path) -> None:
    wanted = Wanted(tmp_path / "file", b"text", 0o600)
    ensure([wanted], check_mode=False)
    wanted.path.chmod(0o644)
    assert ensure([wanted], check_mode=False) == [wanted]
    assert wanted.path.stat().st_mode & 0o777 == 0o600


def test_check_mode_tells_and_writes_nothing(tmp_path: pathlib.Path) -> None:
    wanted = Wanted(tmp_path / "folder/file", b"text")
    assert ensure([wanted], check_mode=True) == [wanted]
    assert list(tmp_path.iterdir()) == []


def test_the_rest_of_an_interrupted_write_does_no_harm(tmp_path: pathlib.Path) -> None:
    (tmp_path / ".file.new").write_bytes(b"half")
    ensure([Wanted(tmp_path / "file", b"text", inherit=True)], check_mode=False)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
