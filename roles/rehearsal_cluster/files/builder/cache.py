# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache: where it is, its lock, folders that appear whole or not at all, and checksums."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import BuildError, advice

CHUNK = 1 << 20
OWNED = ("bin", "layers", "charts", "images", "manifests", "tools", "tmp")
LOCK = ".builder.lock"
SUMS = "sums.json"


def root(env: Mapping[str, str]) -> Path:
    """Return the cache's folder for this environment."""
    if env.get("LLMD_WIDE_EP_CACHE"):
        return Path(env["LLMD_WIDE_EP_CACHE"]).expanduser().absolute()
    base = env.get("XDG_CACHE_HOME") or str(Path(env.get("HOME") or Path.home()) / ".cache")
    return Path(base).expanduser().absolute() / "llmd-wide-ep"


def digest(value: Any) -> str:
    """Hash a value of plain types: the same value has the same key everywhere."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Hash a file's content."""
    state = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            state.update(chunk)
    return state.hexdigest()


def sha256_files(paths: Iterable[Path]) -> dict[Path, str | None]:
    """Hash many files in threads (hashlib releases the interpreter lock); None for one that cannot be read."""

    def one(path: Path) -> str | None:
        try:
            return sha256_file(path)
        except OSError:
            return None

    wanted = list(paths)
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        return dict(zip(wanted, pool.map(one, wanted), strict=True))


def tree_digest(folder: Path) -> str:
    """Hash a folder: relative names, executable bits and contents; not its own record or compiled Python."""
    rows = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        if path == folder / SUMS:
            continue
        rows.append([path.relative_to(folder).as_posix(), bool(path.stat().st_mode & 0o100), sha256_file(path)])
    return digest(rows)


def read_json(path: Path) -> Any:
    """Read a JSON file; None if it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file that appears whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
    temporary.rename(path)


def free_bytes(path: Path) -> tuple[int, int]:
    """Return the file system's number and free bytes of a path, or of the nearest folder above it that exists."""
    while not path.exists():
        path = path.parent
    return path.stat().st_dev, shutil.disk_usage(path).free


def need_space(wanted: Iterable[tuple[Path, int]]) -> None:
    """Refuse to start what cannot end: free space of each file system against what is to be written there."""
    needed: dict[int, int] = {}
    for path, size in wanted:
        device, free = free_bytes(path)
        needed[device] = needed.get(device, 0) + size
        if free < needed[device]:
            sizes = f"{free / 1e9:.1f} GB free; this build needs about {needed[device] / 1e9:.1f} GB."
            raise BuildError(f"The disk of {path} has {sizes}", advice("no space left on device"))


class Cache:
    """A cache folder of one user."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, *parts: str) -> Path:
        """Return a path inside the cache."""
        return self.folder.joinpath(*parts)

    def prepare(self) -> None:
        """Create the cache, or say why it cannot be written."""
        try:
            self.path("tmp").mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path("tmp")):
                pass
        except OSError as error:
            fix = "make it writable for this user, or set LLMD_WIDE_EP_CACHE to a folder that is."
            if error.errno == errno.ENOSPC:
                fix = "free disk space, or set LLMD_WIDE_EP_CACHE to a folder on another disk."
            raise BuildError(f"The cache {self.folder} cannot be written: {error.strerror}.", fix) from error

    @contextmanager
    def lock(self, waiting: Callable[[str], None], every: float = 1.0) -> Iterator[None]:
        """Hold the cache's lock; `waiting` is told who has it while it is another process's."""
        with self.path(LOCK).open("a+") as stream:
            while True:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    stream.seek(0)
                    waiting(stream.read().strip() or "unknown")
                    time.sleep(every)
            stream.seek(0)
            stream.truncate()
            stream.write(f"{os.getpid()}\n")
            stream.flush()
            try:
                yield
            finally:
                stream.truncate(0)

    def unused(self, keep: Iterable[Path]) -> list[Path]:
        """List the built folders that none of the given paths is in."""
        kept = {path for inside in keep for path in (inside, *inside.parents)}
        folders = (item for name in ("bin", "layers", "charts", "images") for item in self.path(name).glob("*"))
        return sorted(item for item in folders if item not in kept)

    def sweep(self) -> None:
        """Remove what an interrupted run left; only with the lock held."""
        for left in self.path("tmp").glob("*"):
            remove(left)

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """Give a temporary folder on the cache's file system."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.path("tmp")))
        try:
            yield folder
        finally:
            remove(folder)

    @contextmanager
    def new_folder(self, target: Path) -> Iterator[Path]:
        """Give an empty folder that takes the target's place when the block ends well."""
        with self.scratch(target.name) as scratch:
            fresh = scratch / "new"
            fresh.mkdir()
            yield fresh
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                target.rename(scratch / "old")
            fresh.rename(target)


def remove(path: Path) -> None:
    """Remove a file or folder, also one with read-only folders in it (Go's module files are)."""
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    for folder, _names, _files in os.walk(path):
        os.chmod(folder, 0o700)
    shutil.rmtree(path, ignore_errors=True)
