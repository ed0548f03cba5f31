# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gke_* modules share: access, progress, refusals and results. Private to the collection."""

from __future__ import annotations

import dataclasses
import datetime
import os
import pathlib
import time
import typing as t
from collections.abc import Callable, Iterable, Sequence

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_auth
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, has_errors, report
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_errors import GoogleError, JsonObject, finding_of
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_objects import Decision, difference_of
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_rest import Client, Pace, missing_libraries

ACCESS: dict[str, t.Any] = {
    "access_token_file": {"type": "path"},
    "api_endpoint": {"type": "str"},
    "credentials_file": {"type": "path"},
    "project": {"type": "str", "required": True},
    "retry_for": {"type": "float", "default": 300.0},
}
WORK: dict[str, t.Any] = {
    "allow_replace": {"type": "list", "elements": "str", "default": []},
    "owner": {"type": "str", "required": True},
    "poll_interval": {"type": "float", "default": 30.0},
    "progress_file": {"type": "path"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "timeout": {"type": "float", "default": 3600.0},
}


T = t.TypeVar("T")


class Refusal(Exception):  # noqa: N818
    """The run ends here, with findings for a person and with what is known so far."""

    def __init__(self, findings: Sequence[Finding], **result: t.Any) -> None:
        super().__init__(report(findings))
        self.findings = tuple(findings)
        self.result = result


class Progress:
    """Lines with the time of day, appended to a file that can be followed while the module runs."""

    def __init__(self, path: str | None) -> None:
        self.path = pathlib.Path(path).expanduser() if path else None

    def __call__(self, text: str) -> None:
        if self.path is None:
            return
        line = f"{datetime.datetime.now().astimezone():%H:%M:%S} {text}\n"
        with open(self.path, "a", encoding="utf-8", opener=_private) as file:
            file.write(line)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Runner:
    """One run of a module: its parameters, its client, and how it ends."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.begun = time.monotonic()
        self.opened: Client | None = None
        self.findings: list[Finding] = []

    @property
    def params(self) -> JsonObject:
        return t.cast(JsonObject, self.module.params)

    @property
    def client(self) -> Client:
        if self.opened is None:
            params = self.params
            session = _gke_auth.session(params["credentials_file"], params["access_token_file"])
            pace = Pace(params.get("poll_interval", 30.0), params["retry_for"], params.get("timeout", 600.0))
            self.opened = Client(session, params["api_endpoint"], Progress(params.get("progress_file")), pace)
        return self.opened

    def require(self, findings: Iterable[Finding], **result: t.Any) -> None:
        """Keep warnings, stop at errors."""
        found = list(findings)
        self.findings += [finding for finding in found if finding not in self.findings]
        if has_errors(found):
            raise Refusal(self.findings, **result)

    def run(self, work: Callable[[Runner], JsonObject]) -> None:
        for name, problem in missing_libraries():
            self.module.fail_json(msg=missing_required_lib(name), exception=problem)
        try:
            self.require(_gke_auth.findings(self.params))
            result = work(self)
        except Refusal as refusal:
            self.fail(refusal.findings, refusal.result)
        except GoogleError as error:
            self.fail([*self.findings, finding_of(error)], {})
        else:
            for finding in self.findings:
                if finding.severity == "warning":
                    self.module.warn(finding.text())
            self.module.exit_json(**self.base(), **result, findings=[finding.as_dict() for finding in self.findings])

    def fail(self, findings: Sequence[Finding], result: JsonObject) -> None:
        shown = [finding.as_dict() for finding in findings]
        self.module.fail_json(msg=report(findings), findings=shown, **{**self.base(), **result})

    def base(self) -> JsonObject:
        operations = list(self.opened.operations) if self.opened else []
        return {"operations": operations, "elapsed": round(time.monotonic() - self.begun, 1)}


def result_of(decisions: Sequence[Decision]) -> JsonObject:
    """Changed, diff and what was done to which object."""
    done = [decision for decision in decisions if decision.action in ("create", "update", "replace", "delete")]
    return {
        "changed": bool(done),
        "diff": difference_of(done),
        "actions": [
            {"object": decision.item.target.label, "action": decision.action, "fields": changed_fields(decision)}
            for decision in done
        ],
    }


def changed_fields(decision: Decision) -> list[str]:
    return [difference.text() for difference in decision.differences if difference.change != "alarm"]


def replace_required(decisions: Sequence[Decision]) -> dict[str, list[str]]:
    """Object -> fields that cannot be changed in place."""
    return {
        decision.name: decision.replace_required
        for decision in decisions
        if decision.action == "refuse" and decision.replace_required
    }


def refused(decisions: Sequence[Decision]) -> JsonObject:
    """What goes with a refusal."""
    fields = replace_required(decisions)
    return {"replace_required": fields} if fields else {}


def options_of(kind: type[T], params: JsonObject) -> T:
    """A frozen dataclass of options from a module's parameters; an option that is not set keeps its default."""
    given = {}
    for field in dataclasses.fields(t.cast(t.Any, kind)):
        value = params.get(field.name)
        if value is not None:
            given[field.name] = tuple(value) if isinstance(value, list) else value
    return kind(**given)


def refusals(decisions: Sequence[Decision]) -> list[Finding]:
    return [finding for decision in decisions for finding in decision.findings]


def public(live: JsonObject) -> JsonObject:
    """An object without what is secret: keys and passwords of old clusters."""
    if "masterAuth" not in live:
        return live
    kept = {key: live["masterAuth"][key] for key in ("clusterCaCertificate",) if key in live["masterAuth"]}
    return {**live, "masterAuth": kept}
