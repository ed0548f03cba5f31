# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Against a client in memory: what is created is removed, and what keeps pods from starting is told."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_frames as frames
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _mesh_run as runs
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._mesh_job import (
    DEPLOYMENT_LABEL,
    INDEX_ANNOTATION,
    ROLE_LABEL,
    Settings,
)

SETTINGS = Settings("n", "r", "0123456789abcdef", "key", "image", 2, "rdma", ("mlx5_*",))
TEXT = json.dumps({"hosts": [{"name": "a"}, {"name": "b"}]})
LOG = "\n".join([frames.progress(SETTINGS.run_id, phase="join", joined=2, hosts=2),
                 *frames.write(SETTINGS.run_id, TEXT, "key")])  # fmt: skip
Json = dict[str, t.Any]


def pod(index: int, phase: str = "Succeeded", node: str | None = "a", **status: t.Any) -> Json:
    metadata = {"name": f"mesh-{index}", "uid": f"u{index}", "annotations": {INDEX_ANNOTATION: str(index)}}
    return {"metadata": metadata, "spec": {"nodeName": node, "containers": [{"name": "prober"}]},
            "status": {"phase": phase, **status}}  # fmt: skip


UNSCHEDULABLE = {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                                 "message": "0/4 nodes have room"}]}  # fmt: skip


class FakeClient:
    def __init__(self) -> None:
        self.pods: list[Json] = [pod(0), pod(1, node="b")]
        self.jobs: list[Json] = []
        self.job: Json = {}
        self.log = LOG
        self.selectors: list[str] = []
        self.alive: set[tuple[str, str]] = set()
        self.created: list[Json] = []
        self.warnings: list[str] = []
        self.refuse = ""
        self.log_errors: list[Exception] = []

    def list(self, path: str, params: t.Any = None) -> list[Json]:
        self.selectors.append((params or {}).get("labelSelector", ""))
        return self.jobs if path.endswith("/jobs") else self.pods

    def get_or_none(self, path: str, params: t.Any = None) -> Json | None:
        return self.job

    def create(self, path: str, body: Json) -> Json:
        if body["kind"] == self.refuse:
            raise ApiError(403, "Forbidden", "no", path)
        self.created.append(body)
        self.alive.add((body["kind"], body["metadata"]["name"]))
        return {**body, "metadata": {**body["metadata"], "uid": "job-uid"}}

    def delete(self, path: str, params: t.Any = None) -> Json:
        kind = {plural: kind for kind, plural in runs.PLURAL.items()}[path.rsplit("/", 2)[1]]
        name = path.rsplit("/", 1)[1]
        if (kind, name) not in self.alive:
            raise ApiError(404, "NotFound", "no", path)
        self.alive.discard((kind, name))
        return {}

    def logs(self, namespace: str, name: str, container: str, *, tail: int | None = None) -> str:
        for error in self.log_errors:
            raise error
        assert name == "mesh-0", "a Job's log is that of any of its pods"
        return self.log

    def events(self, *_args: t.Any) -> list[Json]:
        return [{"type": "Warning", "reason": "FailedCreate", "message": "exceeded quota"}]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    monkeypatch.setattr(runs, "POLL_SECONDS", 0)
    return FakeClient()


def probe(fake: FakeClient, shown: list[str] | None = None, start_timeout: float = 0) -> tuple[str, t.Any]:
    show = (shown if shown is not None else []).append
    return runs.probe(t.cast(Client, fake), SETTINGS, {"mesh_prober.py": "x"}, show, start_timeout)


def test_the_result_comes_and_nothing_is_left(fake: FakeClient) -> None:
    shown: list[str] = []
    assert probe(fake, shown) == (TEXT, {0: ("a", ""), 1: ("b", "")})
    assert [item["kind"] for item in fake.created] == ["Job", "Service", "ConfigMap", "Secret"]
    owners = [item["metadata"].get("ownerReferences", [{}])[0].get("uid") for item in fake.created]
    assert owners == [None, "job-uid", "job-uid", "job-uid"], "they go with the Job"
    assert fake.alive == set()
    assert shown == ["RDMA mesh: 2 of 2 probers joined"]
    assert fake.warnings == []


@pytest.mark.parametrize("kind", ["Job", "Service", "ConfigMap", "Secret"])
def test_nothing_is_left_where_creating_fails(fake: FakeClient, kind: str) -> None:
    fake.refuse = kind
    with pytest.raises(ApiError):
        probe(fake)
    assert fake.alive == set()


@pytest.mark.parametrize(
    ("pods", "job", "message"),
    [
        ([], {}, "the coordinator's pod is absent after .*FailedCreate: exceeded quota"),
        ([], {"spec": {"suspend": True}}, "a queue holds the Job"),
        ([pod(0, "Pending", None, **UNSCHEDULABLE)], {}, "mesh-0: Unschedulable: 0/4 nodes have room"),
        ([pod(0, "Pending")], {}, "mesh-0: Pending"),
    ],
)
def test_pods_that_never_start_are_told(fake: FakeClient, pods: list[Json], job: Json, message: str) -> None:
    fake.pods, fake.job = pods, job
    with pytest.raises(runs.RunError, match=message):
        probe(fake)
    assert fake.alive == set()


def test_the_end_of_the_log_is_the_end_of_the_run(fake: FakeClient) -> None:
    """The pod is still Running for a second or two."""
    fake.pods, fake.log = [pod(0, "Running"), pod(1, "Running", node="b")], LOG + "\n"
    assert probe(fake) == (TEXT, {0: ("a", ""), 1: ("b", "")})
    assert fake.alive == set()


def test_a_coordinator_that_never_ends_is_left(fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.pods, fake.log = [pod(0, "Running")], LOG
    ticks = iter(range(0, 10**6, 200))
    monkeypatch.setattr(runs.time, "monotonic", lambda: float(next(ticks)))
    with pytest.raises(runs.RunError, match="no result after"):
        probe(fake)


@pytest.mark.parametrize(
    ("log", "message"),
    [("", "without the last line"), (LOG[: len(LOG) // 2], "without the last line"), (LOG + "\n" + LOG, "twice")],
)
def test_a_log_that_is_not_whole(fake: FakeClient, log: str, message: str) -> None:
    fake.log = log
    with pytest.raises(frames.FrameError, match=message):
        probe(fake)
    assert fake.alive == set()


def test_a_log_that_may_not_be_read_is_an_error_and_one_that_is_not_there_yet_is_not(fake: FakeClient) -> None:
    fake.log_errors = [ApiError(403, "Forbidden", "no", "/log")]
    with pytest.raises(ApiError):
        probe(fake)
    fake.log_errors = [ApiError(400, "BadRequest", "is waiting to start", "/log")]
    with pytest.raises(frames.FrameError):
        probe(fake)


def job(done: bool) -> Json:
    conditions = [{"type": "Complete", "status": "True"}] if done else []
    return {
        "metadata": {"name": "old", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "status": {"conditions": conditions},
    }


def test_two_checks_at_once_are_refused_and_leftovers_are_not(fake: FakeClient) -> None:
    fake.jobs = [job(done=False)]
    with pytest.raises(runs.RunError, match="Job n/old of another check runs since 2026-01-01"):
        probe(fake)
    assert fake.created == []
    fake.jobs, fake.alive = [job(done=True)], {("Job", "old")}
    assert probe(fake)[0] == TEXT
    assert fake.alive == set()
    fake.jobs = [job(done=False)]
    assert runs.clear(t.cast(Client, fake), "n", "r", everything=True) == ["old"]


def test_what_could_not_be_removed_is_told(fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, params: t.Any = None) -> Json:
        raise ApiError(403, "Forbidden", "may not", path)

    monkeypatch.setattr(fake, "delete", refuse)
    assert probe(fake)[0] == TEXT
    assert len(fake.warnings) == 4


@pytest.mark.parametrize(
    ("phase", "ending", "expected"),
    [("Running", False, ["mesh-0"]), ("Running", True, []), ("Pending", False, []), ("Succeeded", False, [])],
)
def test_running_model_servers(fake: FakeClient, phase: str, ending: bool, expected: list[str]) -> None:
    fake.pods = [pod(0, phase)]
    if ending:
        fake.pods[0]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    found = runs.servers(t.cast(Client, fake), "n", "r")
    assert [one["metadata"]["name"] for one in found] == expected
    assert fake.selectors[-1] == f"{DEPLOYMENT_LABEL}=r,{ROLE_LABEL} in (prefill,decode)"


def test_of_two_checks_at_the_same_moment_none_meets_the_other(
    fake: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = fake.create

    def with_another(path: str, body: Json) -> Json:
        fake.jobs = [job(done=False)]
        return create(path, body)

    monkeypatch.setattr(fake, "create", with_another)
    with pytest.raises(runs.RunError, match="Job n/old of another check started at the same moment"):
        probe(fake)
    assert [item["kind"] for item in fake.created] == ["Job"], "its pods never get a program"
    assert fake.alive == set()


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"phase": "plan", "pairs": 768, "rounds": 24}, "768 directed pairs in 24 rounds"),
        ({"phase": "sweep", "same": [32, 32], "cross": [0, 32]}, "32 of 32 paths of the same rail and 0 of 32 across"),
        ({"phase": "sweep", "step": "rc", "failures": 3, "pairs": 768}, "rc, 3 of 768 pairs failed so far"),
        ({"phase": "measure", "round": 1, "rounds": 24}, "rates of round 1 of 24"),
    ],
)
def test_progress_in_words(step: Json, words: str) -> None:
    assert words in runs.line(step)
