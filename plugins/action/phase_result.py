# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record what a phase found."""

from __future__ import annotations

import os
import time
import typing as t

from ansible.errors import AnsibleActionFail

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import InProcessAction
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._phases import (
    RUN_ID_VARIABLE,
    PhaseError,
    parse_result,
    run_folder,
    timestamp,
    write_document,
)


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        "phase": {"type": "str", "required": True},
        "summary": {"type": "list", "elements": "list"},
        "tables": {"type": "list", "elements": "dict"},
        "data": {"type": "dict"},
        "artifacts_dir": {"type": "path"},
        "release": {"type": "str"},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        release = arguments["release"] or self._variable("wide_ep_release", task_vars)
        artifacts_dir = arguments["artifacts_dir"] or self._variable("wide_ep_artifacts_dir", task_vars)
        # Without the callback (it is off in other people's configuration) the tasks of a run share their parent only.
        run_id = os.environ.get(RUN_ID_VARIABLE) or f"pid-{os.getppid()}"
        try:
            result = parse_result(arguments, release, str(task_vars.get("inventory_hostname", "localhost")))
            path = run_folder(artifacts_dir, release, run_id) / f"{result.phase}.json"
        except PhaseError as error:
            raise AnsibleActionFail(str(error)) from error
        recorded = {**result.as_dict(), "path": None if self.check_mode else str(path)}
        if not self.check_mode:
            write_document(path, result.document(run_id, "apply", timestamp(time.time())))
        return {"changed": False, "phase_result": recorded}

    def _variable(self, name: str, task_vars: dict[str, t.Any]) -> str:
        value = self._templar.template(task_vars.get(name) or "")
        if not value:
            raise AnsibleActionFail(
                f"{name} is not set: add the role llmd.wide_ep.wide_ep to the play, or give the option"
            )
        return str(value)
