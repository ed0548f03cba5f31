# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import json
import pathlib
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _helm_release

DATA = pathlib.Path(__file__).parents[3] / "data" / "helm_info" / "helm-3.22"


def recorded(name: str, **changes: t.Any) -> dict[str, t.Any]:
    status = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return {**status, **changes}


def wanted(**changes: t.Any) -> _helm_release.Wanted:
    fields = {
        "release": "wide-ep-lws",
        "namespace": "llm-d-wide-ep",
        "chart": "standalone",
        "version": "v1.5.0",
        "values": recorded("router_deployed")["values"],
        "own_charts": ("standalone", "inferencepool"),
    }
    return _helm_release.Wanted(**{**fields, **changes})


@pytest.mark.parametrize(
    ("status", "action"),
    [
        ({}, "install"),
        (None, "install"),
        (recorded("router_deployed"), "unchanged"),
        (recorded("router_pending_upgrade"), "recover"),
        (recorded("router_deployed", status="uninstalled"), "install"),
        (recorded("router_deployed", status="failed"), "recover"),
        (recorded("router_deployed", status="pending-install"), "recover"),
        (recorded("router_deployed", status="pending-rollback"), "recover"),
        (recorded("router_deployed", status="uninstalling"), "recover"),
        (recorded("router_deployed", chart="standalone-v1.4.0"), "upgrade"),
        (recorded("router_deployed", chart="standalone-1.5.0"), "unchanged"),
        (recorded("router_deployed", chart="inferencepool-v1.5.0"), "upgrade"),
        (recorded("router_deployed", chart="grafana-8.0.0"), "refuse"),
        (recorded("router_deployed", chart="grafana-8.0.0", status="failed"), "refuse"),
        (recorded("router_deployed", values={}), "upgrade"),
        (recorded("router_deployed", values=None), "upgrade"),
    ],
)
def test_action_follows_state(status: t.Any, action: str) -> None:
    assert _helm_release.decide(status, wanted()).action == action


def test_newer_name_of_the_values_wins() -> None:
    status = recorded("router_deployed")
    status["release_values"] = status.pop("values")
    assert _helm_release.decide(status, wanted()).action == "unchanged"


def test_refusal_says_what_is_there_and_what_to_do() -> None:
    text = _helm_release.decide(recorded("router_deployed", chart="grafana-8.0.0"), wanted()).as_dict()["text"]
    for words in ("HELM_RELEASE_FOREIGN", "grafana-8.0.0", "revision 3", "wide_ep_release"):
        assert words in text


def test_upgrade_names_the_changed_values() -> None:
    values = copy.deepcopy(recorded("router_deployed")["values"])
    values["inferenceExtension"]["flags"]["v"] = 4
    del values["inferencePool"]
    reason = _helm_release.decide(recorded("router_deployed"), wanted(values=values)).reason
    assert reason == "values differ: inferenceExtension.flags.v, inferencePool"


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ({}, {}, []),
        ({"a": 1}, {"a": 1}, []),
        ({"a": [1, 2]}, {"a": [2, 1]}, ["a"]),
        ({"a": {"b": 1}}, {"a": {"c": 1}}, ["a.b", "a.c"]),
        ({"a": {"b": 1}}, {"a": 1}, ["a"]),
        ({str(i): i for i in range(10)}, {}, [*(str(i) for i in range(8)), "and 2 more"]),
    ],
)
def test_changed_paths(before: t.Any, after: t.Any, paths: list[str]) -> None:
    assert _helm_release.changed_paths(before, after) == paths


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("lws-0.9.0", ("lws", "0.9.0")),
        ("standalone-v1.5.0", ("standalone", "v1.5.0")),
        ("llm-d-router-standalone-v0.10.0", ("llm-d-router-standalone", "v0.10.0")),
        ("k8s-2-chart-1.0.0-rc.1", ("k8s-2-chart", "1.0.0-rc.1")),
        ("odd", ("odd", "")),
    ],
)
def test_split_chart(text: str, parts: tuple[str, str]) -> None:
    assert _helm_release.split_chart(text) == parts


@pytest.mark.parametrize(
    ("helm", "collection", "fits"),
    [
        ("v3.22", "6.2.0", True),
        ("v3.22.0+gabcdef0", "6.2.0", True),
        ("v3.17.0", "6.2.0", True),
        ("v3.16.4", "6.2.0", False),
        ("v4.0.1", "6.2.0", False),
        ("v4.0.1", "6.3.0", False),
        ("v4.0.1", "6.4.0", False),
        ("v4.0.1", "6.5.0", True),
        ("v3.22.0", "6.6.0", True),
        ("v5.0.0", "6.6.0", False),
        ("", "6.6.0", False),
        ("v3.22.0", "", True),
    ],
)
def test_pair(helm: str, collection: str, fits: bool) -> None:
    problem = _helm_release.pair_problem(helm, collection)
    assert (problem is None) is fits
    if problem:
        assert "3.17" in problem.text()


def test_collection_version_is_read_where_there_is_one() -> None:
    assert _helm_release.collection_version("kubernetes.core").count(".") == 2
    assert _helm_release.collection_version("llmd.does_not_exist") == ""
