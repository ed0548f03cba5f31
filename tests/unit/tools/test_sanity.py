# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
import types
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def sanity(load_tool: Callable[[str], types.ModuleType]) -> types.ModuleType:
    return load_tool("sanity")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for name in ("plugins/tracked.py", "new.yml", "ignored/cache", "removed.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / ".gitignore").write_text("ignored/\n")
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    subprocess.run(["git", "-C", str(root), "add", "plugins", "removed.py"], check=True)
    (root / "removed.py").unlink()
    return root


def test_the_copy_has_what_git_tracks_or_would_track(sanity: types.ModuleType, checkout: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    assert sanity.copy_files(checkout, copy) == 3
    copied = sorted(str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file())
    assert copied == [".gitignore", "new.yml", "plugins/tracked.py"]


def test_pip_of_ansible_test_is_found(sanity: types.ModuleType) -> None:
    assert sanity.pinned_pip().count(".") >= 1


def test_ansible_test_sees_no_settings_of_the_user(
    sanity: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", "/elsewhere")
    monkeypatch.setenv("PIP_INDEX_URL", "elsewhere")
    environment = sanity.environment(tmp_path)
    assert environment["HOME"] == str(tmp_path)
    assert not [name for name in environment if name.startswith(("ANSIBLE_", "PIP_"))]
