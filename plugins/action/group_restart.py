# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delete the leaders of groups of LeaderWorkerSets, and wait until none of their old pods is left."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client, ClientError
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._predicates import LWS_GROUP, LWS_NAME, is_terminating
from ansible_collections.llmd.wide_ep.plugins.module_utils._waiter import looks
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import ACCESS_ARGUMENTS, InProcessAction, display

INTERVAL = 0.5
#: Another pod of that name, or none: the group was restarted by someone else meanwhile.
OVER = frozenset({404, 409})
Pod = t.Mapping[str, t.Any]


def delete(client: Client, namespace: str, pod: Pod) -> bool:
    """Delete a pod by its uid, so that one that has its name by now stays; tell whether it was there."""
    body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": pod["uid"]}}
    try:
        client.delete(f"/api/v1/namespaces/{namespace}/pods/{pod['name']}", body)
    except ApiError as error:
        if error.status not in OVER:
            raise
        return False
    return True


def old_pods(client: Client, namespace: str, group: Pod) -> list[dict[str, t.Any]]:
    selector = f"{LWS_NAME}={group['set']},{LWS_GROUP}={group['index']}"
    uids = {pod["uid"] for pod in group["pods"]}
    found = client.list(f"/api/v1/namespaces/{namespace}/pods", {"labelSelector": selector})
    return [pod for pod in found if pod["metadata"]["uid"] in uids]


def restart(client: Client, namespace: str, groups: t.Sequence[Pod], timeout: float) -> list[Finding]:
    """The controller recreates a group as a whole when its leader goes; the workers follow it."""
    for group in groups:
        leader = next((pod for pod in group["pods"] if pod["name"] == group["leader"]), None)
        for pod in [leader] if leader else group["pods"]:
            delete(client, namespace, pod)

    def remaining() -> list[tuple[Pod, list[dict[str, t.Any]]]]:
        return [(group, pods) for group in groups if (pods := old_pods(client, namespace, group))]

    found: list[tuple[Pod, list[dict[str, t.Any]]]] | ClientError = []
    for _elapsed, found in looks(remaining, timeout, INTERVAL):
        if not found:
            return []
    if isinstance(found, ClientError):
        raise found
    return [stuck(group, pods) for group, pods in found]


def stuck(group: Pod, left: t.Sequence[dict[str, t.Any]]) -> Finding:
    names = ", ".join(
        f"{pod['metadata']['name']} ({'terminating' if is_terminating(pod) else 'not deleted'} on "
        f"{pod['spec'].get('nodeName', 'no node')})"
        for pod in left
    )
    fix = (
        "Look at the node: a kubelet that does not answer never confirms. Run playbooks/collect_diagnostics.yml, then "
    )
    fix += "drain the node or delete its Node object; the group follows."
    return Finding("GROUP_STUCK", "error", f"{group['role']} group {group['index']}", f"still there: {names}", fix)


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "namespace": {"type": "str", "required": True},
        "groups": {"type": "list", "elements": "dict", "required": True},
        "timeout": {"type": "float", "default": 300},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        groups = [group for group in arguments["groups"] if group["pods"]]
        if self.check_mode or not groups:
            return {"changed": bool(groups)}
        began = time.monotonic()
        findings = restart(self.client(arguments), arguments["namespace"], groups, arguments["timeout"])
        seconds = round(time.monotonic() - began, 1)
        names = ", ".join(f"{group['role']} group {group['index']}" for group in groups)
        display.display(f"{names}: the old pods were gone after {seconds:g} s")
        return {"changed": True, **self.refusal(findings), "seconds": seconds}
