# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of a fabric, and how much of it holds after nodes, inputs or the prober have changed."""

from __future__ import annotations

import copy
import dataclasses
import json
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _mesh_kept as kept
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._mesh_job import Settings

Json = dict[str, t.Any]
SETTINGS = Settings("n", "r", "x", "y", "image", 2, "rdma", ("mlx5_*",))
NIC = {"name": "mlx5_0", "guid": "0002:c903", "driver": "mlx5_core", "fw": "28.39"}
TEXT = json.dumps({"started": 5, "hosts": [{"name": name, "nics": [NIC]} for name in "ab"]})
PATH = "/api/v1/namespaces/n/configmaps/r-rdma-mesh"


def node(name: str, uid: str = "", boot: str = "boot1", ready: str = "True", **labels: str) -> Json:
    return {
        "metadata": {"name": name, "uid": uid or f"uid-{name}", "labels": labels},
        "spec": {},
        "status": {
            "nodeInfo": {"bootID": boot, "kernelVersion": "6.1"},
            "conditions": [{"type": "Ready", "status": ready}],
            "allocatable": {},
        },
    }


NODES = [node("a"), node("b"), node("c"), node("d")]


class Maps:
    """The one ConfigMap."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.warnings: list[str] = []

    def get_or_none(self, path: str) -> Json | None:
        return copy.deepcopy(self.objects.get(path))

    def apply(self, path: str, body: Json, *, force: bool = False) -> Json:
        assert force
        self.objects[path] = body
        return body

    def delete(self, path: str) -> None:
        if path not in self.objects:
            raise ApiError(404, "NotFound", "no", path)
        del self.objects[path]


@pytest.fixture
def maps() -> Maps:
    return Maps()


def keep(maps: Maps, text: str = TEXT, verdict: str = "FULL_MESH", nodes: t.Sequence[Json] = ()) -> bool:
    """Keep a verdict, of two nodes where none are given."""
    return kept.keep(t.cast(Client, maps), SETTINGS, text, "v1", nodes=nodes or NODES[:2], verdict={"verdict": verdict})


def read(maps: Maps, version: str = "v1", **changes: t.Any) -> kept.Kept | None:
    return kept.read(t.cast(Client, maps), dataclasses.replace(SETTINGS, **changes), version)


def test_what_is_kept_can_be_read_by_hand(maps: Maps) -> None:
    assert keep(maps)
    found = maps.objects[PATH]
    assert json.loads(found["data"]["nics"]) == {name: ["mlx5_0 0002:c903 mlx5_core 28.39"] for name in "ab"}
    assert json.loads(found["data"]["verdict"]) == {"verdict": "FULL_MESH"}
    assert json.loads(json.loads(found["data"]["nodes"])["a"]) == ["uid-a", "boot1", "6.1", {}]
    assert found["metadata"]["labels"]["wide-ep.llm-d.ai/deployment"] == "r"


def test_a_change_is_reported_where_there_is_one(maps: Maps) -> None:
    assert keep(maps)
    assert not keep(maps, TEXT.replace('"started": 5', '"started": 6')), "the same verdict, later"
    assert keep(maps, verdict="RAIL_ONLY")
    assert keep(maps, TEXT.replace("28.39", "28.40"), "RAIL_ONLY")
    assert keep(maps, TEXT.replace("28.39", "28.40"), "RAIL_ONLY", [node("a", boot="boot2"), node("b")])


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, True),
        ({"hosts": 9, "release": "r", "run_id": "other", "key": "other", "image": "other"}, True),
        ({"transport": "udp"}, False),
        ({"nics": ("ibp*",)}, False),
        ({"plan": {"mode": "sampled", "rounds": 3}}, False),
        ({"options": {"sl": 3}}, False),
        ({"version": "v2"}, False),
    ],
)
def test_other_inputs_ask_another_question(maps: Maps, changes: Json, found: bool) -> None:
    keep(maps)
    assert (read(maps, **changes) is not None) is found


def test_a_result_that_is_too_large_is_told(maps: Maps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT_BYTES", 10)
    assert not keep(maps)
    assert maps.objects == {}
    assert "more than can be kept" in maps.warnings[0]


@pytest.mark.parametrize(
    "data", [None, {}, {"inputs": "x"}, {"nodes": "[]"}, {"nodes": "x"}, {"result": "%"}, {"result": "aaaa"}]
)
def test_a_kept_result_that_cannot_be_read_is_none(maps: Maps, data: Json | None) -> None:
    keep(maps)
    changed = {**maps.objects[PATH]["data"], **data} if data else {}
    maps.objects[PATH]["data"] = changed if data is not None else None
    assert (read(maps) is None) is (data != {} or not changed)


def test_forgetting_twice(maps: Maps) -> None:
    keep(maps)
    assert kept.forget(t.cast(Client, maps), "n", "r")
    assert not kept.forget(t.cast(Client, maps), "n", "r")


# --- how much of it holds ---

KNOWN = kept.Kept(TEXT, kept.node_states(NODES[:3]))


@pytest.mark.parametrize(
    ("nodes", "changes", "expected"),
    [
        (NODES, {"hosts": 3}, ("abc", "")),
        (NODES, {"hosts": 2}, ("abc", "")),
        (NODES, {"hosts": 4}, ("abcd", "d")),
        (NODES, {"hosts": 5}, ("", "")),
        (NODES, {"nodes": ("a", "b")}, ("ab", "")),
        (NODES, {"nodes": ("a", "b", "d")}, ("abd", "d")),
        (NODES, {"nodes": ("d", "e")}, ("", "")),
        ([*NODES[:2], node("c", boot="boot2"), node("d")], {"hosts": 3}, ("abc", "c")),
        ([*NODES[:2], node("c", uid="another")], {"hosts": 3}, ("abc", "c")),
        ([*NODES[:2], node("c", boot="boot2", ready="False"), node("d")], {"hosts": 3}, ("abd", "d")),
        ([*NODES[:2], node("d")], {"hosts": 3}, ("abd", "d")),
        ([*NODES[:2], node("c", **{"nvidia.com/cuda.driver-version.full": "580"})], {"hosts": 3}, ("abc", "c")),
        ([*NODES[:2], node("c", color="red")], {"hosts": 3}, ("abc", "")),
        ([node(name, boot="boot2") for name in "abc"], {"hosts": 3}, ("", "")),
        (NODES, {"hosts": 4, "plan": {"mode": "sampled", "rounds": 4}}, ("", "")),
    ],
)
def test_which_nodes_have_to_be_probed(nodes: list[Json], changes: Json, expected: tuple[str, str]) -> None:
    found = kept.choose(KNOWN, dataclasses.replace(SETTINGS, **changes), nodes)
    assert ("".join(found.nodes), "".join(found.new)) == expected
    assert (found.whole, found.part) == (bool(expected[0]) and not expected[1], bool(expected[1]))


def test_without_a_kept_result_all_is_probed() -> None:
    assert kept.choose(None, SETTINGS, NODES) == kept.Choice()
