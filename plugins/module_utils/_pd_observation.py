# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen of a deployment, as typed values: the input of the judge in _pd_proof.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._kv_transport import Transport
from ansible_collections.llmd.wide_ep.plugins.module_utils._prometheus_text import (
    Served,
    decided,
    model_names,
    parse,
    served,
    started,
)

BEGIN = "-----BEGIN PD PROOF-----"
END = "-----END PD PROOF-----"
ROLE_LABEL = "llm-d.ai/role"

JsonObject = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class TierExpectation:
    role: str
    lws_name: str
    pods: tuple[str, ...]
    ranks_per_pod: int = 1
    pods_per_group: int = 1

    def first_rank(self, pod: str) -> int:
        """Of the pod's ranks in its group; pods are named group by group, the leader first."""
        host = self.pods.index(pod) % self.pods_per_group if pod in self.pods else 0
        return host * self.ranks_per_pod


@dataclasses.dataclass(frozen=True)
class Expectation:
    namespace: str
    model: str
    tiers: tuple[TierExpectation, ...]
    pool_labels: t.Mapping[str, str]
    router: str
    #: Each rank is an endpoint of the pool, with a port of its own.
    rank_endpoints: bool = False
    #: Whether the KV cache over another network than RDMA, or over none that can be told, is an error.
    kv_enforced: bool = False

    def role_of(self, pod: str) -> str | None:
        return next((tier.role for tier in self.tiers if pod in tier.pods), None)


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where clients send requests. ``url`` is None where the object that names it is absent."""

    subject: str
    url: str | None
    ready: int
    evidence: str


@dataclasses.dataclass(frozen=True)
class Route:
    """How a Gateway leads to the pool. ``problem`` is empty where it does."""

    subject: str
    exists: bool
    problem: str


@dataclasses.dataclass(frozen=True)
class LwsState:
    name: str
    exists: bool
    replicas: int = 0
    ready: int = 0

    def text(self) -> str:
        if not self.exists:
            return f"LeaderWorkerSet {self.name} does not exist"
        return f"LeaderWorkerSet {self.name} has spec.replicas {self.replicas}, {self.ready} ready"


@dataclasses.dataclass(frozen=True)
class PodState:
    name: str
    role: str
    labels: t.Mapping[str, str]
    ip: str | None
    node: str
    ready: bool
    reason: str
    #: Changes when the pod is replaced or one of its containers starts again.
    incarnation: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Scrape:
    pod: str
    port: int
    error: str | None
    sidecar: t.Any
    served: Served
    models: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Decisions:
    """What one pod of the endpoint picker has counted; ``error`` where its metrics are not given."""

    pod: str
    error: str | None
    counts: t.Mapping[str, float]
    started: float | None


@dataclasses.dataclass(frozen=True)
class Answer:
    kind: str
    status: int | None
    error: str | None
    model: str | None
    choices: int
    text: str
    done: bool | None
    detail: str
    dropped: str | None
    seconds: float
    chunks: int = 0
    prompt_tokens: int = 0
    #: The prefill pod that the request was sent through, where the client chose it.
    prefill: str = ""

    @property
    def ok(self) -> bool:
        return self.status == 200

    def failure(self) -> str:
        """What went wrong, without what differs between equal failures."""
        parts = [self.error or f"HTTP {self.status}", self.dropped or "", " ".join(self.detail.split())[:200]]
        return ": ".join(part for part in parts if part)


@dataclasses.dataclass(frozen=True)
class ClientReport:
    stage: str
    url: str
    model_names: tuple[str, ...]
    models_error: str | None
    before: tuple[Scrape, ...]
    after: tuple[Scrape, ...]
    answers: tuple[Answer, ...]
    seconds: float
    decisions_before: tuple[Decisions, ...] = ()
    decisions_after: tuple[Decisions, ...] = ()

    @property
    def answered(self) -> int:
        return sum(answer.ok for answer in self.answers)


@dataclasses.dataclass(frozen=True)
class Observation:
    endpoint: Endpoint
    lws: t.Mapping[str, LwsState]
    pods_before: tuple[PodState, ...]
    pods_after: tuple[PodState, ...]
    client: ClientReport | None = None
    #: Why there is no report: the client pod did not start, or left none.
    client_problem: tuple[str, str] | None = None
    router_before: tuple[PodState, ...] = ()
    #: None where the proof ended before it could be read again.
    router_after: tuple[PodState, ...] | None = None
    route_before: Route | None = None
    route_after: Route | None = None
    #: Per prefill pod; empty where it was not asked for.
    transports: tuple[Transport, ...] = ()


class ReportError(Exception):
    """The client pod's log holds no whole report."""


def read_report(log: str) -> ClientReport:
    """The report between the marker lines of the client pod's log."""
    _before, begin, rest = log.partition(BEGIN + "\n")
    text, end, tail = rest.partition("\n" + END)
    if not begin or not end:
        last = [line for line in log.splitlines() if line.strip()][-5:]
        raise ReportError("the log has no report; its last lines: " + (" | ".join(last) or "none"))
    if hashlib.sha256(text.encode()).hexdigest() != tail.split()[0]:
        raise ReportError("the report does not match its digest: the log was cut or mixed with other output")
    return parse_report(json.loads(text))


def parse_report(raw: JsonObject) -> ClientReport:
    models = raw.get("models") or {}
    return ClientReport(
        stage=str(raw["stage"]),
        url=str(raw["url"]),
        model_names=tuple(models.get("names") or ()),
        models_error=models.get("error"),
        before=tuple(_scrape(one) for one in raw.get("before") or ()),
        after=tuple(_scrape(one) for one in raw.get("after") or ()),
        answers=tuple(_answer(one) for one in raw.get("requests") or ()),
        seconds=float(raw.get("seconds") or 0.0),
        decisions_before=tuple(_decisions(one) for one in raw.get("router_before") or ()),
        decisions_after=tuple(_decisions(one) for one in raw.get("router_after") or ()),
    )


def _decisions(raw: JsonObject) -> Decisions:
    samples = parse(raw.get("lines") or ())
    return Decisions(raw["pod"], raw.get("error"), decided(samples), started(samples))


def _scrape(raw: JsonObject) -> Scrape:
    samples = parse(raw.get("lines") or ())
    names = model_names(samples)
    return Scrape(raw["pod"], int(raw["port"]), raw.get("error"), raw.get("sidecar"), served(samples), names)


def _answer(raw: JsonObject) -> Answer:
    return Answer(
        kind=str(raw.get("kind")),
        status=raw.get("status"),
        error=raw.get("error"),
        model=raw.get("model"),
        choices=int(raw.get("choices") or 0),
        text=str(raw.get("text") or ""),
        done=raw.get("done"),
        detail=str(raw.get("detail") or ""),
        dropped=raw.get("dropped"),
        seconds=float(raw.get("seconds") or 0.0),
        chunks=int(raw.get("chunks") or 0),
        prompt_tokens=int(raw.get("prompt_tokens") or 0),
        prefill=str(raw.get("prefill") or ""),
    )


def pod_state(pod: JsonObject) -> PodState:
    metadata, status = pod.get("metadata") or {}, pod.get("status") or {}
    conditions = {c.get("type"): c for c in status.get("conditions") or ()}
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    ready = (conditions.get("Ready") or {}).get("status") == "True" and not metadata.get("deletionTimestamp")
    labels = metadata.get("labels") or {}
    return PodState(
        name=str(metadata.get("name")),
        role=str(labels.get(ROLE_LABEL, "")),
        labels=labels,
        ip=status.get("podIP"),
        node=str((pod.get("spec") or {}).get("nodeName") or ""),
        ready=ready,
        reason="" if ready else _not_ready(metadata, status, conditions, containers),
        incarnation=(str(metadata.get("uid")), *(_life(container) for container in containers)),
    )


def _life(container: JsonObject) -> str:
    return f"{container.get('name')}#{container.get('restartCount', 0)}#{container.get('containerID', '')}"


def _not_ready(
    metadata: JsonObject, status: JsonObject, conditions: JsonObject, containers: t.Iterable[JsonObject]
) -> str:
    if metadata.get("deletionTimestamp"):
        return "it is being deleted"
    for container in containers:
        state = container.get("state") or {}
        stuck = state.get("waiting") or state.get("terminated") or {}
        if stuck.get("reason") not in (None, "PodInitializing", "Completed"):
            message = f": {stuck['message']}" if stuck.get("message") else ""
            return f"container {container.get('name')}: {stuck['reason']}{message}"
    for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready"):
        condition = conditions.get(kind) or {}
        if condition.get("status") == "False":
            return f"{kind} is False: {condition.get('reason', '')} {condition.get('message', '')}".strip()
    return f"phase {status.get('phase', 'unknown')}"


def lws_state(name: str, lws: JsonObject | None) -> LwsState:
    if lws is None:
        return LwsState(name, exists=False)
    spec, status = lws.get("spec") or {}, lws.get("status") or {}
    return LwsState(name, True, int(spec.get("replicas", 1)), int(status.get("readyReplicas") or 0))
