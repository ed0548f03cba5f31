# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares wanted with live objects of Google's APIs. Private to the collection; it may change at any time.

Only what is wanted is compared, so that what Google fills in is no difference. A rule says how a field is brought to
one form and what a difference asks for; a field without a rule asks for a replacement, because most are create-only.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t
from collections.abc import Callable, Iterator, Mapping

JsonObject = dict[str, t.Any]
#: What a difference asks for: a call that changes it, one that also rolls the nodes, a new object, or only a word.
Change = t.Literal["update", "disruptive", "replace", "alarm"]


@dataclasses.dataclass(frozen=True)
class Rule:
    change: Change = "replace"
    normal: str = "plain"


@dataclasses.dataclass(frozen=True)
class Difference:
    """``path`` is the field by which a rule knows it."""

    path: str
    change: Change
    have: t.Any
    want: t.Any

    def text(self) -> str:
        return f"{self.path}: {shown(self.have)} -> {shown(self.want)}"


Rules = Mapping[str, Rule]
DEFAULT = Rule()


def differences(want: JsonObject, have: JsonObject, rules: Rules) -> list[Difference]:
    """Where a live object is not as wanted."""
    return [
        Difference(path, rule.change, value_at(have, path), value)
        for path, value, rule in fields(want, rules)
        if not same(value, value_at(have, path), rule.normal)
    ]


def fields(
    want: JsonObject, rules: Rules, prefix: str = "", around: Rule = DEFAULT
) -> Iterator[tuple[str, t.Any, Rule]]:
    """The wanted fields, as deep as a rule is for them, or to the leaf; a rule holds for what is inside of it too."""
    for key, value in want.items():
        path = f"{prefix}{key}"
        rule = rules.get(path, around)
        inner = isinstance(value, dict) and bool(value)
        deeper = any(other.startswith(f"{path}.") for other in rules)
        if inner and (deeper or path not in rules):
            yield from fields(value, rules, f"{path}.", Rule(rule.change))
        else:
            yield path, value, rule


def value_at(body: t.Any, path: str) -> t.Any:
    for key in path.split("."):
        body = body.get(key) if isinstance(body, dict) else None
    return body


def same(want: t.Any, have: t.Any, normal: str) -> bool:
    if normal == "owned":
        return owns(want, have)
    if normal == "items":
        return covers(want, have)
    bring = NORMAL[normal]
    return within(bring(want), bring(have))


def within(want: t.Any, have: t.Any) -> bool:
    """Whether every wanted key is there; lists are compared whole, item by item. An empty map takes anything."""
    if want == {}:
        return True
    want, have = proto(want), proto(have)
    if isinstance(want, dict) and isinstance(have, dict):
        return all(within(value, have.get(key)) for key, value in want.items())
    if isinstance(want, dict) and have is None:
        return all(within(value, None) for value in want.values())
    if isinstance(want, list) and isinstance(have, list):
        return len(want) == len(have) and all(within(one, other) for one, other in zip(want, have, strict=True))
    return bool(want == have)


def proto(value: t.Any) -> t.Any:
    """One form for what JSON of protocol buffers may say in two: 64-bit integers are text, defaults are left out."""
    if isinstance(value, bool):
        return value or None
    if isinstance(value, int):
        return str(value) if value else None
    if value in ("", "0", [], {}) or value is None:
        return None
    return value


def owns(want: Mapping[str, str], have: Mapping[str, str] | None) -> bool:
    """Keys that others added are left alone."""
    return all((have or {}).get(key) == value for key, value in want.items())


def covers(want: list[JsonObject], have: list[JsonObject] | None) -> bool:
    """Each wanted item is there under its own key, whatever else is."""
    by_key = {item_key(item): item for item in have or []}
    return all(item_key(item) in by_key and within(item, by_key[item_key(item)]) for item in want)


def item_key(item: JsonObject) -> str:
    """By what Google tells items of a list apart: a range's or a NAT's name, a taint's key and effect."""
    name = item.get("rangeName") or item.get("name")
    return str(name) if name else f"{item.get('key', '')}:{item.get('effect', '')}"


def merged_items(want: list[JsonObject], have: list[JsonObject] | None) -> list[JsonObject]:
    """The whole list to send: what is there, with the wanted items in place of those of the same key."""
    result = {item_key(item): item for item in have or []}
    for item in want:
        result[item_key(item)] = {**result.get(item_key(item), {}), **item}
    return list(result.values())


def merged_map(want: Mapping[str, str], have: Mapping[str, str] | None) -> dict[str, str]:
    """The whole map to send, because an update replaces it."""
    return {**(have or {}), **want}


# Normal forms


def link(value: t.Any) -> t.Any:
    """A reference as its name: Google answers with a full URL where a name was sent."""
    return value.rstrip("/").rpartition("/")[2] if isinstance(value, str) else value


def unordered(value: t.Any) -> t.Any:
    if not isinstance(value, list):
        return value
    return sorted(value, key=lambda item: json.dumps(item, sort_keys=True))


def cidrs(value: t.Any) -> t.Any:
    """Ranges without their display names."""
    return sorted(block.get("cidrBlock", "") for block in value or [])


def networks(value: t.Any) -> t.Any:
    """The interfaces in their order, which decides which one a NIC gets."""
    return [{key: link(reference) for key, reference in pair.items()} for pair in value or []]


def reservation(value: t.Any) -> t.Any:
    """``R``, ``projects/P/reservations/R`` and with a block behind it; only the tail tells them apart."""
    if not isinstance(value, dict):
        return value
    names = [re.sub(r"^.*\breservations/", "", name) for name in value.get("values", [])]
    return {**value, "values": names} if names else value


def seconds(value: t.Any) -> t.Any:
    """``3600s`` and ``3600.0s``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)s", str(value))
    return float(match[1]) if match else value


NORMAL: dict[str, Callable[[t.Any], t.Any]] = {
    "plain": lambda value: value,
    "cidrs": cidrs,
    "link": link,
    "unordered": unordered,
    "networks": networks,
    "reservation": reservation,
    "seconds": seconds,
}


def shown(value: t.Any) -> str:
    """A value in one line of a message."""
    if value is None:
        return "(not set)"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
