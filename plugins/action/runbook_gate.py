# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge a runbook before it starts: is the deployment there, what is interrupted, is there room, and who says yes."""

from __future__ import annotations

import textwrap
import typing as t

from ansible import constants
from ansible.errors import AnsiblePromptInterrupt, AnsiblePromptNoninteractive

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, has_errors
from ansible_collections.llmd.wide_ep.plugins.module_utils._operate import Seen
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _gate
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import ACCESS_ARGUMENTS, InProcessAction, display
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._gate import Asked, Intent, World

LWS = "leaderworkerset.x-k8s.io/v1"
YES = b"yes"


def look(client: Client, plan: t.Mapping[str, t.Any], with_nodes: bool = False) -> World:
    """Four requests, and two more where nodes matter."""
    namespace = plan["namespace"]
    found = client.get_or_none(f"/api/v1/namespaces/{namespace}")
    resource = client.discover(LWS, "LeaderWorkerSet")
    nodes = client.list("/api/v1/nodes") if with_nodes else []
    everyone = client.list("/api/v1/pods") if with_nodes else []
    pods = [pod for pod in everyone if pod["metadata"].get("namespace") == namespace]
    if not with_nodes and found:
        pods = client.list(f"/api/v1/namespaces/{namespace}/pods")
    seen = Seen(
        namespace=found,
        sets=tuple(client.list(resource.path(namespace)) if resource and found else ()),
        deployments=tuple(client.list(f"/apis/apps/v1/namespaces/{namespace}/deployments") if found else ()),
        pods=tuple(pods),
    )
    return World(plan, seen, tuple(nodes), tuple(everyone))


def ask(question: str) -> bool | None:
    """A yes, a no, or None where nobody can answer."""
    try:
        answer = display.prompt_until(question)
    except AnsiblePromptNoninteractive:
        return None
    except AnsiblePromptInterrupt:
        return False
    return bytes(answer).strip().lower() == YES


def without_consent(operation: str, intent: Intent, answer: bool | None) -> Finding:
    said = "nobody can answer here" if answer is None else "the answer was not yes"
    impact = " / ".join(line.strip() for line in intent.impact[:4])
    fix = "Run it again in a terminal and answer yes, or give the yes beforehand: -e wide_ep_allow_restart=true. "
    fix += "Nothing was changed; --check shows the impact and asks nothing."
    return Finding("INTERRUPTION_NOT_ALLOWED", "error", operation, f"{said}. {impact}", fix)


def show(operation: str, intent: Intent) -> None:
    if intent.idle:
        display.display(f"{operation}: nothing to do: {intent.idle}")
    for line in intent.impact:
        indent = len(line) - len(line.lstrip())
        wrapped = textwrap.wrap(line.strip(), 96 - indent, break_on_hyphens=False, break_long_words=False)
        for number, text in enumerate(wrapped):
            prefix = "  " if number else ""
            display.display(f"{' ' * indent}{prefix}{text}", color=constants.COLOR_WARN if intent.interrupts else None)


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "operation": {"type": "str", "required": True, "choices": sorted(_gate.OPERATIONS)},
        "plan": {"type": "dict", "required": True},
        "tier": {"type": "str", "default": ""},
        "group": {"type": "int", "default": 0},
        "node": {"type": "str", "default": ""},
        "wanted": {"type": "list", "elements": "dict", "default": []},
        "router_change": {"type": "str", "default": ""},
        "start_budget_seconds": {"type": "int", "default": 2700},
        "allowed": {"type": "bool", "default": False},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        operation = arguments["operation"]
        world = look(self.client(arguments), arguments["plan"], operation in _gate.NEEDS_NODES)
        asked = Asked(
            tier=arguments["tier"],
            group=arguments["group"],
            node=arguments["node"],
            budget=arguments["start_budget_seconds"],
            wanted=tuple(arguments["wanted"]),
            router_change=arguments["router_change"],
        )
        intent = _gate.judge(operation, world, asked)
        if has_errors(intent.findings):
            return self.refusal(intent.findings)
        show(operation, intent)
        if intent.interrupts and not intent.idle and not arguments["allowed"] and not self.check_mode:
            answer = ask(f"{operation} interrupts service as told above. Type yes to go on, anything else to stop: ")
            if not answer:
                return self.refusal([without_consent(operation, intent, answer)])
        return {"intent": intent.as_dict(), "findings": [], "changed": self.check_mode and not intent.idle}
