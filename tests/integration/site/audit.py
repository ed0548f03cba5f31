# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server's audit log says that we changed."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qs, urlsplit

OURS = re.compile(r"llmd-(deployer|platform)")
MUTATING = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclasses.dataclass(frozen=True)
class Mutation:
    """One request of ours that the server carried out."""

    user: str
    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    path: str

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.user} {self.verb} {self.resource} {where}"


@dataclasses.dataclass(frozen=True)
class Allowed:
    """Requests that a run without changes may make, and why."""

    verbs: frozenset[str]
    resource: str
    name: re.Pattern[str]
    reason: str

    def covers(self, mutation: Mutation) -> bool:
        return (
            mutation.verb in self.verbs
            and mutation.resource == self.resource
            and self.name.fullmatch(mutation.name) is not None
        )


def allowed_for(release: str) -> tuple[Allowed, ...]:
    client = re.compile(rf"{re.escape(release)}-verify-[0-9a-f]+")
    mine = frozenset({"create", "delete"})
    return (
        Allowed(frozenset({"create"}), "selfsubjectaccessreviews", re.compile(""), "a question; nothing is stored"),
        Allowed(frozenset({"create"}), "selfsubjectrulesreviews", re.compile(""), "the same, for all rights at once"),
        Allowed(mine, "pods", client, "the client pod of the proof"),
        Allowed(mine, "configmaps", client, "the program of the client pod"),
        Allowed(mine | {"update"}, "leases", re.compile(re.escape(release)), "the lock of the deployment"),
    )


def parse(lines: Iterable[str]) -> list[Mutation]:
    """The mutations of our identities that were carried out; dry runs and refused requests change nothing."""
    found = []
    for line in lines:
        if '"llmd-' not in line:
            continue
        event = json.loads(line)
        url = urlsplit(event["requestURI"])
        if (
            event["stage"] == "ResponseComplete"
            and event["verb"] in MUTATING
            and OURS.fullmatch(event["user"]["username"])
            and "dryRun" not in parse_qs(url.query)
            and event.get("responseStatus", {}).get("code", 0) < 400
        ):
            found.append(mutation_of(event, url.path))
    return found


def mutation_of(event: Mapping[str, t.Any], path: str) -> Mutation:
    target = event.get("objectRef") or {}
    resource = "/".join(filter(None, (target.get("resource", ""), target.get("subresource", ""))))
    values = (target.get(name, "") for name in ("apiGroup", "namespace", "name"))
    group, namespace, name = values
    return Mutation(event["user"]["username"], event["verb"], group, resource, namespace, name, path)


def violations(
    mutations: Iterable[Mutation],
    allowed: Iterable[Allowed],
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> list[Mutation]:
    """Mutations that a run without changes must not make; an apply that left its object as it was is none."""
    rules = tuple(allowed)
    return [
        mutation
        for mutation in mutations
        if not any(rule.covers(mutation) for rule in rules)
        and not (mutation.verb == "patch" and is_same(mutation.path, before, after))
    ]


def is_same(path: str, before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    return path in before and before[path] == after.get(path)
