# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import operate_data as data
import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils import _operate, _status


def pod(**status: t.Any) -> dict[str, t.Any]:
    return {"metadata": {"name": "p"}, "spec": {"nodeName": "n"}, "status": status}


@pytest.mark.parametrize(
    ("item", "word"),
    [
        (pod(conditions=[{"type": "Ready", "status": "True"}]), "Ready"),
        ({**pod(), "metadata": {"deletionTimestamp": "x"}}, "Terminating"),
        (
            pod(containerStatuses=[{"name": "a", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]),
            "CrashLoopBackOff",
        ),
        (pod(conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]), "Unschedulable"),
        (pod(phase="Running"), "Running, not ready"),
    ],
)
def test_phase(item: dict[str, t.Any], word: str) -> None:
    assert _status.phase(item) == word


@pytest.mark.parametrize(("seconds", "text"), [(5, "5s"), (119, "119s"), (120, "2m"), (7200, "2h"), (200000, "2d")])
def test_age(seconds: int, text: str) -> None:
    assert _status.age("1970-01-01T00:00:10Z", 10 + seconds) == text


def found(
    seen: _operate.Seen, helm: dict[str, t.Any] | None = None, proof: dict[str, t.Any] | None = None
) -> list[str]:
    known = _operate.all_groups(data.plan(), seen)
    return [f"{item.code} {item.subject}" for item in _status.findings(data.plan(), seen, known, helm or {}, proof)]


NOT_READY = (data.pod("prefill", 0, 0, "gpu-0"), data.pod("prefill", 0, 1, "gpu-1", ready=False))


@pytest.mark.parametrize(
    ("seen", "helm", "proof", "expected"),
    [
        (data.deployed(), {"status": "deployed", "revision": 1}, {"passed": True}, []),
        (data.deployed(), {}, None, []),
        (data.deployed(namespace=None, sets=(), deployments=(), pods=()), {}, None, ["DEPLOYMENT_ABSENT"]),
        (
            data.deployed(pods=NOT_READY),
            {},
            None,
            ["DEPLOYMENT_UNHEALTHY prefill group 0", "DEPLOYMENT_UNHEALTHY decode group 0"],
        ),
        (data.deployed(), {"status": "pending-upgrade", "revision": 2}, None, ["HELM_RELEASE_BROKEN"]),
        (data.deployed(), {}, {"passed": False, "written": "x"}, ["DEPLOYMENT_UNHEALTHY last proof"]),
    ],
)
def test_findings(seen: _operate.Seen, helm: t.Any, proof: t.Any, expected: list[str]) -> None:
    codes = found(seen, helm, proof)
    assert len(codes) == len(expected)
    assert all(code.startswith(wanted) for code, wanted in zip(codes, expected, strict=True))


def node(status: str) -> dict[str, t.Any]:
    condition = {"type": "Ready", "status": status, "reason": "KubeletStopped", "lastTransitionTime": "10:00"}
    return {"status": {"conditions": [{"type": "MemoryPressure", "status": "False"}, condition]}}


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (node("True"), ""),
        (node("Unknown"), "node n is not Ready (KubeletStopped since 10:00)"),
        ({}, "node n is not Ready (no condition since ?)"),
        (None, "node n does not exist"),
    ],
)
def test_node_trouble(item: dict[str, t.Any] | None, text: str) -> None:
    assert _status.node_trouble("n", item) == text


def test_a_group_on_a_dead_node_says_so_and_how_it_moves() -> None:
    seen = data.deployed(pods=NOT_READY)
    known = _operate.all_groups(data.plan(), seen)
    assert _status.nodes_to_ask(known) == ["gpu-1"]
    prefill, decode = _status.findings(data.plan(), seen, known, {}, None, nodes={"gpu-1": "node gpu-1 is not Ready"})
    assert "node gpu-1 is not Ready" in prefill.evidence
    assert "delete its Node object" in prefill.fix
    assert "delete its Node object" not in decode.fix


def test_rows() -> None:
    seen = data.deployed(2)
    known = _operate.all_groups(data.plan(), seen)
    assert _status.tier_rows(data.plan(), seen, known) == [
        ["prefill", "1 of 1", "2 of 2", 16, "r1"],
        ["decode", "2 of 2", "4 of 4", 32, "r1"],
    ]
    assert len(_status.pod_rows(known, 1e10)) == 6
    assert _status.version_rows(seen, data.RELEASE) == [
        ["decode", "vllm", "registry.example/vllm:v1"],
        ["prefill", "vllm", "registry.example/vllm:v1"],
    ]


def test_the_newest_revision_of_a_release_counts() -> None:
    records = [
        {"metadata": {"labels": {"name": data.RELEASE, "version": version, "status": state}}}
        for version, state in (("9", "superseded"), ("10", "pending-upgrade"))
    ]
    assert _status.helm_of(records, data.RELEASE) == {"status": "pending-upgrade", "revision": 10}
    assert _status.helm_of(records, "other") == {}
