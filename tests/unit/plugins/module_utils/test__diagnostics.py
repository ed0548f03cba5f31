# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils import _diagnostics

CANARY = "canary-4be0a7c1d2"


def secret(kind: str = "Opaque", **values: str) -> dict[str, t.Any]:
    data = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
    return {"kind": "Secret", "type": kind, "metadata": {"name": "s"}, "data": data}


def test_values_are_found_plain_and_encoded_and_short_words_stay() -> None:
    values = _diagnostics.secret_values([secret(HF_TOKEN=CANARY, flag="true", namespace="llm-d-wide-ep")])
    assert values == tuple(
        sorted({CANARY, base64.b64encode(CANARY.encode()).decode(), "dHJ1ZQ=="}, key=len, reverse=True)
    )


def test_helm_records_are_no_secrets_to_search_for() -> None:
    assert _diagnostics.secret_values([secret("helm.sh/release.v1", release="H4sIAAAA" * 4)]) == ()


@given(st.text(min_size=6), st.text(), st.text())
def test_a_known_value_is_never_left(value: str, before: str, after: str) -> None:
    hidden = _diagnostics.clean(before + value + after, [value])
    assert value not in hidden.replace(_diagnostics.HIDDEN, "") or value in _diagnostics.HIDDEN


@pytest.mark.parametrize(
    ("line", "cleaned"),
    [
        ("HF_TOKEN=abcdefgh end", "HF_TOKEN=<hidden> end"),
        ("password: hunter2hunter2", "password: <hidden>"),
        ("api-key=sk-1234567890", "api-key=<hidden>"),
        ("Authorization: Bearer abc.def.ghi", "Authorization: Bearer <hidden>"),
        ("token hf_abcdefghijklmn", "token <hidden>"),
        ("max_tokens=256000", "max_tokens=256000"),
        ("max_num_batched_tokens: 819200", "max_num_batched_tokens: 819200"),
        ("secretName: llm-d-hf-token", "secretName: llm-d-hf-token"),
        ("tokens 4000 in", "tokens 4000 in"),
    ],
)
def test_clean(line: str, cleaned: str) -> None:
    assert _diagnostics.clean(line) == cleaned


def test_objects_lose_what_is_secret_and_keep_references() -> None:
    last_applied = "kubectl.kubernetes.io/last-applied-configuration"
    pod = {
        "kind": "Pod",
        "metadata": {"name": "p", "managedFields": [{}], "annotations": {last_applied: CANARY, "a": "b"}},
        "spec": {
            "containers": [
                {
                    "env": [
                        {"name": "VLLM_API_KEY", "value": CANARY},
                        {"name": "MAX_TOKENS", "value": "256"},
                        {
                            "name": "HF_TOKEN",
                            "valueFrom": {"secretKeyRef": {"name": "llm-d-hf-token", "key": "HF_TOKEN"}},
                        },
                    ]
                }
            ],
            "volumes": [{"secret": {"secretName": "certificates"}}],
        },
    }
    text = json.dumps(_diagnostics.clean_object(pod))
    assert CANARY not in text
    assert "managedFields" not in text
    for kept in ("llm-d-hf-token", "certificates", '"256"', '"a": "b"', "VLLM_API_KEY"):
        assert kept in text
    shown = _diagnostics.clean_object(secret(HF_TOKEN=CANARY))
    assert shown["data"] == {"HF_TOKEN": "<hidden>"}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("Unable to create ah", "roce-address"),
        ("ibv_modify_qp failed: status 110", "rdma-path"),
        ("init failed for transport: IBGDA", "ibgda"),
        ("DeepEP timeout for combine, rank 3, src_rank 9", "deepep-low-latency"),
        ("DeepEP dispatch RDMA sender timeout", "deepep-high-throughput"),
        ("CUDA error: cudaErrorIllegalAddress", "driver-r580"),
        ("No available shared memory broadcast block found in 60 seconds.", "shared-memory"),
        ("NIXL_ERR_BACKEND", "kv-transfer"),
        ("torch.OutOfMemoryError: CUDA out of memory", "gpu-memory"),
        ("unknown flag: --connector", "sidecar-flag"),
        ("INFO everything is fine", None),
    ],
)
def test_known_lines_have_a_meaning(line: str, name: str | None) -> None:
    hits = _diagnostics.classify({"logs/ns/pod/vllm.log": f"before\n{line}\n{line}"})
    assert [hit.name for hit in hits] == ([name] if name else [])
    if hits:
        assert (hits[0].count, hits[0].source, hits[0].line) == (2, "logs/ns/pod/vllm.log", line)
        assert hits[0].meaning


def test_transport_lines_keep_the_last_of_each_log() -> None:
    logs = {"one": "NCCL INFO a\nnothing\nNVSHMEM b", "two": "nothing"}
    assert _diagnostics.transport_lines(logs, limit=1) == "== one: 2 lines\nNVSHMEM b\n"


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"state": {"running": {}}}, [("vllm", False)]),
        ({"state": {"terminated": {}}}, [("vllm", False)]),
        ({"state": {"waiting": {}}, "restartCount": 3}, [("vllm", True)]),
        ({"state": {"waiting": {}}}, []),
    ],
)
def test_logs_of_crashed_containers_are_asked_for(entry: dict[str, t.Any], found: list[tuple[str, bool]]) -> None:
    assert _diagnostics.containers({"status": {"containerStatuses": [{"name": "vllm", **entry}]}}) == found
