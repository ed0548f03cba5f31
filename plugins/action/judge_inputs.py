# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge the shared inputs before anything changes."""

from __future__ import annotations

import functools
import pathlib
import re
import typing as t

import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._inputs import judge, marked
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import InProcessAction, display

PREFIX = "wide_ep_"
#: Names that the collection itself hands on beside the inputs.
DERIVED = frozenset({"wide_ep_plan", "wide_ep_helm_guard"})
#: The nodes of the overlays, in the variables of role wide_ep.
SHAPES = "_wide_ep_node_shapes"
ROLES = pathlib.Path(__file__).parents[2] / "roles"
SPECS = ROLES / "wide_ep" / "meta" / "argument_specs.yml"
#: What Ansible keeps among a task's variables beside those of the inventory.
MAGIC = ("ansible_", "hostvars", "vars", "groups", "group_names", "inventory_", "environment", "omit", "playbook_dir")
MARKUP = re.compile(r"\b[A-Z]\(([^)]*)\)")


@functools.cache
def known_names() -> frozenset[str]:
    """Every shared input: the options of all entry points of role wide_ep."""
    entry_points = yaml.safe_load(SPECS.read_text())["argument_specs"].values()
    return DERIVED.union(*(entry_point["options"] for entry_point in entry_points))


def meaning(name: str) -> str:
    """What the role that owns a variable says about it, as plain text."""
    owners = [role for role in ROLES.glob("*/meta/argument_specs.yml") if name.startswith(f"{role.parents[1].name}_")]
    for path in sorted(owners, key=lambda role: len(role.parents[1].name), reverse=True):
        options = yaml.safe_load(path.read_text())["argument_specs"].get("main", {}).get("options") or {}
        described = (options.get(name) or {}).get("description") or ""
        text = " ".join(described) if isinstance(described, list) else str(described)
        if text:
            return MARKUP.sub(r"\1", text)
    return ""


def to_change(task_vars: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Variables that still carry the mark, with their meaning. Values are looked at as they are written."""
    given = {name: value for name, value in task_vars.items() if not name.startswith(MAGIC)}
    return {name: meaning(name) for name in marked(given)}


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        "plan": {"type": "dict", "required": True},
        "allow_marked": {"type": "bool", "default": False},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        names = [name for name in task_vars if name.startswith(PREFIX)]
        inputs = {key: self._templar.template(task_vars[PREFIX + key]) for key in ("provider", "mirror")}
        inputs["shape"] = self._templar.template(task_vars.get(SHAPES) or {}).get(arguments["plan"]["overlay"])
        inputs["missing"] = {} if arguments["allow_marked"] else to_change(task_vars)
        findings = judge(names, known_names(), arguments["plan"], inputs)
        for finding in findings:
            if finding.severity != "error":
                display.warning(finding.text())
        return self.refusal(findings)
