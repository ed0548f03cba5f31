# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control groups of the rehearsal cluster. Private to the collection; it may change at any time.

Everything of a cluster is under one group, ``/llmd-wide-ep-<name>``, in every hierarchy: the sandbox's own processes in
``system``, each node's pods below a group named like the node.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import time
import typing as t

SYSTEM = "system"
PREFIX = "llmd-wide-ep-"


@dataclasses.dataclass(frozen=True)
class Hierarchies:
    """The mounted hierarchies: several of version 1 (pure or hybrid), else the one of version 2.

    ``everywhere`` has the version 2 one of hybrid mode too: runc makes groups there that hold no controllers.
    """

    version: int
    roots: tuple[pathlib.Path, ...]
    everywhere: tuple[pathlib.Path, ...]


def parse_mounts(text: str) -> Hierarchies:
    """Read ``/proc/self/mounts``. In hybrid mode version 1 holds the controllers, so it decides."""
    mounts = [line.split()[1:3] for line in text.splitlines() if len(line.split()) > 2]
    first, second = (
        tuple(pathlib.Path(path) for path, found in mounts if found == kind and path.startswith("/sys/fs/cgroup"))
        for kind in ("cgroup", "cgroup2")
    )
    if first:
        return Hierarchies(1, first, first + second)
    return Hierarchies(2, second[:1], second)


def hierarchies() -> Hierarchies:
    return parse_mounts(pathlib.Path("/proc/self/mounts").read_text())


def running_clusters() -> dict[str, list[str]]:
    """The clusters that have processes, with their nodes."""
    if not pathlib.Path("/proc/self/mounts").exists():
        return {}
    found = {}
    for root in hierarchies().roots[:1]:
        for folder in root.glob(f"{PREFIX}*"):
            name = folder.name.removeprefix(PREFIX)
            if members(name):
                found[name] = sorted(node.name for node in folder.glob(f"{name}-*"))
    return found


def group_name(cluster: str) -> str:
    return f"{PREFIX}{cluster}"


def _inherit_cpuset(folder: pathlib.Path) -> None:
    """A new cpuset is empty in version 1, and nothing can run in it."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        source, target = folder.parent / name, folder / name
        if target.exists() and not target.read_text().strip():
            target.write_text(source.read_text())


def _enable_controllers(folder: pathlib.Path) -> None:
    available = (folder / "cgroup.controllers").read_text().split()
    for controller in available:
        # Some controllers cannot be enabled where processes are; the kubelet says which of them it needs.
        with contextlib.suppress(OSError):
            (folder / "cgroup.subtree_control").write_text(f"+{controller}")


def create(cluster: str, nodes: t.Iterable[str]) -> None:
    found = hierarchies()
    for root in found.roots:
        top = root / group_name(cluster)
        if found.version == 2:
            _enable_controllers(root)
        for folder in (top, *(top / name for name in (SYSTEM, *nodes))):
            folder.mkdir(exist_ok=True)
            if found.version == 1:
                _inherit_cpuset(folder)
            elif folder.name != SYSTEM:
                _enable_controllers(folder)


def process_files(cluster: str) -> list[pathlib.Path]:
    """Where a process is written to in order to be in the cluster's own group."""
    return [root / group_name(cluster) / SYSTEM / "cgroup.procs" for root in hierarchies().roots]


def members(cluster: str) -> list[int]:
    """Processes of the sandbox itself, as the host numbers them."""
    for file in process_files(cluster):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return [int(pid) for pid in file.read_text().split()]
    return []


def folders(cluster: str) -> list[pathlib.Path]:
    """Every group of the cluster, deepest first."""
    found: list[pathlib.Path] = []
    for root in hierarchies().everywhere:
        for path, _names, _files in os.walk(root / group_name(cluster), topdown=False):
            found.append(pathlib.Path(path))
    return found


def sweep(cluster: str, limit: float = 10.0) -> list[pathlib.Path]:
    """Remove the groups bottom-up; what still holds a dying process is tried again. Returns what stays."""
    deadline = time.monotonic() + limit
    while True:
        left = []
        for folder in folders(cluster):
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                left.append(folder)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)
