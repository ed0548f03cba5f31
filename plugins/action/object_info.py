# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read Kubernetes objects, several queries in one task."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import ACCESS_ARGUMENTS, InProcessAction

#: Client-side apply keeps the whole object in it, the values of a Secret included.
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

QUERY_KEYS = frozenset({"api_version", "kind", "namespace", "name", "label_selector"})


def without_secrets(item: dict[str, t.Any]) -> dict[str, t.Any]:
    """The object with the keys but not the values of a Secret."""
    if item.get("kind") != "Secret":
        return item
    notes = item["metadata"].get("annotations") or {}
    metadata = {**item["metadata"], "annotations": {key: notes[key] for key in notes if key != LAST_APPLIED}}
    kept = {key: value for key, value in item.items() if key not in ("data", "stringData")}
    return {**kept, "metadata": metadata, "data": dict.fromkeys(item.get("data") or {}, "<hidden>")}


def answer(client: Client, query: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The objects that match one query; none where the server does not serve the kind."""
    resource = client.discover(query["api_version"], query["kind"])
    if resource is None:
        return {"served": False, "resources": []}
    if query.get("name"):
        found = client.get_or_none(resource.path(query.get("namespace"), query["name"]))
        items = [] if found is None else [found]
    else:
        items = client.list(resource.path(query.get("namespace")), {"labelSelector": query.get("label_selector")})
    return {"served": True, "resources": [without_secrets(item) for item in items]}


def what_is_wrong(query: t.Any) -> str:
    """Why a query cannot be asked; nothing where it can."""
    if not isinstance(query, dict):
        return f"a dictionary is wanted, not {query!r}"
    lacking = [key for key in ("api_version", "kind") if not query.get(key)]
    unknown = sorted(set(query) - QUERY_KEYS)
    if lacking:
        return f"{' and '.join(lacking)} must be given"
    return f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(QUERY_KEYS))}" if unknown else ""


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "queries": {"type": "dict", "required": True},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        for name, query in arguments["queries"].items():
            if wrong := what_is_wrong(query):
                raise AnsibleActionFail(f"query {name}: {wrong}")
        client = self.client(arguments)
        return {"found": {name: answer(client, query) for name, query in arguments["queries"].items()}}
