# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that appear whole or not at all. Private to the collection; it may change at any time."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import stat
import typing as t


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One file as it should be. ``inherit`` gives it to the owner of the nearest folder that was there before."""

    path: pathlib.Path
    content: bytes
    mode: int = 0o644
    inherit: bool = False


def nearest_existing(path: pathlib.Path) -> pathlib.Path:
    while not path.exists():
        path = path.parent
    return path


def make_folders(folder: pathlib.Path, owner: tuple[int, int] | None) -> None:
    """Create missing parents, readable by all but owned like the folder they are made in."""
    missing: list[pathlib.Path] = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for item in reversed(missing):
        item.mkdir(mode=0o755, exist_ok=True)
        if owner is not None:
            os.chown(item, *owner)


def differs(wanted: Wanted) -> bool:
    try:
        found = wanted.path.stat()
        return wanted.path.read_bytes() != wanted.content or stat.S_IMODE(found.st_mode) != wanted.mode
    except FileNotFoundError:
        return True


def write(wanted: Wanted) -> None:
    """Write beside the target and rename, so that an interruption leaves the old file or the new one."""
    owner: tuple[int, int] | None = None
    if wanted.inherit:
        found = nearest_existing(wanted.path.parent).stat()
        owner = (found.st_uid, found.st_gid)
    make_folders(wanted.path.parent, owner)
    temporary = wanted.path.with_name(f".{wanted.path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, wanted.mode)
    with os.fdopen(descriptor, "wb") as stream:
        os.fchmod(descriptor, wanted.mode)
        if owner is not None:
            os.fchown(descriptor, *owner)
        stream.write(wanted.content)
    temporary.replace(wanted.path)


def ensure(files: t.Iterable[Wanted], check_mode: bool) -> list[Wanted]:
    """Write what differs; returns it."""
    changed = [wanted for wanted in files if differs(wanted)]
    if not check_mode:
        for wanted in changed:
            write(wanted)
    return changed
