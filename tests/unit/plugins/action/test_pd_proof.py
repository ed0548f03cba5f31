# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

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
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_proof import Row, Verdict
from ansible_collections.llmd.wide_ep.plugins.modules import inventory_receipt, pd_proof

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


def test_summary_counts_in_words() -> None:
    verdict = Verdict(True, (), (), "http://x:80", "hi", asked=18, answered=17, prefilled_remotely=16)
    assert summary(verdict) == [
        ["Endpoint", "http://x:80"],
        ["Completion", "hi"],
        ["Requests", "17 of 18 answered"],
        ["P/D", "16 of 17 requests prefilled remotely"],
    ]


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
