# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show how a deployment is: tiers, groups, pods, router, versions, lock and last proof."""

from __future__ import annotations

import json
import time
import typing as t
from pathlib import Path

from ansible_collections.llmd.wide_ep.plugins.action.lock import lease_path
from ansible_collections.llmd.wide_ep.plugins.action.runbook_gate import look
from ansible_collections.llmd.wide_ep.plugins.module_utils import _operate, _status
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import ACCESS_ARGUMENTS, InProcessAction

#: Of an object in a list its metadata alone: the content of Helm's records stays on the server.
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"


def helm_records(client: Client, namespace: str) -> list[dict[str, t.Any]]:
    query = {"labelSelector": "owner=helm"}
    try:
        page = client.raw("GET", f"/api/v1/namespaces/{namespace}/secrets", query, accept=METADATA).json()
    except ApiError as error:
        if error.denied:
            return []
        raise
    return list(page.get("items") or ())


def last_proof(folder: Path) -> dict[str, t.Any] | None:
    """The newest result of verify among the runs that this machine keeps."""
    documents = sorted(folder.glob("*/verify.json"), key=lambda path: path.stat().st_mtime)
    if not documents:
        return None
    try:
        found = json.loads(documents[-1].read_text(encoding="utf-8"))
    except ValueError:
        return None
    return {"written": found.get("written"), "passed": (found.get("data") or {}).get("passed")}


def held(lease: t.Mapping[str, t.Any] | None, now: float) -> str:
    spec = (lease or {}).get("spec") or {}
    if not spec.get("holderIdentity"):
        return "free"
    return f"held by {spec['holderIdentity']} for {_status.age(spec['renewTime'], now)}"


def troubled(client: Client, names: t.Iterable[str]) -> dict[str, str]:
    """The nodes among them that cannot run pods, where they may be read."""
    found = {}
    for name in names:
        try:
            found[name] = _status.node_trouble(name, client.get_or_none(f"/api/v1/nodes/{name}"))
        except ApiError as error:
            if not error.denied:
                raise
    return {name: text for name, text in found.items() if text}


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "plan": {"type": "dict", "required": True},
        "artifacts_dir": {"type": "path", "required": True},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        client, plan = self.client(arguments), arguments["plan"]
        namespace, release = plan["namespace"], plan["release"]
        seen = look(client, plan).seen
        known = _operate.all_groups(plan, seen)
        helm = _status.helm_of(helm_records(client, namespace), release) if seen.namespace else {}
        lease = client.get_or_none(lease_path(namespace, release))
        proof = last_proof(Path(arguments["artifacts_dir"]) / release)
        now = client.server_time or time.time()
        state, _findings = _operate.presence(plan, seen)
        nodes = troubled(client, _status.nodes_to_ask(known))
        findings = _status.findings(plan, seen, known, helm, proof, nodes=nodes)
        proved = f"{'passed' if proof['passed'] else 'FAILED'} at {proof['written']}" if proof else "none kept here"
        return {
            **self.refusal(findings),
            "state": "unhealthy" if state == "present" and findings else state,
            "summary": [
                ["deployment", f"{release} in namespace {namespace}: {state}"],
                ["GPUs in use", sum(group.gpus for group in known)],
                ["lock", held(lease, now)],
                ["last proof", proved],
            ],
            "tables": tables(plan, seen, known, helm, now) if state in ("present", "partial") else [],
        }


def tables(
    plan: t.Mapping[str, t.Any],
    seen: _operate.Seen,
    known: t.Sequence[_operate.Group],
    helm: t.Mapping[str, t.Any],
    now: float,
) -> list[dict[str, t.Any]]:
    release = plan["release"]
    routers = [item for item in seen.deployments if item["metadata"]["name"] == f"{release}-epp"]
    labels: t.Mapping[str, str] = (routers[0]["metadata"].get("labels") or {}) if routers else {}
    # Not every chart of the router names itself; all tell their version.
    chart = labels.get("helm.sh/chart") or labels.get("app.kubernetes.io/version") or "-"
    found = (
        ("Tiers", ["tier", "groups ready", "pods ready", "GPUs", "template"], _status.tier_rows(plan, seen, known)),
        ("Pods", ["pod", "node", "state", "restarts", "age"], _status.pod_rows(known, now)),
        (
            "Router",
            ["endpoint picker", "release", "revision", "chart"],
            _status.router_rows(seen, release, {**helm, "chart": chart}),
        ),
        ("Images", ["part", "container", "image"], _status.version_rows(seen, release)),
    )
    return [{"title": title, "columns": columns, "rows": rows} for title, columns, rows in found]
