# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings cloud objects to what is wanted, or away. Private to the collection; it may change at any time.

What to do with each object is decided for all of them before the first write, so that a refusal comes with nothing
changed. Objects of one level do not depend on each other: their operations run side by side.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import time
import typing as t
from collections.abc import Callable, Iterable, Sequence

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_compare import (
    Difference,
    Rules,
    differences,
    shown,
    value_at,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_errors import ApiError, JsonObject, OperationOpen
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_rest import Call, Client, Operation, Target

#: Key of the labels that say whose a cluster or a node pool is.
OWNER_LABEL = "llmd-wide-ep-owner"
LABEL_VALUE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
#: How often an update is built anew because the object changed in between.
FRESH_TRIES = 3

#: From the object as it is now, the write that makes the difference go away.
Build = Callable[[JsonObject], Call]


@dataclasses.dataclass(frozen=True)
class Change:
    """A write for some of the differences."""

    paths: tuple[str, ...]
    build: Build


@dataclasses.dataclass(frozen=True)
class Item:
    """An object that is wanted.

    ``body`` is what a creation sends, ``compare`` what is compared. ``owner_at`` is where the mark of ownership is.
    """

    target: Target
    create: Call
    compare: JsonObject
    rules: Rules
    owner_at: str
    owner_mark: str
    changes: Callable[[list[Difference]], list[Change]]
    level: int = 0

    @property
    def delete(self) -> Call:
        return Call("DELETE", self.target, self.target, f"delete {self.target.label}", None, "gone")

    def owned(self, live: JsonObject) -> bool:
        return value_at(live, self.owner_at) == self.owner_mark


@dataclasses.dataclass(frozen=True)
class Allowed:
    """What may be done beyond changes in place: names that may be replaced, and changes that roll nodes."""

    replace: frozenset[str] = frozenset()
    disruptive: bool = False


@dataclasses.dataclass(frozen=True)
class Decision:
    """What is done with one object."""

    item: Item
    action: t.Literal["none", "create", "update", "replace", "delete", "refuse"]
    live: JsonObject | None = None
    differences: tuple[Difference, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def name(self) -> str:
        return self.item.target.name

    @property
    def replace_required(self) -> list[str]:
        return [difference.text() for difference in self.differences if difference.change == "replace"]


def description_mark(owner: str) -> str:
    """Ownership of what has no labels."""
    return f"Owned by llmd.wide_ep: {owner}"


def owner_findings(owner: str) -> list[Finding]:
    if LABEL_VALUE.fullmatch(owner):
        return []
    fix = "Use lower-case letters, digits, dashes and underscores, at most 63."
    return [Finding("INPUT_NAME", "error", "owner", f"{owner!r} is no value of a Google label", fix)]


# Decisions


def decide(item: Item, live: JsonObject | None, allowed: Allowed) -> Decision:
    """For an object that shall be present."""
    if live is None:
        return Decision(item, "create")
    found = tuple(differences(item.compare, live, item.rules))
    if not item.owned(live):
        return Decision(item, "refuse", live, found, (foreign(item, live),))
    return _decide_change(item, live, found, allowed)


def _decide_change(item: Item, live: JsonObject, found: tuple[Difference, ...], allowed: Allowed) -> Decision:
    by_change = {kind: [d for d in found if d.change == kind] for kind in ("update", "disruptive", "replace", "alarm")}
    findings = [alarm(item, difference) for difference in by_change["alarm"]]
    if by_change["replace"]:
        if item.target.name in allowed.replace:
            return Decision(item, "replace", live, found, tuple(findings))
        return Decision(item, "refuse", live, found, (*findings, replace_required(item, by_change["replace"])))
    if by_change["disruptive"] and not allowed.disruptive:
        return Decision(item, "refuse", live, found, (*findings, rolls_nodes(item, by_change["disruptive"])))
    work = [*by_change["update"], *by_change["disruptive"]]
    return Decision(item, "update" if work else "none", live, found, tuple(findings))


def decide_absent(item: Item, live: JsonObject | None) -> Decision:
    if live is None:
        return Decision(item, "none")
    if not item.owned(live):
        return Decision(item, "refuse", live, findings=(foreign(item, live),))
    return Decision(item, "delete", live)


def foreign(item: Item, live: JsonObject) -> Finding:
    return Finding(
        "GCP_FOREIGN",
        "error",
        item.target.label,
        f"it exists with {item.owner_at} = {shown(value_at(live, item.owner_at))}, not {item.owner_mark!r}",
        "Choose another name, or leave it out here and use it as an existing one (provider existing).",
    )


def replace_required(item: Item, found: Sequence[Difference]) -> Finding:
    return Finding(
        "GCP_REPLACE_REQUIRED",
        "error",
        item.target.label,
        "cannot be changed in place: " + "; ".join(difference.text() for difference in found),
        f"Undo the change of the input, or add {item.target.name} to allow_replace: it is then deleted and created "
        "anew, and what runs on it is lost.",
    )


def rolls_nodes(item: Item, found: Sequence[Difference]) -> Finding:
    return Finding(
        "GCP_ROLLS_NODES",
        "error",
        item.target.label,
        "the change recreates every node: " + "; ".join(difference.text() for difference in found),
        "Undo the change of the input, or set allow_disruptive to true while nothing serves from these nodes.",
    )


def alarm(item: Item, difference: Difference) -> Finding:
    return Finding(
        "GCP_DRIVER",
        "warning",
        item.target.label,
        difference.text(),
        "It is left as it is. A driver of R580 or newer crashes the prefill backend deepep_high_throughput: see that "
        "driver, image and backend still fit.",
    )


# Work


@dataclasses.dataclass
class Keeper:
    """Reads, decides and writes. ``look`` reads an object, with what else its comparison needs."""

    client: Client
    check_mode: bool
    look: Callable[[Target], JsonObject | None]
    after_create: Callable[[Item], None] = lambda _item: None

    def settle(self, items: Iterable[Item]) -> list[str]:
        """Take up what an earlier run began: nothing is sent while an operation on the same object is open."""
        running = self.client.open_operations([item.target for item in items])
        names = [operation.name for operation in running]
        self.client.operations += names
        if running and not self.check_mode:
            for operation in running:
                self.client.say(f"operation {operation.name} on {operation.subject} is open, waiting for it")
            self.client.wait(running, failing=False)
        return names

    def present(self, items: Sequence[Item], allowed: Allowed) -> list[Decision]:
        return [decide(item, self.look(item.target), allowed) for item in items]

    def absent(self, items: Sequence[Item]) -> list[Decision]:
        return [decide_absent(item, self.look(item.target)) for item in items]

    def carry_out(self, decisions: Sequence[Decision]) -> None:
        """Deletions from the last level to the first, then creations, then updates."""
        leaving = [decision for decision in decisions if decision.action in ("delete", "replace")]
        for level in levels(leaving, reverse=True):
            self.client.wait([self.client.write(decision.item.delete) for decision in level])
        coming = [decision for decision in decisions if decision.action in ("create", "replace")]
        for level in levels(coming):
            self.client.wait([self.client.write(decision.item.create) for decision in level])
            for decision in level:
                self.after_create(decision.item)
        for decision in decisions:
            if decision.action == "update":
                self.update(decision)

    def update(self, decision: Decision) -> None:
        work = [d for d in decision.differences if d.change in ("update", "disruptive")]
        for change in decision.item.changes(work):
            self.client.wait([self._fresh(decision.item, change)])

    def _fresh(self, item: Item, change: Change) -> Operation | None:
        """One change, built from the object as it is now; once more when someone changed it in between."""

        def carried_out() -> bool:
            return not self._left(item, change, self.look(item.target) or {})

        for tries in itertools.count(1):
            live = self.look(item.target) or {}
            if not self._left(item, change, live):
                return None
            try:
                return self.client.write(dataclasses.replace(change.build(live), seen=carried_out))
            except ApiError as error:
                if not error.stale or tries >= FRESH_TRIES:
                    raise
                self.client.say(f"{item.target.label} changed in between, reading it again")
        return None

    @staticmethod
    def _left(item: Item, change: Change, live: JsonObject) -> list[Difference]:
        """What of a change is still to be done."""
        return [found for found in differences(item.compare, live, item.rules) if found.path in change.paths]


def until_settled(client: Client, target: Target, settled: Callable[[JsonObject], bool]) -> JsonObject | None:
    """Look until the object is in a lasting state; an operation can end shortly before its object says so."""
    pause = client.pace.first
    while True:
        live = client.get(target)
        if live is None or settled(live):
            return live
        if time.monotonic() + pause > client.deadline:
            raise OperationOpen([(str(live.get("status", "")), target.label)], client.pace.timeout)
        time.sleep(pause)
        pause = min(pause * 1.6, client.pace.poll)


def levels(decisions: Iterable[Decision], *, reverse: bool = False) -> list[list[Decision]]:
    """Grouped by level, in order."""
    ordered = sorted(decisions, key=lambda decision: decision.item.level, reverse=reverse)
    return [list(group) for _level, group in itertools.groupby(ordered, key=lambda decision: decision.item.level)]


def difference_of(decisions: Iterable[Decision]) -> dict[str, JsonObject]:
    """Before and after, as Ansible shows them."""
    before: JsonObject = {}
    after: JsonObject = {}
    for decision in decisions:
        label = decision.item.target.label
        have = {path: value_at(decision.live or {}, path) for path in decision.item.compare}
        if decision.action in ("create", "replace"):
            after[label] = decision.item.compare
        if decision.action in ("delete", "replace"):
            before[label] = have
        if decision.action == "update":
            before[label] = {d.path: d.have for d in decision.differences if d.change != "alarm"}
            after[label] = {d.path: d.want for d in decision.differences if d.change != "alarm"}
    return {"before": before, "after": after}
