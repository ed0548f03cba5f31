# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge a cluster before a deployment: one snapshot, a list of checks, and every finding at once."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible import constants

from ansible_collections.llmd.wide_ep.plugins.module_utils import _preflight_rights
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, report
from ansible_collections.llmd.wide_ep.plugins.module_utils._preflight_rights import Right
from ansible_collections.llmd.wide_ep.plugins.module_utils._preflight_snapshot import Question, Reader, Snapshot
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _preflight
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import ACCESS_ARGUMENTS, InProcessAction, display
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._preflight import Check, Outcome

#: Options of the task that are fields of the question.
GIVEN = tuple(
    field.name for field in dataclasses.fields(Question) if field.name not in ("plan", "shape", "objects", "rights")
)


def rights_findings(
    client: Client, snapshot: Snapshot, plan: t.Mapping[str, t.Any], roles: t.Sequence[t.Mapping[str, t.Any]]
) -> list[Finding]:
    """Rights that neither the rules of the identity nor the server, asked one by one, grant."""
    listed = dict.fromkeys(right for role in roles for right in _preflight_rights.rights_of(role))
    wanted = [right for right in listed if _preflight_rights.concerns(right, plan)]
    doubtful = _preflight_rights.open_questions(wanted, snapshot)
    missing = [right for right in doubtful if not _allowed(client, plan["namespace"], right)]
    return _preflight_rights.findings(missing, "wide_ep_kubeconfig")


def _allowed(client: Client, namespace: str, right: Right) -> bool:
    review = client.can_i(
        right.verb,
        right.plural,
        group=right.group,
        # Without a namespace the server is asked about all of them.
        namespace=None if right.everywhere else namespace,
        subresource=right.subresource,
    )
    return review.allowed


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "plan": {"type": "dict", "required": True},
        "shape": {"type": "dict", "required": True},
        "objects": {"type": "list", "elements": "dict", "required": True},
        "roles": {"type": "list", "elements": "dict", "default": []},
        "router_requests": {"type": "list", "elements": "dict", "default": []},
        "harness_requests": {"type": "list", "elements": "dict", "default": []},
        "token_secret": {"type": "str", "default": "llm-d-hf-token"},
        "token_key": {"type": "str", "default": "HF_TOKEN", "no_log": False},
        "token_provided": {"type": "bool", "default": False},
        "token_optional": {"type": "bool", "default": False},
        "adopt_namespace": {"type": "bool", "default": False},
        "pod_security": {"type": "str", "default": "privileged"},
        "may_grow": {"type": "bool", "default": False},
        "cuda": {"type": "str", "default": ""},
        "lws_namespace": {"type": "str", "default": "lws-system"},
        "kueue_namespace": {"type": "str", "default": "kueue-system"},
        "lws_minimum": {"type": "str", "default": "0.7.0"},
        "ignore": {"type": "list", "elements": "str", "default": []},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        plan = arguments["plan"]
        question = Question(
            plan=plan,
            shape=arguments["shape"],
            objects=tuple(arguments["objects"]),
            **{name: arguments[name] for name in GIVEN},
        )
        client = self.client(arguments)
        began = time.monotonic()
        snapshot = Reader(client, plan["namespace"], question.token_secret).take()
        outcomes = _preflight.judge(snapshot, question)
        rights = rights_findings(client, snapshot, plan, arguments["roles"])
        outcomes.append(Outcome(Check("identity", "rights", lambda _snapshot, _asked: rights), tuple(rights)))
        return self.result(outcomes, arguments["ignore"], client.request_count, time.monotonic() - began)

    def result(
        self, outcomes: t.Sequence[Outcome], ignore: t.Collection[str], requests: int, seconds: float
    ) -> dict[str, t.Any]:
        """Every finding; one that the user has chosen to bear is told as a warning."""
        findings = [
            dataclasses.replace(finding, severity="warning")
            if finding.code in ignore and finding.severity == "error"
            else finding
            for outcome in outcomes
            for finding in outcome.findings
        ]
        borne = [finding for finding in findings if finding.severity != "error"]
        for line in report(borne).splitlines() if borne else ():
            display.display(line, color=constants.COLOR_WARN)
        errors = [finding for finding in findings if finding.severity == "error"]
        counted = {
            word: sum(outcome.word == word for outcome in outcomes) for word in ("ok", "info", "warning", "error")
        }
        shown = {"msg": report(errors)} if errors else {}
        return {
            "failed": bool(errors),
            **shown,
            "findings": [finding.as_dict() for finding in findings],
            "summary": [
                ["checks", f"{len(outcomes)}: " + ", ".join(f"{number} {word}" for word, number in counted.items())],
                ["requests", requests],
                ["seconds", round(seconds, 2)],
            ],
            "tables": [_preflight.table(outcomes)],
            "requests": requests,
        }
