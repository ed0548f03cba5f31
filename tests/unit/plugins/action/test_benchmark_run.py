# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import json
import shutil
import types
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.action import benchmark_run as action
from ansible_collections.llmd.wide_ep.plugins.action.benchmark_run import (
    ActionModule,
    Run,
    launch_of,
    look,
    profiles_of,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_launch import POD, REQUEST_ANNOTATION
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Unreachable
from ansible_collections.llmd.wide_ep.plugins.modules import benchmark_run as documented
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _benchmark_collect as collecting
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _benchmark_follow as following
from ansible_collections.llmd.wide_ep.tests.unit.plugins.module_utils.benchmark_data import SERVER_TOKENS

Json = dict[str, t.Any]
NAMESPACE, PODS = "ns", "/api/v1/namespaces/ns/pods"
TIER = {"groups": 1, "gpus": 16, "dp_size": 16, "ranks_per_host": 8}
ENDED = {"state": "ended", "outcome": "complete", "evidence": "", "runs": [], "index": "0" * 64}
RUNNING = {
    "state": "running",
    "run": 0,
    "runs": 1,
    "profile": "rehearsal",
    "done": 5,
    "total": 64,
    "failures": 0,
    "elapsed": 1,
    "deadline_left": 99,
}


def arguments(tmp_path: Path, **changes: t.Any) -> Json:
    program = tmp_path / "launcher.py"
    program.write_text("pass")
    told = {name: spec["default"] for name, spec in ActionModule.ARGUMENTS.items() if "default" in spec}
    plan = {"model": "m", "target_ports": [8000], **{r: {**TIER, "lws_name": r[0]} for r in ("prefill", "decode")}}
    return {
        **told,
        "kubeconfig": None,
        "context": None,
        "seed": None,
        "namespace": NAMESPACE,
        "release": "r",
        "plan": plan,
        "base_url": "http://10.0.0.1:80",
        "image": "i",
        "tool_release": "0.7.0",
        "program": str(program),
        "profiles": ["rehearsal"],
        "repeats": 1,
        "tokenizer": "/opt/tokenizer",
        "destination": str(tmp_path / "out"),
        "start_timeout": 60.0,
        "silence_timeout": 30.0,
        "api_patience": 20.0,
        **changes,
    }


class FakeApi:
    """A cluster whose benchmark pod goes through ``steps``: what the API server and the pod's log say at each look."""

    def __init__(self, steps: list[t.Any]) -> None:
        self.steps = steps
        self.objects: dict[str, Json] = {}
        self.removed: list[str] = []
        self.request_count, self.warnings, self.api = 0, [], None
        self.refuses_removal = False

    def get_or_none(self, path: str, params: t.Any = None) -> Json | None:
        if path == f"{PODS}/{POD}" and path in self.objects:
            return self._pod(path)
        return copy.deepcopy(self.objects.get(path))

    def _pod(self, path: str) -> Json | None:
        step = self.steps[0] if self.steps else {}
        if len(self.steps) > 1:
            self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        if step.get("gone"):
            return None
        found = copy.deepcopy(self.objects[path])
        self.said = step.get("log", "")
        found["metadata"] |= step.get("metadata", {})
        status = {"phase": "Running", "containerStatuses": [{"name": "harness", "state": {}}], **step.get("status", {})}
        return {**found, "status": status}

    def get(self, path: str, params: t.Any = None) -> Json:
        if path.startswith("/api/v1/nodes/"):
            condition = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}
            return {"status": {"conditions": [condition]}}
        raise AssertionError(path)

    def list(self, path: str, params: t.Any = None) -> list[Json]:
        return []

    def logs(self, *_args: t.Any, **_options: t.Any) -> str:
        if isinstance(self.said, Exception):
            raise self.said
        return "".join(f"@benchmark {json.dumps(frame)}\n" for frame in self.said) if self.said else ""

    def events(self, *_args: t.Any) -> list[Json]:
        return [{"type": "Warning", "reason": "FailedScheduling", "message": "no node has 16 CPU"}]

    def create(self, path: str, body: Json, *_args: t.Any) -> Json:
        place = f"{path}/{body['metadata']['name']}"
        assert place not in self.objects
        uid = {"uid": f"uid-{len(self.objects)}"}
        self.objects[place] = {**body, "metadata": {**body["metadata"], **uid}}
        self.objects[place].setdefault("spec", {})["nodeName"] = "n1"
        return copy.deepcopy(self.objects[place])

    def delete(self, path: str, **_options: t.Any) -> Json:
        if self.refuses_removal:
            raise Unreachable("server", "away")
        if path not in self.objects:
            raise ApiError(404, "NotFound", "not found", path)
        self.removed.append(path)
        return self.objects.pop(path)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time goes by only where somebody sleeps."""
    now = [1000.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    fake = types.SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
    monkeypatch.setattr(following, "time", fake)


class FakeCollector:
    """Brings recorded results in place of those of a pod."""

    error: collecting.CollectError | None = None

    def __init__(self, execute: t.Any, experiment: str, patience: float, show: t.Any) -> None: ...

    def collect(self, index_sum: str, folder: Path) -> list[str]:
        folder.mkdir(parents=True)
        (folder / "half").touch()
        if self.error is not None:
            raise t.cast(Exception, self.error)
        run = folder / "rehearsal" / "run-0"
        shutil.copytree(SERVER_TOKENS, run)
        marker = {
            "profile": "rehearsal",
            "folder": "rehearsal/run-0",
            "start": "S",
            "end": "E",
            "tool_version": "0.7.0",
        }
        (run / "run.json").write_text(json.dumps({**marker, "counters": {"before": [], "after": []}}))
        return ["half"]


def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    api: FakeApi,
    error: collecting.CollectError | None = None,
    **changes: t.Any,
) -> tuple[Json, list[str]]:
    monkeypatch.setattr(action.collecting, "Collector", type("C", (FakeCollector,), {"error": error}))
    monkeypatch.setattr(action.collecting, "pod_exec", lambda client, namespace: None)
    given = arguments(tmp_path, **changes)
    live = look(api, given)  # type: ignore[arg-type]
    launch = launch_of(given, profiles_of(given), given["base_url"], live)
    shown: list[str] = []
    return Run(api, given, launch, live, shown.append).run(), shown  # type: ignore[arg-type]


def codes(result: Json) -> list[str]:
    return [finding["code"] for finding in result["findings"]]


def test_a_load_is_followed_collected_and_its_pod_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi([{"status": {"phase": "Pending"}}, {"log": [RUNNING]}, {"log": [RUNNING, ENDED]}])
    result, shown = run(tmp_path, monkeypatch, api)
    assert (result["complete"], result["failed"], result["pod_left"]) == (True, False, False)
    assert api.objects == {}
    assert any("5 of 64 requests" in line for line in shown)
    (entry,) = result["results"]
    assert Path(entry["folders"][0], "stage_0_lifecycle_metrics.json").exists()
    assert entry["run"]["tool_version"] == "0.7.0"
    assert result["topology"] == {"prefill_gpus": 16, "decode_gpus": 16, "total_gpus": 32, "decode_ranks": 16}
    assert not list(Path(result["folder"]).parent.glob(".*.part"))


LOST: dict[str, tuple[Json | Exception, str, str]] = {
    "removed": ({"gone": True}, "BENCHMARK_POD", "it was removed while it made the load"),
    "replaced": ({"metadata": {"uid": "other"}}, "BENCHMARK_POD", "another pod has its name"),
    "out of memory": (
        {
            "status": {
                "phase": "Failed",
                "containerStatuses": [{"state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}],
            }
        },
        "BENCHMARK_POD",
        "it is Failed: OOMKilled, exit code 137",
    ),
    "evicted": (
        {"status": {"phase": "Failed", "reason": "Evicted", "message": "low on disk"}},
        "BENCHMARK_POD",
        "Evicted: low on disk",
    ),
    "leaving": ({"metadata": {"deletionTimestamp": "now"}}, "BENCHMARK_POD", "being removed by someone else"),
    "silent": ({"log": [RUNNING]}, "BENCHMARK_POD", "its node n1 is Ready: Unknown (NodeStatusUnknown)"),
    "on a lost node": ({"log": Unreachable("server", "no answer")}, "BENCHMARK_POD", "it has said nothing for"),
    "not placed": ({"status": {"phase": "Pending"}}, "BENCHMARK_POD", "FailedScheduling: no node has 16 CPU"),
    "not pulled": (
        {
            "status": {
                "phase": "Pending",
                "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such"}}}],
            }
        },
        "BENCHMARK_POD",
        "ImagePullBackOff: no such",
    ),
    "killed load": (
        {"log": [{**ENDED, "outcome": "killed", "evidence": "signal 9", "index": ""}]},
        "BENCHMARK_LOAD_ENDED",
        "signal 9",
    ),
    "deadline": ({"log": [{**ENDED, "outcome": "deadline", "evidence": "late"}]}, "BENCHMARK_DEADLINE", "late"),
    "wrong model": (
        {"log": [{**ENDED, "outcome": "model", "evidence": "serves n, not m", "index": ""}]},
        "BENCHMARK_MODEL",
        "serves n, not m",
    ),
}


@pytest.mark.parametrize(("step", "code", "words"), LOST.values(), ids=LOST)
def test_a_load_that_is_lost_fails_with_its_cause_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: t.Any, code: str, words: str
) -> None:
    api = FakeApi([{"log": [RUNNING]}, step])
    result, _shown = run(tmp_path, monkeypatch, api)
    assert (result["failed"], result["complete"], result["results"]) == (True, False, [])
    assert codes(result) == [code]
    assert words in result["findings"][0]["evidence"]
    assert not list(tmp_path.rglob("results")), "nothing half-collected is called a result"
    assert f"{PODS}/{POD}" not in api.objects


def test_files_of_a_failed_load_are_kept_under_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi([{"log": [{**ENDED, "outcome": "deadline", "evidence": "late"}]}])
    result, _shown = run(tmp_path, monkeypatch, api)
    assert result["folder"].endswith("/incomplete")
    assert Path(result["folder"], "half").exists()


def test_an_api_server_that_is_away_for_a_while_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = [Unreachable("server", "refused")] * 8
    api = FakeApi([{"log": [RUNNING]}, *away, {"log": [ENDED]}])
    assert run(tmp_path, monkeypatch, api)[0]["complete"]


def test_an_api_server_that_stays_away_leaves_the_pod_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = FakeApi([{"log": [RUNNING]}, *[Unreachable("server", "refused")] * 12])
    result, _shown = run(tmp_path, monkeypatch, api)
    assert (codes(result), result["pod_left"]) == (["API_UNREACHABLE"], True)
    assert api.removed == []
    api.steps = [{}, {"log": [ENDED]}]
    result, shown = run(tmp_path, monkeypatch, api)
    assert result["complete"]
    assert "  going on with pod llmdbench-harness-launcher of an interrupted run" in shown
    assert api.objects == {}


def test_results_that_did_not_come_stay_in_their_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi([{"log": [ENDED]}])
    result, _shown = run(tmp_path, monkeypatch, api, collecting.CollectError("cut"))
    assert (codes(result), result["complete"], result["pod_left"]) == (["BENCHMARK_COLLECT"], False, True)
    assert f"{PODS}/{POD}" in api.objects
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
    result, _shown = run(tmp_path, monkeypatch, api)
    assert (result["complete"], api.objects) == (True, {})


def test_another_load_that_is_under_way_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi([{}])
    api.create(PODS, {"metadata": {"name": POD, "annotations": {REQUEST_ANNOTATION: "another"}}})
    result, _shown = run(tmp_path, monkeypatch, api)
    assert (codes(result), result["pod_left"], api.removed) == (["BENCHMARK_POD_IN_USE"], True, [])


@pytest.mark.parametrize(("replace", "phase"), [(True, "Running"), (False, "Failed"), (False, "Succeeded")])
def test_a_pod_that_is_done_or_given_up_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: bool, phase: str
) -> None:
    api = FakeApi([{"status": {"phase": phase}}, {"log": [ENDED]}])
    api.create(PODS, {"metadata": {"name": POD, "annotations": {REQUEST_ANNOTATION: "another"}}})
    result, _shown = run(tmp_path, monkeypatch, api, replace_pod=replace)
    assert result["complete"]
    assert api.removed.count(f"{PODS}/{POD}") == 2


@pytest.mark.parametrize("dead", [{"status": {"phase": "Failed"}}, {"metadata": {"deletionTimestamp": "now"}}], ids=str)
def test_a_dead_pod_of_the_same_request_is_no_pod_to_go_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead: Json
) -> None:
    api = FakeApi([{"log": [RUNNING]}, *[Unreachable("s", "x")] * 12])
    run(tmp_path, monkeypatch, api)
    api.steps = [dead, {"log": [ENDED]}]
    result, shown = run(tmp_path, monkeypatch, api)
    assert result["complete"]
    assert not any("going on" in line for line in shown)


def test_a_pod_without_its_program_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends between both requests leaves a pod that waits for its program."""
    api = FakeApi([{}, Unreachable("s", "x"), *[Unreachable("s", "x")] * 12])
    run(tmp_path, monkeypatch, api)
    program = f"/api/v1/namespaces/ns/configmaps/{POD}"
    del api.objects[program]
    api.steps = [{"status": {"phase": "Pending"}}, {"log": [ENDED]}]
    result, _shown = run(tmp_path, monkeypatch, api, keep_pod=True)
    told = json.loads(api.objects[program]["data"]["input.json"])
    pod = api.objects[f"{PODS}/{POD}"]
    assert told["experiment"] in pod["metadata"]["annotations"].values()
    assert (result["complete"], result["pod_left"]) == (True, True)


def test_a_pod_that_cannot_be_removed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi([{"log": [ENDED]}])
    api.delete = lambda path, **_o: (nothing for nothing in ()).throw(  # type: ignore[method-assign]
        ApiError(404, "NotFound", "", path) if "configmaps" in path else ApiError(403, "Forbidden", "no", path)
    )
    result, _shown = run(tmp_path, monkeypatch, api)
    assert (result["complete"], result["pod_left"]) == (True, True)
    assert "left behind" in result["findings"][-1]["evidence"]


# What is asked


def test_a_complete_report_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = arguments(tmp_path)
    launch = launch_of(given, profiles_of(given), given["base_url"], look(FakeApi([]), given))  # type: ignore[arg-type]
    root = Path(given["destination"])
    assert action.reusable(root, launch) == ""
    folder = root / f"{launch.fingerprint[:10]}-1"
    (folder / "results").mkdir(parents=True)
    (folder / "results" / "index.json").write_text('{"files": {}}')
    assert action.reusable(root, launch) == "", "results alone are no report"
    (folder / "complete.json").write_text(json.dumps({"fingerprint": launch.fingerprint}))
    assert action.reusable(root, launch) == str(folder)
    (folder / "results" / "index.json").write_text('{"files": {"gone": {"sha256": ""}}}')
    assert action.reusable(root, launch) == "", "a file of it is gone"


def test_another_load_is_not_the_same_report(tmp_path: Path) -> None:
    def fingerprint(**changes: t.Any) -> str:
        given = arguments(tmp_path, **changes)
        live = look(FakeApi([]), given)  # type: ignore[arg-type]
        return launch_of(given, profiles_of(given), given["base_url"], live).fingerprint

    assert fingerprint() == fingerprint(deadline=5.0, repeats=1)
    changes: list[Json] = [{"repeats": 2}, {"seed": 1}, {"profiles": ["sweep"]}, {"image": "j"}, {"tokenizer": "x/y"}]
    assert len({fingerprint(), *(fingerprint(**one) for one in changes)}) == 6


def test_a_tokenizer_in_a_folder_asks_no_hub(tmp_path: Path) -> None:
    for tokenizer, wanted in (("/opt/tokenizer", {"HF_HUB_OFFLINE": "1"}), ("a/b", {})):
        given = arguments(tmp_path, tokenizer=tokenizer)
        launch = launch_of(given, profiles_of(given), given["base_url"], look(FakeApi([]), given))  # type: ignore[arg-type]
        assert launch.env == wanted


def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: bool = False, **changes: t.Any) -> Json:
    given = arguments(tmp_path, **{"mode": "plan", **changes})
    module = ActionModule.__new__(ActionModule)
    module._task = types.SimpleNamespace(check_mode=check)
    monkeypatch.setattr(ActionModule, "client", staticmethod(lambda arguments: FakeApi([])))
    return module.act(given, {})


REFUSED: dict[str, tuple[Json, str, str]] = {
    "a path": ({"base_url": "http://10.0.0.1/v1"}, "BENCHMARK_PROFILE", "http://10.0.0.1/v1"),
    "no scheme": ({"base_url": "10.0.0.1:80"}, "BENCHMARK_PROFILE", "10.0.0.1:80"),
    "no repeat": ({"repeats": 0}, "INPUT_TYPE", "found 0"),
    "a release that is none": ({"tool_release": "latest"}, "BENCHMARK_PROFILE", "latest"),
    "an unknown workload": ({"profiles": ["rehersal"]}, "BENCHMARK_PROFILE", "no workload 'rehersal'"),
    "no workload": ({"profiles": []}, "BENCHMARK_PROFILE", "no workload is named"),
    "an unknown key": (
        {"profiles": ["x"], "custom_profiles": {"x": {"isl": 1}}},
        "BENCHMARK_PROFILE",
        "x: unknown keys isl",
    ),
    "a goal without streaming": (
        {
            "profiles": ["x"],
            "slo": {"ttft": 1},
            "custom_profiles": {
                "x": {"concurrency": 1, "requests": 9, "input_tokens": 1, "output_tokens": 1, "streaming": False}
            },
        },
        "BENCHMARK_PROFILE",
        "ttft have limits",
    ),
    "all requests' figures of an old release": (
        {"profiles": ["2048_concurrent_2k_isl_2k_osl"], "per_request": True, "tool_release": "0.6.1"},
        "BENCHMARK_PROFILE",
        "16.4 million output tokens",
    ),
    "no router": ({"base_url": ""}, "BENCHMARK_ENDPOINT", "it does not exist"),
}


@pytest.mark.parametrize(("changes", "code", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_work_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: Json, code: str, words: str
) -> None:
    result = judged(tmp_path, monkeypatch, **changes)
    assert result["failed"]
    assert code in codes(result)
    assert words in result["msg"].replace("\n        ", " ")


def test_a_plan_names_what_has_to_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = judged(tmp_path, monkeypatch, profiles=["rehearsal"], repeats=2)
    assert [item["kind"] for item in result["objects"]] == ["ServiceAccount", "ConfigMap"]
    profile = yaml.safe_load(result["objects"][1]["data"]["rehearsal.yaml"])
    assert profile["server"] == {
        "type": "vllm",
        "model_name": "m",
        "base_url": "http://10.0.0.1:80",
        "ignore_eos": True,
    }
    assert profile["storage"]["local_storage"]["path"] == "@results@"
    assert [one["folder"] for one in result["runs"]] == ["rehearsal/run-0", "rehearsal/run-1"]
    assert result["existing"] == ""


def test_check_mode_makes_nothing_and_needs_no_deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = judged(tmp_path, monkeypatch, check=True, base_url="")
    assert planned["base_url"] == "http://r-epp.ns.svc:80"
    result = judged(tmp_path, monkeypatch, check=True, base_url="", mode="run")
    assert result == {"skipped": True, "msg": "check mode: would run 1 loads against http://r-epp.ns.svc:80"}


def test_options_are_documented() -> None:
    options = yaml.safe_load(documented.DOCUMENTATION)["options"]
    assert set(options) == set(ActionModule.ARGUMENTS) - {"kubeconfig", "context"}
    for name, spec in options.items():
        argument = ActionModule.ARGUMENTS[name]
        assert spec["type"] == argument["type"], name
        assert spec.get("default") == argument.get("default"), name
        assert spec.get("required", False) == argument.get("required", False), name
        assert spec.get("elements") == argument.get("elements"), name
        assert set(spec.get("suboptions", {})) == set(argument.get("options", {})), name


def test_client_counts_need_whole_files(tmp_path: Path) -> None:
    shutil.copytree(SERVER_TOKENS, tmp_path / "x")
    counts = action.client_counts(tmp_path / "x")
    assert counts is not None
    assert counts["requests"] > 0
    (tmp_path / "x" / "stage_0_lifecycle_metrics.json").write_text("{")
    assert action.client_counts(tmp_path / "x") is None
