# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.action import object_info
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Resource

SECRET = {
    "kind": "Secret",
    "metadata": {
        "name": "token",
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": '{"data":{"HF_TOKEN":"Y2FuYXJ5"}}',
            "meta.helm.sh/release-name": "wide-ep-lws",
        },
    },
    "data": {"HF_TOKEN": "Y2FuYXJ5"},
}
POD = {"kind": "Pod", "metadata": {"name": "one"}}


class Cluster:
    """Serves Secrets and Pods."""

    asked: t.ClassVar[list[t.Any]] = []

    def discover(self, api_version: str, kind: str) -> Resource | None:
        plurals = {"Secret": "secrets", "Pod": "pods"}
        return Resource(api_version, kind, plurals[kind], True) if kind in plurals else None

    def get_or_none(self, path: str) -> dict[str, t.Any] | None:
        return {"/api/v1/namespaces/ns/secrets/token": SECRET, "/api/v1/namespaces/ns/pods/one": POD}.get(path)

    def list(self, path: str, params: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        self.asked.append((path, params))
        return [POD]


@pytest.mark.parametrize(
    ("query", "served", "names"),
    [
        ({"kind": "Pod", "namespace": "ns", "name": "one"}, True, ["one"]),
        ({"kind": "Pod", "namespace": "ns", "name": "two"}, True, []),
        ({"kind": "Pod", "label_selector": "a=b"}, True, ["one"]),
        ({"kind": "LeaderWorkerSet", "name": "x"}, False, []),
    ],
)
def test_answer(query: dict[str, str], served: bool, names: list[str]) -> None:
    found = object_info.answer(t.cast("t.Any", Cluster()), {"api_version": "v1", **query})
    assert found["served"] is served
    assert [item["metadata"]["name"] for item in found["resources"]] == names


def test_list_passes_the_selector() -> None:
    cluster = Cluster()
    object_info.answer(t.cast("t.Any", cluster), {"api_version": "v1", "kind": "Pod", "label_selector": "a=b"})
    assert cluster.asked[-1] == ("/api/v1/pods", {"labelSelector": "a=b"})


def test_values_of_a_secret_never_come_back() -> None:
    query = {"api_version": "v1", "kind": "Secret", "namespace": "ns", "name": "token"}
    (found,) = object_info.answer(t.cast("t.Any", Cluster()), query)["resources"]
    assert found["data"] == {"HF_TOKEN": "<hidden>"}
    assert found["metadata"]["annotations"] == {"meta.helm.sh/release-name": "wide-ep-lws"}
    assert "Y2FuYXJ5" not in str(found)


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ({"api_version": "v1", "kind": "Pod", "namespace": "ns"}, ""),
        ({"kind": "Pod"}, "api_version must be given"),
        ({}, "api_version and kind must be given"),
        (
            {"api_version": "v1", "kind": "Pod", "labels": "a=b"},
            "unknown: labels; known: api_version, kind, label_selector, name, namespace",
        ),
        ("Pod", "a dictionary is wanted, not 'Pod'"),
    ],
)
def test_a_query_is_judged_before_it_is_asked(query: t.Any, wrong: str) -> None:
    assert object_info.what_is_wrong(query) == wrong
