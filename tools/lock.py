# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compile requirements/*.in to one hashed lock per lane and purpose (run, test, sanity).

Pins that are in a lock already stay; ``--upgrade`` takes the newest versions.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
LANES = {"py311": "3.11", "py312": "3.12"}
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s\\;]+)", re.MULTILINE)


def pins(lock: str) -> dict[str, str]:
    """Return name (lower case) -> version of a requirements text."""
    return {match["name"].lower(): match["version"] for match in PIN.finditer(lock)}


def merge_pins(texts: dict[str, str]) -> str:
    """Merge pinned requirement files to one; a package may be pinned once only."""
    merged: dict[str, tuple[str, str]] = {}
    for source, text in sorted(texts.items()):
        for name, version in pins(text).items():
            seen_version, seen_source = merged.setdefault(name, (version, source))
            if seen_version != version:
                raise SystemExit(f"{name} is pinned to {seen_version} in {seen_source} and to {version} in {source}")
    return "".join(f"{name}=={version}\n" for name, (version, _source) in sorted(merged.items()))


def compile_command(uv: str, python: str, output: Path, sources: list[Path], upgrade: bool) -> list[str]:
    """Return the command that compiles one lock."""
    return [
        *(uv, "pip", "compile", "--quiet", "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links"),
        *("--custom-compile-command", "make lock", "--python-version", python),
        *(["--upgrade"] if upgrade else []),
        *("--output-file", os.path.relpath(output, REQUIREMENTS)),
        *(os.path.relpath(source, REQUIREMENTS) for source in sources),
    ]


def sanity_pins(uv: str, python: str, run_lock: Path) -> str:
    """Return what ansible-test of this lane's ansible-core pins for its sanity tests."""
    core = pins(run_lock.read_text(encoding="utf-8"))["ansible-core"]
    with tempfile.TemporaryDirectory() as folder:
        target = ("--target", folder, "--no-deps", "--python-version", python, "--no-build", f"ansible-core=={core}")
        subprocess.run([uv, "pip", "install", "--quiet", *target], check=True)
        data = Path(folder, "ansible_test", "_data", "requirements")
        return merge_pins({path.name: path.read_text(encoding="utf-8") for path in data.glob("sanity.*.txt")})


def lock_lane(uv: str, lane: str, python: str, upgrade: bool) -> None:
    """Compile the three locks of one lane."""
    run_lock, test_lock, sanity_lock = (REQUIREMENTS / f"{name}-{lane}.txt" for name in ("run", "test", "sanity"))
    lane_in = REQUIREMENTS / f"lane-{lane}.in"
    run_sources = [lane_in, REQUIREMENTS / "run.in"]
    with tempfile.TemporaryDirectory(dir=REQUIREMENTS, prefix=".lock-") as folder:
        sanity_in = Path(folder, "sanity.in")
        commands = [compile_command(uv, python, run_lock, run_sources, upgrade)]
        test = compile_command(uv, python, test_lock, [*run_sources, REQUIREMENTS / "test.in"], upgrade)
        commands.append([*test, "--constraint", run_lock.name])
        for command in commands:
            subprocess.run(command, check=True, cwd=REQUIREMENTS)
        sanity_in.write_text(sanity_pins(uv, python, run_lock), encoding="utf-8")
        command = [*compile_command(uv, python, sanity_lock, [sanity_in], upgrade), "--no-annotate", "--no-deps"]
        subprocess.run(command, check=True, cwd=REQUIREMENTS)
    for lock in (run_lock, test_lock, sanity_lock):
        print(f"{lock.relative_to(ROOT)}: {len(pins(lock.read_text(encoding='utf-8')))} packages")


def main() -> int:
    """Compile all lanes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    arguments = parser.parse_args()
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        sys.exit("lock: uv is missing; run make setup first")
    for lane, python in LANES.items():
        lock_lane(uv, lane, python, arguments.upgrade)
    return 0


if __name__ == "__main__":
    sys.exit(main())
