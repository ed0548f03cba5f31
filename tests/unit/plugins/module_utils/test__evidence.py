# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError
from ansible_collections.llmd.wide_ep.plugins.module_utils._evidence import (
    Evidence,
    LogKeeper,
    collect,
    findings_of,
    redacted,
    render,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._observer import Target
from ansible_collections.llmd.wide_ep.plugins.module_utils._waiter import Snapshot, Spec, watch

from .kube_fake import FakeClock, FakeCluster, Object, lws, lws_pod, warning, with_waiting

LWS = Target("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "ns", "decode")


def failed(cluster: FakeCluster, keeper: LogKeeper | None = None, **spec: t.Any) -> Snapshot:
    for shot in watch(t.cast("t.Any", cluster), Spec((LWS,), **spec), FakeClock()):
        if keeper:
            keeper.look(shot)
    return shot


def gathered(cluster: FakeCluster, **spec: t.Any) -> tuple[Snapshot, Evidence, str]:
    keeper = LogKeeper(t.cast("t.Any", cluster))
    shot = failed(cluster, keeper, **spec)
    evidence = collect(t.cast("t.Any", cluster), shot, keeper)
    return shot, evidence, render(shot, evidence)


@pytest.fixture
def crashing() -> FakeCluster:
    cluster = FakeCluster()
    cluster.put(lws(ready=0))
    for worker in (0, 1):
        cluster.put(with_waiting(lws_pod(worker=worker), "CrashLoopBackOff", "back-off", restarts=3, exit_code=1))
    cluster.log_lines = {
        ("decode-0", "vllm", False): "loading\n\nHF_TOKEN=hf_abcdefghijkl\nERROR " + "x" * 200 + "\n",
        ("decode-0-1", "vllm", False): "RuntimeError: no active IB device\n",
    }
    cluster.server_time = 1000.0
    cluster.warnings_seen = [
        warning(
            "BackOff",
            "Back-off restarting failed container vllm",
            "Pod",
            "decode-0",
            at="1970-01-01T00:15:00Z",
            count=4,
        ),
        warning("BackOff", "not ours", "Pod", "other", at="1970-01-01T00:15:00Z", uid="e2"),
    ]
    return cluster


def test_message_of_a_crash(crashing: FakeCluster) -> None:
    _shot, evidence, text = gathered(crashing, timeout=600)
    assert text.splitlines()[:5] == [
        "1 of 1 objects not ready, stopped after 0:00 of 10:00.",
        "",
        "ERROR CRASH_LOOP: Pod ns/decode-0, container vllm (and 1 more)",
        "  seen: CrashLoopBackOff: exit code 1 (Error)",
        "  fix:  Read the last log lines below; fix the arguments, the image or what the process needs,",
    ]
    table = [line.split() for line in text.splitlines() if line.startswith(("POD ", "decode-0"))]
    assert table == [
        ["POD", "CONTAINER", "STATE", "RESTARTS", "NODE"],
        ["decode-0", "vllm", "CrashLoopBackOff;", "exit", "code", "1", "(Error)", "3", "local-gpu-0"],
        ["decode-0-1", "vllm", "CrashLoopBackOff;", "exit", "code", "1", "(Error)", "3", "local-gpu-0"],
    ]
    assert "   1:40 ago  BackOff (x4)  Pod/decode-0: Back-off restarting failed container vllm" in text
    assert "  | RuntimeError: no active IB device" in text
    assert [row.object for row in evidence.events] == ["Pod/decode-0"]


def test_message_fits_a_terminal_and_carries_no_token(crashing: FakeCluster) -> None:
    shot, evidence, text = gathered(crashing, timeout=600)
    assert max(map(len, text.splitlines())) <= 100
    assert "hf_abcdefghijkl" not in text
    assert "hf_abcdefghijkl" not in str(evidence.as_dict())
    assert "HF_TOKEN=<hidden>" in text
    assert max(map(len, render(shot, evidence, width=60).splitlines())) <= 60


def test_previous_log_of_a_container_that_runs_again(crashing: FakeCluster) -> None:
    pod = lws_pod(ready=False)
    pod["status"]["containerStatuses"][0] |= {
        "restartCount": 1,
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
    }
    crashing.put(pod)
    crashing.log_lines[("decode-0", "vllm", True)] = "first life\n"
    _shot, evidence, text = gathered(crashing, timeout=600)
    tails = {(tail.pod, tail.previous): tail.lines for tail in evidence.logs}
    assert tails[("decode-0", True)] == ("first life",)
    assert ("decode-0", False) in tails
    assert "container vllm, previous instance:" in text


def test_log_of_a_pod_that_was_deleted_meanwhile(crashing: FakeCluster) -> None:
    keeper = LogKeeper(t.cast("t.Any", crashing))
    shot = failed(crashing, keeper)
    crashing.log_lines.clear()
    evidence = collect(t.cast("t.Any", crashing), shot, keeper)
    assert "RuntimeError: no active IB device" in render(shot, evidence)


def test_what_cannot_be_read_is_noted(crashing: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    shot = failed(crashing)

    def refuse(namespace: str, field_selector: str | None = None) -> list[Object]:
        raise ApiError(403, "Forbidden", 'cannot list resource "events"', "/events")

    monkeypatch.setattr(crashing, "events", refuse)
    text = render(shot, collect(t.cast("t.Any", crashing), shot, LogKeeper(t.cast("t.Any", crashing))))
    assert 'Not read: events: cannot list resource "events"' in text


def test_timeout_names_each_object_and_what_it_waits_for() -> None:
    cluster = FakeCluster()
    cluster.put(lws(ready=0))
    cluster.put(with_waiting(lws_pod(), "ErrImagePull", "429 Too Many Requests"))
    shot, _evidence, text = gathered(cluster, timeout=5)
    assert [(f.code, f.subject) for f in findings_of(shot)] == [("NOT_READY_IN_TIME", "LeaderWorkerSet ns/decode")]
    assert "1 of 1 objects not ready, gave up after 0:05 of 0:05." in text
    assert "seen: 0 of 1 groups ready after 0:05" in text
    assert "Pod ns/decode-0, container vllm: ImagePullThrottled: ErrImagePull: 429 Too Many Requests" in text


def test_an_unreachable_server_is_the_finding() -> None:
    cluster = FakeCluster()
    cluster.error = ApiError(503, "ServiceUnavailable", "away", "/api")
    shot, evidence, _text = gathered(cluster, timeout=5)
    assert [finding.code for finding in findings_of(shot)] == ["API_UNREACHABLE"]
    assert "away" in evidence.notes[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("token hf_AbCdEf123456 used", "token <hidden> used"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer <hidden>"),
        ("eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl", "<hidden>"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_redacted(text: str, expected: str) -> None:
    assert redacted(text) == expected
