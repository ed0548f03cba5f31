# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import types
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def setup(
    load_tool: Callable[[str], types.ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> types.ModuleType:
    """The tool on an empty checkout and cache."""
    module = load_tool("setup")
    monkeypatch.setenv("LLMD_WIDE_EP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "ROOT", tmp_path / "checkout")
    requirements = tmp_path / "checkout" / "requirements"
    requirements.mkdir(parents=True)
    for name in ("run-py311", "test-py311", "run-py312", "test-py312"):
        (requirements / f"{name}.txt").write_text(f"{name}\n")
    return module


@pytest.mark.parametrize(
    ("version", "lane"), [((3, 11), "py311"), ((3, 12), "py312"), ((3, 13), "py312"), ((4, 0), "py312")]
)
def test_lane(setup: types.ModuleType, version: tuple[int, int], lane: str) -> None:
    assert setup.pick_lane(version, "") == lane


@pytest.mark.parametrize(
    ("found", "fix"), [(["python3.13"], "make setup PYTHON=python3.13"), ([], "install Python 3.11 or newer")]
)
def test_an_old_python_is_refused_with_the_fix(
    setup: types.ModuleType, monkeypatch: pytest.MonkeyPatch, found: list[str], fix: str
) -> None:
    monkeypatch.setattr(setup, "candidates", lambda _path: found)
    with pytest.raises(setup.SetupError, match=r"is 3\.9\. Try: " + fix):
        setup.pick_lane((3, 9), "")


def test_candidates_are_started(setup: types.ModuleType, tmp_path: Path) -> None:
    for name, code in (("python3.12", 0), ("python3.13", 127)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    assert setup.candidates(str(tmp_path)) == ["python3.12"]


def fake_installation(setup: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    commands: list[list[str]] = []

    def run(command: list[str], _hint: str) -> None:
        commands.append(command)
        if command[1:3] == ["-m", "venv"]:
            Path(command[3]).mkdir(parents=True)

    monkeypatch.setattr(setup, "run", run)
    return commands


def test_an_environment_is_made_once(setup: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = fake_installation(setup, monkeypatch)
    first = setup.ensure_venv("run", "py311")
    assert first == setup.ensure_venv("run", "py311")
    assert len(commands) == 2
    assert {"--require-hashes", "--no-deps"} <= set(commands[1])


def test_an_environment_for_tests_serves_for_runs(setup: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = fake_installation(setup, monkeypatch)
    assert setup.ensure_venv("test", "py311") == setup.ensure_venv("run", "py311")
    assert len(commands) == 2


def test_a_run_takes_no_test_tools_away(setup: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_installation(setup, monkeypatch)
    setup.ensure_venv("run", "py311")
    assert setup.ensure_venv("test", "py311") == setup.ensure_venv("run", "py311")


def test_a_changed_lock_means_another_environment(setup: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_installation(setup, monkeypatch)
    first = setup.ensure_venv("run", "py311")
    (setup.ROOT / "requirements" / "run-py311.txt").write_text("changed\n")
    assert setup.ensure_venv("run", "py311") != first


def test_an_interrupted_environment_is_made_anew(setup: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[str], _hint: str) -> None:
        Path(command[-1]).mkdir(parents=True)
        (Path(command[-1]) / "half").touch()
        raise setup.SetupError("no registry")

    monkeypatch.setattr(setup, "run", fail)
    with pytest.raises(setup.SetupError):
        setup.ensure_venv("run", "py311")
    commands = fake_installation(setup, monkeypatch)
    made = setup.ensure_venv("run", "py311")
    assert len(commands) == 2
    assert sorted(entry.name for entry in made.iterdir()) == [".complete"]


@pytest.mark.parametrize("before", ["nothing", "right", "wrong", "dangling"])
def test_links(setup: types.ModuleType, tmp_path: Path, before: str) -> None:
    link, target = tmp_path / "deep" / "link", Path("..", "target")
    (tmp_path / "target").mkdir()
    link.parent.mkdir()
    points: dict[str, t.Any] = {"right": target, "wrong": tmp_path, "dangling": tmp_path / "gone"}
    if before != "nothing":
        link.symlink_to(points[before])
    setup.ensure_link(link, target)
    assert link.readlink() == target
    assert [entry.name for entry in link.parent.iterdir()] == ["link"]


def test_what_is_no_link_is_not_touched(setup: types.ModuleType, tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    with pytest.raises(setup.SetupError, match="in the way"):
        setup.ensure_link(tmp_path / ".venv", Path("elsewhere"))


def test_pip_is_not_redirected(setup: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_TARGET", "PIP_USER", "PYTHONPATH", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, "x")
    environment = setup.pip_environment()
    assert "PIP_TARGET" not in environment
    assert "PIP_USER" not in environment
    assert "PYTHONPATH" not in environment
    assert environment["PIP_INDEX_URL"] == "x"


def test_a_failed_command_shows_its_output_and_the_hint(setup: types.ModuleType) -> None:
    with pytest.raises(setup.SetupError, match=r"(?s)the reason.*try this"):
        setup.run(["sh", "-c", "echo the reason; exit 3"], "try this")
