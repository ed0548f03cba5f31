# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each role has the same files, and its argument specs say what its defaults say."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest

from ._collection import ROOT, load, roles

ROLES = roles()
TASK_FILES = {"main", "preflight", "apply", "verify", "remove"}
SHARED = {"wide_ep", "rehearsal_cluster"}
# Derived from the inputs and part of the interface: every role renders from it.
DERIVED = {"wide_ep_plan"}
ENTRY_POINTS = [
    (role, name)
    for role in ROLES
    if (role / "meta" / "argument_specs.yml").exists()
    for name in load(role / "meta" / "argument_specs.yml")["argument_specs"]
]


def by_role(role: Path) -> str:
    return role.name


def options(role: Path, entry_point: str) -> dict[str, dict[str, t.Any]]:
    specs = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    found: dict[str, dict[str, t.Any]] = specs[entry_point].get("options") or {}
    return found


def defaults(role: Path) -> dict[str, t.Any]:
    path = role / "defaults" / "main.yml"
    return (load(path) or {}) if path.exists() else {}


def differences(role: Path, entry_point: str) -> list[str]:
    """Where an entry point's options and the role's defaults disagree; expressions are compared as text.

    A long list or mapping may be told in words.
    """
    found = []
    given = defaults(role)
    for name, option in options(role, entry_point).items():
        if name in given and option.get("required"):
            found.append(f"{name} is required but has the default {given[name]!r}")
        elif "default" not in option and isinstance(given.get(name), (list, dict)):
            continue
        elif name in given and option.get("default") != given[name]:
            found.append(f"{name}: spec {option.get('default')!r}, defaults {given[name]!r}")
    return found


@pytest.mark.parametrize(
    ("role", "entry_point"), ENTRY_POINTS, ids=[f"{role.name}-{name}" for role, name in ENTRY_POINTS]
)
def test_spec_and_defaults_agree(role: Path, entry_point: str) -> None:
    assert differences(role, entry_point) == []


@pytest.mark.parametrize("role", ROLES, ids=by_role)
def test_the_main_entry_point_has_every_default_and_no_more(role: Path) -> None:
    assert sorted(options(role, "main")) == sorted(defaults(role))


@pytest.mark.parametrize(
    ("role", "entry_point"), ENTRY_POINTS, ids=[f"{role.name}-{name}" for role, name in ENTRY_POINTS]
)
def test_options_have_the_prefix_of_their_role_and_a_description(role: Path, entry_point: str) -> None:
    for name, option in options(role, entry_point).items():
        assert name.startswith(f"{role.name}_"), name
        assert option.get("description"), name
        assert option.get("type"), name


@pytest.mark.parametrize(
    ("role", "entry_point"), ENTRY_POINTS, ids=[f"{role.name}-{name}" for role, name in ENTRY_POINTS]
)
def test_entry_points_are_task_files(role: Path, entry_point: str) -> None:
    assert (role / "tasks" / f"{entry_point}.yml").is_file()


@pytest.mark.parametrize("role", ROLES, ids=by_role)
def test_constants_have_an_underscore(role: Path) -> None:
    path = role / "vars" / "main.yml"
    for name in set((load(path) or {}) if path.exists() else ()) - DERIVED:
        assert name.startswith(f"_{role.name}_"), f"{path.relative_to(ROOT)}: {name}"


@pytest.mark.parametrize("role", ROLES, ids=by_role)
def test_readme_explains_and_repeats_no_defaults(role: Path) -> None:
    text = (role / "README.md").read_text()
    assert "```" in text, "no example"
    for name in defaults(role):
        assert not re.search(rf"^\|.*{name}", text, re.MULTILINE), f"a table repeats {name}; the spec describes it"


@pytest.mark.parametrize("role", ROLES, ids=by_role)
def test_roles_depend_on_the_shared_one(role: Path) -> None:
    names = [
        entry if isinstance(entry, str) else entry.get("role")
        for entry in load(role / "meta" / "main.yml").get("dependencies") or ()
    ]
    assert ("llmd.wide_ep.wide_ep" in names) == (role.name not in SHARED)


@pytest.mark.parametrize("role", ROLES, ids=by_role)
def test_main_only_imports(role: Path) -> None:
    if role.name in SHARED:
        pytest.skip("its main is the judgement itself" if role.name == "wide_ep" else "its main is the cluster")
    for task in load(role / "tasks" / "main.yml"):
        imports = {"ansible.builtin.import_tasks", "ansible.builtin.include_tasks", "ansible.builtin.import_role"}
        assert imports & set(task), task.get("name")


@pytest.mark.parametrize("path", sorted(ROOT.glob("roles/*/tasks/**/*.yml")), ids=lambda p: str(p.relative_to(ROOT)))
def test_task_files_fit_a_screen(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 100
