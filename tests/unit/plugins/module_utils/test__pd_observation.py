# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_observation import (
    BEGIN,
    END,
    LwsState,
    ReportError,
    TierExpectation,
    lws_state,
    pod_state,
    read_report,
)

REPORT: dict[str, t.Any] = {
    "stage": "done",
    "url": "http://10.96.0.7:80",
    "models": {"names": ["m"], "error": None},
    "before": [{"pod": "d", "port": 8200, "error": None, "sidecar": None, "lines": []}],
    "after": [
        {
            "pod": "d",
            "port": 8200,
            "error": None,
            "sidecar": None,
            "lines": ['vllm:request_success_total{finish_reason="stop",model_name="m"} 3'],
        }
    ],
    "requests": [{"kind": "completion", "status": 200, "model": "m", "choices": 1, "text": "hi", "seconds": 0.1}],
    "seconds": 1.5,
}


def framed(report: dict[str, t.Any], digest: str | None = None) -> str:
    text = json.dumps(report, indent=1)
    return f"{BEGIN}\n{text}\n{END} {digest or hashlib.sha256(text.encode()).hexdigest()}\n"


def test_read_report() -> None:
    report = read_report("a line before\n" + framed(REPORT) + "a line after\n")
    assert (report.stage, report.answered, report.seconds) == ("done", 1, 1.5)
    assert report.after[0].served.decoded == 3
    assert report.after[0].models == {"m"}
    assert report.before[0].served.decoded == 0


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("", "last lines: none"),
        ("Traceback\n  File x\nValueError: y\n", "ValueError: y"),
        (framed(REPORT)[:-100], "has no report"),
        (framed(REPORT, "0" * 64), "does not match its digest"),
        (framed(REPORT).replace('"hi"', '"ho"'), "does not match its digest"),
    ],
)
def test_read_report_refuses(log: str, words: str) -> None:
    with pytest.raises(ReportError, match=words):
        read_report(log)


def manifest(**status: t.Any) -> dict[str, t.Any]:
    return {
        "metadata": {"name": "d-0", "uid": "u", "labels": {"llm-d.ai/role": "decode"}},
        "spec": {"nodeName": "gpu-0"},
        "status": {"podIP": "10.1.0.1", **status},
    }


READY = [{"type": "Ready", "status": "True"}]


def container(**state: t.Any) -> dict[str, t.Any]:
    return {"name": "vllm", "restartCount": 1, "containerID": "c", "state": state}


@pytest.mark.parametrize(
    ("pod", "ready", "reason"),
    [
        (manifest(conditions=READY), True, ""),
        ({**manifest(conditions=READY), "metadata": {"name": "d-0", "deletionTimestamp": "x"}}, False, "being deleted"),
        (
            manifest(containerStatuses=[container(waiting={"reason": "ImagePullBackOff", "message": "denied"})]),
            False,
            "container vllm: ImagePullBackOff: denied",
        ),
        (
            manifest(
                initContainerStatuses=[container(terminated={"reason": "Completed"})],
                containerStatuses=[container(terminated={"reason": "OOMKilled"})],
            ),
            False,
            "container vllm: OOMKilled",
        ),
        (
            manifest(
                conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/5"}]
            ),
            False,
            "PodScheduled is False: Unschedulable 0/5",
        ),
        (manifest(phase="Pending"), False, "phase Pending"),
        ({"metadata": {"name": "d-0"}}, False, "phase unknown"),
    ],
)
def test_pod_state(pod: dict[str, t.Any], ready: bool, reason: str) -> None:
    state = pod_state(pod)
    assert state.ready is ready
    assert reason in state.reason


def test_pod_state_changes_with_a_restart_of_any_container() -> None:
    lives = [
        pod_state(manifest(initContainerStatuses=[{"name": "routing-proxy", "restartCount": count}])).incarnation
        for count in (0, 1)
    ]
    assert lives[0] != lives[1]


@pytest.mark.parametrize(
    ("lws", "expected"),
    [
        (None, LwsState("x", exists=False)),
        ({"spec": {"replicas": 0}}, LwsState("x", True, 0, 0)),
        ({"spec": {}, "status": {"readyReplicas": 1}}, LwsState("x", True, 1, 1)),
    ],
)
def test_lws_state(lws: dict[str, t.Any] | None, expected: LwsState) -> None:
    assert lws_state("x", lws) == expected


@pytest.mark.parametrize(("pod", "rank"), [("d-0", 0), ("d-0-1", 8), ("d-1", 0), ("d-1-1", 8), ("another", 0)])
def test_ranks_are_numbered_within_their_group(pod: str, rank: int) -> None:
    tier = TierExpectation("decode", "d", ("d-0", "d-0-1", "d-1", "d-1-1"), ranks_per_pod=8, pods_per_group=2)
    assert tier.first_rank(pod) == rank
