# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of ``make test``, as data. Private to tools/."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Folders whose Python is typed.
TYPED = ("plugins", "tools", "roles/rehearsal_cluster/files/builder")
OLDEST_SECOND_LANE = (3, 12)


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command of the test run.

    ``name`` is group/what. ``after`` names stages that must have passed. ``missing`` tells why the stage cannot run on
    this machine. ``minutes`` is its usual time, from which the budget decides, ``limit`` when it is ended.
    """

    name: str
    command: tuple[str, ...]
    after: tuple[str, ...] = ()
    parallel: bool = False
    minutes: float = 1.0
    limit: float = 30.0
    missing: Callable[[], str | None] = lambda: None
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def group(self) -> str:
        return self.name.partition("/")[0]


def program(name: str) -> str:
    """Return a program of the environment that runs this."""
    return str(Path(sys.executable).parent / name)


def no_cluster_here() -> str | None:
    """Tell why the rehearsal cluster cannot run on this machine."""
    if not sys.platform.startswith("linux"):
        return f"the rehearsal cluster needs Linux, this is {sys.platform}"
    if os.geteuid() != 0 and not passwordless_sudo():
        return "the rehearsal cluster needs root, or sudo that asks for no password"
    return None


def passwordless_sudo() -> bool:
    sudo = shutil.which("sudo")
    return bool(sudo) and subprocess.run([str(sudo), "-n", "true"], capture_output=True, check=False).returncode == 0


def second_lane_python() -> str | None:
    """Return an interpreter of the lane that does not run this, if there is one.

    Version managers keep theirs outside of PATH; pyenv's are looked for because its shims refuse inactive versions.
    """
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for minor in (11,) if sys.version_info >= OLDEST_SECOND_LANE else (14, 13, 12):
        managed = sorted(root.glob(f"versions/3.{minor}.*/bin/python3"))
        for candidate in (shutil.which(f"python3.{minor}"), *map(str, managed)):
            if candidate and works(candidate):
                return candidate
    return None


def works(python: str) -> bool:
    return subprocess.run([python, "-c", "import venv"], capture_output=True, check=False).returncode == 0


def no_second_lane() -> str | None:
    other = "3.11" if sys.version_info >= OLDEST_SECOND_LANE else "3.12 or newer"
    return None if second_lane_python() else f"no Python {other} on this machine"


STATIC = (
    Stage("static/format", (program("ruff"), "format", "--check", "."), parallel=True, minutes=0.1),
    Stage("static/ruff", (program("ruff"), "check", "."), parallel=True, minutes=0.1),
    Stage("static/mypy", (program("mypy"), *TYPED), parallel=True, minutes=1),
    Stage(
        "static/ansible-lint",
        (program("ansible-lint"), "--offline", "--strict", "--profile", "production"),
        parallel=True,
        minutes=1,
    ),
    Stage("static/changelog", (program("antsibull-changelog"), "lint"), parallel=True, minutes=0.1),
)

CODE = (
    Stage("unit/pytest", (sys.executable, "-m", "pytest"), parallel=True, minutes=1),
    Stage("sanity/ansible-test", (sys.executable, "tools/sanity.py"), parallel=True, minutes=2),
    Stage(
        "lane/unit",
        (sys.executable, "tools/lane.py", "--", "python", "-m", "pytest"),
        parallel=True,
        minutes=2,
        missing=no_second_lane,
    ),
)


def playbook_step(name: str, step: str, **kwargs: Any) -> Stage:
    """Return a stage of the deployment on the tests' own rehearsal cluster."""
    command = (sys.executable, "tests/integration/site", step)
    return Stage(name, command, missing=no_cluster_here, **kwargs)


SITE = (
    playbook_step("site/binaries", "binaries", minutes=1, limit=45),
    playbook_step("site/cluster", "cluster", after=("site/binaries",), minutes=2),
    playbook_step("site/check-empty", "check_empty", after=("site/cluster",)),
    playbook_step("site/first", "first", after=("site/cluster",), minutes=2),
    playbook_step("site/again", "again", after=("site/first",)),
    playbook_step("site/check-converged", "check_converged", after=("site/first",)),
    playbook_step("faults/inputs", "bad_inputs", after=("site/cluster",)),
    playbook_step("faults/canary", "canary", after=("site/first",)),
    playbook_step("faults/verify", "verify_faults", after=("site/first",), minutes=2),
    playbook_step("faults/interrupt", "interrupt", after=("site/first",), minutes=3),
    playbook_step("cleanup/twice", "cleanup", after=("site/cluster",), minutes=2),
)
# Nothing of the tests stays on the machine, whatever failed before.
END = (playbook_step("cleanup/cluster", "remove_cluster", minutes=0),)
# One scenario runs with the other lane's versions: that of Helm, whose module differs most between them.
OTHER_LANE_SCENARIO = "router"


def molecule_stages(root: Path) -> tuple[Stage, ...]:
    """Return one stage per scenario folder; each begins and ends on a cluster without a deployment."""
    names = scenario_names(root)
    return tuple(
        Stage(
            f"molecule/{name}",
            (program("molecule"), "test", "--scenario-name", name),
            after=("site/cluster", "cleanup/twice"),
            minutes=2,
            missing=no_cluster_here,
        )
        for name in names
    )


def scenario_names(root: Path) -> list[str]:
    return sorted(path.parent.name for path in root.glob("molecule/*/molecule.yml"))


def other_lane_stages(root: Path) -> tuple[Stage, ...]:
    """Return the stage of the scenario that runs in the other lane, once it exists."""
    if OTHER_LANE_SCENARIO not in scenario_names(root):
        return ()
    command = (sys.executable, "tools/lane.py", "--", "molecule", "test", "--scenario-name", OTHER_LANE_SCENARIO)
    return (
        Stage(
            f"lane/{OTHER_LANE_SCENARIO}",
            command,
            after=("site/cluster", "cleanup/twice"),
            minutes=2,
            missing=lambda: no_cluster_here() or no_second_lane(),
        ),
    )


def all_stages(root: Path) -> tuple[Stage, ...]:
    """Return all stages in their order."""
    return (*STATIC, *CODE, *SITE, *molecule_stages(root), *other_lane_stages(root), *END)
