# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every finding that the code can make is registered and documented."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import CODES

from ._collection import ROOT

PAGE = ROOT / "docs" / "reference" / "findings.md"
CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")


def codes_used(path: Path) -> set[str]:
    """The literal first arguments of calls of Finding."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Finding":
            values = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "code")]
            found |= {str(value.value) for value in values if isinstance(value, ast.Constant)}
    return found


@pytest.mark.parametrize("path", sorted(ROOT.glob("plugins/**/*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_codes_are_registered(path: Path) -> None:
    assert codes_used(path) <= set(CODES)


@pytest.mark.parametrize("code", sorted(CODES))
def test_codes_are_well_formed_and_used(code: str) -> None:
    assert CODE.fullmatch(code)
    sources = [path for path in ROOT.glob("plugins/**/*.py") if path.name != "_finding.py"]
    sources += ROOT.glob("roles/*/tasks/**/*.yml")
    # A tier's findings are written once for both tiers: f"{role.upper()}_ABSENT".
    both_tiers = re.sub(r"^(PREFILL|DECODE)_", r"\}_", code)
    pattern = re.compile(rf"\b{code}\b|{both_tiers}\b")
    assert any(pattern.search(path.read_text()) for path in sources), "nothing makes this finding"


@pytest.mark.parametrize("code", sorted(CODES))
def test_codes_are_documented(code: str) -> None:
    assert re.search(rf"^#+ .*\b{code}\b", PAGE.read_text(), re.MULTILINE), f"{PAGE.relative_to(ROOT)} lacks a section"
