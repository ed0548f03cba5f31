# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils._predicates import (
    KINDS,
    LWS_REVISION,
    Related,
    judge,
    live_pods,
    pod_ready,
    selects,
)

DATA = pathlib.Path(__file__).resolve().parents[3] / "data" / "kubernetes" / "predicates"

PODS: dict[str, dict[str, t.Any]] = {
    "ready": {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}},
    "running": {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}},
    "failed": {"status": {"phase": "Failed", "reason": "Evicted"}},
    "terminating": {
        "metadata": {"deletionTimestamp": "2026-11-25T09:00:00Z"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    },
}


def pod(form: str | dict[str, t.Any], index: int) -> dict[str, t.Any]:
    """A pod from its short form: a word, or a mapping with the template revision."""
    word = form if isinstance(form, str) else "ready" if form["ready"] else "running"
    revision = "new" if isinstance(form, str) else form["revision"]
    base = PODS[word]
    metadata = {"name": f"p-{index}", "uid": f"pod-{index}", "labels": {LWS_REVISION: revision}}
    return {"apiVersion": "v1", "kind": "Pod", **base, "metadata": {**metadata, **base.get("metadata", {})}}


def related(case: dict[str, t.Any]) -> Related:
    pods = tuple(pod(form, index) for index, form in enumerate(case.get("pods", [])))
    routes = tuple(case["routes"]) if "routes" in case else None
    return Related(pods=pods, slices=tuple(case.get("slices", [])), routes=routes)


CASES = [
    pytest.param(case, id=f"{file.stem}: {case['name']}")
    for file in sorted(DATA.glob("*.yaml"))
    for case in yaml.safe_load(file.read_text())
]


@pytest.mark.parametrize("case", CASES)
def test_judge(case: dict[str, t.Any]) -> None:
    verdict = judge(case["object"], related(case))
    expect = case["expect"]
    assert verdict.state == expect["state"], verdict
    assert expect.get("detail", "") in verdict.detail
    assert verdict.reason == expect.get("reason", "")
    assert dict(verdict.counts) == expect.get("counts", dict(verdict.counts))


def test_every_kind_has_cases_of_both_answers() -> None:
    for group, kind in KINDS:
        states = {case.values[0]["expect"]["state"] for case in CASES if case.id.startswith(f"{kind}:")}
        assert "ready" in states, f"no ready case for {kind} of {group}"
        assert states - {"ready"}, f"no case for {kind} of {group} that is not ready"


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchLabels": {"a": "1", "b": "1"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}, True),
        ({}, True),
    ],
)
def test_selects(selector: dict[str, t.Any], expected: bool) -> None:
    assert selects(selector, {"metadata": {"labels": {"a": "1"}}}) is expected


COUNT = st.integers(min_value=0, max_value=3)


@st.composite
def leader_worker_sets(draw: st.DrawFn) -> tuple[dict[str, t.Any], Related]:
    number = draw(COUNT)
    obj = {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "x", "namespace": "n", "uid": "u", "generation": draw(COUNT)},
        "spec": {"replicas": draw(COUNT), "leaderWorkerTemplate": {"size": draw(st.integers(1, 3))}},
        "status": {
            "observedGeneration": draw(COUNT),
            "readyReplicas": draw(COUNT),
            "updatedReplicas": draw(COUNT),
            "conditions": draw(
                st.lists(
                    st.fixed_dictionaries(
                        {
                            "type": st.sampled_from(["Available", "Progressing"]),
                            "status": st.sampled_from(["True", "False", "Unknown"]),
                            "observedGeneration": COUNT,
                        }
                    ),
                    max_size=2,
                )
            ),
        },
    }
    words = draw(st.lists(st.sampled_from(sorted(PODS)), min_size=number, max_size=number * 3))
    return obj, Related(pods=tuple(pod(word, index) for index, word in enumerate(words)))


KIND_OBJECTS = st.sampled_from([case.values[0]["object"] for case in CASES])
POD_LISTS = st.lists(st.sampled_from(sorted(PODS)), max_size=4).map(
    lambda words: Related(pods=tuple(pod(word, index) for index, word in enumerate(words)))
)


@given(st.one_of(leader_worker_sets(), st.tuples(KIND_OBJECTS, POD_LISTS)))
def test_never_ready_while_a_pod_is_not(case: tuple[dict[str, t.Any], Related]) -> None:
    obj, mine = case
    verdict = judge(obj, mine)
    assert verdict.state in ("ready", "progressing", "failed")
    if verdict.state == "ready" and obj["kind"] not in ("Job", "CustomResourceDefinition"):
        assert all(pod_ready(entry) for entry in live_pods(mine.pods))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["True", "False", "Ready", "x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "status", "reason"]), inner),
    max_leaves=6,
)


@given(KIND_OBJECTS, st.dictionaries(st.sampled_from(["phase", "reason", "message"]), JSON))
def test_total_on_any_status_without_counts(obj: dict[str, t.Any], status: dict[str, t.Any]) -> None:
    verdict = judge({**obj, "status": status}, Related())
    assert verdict.state in ("ready", "progressing", "failed")
