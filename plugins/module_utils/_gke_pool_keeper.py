# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads, decides and writes one node pool. Private to the collection; it may change at any time."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Sequence

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_node_pool as node_pool
from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_pool_checks as checks
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_errors import JsonObject, OperationFailed, finding_of
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_module import Refusal, Runner
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_objects import (
    Allowed,
    Decision,
    Item,
    Keeper,
    until_settled,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_pool_options import Options
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_rest import Client, Target


def shown(live: JsonObject) -> JsonObject:
    """What a result says about a pool that is there."""
    return {
        "node_pool": live,
        "conditions": live.get("conditions") or [],
        "instance_group_urls": live.get("instanceGroupUrls") or [],
    }


def target_size(client: Client, live: JsonObject) -> int | None:
    """The nodes that are asked for, in all zones: `initialNodeCount` is only what the pool began with."""
    total = 0
    for url in live.get("instanceGroupUrls") or []:
        tail = re.search(r"projects/.+", url)
        group = client.get(Target("compute", tail[0])) if tail else None
        if group is None:
            return None
        total += int(group.get("targetSize", 0))
    return total


def unknown_size(options: Options) -> Finding:
    seen = "an instance group of the pool is not there, so that its size is not compared"
    fix = "Look at the pool in the console; GKE makes its instance groups again when it repairs the pool."
    return Finding("GCP_NODE_POOL", "warning", options.target.label, seen, fix)


class PoolKeeper(Keeper):
    """A pool's size is in its instance groups, and a failed creation leaves a pool that says why."""

    def __init__(self, runner: Runner, options: Options) -> None:
        super().__init__(runner.client, runner.module.check_mode, self.read)
        self.runner = runner
        self.options = options
        self.item = node_pool.item(options)
        self.params = runner.params
        self.after_create = self.settled

    def read(self, target: Target) -> JsonObject | None:
        live = self.client.get(target)
        if live is None:
            return None
        if not self.options.static:
            return node_pool.comparable(live, None)
        if live.get("status") == "PROVISIONING" and not live.get("instanceGroupUrls"):
            # Its groups are still to come, with the size that the creation asked for.
            return node_pool.comparable(live, self.item.compare[node_pool.SIZE])
        size = target_size(self.client, live)
        if size is None:
            self.runner.require([unknown_size(self.options)])
            size = self.item.compare[node_pool.SIZE]
        return node_pool.comparable(live, size)

    def decide(self) -> list[Decision]:
        if self.started():
            return [Decision(self.item, "none", self.client.get(self.options.target))]
        self.settle([self.item])
        if self.params["state"] == "absent":
            return self.absent([self.item])
        allowed = Allowed(frozenset(self.params["allow_replace"]), self.params["allow_disruptive"])
        live = self.read(self.options.target)
        if live is not None and self.item.owned(live):
            decision = self.broken(live, allowed)
            if decision is not None:
                return [decision]
            self.last(live)
        decisions = self.present([self.item], allowed)
        if decisions[0].action in ("create", "replace"):
            self.runner.require(checks.findings(self.options, self.client, check_mode=self.check_mode))
        return [self.with_driver(decision) for decision in decisions]

    def started(self) -> bool:
        """Whether what was only to be started is under way already."""
        if self.params["wait"] or self.check_mode:
            return False
        running = self.client.open_operations([self.options.target])
        self.client.operations += [operation.name for operation in running]
        return bool(running)

    def last(self, live: JsonObject) -> None:
        """Wait for a pool that is still coming without an operation that says so."""
        if self.params["wait"] and not self.check_mode and live.get("status") not in node_pool.SETTLED:
            until_settled(self.client, self.options.target, is_settled)

    def broken(self, live: JsonObject, allowed: Allowed) -> Decision | None:
        """An error ends the run with the pool's conditions, unless the pool may be replaced."""
        found = node_pool.state_findings(live)
        if not found:
            return None
        if self.item.target.name not in allowed.replace:
            self.runner.require(found, **shown(live))
        self.runner.require(checks.findings(self.options, self.client, check_mode=self.check_mode))
        return Decision(self.item, "replace", live)

    def with_driver(self, decision: Decision) -> Decision:
        """A driver that may be changed is a change like the others, and no longer something to warn of."""
        if not self.params["allow_disruptive"] or decision.action not in ("none", "update"):
            return decision
        found = tuple(
            dataclasses.replace(d, change="disruptive") if d.change == "alarm" else d for d in decision.differences
        )
        return dataclasses.replace(decision, action="update" if found else "none", differences=found, findings=())

    def carry_out(self, decisions: Sequence[Decision]) -> None:
        try:
            if self.params["wait"] or decisions[0].action == "update":
                super().carry_out(decisions)
            else:
                self.start(decisions[0])
        except OperationFailed as error:
            self.failed(error)

    def start(self, decision: Decision) -> None:
        """Send the creation or deletion, and leave its end to a later run."""
        if decision.action == "replace":
            self.client.wait([self.client.write(self.item.delete)])
        if decision.action in ("create", "replace"):
            self.client.write(self.item.create)
        elif decision.action == "delete":
            self.client.write(self.item.delete)

    def failed(self, error: OperationFailed) -> t.NoReturn:
        """What the operation and the pool's own conditions say; the pool stays unless asked otherwise."""
        live = self.client.get(self.options.target)
        found: list[Finding] = [finding_of(error)]
        if live is not None:
            found += [finding for finding in node_pool.state_findings(live) if finding.code != found[0].code]
        no_capacity = any(finding.code == "GCP_NO_CAPACITY" for finding in found)
        if live is not None and no_capacity and self.params["on_stockout"] == "delete":
            self.client.wait([self.client.write(self.item.delete)])
            live = None
        raise Refusal([*self.runner.findings, *found], changed=live is not None, **(shown(live) if live else {}))

    def settled(self, item: Item) -> None:
        until_settled(self.client, item.target, is_settled)


def is_settled(live: JsonObject) -> bool:
    return live.get("status") in node_pool.SETTLED
