# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks parse, explain themselves, and find what they import."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ._collection import ROOT, load

PLAYBOOKS = sorted(ROOT.glob("playbooks/*.yml"))


def test_syntax() -> None:
    program = Path(sys.executable).parent / "ansible-playbook"
    command = [str(program), "--syntax-check", "-i", "inventories/local", "site.yml", *map(str, PLAYBOOKS)]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Could not match" not in done.stderr


def test_a_checkout_that_is_not_set_up_says_how(tmp_path: Path) -> None:
    (tmp_path / "playbooks").mkdir()
    for name in ("site.yml", "playbooks/not_set_up.yml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    program = Path(sys.executable).parent / "ansible-playbook"
    configuration = tmp_path / "ansible.cfg"
    configuration.touch()
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path), "ANSIBLE_CONFIG": str(configuration)}
    command = [str(program), "site.yml", "-i", "localhost,", "-c", "local"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Run `make setup` in the checkout" in done.stdout


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_head_comment(path: Path) -> None:
    """Purpose first; an example that can be copied, unless the file is only ever imported."""
    head = [line for line in path.read_text().splitlines()[:20] if line.startswith("#")]
    assert head, "no head comment"
    if path.stem != "not_set_up":
        example = [line for line in head if line.startswith("# Example: ")]
        assert example, "no example"
        assert re.search(rf"(playbooks/{path.stem}|^# Example: .* {path.stem})\.yml", example[0]), example[0]


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_playbooks_fit_a_screen(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 60


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_imports_are_playbooks_of_the_collection(path: Path) -> None:
    for play in load(path):
        imported = play.get("import_playbook") or play.get("ansible.builtin.import_playbook")
        if imported:
            match = re.fullmatch(r"llmd\.wide_ep\.([a-z_]+)", imported)
            assert match, imported
            assert (ROOT / "playbooks" / f"{match[1]}.yml").is_file()


SCENARIOS = sorted(path.parent for path in ROOT.glob("molecule/*/molecule.yml"))


@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda folder: folder.name)
def test_scenarios_have_what_the_sequence_runs(folder: Path) -> None:
    """Molecule only warns of a missing playbook."""
    own = load(folder / "molecule.yml") or {}
    shared = load(ROOT / ".config" / "molecule" / "config.yml")
    sequence = (own.get("scenario") or {}).get("test_sequence") or shared["scenario"]["test_sequence"]
    playbooks = {"check": "converge.yml", "idempotence": "converge.yml"}
    for step in sequence:
        verb, _space, named = step.partition(" ")
        assert (folder / (named or playbooks.get(verb, f"{verb}.yml"))).is_file(), step
