# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Count the GPU minutes of the nodes, and stop at a budget."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gpu_minutes as gpu_minutes
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, ConfigError, Unreachable
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import ACCESS_ARGUMENTS, InProcessAction


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "budget": {"type": "float", "default": 0.0},
        "label_selector": {"type": "str"},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        try:
            client = self.client(arguments)
            nodes = client.list("/api/v1/nodes", {"labelSelector": arguments["label_selector"]})
        except (Unreachable, ConfigError, ApiError):
            # Before there is a cluster there are no GPUs; what is wrong with one that is there, its phases tell.
            return {"counted": False, "minutes": 0.0, "gpus": 0, "spans": []}
        found = gpu_minutes.spans(nodes)
        minutes = gpu_minutes.used(found, client.server_time or time.time())
        finding = gpu_minutes.budget_finding(minutes, arguments["budget"])
        return {
            "counted": True,
            "minutes": round(minutes, 1),
            "gpus": sum(span.gpus for span in found),
            "spans": [dataclasses.asdict(span) for span in found],
            **self.refusal([finding] if finding else []),
        }
