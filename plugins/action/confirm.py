# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show what is about to happen, and go on with a yes alone."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsiblePromptInterrupt, AnsiblePromptNoninteractive

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import InProcessAction, display

YES = "yes"


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        "lines": {"type": "list", "elements": "str", "required": True},
        "question": {"type": "str", "required": True},
        "variable": {"type": "str", "required": True},
        "confirmed": {"type": "bool", "required": True},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        for line in arguments["lines"]:
            display.display(f"  {line}")
        if self.check_mode:
            return {"by": "check mode"}
        if arguments["confirmed"]:
            return {"by": arguments["variable"]}
        answer = ask(arguments["question"])
        if answer == YES:
            return {"by": "answer"}
        return self.refusal([refused(arguments, answer)])


def ask(question: str) -> str | None:
    """The answer, empty where there was none, None where nobody can answer."""
    try:
        given = display.prompt_until(f"{question} Only '{YES}' goes on: ", private=False)
    except AnsiblePromptNoninteractive:
        return None
    except AnsiblePromptInterrupt:
        return ""
    text = given.decode("utf-8", "replace") if isinstance(given, bytes) else str(given)
    return text.strip().lower()


def refused(arguments: t.Mapping[str, t.Any], answer: str | None) -> Finding:
    seen = "nobody can answer here (no terminal)" if answer is None else f"the answer was {answer!r}"
    fix = f"Run it in a terminal and answer {YES}, or say so beforehand: -e {arguments['variable']}=true"
    return Finding("NOT_CONFIRMED", "error", arguments["question"], f"{seen}; nothing was changed", fix)
