# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare what runs with what the inventory asks for, and change nothing."""

from __future__ import annotations

import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._operate import DEPLOYMENT_LABEL
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _drift
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import ACCESS_ARGUMENTS, InProcessAction
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._drift import Labeled
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._inventory import METADATA, UNREADABLE, discover

#: Refusals of a dry run that are about the object itself.
INVALID = frozenset({400, 409, 422})


class Comparison:
    def __init__(self, client: Client, namespace: str, release: str) -> None:
        self._client = client
        self._namespace = namespace
        self._release = release
        self.live: dict[str, dict[str, t.Any]] = {}
        self.findings: list[Finding] = []
        self.unreadable: list[str] = []

    def compare(self, wanted: t.Iterable[dict[str, t.Any]], manager: str) -> None:
        for item in wanted:
            metadata = item["metadata"]
            title = f"{item['kind']} {metadata['name']}"
            resource = self._client.discover(item["apiVersion"], item["kind"])
            if resource is None:
                self.findings.append(_drift.missing(title))
                continue
            path = resource.path(metadata.get("namespace") or self._namespace, metadata["name"])
            live = self._client.get_or_none(path)
            if live is None:
                self.findings.append(_drift.missing(title))
                continue
            self.live[title] = live
            if item["kind"] != "Secret":
                self._compare_one(title, path, item, live, manager)

    def _compare_one(self, title: str, path: str, item: dict[str, t.Any], live: dict[str, t.Any], manager: str) -> None:
        try:
            applied = self._client.apply(path, item, field_manager=manager, force=True, dry_run=True)
        except ApiError as error:
            if error.denied:
                self.unreadable.append(title)
            elif error.status in INVALID:
                self.findings += _drift.refused(title, live, item, error.message)
            else:
                raise
            return
        self.findings += _drift.object_findings(title, live, applied)

    def labeled(self) -> list[Labeled]:
        """Everything in the namespace with the deployment's label, by metadata alone."""
        found = []
        query = {"labelSelector": f"{DEPLOYMENT_LABEL}={self._release}", "limit": 500}
        for kind in discover(self._client):
            if not kind.namespaced:
                continue
            try:
                page = self._client.raw("GET", kind.path(self._namespace), query, accept=METADATA).json()
            except ApiError as error:
                if error.status not in UNREADABLE:
                    raise
                continue
            found += [Labeled(kind.kind, item["metadata"]) for item in page.get("items") or ()]
        return found


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "plan": {"type": "dict", "required": True},
        "objects": {"type": "list", "elements": "dict", "required": True},
        "helm_manifest": {"type": "list", "elements": "raw", "default": []},
        "helm_decision": {"type": "dict", "required": True},
        "cloud": {"type": "list", "elements": "dict", "default": []},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        plan = arguments["plan"]
        namespace, release = plan["namespace"], plan["release"]
        client = self.client(arguments)
        comparison = Comparison(client, namespace, release)
        manifest = [item for item in arguments["helm_manifest"] if isinstance(item, dict) and item.get("kind")]
        comparison.compare(arguments["objects"], "llmd.wide_ep")
        comparison.compare(manifest, "helm")
        sets = [item for item in comparison.live.values() if item["kind"] == "LeaderWorkerSet"]
        pods = client.list(f"/api/v1/namespaces/{namespace}/pods", {"labelSelector": f"{DEPLOYMENT_LABEL}={release}"})
        wanted = {f"{item['kind']} {item['metadata']['name']}" for item in (*arguments["objects"], *manifest)}
        findings = [
            *_drift.cloud_findings(arguments["cloud"]),
            *_drift.helm_finding(release, arguments["helm_decision"]),
            *comparison.findings,
            *_drift.image_findings(sets, pods),
            *_drift.extra_findings(comparison.labeled(), wanted, plan["components"]),
        ]
        return {
            **self.refusal(findings),
            "compared": len(wanted),
            "unreadable": comparison.unreadable,
            "requests": client.request_count,
            "tables": [table(findings)] if findings else [],
        }


def table(findings: t.Sequence[Finding]) -> dict[str, t.Any]:
    rows = [[item.code, item.subject, item.evidence] for item in findings]
    return {"title": "Differences", "columns": ["code", "object", "difference"], "rows": rows}
