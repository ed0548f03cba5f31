# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that only the user knows: all that are missing, with their meaning."""

from __future__ import annotations

import typing as t

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.action.judge_inputs import meaning, to_change
from ansible_collections.llmd.wide_ep.plugins.module_utils._inputs import marked, missing_values

from ..._collection import ROOT

# What a person has to write, and nothing else.
ASKED = {
    "gke": ["node_pools_authorized_networks", "node_pools_capacity", "node_pools_project", "node_pools_zone"],
    "gke-a4": ["node_pools_authorized_networks", "node_pools_capacity", "node_pools_project", "node_pools_zone"],
    "coreweave": ["node_pools_instance_type", "wide_ep_kubeconfig"],
    "dgx-cloud-gb200": [],
    "existing": [],
    "local": [],
}


@pytest.mark.parametrize("name", ASKED)
def test_shipped_inventories_ask_for_what_the_user_alone_knows(name: str) -> None:
    values = yaml.safe_load((ROOT / "inventories" / name / "group_vars" / "wide_ep" / "main.yml").read_text())
    assert marked(values) == ASKED[name]
    assert all(meaning(variable) for variable in ASKED[name])


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("CHANGE_ME", True),
        ("prefix-CHANGE_ME", True),
        (["10.0.0.0/8", "CHANGE_ME"], True),
        ({"a": {"b": ("CHANGE_ME",)}}, True),
        ("", False),
        ("change_me", False),
        (None, False),
        (7, False),
        ({"CHANGE_ME": "a key is no value"}, False),
    ],
)
def test_marks(value: t.Any, found: bool) -> None:
    assert marked({"x": value}) == (["x"] if found else [])


def test_ansible_s_own_variables_are_not_looked_at() -> None:
    """Among them are those of all hosts, each in its own copy."""
    found = to_change({"hostvars": {"a": "CHANGE_ME"}, "vars": {"b": "CHANGE_ME"}, "mine": "CHANGE_ME"})
    assert found == {"mine": ""}


def test_a_finding_tells_what_to_write() -> None:
    (finding,) = missing_values({"node_pools_zone": meaning("node_pools_zone")})
    assert (finding.code, finding.severity, finding.subject) == ("INPUT_MISSING", "error", "node_pools_zone")
    assert "europe-west1-b" in finding.fix
    # Markup of argument specs is for a page, not for a terminal.
    assert "V(" not in meaning("node_pools_capacity")
    assert meaning("nobody_knows_this") == ""
