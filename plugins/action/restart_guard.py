# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare wanted model servers with those that run, and stop before a restart that is not allowed."""

from __future__ import annotations

import textwrap
import typing as t

from ansible import constants
from ansible.utils.display import Display

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, report
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import InProcessAction
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_restart import Change, changes

display = Display()


def definition(item: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Enough of an object to delete it by."""
    metadata = {key: item["metadata"][key] for key in ("name", "namespace")}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata}


def show(found: t.Iterable[Change]) -> None:
    """Print the diff here: Ansible prints that of a result only where the task itself changes something."""
    colors = {"+": constants.COLOR_DIFF_ADD, "-": constants.COLOR_DIFF_REMOVE}
    for change in found:
        for line in change.diff.splitlines():
            display.display(line, color=colors.get(line[0]))


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        "wanted": {"type": "list", "elements": "dict", "required": True},
        "live": {"type": "list", "elements": "dict", "required": True},
        "allow_restart": {"type": "bool", "required": True},
        "start_budget_seconds": {"type": "int", "required": True},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        wanted = arguments["wanted"]
        found = changes(wanted, arguments["live"], arguments["start_budget_seconds"])
        again = {change.name for change in found if change.action == "recreate"}
        recreate = [item for item in wanted if item["metadata"]["name"] in again and item["kind"] == "LeaderWorkerSet"]
        findings = [change.finding for change in found if change.finding]
        if self._task.diff:
            show(found)
        message = self.message(findings, allowed=arguments["allow_restart"])
        told = {"findings": [finding.as_dict() for finding in findings], "msg": message}
        if findings and not arguments["allow_restart"] and not self.check_mode:
            return {"failed": True, **told}
        for line in message.splitlines():
            display.display(line, color=constants.COLOR_WARN)
        return {
            **told,
            # What is deleted and created says so itself, except where check mode does neither.
            "changed": self.check_mode and bool(recreate),
            "actions": {change.role: change.action for change in found},
            "recreate": [definition(item) for item in recreate],
            # A dry run of a change that Kueue refuses would fail.
            "apply": [item for item in wanted if not (self.check_mode and item in recreate)],
        }

    @staticmethod
    def message(findings: list[Finding], *, allowed: bool) -> str:
        """What to do; where it is allowed, what happens instead."""
        if not allowed:
            return report(findings)
        told = (f"{finding.subject}: {finding.evidence.splitlines()[0]}" for finding in findings)
        return "\n".join(textwrap.fill(text, 98, subsequent_indent="  ", break_on_hyphens=False) for text in told)
