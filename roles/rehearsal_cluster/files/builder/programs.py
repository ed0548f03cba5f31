# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the programs of a family from the committed workspace and checks those that are cached."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import gotool
from .cache import SUMS, Cache, digest, read_json, sha256_file, sha256_files, write_json
from .errors import BuildError
from .families import Family, Program, own_packages
from .gotool import ALONE_FLAGS, FLAGS, LINK_FLAGS, Go
from .process import run

WORKSPACE = Path(__file__).resolve().parent.parent / "workspace"
SCHEMA = 1
LOCK_TEMPLATE = (
    "{{with .Module}}{{.Path}} {{.Version}}{{with .Replace}} => {{.Path}} {{.Version}} {{.Sum}}{{else}} {{.Sum}}{{end}}"
    "{{end}}"
)


@dataclass(frozen=True)
class Built:
    """A program in the cache."""

    name: str
    version: str
    path: Path
    sha256: str


def link_flags(row: Family) -> str:
    """Render the linker's flags."""
    return " ".join([*LINK_FLAGS, *(f"-X {name}={value}" for name, value in row.stamps)])


def family_key(row: Family, go_version: str, architecture: str, workspace: Path = WORKSPACE) -> str:
    """Hash everything that determines a family's programs."""
    folder = workspace / row.name
    try:
        files = {name: sha256_file(folder / name) for name in ("go.mod", "modules.lock")}
    except FileNotFoundError as error:
        raise BuildError(
            f"The workspace has no {row.name}/{Path(error.filename).name}.", "run files/workspace/generate.py."
        ) from error
    for package in own_packages(row):
        files |= {path.relative_to(folder).as_posix(): sha256_file(path) for path in (folder / package).glob("*.go")}
    return digest(
        {
            "schema": SCHEMA,
            "go": go_version,
            "architecture": architecture,
            "flags": [*(ALONE_FLAGS if row.alone else FLAGS), link_flags(row)],
            "packages": [[p.name, p.package] for p in row.programs],
            "files": files,
        }
    )


def family_folder(cache: Cache, row: Family, key: str) -> Path:
    """Return the folder of a family's programs."""
    return cache.path("bin", f"{row.name}-{key[:16]}")


def recorded(folder: Path) -> dict[str, str]:
    """Return the recorded checksum of every program of a folder."""
    sums = read_json(folder / SUMS)
    return sums if isinstance(sums, dict) else {}


def broken(folders: Mapping[str, Path], rows: Iterable[Family]) -> dict[str, dict[str, str]]:
    """Hash what is cached: by family, each program that is not as recorded and why."""
    programs = [(row, p, folders[row.name] / p.name) for row in rows for p in row.programs]
    found = sha256_files(path for _row, _program, path in programs)
    result: dict[str, dict[str, str]] = {}
    for row, program, path in programs:
        wanted = recorded(folders[row.name]).get(program.name)
        if wanted is None or found[path] is None:
            result.setdefault(row.name, {})[program.name] = "not built yet"
        elif found[path] != wanted:
            result.setdefault(row.name, {})[program.name] = "its checksum is not the recorded one"
    return result


def built(folder: Path, row: Family) -> list[Built]:
    """List a family's programs with their recorded checksums."""
    sums = recorded(folder)
    return [Built(p.name, row.version, folder / p.name, sums[p.name]) for p in row.programs if p.name in sums]


def build_folder(row: Family, workspace: Path) -> Path:
    """Return the folder that go runs in."""
    return workspace / row.name if row.alone else workspace


def check_lock(row: Family, go: Path, env: Mapping[str, str], workspace: Path, tick: Callable[[], None]) -> None:
    """Compare the modules that go would compile in with the committed lock."""
    listed = run(
        [go, "list", "-deps", "-f", LOCK_TEMPLATE, *[p.package for p in row.programs]],
        env=env,
        cwd=build_folder(row, workspace),
        tick=tick,
    )
    seen = {line.strip() for line in listed.splitlines() if line and not line.startswith("go: ")}
    wanted = set((workspace / row.name / "modules.lock").read_text().splitlines())
    if seen != wanted:
        changed = sorted(f"- {line}" for line in wanted - seen) + sorted(f"+ {line}" for line in seen - wanted)
        raise BuildError(
            f"The workspace does not select the modules that {row.name}/modules.lock names.",
            "run files/workspace/generate.py and review the difference.",
            "\n".join(changed[:20]),
        )


class FamilyBuild:
    """One family's build: `program` for each that is missing, then `finish`."""

    def __init__(
        self, row: Family, cache: Cache, go: Go, *, env: Mapping[str, str], fresh: Path, scratch: Path
    ) -> None:
        self.row, self.cache, self.go = row, cache, go
        self.fresh, self.scratch = fresh, scratch
        self.workspace = scratch / "workspace"
        # A copy: go rewrites go.work.sum in workspace mode, whatever -mod says, and the checkout may be read-only.
        shutil.copytree(WORKSPACE, self.workspace, ignore=shutil.ignore_patterns("__pycache__"))
        self.env = gotool.environment(env, None if row.alone else self.workspace, scratch)
        self.program: Path | None = None
        self.sums: dict[str, str] = {}

    def keep(self, folder: Path, programs: Sequence[Program]) -> None:
        """Take over programs that are cached and right."""
        sums = recorded(folder)
        for program in programs:
            os.link(folder / program.name, self.fresh / program.name)
            self.sums[program.name] = sums[program.name]

    def build(self, program: Program, tick: Callable[[], None]) -> None:
        """Build one program."""
        if self.program is None:
            self.program = gotool.provide(self.go, self.cache, tick)
            check_lock(self.row, self.program, self.env, self.workspace, tick)
        target = self.fresh / program.name
        run(
            [self.program, "build", "-ldflags", link_flags(self.row), "-o", target, program.package],
            env=self.env,
            cwd=build_folder(self.row, self.workspace),
            tick=tick,
        )
        self.sums[program.name] = sha256_file(target)

    def finish(self) -> None:
        """Record the checksums of what is finished and drop the rest."""
        for path in self.fresh.iterdir():
            if path.name not in self.sums:
                path.unlink()
        write_json(self.fresh / SUMS, self.sums)
