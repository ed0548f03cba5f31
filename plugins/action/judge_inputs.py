# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge the shared inputs before anything changes."""

from __future__ import annotations

import functools
import pathlib
import typing as t

import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._inputs import judge
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import InProcessAction, display

PREFIX = "wide_ep_"
#: Names that the collection itself hands on beside the inputs.
DERIVED = frozenset({"wide_ep_plan", "wide_ep_helm_guard"})
#: The nodes of the overlays, in the variables of role wide_ep.
SHAPES = "_wide_ep_node_shapes"
SPECS = pathlib.Path(__file__).parents[2] / "roles" / "wide_ep" / "meta" / "argument_specs.yml"


@functools.cache
def known_names() -> frozenset[str]:
    """Every shared input: the options of all entry points of role wide_ep."""
    entry_points = yaml.safe_load(SPECS.read_text())["argument_specs"].values()
    return DERIVED.union(*(entry_point["options"] for entry_point in entry_points))


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {"plan": {"type": "dict", "required": True}}

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        names = [name for name in task_vars if name.startswith(PREFIX)]
        inputs = {key: self._templar.template(task_vars[PREFIX + key]) for key in ("provider", "mirror")}
        inputs["shape"] = self._templar.template(task_vars.get(SHAPES) or {}).get(arguments["plan"]["overlay"])
        findings = judge(names, known_names(), arguments["plan"], inputs)
        for finding in findings:
            if finding.severity != "error":
                display.warning(finding.text())
        return self.refusal(findings)
