# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_manifests import REVISION_ANNOTATION, revision
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_restart import (
    Change,
    change_of,
    changes,
    owned,
)

BUDGET = 2700
QUEUE = {"kueue.x-k8s.io/queue-name": "wide-ep-lws"}


def workload(role: str = "decode", **changes: Any) -> dict[str, Any]:
    """A set as we render it: ``labels``, ``replicas``, ``size``, and variables of the container in ``env``."""
    container = {
        "name": "vllm",
        "image": changes.get("image", "vllm:1"),
        "env": [{"name": name, "value": value} for name, value in changes.get("env", {"MAX_TOKENS": "256"}).items()],
        "ports": [{"name": "modelserver", "containerPort": 8200}],
        "resources": {"limits": {"nvidia.com/gpu": "8"}},
    }
    pod: dict[str, Any] = {"metadata": {"labels": {"llm-d.ai/role": role}}, "spec": {"containers": [container]}}
    pod["metadata"]["annotations"] = {REVISION_ANNOTATION: revision(pod)}
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {
            "name": f"wide-ep-{role}",
            "namespace": "ns",
            "labels": {"llm-d.ai/role": role, **changes.get("labels", {})},
        },
        "spec": {
            "replicas": changes.get("replicas", 1),
            "leaderWorkerTemplate": {"size": changes.get("size", 2), "workerTemplate": pod},
        },
    }


CONTAINER_FIELDS: dict[str, Any] = {
    ".": {},
    "f:name": {},
    "f:image": {},
    "f:env": {
        'k:{"name":"MAX_TOKENS"}': {".": {}, "f:name": {}, "f:value": {}},
        'k:{"name":"OLD"}': {".": {}, "f:name": {}, "f:value": {}},
    },
    "f:ports": {'k:{"containerPort":8200,"protocol":"TCP"}': {".": {}, "f:containerPort": {}, "f:name": {}}},
    "f:resources": {"f:limits": {"f:nvidia.com/gpu": {}}},
}
POD_FIELDS: dict[str, Any] = {
    "f:metadata": {"f:annotations": {f"f:{REVISION_ANNOTATION}": {}}, "f:labels": {"f:llm-d.ai/role": {}}},
    "f:spec": {"f:containers": {'k:{"name":"vllm"}': CONTAINER_FIELDS}},
}
FIELDS: dict[str, Any] = {
    "f:metadata": {"f:labels": {"f:llm-d.ai/role": {}}},
    "f:spec": {"f:replicas": {}, "f:leaderWorkerTemplate": {"f:size": {}, "f:workerTemplate": POD_FIELDS}},
}


def live(role: str = "decode", **changes: Any) -> dict[str, Any]:
    """The same as the API server gives it back: with defaults, what webhooks added, and whose fields are whose."""
    found = copy.deepcopy(workload(role, **changes))
    pod = found["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    pod["metadata"]["annotations"]["kueue.x-k8s.io/added"] = "by a webhook"
    pod["spec"]["containers"][0]["ports"][0]["protocol"] = "TCP"
    pod["spec"]["containers"][0]["env"].append({"name": "INJECTED", "value": "x"})
    found["spec"]["startupPolicy"] = "LeaderCreated"
    fields = copy.deepcopy(FIELDS)
    fields["f:metadata"]["f:labels"].update({f"f:{label}": {} for label in changes.get("labels", {})})
    found["metadata"]["labels"].update(changes.get("foreign_labels", {}))
    found["metadata"] |= {"uid": "1", "managedFields": [{"manager": "llmd.wide_ep", "fieldsV1": fields}]}
    found["status"] = {"readyReplicas": 1}
    return found


def edited(item: dict[str, Any]) -> dict[str, Any]:
    """Changed by hand, with the revision of what we applied."""
    item["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"][0]["image"] = "vllm:hand"
    return item


def going(item: dict[str, Any]) -> dict[str, Any]:
    item["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return item


MORE = {"MAX_TOKENS": "512"}
# What is wanted, what runs, the action, and whether it is a restart.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any] | None, str, bool]] = {
    "nothing runs": (workload(), None, "create", False),
    "the same runs": (workload(), live(), "keep", False),
    "more groups": (workload(replicas=2), live(), "update", False),
    "another label of the set": (workload(labels={"a": "b"}), live(), "update", False),
    "another variable": (workload(env=MORE), live(), "restart", True),
    "a variable less": (workload(), live(env={"MAX_TOKENS": "256", "OLD": "1"}), "restart", True),
    "another image": (workload(image="vllm:2"), live(), "restart", True),
    "another size": (workload(size=4), live(), "restart", True),
    "edited by hand": (workload(), edited(live()), "restart", True),
    "the same runs in a queue": (workload(labels=QUEUE), live(labels=QUEUE), "keep", False),
    "more groups in a queue": (workload(labels=QUEUE, replicas=2), live(labels=QUEUE), "update", False),
    "another variable in a queue": (workload(labels=QUEUE, env=MORE), live(labels=QUEUE), "recreate", True),
    "into a queue": (workload(labels=QUEUE), live(), "recreate", True),
    "out of a queue": (workload(), live(labels=QUEUE), "recreate", True),
    "in a queue by default": (workload(), live(foreign_labels=QUEUE), "keep", False),
    "another variable in a queue by default": (workload(env=MORE), live(foreign_labels=QUEUE), "recreate", True),
    "it goes already": (workload(env=MORE), going(live()), "recreate", False),
}


@pytest.mark.parametrize(("wanted", "running", "action", "restarts"), CASES.values(), ids=CASES.keys())
def test_change_of(wanted: dict[str, Any], running: dict[str, Any] | None, action: str, restarts: bool) -> None:
    change = change_of(wanted, running, BUDGET)
    assert (change.action, change.finding is not None) == (action, restarts)
    assert bool(change.lines) == (action != "keep")


def test_only_the_tier_that_changed_is_named() -> None:
    wanted = [{"kind": "ServiceAccount", "metadata": {"name": "x"}}, workload("prefill"), workload(env=MORE)]
    found = changes(wanted, [live(), live("prefill")], BUDGET)
    assert [(change.role, change.action) for change in found] == [("prefill", "keep"), ("decode", "restart")]


def test_the_diff_has_the_changed_fields_and_no_other() -> None:
    wanted, running = workload(env={**MORE, "NEW": "2"}, replicas=3), live(env={"MAX_TOKENS": "256", "OLD": "1"})
    revisions = [
        item["spec"]["leaderWorkerTemplate"]["workerTemplate"]["metadata"]["annotations"][REVISION_ANNOTATION]
        for item in (running, wanted)
    ]
    path = f"metadata.annotations[{REVISION_ANNOTATION}]"
    assert change_of(wanted, running, BUDGET).diff.splitlines() == [
        "--- LeaderWorkerSet wide-ep-decode, as it runs",
        "+++ LeaderWorkerSet wide-ep-decode, wanted",
        "-set.replicas: 1",
        "+set.replicas: 3",
        f"-{path}: {revisions[0]}",
        f"+{path}: {revisions[1]}",
        "-vllm.env.MAX_TOKENS: 256",
        "+vllm.env.MAX_TOKENS: 512",
        "+vllm.env.NEW: 2",
        "-vllm.env.OLD: 1",
    ]


def test_a_creation_shows_all_fields_and_what_stays_shows_none() -> None:
    assert "+vllm.image: vllm:1" in change_of(workload(), None, BUDGET).lines
    assert change_of(workload(), live(), BUDGET).diff == ""


def text(change: Change) -> str:
    assert change.finding is not None
    return f"{change.finding.subject}\n{change.finding.evidence}"


OUTAGES: dict[str, tuple[Change, list[str]]] = {
    "decode": (
        change_of(workload(env=MORE), live(), BUDGET),
        ["decode: 1 group of 2 pods, 16 GPUs, restart", "at most 2700 s, every request fails", "MAX_TOKENS: 512"],
    ),
    "prefill": (
        change_of(workload("prefill", env=MORE), live("prefill"), BUDGET),
        ["prefill: 1 group of 2 pods, 16 GPUs", "every request fails, or is answered decode-only"],
    ),
    "groups one by one": (
        change_of(workload(env=MORE, replicas=3), live(replicas=3), BUDGET),
        ["3 groups of 2 pods, 48 GPUs", "one after the other", "8100 s in all", "2 of 3 groups serve"],
    ),
    "all groups of a queue": (
        change_of(workload(labels=QUEUE, env=MORE, replicas=3), live(labels=QUEUE, replicas=3), BUDGET),
        ["Kueue's queue has it deleted and created again", "at most 2700 s, every request fails"],
    ),
    "many lines": (
        change_of(workload(env={f"A{n}": "1" for n in range(20)}), live(), BUDGET),
        ["lines more, with --diff"],
    ),
}


@pytest.mark.parametrize(("change", "words"), OUTAGES.values(), ids=OUTAGES.keys())
def test_the_finding_says_what_users_notice(change: Change, words: list[str]) -> None:
    assert [word for word in words if word not in text(change)] == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (None, {"a": 1, "b": [{"name": "x", "v": 1}, {"name": "y", "v": 2}]}),
        ({"f:a": {}}, {"a": 1}),
        ({"f:b": {'k:{"name":"y"}': {"f:v": {}}}}, {"b": [{"name": "y", "v": 2}]}),
        ({"f:b": {'k:{"name":"y"}': {".": {}}}}, {"b": [{"name": "y", "v": 2}]}),
        ({"f:b": {}}, {"b": [{"name": "x", "v": 1}, {"name": "y", "v": 2}]}),
        ({"f:gone": {}}, {}),
    ],
)
def test_owned(fields: dict[str, Any] | None, expected: dict[str, Any]) -> None:
    assert owned({"a": 1, "b": [{"name": "x", "v": 1}, {"name": "y", "v": 2}]}, fields) == expected
