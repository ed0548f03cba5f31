# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from loading import load_file

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _prefetch
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._prefetch import NodeState, Settings
from ansible_collections.llmd.wide_ep.tests.unit.plugins.module_utils.test__capacity import (
    NODES,
    RENDERED,
    cache,
    node,
    objects,
)

PROGRAM = Path(__file__).parents[4] / "roles" / "model_server" / "files" / "prefetch.py"
SETTINGS = Settings(
    namespace="llm-d-wide-ep",
    release="wide-ep-lws",
    model="deepseek-ai/DeepSeek-R1-0528",
    revision="main",
    program="print()",
    nodes=(),
    workers=8,
    timeout=14400,
    patience=1200,
    reserve_percent=10,
    verify=True,
    resources={"requests": {"cpu": "1"}},
)
TEMPLATES = _prefetch.templates(RENDERED)


def settings(**changes: t.Any) -> Settings:
    return Settings(**{**vars(SETTINGS), **changes})


def program() -> t.Any:
    return load_file(PROGRAM, "prefetch_program")


def test_both_tiers_of_the_guide_need_one_kind_of_pod() -> None:
    assert len(TEMPLATES) == 1
    assert _prefetch.refusals(SETTINGS, TEMPLATES) == []


def test_frames_and_exit_codes_are_those_of_the_program() -> None:
    module = program()
    assert module.FRAME == _prefetch.FRAME
    failures = {reason: code for reason, code in module.EXITS.items() if reason != "complete"}
    assert set(failures) == set(_prefetch.REASONS)
    assert sorted(failures.values()) == sorted(_prefetch.FINAL_CODES)


def test_every_argument_of_the_pod_is_one_of_the_program() -> None:
    job = _prefetch.job(settings(verify=False), "gpu-0", TEMPLATES[0])
    command = job["spec"]["template"]["spec"]["containers"][0]["command"]
    given = program().parse(command[2:])
    assert (given.model, given.cache, given.verify) == (SETTINGS.model, Path("/var/cache/huggingface"), False)
    assert (given.workers, given.timeout, given.reserve_percent) == (8, 14400, 10)


def test_a_prefetch_pod_shares_image_cache_and_token_and_takes_no_gpu() -> None:
    job = _prefetch.job(SETTINGS, "gpu-0", TEMPLATES[0])
    template = job["spec"]["template"]
    spec = template["spec"]
    container = spec["containers"][0]
    assert "llm-d.ai/guide" not in template["metadata"]["labels"]
    assert container["image"] == "ghcr.io/llm-d/llm-d-cuda:v0.7.0"
    assert "nvidia.com/gpu" not in json.dumps(container["resources"])
    assert "privileged" not in container["securityContext"]
    token = next(entry for entry in container["env"] if entry["name"] == "HF_TOKEN")
    assert token["valueFrom"]["secretKeyRef"]["name"] == "llm-d-hf-token"
    assert not [entry["name"] for entry in container["env"] if entry["name"].startswith(("NVSHMEM", "VLLM", "NCCL"))]
    assert {"name": "hf-cache", "mountPath": "/var/cache/huggingface"} in container["volumeMounts"]
    assert any("hostPath" in volume for volume in spec["volumes"])
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["gpu-0"]}]}]
    assert "podAffinity" not in spec["affinity"]


def test_what_the_tier_requires_of_its_nodes_is_kept() -> None:
    labels = [{"key": "gpu.nvidia.com/model", "operator": "In", "values": ["H200"]}]

    def change(spec: dict[str, t.Any], container: dict[str, t.Any]) -> None:
        required = {"nodeSelectorTerms": [{"matchExpressions": labels}]}
        spec["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}

    template = _prefetch.templates(objects(change))[-1]
    spec = _prefetch.job(SETTINGS, "gpu-0", template)["spec"]["template"]["spec"]
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == labels
    assert term["matchFields"][0]["values"] == ["gpu-0"]


def test_the_name_of_a_job_says_what_it_does() -> None:
    first = _prefetch.job(SETTINGS, "gpu-0", TEMPLATES[0])["metadata"]["name"]
    assert _prefetch.job(SETTINGS, "gpu-0", TEMPLATES[0])["metadata"]["name"] == first
    others = [
        _prefetch.job(SETTINGS, "gpu-1", TEMPLATES[0]),
        _prefetch.job(settings(revision="v2"), "gpu-0", TEMPLATES[0]),
        _prefetch.job(settings(program="pass"), "gpu-0", TEMPLATES[0]),
    ]
    names = {first, *(job["metadata"]["name"] for job in others)}
    assert len(names) == 4
    assert all(len(name) <= 63 for name in names)


def offline(spec: dict[str, t.Any], container: dict[str, t.Any]) -> None:
    container["env"] += [{"name": "HF_HUB_OFFLINE", "value": "1"}, {"name": "HTTPS_PROXY", "value": "http://proxy"}]


def test_a_proxy_is_kept_and_an_offline_mode_is_not() -> None:
    template = _prefetch.templates(objects(offline))[-1]
    container = _prefetch.job(SETTINGS, "gpu-0", template)["spec"]["template"]["spec"]["containers"][0]
    names = [entry["name"] for entry in container["env"]]
    assert "HTTPS_PROXY" in names
    assert "HF_HUB_OFFLINE" not in names


@pytest.mark.parametrize(
    ("change", "model", "codes"),
    [
        (None, "deepseek-ai/DeepSeek-R1-0528", []),
        (cache({"emptyDir": {}}, "1Ti"), "deepseek-ai/DeepSeek-R1-0528", ["PREFETCH_NO_CACHE"]),
        (None, "/models/DeepSeek-R1-0528", ["PREFETCH_MODEL"]),
        (None, "DeepSeek-R1-0528", ["PREFETCH_MODEL"]),
    ],
)
def test_what_cannot_be_filled_beforehand(change: t.Any, model: str, codes: list[str]) -> None:
    given = _prefetch.templates(objects(change))
    assert [finding.code for finding in _prefetch.refusals(settings(model=model), given)] == codes


CPU_NODE = node("cpu-0", offered={"nvidia.com/gpu": "0"})


@pytest.mark.parametrize(
    ("nodes", "named", "chosen", "words"),
    [
        ([*NODES, CPU_NODE], (), ["gpu-0", "gpu-1", "gpu-2", "gpu-3"], ""),
        ([*NODES, CPU_NODE], ("gpu-2",), ["gpu-2"], ""),
        (NODES, ("gpu-2", "gpu-9"), ["gpu-2"], "no node of that name"),
        ([CPU_NODE], ("cpu-0",), [], "fewer than 8 nvidia.com/gpu"),
        ([CPU_NODE], (), [], "cpu-0: it offers fewer"),
        ([node("gpu-0", spec={"unschedulable": True})], (), [], "cordoned"),
        ([], (), [], "it has no nodes"),
    ],
)
def test_choose(nodes: list[t.Any], named: tuple[str, ...], chosen: list[str], words: str) -> None:
    found, findings = _prefetch.choose(settings(nodes=named), TEMPLATES, nodes)
    assert [name for name, _template in found] == chosen
    assert bool(findings) == bool(words)
    assert all(words in finding.evidence and finding.code == "PREFETCH_NO_NODE" for finding in findings)


FRAME = {
    "state": "downloading",
    "model": "m",
    "done_bytes": 345e9,
    "total_bytes": 690e9,
    "fetched_bytes": 300e9,
    "bytes_per_second": 1.25e9,
    "seconds_left": 276,
    "files": 170,
    "damaged": 0,
    "throttled": 0,
    "error": "",
}


def test_the_last_whole_line_of_progress_counts() -> None:
    text = f"human\n@prefetch {json.dumps({**FRAME, 'done_bytes': 1})}\nhuman\n@prefetch {json.dumps(FRAME)}\n"
    assert _prefetch.last_frame(text + '@prefetch {"state": "downlo') == FRAME
    assert _prefetch.last_frame(text + "@prefetch 3") == FRAME
    assert _prefetch.last_frame("Traceback") is None


def test_a_watcher_sees_rate_and_time_left() -> None:
    state = NodeState("gpu-0", "job", "running", frame=FRAME)
    assert state.line() == "gpu-0: downloading, 345.0 of 690.0 GB, 1.25 GB/s, 4 min 36 s left"
    unknown = NodeState("gpu-0", "job", "running", frame={**FRAME, "seconds_left": None, "throttled": 2})
    assert unknown.line().endswith("slowed down 2 times by the hub, time left unknown")
    assert NodeState("gpu-0", "job", note="Pulling").line() == "gpu-0: waiting, Pulling"


@pytest.mark.parametrize("reason", [*_prefetch.REASONS])
def test_each_reason_of_the_program_has_its_finding(reason: str) -> None:
    states = [
        NodeState(f"gpu-{index}", "job", "failed", reason=reason, frame={**FRAME, "state": reason, "detail": "why"})
        for index in range(2)
    ]
    (finding,) = _prefetch.findings(states, TEMPLATES)
    assert (finding.subject, finding.evidence) == ("node gpu-0, gpu-1", "why")
    assert "{" not in finding.fix


def test_a_refused_token_names_the_secret() -> None:
    state = NodeState("gpu-0", "job", "failed", reason="token", frame={**FRAME, "detail": "the hub answered 401"})
    (finding,) = _prefetch.findings([state], TEMPLATES)
    assert finding.code == "PREFETCH_TOKEN"
    assert "Secret llm-d-hf-token, key HF_TOKEN" in finding.fix


def test_pods_that_did_not_start_are_told_by_their_reasons() -> None:
    states = [NodeState(name, "job", "failed", note=note, reason="pod") for name, note in (("a", "x"), ("b", "y"))]
    assert [(f.code, f.subject, f.evidence) for f in _prefetch.findings(states, TEMPLATES)] == [
        ("PREFETCH_POD", "node a", "x"),
        ("PREFETCH_POD", "node b", "y"),
    ]


def test_the_summary() -> None:
    done = {**FRAME, "state": "complete", "done_bytes": 690e9, "seconds": 552.0}
    states = [NodeState("a", "j", "complete", frame=done), NodeState("b", "j", "failed", frame={})]
    assert _prefetch.summary(SETTINGS, states)[1:] == [["Complete", "1 of 2 nodes"], ["Fetched", "300.00 GB"]]
    table = _prefetch.table(states)
    assert table["rows"][0] == ["a", "complete", "690.0 of 690.0 GB", "300.00", "1.25", 552.0]
    assert table["rows"][1] == ["b", "failed", None, None, None, None]


@pytest.mark.parametrize(
    ("frames", "changed"),
    [
        ([{"fetched_bytes": 0, "damaged": 0}], False),
        ([{"fetched_bytes": 0, "damaged": 0}, {"fetched_bytes": 1, "damaged": 0}], True),
        ([{"fetched_bytes": 0, "damaged": 1}], True),
        ([{}], False),
    ],
)
def test_only_a_download_is_a_change(frames: list[dict[str, int]], changed: bool) -> None:
    states = [NodeState("a", "j", "complete", frame=frame) for frame in frames]
    assert _prefetch.fetched(states) == changed
