# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of rights against the list that a whole run was seen to use. Private to the collection."""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._preflight_snapshot import Rule

Json = t.Mapping[str, t.Any]


class Right(t.NamedTuple):
    verb: str
    group: str
    resource: str

    @property
    def subresource(self) -> str | None:
        return self.resource.partition("/")[2] or None

    @property
    def plural(self) -> str:
        return self.resource.partition("/")[0]


def rights_of(role: Json) -> list[Right]:
    """The single rights of a Role or ClusterRole."""
    return [
        Right(verb, group, resource)
        for rule in role.get("rules") or ()
        for group in rule.get("apiGroups") or ()
        for resource in rule.get("resources") or ()
        for verb in rule.get("verbs") or ()
    ]


def open_questions(wanted: t.Iterable[Right], rules: t.Sequence[Rule]) -> list[Right]:
    """The rights that the rules do not show: a webhook authorizer's are in no list, so these are asked one by one."""
    return [right for right in wanted if not any(rule.allows(*right) for rule in rules)]


def findings(missing: t.Sequence[Right], identity: str) -> list[Finding]:
    """One finding per API group, so that a role without any right reads as a page and not as a book."""
    by_group: dict[str, list[Right]] = collections.defaultdict(list)
    for right in missing:
        by_group[right.group].append(right)
    found = []
    for group, rights in by_group.items():
        by_resource: dict[str, list[str]] = collections.defaultdict(list)
        for right in rights:
            by_resource[right.resource].append(right.verb)
        seen = "; ".join(f"{resource}: {', '.join(verbs)}" for resource, verbs in sorted(by_resource.items()))
        fix = "Apply docs/reference/rbac.yaml, or have its rules added to the identity's role."
        found.append(Finding("RIGHT_MISSING", "error", f"{identity}: {group or 'core API group'}", seen, fix))
    return found
