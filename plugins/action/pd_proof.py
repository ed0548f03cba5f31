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
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._kv_run import KvSettings
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._pd_run import Settings, observe

TIER: dict[str, t.Any] = {
    "type": "dict",
    "required": True,
    "options": {
        "lws_name": {"type": "str", "required": True},
        "pods": {"type": "list", "elements": "str", "required": True},
        "pods_per_group": {"type": "int", "default": 1},
        "ranks_per_pod": {"type": "int", "default": 1},
    },
}
KV: dict[str, t.Any] = {
    "type": "dict",
    "options": {
        "enforced": {"type": "bool", "default": False},
        "bytes_per_token": {"type": "int", "required": True},
        "tokens": {"type": "int", "default": 16384},
        "prompts": {"type": "int", "default": 8},
    },
}


def expectation(arguments: t.Mapping[str, t.Any]) -> Expectation:
    tiers = tuple(
        TierExpectation(
            role,
            arguments[role]["lws_name"],
            tuple(arguments[role]["pods"]),
            arguments[role].get("ranks_per_pod") or 1,
            arguments[role].get("pods_per_group") or 1,
        )
        for role in ("prefill", "decode")
    )
    return Expectation(
        arguments["namespace"],
        arguments["model"],
        tiers,
        arguments["pool_labels"],
        router=f"deployment/{arguments['release']}-epp",
        rank_endpoints=len(arguments["target_ports"]) > 1,
        kv_enforced=bool((arguments["kv_transport"] or {}).get("enforced")),
    )


def settings(arguments: t.Mapping[str, t.Any]) -> Settings:
    names = {field.name for field in dataclasses.fields(Settings)}
    taken = {name: value for name, value in arguments.items() if name in names}
    program = Path(arguments["program"]).read_text(encoding="utf-8")
    lists = {name: tuple(arguments[name]) for name in ("target_ports", "tolerations")}
    wanted = arguments["kv_transport"]
    kv = None
    if wanted:
        kv = KvSettings(wanted["bytes_per_token"], wanted["tokens"], wanted["prompts"], lists["target_ports"])
    return Settings(**{**taken, **lists, "program": program, "kv": kv})


def tables(verdict: Verdict) -> list[dict[str, t.Any]]:
    """What was asked, who served it, and over which network the KV cache went."""
    asked = {
        "title": "Requests by kind",
        "columns": ["kind", "sent", "answered", "chunks"],
        "rows": [
            [kind, count["asked"], count["answered"], count["chunks"] or ""] for kind, count in verdict.kinds.items()
        ],
    }
    networks = {
        "title": "KV cache by prefill pod, in MB",
        "columns": ["pod", "transport", "expected", "pod network", "HCAs"],
        "rows": [
            [one.pod, one.verdict, *map(_megabytes, (one.expected, one.pod_network, one.hcas))]
            for one in verdict.transports
        ],
    }
    return [table(verdict.rows), *(made for made in (asked, networks) if made["rows"])]


def _megabytes(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 1e6:.1f}"


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
    ranks = _all_ranks(verdict.rows)
    return [
        ["Endpoint", verdict.endpoint or "none"],
        ["Completion", verdict.text or "none"],
        ["Requests", f"{verdict.answered} of {verdict.asked} answered"],
        ["P/D", remote],
        ["Endpoint picker decided", verdict.decisions],
        *([["Ranks", ranks]] if ranks else []),
        *([["KV transport", verdict.kv_transport]] if verdict.kv_transport else []),
    ]


def _all_ranks(rows: t.Sequence[Row]) -> str:
    """How many ranks have served, tier by tier; nothing where the servers do not tell them apart."""
    words = []
    for role in dict.fromkeys(row.role for row in rows):
        counts = [count for row in rows if row.role == role for count in row.ranks.values()]
        if counts:
            words.append(f"{sum(count > 0 for count in counts)} of {len(counts)} {role}")
    return ", ".join(words)


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
        "kv_transport": KV,
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
            "tables": tables(verdict),
            "api_requests": client.request_count,
            "seconds": round(time.monotonic() - started, 1),
            "warnings": list(client.warnings),
        }
