# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of rights against the list that a whole run was seen to use. Private to the collection."""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._preflight_snapshot import Rule, Snapshot

Json = t.Mapping[str, t.Any]


#: API groups that only some deployments use.
OF_GATEWAY = frozenset({"gateway.networking.k8s.io", "networking.istio.io", "agentgateway.dev"})
OF_COMPONENT = {
    "kueue.x-k8s.io": "topology_aware",
    "monitoring.coreos.com": "monitoring",
    "monitoring.googleapis.com": "monitoring",
}
#: The role that is bound for the whole cluster; the other ones are in the namespace.
EVERYWHERE = "-cluster"


class Right(t.NamedTuple):
    verb: str
    group: str
    resource: str
    everywhere: bool = False

    @property
    def subresource(self) -> str | None:
        return self.resource.partition("/")[2] or None

    @property
    def plural(self) -> str:
        return self.resource.partition("/")[0]


def rights_of(role: Json) -> list[Right]:
    """The single rights of a role, which is bound where its name tells."""
    everywhere = role["metadata"]["name"].endswith(EVERYWHERE)
    return [
        Right(verb, group, resource, everywhere)
        for rule in role.get("rules") or ()
        for group in rule.get("apiGroups") or ()
        for resource in rule.get("resources") or ()
        for verb in rule.get("verbs") or ()
    ]


def concerns(right: Right, plan: Json) -> bool:
    """Whether a deployment of this plan uses it: the list is that of all modes and components together."""
    if right.group in OF_GATEWAY:
        return bool(plan["router_mode"] == "gateway")
    return OF_COMPONENT.get(right.group, "") in ("", *plan["components"])


def open_questions(wanted: t.Iterable[Right], snapshot: Snapshot) -> list[Right]:
    """The rights that the rules do not show: a webhook authorizer's are in no list, so these are asked one by one."""
    return [right for right in wanted if not any(rule.allows(*right[:3]) for rule in _rules(snapshot, right))]


def _rules(snapshot: Snapshot, right: Right) -> tuple[Rule, ...]:
    return snapshot.rules_everywhere if right.everywhere else snapshot.rules


def findings(missing: t.Sequence[Right], identity: str) -> list[Finding]:
    """One finding per API group, so that a role without any right reads as a page and not as a book."""
    by_group: dict[tuple[str, bool], list[Right]] = collections.defaultdict(list)
    for right in missing:
        by_group[right.group, right.everywhere].append(right)
    found = []
    for (group, everywhere), rights in by_group.items():
        by_resource: dict[str, list[str]] = collections.defaultdict(list)
        for right in rights:
            by_resource[right.resource].append(right.verb)
        seen = "; ".join(f"{resource}: {', '.join(verbs)}" for resource, verbs in sorted(by_resource.items()))
        fix = (
            "Apply docs/reference/rbac.yaml and bind its roles as it says, or have these added to the identity's role."
        )
        subject = f"{identity}: {group or 'core API group'}{', in the whole cluster' if everywhere else ''}"
        found.append(Finding("RIGHT_MISSING", "error", subject, seen, fix))
    return found
