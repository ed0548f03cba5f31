# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what of a deployment exists, and what a removal did about it."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client
from ansible_collections.llmd.wide_ep.plugins.module_utils._receipt import (
    Deployment,
    Inventory,
    Receipt,
    by_kind,
    findings,
    sort_out,
    write_receipt,
)
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import ACCESS_ARGUMENTS, InProcessAction
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._inventory import (
    Snapshot,
    discover,
    namespace_messages,
    take_snapshot,
)

INTERVAL = 1.0
JsonObject = dict[str, t.Any]


class Reader:
    """Reads the namespace with one identity and what is outside of it with another, which may be the same."""

    def __init__(self, client: Client, platform: Client, deployment: Deployment) -> None:
        self.client = client
        self.platform = platform
        self.deployment = deployment
        kinds = discover(client)
        self._parts = (
            (client, [kind for kind in kinds if kind.namespaced]),
            (platform, [kind for kind in kinds if not kind.namespaced]),
        )

    def snapshot(self) -> Snapshot:
        parts = [take_snapshot(client, kinds, self.deployment.namespace) for client, kinds in self._parts]
        things = tuple(one for part in parts for one in part.things)
        return Snapshot(things, tuple(name for part in parts for name in part.unreadable))

    @property
    def request_count(self) -> int:
        return sum(client.request_count for client in {id(c): c for c in (self.client, self.platform)}.values())


def receipt_of(reader: Reader, before: list[JsonObject], timeout: float) -> tuple[Receipt, Inventory, Snapshot]:
    """The receipt once nothing is left over, or once the time is up: deletion and garbage collection take a while."""
    known = {one["uid"] for one in before}
    deadline = time.monotonic() + timeout
    while True:
        snapshot = reader.snapshot()
        inventory = sort_out(snapshot.things, reader.deployment, known)
        receipt = write_receipt(before, inventory, reader.deployment)
        if not receipt.left_over or time.monotonic() >= deadline:
            return receipt, inventory, snapshot
        time.sleep(INTERVAL)


def tables(receipt: Receipt) -> list[JsonObject]:
    left = [[one.title, ", ".join(one.finalizers), one.deleting] for one in receipt.left_over]
    reasons = dict.fromkeys(kept.reason for kept in receipt.kept)
    return [
        {"title": "Removed", "columns": ["kind", "count", "names"], "rows": by_kind(receipt.removed)},
        # A table per reason leaves a whole line to each command, which is there to be copied.
        *(
            {
                "title": f"Kept on purpose: {reason}",
                "columns": ["remove it with"],
                "rows": [[kept.command] for kept in receipt.kept if kept.reason == reason],
            }
            for reason in reasons
        ),
        {"title": "Left over", "columns": ["object", "finalizers", "being deleted since"], "rows": left},
    ]


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "platform_kubeconfig": {"type": "str"},
        "release": {"type": "str", "required": True},
        "namespace": {"type": "str", "required": True},
        "known": {"type": "list", "elements": "str", "default": []},
        "before": {"type": "list", "elements": "dict"},
        "timeout": {"type": "float", "default": 60},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        client = self.client(arguments)
        other = arguments["platform_kubeconfig"]
        platform = self.client({**arguments, "kubeconfig": other}) if other else client
        deployment = Deployment(arguments["release"], arguments["namespace"], frozenset(arguments["known"]))
        reader = Reader(client, platform, deployment)
        if arguments["before"] is None:
            snapshot = reader.snapshot()
            inventory = sort_out(snapshot.things, deployment)
            return self._result(reader, inventory, snapshot)
        # Nothing has been removed in check mode, so that there is nothing to wait for and nothing to complain about.
        timeout = 0.0 if self.check_mode else arguments["timeout"]
        receipt, inventory, snapshot = receipt_of(reader, arguments["before"], timeout)
        result = {**self._result(reader, inventory, snapshot), **_lists(receipt, snapshot.unreadable)}
        if self.check_mode:
            would = tuple(one.as_dict() for one in receipt.left_over)
            preview = Receipt(would, receipt.kept, ())
            return {**result, **_lists(preview, snapshot.unreadable), "msg": f"{len(would)} objects would be removed"}
        messages = namespace_messages(platform, deployment.namespace) if receipt.left_over else []
        return {**result, **self.refusal(findings(receipt, messages))}

    @staticmethod
    def _result(reader: Reader, inventory: Inventory, snapshot: Snapshot) -> dict[str, t.Any]:
        return {
            "objects": [one.as_dict() for one in inventory.ours],
            "unreadable": list(snapshot.unreadable),
            "api_requests": reader.request_count,
        }


def _lists(receipt: Receipt, unreadable: t.Sequence[str]) -> dict[str, t.Any]:
    # "Nothing" is a claim about the kinds that could be listed.
    unseen = [["Not looked at", f"{', '.join(unreadable)} (the identity may not list them)"]] if unreadable else []
    return {
        "removed": list(receipt.removed),
        "kept": [dataclasses.asdict(kept) for kept in receipt.kept],
        "left_over": [one.as_dict() for one in receipt.left_over],
        "summary": [
            ["Removed", f"{len(receipt.removed)} objects"],
            ["Kept on purpose", f"{len(receipt.kept)}"],
            ["Left over", f"{len(receipt.left_over)} objects" if receipt.left_over else "nothing"],
            *unseen,
        ],
        "tables": [table for table in tables(receipt) if table["rows"]],
    }
