# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_compare import (
    Rule,
    Rules,
    differences,
    item_key,
    merged_items,
    merged_map,
    same,
)

FULL = "https://www.googleapis.com/compute/v1/projects/p/global/networks/net"

SAME: list[tuple[t.Any, t.Any, str]] = [
    ("8", 8, "plain"),
    (8, "8", "plain"),
    (False, None, "plain"),
    (True, True, "plain"),
    ("", None, "plain"),
    ([], None, "plain"),
    (0, None, "plain"),
    ({}, None, "plain"),
    ({}, {"localSsdCount": 32}, "plain"),
    ({"a": {"b": 1}}, {"a": {"b": "1", "filled": True}, "other": 1}, "plain"),
    ({"enabled": False}, None, "plain"),
    ("net", FULL, "link"),
    ("projects/other/global/networks/net", FULL, "link"),
    (["b", "a"], ["a", "b"], "unordered"),
    ([{"cidrBlock": "10.0.0.0/8"}], [{"cidrBlock": "10.0.0.0/8", "displayName": "office"}], "cidrs"),
    ([{"network": "n", "subnetwork": "s"}], [{"network": "global/networks/n", "subnetwork": "x/s"}], "networks"),
    ({"values": ["r"]}, {"values": ["projects/p/reservations/r"]}, "reservation"),
    ("604800s", "604800.0s", "seconds"),
    ({"a": "1"}, {"a": "1", "goog-gke": "x"}, "owned"),
    ({}, None, "owned"),
    ([{"key": "k", "effect": "E"}], [{"key": "other", "effect": "E"}, {"key": "k", "effect": "E"}], "items"),
]
DIFFERENT: list[tuple[t.Any, t.Any, str]] = [
    (8, "9", "plain"),
    (True, None, "plain"),
    (None, "x", "plain"),
    ({"a": 1}, {"b": 1}, "plain"),
    (["a", "b"], ["b", "a"], "plain"),
    (["a"], ["a", "b"], "plain"),
    ("net", "other-net", "link"),
    (["a"], ["a", "b"], "unordered"),
    (
        [{"network": "a", "subnetwork": "1"}, {"network": "a", "subnetwork": "2"}],
        [{"network": "a", "subnetwork": "2"}, {"network": "a", "subnetwork": "1"}],
        "networks",
    ),
    ({"values": ["r/reservationBlocks/b"]}, {"values": ["projects/p/reservations/r"]}, "reservation"),
    ("3600s", "7200s", "seconds"),
    ({"a": "1"}, {"a": "2"}, "owned"),
    ({"a": "1"}, None, "owned"),
    ([{"key": "k", "effect": "E", "value": "1"}], [{"key": "k", "effect": "E", "value": "2"}], "items"),
    ([{"cidrBlock": "10.0.0.0/8"}], [], "cidrs"),
]


@pytest.mark.parametrize(("want", "have", "normal"), SAME)
def test_same(want: t.Any, have: t.Any, normal: str) -> None:
    assert same(want, have, normal)


@pytest.mark.parametrize(("want", "have", "normal"), DIFFERENT)
def test_different(want: t.Any, have: t.Any, normal: str) -> None:
    assert not same(want, have, normal)


RULES: Rules = {
    "a": Rule("update"),
    "a.inner.list": Rule("update", "unordered"),
    "b.c": Rule("disruptive"),
    "b.c.driver": Rule("alarm"),
    "labels": Rule("update", "owned"),
}

# Wanted, live -> path and change of each difference.
DEPTHS: list[tuple[dict[str, t.Any], dict[str, t.Any], list[tuple[str, str]]]] = [
    ({"x": 1}, {"x": 1, "y": 2}, []),
    ({"x": 1}, {}, [("x", "replace")]),
    ({"x": {"y": 1, "z": 2}}, {"x": {"y": 1}}, [("x.z", "replace")]),
    (
        {"a": {"inner": {"list": [2, 1], "flag": True}}},
        {"a": {"inner": {"list": [1, 2]}}},
        [("a.inner.flag", "update")],
    ),
    ({"b": {"c": {"driver": "X", "count": 8}}}, {"b": {"c": {"driver": "Y", "count": "8"}}}, [("b.c.driver", "alarm")]),
    ({"b": {"c": {"driver": "X", "count": 8}}}, {"b": {}}, [("b.c.driver", "alarm"), ("b.c.count", "disruptive")]),
    ({"labels": {"k": "v"}}, {"labels": {"other": "v"}}, [("labels", "update")]),
    ({"x": {}}, {"x": {"y": 1}}, []),
]


@pytest.mark.parametrize(("want", "have", "expected"), DEPTHS)
def test_differences(want: dict[str, t.Any], have: dict[str, t.Any], expected: list[tuple[str, str]]) -> None:
    assert [(found.path, found.change) for found in differences(want, have, RULES)] == expected


def test_difference_says_both_values() -> None:
    found = differences({"x": {"y": [1]}}, {"x": {"y": None}}, {})
    assert [difference.text() for difference in found] == ["x.y: (not set) -> [1]"]


SCALAR = st.one_of(st.booleans(), st.integers(-5, 5), st.sampled_from(["", "a", "0", "7"]))
BODY = st.recursive(
    st.dictionaries(st.sampled_from("abc"), SCALAR, max_size=3),
    lambda inner: st.dictionaries(
        st.sampled_from("abc"), st.one_of(SCALAR, inner, st.lists(SCALAR, max_size=3)), max_size=3
    ),
    max_leaves=8,
)


@given(BODY, BODY)
def test_what_was_sent_is_no_difference(body: dict[str, t.Any], extra: dict[str, t.Any]) -> None:
    """Neither in the same form, nor as JSON of protocol buffers has it, nor with more keys around it."""
    assert differences(body, body, {}) == []
    assert differences(body, as_proto(body), {}) == []
    assert differences(body, {**extra, **body}, {}) == []


def as_proto(value: t.Any) -> t.Any:
    """Integers as text, and what is at its default left out."""
    if isinstance(value, dict):
        inner = {key: as_proto(item) for key, item in value.items()}
        return {key: item for key, item in inner.items() if item not in (None, False, "", "0")}
    if isinstance(value, list):
        return [as_proto(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


ITEM = st.fixed_dictionaries({"rangeName": st.sampled_from("abcd"), "ipCidrRange": st.sampled_from(["1", "2"])})
ITEMS = st.lists(ITEM, unique_by=lambda item: item["rangeName"], max_size=4)


@given(ITEMS, ITEMS)
def test_merged_lists_hold_both(want: list[dict[str, str]], have: list[dict[str, str]]) -> None:
    merged = merged_items(want, have)
    assert same(want, merged, "items")
    ours = {item_key(item) for item in want}
    assert [item for item in merged if item_key(item) not in ours] == [i for i in have if item_key(i) not in ours]


@given(
    st.dictionaries(st.text(max_size=2), st.text(max_size=2)), st.dictionaries(st.text(max_size=2), st.text(max_size=2))
)
def test_merged_maps_hold_both(want: dict[str, str], have: dict[str, str]) -> None:
    merged = merged_map(want, have)
    assert same(want, merged, "owned")
    assert set(merged) == set(want) | set(have)
