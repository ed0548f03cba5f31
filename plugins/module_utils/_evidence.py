# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a wait failed: findings, waiting reasons, last events and last log lines, for a person at a terminal.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client, ClientError
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, report
from ansible_collections.llmd.wide_ep.plugins.module_utils._predicates import JsonObject
from ansible_collections.llmd.wide_ep.plugins.module_utils._troubles import (
    POLICY,
    Trouble,
    container_statuses,
    event_count,
    event_time,
    exit_text,
    is_sidecar,
    pod_stage,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._waiter import Item, Snapshot, minutes

WIDTH = 100
MAX_LOGS, MAX_KEPT, MAX_EVENTS, MAX_ROWS = 4, 8, 10, 20
TAIL = 15

#: A process may log its environment; the run's output must not carry what is in it.
_SECRETS = re.compile(r"\bhf_\w{6,}|(?<=[Bb]earer )\S+|\beyJ[\w-]+\.[\w-]+\.[\w-]+")


@dataclass(frozen=True)
class ContainerRow:
    pod: str
    container: str
    state: str
    restarts: int
    node: str


@dataclass(frozen=True)
class EventRow:
    age: str
    type: str
    reason: str
    object: str
    message: str
    count: int


@dataclass(frozen=True)
class LogTail:
    namespace: str
    pod: str
    container: str
    previous: bool
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """`notes` says what could not be read."""

    containers: tuple[ContainerRow, ...] = ()
    events: tuple[EventRow, ...] = ()
    logs: tuple[LogTail, ...] = ()
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "containers": [asdict(row) for row in self.containers],
            "last_events": [asdict(row) for row in self.events],
            "logs": [{**asdict(tail), "lines": list(tail.lines)} for tail in self.logs],
            "notes": list(self.notes),
        }


def redacted(text: str) -> str:
    return _SECRETS.sub("<hidden>", text)


class LogKeeper:
    """Reads the log of a container that ended while its pod still exists: LWS deletes the pod within seconds."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._kept: dict[tuple[str, str], LogTail] = {}

    def look(self, snapshot: Snapshot) -> None:
        for item in snapshot.items:
            if item.state == "ready" or item.target.kind != "LeaderWorkerSet":
                continue
            for pod, name, running in _ended(item.pods):
                key = (pod["metadata"]["uid"], name)
                if key not in self._kept and len(self._kept) < MAX_KEPT:
                    tail = read_tail(self._client, pod["metadata"]["namespace"], pod["metadata"]["name"], name, running)
                    self._kept[key] = tail

    def tails(self) -> list[LogTail]:
        return [tail for tail in self._kept.values() if tail.lines]


def _ended(pods: Iterable[JsonObject]) -> list[tuple[JsonObject, str, bool]]:
    """Containers that ended with an error, and whether the next instance already runs."""
    found = []
    for pod in pods:
        for _spec, entry in container_statuses(pod):
            text = exit_text(entry)
            if text and not text.startswith("exit code 0 "):
                found.append((pod, entry["name"], "running" in (entry.get("state") or {})))
    return found


def read_tail(client: Client, namespace: str, pod: str, container: str, previous: bool) -> LogTail:
    try:
        text = client.logs(namespace, pod, container, tail=TAIL, previous=previous)
    except ClientError:
        text = ""
    lines = tuple(redacted(line.rstrip()) for line in text.splitlines() if line.strip())
    return LogTail(namespace, pod, container, previous, lines)


def collect(client: Client, snapshot: Snapshot, keeper: LogKeeper) -> Evidence:
    """Read events and logs of what is not ready; what cannot be read is noted, not raised."""
    unready = [item for item in snapshot.items if item.state != "ready"]
    if snapshot.note:
        return Evidence(_containers(unready), notes=(f"events and logs: {snapshot.note}",))
    notes: list[str] = []
    events: list[EventRow] = []
    logs: list[LogTail] = []
    try:
        events = _events(client, unready)
    except ClientError as error:
        notes.append(f"events: {_brief(error)}")
    try:
        logs = _logs(client, unready, snapshot.terminal)
    except ClientError as error:
        notes.append(f"logs: {_brief(error)}")
    seen = {(tail.pod, tail.container, tail.lines) for tail in logs}
    logs += [tail for tail in keeper.tails() if (tail.pod, tail.container, tail.lines) not in seen]
    return Evidence(_containers(unready), tuple(events), tuple(logs[: MAX_LOGS * 2]), tuple(notes))


def _brief(error: ClientError) -> str:
    return error.message if isinstance(error, ApiError) else str(error)


def _containers(unready: Iterable[Item]) -> tuple[ContainerRow, ...]:
    rows = []
    for pod in _unready_pods(unready):
        node = pod.get("spec", {}).get("nodeName", "")
        entries = container_statuses(pod)
        if not entries:
            rows.append(ContainerRow(pod["metadata"]["name"], "", pod_stage(pod), 0, node))
        for spec, entry in entries:
            if entry.get("ready") or (spec.get("init") and "terminated" in (entry.get("state") or {})):
                continue
            rows.append(
                ContainerRow(
                    pod["metadata"]["name"],
                    f"{entry['name']} (init)" if spec.get("init") and not is_sidecar(spec) else entry["name"],
                    _container_state(entry),
                    entry.get("restartCount", 0),
                    node,
                )
            )
    return tuple(rows[:MAX_ROWS])


def _unready_pods(unready: Iterable[Item]) -> list[JsonObject]:
    pods = {pod["metadata"].get("uid", pod["metadata"]["name"]): pod for item in unready for pod in item.pods}
    return [pod for pod in pods.values() if pod_stage(pod) not in ("", "terminating")]


def _container_state(entry: JsonObject) -> str:
    state = entry.get("state") or {}
    ended = exit_text(entry).splitlines()[0:1]
    if "waiting" in state:
        return "; ".join(filter(None, [state["waiting"].get("reason", "waiting"), *ended]))
    if "running" in state:
        return "; ".join(["not ready" if entry.get("started") else "starting", *ended])
    return ended[0] if ended else "unknown"


def _events(client: Client, unready: Sequence[Item]) -> list[EventRow]:
    names = {pod["metadata"]["name"] for pod in _unready_pods(unready)}
    prefixes = tuple(item.target.name for item in unready if item.target.name)
    rows = []
    for namespace in sorted({item.target.namespace for item in unready if item.target.namespace}):
        for event in client.events(namespace):
            about = str(event["involvedObject"].get("name", ""))
            if about in names or (prefixes and about.startswith(prefixes)):
                rows.append((event_time(event) or 0.0, event))
    rows.sort(key=lambda row: row[0])
    now = client.server_time or (rows[-1][0] if rows else 0.0)
    return [_event_row(event, now - when) for when, event in rows[-MAX_EVENTS:]]


def _event_row(event: JsonObject, age: float) -> EventRow:
    about = event["involvedObject"]
    return EventRow(
        minutes(max(0.0, age)),
        event.get("type", ""),
        event.get("reason", ""),
        f"{about.get('kind')}/{about.get('name')}",
        redacted(" ".join(event.get("message", "").split())),
        event_count(event),
    )


def _logs(client: Client, unready: Sequence[Item], terminal: Sequence[Trouble]) -> list[LogTail]:
    """Of containers in terminal trouble first, then of others that are not ready; only of those that ever ran."""
    urgent = {(trouble.pod, trouble.container) for trouble in terminal}
    candidates = [
        (pod, entry)
        for pod in _unready_pods(unready)
        for _spec, entry in container_statuses(pod)
        if not entry.get("ready") and (exit_text(entry) or "running" in (entry.get("state") or {}))
    ]
    candidates.sort(key=lambda pair: (pair[0]["metadata"]["name"], pair[1]["name"]) not in urgent)
    tails: list[LogTail] = []
    for pod, entry in candidates:
        if len(tails) < MAX_LOGS:
            tails += _tails_of(client, pod, entry)
    return [tail for tail in tails if tail.lines]


def _tails_of(client: Client, pod: JsonObject, entry: JsonObject) -> list[LogTail]:
    where = (pod["metadata"]["namespace"], pod["metadata"]["name"], entry["name"])
    again = "running" in (entry.get("state") or {}) and entry.get("restartCount", 0) > 0
    return [read_tail(client, *where, previous=previous) for previous in ((True, False) if again else (False,))]


def findings_of(snapshot: Snapshot) -> list[Finding]:
    """One finding per cause, however many pods share it; on a timeout one per object that is not ready."""
    if snapshot.outcome == "timeout" and snapshot.note:
        fix = "Check the way to the cluster, then run again."
        return [Finding("API_UNREACHABLE", "error", "Kubernetes API server", snapshot.note, fix)]
    if snapshot.outcome == "timeout":
        return [_late(item, snapshot) for item in snapshot.items if item.state != "ready"]
    causes: dict[tuple[str, str, str], list[Trouble]] = {}
    for trouble in snapshot.terminal:
        causes.setdefault((trouble.reason, trouble.container, _shape(trouble.message)), []).append(trouble)
    return [_finding(troubles) for troubles in causes.values()]


def _shape(message: str) -> str:
    """The message without what differs between pods."""
    return re.sub(r'"[^"]*"|\S*\d\S*', "", message)


def _finding(troubles: Sequence[Trouble]) -> Finding:
    first, others = troubles[0], len({trouble.subject for trouble in troubles}) - 1
    rule = POLICY[first.reason]
    subject = f"{first.subject} (and {others} more)" if others else first.subject
    return Finding(rule.code, "error", subject, redacted(f"{first.reason}: {first.message}"), rule.fix)


def _late(item: Item, snapshot: Snapshot) -> Finding:
    seen = [f"{item.detail} after {minutes(snapshot.elapsed)}"]
    seen += dict.fromkeys(f"{trouble.subject}: {trouble.reason}: {trouble.message}" for trouble in item.troubles[:3])
    fix = POLICY[item.troubles[0].reason].fix if item.troubles else "See the events and log lines below."
    return Finding("NOT_READY_IN_TIME", "error", str(item.target), redacted("\n".join(seen)), fix)


def render(snapshot: Snapshot, evidence: Evidence, width: int = WIDTH) -> str:
    """The message of a failed wait."""
    unready = sum(item.state != "ready" for item in snapshot.items)
    how = "gave up" if snapshot.outcome == "timeout" else "stopped"
    head = f"{unready} of {len(snapshot.items)} objects not ready, {how} after {minutes(snapshot.elapsed)}"
    parts = [f"{head} of {minutes(snapshot.timeout)}.", report(findings_of(snapshot), width - 2)]
    if evidence.containers:
        rows = [(r.pod, r.container, r.state, str(r.restarts), r.node) for r in evidence.containers]
        parts.append(_table(("POD", "CONTAINER", "STATE", "RESTARTS", "NODE"), rows, width))
    if evidence.events:
        parts.append("Last events:\n" + "\n".join(_event_line(row, width) for row in evidence.events))
    parts += [_log_block(tail, width) for tail in evidence.logs]
    parts += [f"Not read: {note}" for note in evidence.notes]
    return "\n\n".join(parts)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(0, width - 3)]}..."


def _event_line(row: EventRow, width: int) -> str:
    times = f" (x{row.count})" if row.count > 1 else ""
    return _cut(f"  {row.age:>5} ago  {row.reason}{times}  {row.object}: {row.message}", width)


def _log_block(tail: LogTail, width: int) -> str:
    which = ", previous instance" if tail.previous else ""
    head = _cut(f"Last log lines of {tail.namespace}/{tail.pod}, container {tail.container}{which}:", width)
    return "\n".join([head, *(_cut(f"  | {line}", width) for line in tail.lines)])


def _table(headers: tuple[str, ...], rows: Sequence[tuple[str, ...]], width: int) -> str:
    """Left-aligned columns; the widest ones give way when the table is too wide."""
    cells = [headers, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > 12:
        widths[widths.index(max(widths))] -= 1
    lines = ("  ".join(f"{_cut(cell, size):<{size}}" for cell, size in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)
