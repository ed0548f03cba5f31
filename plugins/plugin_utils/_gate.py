# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a runbook is about to do: decisions before anything is touched. Private to the collection."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils import _operate
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._operate import Group, Seen
from ansible_collections.llmd.wide_ep.plugins.module_utils._plan import TIERS
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_restart import changes

Json = t.Mapping[str, t.Any]
JsonObject = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the runbook was pointed at."""

    tier: str = ""
    group: int = 0
    node: str = ""
    budget: int = 2700
    #: Rendered model servers, for runbooks that apply them.
    wanted: tuple[JsonObject, ...] = ()
    #: Why the router's release changes; empty where it does not.
    router_change: str = ""


@dataclasses.dataclass(frozen=True)
class World:
    """One look at the cluster."""

    plan: Json
    seen: Seen
    nodes: tuple[JsonObject, ...] = ()
    #: Every pod of the cluster, for what is left on the nodes.
    pods: tuple[JsonObject, ...] = ()


@dataclasses.dataclass(frozen=True)
class Intent:
    """What will happen. ``impact`` is told in any case; ``interrupts`` says whether someone has to say yes."""

    findings: tuple[Finding, ...] = ()
    impact: tuple[str, ...] = ()
    interrupts: bool = False
    #: Why there is nothing to do; empty where there is.
    idle: str = ""
    groups: tuple[Group, ...] = ()
    nodes: tuple[str, ...] = ()
    router_nodes: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    #: A group is not ready: its logs tell why, and go with its pods.
    unhealthy: bool = False

    def as_dict(self) -> JsonObject:
        return {
            "impact": list(self.impact),
            "interrupts": self.interrupts,
            "idle": self.idle,
            "tiers": list(self.tiers),
            "unhealthy": self.unhealthy,
            "nodes": list(self.nodes),
            "router_nodes": list(self.router_nodes),
            "groups": [
                {
                    "role": group.role,
                    "set": group.set_name,
                    "index": group.index,
                    "leader": group.leader["metadata"]["name"] if group.leader else "",
                    "pods": [{"name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]} for pod in group.pods],
                }
                for group in self.groups
            ],
        }


def restart_group(world: World, asked: Asked) -> Intent:
    group, findings = _operate.target_group(world.plan, world.seen, asked.tier, asked.group)
    if group is None:
        return Intent(tuple(findings))
    others = _operate.spare(group, _operate.all_groups(world.plan, world.seen))
    serving = any(_operate.pod_ready(pod) for pod in group.pods)
    return Intent(
        impact=(_operate.interruption(group, others, asked.budget),),
        interrupts=serving,
        groups=(group,),
        tiers=(group.role,),
    )


def drain_node(world: World, asked: Asked) -> Intent:
    """Every group with a pod on the node moves; one that has no other place to go stays, and so does the node."""
    if refused := _unknown_node(world, asked):
        return Intent(tuple(refused))
    known = _operate.all_groups(world.plan, world.seen)
    moved = [group for group in known if asked.node in group.nodes]
    node = next(item for item in world.nodes if item["metadata"]["name"] == asked.node)
    cordoned = bool((node.get("spec") or {}).get("unschedulable"))
    if not moved:
        idle = f"{asked.node} is cordoned and no pod of the deployment is on it" if cordoned else ""
        return Intent(impact=(f"{asked.node}: no group of the deployment is on it",), idle=idle, nodes=(asked.node,))
    leaving = {pod["metadata"]["uid"] for group in moved for pod in group.pods}
    rest = [item for item in world.nodes if item["metadata"]["name"] != asked.node]
    free = _operate.free_amounts(rest, world.pods, leaving)
    findings = []
    for group in moved:
        workload = world.seen.set_of(group.set_name) or {}
        spec = _operate.template_of(workload)
        demands = [_operate.Demand(pod["metadata"]["name"], spec) for pod in group.pods]
        fix = "Add or uncordon a node first, or make the deployment smaller (playbooks/scale.yml). Nothing was changed."
        findings += _operate.room_findings(f"{group.title} without {asked.node}", demands, rest, free, fix)
    impact = [_operate.interruption(group, _operate.spare(group, known, gone=moved), asked.budget) for group in moved]
    return Intent(
        tuple(findings),
        (f"{asked.node} is cordoned; {len(moved)} group{'s' * (len(moved) > 1)} restart elsewhere", *impact),
        interrupts=True,
        groups=tuple(moved),
        nodes=(asked.node,),
        tiers=tuple(dict.fromkeys(group.role for group in moved)),
    )


def return_node(world: World, asked: Asked) -> Intent:
    if refused := _unknown_node(world, asked):
        return Intent(tuple(refused))
    node = next(item for item in world.nodes if item["metadata"]["name"] == asked.node)
    cordoned = bool((node.get("spec") or {}).get("unschedulable"))
    idle = "" if cordoned else f"{asked.node} is not cordoned"
    return Intent(impact=(f"{asked.node} takes pods again; no group moves to it",), idle=idle, nodes=(asked.node,))


def scale(world: World, asked: Asked) -> Intent:
    """Both tiers to the sizes of the inventory. Room is judged for all that is new, before anything changes."""
    known = _operate.all_groups(world.plan, world.seen)
    steps = [
        (_operate.scale_of(role, world.plan, workload), workload)
        for role in TIERS
        if (workload := world.seen.set_of(world.plan[role]["lws_name"]))
    ]
    due = [(step, workload) for step, workload in steps if step.kind != "none"]
    if not due:
        return Intent(idle="both tiers have the sizes of the inventory")
    leaving = [group for step, _workload in due for group in _operate.scale_leaving(step, known)]
    uids = {pod["metadata"]["uid"] for group in leaving for pod in group.pods}
    free = _operate.free_amounts(world.nodes, world.pods, uids)
    demands = [demand for step, workload in due for demand in _operate.scale_demands(step, world.plan, workload)]
    fix = "Add nodes, or ask for less: wide_ep_*_groups, wide_ep_*_hosts_per_group. Nothing was changed."
    findings = _operate.room_findings("; ".join(step.text for step, _workload in due), demands, world.nodes, free, fix)
    gone = [
        _operate.interruption(group, _operate.spare(group, known, gone=leaving), asked.budget)
        if any(step.role == group.role and step.kind == "resize" for step, _workload in due)
        else f"{group.title}: {len(group.pods)} pods, {group.gpus} GPUs go; requests under way on it fail"
        for group in leaving
    ]
    return Intent(
        tuple(findings),
        (*(f"{step.text}; {len(_operate.scale_demands(step, world.plan, w))} new pods" for step, w in due), *gone),
        interrupts=bool(leaving),
        groups=tuple(leaving),
        tiers=tuple(step.role for step, _workload in due),
    )


def upgrade(world: World, asked: Asked) -> Intent:
    """The router first, then decode, then prefill, each only where it changes."""
    mixed = _operate.mixed_revisions(world.plan, world.seen)
    due = [change for change in changes(asked.wanted, world.seen.sets, asked.budget) if change.action != "keep"]
    router = [f"router: {asked.router_change}; no request is answered while the endpoint picker starts"]
    impact = router if asked.router_change else []
    known = _operate.all_groups(world.plan, world.seen)
    for change in due:
        tier = [group for group in known if group.role == change.role]
        kept = change.action == "restart" and len(tier) > 1 and all(group.ready for group in tier)
        case = (
            "a spare group exists: service is kept, one group after the other restarts"
            if kept
            else (
                "no spare group: the tier is away until it is ready again"
                if change.action in ("restart", "recreate")
                else "no pod restarts"
            )
        )
        impact.append(f"{change.role}: {change.action}, {sum(group.gpus for group in tier)} GPUs; {case}")
        impact += [f"  {line}" for line in change.lines[:12]]
    if not impact and not mixed:
        return Intent(idle="router and model servers run what the inventory asks for")
    nodes = dict.fromkeys(node for group in known for node in group.nodes)
    return Intent(
        tuple(mixed),
        tuple(impact),
        interrupts=bool(asked.router_change) or any(change.action in ("restart", "recreate") for change in due),
        nodes=tuple(nodes),
        router_nodes=router_nodes(world),
        tiers=tuple(role for role in ("decode", "prefill") if role in {change.role for change in due}),
    )


def router_nodes(world: World) -> tuple[str, ...]:
    prefix = f"{world.plan['release']}-epp-"
    pods = [pod for pod in world.seen.pods if pod["metadata"]["name"].startswith(prefix)]
    return tuple(dict.fromkeys(pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")))


def restart_all(world: World, asked: Asked) -> Intent:
    """Every group once, decode first: running pods do not read a changed Secret again."""
    known = _operate.all_groups(world.plan, world.seen)
    ordered = [group for role in ("decode", "prefill") for group in known if group.role == role and group.pods]
    impact = [_operate.interruption(group, _operate.spare(group, known), asked.budget) for group in ordered]
    return Intent(impact=tuple(impact), interrupts=bool(ordered), groups=tuple(ordered), tiers=TIERS)


def look_only(_world: World, _asked: Asked) -> Intent:
    return Intent()


OPERATIONS: t.Mapping[str, t.Callable[[World, Asked], Intent]] = {
    "restart_group": restart_group,
    "drain_node": drain_node,
    "return_node": return_node,
    "scale": scale,
    "upgrade": upgrade,
    "rollback": upgrade,
    "rotate_hf_token": restart_all,
    "look": look_only,
}
#: Runbooks that judge what is left on the nodes.
NEEDS_NODES = frozenset({"drain_node", "return_node", "scale"})


def judge(operation: str, world: World, asked: Asked) -> Intent:
    """The intent of a runbook, or why it cannot start: no deployment, half of one, or another owner's."""
    _state, findings = _operate.presence(world.plan, world.seen)
    if findings:
        return Intent(tuple(findings))
    broken = not all(group.ready for group in _operate.all_groups(world.plan, world.seen))
    return dataclasses.replace(OPERATIONS[operation](world, asked), unhealthy=broken)


def _unknown_node(world: World, asked: Asked) -> list[Finding]:
    names = [node["metadata"]["name"] for node in world.nodes]
    if asked.node in names:
        return []
    evidence = f"{asked.node or 'no node is named'}; the nodes are {', '.join(names) or 'none'}"
    return [Finding("RUNBOOK_TARGET", "error", "operate_node", evidence, "Set operate_node to the name of a node.")]
