# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import CODES
from ansible_collections.llmd.wide_ep.plugins.module_utils._troubles import (
    POLICY,
    classify_pull,
    event_count,
    event_time,
    event_trouble,
    pod_stage,
    pod_troubles,
)

DATA = pathlib.Path(__file__).resolve().parents[3] / "data" / "kubernetes"


def cases(name: str) -> list[t.Any]:
    return [pytest.param(case, id=case["name"]) for case in yaml.safe_load((DATA / name).read_text())]


@pytest.mark.parametrize(("reason", "message"), yaml.safe_load((DATA / "pull_messages.yaml").read_text()))
def test_classify_pull(reason: str, message: str) -> None:
    assert classify_pull(message) == reason


@pytest.mark.parametrize("case", cases("pods.yaml"))
def test_pod(case: dict[str, t.Any]) -> None:
    given = case["pod"]
    metadata = {"name": "p", "namespace": "n", "uid": "u", **given.get("metadata", {})}
    spec = {"containers": [{"name": "vllm"}], **given.get("spec", {}), "nodeName": "local-gpu-0"}
    pod = {"metadata": metadata, "spec": spec, "status": given["status"]}
    found = pod_troubles(pod)
    assert [(trouble.reason, trouble.container) for trouble in found] == [(r, c) for r, c, _m in case["expect"]]
    for trouble, (_reason, container, message) in zip(found, case["expect"], strict=True):
        assert message in trouble.message
        assert trouble.subject == ("Pod n/p" + (f", container {container}" if container else ""))
        assert trouble.node == "local-gpu-0"
    assert pod_stage(pod) == case["stage"]


@pytest.mark.parametrize("case", cases("events.yaml"))
def test_event(case: dict[str, t.Any]) -> None:
    for fresh, expected in zip((True, False), case["expect"], strict=True):
        trouble = event_trouble(case["event"], fresh=fresh)
        assert (trouble.reason if trouble else None) == expected


@pytest.mark.parametrize(
    ("event", "when", "count"),
    [
        ({"lastTimestamp": "1970-01-01T00:01:00Z", "count": 7}, 60.0, 7),
        ({"eventTime": "1970-01-01T00:01:00.500000Z", "lastTimestamp": None}, 60.5, 1),
        (
            {"series": {"count": 3, "lastObservedTime": "1970-01-01T00:02:00Z"}, "eventTime": "1970-01-01T00:01:00Z"},
            120.0,
            3,
        ),
        ({"metadata": {"creationTimestamp": "1970-01-01T00:00:09Z"}}, 9.0, 1),
        ({}, None, 1),
    ],
)
def test_event_time_of_both_forms(event: dict[str, t.Any], when: float | None, count: int) -> None:
    assert (event_time(event), event_count(event)) == (when, count)


def test_policy_is_complete() -> None:
    """Every code is registered and every reason that the classifiers can return has a rule."""
    returned = {case.values[0]["expect"][0] for case in cases("events.yaml")} - {None}
    returned |= {reason for reason, _message in yaml.safe_load((DATA / "pull_messages.yaml").read_text())}
    assert returned <= set(POLICY)
    for reason, rule in POLICY.items():
        assert rule.code in CODES, reason
        assert rule.grace >= 0
        assert rule.fix.endswith("."), reason
