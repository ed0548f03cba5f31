# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until many objects are ready, with a live line, and say why when they will not be."""

from __future__ import annotations

import difflib
import typing as t

from ansible.errors import AnsibleActionFail

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client
from ansible_collections.llmd.wide_ep.plugins.module_utils._evidence import (
    Evidence,
    LogKeeper,
    collect,
    findings_of,
    render,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._observer import Target
from ansible_collections.llmd.wide_ep.plugins.module_utils._troubles import POLICY
from ansible_collections.llmd.wide_ep.plugins.module_utils._waiter import Snapshot, Spec, minutes, watch
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import ACCESS_ARGUMENTS, InProcessAction, display

HEARTBEAT = 30.0


class LiveLine:
    """Prints a snapshot when it has news, and every half minute when it has none."""

    def __init__(self, show: t.Callable[[str], t.Any], prefix: str = "") -> None:
        self._show = show
        self._prefix = prefix
        self._text = ""
        self._at = 0.0

    def update(self, snapshot: Snapshot) -> None:
        if snapshot.outcome != "waiting" and not self._text:
            return
        if snapshot.text != self._text or snapshot.elapsed - self._at >= HEARTBEAT:
            self._show(self._prefix + snapshot.line())
            self._text, self._at = snapshot.text, snapshot.elapsed


def spec_of(arguments: t.Mapping[str, t.Any]) -> Spec:
    grace = {reason: float(seconds) for reason, seconds in arguments["grace"].items()}
    for reason in set(grace) - set(POLICY):
        near = difflib.get_close_matches(reason, POLICY, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(POLICY))}"
        raise AnsibleActionFail(f"grace: there is no reason {reason}; {hint}")
    return Spec(
        targets=tuple(dict.fromkeys(Target(**entry) for entry in arguments["objects"])),
        timeout=arguments["timeout"],
        interval=arguments["interval"],
        stable_for=arguments["stable_for"],
        grace=grace,
    )


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "objects": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "api_version": {"type": "str", "required": True},
                "kind": {"type": "str", "required": True},
                "namespace": {"type": "str"},
                "name": {"type": "str"},
                "label_selector": {"type": "str"},
                "count": {"type": "int"},
            },
            "required_one_of": [["name", "label_selector"]],
            "mutually_exclusive": [["name", "label_selector"], ["name", "count"]],
        },
        "timeout": {"type": "float", "default": 600.0},
        "interval": {"type": "float", "default": 1.0},
        "stable_for": {"type": "float", "default": 0.0},
        "grace": {"type": "dict", "default": {}},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        spec = spec_of(arguments)
        if self.check_mode:
            return {"skipped": True, "msg": f"check mode: would wait for {len(spec.targets)} objects", "objects": []}
        client = self.client(arguments)
        snapshot, keeper = self._wait(client, spec, self._prefix(task_vars))
        if snapshot.outcome == "ready":
            return {"msg": f"{len(spec.targets)} objects ready after {minutes(snapshot.elapsed)}", **_data(snapshot)}
        return self._failure(snapshot, collect(client, snapshot, keeper))

    def _wait(self, client: Client, spec: Spec, prefix: str) -> tuple[Snapshot, LogKeeper]:
        keeper = LogKeeper(client)
        live = LiveLine((lambda _text: None) if self._task.no_log else display.display, prefix)
        for snapshot in watch(client, spec):
            live.update(snapshot)
            keeper.look(snapshot)
        return snapshot, keeper

    @staticmethod
    def _prefix(task_vars: t.Mapping[str, t.Any]) -> str:
        several = len(task_vars.get("ansible_play_hosts") or ()) > 1
        return f"[{task_vars['inventory_hostname']}] " if several else "  "

    @staticmethod
    def _failure(snapshot: Snapshot, evidence: Evidence) -> dict[str, t.Any]:
        return {
            "failed": True,
            "msg": render(snapshot, evidence),
            "findings": [finding.as_dict() for finding in findings_of(snapshot)],
            "evidence": evidence.as_dict(),
            **_data(snapshot),
        }


def _data(snapshot: Snapshot) -> dict[str, t.Any]:
    return {
        "outcome": snapshot.outcome,
        "elapsed": round(snapshot.elapsed, 3),
        "requests": snapshot.requests,
        "objects": [item.as_dict() for item in snapshot.items],
    }
