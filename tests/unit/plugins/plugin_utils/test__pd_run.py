# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_observation import (
    BEGIN,
    END,
    Expectation,
    TierExpectation,
    pod_state,
)
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _pd_run
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._kv_run import KvSettings
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._pd_run import (
    Settings,
    client_input,
    config_map_manifest,
    observe,
    pod_manifest,
)

BASE = "/api/v1/namespaces/n"
SERVICE = f"{BASE}/services/wide-ep-lws-epp"
SETTINGS = Settings(
    namespace="n",
    release="wide-ep-lws",
    router_mode="standalone",
    image="mirror/python:3",
    program="print()",
    target_ports=(8000,),
    requests=8,
    max_requests=16,
    concurrency=4,
    max_tokens=4,
    long_prompt_words=90,
    request_timeout=5,
    ready_timeout=1,
    start_timeout=0,
    timeout=0,
)
EXPECTED = Expectation(
    "n",
    "m",
    (TierExpectation("prefill", "p", ("p-0",)), TierExpectation("decode", "d", ("d-0",))),
    {},
    "deployment/wide-ep-lws-epp",
)


def pod(name: str, role: str = "decode", ready: bool = True, ip: str | None = "10.1.0.1") -> dict[str, t.Any]:
    conditions = [{"type": "Ready", "status": str(ready)}]
    labels = {"llm-d.ai/role": role}
    return {"metadata": {"name": name, "labels": labels}, "status": {"podIP": ip, "conditions": conditions}}


def service(**spec: t.Any) -> dict[str, t.Any]:
    return {"spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80}], "selector": {"app": "epp"}, **spec}}


class FakeClient:
    """Answers by path; a path that is not there does not exist."""

    def __init__(self, **paths: t.Any) -> None:
        self.paths: dict[str, t.Any] = {}
        self.pods: list[dict[str, t.Any]] = []
        self.status: dict[str, t.Any] = {"phase": "Succeeded"}
        self.log = ""
        self.calls: list[tuple[str, str]] = []
        self.deleted: list[str] = []
        self.warnings: list[str] = []
        self.broken: set[str] = set()
        self.abandoned: list[dict[str, t.Any]] = []
        self.made: dict[str, dict[str, t.Any]] = {}

    def get_or_none(self, path: str, params: t.Any = None) -> t.Any:
        return self.paths.get(path)

    def get(self, path: str, params: t.Any = None) -> t.Any:
        return {"status": self.status}

    def list(self, path: str, params: t.Any = None) -> t.Any:
        selector = (params or {}).get("labelSelector", "")
        if selector.startswith("app="):
            return self.paths.get("epp", [])
        if path.endswith("/httproutes"):
            return []
        return self.abandoned if "component=verify" in selector else self.pods

    def create(self, path: str, body: dict[str, t.Any]) -> t.Any:
        self.calls.append(("create", body["kind"]))
        self.made[body["kind"]] = body
        if body["kind"] in self.broken:
            raise ApiError(403, "Forbidden", "no", path)
        return {**body, "metadata": {**body["metadata"], "uid": "u"}}

    def delete(self, path: str, params: t.Any = None) -> t.Any:
        self.calls.append(("delete", path.rsplit("/", 2)[1]))
        if path.rsplit("/", 2)[1] == "pods":
            self.deleted.append(path.rsplit("/", 1)[1])
        if "delete" in self.broken:
            raise ApiError(500, "Internal", "no", path)
        return {}

    def logs(self, *args: t.Any, **kwargs: t.Any) -> str:
        return self.log

    def discover(self, *args: t.Any) -> t.Any:
        return "HTTPRoute"

    def events(self, *args: t.Any) -> t.Any:
        return [{"type": "Warning", "reason": "FailedScheduling", "message": "0/5 nodes"}, {"type": "Normal"}]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    monkeypatch.setattr(_pd_run, "POLL_SECONDS", 0)
    made = FakeClient()
    made.paths = {SERVICE: service(), "epp": [pod("epp")]}
    made.pods = [pod("p-0", "prefill"), pod("d-0")]
    text = json.dumps({"stage": "scrape", "url": "x"})
    made.log = f"{BEGIN}\n{text}\n{END} {hashlib.sha256(text.encode()).hexdigest()}\n"
    return made


def as_client(fake: FakeClient) -> Client:
    return t.cast(Client, fake)


def test_observe_runs_the_client_and_removes_it(fake: FakeClient) -> None:
    seen = observe(as_client(fake), EXPECTED, SETTINGS)
    assert seen.client is not None
    assert seen.client.stage == "scrape"
    assert (seen.client_problem, len(seen.pods_before), len(seen.pods_after)) == (None, 2, 2)
    assert fake.calls == [("create", "Pod"), ("create", "ConfigMap"), ("delete", "pods"), ("delete", "configmaps")]


def test_observe_reads_the_endpoint_picker_before_and_after(fake: FakeClient) -> None:
    seen = observe(as_client(fake), EXPECTED, SETTINGS)
    assert [pod.name for pod in (*seen.router_before, *(seen.router_after or ()))] == ["epp", "epp"]
    assert (seen.route_before, seen.route_after) == (None, None)
    told = json.loads(fake.made["ConfigMap"]["data"]["input.json"])
    assert told["routers"] == [{"pod": "epp", "ip": "10.1.0.1", "port": 9090}]


def test_observe_asks_nothing_of_a_gateway_without_a_route(fake: FakeClient) -> None:
    conditions = [{"type": "Programmed", "status": "True"}]
    base = "/apis/gateway.networking.k8s.io/v1/namespaces/n/gateways/llm-d-inference-gateway"
    fake.paths[base] = {"status": {"addresses": [{"value": "10.0.0.1"}], "conditions": conditions}}
    seen = observe(as_client(fake), EXPECTED, dataclasses.replace(SETTINGS, router_mode="gateway"))
    assert seen.endpoint.ready == 1
    assert seen.route_before is not None
    assert (seen.route_before.exists, seen.client, fake.calls) == (False, None, [])


def test_the_kv_cache_is_looked_at_once_everything_was_answered(
    fake: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second client pod sends the prompts; what it was told names the prefill pods."""
    readings: list[str] = []
    monkeypatch.setattr(_pd_run, "executor", lambda client, namespace: readings.append)

    def measure(pods: t.Any, settings: t.Any, run: t.Any, ask: t.Any) -> tuple[t.Any, ...]:
        run("p-0")
        ask([{"pod": "p-0"}])
        return ()

    monkeypatch.setattr(_pd_run, "measure", measure)
    wanted = dataclasses.replace(SETTINGS, kv=KvSettings(70272, 100, 2, (8000,)))
    observe(as_client(fake), EXPECTED, wanted)
    assert readings == []
    text = json.dumps({"stage": "done", "url": "x"})
    fake.log = f"{BEGIN}\n{text}\n{END} {hashlib.sha256(text.encode()).hexdigest()}\n"
    observe(as_client(fake), EXPECTED, wanted)
    assert readings == ["p-0"]
    told = json.loads(fake.made["ConfigMap"]["data"]["input.json"])
    assert (told["transfers"], told["max_tokens"]) == ([{"pod": "p-0"}], 1)
    assert fake.deleted[-1].endswith("-kv")


def test_observe_makes_nothing_without_an_endpoint(fake: FakeClient) -> None:
    fake.paths = {}
    seen = observe(as_client(fake), EXPECTED, SETTINGS)
    assert (seen.client, seen.pods_after, fake.calls) == (None, (), [])


def test_observe_reads_the_set_of_a_tier_that_lacks_pods(fake: FakeClient) -> None:
    fake.pods = [pod("d-0")]
    fake.paths["/apis/leaderworkerset.x-k8s.io/v1/namespaces/n/leaderworkersets/p"] = {"spec": {"replicas": 0}}
    seen = observe(as_client(fake), EXPECTED, SETTINGS)
    assert {role: (lws.exists, lws.replicas) for role, lws in seen.lws.items()} == {"prefill": (True, 0)}


def waiting(reason: str) -> dict[str, t.Any]:
    return {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "denied"}}}]}


def ended(code: int) -> dict[str, t.Any]:
    return {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": code}}}]}


@pytest.mark.parametrize(
    ("status", "log", "words"),
    [
        (waiting("ImagePullBackOff"), "", ["ImagePullBackOff: denied", "FailedScheduling: 0/5 nodes"]),
        ({"phase": "Pending"}, "", ["it is Pending after", "FailedScheduling: 0/5 nodes"]),
        ({"phase": "Running"}, "", ["it is Running after"]),
        (ended(1), "Traceback\nKeyError: x\n", ["exit code 1", "KeyError: x"]),
        ({"phase": "Failed", "reason": "DeadlineExceeded"}, "", ["DeadlineExceeded"]),
        ({"phase": "Succeeded"}, "no report", ["the log has no report"]),
    ],
)
def test_a_client_pod_that_fails_is_told_and_removed(
    fake: FakeClient, status: dict[str, t.Any], log: str, words: list[str]
) -> None:
    fake.status, fake.log = status, log
    seen = observe(as_client(fake), EXPECTED, SETTINGS)
    assert seen.client_problem is not None
    assert [word for word in words if word not in seen.client_problem[1]] == []
    assert fake.calls[-2:] == [("delete", "pods"), ("delete", "configmaps")]


def test_the_pod_is_removed_even_where_its_config_map_is_refused(fake: FakeClient) -> None:
    fake.broken = {"ConfigMap"}
    with pytest.raises(ApiError):
        observe(as_client(fake), EXPECTED, SETTINGS)
    assert ("delete", "pods") in fake.calls


def test_what_killed_runs_have_left_behind_is_removed_and_what_still_runs_is_not(fake: FakeClient) -> None:
    phases = {"old": "Failed", "older": "Succeeded", "of-another-run": "Running"}
    fake.abandoned = [{"metadata": {"name": name}, "status": {"phase": phase}} for name, phase in phases.items()]
    observe(as_client(fake), EXPECTED, SETTINGS)
    assert [name for name in fake.deleted if not name.startswith("wide-ep-lws-verify-")] == ["old", "older"]


def test_a_client_pod_has_its_time(fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may start within one limit and run within the other; only then it is given up."""
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(_pd_run.time, "monotonic", lambda: next(clock))
    fake.status = {"phase": "Running"}
    seen = observe(as_client(fake), EXPECTED, dataclasses.replace(SETTINGS, start_timeout=20, timeout=50))
    assert seen.client_problem is not None
    assert "it is Running after 80 s" in seen.client_problem[1]
    assert (
        pod_manifest("name", dataclasses.replace(SETTINGS, start_timeout=20, timeout=50))["spec"][
            "activeDeadlineSeconds"
        ]
        > 20 + 50
    )


def test_what_cannot_be_removed_is_told(fake: FakeClient) -> None:
    fake.broken = {"delete"}
    observe(as_client(fake), EXPECTED, SETTINGS)
    assert len(fake.warnings) == 2


@pytest.mark.parametrize(
    ("ports", "prefill", "decode", "sidecar"),
    [((8000,), [8000], [8200], [8000]), ((8000, 8001), [8000, 8001], [8200, 8201], [8000, 8001])],
)
def test_ports_of_the_targets(
    ports: tuple[int, ...], prefill: list[int], decode: list[int], sidecar: list[int]
) -> None:
    settings = dataclasses.replace(SETTINGS, target_ports=ports)
    pods = [pod_state(pod("p-0", "prefill")), pod_state(pod("d-0")), pod_state(pod("d-1", ip=None))]
    targets = client_input(EXPECTED, settings, "http://x", pods)["targets"]
    assert [(one["ports"], one.get("sidecar_ports")) for one in targets] == [(prefill, None), (decode, sidecar)]


def test_the_client_pod_can_never_become_an_endpoint() -> None:
    manifest = pod_manifest("name", SETTINGS)
    assert not [label for label in manifest["metadata"]["labels"] if label.startswith("llm-d.ai/")]
    assert "nvidia.com/gpu" not in json.dumps(manifest)
    assert manifest["spec"]["automountServiceAccountToken"] is False


def test_the_config_map_holds_the_program_and_goes_with_its_pod() -> None:
    made = config_map_manifest("name", SETTINGS, {"model": "m"}, {"metadata": {"uid": "u"}})
    assert set(made["data"]) == {"client.py", "prometheus_text.py", "input.json"}
    assert "def parse" in made["data"]["prometheus_text.py"]
    assert made["metadata"]["ownerReferences"][0]["uid"] == "u"
