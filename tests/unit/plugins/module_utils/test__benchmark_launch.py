# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_launch import (
    ENDINGS,
    POD,
    Launch,
    ending_findings,
    frames,
    objects,
    pod,
    program_map,
    progress_text,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import CODES

LAUNCH = Launch(
    namespace="ns",
    release="r",
    model="m",
    base_url="http://10.0.0.1:80",
    image="i@sha256:1",
    tool_release="0.7.0",
    profiles={"a": "x: 1\n", "b": "y: 1\n"},
    requests={"a": 64, "b": 128},
    repeats=2,
    deadline=3600,
    keep=600,
    connect_timeout=60,
    first_answer_timeout=600,
    fingerprint="f" * 64,
)
Json = dict[str, t.Any]


def changed(**changes: t.Any) -> Launch:
    return dataclasses.replace(LAUNCH, **changes)


def container(launch: Launch) -> Json:
    found: Json = pod(launch, "e")["spec"]["containers"][0]
    return found


def test_repeats_of_a_workload_follow_each_other_in_folders_of_their_own() -> None:
    assert [(run["folder"], run["number"], run["requests"]) for run in LAUNCH.runs] == [
        ("a/run-0", 0, 64),
        ("a/run-1", 1, 64),
        ("b/run-0", 2, 128),
        ("b/run-1", 3, 128),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"repeats": 3},
        {"deadline": 60.0},
        {"base_url": "http://10.0.0.2:80"},
        {"model": "n"},
        {"image": "j"},
        {"fingerprint": "e" * 64},
        {"profiles": {"a": "x: 2\n", "b": "y: 1\n"}},
    ],
    ids=str,
)
def test_another_load_is_another_request(changes: Json) -> None:
    assert changed(**changes).request != LAUNCH.request


@pytest.mark.parametrize("changes", [{"resources": {"limits": {"cpu": "1"}}}, {"tolerations": ({},)}], ids=str)
def test_another_place_is_the_same_request(changes: Json) -> None:
    assert changed(**changes).request == LAUNCH.request


def test_the_pod_has_the_guides_name_label_and_account_and_no_rights() -> None:
    made = pod(LAUNCH, "e")
    assert (made["metadata"]["name"], made["metadata"]["labels"]["app"]) == (POD, POD)
    assert made["spec"]["serviceAccountName"] == "llmdbench-harness-sa"
    assert made["spec"]["automountServiceAccountToken"] is False
    kinds = {item["kind"]: item for item in objects(LAUNCH)}
    assert set(kinds) == {"ServiceAccount", "ConfigMap"}
    assert kinds["ServiceAccount"]["automountServiceAccountToken"] is False
    assert kinds["ConfigMap"]["data"] == {"a.yaml": "x: 1\n", "b.yaml": "y: 1\n"}


def test_everything_that_is_made_says_whose_it_is() -> None:
    owner = {"metadata": {"uid": "u"}}
    for item in [*objects(LAUNCH), pod(LAUNCH, "e"), program_map(LAUNCH, "", {}, owner)]:
        assert item["metadata"]["labels"]["wide-ep.llm-d.ai/deployment"] == "r"
        assert item["metadata"]["labels"]["wide-ep.llm-d.ai/component"] == "benchmark"
        assert "llm-d.ai/guide" not in item["metadata"]["labels"], "the router would send it requests"
    assert program_map(LAUNCH, "", {}, owner)["metadata"]["ownerReferences"][0]["uid"] == "u"


def test_the_pod_ends_by_itself_after_everything_that_it_was_told() -> None:
    assert pod(LAUNCH, "e")["spec"]["activeDeadlineSeconds"] > 4 * 3600 + 600 + 660


def test_a_hub_token_is_a_reference_and_may_be_absent() -> None:
    entry = next(e for e in container(changed(token_secret="s", token_key="k"))["env"] if e["name"] == "HF_TOKEN")
    assert entry["valueFrom"]["secretKeyRef"] == {"name": "s", "key": "k", "optional": True}
    assert "HF_TOKEN" not in [e["name"] for e in container(LAUNCH)["env"]]


@pytest.mark.parametrize(
    ("changes", "path", "wanted"),
    [
        ({"node_selector": {"a": "b"}}, ("nodeSelector",), {"a": "b"}),
        ({"tolerations": ({"key": "k"},)}, ("tolerations",), [{"key": "k"}]),
        ({"affinity": {"x": {}}}, ("affinity",), {"x": {}}),
        ({"pull_secrets": ("p",)}, ("imagePullSecrets",), [{"name": "p"}]),
        ({"security_context": {"pod": {"runAsUser": 0}}}, ("securityContext",), {"runAsUser": 0}),
        ({"resources": {"limits": {"cpu": "1"}}}, ("containers", 0, "resources"), {"limits": {"cpu": "1"}}),
        ({"results_size": "1Gi"}, ("volumes", 0, "emptyDir"), {"sizeLimit": "1Gi"}),
        ({"volumes": ({"name": "v"},)}, ("volumes", -1), {"name": "v"}),
        ({"volume_mounts": ({"name": "v"},)}, ("containers", 0, "volumeMounts", -1), {"name": "v"}),
    ],
    ids=str,
)
def test_what_the_pod_is_like_is_chosen(changes: Json, path: tuple[t.Any, ...], wanted: t.Any) -> None:
    place: t.Any = pod(changed(**changes), "e")["spec"]
    for step in path:
        place = place[step]
    assert place == wanted


def test_lines_that_are_cut_or_no_progress_are_passed_over() -> None:
    log = 'x\n@benchmark {"state": "running", "done": 1}\n@benchmark {"state": "run\n@benchmark []\n@benchmark {}\n'
    assert frames(log) == [{"state": "running", "done": 1}]


RUNNING = {
    "state": "running",
    "run": 1,
    "runs": 3,
    "profile": "p",
    "done": 512,
    "total": 8192,
    "failures": 2,
    "elapsed": 50.0,
    "deadline_left": 3550,
    "rate": 11.03,
    "left": 696,
}


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (RUNNING, "p 2/3: 512 of 8192 requests, 11.0/s, 2 failed, 11 min 36 s left, deadline in 59 min 10 s"),
        ({**RUNNING, "done": 8192, "left": 0}, "p 2/3: 8192 of 8192 requests, 11.0/s, 2 failed, writing its report,"),
        (
            {k: v for k, v in RUNNING.items() if k not in ("rate", "left")},
            "p 2/3: 512 of 8192 requests, 2 failed, dead",
        ),
        ({"state": "checking", "note": "n", "left": 30}, "endpoint: n, 30 s left"),
        ({"state": "ended", "outcome": "complete", "evidence": ""}, "complete: results are ready"),
        ({"state": "ended", "outcome": "deadline", "evidence": "late"}, "deadline: late"),
    ],
)
def test_a_line_says_what_a_person_wants_to_know(frame: Json, text: str) -> None:
    assert progress_text(frame).startswith(text)


def test_a_complete_load_has_no_finding() -> None:
    assert ending_findings({"outcome": "complete", "evidence": ""}) == []


@pytest.mark.parametrize("outcome", ENDINGS)
def test_every_other_ending_is_an_error_with_its_evidence(outcome: str) -> None:
    (finding,) = ending_findings({"outcome": outcome, "evidence": "E", "runs": [{"folder": "a/run-0"}]})
    assert (finding.severity, finding.evidence, finding.subject) == ("error", "E", "run a/run-0")
    assert finding.code in CODES


def test_an_unknown_ending_is_an_error_too() -> None:
    assert ending_findings({"outcome": "new", "evidence": ""})[0].code == "BENCHMARK_LOAD_ENDED"


def test_a_tokenizer_that_needs_the_network_names_the_way_without() -> None:
    said = "it ended with 1: Tokenizer initialization failed: Can't load the configuration of 'deepseek-ai/DeepSeek-R1'"
    (finding,) = ending_findings({"outcome": "failed", "evidence": said})
    assert finding.code == "BENCHMARK_TOKENIZER"
    assert "benchmark_volumes" in finding.fix
