# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import TOOLS

Load = Callable[[str], types.ModuleType]


def test_every_difference_has_a_row_and_every_row_a_difference() -> None:
    # A process of its own: Ansible's loader of collections is set up once, and other tests set it up otherwise.
    done = subprocess.run(
        [sys.executable, str(TOOLS / "upstream_differences.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


#: A part of the reference of each known defect of the guide's model servers, and how many rows speak of it at least.
DEFECTS = {
    "llm-d #1324": 2,
    "llm-d #1857": 2,
    "Kueue #7061": 1,
    "llm-d #1730, #1738": 1,
    "llm-d #1684": 3,
    "llm-d #1564": 1,
    "llm-d docs/infra-providers/gke": 2,
    "NVIDIA GB200 NVL72": 3,
    "llm-d README": 1,
    "llm-d-benchmark": 1,
}


@pytest.mark.parametrize(("reference", "count"), DEFECTS.items())
def test_the_known_defects_are_in_the_table(load_tool: Load, reference: str, count: int) -> None:
    tool = load_tool("upstream_differences")
    found = [row.reference for row in tool.rows()] + [row["reference"] for row in tool.load(tool.TABLE)["elsewhere"]]
    assert len([item for item in found if reference in item]) >= count


def test_every_row_has_its_reason_and_reference(load_tool: Load) -> None:
    assert [row.path for row in load_tool("upstream_differences").rows() if not (row.reason and row.reference)] == []


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        (None, None, True),
        (None, "x", False),
        ("x", None, False),
        ("*", None, False),
        ("a[b.c/d-*]", "a[b.c/d-7]", True),
        ("a[b.c/d-*]", "a[bxc/d-7]", False),
        ("0", "00", False),
        ("*x*", "a\nx", True),
    ],
)
def test_matches(load_tool: Load, pattern: str | None, value: str | None, fits: bool) -> None:
    assert load_tool("upstream_differences").matches(pattern, value) is fits


#: Rows that do not fit the one difference vllm.image, x to y, on decode of overlay a; and what is said about them.
PROBLEMS: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "fits": ([{"path": "vllm.image", "upstream": "x", "ours": "y"}], []),
    "no row": ([], ["no row for a, decode: vllm.image: upstream 'x', ours 'y'"]),
    "another value": (
        [{"path": "vllm.image", "upstream": "x", "ours": "z"}],
        [
            "no row for a, decode: vllm.image: upstream 'x', ours 'y'",
            "row vllm.image ('x', 'z') no longer differs",
        ],
    ),
    "one overlay too many": (
        [{"path": "vllm.*", "upstream": "x", "ours": "*", "overlays": ["a", "b"]}],
        ["row vllm.* ('x', '*') no longer differs on b"],
    ),
    "one tier too many": (
        [{"path": "*", "upstream": "x", "ours": "y", "tiers": ["prefill", "decode"]}],
        ["row * ('x', 'y') no longer differs on prefill"],
    ),
}


@pytest.mark.parametrize(("table", "expected"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_problems(load_tool: Load, table: list[dict[str, Any]], expected: list[str]) -> None:
    tool = load_tool("upstream_differences")
    rows = [tool.Row.from_data({"reason": "r", "reference": "x #1", **data}) for data in table]
    assert tool.problems([tool.Difference("a", "decode", "vllm.image", "x", "y")], rows) == expected
