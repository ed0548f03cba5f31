# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.llmd.wide_ep.plugins.action.wait_ready import ActionModule, LiveLine, spec_of
from ansible_collections.llmd.wide_ep.plugins.module_utils._observer import Target
from ansible_collections.llmd.wide_ep.plugins.module_utils._troubles import POLICY
from ansible_collections.llmd.wide_ep.plugins.module_utils._waiter import Item, Outcome, Snapshot

ROOT = pathlib.Path(__file__).resolve().parents[4]
NODE = {"api_version": "v1", "kind": "Node", "name": "a"}


def validated(arguments: dict[str, t.Any]) -> t.Any:
    return ArgumentSpecValidator(ActionModule.ARGUMENTS).validate(arguments)


def shot(seconds: float, ready: int, outcome: Outcome = "waiting") -> Snapshot:
    items = tuple(
        Item(Target("v1", "Node", name=name), name, "ready" if index < ready else "progressing", "not Ready")
        for index, name in enumerate("ab")
    )
    return Snapshot(outcome, seconds, 600, items)


def test_live_line_prints_news_and_a_heartbeat() -> None:
    lines: list[str] = []
    live = LiveLine(lines.append, "> ")
    for seconds, ready in ((0, 0), (1, 0), (2, 1), (31, 1), (32, 1), (33, 1)):
        live.update(shot(seconds, ready))
    live.update(shot(34, 2, "ready"))
    assert lines == [
        "> a not Ready; b not Ready; 0 of 2 ready; 0:00 of 10:00",
        "> b not Ready; 1 of 2 ready; 0:02 of 10:00",
        "> b not Ready; 1 of 2 ready; 0:32 of 10:00",
        "> 2 of 2 ready; 0:34 of 10:00",
    ]


def test_live_line_is_silent_when_nothing_is_to_be_waited_for() -> None:
    lines: list[str] = []
    LiveLine(lines.append).update(shot(0, 2, "ready"))
    assert lines == []


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (NODE, None),
        ({"api_version": "v1", "kind": "Node", "label_selector": "a=b", "count": 4}, None),
        ({"api_version": "v1", "kind": "Node"}, "one of the following is required: name, label_selector"),
        ({**NODE, "label_selector": "a=b"}, "mutually exclusive"),
        ({**NODE, "count": 2}, "mutually exclusive"),
        ({"kind": "Node", "name": "a"}, "missing required arguments: api_version"),
        ({**NODE, "apiVersion": "v1"}, "objects.apiVersion"),
    ],
)
def test_objects_are_validated(entry: dict[str, t.Any], error: str | None) -> None:
    messages = validated({"objects": [entry]}).error_messages
    assert not messages if error is None else error in " ".join(messages)


def test_spec_drops_duplicates_and_keeps_the_order() -> None:
    second = {**NODE, "name": "b"}
    arguments = validated({"objects": [NODE, second, NODE], "grace": {"Unschedulable": "900"}}).validated_parameters
    spec = spec_of(arguments)
    assert [target.name for target in spec.targets] == ["a", "b"]
    assert (spec.timeout, spec.interval, spec.grace) == (600.0, 1.0, {"Unschedulable": 900.0})


def test_an_unknown_reason_gets_a_suggestion() -> None:
    arguments = validated({"objects": [NODE], "grace": {"Unscheduleable": 1}}).validated_parameters
    with pytest.raises(AnsibleActionFail, match="did you mean Unschedulable"):
        spec_of(arguments)


def test_the_documentation_says_what_the_code_does() -> None:
    source = (ROOT / "plugins" / "modules" / "wait_ready.py").read_text()
    documentation = yaml.safe_load(source.split('DOCUMENTATION = r"""')[1].split('"""')[0])
    options = documentation["options"]
    assert set(options) == set(ActionModule.ARGUMENTS) - {"kubeconfig", "context"}
    for name, option in options.items():
        declared = ActionModule.ARGUMENTS[name]
        assert option.get("default") == declared.get("default"), name
        assert option["type"] == declared["type"], name
    assert set(options["objects"]["suboptions"]) == set(ActionModule.ARGUMENTS["objects"]["options"])
    at_once, after_grace = options["grace"]["description"][1:3]
    stated = dict.fromkeys(re.findall(r"V\((\w+)\)", at_once), 0.0)
    stated |= {
        reason: float(seconds) for reason, seconds in re.findall(r"V\((\w+)\) \((\d+)", " ".join(after_grace.split()))
    }
    assert stated == {reason: rule.grace for reason, rule in POLICY.items()}
