# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a scenario to its cache: what it needs, what of that is missing, and building the missing part."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from . import debian, gotool, programs, store
from .cache import SUMS, Cache, digest, need_space, read_json, write_json
from .families import Family, family
from .progress import Progress, Task
from .scenarios import Scenario
from .store import StoreInputs

SCHEMA = 1
ALL = frozenset({"programs", "systems", "store"})
# Measured: a stripped program, a file system's tar with its packages, the registry's folder with its tars; Go's caches
# after a build from nothing, and what a build adds to filled ones.
PROGRAM_BYTES, SYSTEM_BYTES, STORE_BYTES = 70_000_000, 500_000_000, 500_000_000
COLD_BYTES, WARM_BYTES = (5_000_000_000, 3_000_000_000), (500_000_000, 100_000_000)


@dataclass(frozen=True)
class Target:
    """What a scenario needs and where in the cache each part belongs; all of it known before anything is built."""

    scenario: Scenario
    go: gotool.Go
    architecture: str
    families: tuple[Family, ...]
    folders: Mapping[str, Path]
    systems: Mapping[str, Path]
    packages: Mapping[str, Path]

    def built(self) -> list[programs.Built]:
        """List the programs that are in the cache, with their recorded checksums."""
        made = [p for row in self.families for p in programs.built(self.folders[row.name], row)]
        for folder in self.packages.values():
            version, sums = debian.package_record(folder)
            made += [programs.Built(name, version, folder / name, value) for name, value in sums.items()]
        return made


@dataclass
class Missing:
    """What of a target cannot be used as it is, and why."""

    programs: dict[str, dict[str, str]] = field(default_factory=dict)
    systems: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    store: str = ""

    def __bool__(self) -> bool:
        """Tell whether anything is missing."""
        return bool(self.programs or self.systems or self.packages or self.store)

    def lines(self) -> list[str]:
        """Render one line per missing part."""
        rows = [f"{name}: {why}" for found in self.programs.values() for name, why in found.items()]
        rows += [f"{name}.tar: {why}" for name, why in self.systems.items()]
        rows += [f"{name} of Debian: {why}" for name, why in self.packages.items()]
        return rows + ([f"images and charts: {self.store}"] if self.store else [])


def target(scenario: Scenario, cache: Cache, env: Mapping[str, str]) -> Target:
    """Compute what a scenario needs, without building or installing anything."""
    go, architecture = gotool.find(env), gotool.architecture()
    rows = tuple(family(name) for name in scenario.families)
    return Target(
        scenario,
        go,
        architecture,
        rows,
        {
            row.name: programs.family_folder(cache, row, programs.family_key(row, go.version, architecture))
            for row in rows
        },
        {name: debian.folder(cache, debian.system(name), architecture) for name in scenario.systems},
        {name: debian.package_folder(cache, debian.package(name), architecture) for name in scenario.packages},
    )


def store_inputs(wanted: Target) -> StoreInputs:
    """Collect what the images and charts are made of; complete only once programs and systems are built."""
    records = {name: read_json(path / SUMS) or {} for name, path in wanted.systems.items()}
    return StoreInputs(
        images=wanted.scenario.images,
        charts=wanted.scenario.charts,
        definitions=wanted.scenario.definitions,
        programs={p.name: (p.path, p.sha256) for p in wanted.built()},
        base=wanted.systems["base"] / "base.tar",
        base_sha256=records.get("base", {}).get("sha256", ""),
        architecture=wanted.architecture,
        helm_version=family("helm").version,
    )


def missing(wanted: Target, cache: Cache, parts: frozenset[str] = ALL) -> Missing:
    """Hash what is cached and name what cannot be used."""
    result = Missing()
    if "programs" in parts:
        result.programs = programs.broken(wanted.folders, wanted.families)
    if "systems" in parts:
        found = {name: debian.broken(path, name) for name, path in wanted.systems.items()}
        result.systems = {name: why for name, why in found.items() if why}
        broken = {name: debian.package_broken(path) for name, path in wanted.packages.items()}
        result.packages = {name: why for name, why in broken.items() if why}
    if "store" in parts:
        lacking = {name for found in result.programs.values() for name in found}
        lacking |= {name for package in result.packages for name, _path in debian.package(package).programs}
        inputs = store_inputs(wanted)
        outdated = "base" in result.systems or bool(lacking.intersection(store.used_programs(inputs.recipes)))
        result.store = "their parts are not built yet" if outdated else store.broken(inputs, cache)
    return result


class Engine:
    """Builds what is missing, one task after the other (go itself uses every core)."""

    def __init__(self, cache: Cache, env: Mapping[str, str], stream: TextIO = sys.stdout) -> None:
        self.cache, self.env, self.stream = cache, env, stream
        self.seconds: dict[str, float] = {}
        self.told: set[str] = set()

    def ensure(self, scenario: Scenario, parts: frozenset[str] = ALL) -> dict[str, Any]:
        """Bring the cache to what the scenario needs; returns the manifest."""
        begin = time.monotonic()
        wanted = target(scenario, self.cache, self.env)
        if self.complete(wanted, parts):
            # Without the lock: it works on a read-only cache and beside another scenario's build.
            kind = "complete, nothing to build"
        else:
            self.cache.prepare()
            with self.cache.lock(self.waiting):
                self.cache.sweep()
                lacking = missing(wanted, self.cache, parts)
                if lacking:
                    self.build(wanted, lacking)
                if parts == ALL:
                    self.publish(scenario, make_manifest(wanted, self.cache))
            kind = "built" if lacking else "complete, nothing to build"
        spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())
        seconds = f"{time.monotonic() - begin:.1f} s{f' ({spent})' if spent else ''}"
        self.say(f"Scenario {scenario.name}: {kind}, {seconds}, {self.cache.folder}")
        return make_manifest(wanted, self.cache, parts)

    def complete(self, wanted: Target, parts: frozenset[str]) -> bool:
        """Tell whether there is nothing to do."""
        if missing(wanted, self.cache, parts):
            return False
        return parts != ALL or read_json(manifest_path(self.cache, wanted.scenario)) == make_manifest(
            wanted, self.cache
        )

    def waiting(self, holder: str) -> None:
        """Say once who holds the lock."""
        if holder not in self.told:
            self.told.add(holder)
            self.say(f"Another build (process {holder}) uses this cache: waiting for it ...")

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Record the seconds of a part."""
        begin = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - begin

    def publish(self, scenario: Scenario, manifest: dict[str, Any]) -> None:
        """Write the manifest if it changed."""
        path = manifest_path(self.cache, scenario)
        if read_json(path) != manifest:
            path.parent.mkdir(exist_ok=True)
            write_json(path, manifest)

    def say(self, text: str) -> None:
        """Print a line."""
        self.stream.write(text + "\n")
        self.stream.flush()

    def build(self, wanted: Target, lacking: Missing) -> None:
        """Build programs, then file systems, then images and charts."""
        tasks = [*self.program_tasks(wanted, lacking), *self.system_tasks(lacking)]
        if lacking.store:
            tasks += store.tasks(store_inputs(wanted), self.cache)
        total = sum(len(row.programs) for row in wanted.families)
        have = total - sum(len(found) for found in lacking.programs.values())
        self.say(f"Scenario {wanted.scenario.name}: {have} of {total} programs cached, {len(tasks)} tasks to do")
        for line in lacking.lines():
            if "checksum" in line:
                self.say(f"  {line}: built again")
        self.check_space(lacking)
        progress = Progress(tasks, self.stream)
        if lacking.programs:
            with self.timed("programs"):
                for row in wanted.families:
                    if row.name in lacking.programs:
                        self.build_family(wanted, row, lacking.programs[row.name], progress)
        if lacking.systems or lacking.packages:
            with self.timed("file systems"):
                self.build_systems(wanted, lacking, progress)
        # A program that is built again is the same as before, and so are the images with it.
        if lacking.store and store.broken(store_inputs(wanted), self.cache):
            with self.timed("images and charts"):
                store.build(store_inputs(wanted), self.cache, wanted.go, self.env, progress)

    def check_space(self, lacking: Missing) -> None:
        """Compare free space with what will be written."""
        count = sum(len(found) for found in lacking.programs.values())
        size = count * PROGRAM_BYTES + len(lacking.systems) * SYSTEM_BYTES + bool(lacking.store) * STORE_BYTES
        wanted = [(self.cache.folder, size)]
        if count:
            folders = gotool.caches(self.env)
            wanted += zip(folders, WARM_BYTES if (folders[0] / "00").exists() else COLD_BYTES, strict=True)
        need_space(wanted)

    @staticmethod
    def program_tasks(wanted: Target, lacking: Missing) -> list[Task]:
        """List the programs to build."""
        return [
            Task(f"{program.name} {row.version}", program.seconds)
            for row in wanted.families
            for program in row.programs
            if program.name in lacking.programs.get(row.name, {})
        ]

    @staticmethod
    def system_tasks(lacking: Missing) -> list[Task]:
        """List the file systems to make."""
        systems = [debian.system(name) for name in lacking.systems]
        packages = [debian.package(name) for name in lacking.packages]
        tasks = [Task(f"{row.name}.tar (Debian {row.suite})", row.seconds) for row in systems]
        return tasks + [Task(f"{row.name} (Debian {row.suite})", row.seconds) for row in packages]

    def build_family(self, wanted: Target, row: Family, lacking: Mapping[str, str], progress: Progress) -> None:
        """Build a family's missing programs; its folder changes in one step, also when only some could be built."""
        folder = wanted.folders[row.name]
        stopped: BaseException | None = None
        with self.cache.scratch(row.name) as scratch, self.cache.new_folder(folder) as fresh:
            work = programs.FamilyBuild(row, self.cache, wanted.go, env=self.env, fresh=fresh, scratch=scratch)
            work.keep(folder, [program for program in row.programs if program.name not in lacking])
            try:
                for program in row.programs:
                    if program.name in lacking:
                        with progress.task() as tick:
                            work.build(program, tick)
            except BaseException as error:
                if not work.sums:
                    raise
                stopped = error
            work.finish()
        if stopped is not None:
            raise stopped

    def build_systems(self, wanted: Target, lacking: Missing, progress: Progress) -> None:
        """Make the missing file systems and take the missing programs from packages, with one apt per suite."""
        with self.cache.scratch("apt") as scratch:
            known: dict[str, debian.Apt] = {}

            def apt(suite: str, tick: Callable[[], None]) -> debian.Apt:
                if suite not in known:
                    (scratch / suite).mkdir()
                    known[suite] = debian.Apt(scratch / suite, suite, wanted.architecture, self.env)
                    known[suite].update(tick)
                return known[suite]

            for row in map(debian.system, lacking.systems):
                with progress.task() as tick, self.cache.new_folder(wanted.systems[row.name]) as fresh:
                    debian.make(row, apt(row.suite, tick), fresh, tick)
            for package in map(debian.package, lacking.packages):
                with progress.task() as tick, self.cache.new_folder(wanted.packages[package.name]) as fresh:
                    debian.make_programs(package, apt(package.suite, tick), fresh, tick)


def manifest_path(cache: Cache, scenario: Scenario) -> Path:
    """Return where a scenario's manifest is."""
    return cache.path("manifests", f"{scenario.name}.json")


def make_manifest(wanted: Target, cache: Cache, parts: frozenset[str] = ALL) -> dict[str, Any]:
    """Describe the cache's part of a scenario, as the cluster role reads it."""
    manifest: dict[str, Any] = {
        "schema": SCHEMA,
        "scenario": wanted.scenario.name,
        "go": wanted.go.version,
        "programs": {p.name: {"path": str(p.path), "sha256": p.sha256, "version": p.version} for p in wanted.built()},
    }
    if "systems" in parts:
        record = read_json(wanted.systems["rootfs"] / SUMS) or {}
        manifest["rootfs"] = {"path": str(wanted.systems["rootfs"] / "rootfs.tar"), **record}
    if "store" in parts:
        manifest |= store.describe(store_inputs(wanted), cache)
    return {**manifest, "key": digest(manifest)}


def manifest_paths(manifest: Any) -> list[Path]:
    """List the paths that a manifest names."""
    if isinstance(manifest, dict):
        return [path for value in manifest.values() for path in manifest_paths(value)]
    return [Path(manifest)] if isinstance(manifest, str) and manifest.startswith("/") else []
