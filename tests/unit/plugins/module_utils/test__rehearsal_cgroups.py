# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hierarchies are found in /proc/self/mounts."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils import _rehearsal_cgroups as cgroups

V1 = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
HYBRID = V1 + "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"
ELSEWHERE = "cgroup2 /var/lib/x/sys/fs/cgroup cgroup2 rw 0 0\n"


@pytest.mark.parametrize(
    ("mounts", "version", "roots", "everywhere"),
    [
        (V1, 1, ["cpu", "memory"], ["cpu", "memory"]),
        (HYBRID, 1, ["cpu", "memory"], ["cpu", "memory", "unified"]),
        (V2, 2, [""], [""]),
        (V2 + ELSEWHERE, 2, [""], [""]),
        ("", 2, [], []),
    ],
    ids=["v1", "hybrid", "v2", "another mount", "none"],
)
def test_parse_mounts(mounts: str, version: int, roots: list[str], everywhere: list[str]) -> None:
    base = pathlib.Path("/sys/fs/cgroup")
    expected = cgroups.Hierarchies(version, tuple(base / x for x in roots), tuple(base / x for x in everywhere))
    assert cgroups.parse_mounts(mounts) == expected


def test_a_new_cpuset_gets_the_processors_of_its_parent(tmp_path: pathlib.Path) -> None:
    child = tmp_path / "child"
    child.mkdir()
    for folder, text in ((tmp_path, "0-1\n"), (child, "\n")):
        (folder / "cpuset.cpus").write_text(text)
        (folder / "cpuset.mems").write_text(text)
    cgroups._inherit_cpuset(child)
    assert (child / "cpuset.cpus").read_text() == "0-1\n"
