# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for many objects at once: read, assess, yield a Snapshot, sleep.

Private to the collection: it may change at any time, do not import it from elsewhere.

`watch` is a generator without Ansible. Everything that decides is in Assessor, which sees only objects and a time.
"""

from __future__ import annotations

import time
import typing as t
from collections import Counter
from dataclasses import dataclass, field, replace

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client, ClientError
from ansible_collections.llmd.wide_ep.plugins.module_utils._observer import Observation, Reader, Target
from ansible_collections.llmd.wide_ep.plugins.module_utils._predicates import (
    LWS_GROUP,
    LWS_NAME,
    LWS_REVISION,
    LWS_WORKER,
    JsonObject,
    Related,
    State,
    Verdict,
    is_terminating,
    judge,
    labels,
    live_pods,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._troubles import (
    POLICY,
    Trouble,
    event_count,
    event_time,
    event_trouble,
    name_of,
    pod_stage,
    pod_troubles,
    started_since,
)

Outcome = t.Literal["waiting", "ready", "failed", "timeout"]

ROLE_LABEL = "llm-d.ai/role"
#: In a long wait nothing is lost by looking less often.
SLOW_AFTER, SLOW_FACTOR = 300.0, 5
BACKOFF_MAX = 15.0
#: An event younger than this at the first look was caused by what is waited for.
FRESH = 15.0
#: Older events say nothing about now: the kubelet repeats FailedMount every two minutes.
EVENT_MEMORY = 150.0
#: A trouble that was away for so long starts anew (CrashLoopBackOff alternates with Running).
FORGET = 30.0
RECREATIONS = 2
#: A container without probes is Ready the moment it starts, also one that ends at once.
SETTLE = 5.0

_COUNTS: tuple[tuple[str, str, str], ...] = (
    ("groups_ready", "groups_desired", "groups"),
    ("pods_ready", "pods_desired", "pods"),
    ("ready", "desired", "ready"),
    ("succeeded", "desired", "succeeded"),
    ("endpoints_ready", "endpoints", "endpoints"),
    ("nodes", "desired", "nodes"),
)


class Clock(t.Protocol):
    def now(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    now = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)


@dataclass(frozen=True)
class Spec:
    targets: tuple[Target, ...]
    timeout: float = 600.0
    interval: float = 1.0
    stable_for: float = 0.0
    grace: t.Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """A target's state; `troubles` are those of its objects, pods and events."""

    target: Target
    label: str
    state: State
    detail: str
    counts: t.Mapping[str, int] = field(default_factory=dict)
    stages: t.Mapping[str, int] = field(default_factory=dict)
    troubles: tuple[Trouble, ...] = ()
    pods: tuple[JsonObject, ...] = ()

    def text(self) -> str:
        shown = [(self.counts[have], self.counts[want], unit) for have, want, unit in _COUNTS if want in self.counts
                 and have in self.counts]  # fmt: skip
        parts = [f"{have}/{want} {unit}" for have, want, unit in shown]
        held = any(trouble.reason.startswith("Workload") for trouble in self.troubles)
        if held or all(have == want for have, want, _unit in shown):
            parts.append(self.detail if len(self.detail) <= 60 else f"{self.detail[:57]}...")
        parts += [f"{stage} {number}" for stage, number in self.stages.items()]
        return f"{self.label} {', '.join(parts)}"

    def as_dict(self) -> dict[str, t.Any]:
        names = ("api_version", "kind", "namespace", "name", "label_selector")
        return {
            **{name: getattr(self.target, name) for name in names},
            "state": self.state,
            "detail": self.detail,
            "counts": dict(self.counts),
            "stages": dict(self.stages),
        }


@dataclass(frozen=True)
class Snapshot:
    outcome: Outcome
    elapsed: float
    timeout: float
    items: tuple[Item, ...] = ()
    terminal: tuple[Trouble, ...] = ()
    note: str = ""
    requests: int = 0

    @property
    def text(self) -> str:
        """The line without the time: it changes when there is news."""
        unready = [item for item in self.items if item.state != "ready"]
        ready = f"{len(self.items) - len(unready)} of {len(self.items)} ready"
        if not unready:
            return "; ".join(filter(None, (self.note, ready)))
        more = f"and {len(unready) - 3} more" if len(unready) > 3 else ""
        return "; ".join(filter(None, (self.note, *(item.text() for item in unready[:3]), more, ready)))

    def line(self) -> str:
        return f"{self.text}; {minutes(self.elapsed)} of {minutes(self.timeout)}"


def minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def watch(client: Client, spec: Spec, clock: Clock | None = None) -> t.Iterator[Snapshot]:
    """Yield a Snapshot per look; the last one's outcome is ready, failed or timeout.

    Faults of the network or the server are waited out. A refused right is raised at once: no wait heals it.
    """
    clock = clock or SystemClock()
    reader, assessor = Reader(client, spec.targets), Assessor(spec)
    for elapsed, seen in looks(lambda: reader.read(clock.now()), spec.timeout, spec.interval, clock):
        if isinstance(seen, ClientError):
            snapshot = assessor.unreadable(seen, elapsed)
        else:
            snapshot = assessor.assess(seen, elapsed)
        yield replace(snapshot, requests=client.request_count)
        if snapshot.outcome != "waiting":
            return


Seen = t.TypeVar("Seen")


def looks(
    read: t.Callable[[], Seen], timeout: float, interval: float = 1.0, clock: Clock | None = None
) -> t.Iterator[tuple[float, Seen | ClientError]]:
    """What ``read`` returns, or a fault that heals, each with the seconds since the start, until the time is up.

    Faults are waited out at growing intervals; one that no wait heals is raised at once.
    """
    clock = clock or SystemClock()
    start, faults = clock.now(), 0
    while True:
        pause = interval * (SLOW_FACTOR if clock.now() - start > SLOW_AFTER else 1)
        seen: Seen | ClientError
        try:
            seen = read()
            faults = 0
        except ClientError as error:
            if not error.transient:
                raise
            faults += 1
            asked = error.retry_after if isinstance(error, ApiError) else None
            pause = min(BACKOFF_MAX, asked or interval * 2**faults)
            seen = error
        elapsed = clock.now() - start
        yield elapsed, seen
        if elapsed >= timeout:
            return
        clock.sleep(max(0.0, min(pause, timeout - elapsed)))


class Assessor:
    """Remembers since when each trouble lasts and how often each group was recreated."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._since: dict[str, tuple[float, float]] = {}
        self._leaders: dict[tuple[str, str, str], tuple[str, str]] = {}
        self._recreated: Counter[tuple[str, str, str]] = Counter()
        self._events: dict[str, tuple[int, float | None]] | None = None
        self._fresh_events: set[str] = set()
        self._replaced: set[str] | None = None
        self._ready_since: float | None = None
        self._items = tuple(_unread(target) for target in spec.targets)
        self._answered_at = 0.0

    def assess(self, seen: Observation, elapsed: float) -> Snapshot:
        self._answered_at = elapsed
        events = self._event_troubles(seen)
        self._note_replaced(seen)
        items = tuple(self._item(target, found, seen, events) for target, found in seen.objects.items())
        self._items = items
        terminal = self._terminal(items, elapsed)
        return Snapshot(self._outcome(items, terminal, elapsed), elapsed, self._spec.timeout, items, terminal)

    def unreadable(self, error: ClientError, elapsed: float) -> Snapshot:
        """The last known state, and that the API server cannot be asked."""
        self._ready_since = None
        outcome: Outcome = "timeout" if elapsed >= self._spec.timeout else "waiting"
        note = f"{error} (for {minutes(elapsed - self._answered_at)})" if outcome == "timeout" else str(error)
        return Snapshot(outcome, elapsed, self._spec.timeout, self._items, (), note)

    def _outcome(self, items: tuple[Item, ...], terminal: tuple[Trouble, ...], elapsed: float) -> Outcome:
        if all(item.state == "ready" for item in items):
            self._ready_since = elapsed if self._ready_since is None else self._ready_since
            if elapsed - self._ready_since >= self._spec.stable_for:
                return "ready"
        else:
            self._ready_since = None
            if terminal:
                return "failed"
        return "timeout" if elapsed >= self._spec.timeout else "waiting"

    def _item(
        self, target: Target, found: tuple[JsonObject, ...] | None, seen: Observation, events: list[Trouble]
    ) -> Item:
        if found is None:
            return _absent(target, "KindMissing", f"the cluster does not serve {target.kind} of {target.api_version}")
        if not target.name:
            found = tuple(obj for obj in found if not is_terminating(obj))
        wanted = max(target.count or 1, len(found))
        if not found:
            return _absent(target, "ObjectMissing", "does not exist" if target.name else f"0 of {wanted} exist")
        related = [seen.related.get(obj["metadata"]["uid"], Related()) for obj in found]
        verdicts = [judge(obj, mine) for obj, mine in zip(found, related, strict=True)]
        pods = tuple(found) if target.kind == "Pod" else tuple(pod for mine in related for pod in mine.pods)
        self._track_groups(pods)
        state, detail = _worst(verdicts, wanted)
        if state == "ready" and (young := [pod for pod in pods if started_since(pod, seen.server_time) < SETTLE]):
            state, detail = "progressing", f"{len(young)} pods without probes started less than {SETTLE:g} s ago"
        stages = Counter(filter(None, map(pod_stage, pods)))
        counts: Counter[str] = Counter()
        for verdict in verdicts:
            counts.update(verdict.counts)
        if target.kind == "Pod" and "pods_desired" in counts:
            counts["pods_desired"] = wanted
        troubles: list[Trouble] = []
        if state != "ready":
            troubles = [*_verdict_troubles(found, verdicts), *self._pod_troubles(pods), *self._group_troubles(pods)]
            lacking = len(live_pods(pods)) < counts.get("pods_desired", counts.get("desired", 0))
            troubles += [trouble for trouble in events if _concerns(trouble, found, pods, lacking)]
        return Item(target, _label(target, found), state, detail, counts, stages, tuple(troubles), pods)

    def _pod_troubles(self, pods: tuple[JsonObject, ...]) -> list[Trouble]:
        return [
            trouble
            for pod in pods
            if pod["metadata"].get("uid") not in (self._replaced or ())
            for trouble in pod_troubles(pod)
        ]

    def _note_replaced(self, seen: Observation) -> None:
        """A ReplicaSet replaces failed pods and leaves them listed: those of before the wait are history."""
        if self._replaced is None:
            self._replaced = {
                pod["metadata"].get("uid", "")
                for mine in seen.related.values()
                for pod in mine.pods
                if (pod.get("status") or {}).get("phase") == "Failed" and _owner_kind(pod) == "ReplicaSet"
            }

    def _track_groups(self, pods: tuple[JsonObject, ...]) -> None:
        """Count new leader pods of the same template: after a failure LWS recreates the leader and so the group."""
        for pod in live_pods(pods):
            have = labels(pod)
            if have.get(LWS_WORKER) != "0":
                continue
            group = (pod["metadata"].get("namespace", ""), have.get(LWS_NAME, ""), have.get(LWS_GROUP, ""))
            leader = (pod["metadata"]["uid"], have.get(LWS_REVISION, ""))
            before = self._leaders.get(group, leader)
            if leader[0] != before[0] and leader[1] == before[1]:
                self._recreated[group] += 1
            self._leaders[group] = leader

    def _group_troubles(self, pods: tuple[JsonObject, ...]) -> list[Trouble]:
        mine = {(pod["metadata"].get("namespace", ""), labels(pod).get(LWS_NAME, "")) for pod in pods}
        return [
            Trouble(
                "GroupRecreated",
                f"LeaderWorkerSet {namespace}/{name}, group {index}",
                f"recreated {times} times while waiting: a pod of the group restarted, failed or was deleted",
                f"{namespace}/{name}/{index}/GroupRecreated",
                namespace=namespace,
            )
            for (namespace, name, index), times in self._recreated.items()
            if times >= RECREATIONS and (namespace, name) in mine
        ]

    def _event_troubles(self, seen: Observation) -> list[Trouble]:
        """One trouble per object and reason, the last seen: each pod that a controller fails to create has an event."""
        first, before = self._events is None, self._events or {}
        self._events = {}
        found: dict[str, Trouble] = {}
        for event in sorted(seen.events, key=lambda event: event_time(event) or 0.0):
            uid, when = event["metadata"].get("uid", event["metadata"]["name"]), event_time(event)
            state = (event_count(event), when)
            age = seen.server_time - when if seen.server_time is not None and when is not None else None
            if (first and age is not None and age <= FRESH) or (not first and before.get(uid) != state):
                self._fresh_events.add(uid)
            self._events[uid] = state
            trouble = event_trouble(event, fresh=uid in self._fresh_events)
            if trouble and (age is None or age <= EVENT_MEMORY):
                found[trouble.key] = trouble
        return list(found.values())

    def _terminal(self, items: tuple[Item, ...], elapsed: float) -> tuple[Trouble, ...]:
        over = []
        for trouble in (trouble for item in items for trouble in item.troubles):
            since, last = self._since.get(trouble.key, (elapsed, elapsed))
            since = elapsed if elapsed - last > FORGET else since
            self._since[trouble.key] = (since, elapsed)
            rule = POLICY[trouble.reason]
            grace = self._spec.grace.get(trouble.reason, rule.grace)
            if 0 <= grace <= elapsed - since and trouble.restarts >= rule.restarts:
                over.append(trouble)
        return tuple(over)


def _unread(target: Target) -> Item:
    return Item(target, target.name or str(target.label_selector), "progressing", "not read yet")


def _absent(target: Target, reason: str, detail: str) -> Item:
    trouble = Trouble(reason, str(target), detail, f"{target}/{reason}", namespace=target.namespace or "")
    return Item(target, target.name or str(target.label_selector), "progressing", detail, {}, {}, (trouble,))


def _worst(verdicts: list[Verdict], wanted: int) -> tuple[State, str]:
    for state in ("failed", "progressing"):
        for verdict in verdicts:
            if verdict.state == state:
                return verdict.state, verdict.detail
    if len(verdicts) < wanted:
        return "progressing", f"{len(verdicts)} of {wanted} exist"
    return "ready", verdicts[0].detail


def _verdict_troubles(found: tuple[JsonObject, ...], verdicts: list[Verdict]) -> list[Trouble]:
    return [
        Trouble(
            verdict.reason,
            name_of(obj),
            verdict.detail,
            f"{obj['metadata'].get('uid')}//{verdict.reason}",
            namespace=obj["metadata"].get("namespace", ""),
            pod=obj["metadata"]["name"] if obj["kind"] == "Pod" else "",
        )
        for obj, verdict in zip(found, verdicts, strict=True)
        if verdict.reason
    ]


def _concerns(trouble: Trouble, found: tuple[JsonObject, ...], pods: tuple[JsonObject, ...], lacking: bool) -> bool:
    """Whether an event still explains why the object is not ready.

    A pod's does while the pod is being created; one about creating pods does while pods are lacking. It is about the
    object or about what its controller puts between it and the pods, whose names are the object's and a suffix.
    """
    kind, _space, where = trouble.subject.partition(" ")
    if kind == "Pod":
        return any(where.endswith(f"/{pod['metadata']['name']}") for pod in pods if pod_stage(pod) == "creating")
    if not lacking:
        return False
    names = [f"{obj['metadata'].get('namespace')}/{obj['metadata']['name']}" for obj in found]
    if kind in ("StatefulSet", "ReplicaSet", "Job"):
        return any(name in (where, where.rpartition("-")[0]) for name in names)
    return any(trouble.subject == name_of(obj) for obj in found)


def _owner_kind(pod: JsonObject) -> str:
    owners = pod["metadata"].get("ownerReferences") or []
    return next((str(owner.get("kind")) for owner in owners if owner.get("controller")), "")


def _label(target: Target, found: tuple[JsonObject, ...]) -> str:
    """The guide's role (prefill, decode) where the object or its pods carry it, else the name."""
    obj = found[0]
    spec = obj.get("spec") or {}
    template = (spec.get("leaderWorkerTemplate") or {}).get("workerTemplate") or spec.get("template") or {}
    role = labels(obj).get(ROLE_LABEL) or (labels(template).get(ROLE_LABEL) if isinstance(template, dict) else None)
    return role or target.name or str(target.label_selector)
