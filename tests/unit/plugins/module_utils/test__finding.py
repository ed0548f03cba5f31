# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import CODES, Finding, has_errors, report


def finding(severity: str = "error", evidence: str = "seen", fix: str = "do") -> Finding:
    return Finding("INPUT_UNKNOWN", severity, "wide_ep_x", evidence, fix)  # type: ignore[arg-type]


def test_unregistered_code_is_refused() -> None:
    with pytest.raises(ValueError, match="NO_SUCH_CODE"):
        Finding("NO_SUCH_CODE", "error", "s", "e", "f")


@given(st.lists(st.text(alphabet="abc-/.", min_size=1, max_size=60), max_size=30))
def test_text_fits_a_terminal_of_100_columns_and_keeps_words_whole(words: list[str]) -> None:
    lines = finding(evidence=" ".join(words)).text().splitlines()
    assert all(len(line) <= 98 for line in lines)
    assert [word for line in lines for word in line.split()][4:-2] == words


def test_report_shows_errors_first() -> None:
    text = report([finding("warning"), finding("error")])
    assert text.index("ERROR") < text.index("WARNING")


@pytest.mark.parametrize(("severities", "expected"), [([], False), (["warning"], False), (["warning", "error"], True)])
def test_has_errors(severities: list[str], expected: bool) -> None:
    assert has_errors(finding(severity) for severity in severities) is expected


def test_every_code_has_a_meaning() -> None:
    assert all(meaning.endswith(".") for meaning in CODES.values())
