# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take or release the Lease that says who changes a deployment."""

from __future__ import annotations

import datetime
import os
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._lock import LEASE_SECONDS, Holder, Verdict, judge_lease
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import ACCESS_ARGUMENTS, InProcessAction, display

CONFLICT = 409


def lease_path(namespace: str, name: str = "") -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases" + (f"/{name}" if name else "")


def take(client: Client, namespace: str, name: str, me: Holder, take_over: bool) -> Verdict:
    """Create or take over the Lease; a lost race reads as held by the winner."""
    found = client.get_or_none(lease_path(namespace, name))
    verdict = judge_lease(
        found["spec"] if found else None, me, datetime.datetime.now(datetime.UTC), take_over=take_over
    )
    if not verdict.free:
        return verdict
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    metadata = found["metadata"] if found else {"name": name, "namespace": namespace}
    body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {**metadata, "labels": {"wide-ep.llm-d.ai/deployment": name}},
        "spec": {
            "holderIdentity": str(me),
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": now,
            "renewTime": now,
        },
    }
    try:
        if found:
            client.replace(lease_path(namespace, name), body)
        else:
            client.create(lease_path(namespace), body)
    except ApiError as error:
        if error.status != CONFLICT:
            raise
        return Verdict(False, "another run, which took it this very moment")
    return verdict


def release(client: Client, namespace: str, name: str, me: Holder) -> None:
    found = client.get_or_none(lease_path(namespace, name))
    if found and found["spec"].get("holderIdentity") == str(me):
        client.delete(lease_path(namespace, name))


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "name": {"type": "str", "required": True},
        "namespace": {"type": "str", "required": True},
        "take_over": {"type": "bool", "default": False},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        if self.check_mode:
            return {"skipped": True}
        # A worker forks off the ansible-playbook process: its parent is the run.
        me = Holder.of_this_run(os.getppid(), os.environ.get("LLMD_WIDE_EP_RUN_ID", "unnamed"))
        name, namespace = arguments["name"], arguments["namespace"]
        client = self.client(arguments)
        if arguments["state"] == "absent":
            release(client, namespace, name, me)
            return {}
        verdict = take(client, namespace, name, me, arguments["take_over"])
        if not verdict.free:
            fix = "Wait for that run, or set wide_ep_lock_break=true if you know that it is over."
            return self.refusal(
                [Finding("LOCK_HELD", "error", f"Lease {namespace}/{name}", f"held by {verdict.reason}", fix)]
            )
        if verdict.reason:
            display.display(f"Lock of {name}: {verdict.reason}")
        return {"holder": str(me)}
