# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the pod of a benchmark, or finds that of an interrupted run, and follows it to its end.

Private to the collection: it may change at any time.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_launch import (
    CONTAINER,
    EXPERIMENT_ANNOTATION,
    POD,
    REQUEST_ANNOTATION,
    Launch,
    frames,
    pod,
    program_map,
    progress_text,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client, ClientError
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._pd_run import STUCK

POLL_SECONDS = 2.0
SHOW_SECONDS = 10.0
#: A pod of the same name that is on its way out.
GONE_SECONDS = 120.0
ENDED = ("Succeeded", "Failed")

JsonObject = dict[str, t.Any]


class PodError(Exception):
    """The pod cannot make the load; ``findings`` say why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.text())
        self.finding = finding


@dataclasses.dataclass(frozen=True)
class Patience:
    """Seconds: until the pod runs, without a word of it, and without an answer of the API server."""

    start: float
    silence: float
    api: float


@dataclasses.dataclass(frozen=True)
class Ended:
    """The launcher's last word, and the pod that said it."""

    word: JsonObject
    experiment: str
    pod: JsonObject


class Follower:
    def __init__(
        self, client: Client, launch: Launch, patience: Patience, show: t.Callable[[str], t.Any], program: str
    ) -> None:
        self._client, self._launch, self._patience = client, launch, patience
        self._show, self._program = show, program
        self._base = f"/api/v1/namespaces/{launch.namespace}"
        self._path = f"{self._base}/pods/{POD}"
        self._shown, self._state = 0.0, ""
        self.adopted = False

    def start(self, experiment: str, targets: t.Sequence[t.Mapping[str, t.Any]], *, replace: bool) -> JsonObject:
        """The pod: that of an interrupted run of the same request, or a new one."""
        there = self._client.get_or_none(self._path)
        told = self._launch.told(experiment, targets)
        if there is not None and self._is_ours(there):
            self.adopted = True
            self._show(f"  going on with pod {POD} of an interrupted run")
            if self._client.get_or_none(f"{self._base}/configmaps/{POD}") is None:
                own = there["metadata"]["annotations"][EXPERIMENT_ANNOTATION]
                self._tell({**told, "experiment": own}, there)
            return there
        if there is not None:
            self._clear(there, replace)
        made = self._client.create(f"{self._base}/pods", pod(self._launch, experiment))
        self.remove_map()
        self._tell(told, made)
        return made

    def _tell(self, told: JsonObject, owner: JsonObject) -> None:
        self._client.create(f"{self._base}/configmaps", program_map(self._launch, self._program, told, owner))

    def _is_ours(self, there: JsonObject) -> bool:
        annotations = there["metadata"].get("annotations") or {}
        phase = (there.get("status") or {}).get("phase")
        leaving = there["metadata"].get("deletionTimestamp")
        return annotations.get(REQUEST_ANNOTATION) == self._launch.request and phase not in ENDED and not leaving

    def _clear(self, there: JsonObject, replace: bool) -> None:
        """One that has ended can give nothing any more; one that runs may be someone's measurement."""
        phase = (there.get("status") or {}).get("phase")
        if phase not in ENDED and not there["metadata"].get("deletionTimestamp") and not replace:
            evidence = f"it is {phase} and makes another load, or holds results that nobody has collected"
            fix = "Wait for its end, or remove it with benchmark_replace_pod=true. What it has measured is lost then."
            raise PodError(Finding("BENCHMARK_POD_IN_USE", "error", self._subject, evidence, fix))
        self.remove()
        deadline = time.monotonic() + GONE_SECONDS
        while self._client.get_or_none(self._path) is not None:
            if time.monotonic() > deadline:
                evidence = f"it still exists {GONE_SECONDS:g} s after its removal"
                fix = f"Look at its node: kubectl describe pod {POD} -n {self._launch.namespace}"
                raise PodError(Finding("BENCHMARK_POD", "error", self._subject, evidence, fix))
            time.sleep(POLL_SECONDS / 2)

    @property
    def _subject(self) -> str:
        return f"pod {self._launch.namespace}/{POD}"

    def follow(self, made: JsonObject) -> Ended:
        """Until the launcher has said its last word; PodError where it will not."""
        uid, experiment = made["metadata"]["uid"], made["metadata"]["annotations"][EXPERIMENT_ANNOTATION]
        started = heard = answered = time.monotonic()
        word: JsonObject = {}
        while True:
            now = time.monotonic()
            try:
                found = self._look(uid)
                answered = now
                latest = self._latest(found)
                if latest and latest != word:
                    word, heard = latest, now
                    self._report(word)
                if word.get("state") == "ended":
                    return Ended(word, experiment, found)
                self._judge(found, now - started, now - heard, bool(word))
            except ClientError as error:
                if not getattr(error, "transient", False) or now - answered > self._patience.api:
                    raise
                # What was not asked was not silent.
                heard = max(heard, now - self._patience.silence / 2)
            time.sleep(POLL_SECONDS)

    def _look(self, uid: str) -> JsonObject:
        found = self._client.get_or_none(self._path)
        if found is None or found["metadata"]["uid"] != uid:
            state = "it was removed" if found is None else "another pod has its name"
            raise self._lost(f"{state} while it made the load")
        return found

    def _latest(self, found: JsonObject) -> JsonObject:
        """The newest line of progress, none where there is no log.

        The API server, which has just answered, asks the kubelet for it: that of a lost node says no, or nothing at all
        until the time is over. Both are silence of the pod.
        """
        if not (found.get("status") or {}).get("containerStatuses"):
            return {}
        try:
            said = frames(self._client.logs(self._launch.namespace, POD, CONTAINER, tail=40))
        except ClientError:
            return {}
        return said[-1] if said else {}

    def _judge(self, found: JsonObject, waited: float, silent: float, spoken: bool) -> None:
        status = found.get("status") or {}
        phase = status.get("phase")
        if phase in ENDED:
            raise self._lost(f"it is {phase}: {self._reason(status)}")
        if found["metadata"].get("deletionTimestamp"):
            raise self._lost("it is being removed by someone else")
        if phase == "Pending":
            stuck = self._stuck(status)
            if stuck or waited > self._patience.start:
                evidence = "; ".join([stuck or f"it is Pending after {waited:.0f} s", *self._events()])
                fix = "Correct benchmark_image, benchmark_resources or where it may run (benchmark_node_selector, "
                fix += "benchmark_tolerations); a slow pull gets more time by benchmark_start_timeout."
                raise PodError(Finding("BENCHMARK_POD", "error", self._subject, evidence, fix))
            return
        if silent > self._patience.silence:
            what = "has said nothing" if spoken else "has not said a word"
            raise self._lost(f"it {what} for {silent:.0f} s; {self._node(found)}")

    def _lost(self, evidence: str) -> PodError:
        fix = "Run the benchmark again. Nothing of this run is kept: what it had measured went with the pod."
        return PodError(Finding("BENCHMARK_POD", "error", self._subject, evidence, fix))

    def _node(self, found: JsonObject) -> str:
        name = found["spec"].get("nodeName")
        try:
            node = self._client.get(f"/api/v1/nodes/{name}")
        except ClientError as error:
            return f"its node {name} cannot be read: {error}"
        conditions = (node.get("status") or {}).get("conditions") or ()
        ready: JsonObject = next((one for one in conditions if one["type"] == "Ready"), {})
        return f"its node {name} is Ready: {ready.get('status')} ({ready.get('reason')})"

    @staticmethod
    def _reason(status: JsonObject) -> str:
        ends = [(one.get("state") or {}).get("terminated") for one in status.get("containerStatuses") or ()]
        codes = [f"{end.get('reason')}, exit code {end.get('exitCode')}" for end in ends if end]
        said = ": ".join(filter(None, [status.get("reason"), status.get("message")]))
        return "; ".join(filter(None, [said, *codes])) or "no reason given"

    @staticmethod
    def _stuck(status: JsonObject) -> str:
        waiting = [(one.get("state") or {}).get("waiting") or {} for one in status.get("containerStatuses") or ()]
        found = next((one for one in waiting if one.get("reason") in STUCK), None)
        return f"{found['reason']}: {found.get('message', 'no message')}" if found else ""

    def _events(self) -> list[str]:
        try:
            events = self._client.events(self._launch.namespace, f"involvedObject.name={POD}")
        except ClientError:
            return []
        return [f"{one.get('reason')}: {one.get('message')}" for one in events if one.get("type") == "Warning"][-3:]

    def _report(self, word: JsonObject) -> None:
        now = time.monotonic()
        if word["state"] == self._state and now - self._shown < SHOW_SECONDS:
            return
        self._shown, self._state = now, word["state"]
        self._show("  " + progress_text(word))

    def remove(self) -> None:
        """The pod and its program. A node that is gone confirms nothing, so it is not waited for."""
        self._delete(self._path)
        self.remove_map()

    def remove_map(self) -> None:
        self._delete(f"{self._base}/configmaps/{POD}")

    def _delete(self, path: str) -> None:
        try:
            self._client.delete(path, params={"gracePeriodSeconds": 0})
        except ApiError as error:
            if not error.not_found:
                raise
