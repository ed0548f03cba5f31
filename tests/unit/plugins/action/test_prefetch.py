# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import typing as t

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.action import prefetch as action
from ansible_collections.llmd.wide_ep.plugins.action.prefetch import ActionModule, Follower
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Unreachable
from ansible_collections.llmd.wide_ep.plugins.modules import prefetch as documented
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _prefetch
from ansible_collections.llmd.wide_ep.tests.unit.plugins.plugin_utils.test__prefetch import FRAME, SETTINGS, TEMPLATES

Json = dict[str, t.Any]
CHOSEN = [("gpu-0", TEMPLATES[0]), ("gpu-1", TEMPLATES[0])]


class FakeApi:
    """Jobs whose pods go through the given steps, one at every look: a pod status, a log, a Job condition."""

    def __init__(self, steps: dict[str, list[tuple[Json, str, str | None]]]) -> None:
        self.steps = steps
        self.jobs: dict[str, Json] = {}
        self.maps: dict[str, Json] = {}
        self.created: list[str] = []
        self.secrets: dict[str, Json] = {}

    def step(self, job: Json) -> tuple[Json, str, str | None]:
        steps = self.steps[job["metadata"]["annotations"][_prefetch.NODE_ANNOTATION]]
        return steps[0]

    def list(self, path: str, params: t.Any = None) -> list[Json]:
        assert params == {"labelSelector": SETTINGS.selector}
        if path.endswith("/jobs"):
            return [self._job(item) for item in self.jobs.values()]
        if path.endswith("/configmaps"):
            return list(self.maps.values())
        pods = [self._pod(item) for item in self.jobs.values()]
        for steps in self.steps.values():
            if len(steps) > 1:
                steps.pop(0)
        return pods

    def _job(self, item: Json) -> Json:
        condition = self.step(item)[2]
        conditions = [{"type": condition, "status": "True", "reason": "R", "message": "M"}] if condition else []
        return {**item, "status": {"conditions": conditions}}

    def _pod(self, item: Json) -> Json:
        name = item["metadata"]["name"]
        return {"metadata": {"name": name, "labels": {"job-name": name}}, "status": self.step(item)[0]}

    def apply(self, path: str, body: Json, **_options: t.Any) -> Json:
        self.maps[body["metadata"]["name"]] = body
        return body

    def create(self, path: str, body: Json) -> Json:
        self.jobs[body["metadata"]["name"]] = body
        self.created.append(body["metadata"]["name"])
        return body

    def delete(self, path: str, params: t.Any = None) -> Json:
        kind, name = path.split("/")[-2:]
        there = self.jobs if kind == "jobs" else self.maps
        if name not in there:
            raise ApiError(404, "NotFound", "gone", path)
        del there[name]
        return {}

    def logs(self, namespace: str, pod: str, container: str, *, tail: int) -> str:
        return self.step(self.jobs[pod])[1]

    def get_or_none(self, path: str) -> Json | None:
        return self.secrets.get(path.rpartition("/")[2])


def log(**values: t.Any) -> str:
    return f"human\n@prefetch {json.dumps({**FRAME, **values})}\n"


RUNNING: Json = {"phase": "Running"}
DONE: Json = {"phase": "Succeeded"}
PULLING: Json = {
    "phase": "Pending",
    "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "denied"}}}],
}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(action.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(action.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))


def follow(api: FakeApi, chosen: t.Any = None) -> tuple[list[_prefetch.NodeState], list[str]]:
    lines: list[str] = []
    follower = Follower(t.cast(t.Any, api), SETTINGS, lines.append)
    return follower.run(CHOSEN if chosen is None else chosen), lines


def complete() -> list[tuple[Json, str, str | None]]:
    return [
        ({"phase": "Pending"}, "", None),
        *[(RUNNING, log(), None)] * 8,
        (DONE, log(state="complete", done_bytes=690e9, seconds=10.0), "Complete"),
    ]


def test_nodes_are_followed_to_their_ends_and_nothing_is_left() -> None:
    api = FakeApi({"gpu-0": complete(), "gpu-1": complete()})
    states, lines = follow(api)
    assert [(state.node, state.phase, state.frame["state"]) for state in states] == [
        ("gpu-0", "complete", "complete"),
        ("gpu-1", "complete", "complete"),
    ]
    assert (api.jobs, api.maps) == ({}, {})
    assert any("1.25 GB/s, 4 min 36 s left" in line for line in lines)
    assert _prefetch.findings(states, TEMPLATES) == []


def test_a_job_that_still_runs_is_found_again_and_others_are_replaced() -> None:
    api = FakeApi({"gpu-0": complete(), "gpu-1": complete(), "gpu-9": complete()})
    running = _prefetch.job(SETTINGS, "gpu-0", TEMPLATES[0])
    older = _prefetch.job(SETTINGS, "gpu-9", TEMPLATES[0])
    api.jobs = {item["metadata"]["name"]: item for item in (running, older)}
    follow(api)
    assert api.created == [_prefetch.job(SETTINGS, "gpu-1", TEMPLATES[0])["metadata"]["name"]]


def test_a_job_that_has_ended_is_run_again() -> None:
    api = FakeApi({"gpu-0": [(DONE, log(state="complete"), "Complete")]})
    item = _prefetch.job(SETTINGS, "gpu-0", TEMPLATES[0])
    api.jobs = {item["metadata"]["name"]: item}
    follow(api, CHOSEN[:1])
    assert api.created == [item["metadata"]["name"]]


def test_a_failure_is_told_by_the_reason_of_the_program() -> None:
    failed = [(RUNNING, log(), None), ({"phase": "Failed"}, log(state="disk", detail="3 GB are missing"), "Failed")]
    api = FakeApi({"gpu-0": failed, "gpu-1": complete()})
    states, _lines = follow(api)
    assert [state.phase for state in states] == ["failed", "complete"]
    (finding,) = _prefetch.findings(states, TEMPLATES)
    assert (finding.code, finding.subject, finding.evidence) == ("PREFETCH_DISK", "node gpu-0", "3 GB are missing")
    assert api.jobs == {}


def test_an_image_that_cannot_be_pulled_ends_it_after_its_grace() -> None:
    api = FakeApi({"gpu-0": [(PULLING, "", None)]})
    states, _lines = follow(api, CHOSEN[:1])
    (finding,) = _prefetch.findings(states, TEMPLATES)
    assert (finding.code, finding.evidence) == ("PREFETCH_POD", "ImagePullBackOff: denied")
    assert 180 <= action.time.monotonic() < 200


def test_an_image_that_comes_within_its_grace_does_not() -> None:
    api = FakeApi({"gpu-0": [*[(PULLING, "", None)] * 20, *complete()]})
    assert [state.phase for state in follow(api, CHOSEN[:1])[0]] == ["complete"]


@pytest.mark.parametrize(("looks", "survives"), [(20, True), (200, False)])
def test_an_api_server_that_restarts_does_not_end_it(looks: int, survives: bool) -> None:
    class Restarting(FakeApi):
        away = looks

        def list(self, path: str, params: t.Any = None) -> list[Json]:
            if path.endswith("/pods") and self.away:
                self.away -= 1
                raise Unreachable("https://api", "connection refused", transient=True)
            return super().list(path, params)

    api = Restarting({"gpu-0": complete()})
    if survives:
        assert [state.phase for state in follow(api, CHOSEN[:1])[0]] == ["complete"]
    else:
        with pytest.raises(Unreachable):
            follow(api, CHOSEN[:1])
        assert len(api.jobs) == 1, "what downloads was removed"


def test_a_run_without_an_end_is_given_up() -> None:
    api = FakeApi({"gpu-0": [(RUNNING, log(), None)]})
    states, _lines = follow(api, CHOSEN[:1])
    assert [finding.code for finding in _prefetch.findings(states, TEMPLATES)] == ["PREFETCH_TIME"]
    assert states[0].note.startswith("still running")
    assert api.jobs == {}


def test_a_job_that_someone_deletes_ends_it() -> None:
    api = FakeApi({"gpu-0": [(RUNNING, log(), None)]})
    follower = Follower(t.cast(t.Any, api), SETTINGS, lambda line: api.jobs.clear())
    (state,) = follower.run(CHOSEN[:1])
    assert (state.phase, state.note) == ("failed", "its Job was deleted by someone else")


def test_many_nodes_are_shown_by_the_slowest() -> None:
    names = [f"gpu-{index}" for index in range(40)]
    api = FakeApi({name: complete() for name in names})
    _states, lines = follow(api, [(name, TEMPLATES[0]) for name in names])
    assert any("and 24 more; " in line for line in lines)


@pytest.mark.parametrize(
    ("secrets", "codes"),
    [
        ({"llm-d-hf-token": {"data": {"HF_TOKEN": "x"}}}, []),
        ({"llm-d-hf-token": {"data": {"token": "x"}}}, ["HF_TOKEN_MISSING"]),
        ({}, ["HF_TOKEN_MISSING"]),
    ],
)
def test_a_missing_token_is_told_before_anything_runs(secrets: dict[str, Json], codes: list[str]) -> None:
    api = FakeApi({})
    api.secrets = secrets
    findings = ActionModule._without_token(t.cast(t.Any, api), SETTINGS, CHOSEN)
    assert [finding.code for finding in findings] == codes
    assert all("kubectl create secret generic llm-d-hf-token" in finding.fix for finding in findings)


def test_arguments_and_documentation_agree() -> None:
    options = yaml.safe_load(documented.DOCUMENTATION)["options"]
    own = {name: spec for name, spec in ActionModule.ARGUMENTS.items() if name not in ("kubeconfig", "context")}
    assert set(options) == set(own)
    for name, spec in own.items():
        told = {key: options[name].get(key) for key in ("type", "default", "required", "elements")}
        assert told == {key: spec.get(key) for key in told}, name
