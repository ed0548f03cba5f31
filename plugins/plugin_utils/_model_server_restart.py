# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a change does to the tiers that run. Private to the collection; it may change at any time.

Another pod template or group size restarts a tier. Kueue's webhook refuses such a change of a set in a queue, so that
set is deleted and created again; any other is changed in place and its controller replaces one group after the other.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_flat import Flat, flatten, flatten_set
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_manifests import GPU_RESOURCE
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._overlay import LIST_KEYS

Json = t.Mapping[str, t.Any]

KIND = "LeaderWorkerSet"
FIELD_MANAGER = "llmd.wide_ep"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
ROLE_LABEL = "llm-d.ai/role"
#: Lines of a change that a message shows; --diff shows all.
SHOWN = 12

Action = t.Literal["create", "keep", "update", "restart", "recreate"]


@dataclasses.dataclass(frozen=True)
class Change:
    """What happens to one tier. ``lines`` are the fields that differ, as in a diff."""

    role: str
    name: str
    action: Action
    lines: tuple[str, ...]
    finding: Finding | None = None

    @property
    def diff(self) -> str:
        if not self.lines:
            return ""
        before = "does not exist" if self.action == "create" else "as it runs"
        return "\n".join([f"--- {KIND} {self.name}, {before}", f"+++ {KIND} {self.name}, wanted", *self.lines, ""])


def changes(wanted: t.Iterable[Json], live: t.Iterable[Json], budget: int) -> list[Change]:
    """One change per wanted LeaderWorkerSet, given those that exist."""
    running = {item["metadata"]["name"]: item for item in live}
    return [change_of(item, running.get(item["metadata"]["name"]), budget) for item in wanted if item["kind"] == KIND]


def change_of(wanted: Json, live: Json | None, budget: int) -> Change:
    role, name = wanted["metadata"]["labels"].get(ROLE_LABEL, ""), wanted["metadata"]["name"]
    if live is None:
        return Change(role, name, "create", tuple(difference(wanted, {}, {})))
    ours = owned(live, _own_fields(live))
    lines = tuple(difference(wanted, live, ours))
    if live["metadata"].get("deletionTimestamp"):
        # It goes already: what is left is to wait for its end.
        return Change(role, name, "recreate", lines)
    queued = QUEUE_LABEL in labels(live) or QUEUE_LABEL in labels(wanted)
    # A queue that no one asked for is Kueue's default; it would be there again after the set was created again.
    left = QUEUE_LABEL not in labels(wanted) and QUEUE_LABEL in labels(ours)
    moved = left or (QUEUE_LABEL in labels(wanted) and labels(live).get(QUEUE_LABEL) != labels(wanted)[QUEUE_LABEL])
    if not moved and not restarts(wanted, live):
        return Change(role, name, "update" if lines else "keep", lines)
    action: Action = "recreate" if queued else "restart"
    return Change(role, name, action, lines, restart_finding(role, live, action, lines, budget))


def restarts(wanted: Json, live: Json) -> bool:
    """Whether the pods would be others: another template, or another number in a group."""
    sizes = [item["spec"]["leaderWorkerTemplate"].get("size", 1) for item in (wanted, live)]
    live_pod = template(live)
    differs = difference_of(
        flatten(template(wanted)), flatten(live_pod), flatten(template(owned(live, _own_fields(live))))
    )
    return sizes[0] != sizes[1] or bool(differs)


def template(workload: Json) -> Json:
    found: Json = workload.get("spec", {}).get("leaderWorkerTemplate", {}).get("workerTemplate", {})
    return found


def labels(workload: Json) -> Json:
    return workload.get("metadata", {}).get("labels") or {}


def difference(wanted: Json, live: Json, ours: Json) -> list[str]:
    return difference_of(*(flatten_set(item) for item in (wanted, live, ours)))


def difference_of(wanted: Flat, live: Flat, ours: Flat) -> list[str]:
    """Fields that differ. Of fields that are not wanted only ``ours`` count: defaults and webhooks add others."""
    lines = []
    for path in [*wanted, *(path for path in ours if path not in wanted)]:
        before = live.get(path) if path in wanted else ours[path]
        after = wanted.get(path)
        if before == after:
            continue
        lines += [f"-{path}: {_line(before)}"] if before is not None else []
        lines += [f"+{path}: {_line(after)}"] if after is not None else []
    return lines


def owned(value: t.Any, fields: Json | None) -> t.Any:
    """The part of a value that a field manager owns, by the ``fieldsV1`` of its managedFields."""
    if not fields or set(fields) == {"."}:
        return value
    if isinstance(value, t.Mapping):
        parts = {name[2:]: below for name, below in fields.items() if name.startswith("f:") and name[2:] in value}
        return {name: owned(value[name], below) for name, below in parts.items()}
    if isinstance(value, list):
        keyed = [(json.loads(name[2:]), below) for name, below in fields.items() if name.startswith("k:")]
        # Of the keys only the one that the item is shown by: another may be a default, as a port's protocol.
        return [
            {**{key: keys[key] for key in keys if key in LIST_KEYS.values()}, **owned(item, below)}
            for item in value
            for keys, below in keyed
            if isinstance(item, t.Mapping) and keys.items() <= item.items()
        ] or value
    return value


def restart_finding(role: str, live: Json, action: Action, lines: t.Sequence[str], budget: int) -> Finding:
    spec = live["spec"]
    groups, size = int(spec.get("replicas", 1)), int(spec["leaderWorkerTemplate"].get("size", 1))
    gpus = groups * size * _gpus_per_pod(live)
    shown = [*lines[:SHOWN], *([f"… and {len(lines) - SHOWN} lines more, with --diff"] if len(lines) > SHOWN else [])]
    seen = f"{outage(role, groups, action, budget)}\n" + "\n".join(shown)
    fix = (
        "Set wide_ep_allow_restart=true for this run to apply it, or take the change back. Nothing was changed; "
        "--check --diff shows every field."
    )
    subject = f"{role}: {groups} group{'s' * (groups != 1)} of {size} pods, {gpus} GPUs, restart"
    return Finding("RESTART_NEEDED", "error", subject, seen, fix)


def outage(role: str, groups: int, action: Action, budget: int) -> str:
    """What users of the deployment notice, and for how long at most."""
    if action == "restart" and groups > 1:
        return (
            f"the groups restart one after the other, each in at most {budget} s, {groups * budget} s in all; requests "
            f"on the group that restarts fail, and {groups - 1} of {groups} groups serve the others"
        )
    lost = {
        "decode": "every request fails",
        "prefill": "every request fails, or is answered decode-only where the routing sidecar is older than v0.9.0",
    }
    how = "Kueue's queue has it deleted and created again: " if action == "recreate" else ""
    return f"{how}until its pods are ready again, at most {budget} s, {lost.get(role, 'its requests fail')}"


def _gpus_per_pod(workload: Json) -> int:
    containers = template(workload).get("spec", {}).get("containers", [])
    return sum(int((item.get("resources", {}).get("limits") or {}).get(GPU_RESOURCE, 0)) for item in containers)


def _own_fields(live: Json) -> Json | None:
    """What server-side apply recorded as ours; None where nothing of it is."""
    entries = live["metadata"].get("managedFields") or []
    found = [item["fieldsV1"] for item in entries if item.get("manager") == FIELD_MANAGER and "fieldsV1" in item]
    return found[0] if found else None


def _line(value: str | None) -> str:
    text = value or ""
    return json.dumps(text) if "\n" in text else text
