# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give this checkout its Python environment and make Ansible find the collection in it.

The interpreter that runs this script decides the lane (requirements/*-py311.txt or *-py312.txt). The environment
lives in the cache under a hash of its lock and interpreter, so that all checkouts with the same lock share it; .venv is
a link to it. Needs neither root nor anything but Python 3.11 or newer with the venv module.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from _paths import ROOT, cache_root

# Newest first: the first lane whose Python is not newer than ours is taken.
LANES = (((3, 12), "py312"), ((3, 11), "py311"))
# A later purpose contains the earlier ones with the same pins.
PURPOSES = ("run", "test")
LINK = Path(".ansible", "collections", "ansible_collections", "llmd", "wide_ep")
LINK_TARGET = Path("..", "..", "..", "..")
MARKER = ".complete"


class SetupError(Exception):
    """Something the user has to fix; the message says how."""


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"setup: {text}", flush=True)


def candidates(path: str) -> list[str]:
    """Return the names of new enough interpreters in the folders of PATH, newest first.

    They are started once: the shims of version managers exist for versions that are not active.
    """
    names = [f"python3.{minor}" for minor in range(19, 10, -1)]
    found = [(name, shutil.which(name, path=path)) for name in names]
    return [name for name, program in found if program and starts(program)]


def starts(program: str) -> bool:
    """Return whether an interpreter works."""
    return subprocess.run([program, "-c", ""], capture_output=True, check=False).returncode == 0


def pick_lane(version: tuple[int, int], path: str) -> str:
    """Return the lane for a Python version."""
    for oldest, lane in LANES:
        if version >= oldest:
            return lane
    found = candidates(path)
    fix = (
        f"make setup PYTHON={found[0]}" if found else "install Python 3.11 or newer, then make setup PYTHON=python3.11"
    )
    raise SetupError(f"Python 3.11 or newer is needed, {sys.executable} is {version[0]}.{version[1]}. Try: {fix}")


def venv_key(lock: bytes, interpreter: str) -> str:
    """Return the name of the environment that a lock and an interpreter determine."""
    return hashlib.sha256(lock + b"\0" + interpreter.encode()).hexdigest()[:16]


def interpreter_identity() -> str:
    """Return what makes an environment of this interpreter unusable with another one."""
    base = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    return "\n".join((base, sys.version, sys.platform, platform.machine()))


def venv_path(purpose: str, lane: str) -> Path:
    """Return where the environment for a purpose belongs."""
    lock = ROOT / "requirements" / f"{purpose}-{lane}.txt"
    if not lock.is_file():
        raise SetupError(f"{lock} is missing: this checkout is not complete")
    return cache_root() / "venv" / f"{purpose}-{lane}-{venv_key(lock.read_bytes(), interpreter_identity())}"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file beside ``path``; say so when another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{path}.lock", "w", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f"waiting for another setup of {path.name}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def pip_environment() -> dict[str, str]:
    """Return the environment for pip: the user's registry settings, but nothing that redirects the installation."""
    dropped = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIREMENT", "PIP_CONSTRAINT")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def run(command: list[str], hint: str) -> None:
    """Run a command quietly; on failure raise with its output and a hint."""
    done = subprocess.run(command, env=pip_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        output = done.stdout.decode(errors="replace").strip()
        raise SetupError(f"{output}\nfailed: {' '.join(command)}\n{hint}")


def create_venv(path: Path, lock: Path) -> None:
    """Create an environment at its final place (they cannot be moved); the marker is written last."""
    if path.exists():
        say(f"removing {path}, which an interrupted setup left")
        shutil.rmtree(path)
    hint = "Python's venv module does not work. On Debian and Ubuntu: apt-get install python3-venv; or another PYTHON="
    run([sys.executable, "-m", "venv", str(path)], hint)
    # Byte code is made when first imported: compiling the whole bundle takes longer than installing it.
    pip = [str(path / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps"]
    hint = "Is the Python package registry reachable? pip's own configuration and PIP_* variables are honored."
    run([*pip, "--require-hashes", "--requirement", str(lock)], hint)
    (path / MARKER).touch()


def ensure_venv(purpose: str, lane: str) -> Path:
    """Return a complete environment for a purpose, made if needed; the widest, so that no target takes away tools."""
    for wider in reversed(PURPOSES[PURPOSES.index(purpose) :]):
        path = venv_path(wider, lane)
        if (path / MARKER).exists():
            return path
    path = venv_path(purpose, lane)
    with locked(path):
        if not (path / MARKER).exists():
            say(f"installing {purpose}-{lane}.txt into {path} (a minute or two, once per lock)")
            started = time.monotonic()
            create_venv(path, ROOT / "requirements" / f"{purpose}-{lane}.txt")
            say(f"installed in {time.monotonic() - started:.0f} s")
    return path


def ensure_link(link: Path, target: Path) -> None:
    """Make ``link`` point to ``target``; what is not a link is not touched."""
    if link.is_symlink():
        if Path(os.readlink(link)) == target:
            return
    elif link.exists():
        raise SetupError(f"{link} is in the way: it must be a link to {target}. Move it away, then make setup")
    link.parent.mkdir(parents=True, exist_ok=True)
    # Replaced by rename, so that a concurrent run never sees it missing.
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.symlink_to(target)
    temporary.replace(link)


def remove() -> None:
    """Remove the links of this checkout and the environments of all of them."""
    for link in (ROOT / ".venv", ROOT / LINK):
        if link.is_symlink():
            link.unlink()
    for name in ("venv", "sanity", "logs"):
        shutil.rmtree(cache_root() / name, ignore_errors=True)
    # What the builder and the clusters emptied before.
    for folder in (*sorted(cache_root().glob("*/")), cache_root()):
        with contextlib.suppress(OSError):
            folder.rmdir()
    say(f"removed the environments and logs in {cache_root()}")


def set_up(arguments: argparse.Namespace) -> None:
    """Create what is missing."""
    lane = pick_lane(sys.version_info[:2], os.environ.get("PATH", ""))
    venv = ensure_venv(arguments.purpose, lane)
    if arguments.print:
        print(venv)
        return
    ensure_link(ROOT / ".venv", venv)
    ensure_link(ROOT / LINK, LINK_TARGET)
    if not arguments.quiet:
        say(f"ready: Python {platform.python_version()}, lane {lane}, .venv -> {venv}")


def main() -> int:
    """Do what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--for", dest="purpose", choices=PURPOSES, default="run", help="what to install")
    parser.add_argument("--quiet", action="store_true", help="say nothing when there is nothing to do")
    parser.add_argument("--print", action="store_true", help="print the environment's folder instead of linking to it")
    parser.add_argument("--remove", action="store_true", help="remove what this script made")
    arguments = parser.parse_args()
    try:
        if arguments.remove:
            remove()
        else:
            set_up(arguments)
    except (SetupError, OSError, subprocess.SubprocessError) as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
