# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rights that runs were seen to use, against what the rehearsal's identities are granted."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._preflight_rights import Right, rights_of
from ansible_collections.llmd.wide_ep.plugins.module_utils._preflight_snapshot import Rule

from ._collection import ROOT, load

PAGE = ROOT / "docs" / "reference" / "rbac.yaml"
GRANTS = ROOT / "roles" / "rehearsal_cluster" / "files" / "rbac"
#: What an identity of the rehearsal has: the platform may do what the deployer may.
FILES = {
    "wide-ep-deployer": ("deployer",),
    "wide-ep-deployer-cluster": ("deployer",),
    "wide-ep-platform": ("deployer", "platform"),
}


def granted(*names: str) -> list[Rule]:
    items = [item for name in names for item in load(GRANTS / f"{name}.yml")["items"] if item["kind"] == "ClusterRole"]
    return [
        Rule(tuple(rule["verbs"]), tuple(rule["apiGroups"]), tuple(rule["resources"]))
        for item in items
        for rule in item["rules"]
    ]


def listed() -> dict[str, list[Right]]:
    return {item["metadata"]["name"]: rights_of(item) for item in load(PAGE)["items"]}


def test_the_page_has_the_roles_that_its_head_tells_how_to_bind() -> None:
    head = "".join(line for line in PAGE.read_text().splitlines() if line.startswith("#"))
    assert set(listed()) == set(FILES)
    assert all(name in head for name in FILES)


@pytest.mark.parametrize("role", FILES)
def test_what_is_used_is_granted(role: str) -> None:
    rules = granted(*FILES[role])
    lacking = [right for right in listed()[role] if not any(rule.allows(*right[:3]) for rule in rules)]
    assert lacking == []


@pytest.mark.parametrize("role", FILES)
def test_nobody_may_do_everything(role: str) -> None:
    """A star would hide what is used."""
    assert not any("*" in (right.verb, right.group, right.plural) for right in listed()[role])


def test_each_role_is_used() -> None:
    counts: dict[str, t.Any] = {name: len(rights) for name, rights in listed().items()}
    assert all(counts.values()), counts
