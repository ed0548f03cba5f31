# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.action import admission_probe
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, ClientError, Resource, Unreachable

LWS = {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "metadata": {"namespace": "default"}}
# Recorded from Kubernetes 1.36.3 with LWS 0.9.0, right after the chart was installed.
NOT_UP = ApiError(
    500,
    "InternalError",
    'Internal error occurred: failed calling webhook "mleaderworkerset.kb.io": failed to call webhook: Post '
    '"https://lws-webhook-service.lws-system.svc:443/mutate-leaderworkerset-x-k8s-io-v1-leaderworkerset?timeout=10s": '
    "dial tcp 10.96.0.15:443: connect: connection refused",
    "/apis/leaderworkerset.x-k8s.io/v1/namespaces/default/leaderworkersets",
)
DENIED = ApiError(403, "Forbidden", 'admission webhook "vleaderworkerset.kb.io" denied the request: no', "/x")
INVALID = ApiError(422, "Invalid", "spec.leaderWorkerTemplate.size: Invalid value", "/x")
EXISTS = ApiError(409, "AlreadyExists", "it exists", "/x")
AWAY = Unreachable("https://10.0.0.1:6443", "connection refused")


class Cluster:
    def __init__(self, *answers: ClientError | None, served: bool = True) -> None:
        self.answers = list(answers)
        self.served = served
        self.sent: list[tuple[str, bool]] = []

    def discover(self, api_version: str, kind: str) -> Resource | None:
        return Resource(api_version, kind, "leaderworkersets", True) if self.served else None

    def create(self, path: str, body: t.Any, *, dry_run: bool) -> dict[str, t.Any]:
        self.sent.append((path, dry_run))
        answer = self.answers.pop(0)
        if answer:
            raise answer
        return {}


@pytest.mark.parametrize(
    ("answer", "error"), [(None, None), (EXISTS, None), (NOT_UP, NOT_UP), (DENIED, DENIED), (AWAY, AWAY)]
)
def test_attempt(answer: ClientError | None, error: ClientError | None) -> None:
    cluster = Cluster(answer)
    assert admission_probe.attempt(t.cast("t.Any", cluster), LWS) is error
    assert cluster.sent == [("/apis/leaderworkerset.x-k8s.io/v1/namespaces/default/leaderworkersets", True)]


@pytest.mark.parametrize(
    ("error", "final"),
    [(NOT_UP, False), (AWAY, False), (DENIED, True), (INVALID, True), (ApiError(503, "", "", ""), False)],
)
def test_only_a_verdict_on_the_object_is_final(error: ClientError, final: bool) -> None:
    assert admission_probe.is_final(error) is final


def test_kind_that_is_not_served_may_come() -> None:
    error = admission_probe.attempt(t.cast("t.Any", Cluster(served=False)), LWS)
    assert error is not None
    assert "does not serve LeaderWorkerSet" in str(error)
    assert not admission_probe.is_final(error)


def run(
    monkeypatch: pytest.MonkeyPatch, cluster: Cluster, timeout: float = 60.0, check: bool = False
) -> dict[str, t.Any]:
    """The action's result, on a clock that only the waits move."""
    now = [0.0]
    monkeypatch.setattr(admission_probe.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(admission_probe.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(admission_probe.ActionModule, "client", staticmethod(lambda _arguments: cluster))
    monkeypatch.setattr(admission_probe.ActionModule, "check_mode", property(lambda _self: check))
    action = object.__new__(admission_probe.ActionModule)
    return action.act({"definition": LWS, "timeout": timeout}, {})


def test_waits_until_the_webhook_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, Cluster(NOT_UP, AWAY, NOT_UP, None))
    assert (result["accepted"], result["attempts"], result.get("failed", False)) == (True, 4, False)


def test_stops_at_once_at_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, Cluster(NOT_UP, DENIED, None))
    assert (result["failed"], result["attempts"]) == (True, 2)
    assert "denied the request" in " ".join(result["msg"].split())


def test_gives_up_after_the_timeout_with_the_last_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, Cluster(*[NOT_UP] * 100), timeout=3.0)
    assert result["failed"]
    assert result["attempts"] == 8
    assert "connection refused" in " ".join(result["msg"].split())


@pytest.mark.parametrize(("error", "failed"), [(NOT_UP, False), (DENIED, True)])
def test_check_mode_tries_once(monkeypatch: pytest.MonkeyPatch, error: ClientError, failed: bool) -> None:
    result = run(monkeypatch, Cluster(error), check=True)
    assert (result["attempts"], result.get("failed", False)) == (1, failed)
