# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's own files, as its static tests see them."""

from __future__ import annotations

import dataclasses
import subprocess
import typing as t
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


class _Loader(yaml.SafeLoader):
    """Keeps Ansible's tags as plain text."""


_Loader.add_multi_constructor("!", lambda loader, _suffix, node: loader.construct_scalar(node))


@dataclasses.dataclass(frozen=True)
class TaskOf:
    """A task with the file and the outer blocks it stands in."""

    path: Path
    task: dict[str, t.Any]
    outer: tuple[dict[str, t.Any], ...]

    @property
    def label(self) -> str:
        return f"{self.path.relative_to(ROOT)}: {self.task.get('name', '(no name)')}"

    @property
    def action(self) -> str:
        known = ("llmd.", "kubernetes.", "ansible.", "community.")
        return next((key for key in self.task if key.startswith(known)), "")

    @property
    def arguments(self) -> t.Any:
        return self.task.get(self.action) or {}

    def inherited(self, keyword: str) -> t.Any:
        """A keyword of the task or of the innermost block that sets it."""
        for level in (self.task, *reversed(self.outer)):
            if keyword in level:
                return level[keyword]
        return None


def load(path: Path) -> t.Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)


def own_files() -> list[Path]:
    """The files that git tracks or would track."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return sorted(ROOT / name for name in names if name and (ROOT / name).is_file())


def roles() -> list[Path]:
    return sorted(path.parent.parent for path in ROOT.glob("roles/*/tasks/main.yml"))


def walk(path: Path, tasks: t.Any, outer: tuple[dict[str, t.Any], ...] = ()) -> Iterator[TaskOf]:
    for task in tasks or ():
        sections = [section for section in ("block", "rescue", "always") if section in task]
        for section in sections:
            yield from walk(path, task[section], (*outer, task))
        if not sections:
            yield TaskOf(path, task, outer)


def role_tasks() -> list[TaskOf]:
    return [task for path in sorted(ROOT.glob("roles/*/tasks/**/*.yml")) for task in walk(path, load(path))]


def plays() -> list[tuple[Path, dict[str, t.Any]]]:
    paths = (*sorted(ROOT.glob("playbooks/*.yml")), *sorted(ROOT.glob("molecule/*/*.yml")))
    return [(path, play) for path in paths for play in load(path) or () if isinstance(play, dict)]


def play_tasks() -> list[TaskOf]:
    found: list[TaskOf] = []
    for path, play in plays():
        for section in ("pre_tasks", "tasks", "post_tasks", "handlers"):
            found += walk(path, play.get(section), (play,))
    return found
