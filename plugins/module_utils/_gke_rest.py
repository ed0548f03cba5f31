# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of Google's REST APIs: retries, lost answers, long operations. Private to the collection.

A write whose answer is lost may have been carried out. It is repeated only after a look at the open operations and at
the object, so that nothing is created twice.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
import traceback
import typing as t
import uuid
from collections.abc import Callable, Sequence

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_auth
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_errors import (
    TRANSIENT_STATUS,
    ApiError,
    GoogleError,
    JsonObject,
    NoAnswer,
    OperationFailed,
    OperationOpen,
)

try:
    import tenacity
except ImportError:
    TENACITY_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    TENACITY_IMPORT_ERROR = None

Say = Callable[[str], None]
BASES = {
    "compute": ("https://compute.googleapis.com", "/compute/v1/"),
    "container": ("https://container.googleapis.com", "/v1/"),
}
HEARTBEAT = 30.0


@dataclasses.dataclass(frozen=True)
class Target:
    """Something with a path in one of the services."""

    service: t.Literal["compute", "container"]
    path: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> Target:
        return Target(self.service, self.path.rpartition("/")[0])

    @property
    def operations(self) -> Target:
        """Where the operations on it are listed."""
        scope = re.match(r"projects/[^/]+/(global|(regions|zones|locations)/[^/]+)", self.path)
        return Target(self.service, f"{scope[0] if scope else self.path}/operations")

    @property
    def label(self) -> str:
        """``network wide-ep``: kind and name for a line of progress."""
        kind, name = self.path.split("/")[-2:]
        return f"{KINDS.get(kind, kind)} {name}"

    def concerns(self, link: str) -> bool:
        """Whether an operation's target is this object, or inside of it.

        Kubernetes Engine names the project by number and a zonal location as a zone, so that only the rest counts.
        """
        mine = re.sub(r"^projects/[^/]+/(global|(regions|zones|locations)/([^/]+))/", r"\3/", self.path)
        theirs = re.sub(r"^.*?projects/[^/]+/(global|(regions|zones|locations)/([^/]+))/", r"\3/", link)
        return theirs == mine or theirs.startswith(f"{mine}/")


KINDS = {
    "networks": "network",
    "subnetworks": "subnetwork",
    "firewalls": "firewall",
    "routers": "router",
    "resourcePolicies": "policy",
    "clusters": "cluster",
    "nodePools": "node pool",
}


@dataclasses.dataclass(frozen=True)
class Call:
    """A write. ``done``, or ``seen`` for an update, is how the subject shows that it was carried out."""

    verb: str
    target: Target
    subject: Target
    what: str
    body: JsonObject | None = None
    done: t.Literal["exists", "gone"] | None = None
    seen: Callable[[], bool] | None = None


@dataclasses.dataclass(frozen=True)
class Operation:
    """A long-running operation as it was last seen."""

    target: Target
    subject: str
    status: str
    code: str = ""
    message: str = ""

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def open(self) -> bool:
        return self.status != "DONE"


def operation_of(scope: Target, body: JsonObject) -> Operation:
    """Both services' forms; ``scope`` is where operations are listed."""
    error = body.get("error") or {}
    first = (error.get("errors") or [error])[0]
    return Operation(
        Target(scope.service, f"{scope.path}/{body['name']}"),
        re.sub(r"^.*?projects/[^/]+/", "", str(body.get("targetLink", ""))),
        str(body.get("status", "")),
        str(first.get("code", "")),
        str(first.get("message", "")),
    )


@dataclasses.dataclass(frozen=True)
class Pace:
    """Seconds: the longest pause between two looks, how long faults are borne, and when to give up."""

    poll: float = 30.0
    retry_for: float = 300.0
    timeout: float = 3600.0

    @property
    def first(self) -> float:
        return self.poll / 30


class Client:
    """``say`` gets lines of progress. No token is in any of them, nor in an error."""

    def __init__(self, session: t.Any, api_endpoint: str | None, say: Say, pace: Pace) -> None:
        self.session = session
        self.api_endpoint = (api_endpoint or "").rstrip("/")
        self.say = say
        self.pace = pace
        self.deadline = time.monotonic() + pace.timeout
        self.operations: list[str] = []

    # Requests

    def call(self, verb: str, target: Target, query: t.Mapping[str, str], body: JsonObject | None) -> JsonObject:
        """One attempt."""
        host, prefix = BASES[target.service]
        url = f"{self.api_endpoint or host}{prefix}{target.path}"
        try:
            answer = _gke_auth.send(self.session, verb, url, query, body)
        except OSError as error:
            raise NoAnswer(verb, url, str(error)) from error
        retry_after = _seconds(answer.headers.get("Retry-After", ""))
        if answer.status_code in TRANSIENT_STATUS:
            raise NoAnswer(verb, url, f"HTTP status {answer.status_code}", retry_after)
        try:
            content = answer.json() if answer.content else {}
        except (json.JSONDecodeError, ValueError) as error:
            raise NoAnswer(verb, url, "the answer is no JSON") from error
        if answer.status_code >= 300:
            raise ApiError(verb, target.path, answer.status_code, content, retry_after)
        return t.cast(JsonObject, content)

    def get(self, target: Target, query: t.Mapping[str, str] | None = None) -> JsonObject | None:
        """An object, or None if there is none of that path."""
        for attempt in self._attempts():
            with attempt:
                try:
                    return self.call("GET", target, query or {}, None)
                except ApiError as error:
                    if error.not_found:
                        return None
                    raise
        raise AssertionError("the attempts end with an answer or an error")

    def pages(self, target: Target, key: str, query: t.Mapping[str, str] | None = None) -> list[t.Any]:
        """All items of a list."""
        items: list[t.Any] = []
        more = dict(query or {})
        while True:
            page = self.get(target, more) or {}
            found = page.get(key) or []
            items += found.items() if isinstance(found, dict) else found
            if not page.get("nextPageToken"):
                return items
            more["pageToken"] = str(page["nextPageToken"])

    def write(self, call: Call) -> Operation | None:
        """Carry out a call; None if it turns out to have been carried out to its end already."""
        self.say(call.what)
        query = {"requestId": str(uuid.uuid4())} if call.target.service == "compute" else {}
        unsure = False
        for attempt in self._attempts():
            with attempt:
                known, operation = self._outcome(call) if unsure else (False, None)
                if known:
                    return operation
                try:
                    body = self.call(call.verb, call.target, query, call.body)
                    return self._begun(operation_of(call.subject.operations, body))
                except NoAnswer as error:
                    unsure = True
                    self.say(f"{call.what}: no answer ({error.cause}), looking whether it was carried out")
                    raise
                except ApiError as error:
                    if call.done == "gone" and error.not_found:
                        return None
                    if error.busy:
                        self._settle(call.subject)
                    unsure = unsure or error.exists
                    raise
        raise AssertionError("the attempts end with an answer or an error")

    def _begun(self, operation: Operation) -> Operation:
        self.operations.append(operation.name)
        return operation

    def _outcome(self, call: Call) -> tuple[bool, Operation | None]:
        """After a lost answer: the operation that runs, or that the object shows the end of it."""
        running = self.open_operations([call.subject])
        if running:
            self.say(f"{call.what}: it was, operation {running[0].name} goes on")
            return True, self._begun(running[0])
        if call.seen is not None:
            return call.seen(), None
        there = call.done is not None and self.get(call.subject) is not None
        return (call.done == "exists" and there) or (call.done == "gone" and not there), None

    def _attempts(self) -> t.Any:
        """Retries that are worth it, with growing pauses and as long as a server asks for."""
        first = self.pace.first
        pause = tenacity.wait_exponential(multiplier=first, max=self.pace.poll) + tenacity.wait_random(0, first)

        def wait(state: t.Any) -> float:
            error = state.outcome.exception()
            return max(float(pause(state)), min(getattr(error, "retry_after", 0.0), 120.0))

        def stop(state: t.Any) -> bool:
            if time.monotonic() > self.deadline:
                return True
            busy = getattr(state.outcome.exception(), "busy", False)
            return not busy and bool(state.seconds_since_start > self.pace.retry_for)

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(worth_repeating), wait=wait, stop=stop, sleep=time.sleep, reraise=True
        )

    # Operations

    def open_operations(self, subjects: Sequence[Target]) -> list[Operation]:
        """What is still going on with any of them."""
        found: list[Operation] = []
        for scope in dict.fromkeys(subject.operations for subject in subjects):
            compute = scope.service == "compute"
            key, query = ("items", {"filter": "status!=DONE"}) if compute else ("operations", {})
            mine = [subject for subject in subjects if subject.operations == scope]
            found += [
                operation_of(scope, body)
                for body in self.pages(scope, key, query)
                if body.get("status") != "DONE"
                and any(subject.concerns(str(body.get("targetLink", ""))) for subject in mine)
            ]
        return found

    def _settle(self, subject: Target) -> None:
        """Wait for what holds up a write: anything that goes on with the object or with its cluster."""
        cluster, inner, _pool = subject.path.partition("/nodePools/")
        around = Target(subject.service, cluster) if inner else subject
        running = self.open_operations([around])
        if running:
            self.say(f"{subject.label} has to wait for operation {running[0].name}")
            self.wait(running, failing=False)

    def wait(self, operations: Sequence[Operation | None], *, failing: bool = True) -> None:
        """Until all are done. ``failing`` raises the first error, once all have ended."""
        open_ones = {operation.target: operation for operation in operations if operation is not None}
        failed: list[Operation] = []
        begun = told = time.monotonic()
        pause = self.pace.first
        while open_ones:
            if time.monotonic() + pause > self.deadline:
                left = [(operation.name, operation.subject) for operation in open_ones.values()]
                raise OperationOpen(left, self.pace.timeout)
            time.sleep(pause)
            pause = min(pause * 1.6, self.pace.poll)
            for target, before in list(open_ones.items()):
                seen = self._seen(before)
                open_ones[target] = seen
                if not seen.open:
                    del open_ones[target]
                    failed += [seen] if seen.code or seen.message else []
                    self.say(f"operation {seen.name} on {seen.subject}: {seen.message or 'done'}")
            if open_ones and time.monotonic() - told >= HEARTBEAT:
                told = time.monotonic()
                self.say(f"{len(open_ones)} operations still run after {told - begun:.0f} s")
        if failed and failing:
            raise OperationFailed(failed[0].name, failed[0].subject, failed[0].code, failed[0].message)

    def _seen(self, operation: Operation) -> Operation:
        """Its state now. One that Google no longer knows has ended; the object tells how."""
        body = self.get(operation.target)
        if body is None:
            return dataclasses.replace(operation, status="DONE")
        return operation_of(operation.target.parent, body)


def worth_repeating(error: BaseException) -> bool:
    if isinstance(error, NoAnswer):
        return True
    return isinstance(error, ApiError) and (error.rate_limited or error.busy or error.exists)


def _seconds(text: str) -> float:
    """Retry-After in seconds; its form with a date is rare and not worth more than the usual pause."""
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else 0.0


def missing_libraries() -> list[tuple[str, str]]:
    """Name and traceback of what cannot be imported."""
    found = (("google-auth and requests", _gke_auth.GOOGLE_IMPORT_ERROR), ("tenacity", TENACITY_IMPORT_ERROR))
    return [(name, problem) for name, problem in found if problem is not None]


__all__ = ["Call", "Client", "GoogleError", "Operation", "Pace", "Target", "missing_libraries"]
