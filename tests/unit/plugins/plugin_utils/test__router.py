# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import dataclasses
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _router

WANTED = _router.Wanted(
    release="wide-ep-lws",
    namespace="llm-d-wide-ep",
    ports=(80, 9002),
    target_ports=(8000,),
    match_labels={"llm-d.ai/guide": "wide-ep-lws"},
    config_file="wide-ep-0123456789.yaml",
    images={"epp": "ghcr.io/llm-d/epp:v0.9.0"},
    failure_mode="FailOpen",
    sets=("wide-ep-lws-prefill", "wide-ep-lws-decode"),
)
FOUND: dict[str, t.Any] = {
    "deployment": {
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {"name": "envoy-sidecar", "image": "envoy:v1"},
                        {
                            "name": "epp",
                            "image": "ghcr.io/llm-d/epp:v0.9.0",
                            "args": ["--config-file", "/config/wide-ep-0123456789.yaml"],
                        },
                    ]
                }
            }
        }
    },
    "service": {"spec": {"ports": [{"port": 9002}, {"port": 80}]}},
    "pool": {
        "spec": {
            "targetPorts": [{"number": 8000}],
            "selector": {"matchLabels": {"llm-d.ai/guide": "wide-ep-lws"}},
            "endpointPickerRef": {"name": "wide-ep-lws-epp", "port": {"number": 9002}, "failureMode": "FailOpen"},
        }
    },
}


def found(kind: str = "", path: tuple[t.Any, ...] = (), value: t.Any = None) -> dict[str, t.Any]:
    objects = copy.deepcopy(FOUND)
    if path:
        inner = objects[kind]
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
    elif kind:
        del objects[kind]
    return {name: {"served": True, "resources": [objects[name]] if name in objects else []} for name in FOUND}


CONTAINERS = ("spec", "template", "spec", "containers")


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (found(), None),
        (found("service"), "service does not exist"),
        (found("pool"), "pool does not exist"),
        (found("deployment", (*CONTAINERS, 1, "image"), "epp:old"), "runs epp:old, not ghcr.io/llm-d/epp:v0.9.0"),
        (found("deployment", (*CONTAINERS, 1, "name"), "other"), "runs nowhere"),
        (found("deployment", (*CONTAINERS, 1, "args"), ["/config/default-plugins.yaml"]), "does not read wide-ep-"),
        (found("service", ("spec", "ports"), [{"port": 8081}, {"port": 9002}]), "has ports [8081, 9002], not 80"),
        (found("service", ("spec", "ports"), [{"port": 80}]), "has ports [80], not 9002"),
        (found("pool", ("spec", "targetPorts"), [{"number": 8001}]), "target ports [8001], not [8000]"),
        (found("pool", ("spec", "selector", "matchLabels"), {}), "the pool has the selector {}"),
        (
            found("pool", ("spec", "endpointPickerRef", "name"), "other-epp"),
            "has as name of its endpoint picker other-epp",
        ),
        (found("pool", ("spec", "endpointPickerRef", "port"), {"number": 9003}), "as port of its endpoint picker 9003"),
        (found("pool", ("spec", "endpointPickerRef", "failureMode"), "FailClose"), "FailClose, not FailOpen"),
    ],
)
def test_differences(seen: dict[str, t.Any], words: str | None) -> None:
    findings = _router.differences(seen, WANTED)
    if words is None:
        assert findings == []
    else:
        assert any(words in finding.evidence for finding in findings)
        assert all(finding.code == "ROUTER_DIFFERS" for finding in findings)


def pod(name: str, guide: str = "wide-ep-lws", lws: str = "", phase: str = "Running", deleted: bool = False) -> t.Any:
    labels = {"llm-d.ai/guide": guide, _router.LWS_NAME_LABEL: lws}
    metadata: dict[str, t.Any] = {
        "name": name,
        "namespace": "n",
        "labels": {key: value for key, value in labels.items() if value},
    }
    return {"metadata": {**metadata, **({"deletionTimestamp": "now"} if deleted else {})}, "status": {"phase": phase}}


PREFILL = pod("prefill-0", lws="wide-ep-lws-prefill")
DECODE = pod("decode-0", lws="wide-ep-lws-decode")
LOST = pod("decode-1", guide="", lws="wide-ep-lws-decode")


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([], []),
        ([PREFILL, DECODE], []),
        ([PREFILL, pod("client", guide="")], []),
        ([PREFILL, LOST], [("POD_NOT_IN_POOL", "Pod n/decode-1")]),
        ([LOST], [("POOL_SELECTS_NOTHING", "InferencePool llm-d-wide-ep/wide-ep-lws")]),
        ([PREFILL, pod("job")], [("POOL_STRANGER", "Pod n/job")]),
        # A set of another deployment, whose pods carry the same label.
        ([PREFILL, pod("other-0", lws="other")], [("POOL_STRANGER", "Pod n/other-0")]),
        ([PREFILL, pod("job", phase="Succeeded")], []),
        ([PREFILL, pod("job", deleted=True)], []),
        ([PREFILL, pod("decode-1", guide="", lws="wide-ep-lws-decode", deleted=True)], []),
        (
            [LOST, pod("job")],
            [("POOL_SELECTS_NOTHING", "InferencePool llm-d-wide-ep/wide-ep-lws"), ("POOL_STRANGER", "Pod n/job")],
        ),
    ],
)
def test_selection(pods: list[t.Any], expected: list[tuple[str, str]]) -> None:
    assert [(one.code, one.subject) for one in _router.selection(pods, WANTED)] == expected


def test_a_pod_must_carry_every_label_of_the_pool() -> None:
    wanted = dataclasses.replace(WANTED, match_labels={"llm-d.ai/guide": "wide-ep-lws", "deployment": "wide-ep-lws"})
    assert [one.code for one in _router.selection([PREFILL], wanted)] == ["POOL_SELECTS_NOTHING"]


def deployment(**labels: str) -> dict[str, t.Any]:
    return {"spec": {"selector": {"matchLabels": labels}}}


@pytest.mark.parametrize(
    ("deployments", "words"),
    [
        ([], ""),
        ([deployment(inferencepool="r-epp")], ""),
        ([deployment(epp="r-epp")], "selects its pods by epp=r-epp, and would have to by inferencepool=r-epp"),
        ([deployment(inferencepool="r-epp", more="x")], "by inferencepool=r-epp,more=x, and"),
    ],
)
def test_replacement(deployments: list[t.Any], words: str) -> None:
    reason = _router.replacement(deployments, {"inferencepool": "r-epp"})
    assert words in reason
    assert bool(reason) is bool(words)


GONE = "ghcr.io/llm-d/llm-d-inference-scheduler:v0.7.1"
KEPT = "ghcr.io/llm-d/llm-d-router-endpoint-picker:v0.10.0"
PROFILES = [
    {"name": name, "plugins": [{"plugin": f"{name}-filter"}, {"plugin": "max-score-picker"}]}
    for name in ("prefill", "decode")
]
ASKED = _router.Asked(
    image=KEPT,
    version="v0.10.0",
    generation="llm_d_router",
    mode="standalone",
    request_timeout=600,
    values={},
    config=("always-disagg-pd-decider", PROFILES, {}),
)


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({}, []),
        ({"mode": "gateway"}, []),
        ({"image": GONE}, ["IMAGE_GONE"]),
        ({"image": GONE, "mirror": "registry.example.com"}, []),
        ({"version": "v0.7.1"}, ["IMAGE_UNFIT"]),
        ({"version": "v0.7.1", "generation": "gaie"}, []),
        ({"version": "v0.9.0"}, []),
        ({"version": "main"}, ["EPP_CONFIG"]),
        ({"config": ("sometimes", PROFILES, {})}, ["EPP_CONFIG"]),
        ({"request_timeout": 86400}, []),
        ({"request_timeout": 86401}, ["INPUT_TYPE"]),
        ({"request_timeout": 0}, ["INPUT_TYPE"]),
        ({"request_timeout": 86401, "mode": "gateway"}, []),
        ({"values": {"inferenceExtension": {}}}, ["ROUTER_VALUE"]),
        ({"image": GONE, "version": "v0.7.1", "request_timeout": 0}, ["IMAGE_GONE", "IMAGE_UNFIT", "INPUT_TYPE"]),
    ],
)
def test_refusals(changes: dict[str, t.Any], codes: list[str]) -> None:
    findings = _router.refusals(dataclasses.replace(ASKED, **changes))
    assert [finding.code for finding in findings] == codes
    assert all(finding.severity == "error" for finding in findings)
