# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reach the API server, ask for rights, and tell which objects it could take."""

from __future__ import annotations

import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client, ConfigError, Unreachable
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import (
    ACCESS_ARGUMENTS,
    InProcessAction,
    display,
    finding_of,
)


def missing_rights(client: Client, namespace: str, rights: t.Sequence[t.Mapping[str, str]]) -> list[Finding]:
    findings = []
    for right in rights:
        group = right.get("group", "")
        if not client.can_i(right["verb"], right["resource"], group=group, namespace=namespace).allowed:
            kind = f"{right['resource']}.{group}" if group else right["resource"]
            fix = f"Grant it, for example by a Role in namespace {namespace}."
            seen = f"the API server says no to: {right['verb']} {kind} in namespace {namespace}"
            findings.append(Finding("RIGHT_MISSING", "error", f"{right['verb']} {kind}", seen, fix))
    return findings


def split_by_presence(
    client: Client, objects: t.Sequence[dict[str, t.Any]]
) -> tuple[list[dict[str, t.Any]], list[str]]:
    """Objects that a dry run can judge, and ``Kind/name`` of those whose kind or namespace does not exist yet."""
    present: dict[str, bool] = {}
    applicable, pending = [], []
    for item in objects:
        resource = client.discover(item["apiVersion"], item["kind"])
        namespace = item["metadata"].get("namespace")
        exists = resource is not None
        if exists and namespace:
            if namespace not in present:
                present[namespace] = client.get_or_none(f"/api/v1/namespaces/{namespace}") is not None
            exists = present[namespace]
        if exists:
            applicable.append(item)
        else:
            pending.append(f"{item['kind']}/{item['metadata']['name']}")
    return applicable, pending


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "namespace": {"type": "str"},
        "rights": {"type": "list", "elements": "dict", "default": []},
        "objects": {"type": "list", "elements": "dict", "default": []},
        "allow_unreachable": {"type": "bool", "default": False},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        try:
            client = self.client(arguments)
            version = client.get("/version")["gitVersion"]
        except (Unreachable, ConfigError) as error:
            if not arguments["allow_unreachable"]:
                raise
            display.warning(finding_of(error).text())
            return {"reachable": False, "server_version": None}
        findings = missing_rights(client, arguments["namespace"], arguments["rights"])
        applicable, pending = split_by_presence(client, arguments["objects"])
        return {
            "reachable": True,
            "server_version": version,
            "applicable": applicable,
            "pending": pending,
            **self.refusal(findings),
        }
