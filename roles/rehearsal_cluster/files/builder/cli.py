# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from . import engine
from .cache import LOCK, OWNED, Cache, read_json, remove, root
from .engine import ALL, Engine
from .errors import BuildError
from .scenarios import SCENARIOS, Scenario, scenario

Verb = Callable[[Cache, Scenario, argparse.Namespace], int]


def _build(parts: frozenset[str]) -> Verb:
    def verb(cache: Cache, wanted: Scenario, _options: argparse.Namespace) -> int:
        Engine(cache, os.environ).ensure(wanted, parts)
        return 0

    return verb


def check(cache: Cache, wanted: Scenario, _options: argparse.Namespace) -> int:
    """Compare the cache with what the scenario needs; nothing is written."""
    goal = engine.target(wanted, cache, os.environ)
    lines = engine.missing(goal, cache).lines()
    if not lines and read_json(engine.manifest_path(cache, wanted)) != engine.make_manifest(goal, cache):
        lines = [f"{engine.manifest_path(cache, wanted)}: missing or outdated"]
    for line in lines:
        print(line)
    print(f"Scenario {wanted.name}: {f'{len(lines)} parts missing; run `make binaries`' if lines else 'complete'}")
    return 1 if lines else 0


def show(cache: Cache, wanted: Scenario, _options: argparse.Namespace) -> int:
    """List every part of a scenario, its version, and whether and why it would be built."""
    goal = engine.target(wanted, cache, os.environ)
    lacking = engine.missing(goal, cache)
    for row in goal.families:
        for program in row.programs:
            state = lacking.programs.get(row.name, {}).get(program.name)
            print(f"{program.name:<26} {row.version:<10} {'build: ' + state if state else 'cached'}")
    for name in goal.systems:
        state = lacking.systems.get(name)
        print(f"{name + '.tar':<26} {'':<10} {'build: ' + state if state else 'cached'}")
    for name in goal.packages:
        state = lacking.packages.get(name)
        print(f"{name + ' of Debian':<26} {'':<10} {'build: ' + state if state else 'cached'}")
    state = "build: " + lacking.store if lacking.store else "cached"
    for name in (*wanted.images, *(f"chart {chart}" for chart in wanted.charts)):
        print(f"{name:<26} {'':<10} {state}")
    print(f"Go: {goal.go.version} ({goal.go.program or 'pinned, from PyPI'})")
    return 0


def clean(cache: Cache, _wanted: Scenario, options: argparse.Namespace) -> int:
    """Remove what the builder made, or only what no manifest names; nothing else."""
    if not cache.folder.exists():
        return 0
    cache.prepare()
    with cache.lock(Engine(cache, os.environ).waiting):
        if options.unused:
            manifests = [read_json(path) for path in cache.path("manifests").glob("*.json")]
            gone = cache.unused(path for manifest in manifests for path in engine.manifest_paths(manifest))
        else:
            gone = [cache.path(name) for name in OWNED if cache.path(name).exists()]
        for path in gone:
            remove(path)
            print(f"removed {path}")
    if not options.unused:
        cache.path(LOCK).unlink(missing_ok=True)
        if not any(cache.folder.iterdir()):
            cache.folder.rmdir()
    return 0


VERBS: Mapping[str, tuple[Verb, str]] = {
    "ensure": (_build(ALL), "build what is missing of a scenario and write its manifest"),
    "binaries": (_build(frozenset({"programs"})), "build only the programs of a scenario"),
    "check": (check, "say whether a scenario is complete and its checksums right; exit 1 if not"),
    "list": (show, "list what a scenario needs, and what would be built and why"),
    "clean": (clean, "remove what the builder made"),
}


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(prog="builder", description="Builds what the rehearsal cluster runs.")
    verbs = top.add_subparsers(dest="verb", required=True)
    for name, (_function, text) in VERBS.items():
        verb = verbs.add_parser(name, help=text, description=text)
        if name == "clean":
            verb.add_argument("--unused", action="store_true", help="only what no scenario's manifest names")
        else:
            verb.add_argument("--scenario", default=SCENARIOS[0].name, help="default: %(default)s")
    return top


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; errors become a message and exit code."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        wanted = scenario(getattr(options, "scenario", SCENARIOS[0].name))
        return VERBS[options.verb][0](Cache(root(os.environ)), wanted, options)
    except BuildError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        place = f" ({error.filename})" if error.filename else ""
        fix = "free disk space or make the cache writable; LLMD_WIDE_EP_CACHE moves it."
        print(f"ERROR: {BuildError(f'{error.strerror}{place}.', fix)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "\nInterrupted. What is finished is kept, nothing is left half-built; run again to go on.", file=sys.stderr
        )
        return 130
