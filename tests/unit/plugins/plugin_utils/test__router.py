# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _router

WANTED = _router.Wanted(
    release="wide-ep-lws",
    namespace="llm-d-wide-ep",
    port=80,
    target_ports=(8000,),
    match_labels={"llm-d.ai/guide": "wide-ep-lws"},
    config_file="wide-ep-0123456789.yaml",
    images={"epp": "ghcr.io/llm-d/epp:v0.9.0"},
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
        (found("service", ("spec", "ports"), [{"port": 8081}]), "has ports [8081], not 80"),
        (found("pool", ("spec", "targetPorts"), [{"number": 8001}]), "target ports [8001], not [8000]"),
        (found("pool", ("spec", "selector", "matchLabels"), {}), "the pool selects {}"),
    ],
)
def test_differences(seen: dict[str, t.Any], words: str | None) -> None:
    findings = _router.differences(seen, WANTED)
    if words is None:
        assert findings == []
    else:
        assert any(words in finding.evidence for finding in findings)
        assert all(finding.code == "ROUTER_DIFFERS" for finding in findings)


GONE = "ghcr.io/llm-d/llm-d-inference-scheduler:v0.7.1"
KEPT = "ghcr.io/llm-d/llm-d-router-endpoint-picker:v0.9.0"


@pytest.mark.parametrize(
    ("image", "mode", "mirror", "codes"),
    [
        (KEPT, "standalone", "", []),
        (GONE, "standalone", "", ["IMAGE_GONE"]),
        (GONE, "standalone", "registry.example.com", []),
        (KEPT, "gateway", "", ["INPUT_COMBINATION"]),
        (GONE, "gateway", "", ["INPUT_COMBINATION", "IMAGE_GONE"]),
    ],
)
def test_refusals(image: str, mode: str, mirror: str, codes: list[str]) -> None:
    assert [finding.code for finding in _router.refusals(image, mode, mirror)] == codes
