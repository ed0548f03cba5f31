# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import types
import typing as t

import pytest
from ansible.errors import AnsiblePromptInterrupt, AnsiblePromptNoninteractive

from ansible_collections.llmd.wide_ep.plugins.action import confirm

Answer = t.Union[bytes, str, Exception]


def act(monkeypatch: pytest.MonkeyPatch, answer: Answer, *, confirmed: bool = False, check: bool = False) -> t.Any:
    shown: list[str] = []
    asked: list[str] = []

    def prompt(text: str, private: bool) -> t.Any:
        asked.append(text)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(confirm, "display", types.SimpleNamespace(display=shown.append, prompt_until=prompt))
    action = confirm.ActionModule.__new__(confirm.ActionModule)
    action._task = t.cast("t.Any", types.SimpleNamespace(check_mode=check))
    arguments = {"lines": ["32 GPUs"], "question": "Make this?", "variable": "wide_ep_x", "confirmed": confirmed}
    result = action.act(arguments, {})
    assert shown == ["  32 GPUs"]
    return result, asked


@pytest.mark.parametrize("answer", [b"yes", b" YES \r", "yes"])
def test_a_yes_goes_on(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    result, asked = act(monkeypatch, answer)
    assert result == {"by": "answer"}
    assert "Make this?" in asked[0]


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (b"y", "the answer was 'y'"),
        (b"", "the answer was ''"),
        (b"yes please", "the answer was 'yes please'"),
        (AnsiblePromptInterrupt(), "the answer was ''"),
        (AnsiblePromptNoninteractive(), "nobody can answer here"),
    ],
)
def test_anything_else_ends_the_run(monkeypatch: pytest.MonkeyPatch, answer: Answer, seen: str) -> None:
    result, _asked = act(monkeypatch, answer)
    assert result["failed"]
    (finding,) = result["findings"]
    assert finding["code"] == "NOT_CONFIRMED"
    assert seen in finding["evidence"]
    assert "-e wide_ep_x=true" in finding["fix"]


@pytest.mark.parametrize(("given", "by"), [({"confirmed": True}, "wide_ep_x"), ({"check": True}, "check mode")])
def test_nobody_is_asked(monkeypatch: pytest.MonkeyPatch, given: dict[str, bool], by: str) -> None:
    result, asked = act(monkeypatch, b"no", **given)
    assert (result, asked) == ({"by": by}, [])
