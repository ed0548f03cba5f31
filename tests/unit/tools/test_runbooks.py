# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
from pathlib import Path

import pytest
from loading import load_file

ROOT = Path(__file__).resolve().parents[3]
runbooks = load_file(ROOT / "tools" / "runbooks.py", "tools_runbooks")

PLAYBOOK = """---
# Restart one group
# of prefill or decode.
# Use when: a group hangs. Not needed after
# a crash.
# Effect: requests fail.
# Example: ansible-playbook playbooks/restart_group.yml
- name: Restart
  hosts: wide_ep
"""


def test_head_comment_is_read_field_by_field() -> None:
    head = runbooks.parse("restart_group", PLAYBOOK)
    assert head.purpose == "Restart one group of prefill or decode."
    assert head.fields["Use when"] == "a group hangs. Not needed after a crash."
    assert head.fields["Effect"] == "requests fail."


def test_index_links_pages_where_there_are_some(tmp_path: Path) -> None:
    (tmp_path / "restart_group.yml").write_text(PLAYBOOK)
    (tmp_path / "not_for_people.yml").write_text("---\n# Internal.\n- name: x\n")
    found = runbooks.heads(tmp_path)
    assert [head.name for head in found] == ["restart_group"]
    assert "[restart_group](restart_group.md) | Restart one group" in runbooks.index(found, {"restart_group"})
    assert "(../../playbooks/restart_group.yml)" in runbooks.index(found, set())


PAGES = sorted(path for path in (ROOT / "docs" / "runbooks").glob("*.md") if path.stem not in ("README", "alerts"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.stem))
def test_pages_have_the_form_and_their_playbook(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    parts = ("**When.**", "**When not.**", "**Impact and duration.**", "**Before you start.**", "## Steps", "## Verify")
    for part in (*parts, "## If it fails", "## Undo"):
        assert part in text
    assert (ROOT / "playbooks" / f"{page.stem}.yml").is_file()
    assert re.search(rf"playbooks/{page.stem}\.yml", text)
    assert len(text.splitlines()) <= 120


def test_the_index_is_up_to_date() -> None:
    assert runbooks.INDEX.read_text(encoding="utf-8") == runbooks.wanted(), "run `make docs`"
