# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that requests are answered, and disaggregated for real."""

from __future__ import annotations

import dataclasses
import time
import typing as t
from pathlib import Path

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import report
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_observation import Expectation, TierExpectation
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_proof import Row, Verdict, judge
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import ACCESS_ARGUMENTS, InProcessAction
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._pd_run import Settings, observe

TIER: dict[str, t.Any] = {
    "type": "dict",
    "required": True,
    "options": {
        "lws_name": {"type": "str", "required": True},
        "pods": {"type": "list", "elements": "str", "required": True},
    },
}


def expectation(arguments: t.Mapping[str, t.Any]) -> Expectation:
    tiers = tuple(
        TierExpectation(role, arguments[role]["lws_name"], tuple(arguments[role]["pods"]))
        for role in ("prefill", "decode")
    )
    router = f"deployment/{arguments['release']}-epp"
    return Expectation(arguments["namespace"], arguments["model"], tiers, arguments["pool_labels"], router)


def settings(arguments: t.Mapping[str, t.Any]) -> Settings:
    names = {field.name for field in dataclasses.fields(Settings)}
    taken = {name: value for name, value in arguments.items() if name in names}
    program = Path(arguments["program"]).read_text(encoding="utf-8")
    lists = {name: tuple(arguments[name]) for name in ("target_ports", "tolerations")}
    return Settings(**{**taken, **lists, "program": program})


def table(rows: t.Sequence[Row]) -> dict[str, t.Any]:
    """Pod by role by requests; with ranks where the server tells them apart."""
    columns: dict[str, t.Callable[[Row], t.Any]] = {
        "pod": lambda row: row.pod,
        "role": lambda row: row.role,
        "requests": lambda row: row.requests,
        "ranks": _ranks,
        "state": lambda row: row.state,
        "node": lambda row: row.node,
    }
    if not any(map(_ranks, rows)):
        del columns["ranks"]
    cells = [[read(row) for read in columns.values()] for row in rows]
    return {"title": "Requests per pod", "columns": list(columns), "rows": cells}


def _ranks(row: Row) -> str:
    used = sum(count > 0 for count in row.ranks.values())
    return f"{used} of {len(row.ranks)}" if len(row.ranks) > 1 else ""


def summary(verdict: Verdict) -> list[list[str]]:
    remote = f"{verdict.prefilled_remotely} of {verdict.answered} requests prefilled remotely"
    return [
        ["Endpoint", verdict.endpoint or "none"],
        ["Completion", verdict.text or "none"],
        ["Requests", f"{verdict.answered} of {verdict.asked} answered"],
        ["P/D", remote],
    ]


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "namespace": {"type": "str", "required": True},
        "release": {"type": "str", "required": True},
        "model": {"type": "str", "required": True},
        "router_mode": {"type": "str", "choices": ["standalone", "gateway"], "default": "standalone"},
        "pool_labels": {"type": "dict", "default": {"llm-d.ai/guide": "wide-ep-lws"}},
        "prefill": TIER,
        "decode": TIER,
        "target_ports": {"type": "list", "elements": "int", "default": [8000]},
        "image": {"type": "str", "required": True},
        "program": {"type": "path", "required": True},
        "requests": {"type": "int", "default": 16},
        "max_requests": {"type": "int", "default": 64},
        "concurrency": {"type": "int", "default": 8},
        "max_tokens": {"type": "int", "default": 16},
        "long_prompt_words": {"type": "int", "default": 1500},
        "request_timeout": {"type": "float", "default": 120},
        "ready_timeout": {"type": "float", "default": 30},
        "start_timeout": {"type": "float", "default": 120},
        "timeout": {"type": "float", "default": 600},
        "tolerations": {"type": "list", "elements": "dict", "default": []},
        "node_selector": {"type": "dict", "default": {}},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        if self.check_mode:
            return {"skipped": True, "msg": "No request is sent in check mode; run playbooks/verify.yml for the proof."}
        started = time.monotonic()
        client = self.client(arguments)
        expected = expectation(arguments)
        verdict = judge(expected, observe(client, expected, settings(arguments)))
        outcome = (
            f"{verdict.prefilled_remotely} of {verdict.answered} requests prefilled remotely"
            if verdict.passed
            else report(verdict.findings)
        )
        return {
            **verdict.as_dict(),
            "failed": not verdict.passed,
            "msg": outcome,
            "summary": summary(verdict),
            "tables": [table(verdict.rows)],
            "api_requests": client.request_count,
            "seconds": round(time.monotonic() - started, 1),
            "warnings": list(client.warnings),
        }
