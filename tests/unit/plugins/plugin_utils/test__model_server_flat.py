# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_command import script
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_flat import flatten, flatten_set

CASES: dict[str, tuple[Any, dict[str, str]]] = {
    "keys with dots": ({"labels": {"a.b/c": "d", "e": 1}}, {"labels[a.b/c]": "d", "labels.e": "1"}),
    "variables": (
        {"env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
        {"env.A": "1", "env.B.valueFrom.fieldRef.fieldPath": "x"},
    ),
    "empty values": ({"emptyDir": {}, "list": [], "text": ""}, {"emptyDir": "{}", "list": "[]", "text": ""}),
    "other lists and truth": ({"add": ["B", "A"], "optional": False}, {"add": '["B", "A"]', "optional": "false"}),
    "a toleration without a key": (
        {"tolerations": [{"operator": "Exists"}]},
        {"tolerations": '[{"operator": "Exists"}]'},
    ),
    "containers by name": (
        {
            "containers": [{"name": "vllm", "image": "x"}],
            "initContainers": [{"name": "proxy", "args": ["--a=1", "--b"]}],
        },
        {"vllm.image": "x", "proxy.arguments.a": "1", "proxy.arguments.b": "true"},
    ),
    "a name alone": ({"claims": [{"name": "c"}]}, {"claims.c": ""}),
}


@pytest.mark.parametrize(("value", "expected"), CASES.values(), ids=CASES.keys())
def test_flatten(value: Any, expected: dict[str, str]) -> None:
    assert flatten(value) == expected


def test_the_start_script_becomes_arguments() -> None:
    given = {
        "enable-dbo": True,
        "data-parallel-size": {"env": "DP_SIZE"},
        "tensor-parallel-size": {"env": "TP_SIZE"},
        "eplb-config": {"b": "1", "a": "2"},
        "served-model-name": ["x", "y z"],
    }
    container = {"containers": [{"name": "vllm", "args": [script("org/model", given)]}]}
    assert flatten(container) == {
        "vllm.arguments.model": "org/model",
        "vllm.arguments.enable-dbo": "true",
        "vllm.arguments.data-parallel-size": "$((LWS_GROUP_SIZE * DP_SIZE_LOCAL))",
        "vllm.arguments.tensor-parallel-size": "$TP_SIZE",
        "vllm.arguments.eplb-config": '{"a":"2","b":"1"}',
        "vllm.arguments.served-model-name": "x y z",
    }


def test_flatten_set() -> None:
    workload = {
        "metadata": {"name": "x", "labels": {"a": "b"}},
        "spec": {
            "replicas": 1,
            "leaderWorkerTemplate": {"size": 2, "workerTemplate": {"metadata": {"labels": {"c": "d"}}}},
        },
    }
    assert flatten_set(workload) == {
        "set.labels.a": "b",
        "set.replicas": "1",
        "set.size": "2",
        "metadata.labels.c": "d",
    }
    assert flatten_set({}) == {}
