# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill the model caches of the nodes before the model servers start."""

from __future__ import annotations

import dataclasses
import time
import typing as t
from pathlib import Path

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client, ClientError
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, report
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _prefetch
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import ACCESS_ARGUMENTS, InProcessAction, display
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._prefetch import NodeState, Settings, Template

POLL_SECONDS = 3.0
SHOW_SECONDS = 15.0
#: How long the API server may be away while nodes download.
API_PATIENCE = 300.0
#: More lines than this would scroll away; the slowest nodes are shown.
SHOWN_NODES = 16

Chosen = t.Sequence[tuple[str, Template]]


class Follower:
    """The Jobs of the nodes: made, watched and removed."""

    def __init__(self, client: Client, settings: Settings, show: t.Callable[[str], t.Any]) -> None:
        self._client = client
        self._settings = settings
        self._show = show
        self._shown = 0.0
        self._answered = time.monotonic()
        base = f"namespaces/{settings.namespace}"
        self._jobs = f"/apis/batch/v1/{base}/jobs"
        self._pods = f"/api/v1/{base}/pods"
        self._maps = f"/api/v1/{base}/configmaps"

    def run(self, chosen: Chosen) -> list[NodeState]:
        """Follow the Jobs to their ends; they and their pods are removed whatever these are.

        A run that is interrupted leaves them: they go on, and the next run finds them by their names.
        """
        states = self._start(chosen)
        deadline = time.monotonic() + self._settings.timeout + _prefetch.START_SECONDS
        while not all(state.ended for state in states):
            self._look_again(states)
            self._report(states)
            if time.monotonic() > deadline:
                self._give_up(states)
            if not all(state.ended for state in states):
                time.sleep(POLL_SECONDS)
        self.remove()
        return states

    def _start(self, chosen: Chosen) -> list[NodeState]:
        wanted = [(node, _prefetch.job(self._settings, node, template)) for node, template in chosen]
        names = {item["metadata"]["name"] for _node, item in wanted}
        there = {item["metadata"]["name"]: item for item in self._list(self._jobs)}
        going_on = {name for name, item in there.items() if name in names and _prefetch.job_state(item)[0] == "running"}
        for name in set(there) - going_on:
            self._delete(self._jobs, name)
        config = _prefetch.config_map(self._settings)
        self._client.apply(f"{self._maps}/{config['metadata']['name']}", config, force=True)
        for _node, item in wanted:
            if item["metadata"]["name"] not in going_on:
                self._create(item)
        return [NodeState(node, item["metadata"]["name"]) for node, item in wanted]

    def _create(self, item: dict[str, t.Any]) -> None:
        """One of the same name may still be on its way out."""
        for _attempt in range(60):
            try:
                self._client.create(self._jobs, item)
                return
            except ApiError as error:
                if error.status != 409:
                    raise
                time.sleep(1)
        self._client.create(self._jobs, item)

    def _look_again(self, states: t.Sequence[NodeState]) -> None:
        """A download takes longer than an API server's restart, and goes on meanwhile."""
        now = time.monotonic()
        try:
            self._look(states)
            self._answered = now
        except ClientError as error:
            if not getattr(error, "transient", False) or now - self._answered > API_PATIENCE:
                raise

    def _look(self, states: t.Sequence[NodeState]) -> None:
        jobs = {item["metadata"]["name"]: item for item in self._list(self._jobs)}
        pods: dict[str, dict[str, t.Any]] = {}
        for pod in sorted(self._list(self._pods), key=lambda item: str(item["metadata"].get("creationTimestamp"))):
            pods[(pod["metadata"].get("labels") or {}).get("job-name", "")] = pod
        for state in states:
            if not state.ended:
                self._look_at(state, jobs.get(state.job), pods.get(state.job))

    def _look_at(self, state: NodeState, job: dict[str, t.Any] | None, pod: dict[str, t.Any] | None) -> None:
        if pod is not None and (pod.get("status") or {}).get("phase") != "Pending":
            state.phase, state.note, state.stuck_since = "running", "no line of progress yet", None
            state.frame = self._frame(pod) or state.frame
        elif pod is not None:
            self._pending(state, pod)
        if job is None:
            state.phase, state.reason, state.note = "failed", "pod", "its Job was deleted by someone else"
            return
        phase, why = _prefetch.job_state(job)
        if phase == "complete":
            state.phase, state.note = "complete", ""
        elif phase == "failed":
            ended = str(state.frame.get("state", ""))
            state.phase, state.note = "failed", why
            state.reason = ended if ended in _prefetch.REASONS else "pod"

    def _pending(self, state: NodeState, pod: dict[str, t.Any]) -> None:
        reason, message = _prefetch.waiting_reason(pod) or ("Pending", "")
        state.phase, state.note = "waiting", f"{reason}: {message}"[:400] if message else reason
        grace = _prefetch.STUCK.get(reason)
        if grace is None:
            state.stuck_since = None
            return
        state.stuck_since = state.stuck_since or time.monotonic()
        if time.monotonic() - state.stuck_since >= grace:
            state.phase, state.reason = "failed", "pod"

    @staticmethod
    def _give_up(states: t.Sequence[NodeState]) -> None:
        for state in states:
            if not state.ended:
                state.note = f"still {state.phase} ({state.note}) when the time for all nodes was over"
                state.phase, state.reason = "failed", "time"

    def _frame(self, pod: dict[str, t.Any]) -> dict[str, t.Any] | None:
        try:
            log = self._client.logs(self._settings.namespace, pod["metadata"]["name"], _prefetch.COMPONENT, tail=6)
        except ApiError:
            return None
        return _prefetch.last_frame(log)

    def _report(self, states: t.Sequence[NodeState]) -> None:
        now = time.monotonic()
        if now - self._shown < SHOW_SECONDS and not all(state.ended for state in states):
            return
        self._shown = now
        slowest = sorted(states, key=lambda state: (state.ended, -(state.frame.get("seconds_left") or 1 << 30)))
        for state in slowest[:SHOWN_NODES]:
            self._show("  " + state.line())
        if len(states) > SHOWN_NODES:
            done = sum(state.phase == "complete" for state in states)
            self._show(f"  and {len(states) - SHOWN_NODES} more; {done} of {len(states)} nodes complete")

    def remove(self) -> None:
        for item in self._list(self._jobs):
            self._delete(self._jobs, item["metadata"]["name"])
        for item in self._list(self._maps):
            self._delete(self._maps, item["metadata"]["name"])

    def _list(self, path: str) -> list[dict[str, t.Any]]:
        return self._client.list(path, {"labelSelector": self._settings.selector})

    def _delete(self, path: str, name: str) -> None:
        try:
            # Background: pods go after their Job; foreground would make a run wait for the pods' grace.
            self._client.delete(f"{path}/{name}", params={"propagationPolicy": "Background"})
        except ApiError as error:
            if not error.not_found:
                raise


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "namespace": {"type": "str", "required": True},
        "release": {"type": "str", "required": True},
        "model": {"type": "str", "required": True},
        "revision": {"type": "str", "default": "main"},
        "objects": {"type": "list", "elements": "dict", "required": True},
        "program": {"type": "path", "required": True},
        "nodes": {"type": "list", "elements": "str", "default": []},
        "workers": {"type": "int", "default": 8},
        "timeout": {"type": "int", "default": 14400},
        "patience": {"type": "int", "default": 1200},
        "reserve_percent": {"type": "float", "default": 10},
        "verify": {"type": "bool", "default": True},
        "resources": {"type": "dict", "default": {}},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        settings = settings_of(arguments)
        given = _prefetch.templates(arguments["objects"])
        if refused := _prefetch.refusals(settings, given):
            return self.refusal(refused)
        client = self.client(arguments)
        chosen, findings = _prefetch.choose(settings, given, client.list("/api/v1/nodes"))
        findings += self._without_token(client, settings, chosen)
        if findings:
            return self.refusal(findings)
        if self.check_mode:
            names = ", ".join(name for name, _template in chosen)
            return {"skipped": True, "msg": f"check mode: would look at the caches of {len(chosen)} nodes: {names}"}
        states = Follower(client, settings, display.display).run(chosen)
        return self._result(settings, states, _prefetch.findings(states, given))

    @staticmethod
    def _without_token(client: Client, settings: Settings, chosen: Chosen) -> list[Finding]:
        """A pod without its Secret would wait for it; whether the token is right is seen by the download."""
        found = []
        for name, key, optional in sorted({template.token for _node, template in chosen}):
            secret = client.get_or_none(f"/api/v1/namespaces/{settings.namespace}/secrets/{name}")
            if not optional and key not in ((secret or {}).get("data") or {}):
                seen = f"it has no key {key}" if secret else "it does not exist"
                fix = "Run playbooks/workspace.yml with HF_TOKEN in the environment, or make it: kubectl create secret "
                fix += f"generic {name} --from-file={key}=<file with the token>"
                found.append(Finding("HF_TOKEN_MISSING", "error", f"Secret {name}", seen, fix))
        return found

    def _result(
        self, settings: Settings, states: t.Sequence[NodeState], findings: t.Sequence[Finding]
    ) -> dict[str, t.Any]:
        message = report(findings) if findings else f"{len(states)} caches are complete"
        return {
            **self.refusal(findings),
            "changed": _prefetch.fetched(states),
            "msg": message,
            "nodes": [state.as_dict() for state in states],
            "summary": _prefetch.summary(settings, states),
            "tables": [_prefetch.table(states)],
        }


def settings_of(arguments: t.Mapping[str, t.Any]) -> Settings:
    taken = {field.name: arguments[field.name] for field in dataclasses.fields(Settings)}
    program = Path(arguments["program"]).read_text(encoding="utf-8")
    return Settings(**{**taken, "program": program, "nodes": tuple(arguments["nodes"])})
