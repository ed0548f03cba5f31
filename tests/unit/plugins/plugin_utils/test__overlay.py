# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._overlay import merge, merge_all

MERGES: dict[str, tuple[Any, Any, Any]] = {
    "mappings merge": ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
    "null removes": ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
    "null removes nothing": ({"b": 2}, {"a": None}, {"b": 2}),
    "null below a new key does not stay": ({}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
    "empty mapping is a value": ({}, {"emptyDir": {}}, {"emptyDir": {}}),
    "plain lists are replaced": ({"args": [1, 2]}, {"args": [3]}, {"args": [3]}),
    "keyed lists merge in the base's order": (
        {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        {"env": [{"name": "C", "value": "3"}, {"name": "A", "value": "4"}]},
        {"env": [{"name": "A", "value": "4"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}]},
    ),
    "a volume changes its kind": (
        {"volumes": [{"name": "hf-cache", "emptyDir": {}}]},
        {"volumes": [{"name": "hf-cache", "emptyDir": None, "hostPath": {"path": "/x"}}]},
        {"volumes": [{"name": "hf-cache", "hostPath": {"path": "/x"}}]},
    ),
    "mounts have their path as key": (
        {"volumeMounts": [{"name": "a", "mountPath": "/x"}]},
        {"volumeMounts": [{"name": "b", "mountPath": "/x"}]},
        {"volumeMounts": [{"name": "b", "mountPath": "/x"}]},
    ),
    "an item leaves its list": (
        {"ports": [{"name": "a", "containerPort": 1}, {"name": "b", "containerPort": 2}]},
        {"ports": [{"name": "a", "$patch": "delete"}, {"name": "c", "$patch": "delete"}]},
        {"ports": [{"name": "b", "containerPort": 2}]},
    ),
    "null inside of a new item does not stay": (
        {},
        {"volumes": [{"name": "hf-cache", "hostPath": None, "emptyDir": {}}]},
        {"volumes": [{"name": "hf-cache", "emptyDir": {}}]},
    ),
    "a toleration of everything has no key": (
        {"tolerations": [{"key": "a", "operator": "Exists"}]},
        {"tolerations": [{"operator": "Exists"}]},
        {"tolerations": [{"key": "a", "operator": "Exists"}, {"operator": "Exists"}]},
    ),
    "a scalar becomes a mapping": ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
}


@pytest.mark.parametrize(("base", "patch", "expected"), MERGES.values(), ids=MERGES.keys())
def test_merge(base: Any, patch: Any, expected: Any) -> None:
    assert merge(base, patch) == expected


def test_merge_all_lets_the_last_layer_win() -> None:
    assert merge_all([{"a": 1, "b": 1}, {"a": 2}, {"a": 3}]) == {"a": 3, "b": 1}


KEYS = st.sampled_from(["a", "b", "c", "env", "volumes"])
ITEMS = st.lists(
    st.builds(lambda name, value: {"name": name, "value": value}, st.sampled_from("xyz"), st.integers(0, 3)),
    max_size=3,
    unique_by=lambda item: item["name"],
)
SCALARS = st.integers(0, 3)
VALUES = SCALARS | st.dictionaries(KEYS, SCALARS | st.dictionaries(KEYS, SCALARS, max_size=2), max_size=2)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=3) | st.fixed_dictionaries({"env": ITEMS})


@given(base=OBJECTS, patch=OBJECTS)
def test_merging_twice_changes_nothing_and_the_inputs_stay(base: dict[str, Any], patch: dict[str, Any]) -> None:
    before = copy.deepcopy((base, patch))
    once = merge(base, patch)
    assert merge(once, patch) == once
    assert merge(base, {}) == base
    assert (base, patch) == before


@given(base=OBJECTS, patch=OBJECTS)
def test_the_result_shares_nothing_with_the_inputs(base: dict[str, Any], patch: dict[str, Any]) -> None:
    before = copy.deepcopy((base, patch))
    for value in merge(base, patch).values():
        if isinstance(value, (dict, list)):
            value.clear()
    assert (base, patch) == before
