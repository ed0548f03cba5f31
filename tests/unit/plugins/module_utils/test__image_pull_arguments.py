# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils import _image_pull, _image_pull_arguments
from ansible_collections.llmd.wide_ep.plugins.module_utils._image_pull_arguments import MARK, Trial

ROOT = Path(__file__).resolve().parents[4]
STAND_IN = ROOT / "roles/rehearsal_cluster/files/images/vllm/stand_in.py"
SCRIPT = "find /dev/shm -type f\n\nexec vllm serve model \\\n  --port 8200\n"
USAGE = "usage: vllm [-h] [-v] {serve} ...\n"


def workload(role: str = "decode") -> dict[str, t.Any]:
    vllm = {
        "name": "vllm",
        "image": "registry.example/vllm:v2",
        "command": ["/bin/bash", "-c"],
        "args": [SCRIPT],
        "env": [
            {"name": "MAX_TOKENS", "value": "256"},
            {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "llm-d-hf-token", "key": "HF_TOKEN"}}},
            {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "resources": {"limits": {"nvidia.com/gpu": 8}},
        "securityContext": {"privileged": True, "runAsUser": 0, "capabilities": {"add": ["IPC_LOCK"]}},
        "volumeMounts": [{"name": "dshm", "mountPath": "/dev/shm"}],
        "startupProbe": {"httpGet": {"path": "/health", "port": 8200}},
    }
    proxy = {"name": "routing-proxy", "image": "registry.example/sidecar:v1", "args": ["--port=8000"]}
    spec = {"initContainers": [proxy], "containers": [vllm, {"name": "helper", "image": "registry.example/helper:v1"}]}
    return {
        "kind": "LeaderWorkerSet",
        "metadata": {"labels": {"llm-d.ai/role": role}},
        "spec": {"leaderWorkerTemplate": {"size": 2, "workerTemplate": {"spec": spec}}},
    }


def test_every_program_with_arguments_is_tried_without_what_it_serves_with() -> None:
    proxy, vllm = _image_pull_arguments.programs([{"kind": "ServiceAccount"}, workload()])
    assert (proxy.title, proxy.container["args"]) == ("decode routing-proxy", ["--port=8000", MARK])
    assert (vllm.title, vllm.name) == ("decode vllm", "decode-vllm")
    assert vllm.container["args"] == [f"{SCRIPT.rstrip()} {MARK}\n"]
    names = {entry["name"]: entry.get("value") for entry in vllm.container["env"]}
    assert {"MAX_TOKENS": "256", "LWS_GROUP_SIZE": "2", "LWS_WORKER_INDEX": "0"}.items() <= names.items()
    assert "HF_TOKEN" not in names
    assert "HOST" in names
    assert "nvidia.com/gpu" not in json.dumps(vllm.container)
    assert vllm.container["securityContext"] == {"runAsUser": 0, "allowPrivilegeEscalation": False}
    assert not {"volumeMounts", "startupProbe"} & set(vllm.container)


def test_an_image_that_is_started_is_not_pulled_twice() -> None:
    tried = [program.container for program in _image_pull_arguments.programs([workload()])]
    images = ["registry.example/vllm:v2", "registry.example/other:v1"]
    pod = _image_pull.pod("release", "ns", "gpu-0", images, [], tried=tried)
    assert [entry["name"] for entry in pod["spec"]["containers"]] == ["image-1", "decode-routing-proxy", "decode-vllm"]


def ended(code: int, message: str = "", reason: str = "Error") -> dict[str, t.Any]:
    return {"state": {"terminated": {"exitCode": code, "reason": reason, "message": message}}}


@pytest.mark.parametrize(
    ("status", "state", "words"),
    [
        ({}, "waiting", "not started"),
        ({"state": {"waiting": {"reason": "ImagePullBackOff"}}}, "waiting", "not started"),
        ({"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}, "unjudged", "still runs"),
        ({"state": {"running": {"startedAt": "2026-01-01T00:05:00Z"}}}, "waiting", "reads"),
        (ended(2, f"{USAGE}vllm: error: unrecognized arguments: {MARK}\n"), "known", ""),
        (ended(2, f"{USAGE}vllm: error: unrecognized arguments: --bogus 1 {MARK}\n"), "refused", "--bogus 1"),
        (ended(2, f"{USAGE}vllm serve: error: argument --port: invalid int value: 'x'\n"), "refused", "invalid int"),
        (ended(1, f"unknown flag: {MARK}\nUsage of sidecar:\n  --port string\n"), "known", ""),
        (ended(1, "unknown flag: --connector\nUsage of sidecar:\n"), "refused", "--connector"),
        (ended(1, 'invalid argument "x" for "--zap-log-level" flag: no'), "refused", "zap-log-level"),
        (ended(2, f"flag provided but not defined: {MARK[1:]}\nUsage:\n"), "known", ""),
        (ended(128, 'exec: "/bin/bash": no such file', "StartError"), "refused", "/bin/bash"),
        (ended(127, "/bin/bash: line 7: exec: vllm: not found"), "refused", "vllm: not found"),
        (ended(1, "ImportError: libcuda.so.1: cannot open shared object file"), "unjudged", "libcuda"),
        (ended(137, "", "OOMKilled"), "unjudged", "OOMKilled"),
        (ended(0, "", "Completed"), "unjudged", "exit code 0"),
        # The argument in a log line is no refusal of it.
        (ended(1, f"INFO starting with {MARK}\nRuntimeError: no model"), "unjudged", "no model"),
    ],
)
def test_judge(status: dict[str, t.Any], state: str, words: str) -> None:
    now = 1767225600.0 + 301
    found, message = _image_pull_arguments.judge(status, now)
    assert (found, words in message) == (state, True), message


def trial(node: str, state: t.Any, message: str = "") -> Trial:
    return Trial(node, "decode vllm", "registry.example/vllm:v2", state, message)


@pytest.mark.parametrize(
    ("trials", "told"),
    [
        ([trial("a", "known"), trial("b", "known")], []),
        (
            [trial("a", "refused", "it does not know --x"), trial("b", "known")],
            [("ARGUMENTS_REFUSED", "error", "1 of 2 nodes (a)")],
        ),
        (
            [trial("a", "refused", "it does not know --x"), trial("b", "refused", "it does not know --x")],
            [("ARGUMENTS_REFUSED", "error", "2 of 2 nodes (a, b)")],
        ),
        ([trial("a", "unjudged", "it ended")], [("ARGUMENTS_NOT_JUDGED", "warning", "it ended")]),
        ([trial("a", "waiting", "not started")], [("ARGUMENTS_NOT_JUDGED", "warning", "not started")]),
    ],
)
def test_findings(trials: list[Trial], told: list[tuple[str, str, str]]) -> None:
    found = _image_pull_arguments.findings(trials)
    assert [(item.code, item.severity) for item in found] == [(code, severity) for code, severity, _words in told]
    assert all(words in item.evidence for item, (_code, _severity, words) in zip(found, told, strict=True))


@pytest.mark.parametrize(
    ("arguments", "state", "words"),
    [
        (["--port", "8200", "--enable-dbo"], "known", ""),
        (["--served-model-name", "one", "two"], "known", ""),
        (["--port", "8200", "--from-the-future", "7"], "refused", "--from-the-future 7"),
        (["--port", "many"], "refused", "invalid int value: 'many'"),
        (["--eplb-config", '{"window": 1}'], "refused", "Unexpected keyword argument"),
    ],
)
def test_a_parser_of_all_arguments_tells(arguments: list[str], state: str, words: str) -> None:
    """The rehearsal's vLLM parses as vLLM does: with argparse, which tells unknown arguments at the end."""
    program = [sys.executable, str(STAND_IN), "serve", "model", *_image_pull_arguments.marked([], arguments)]
    run = subprocess.run(program, capture_output=True, text=True, check=False, env={**os.environ}, timeout=60)
    status = ended(run.returncode, (run.stdout + run.stderr)[-2048:])
    found, message = _image_pull_arguments.judge(status, 0.0)
    assert (found, words in message) == (state, True), (message, run.stderr)
