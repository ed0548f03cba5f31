# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.action.pd_proof import (
    ActionModule,
    expectation,
    settings,
    summary,
    table,
    tables,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._kv_transport import Transport
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_proof import Row, Verdict
from ansible_collections.llmd.wide_ep.plugins.modules import inventory_receipt, pd_proof
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._kv_run import KvSettings

ARGUMENTS: dict[str, t.Any] = {
    **{name: option.get("default") for name, option in ActionModule.ARGUMENTS.items()},
    "namespace": "n",
    "release": "wide-ep-lws",
    "model": "m",
    "image": "i",
    "prefill": {"lws_name": "p", "pods": ["p-0"]},
    "decode": {"lws_name": "d", "pods": ["d-0", "d-0-1"]},
}


def test_expectation() -> None:
    expected = expectation(ARGUMENTS)
    assert [(tier.role, tier.lws_name, tier.pods) for tier in expected.tiers] == [
        ("prefill", "p", ("p-0",)),
        ("decode", "d", ("d-0", "d-0-1")),
    ]
    assert expected.router == "deployment/wide-ep-lws-epp"
    assert expected.pool_labels == {"llm-d.ai/guide": "wide-ep-lws"}


def test_settings_hold_the_text_of_the_program(tmp_path: Path) -> None:
    program = tmp_path / "client.py"
    program.write_text("print()", encoding="utf-8")
    made = settings({**ARGUMENTS, "program": str(program)})
    assert (made.program, made.target_ports, made.requests, made.max_requests) == ("print()", (8000,), 16, 64)


@pytest.mark.parametrize(
    ("ranks", "columns", "cells"),
    [
        ({}, ["pod", "role", "requests", "state", "node"], ["d-0", "decode", 3, "ready", "gpu-0"]),
        ({"8200": 3}, ["pod", "role", "requests", "state", "node"], ["d-0", "decode", 3, "ready", "gpu-0"]),
        (
            {"8": 2, "9": 1, "10": 0},
            ["pod", "role", "requests", "ranks", "state", "node"],
            ["d-0", "decode", 3, "2 of 3", "ready", "gpu-0"],
        ),
    ],
)
def test_table(ranks: dict[str, int], columns: list[str], cells: list[t.Any]) -> None:
    made = table([Row("d-0", "decode", "gpu-0", 3, ranks, "ready")])
    assert (made["columns"], made["rows"]) == (columns, [cells])


VERDICT = Verdict(
    True, (), (), "http://x:80", "hi", asked=18, answered=17, prefilled_remotely=16, decisions="17 prefill-decode"
)


def test_ranks_and_the_network_of_the_kv_cache(tmp_path: Path) -> None:
    tiers = {role: {**ARGUMENTS[role], "pods_per_group": 2, "ranks_per_pod": 8} for role in ("prefill", "decode")}
    kv = {"enforced": True, "bytes_per_token": 70272, "tokens": 100, "prompts": 2}
    program = tmp_path / "client.py"
    program.write_text("print()", encoding="utf-8")
    arguments = {
        **ARGUMENTS,
        **tiers,
        "program": str(program),
        "target_ports": list(range(8000, 8008)),
        "kv_transport": kv,
    }
    expected = expectation(arguments)
    assert (expected.rank_endpoints, expected.kv_enforced) == (True, True)
    assert [tier.first_rank(tier.pods[-1]) for tier in expected.tiers] == [0, 8]
    assert settings(arguments).kv == KvSettings(70272, 100, 2, tuple(range(8000, 8008)))
    plain = expectation(ARGUMENTS)
    assert (plain.rank_endpoints, plain.kv_enforced) == (False, False)


def test_summary_counts_in_words() -> None:
    assert summary(VERDICT) == [
        ["Endpoint", "http://x:80"],
        ["Completion", "hi"],
        ["Requests", "17 of 18 answered"],
        ["P/D", "16 of 17 requests prefilled remotely"],
        ["Endpoint picker decided", "17 prefill-decode"],
    ]
    ranks = (
        Row("p-0", "prefill", "gpu-0", 3, {"0": 1, "1": 2}, "ready"),
        Row("d-0", "decode", "gpu-0", 3, {"0": 0, "1": 3}, "ready"),
        Row("d-0-1", "decode", "gpu-1", 3, {"2": 1, "3": 2}, "ready"),
    )
    assert summary(dataclasses.replace(VERDICT, rows=ranks, kv_transport="unknown"))[-2:] == [
        ["Ranks", "2 of 2 prefill, 3 of 4 decode"],
        ["KV transport", "unknown"],
    ]


def test_tables_fit_a_terminal() -> None:
    name = "wide-ep-lws-nvidia-gpu-vllm-prefill-0-1"
    transports = (
        Transport(name, "tcp", 1_151_336_448, 1_151_336_448, None, "x"),
        Transport(name, "unknown", 0),
    )
    kinds = {
        "completion": {"asked": 4, "answered": 4, "chunks": 0},
        "chat_stream": {"asked": 4, "answered": 3, "chunks": 51},
    }
    row = Row(name, "prefill", "gpu-0", 3, {"0": 1, "1": 2}, "not ready")
    made = tables(dataclasses.replace(VERDICT, rows=(row,), kinds=kinds, transports=transports))
    assert [one["title"] for one in made] == ["Requests per pod", "Requests by kind", "KV cache by prefill pod, in MB"]
    assert made[1]["rows"] == [["completion", 4, 4, ""], ["chat_stream", 4, 3, 51]]
    assert made[2]["rows"] == [
        [name, "tcp", "1151.3", "1151.3", "unknown"],
        [name, "unknown", "0.0", "unknown", "unknown"],
    ]
    for one in made:
        widths = [
            max(len(str(row[place])) for row in [one["columns"], *one["rows"]]) for place in range(len(one["columns"]))
        ]
        assert sum(widths) + 2 * (len(widths) - 1) <= 96


@pytest.mark.parametrize(("module", "action"), [(pd_proof, "pd_proof"), (inventory_receipt, "inventory_receipt")])
def test_options_are_documented_as_they_are(module: t.Any, action: str) -> None:
    plugin = __import__(
        f"ansible_collections.llmd.wide_ep.plugins.action.{action}", fromlist=["ActionModule"]
    ).ActionModule
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    accepted = {name: spec for name, spec in plugin.ARGUMENTS.items() if name not in ("kubeconfig", "context")}
    assert set(documented) == set(accepted)
    for name, spec in accepted.items():
        for key in ("type", "default", "choices", "required", "elements"):
            assert documented[name].get(key) == spec.get(key), f"{name}.{key}"
