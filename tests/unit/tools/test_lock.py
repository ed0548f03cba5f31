# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).resolve().parents[3] / "requirements"
LANES = ("py311", "py312")


@pytest.fixture(scope="module")
def lock(load_tool: Callable[[str], types.ModuleType]) -> types.ModuleType:
    return load_tool("lock")


def locked(lock: types.ModuleType, purpose: str, lane: str) -> dict[str, str]:
    pins: dict[str, str] = lock.pins((REQUIREMENTS / f"{purpose}-{lane}.txt").read_text())
    return pins


def test_merge(lock: types.ModuleType) -> None:
    merged = lock.merge_pins({"a.txt": "# x\nPyYAML==6.0.2\npylint==3.3.7\n", "b.txt": "PyYAML==6.0.2\n"})
    assert merged == "pylint==3.3.7\npyyaml==6.0.2\n"


def test_merge_refuses_two_versions(lock: types.ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"pyyaml is pinned to 6\.0\.2 in a\.txt and to 6\.0\.3 in b\.txt"):
        lock.merge_pins({"a.txt": "PyYAML==6.0.2\n", "b.txt": "PyYAML==6.0.3\n"})


@pytest.mark.parametrize("lane", LANES)
def test_tests_run_with_what_users_run(lock: types.ModuleType, lane: str) -> None:
    assert locked(lock, "run", lane).items() <= locked(lock, "test", lane).items()


@pytest.mark.parametrize(
    ("lane", "bundle", "core"), [("py311", "12.3.0", "2.19."), ("py312", "14.5.0", "2.21.")], ids=LANES
)
def test_lanes(lock: types.ModuleType, lane: str, bundle: str, core: str) -> None:
    pins = locked(lock, "run", lane)
    assert pins["ansible"] == bundle
    assert pins["ansible-core"].startswith(core)
    assert {"jmespath", "kubernetes", "openshift"} <= set(pins)


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.glob("*.txt")), ids=lambda path: path.name)
def test_locks_are_hashed_and_name_no_registry(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert "index" not in text
    for requirement in text.replace("\\\n", "").splitlines():
        if requirement and not requirement.lstrip().startswith("#"):
            assert "--hash=sha256:" in requirement
