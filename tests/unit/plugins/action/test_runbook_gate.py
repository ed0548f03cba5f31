# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import types
import typing as t

import operate_data as data
import pytest
from ansible.errors import AnsiblePromptInterrupt, AnsiblePromptNoninteractive

from ansible_collections.llmd.wide_ep.plugins.action import group_restart, runbook_gate
from ansible_collections.llmd.wide_ep.plugins.action.runbook_gate import ActionModule
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._gate import World


class Terminal:
    """What is shown, and what someone answers."""

    def __init__(self, answer: t.Any) -> None:
        self.answer = answer
        self.lines: list[str] = []
        self.asked = 0

    def display(self, line: str, color: str | None = None) -> None:
        self.lines.append(line)

    def prompt_until(self, _question: str) -> bytes:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return t.cast("bytes", self.answer)


def act(
    monkeypatch: pytest.MonkeyPatch, answer: t.Any, *, check: bool = False, **given: t.Any
) -> tuple[t.Any, Terminal]:
    terminal = Terminal(answer)
    monkeypatch.setattr(runbook_gate, "display", terminal)
    monkeypatch.setattr(runbook_gate, "look", lambda *_args: World(data.plan(), data.deployed()))
    monkeypatch.setattr(ActionModule, "client", staticmethod(lambda _arguments: None))
    action = ActionModule.__new__(ActionModule)
    action._task = t.cast("t.Any", types.SimpleNamespace(check_mode=check))
    arguments = {name: option.get("default") for name, option in ActionModule.ARGUMENTS.items()}
    arguments |= {"operation": "restart_group", "plan": data.plan(), "tier": "decode", "group": 0, **given}
    return action.act(arguments, {}), terminal


@pytest.mark.parametrize("answer", [b"yes\n", b"YES"])
def test_a_yes_goes_on(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    result, terminal = act(monkeypatch, answer)
    assert not result.get("failed")
    assert [group["role"] for group in result["intent"]["groups"]] == ["decode"]
    assert "every request fails" in " ".join(" ".join(terminal.lines).split())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (AnsiblePromptNoninteractive("no terminal"), "nobody can answer here"),
        (AnsiblePromptInterrupt("^C"), "the answer was not yes"),
        (b"", "the answer was not yes"),
        (b"y", "the answer was not yes"),
    ],
)
def test_anything_else_stops_with_the_way_on(monkeypatch: pytest.MonkeyPatch, answer: t.Any, words: str) -> None:
    result, _terminal = act(monkeypatch, answer)
    assert result["failed"]
    assert [item["code"] for item in result["findings"]] == ["INTERRUPTION_NOT_ALLOWED"]
    assert words in result["findings"][0]["evidence"]
    assert "wide_ep_allow_restart=true" in result["findings"][0]["fix"]


@pytest.mark.parametrize("given", [{"allowed": True}, {"check": True}, {"operation": "look"}])
def test_no_question_where_none_is_needed(monkeypatch: pytest.MonkeyPatch, given: dict[str, t.Any]) -> None:
    result, terminal = act(monkeypatch, AnsiblePromptNoninteractive("no terminal"), **given)
    assert not result.get("failed")
    assert terminal.asked == 0


def test_a_refusal_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    result, terminal = act(monkeypatch, b"yes", group=7)
    assert result["failed"]
    assert (terminal.asked, terminal.lines) == (0, [])


# --- Restart

GROUP = {
    "role": "decode",
    "set": "set",
    "index": 0,
    "leader": "p-0",
    "pods": [{"name": "p-0", "uid": "u0"}, {"name": "p-0-1", "uid": "u1"}],
}


class Pods:
    """A group whose old pods go after some looks; the new ones have other uids."""

    def __init__(self, looks: int, status: int = 0) -> None:
        self.looks, self.status = looks, status
        self.deleted: list[tuple[str, str]] = []

    def delete(self, path: str, body: dict[str, t.Any]) -> None:
        self.deleted.append((path.rpartition("/")[2], body["preconditions"]["uid"]))
        if self.status:
            raise ApiError(self.status, "", "", path)

    def list(self, _path: str, query: dict[str, str]) -> list[dict[str, t.Any]]:
        assert query["labelSelector"].endswith("group-index=0")
        self.looks -= 1
        uids = ["u0", "u1"] if self.looks >= 0 else ["n0", "n1"]
        return [{"metadata": {"uid": uid, "name": uid}, "spec": {}} for uid in uids]


@pytest.mark.parametrize(
    ("looks", "status", "codes"), [(2, 0, []), (0, 404, []), (0, 409, []), (10**6, 0, ["GROUP_STUCK"])]
)
def test_restart(monkeypatch: pytest.MonkeyPatch, looks: int, status: int, codes: list[str]) -> None:
    monkeypatch.setattr(group_restart, "INTERVAL", 0)
    pods = Pods(looks, status)
    findings = group_restart.restart(t.cast("t.Any", pods), "ns", [GROUP], 0.05)
    assert pods.deleted == [("p-0", "u0")]
    assert [item.code for item in findings] == codes


def test_without_a_leader_every_pod_goes() -> None:
    pods = Pods(0)
    group_restart.restart(t.cast("t.Any", pods), "ns", [{**GROUP, "leader": ""}], 1)
    assert [name for name, _uid in pods.deleted] == ["p-0", "p-0-1"]


def test_another_error_is_not_swallowed() -> None:
    with pytest.raises(ApiError):
        group_restart.restart(t.cast("t.Any", Pods(0, 403)), "ns", [GROUP], 1)
