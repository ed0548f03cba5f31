# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pull images on nodes and let them read their arguments, and tell before anything depends on it where that fails."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils import _image_pull, _image_pull_arguments
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client, ClientError
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import has_errors, report
from ansible_collections.llmd.wide_ep.plugins.module_utils._image_pull import Pull
from ansible_collections.llmd.wide_ep.plugins.module_utils._image_pull_arguments import Program, Trial
from ansible_collections.llmd.wide_ep.plugins.module_utils._waiter import looks
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import ACCESS_ARGUMENTS, InProcessAction, display

SHOW_SECONDS = 15.0
GONE_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class Progress:
    """One look at the pods."""

    pulls: tuple[Pull, ...] = ()
    trials: tuple[Trial, ...] = ()

    @property
    def left(self) -> list[str]:
        pulls = [f"{pull.image} on {pull.node}" for pull in self.pulls if pull.state == "waiting"]
        failed = {(pull.node, pull.image) for pull in self.pulls if pull.state == "failed"}
        # What cannot be pulled is never started.
        trials = [
            f"{trial.title} on {trial.node}"
            for trial in self.trials
            if trial.state == "waiting" and (trial.node, trial.image) not in failed
        ]
        return pulls + trials

    @property
    def judged(self) -> list[Trial]:
        """Without those whose image is not there, which has a finding of its own."""
        there = {(pull.node, pull.image) for pull in self.pulls if pull.state == "pulled"}
        return [trial for trial in self.trials if (trial.node, trial.image) in there]


class Puller:
    """One pod per node; they are removed whatever happens."""

    def __init__(self, client: Client, namespace: str, release: str, tried: t.Sequence[Program] = ()) -> None:
        self._client = client
        self._tried = tried
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        labels = f"{_image_pull.DEPLOYMENT_LABEL}={release},{_image_pull.COMPONENT_LABEL}={_image_pull.COMPONENT}"
        self._query = {"labelSelector": labels}

    def run(self, pods: t.Sequence[dict[str, t.Any]], timeout: float) -> Progress:
        self.remove()
        try:
            for item in pods:
                self._client.create(self._path, item)
            return self._follow(timeout)
        finally:
            self.remove(wait=False)

    def _follow(self, timeout: float) -> Progress:
        shown, progress = 0.0, Progress()
        for elapsed, found in looks(self._list, timeout):
            if isinstance(found, ClientError):
                display.display(f"  {found}; asking again")
                continue
            progress = self._progress(found, elapsed)
            if not progress.left:
                break
            if elapsed - shown > SHOW_SECONDS:
                shown = elapsed
                display.display(f"  {len(progress.left)} pulls and starts are not over, {progress.left[0]} next")
        return progress

    def _progress(self, pods: t.Sequence[dict[str, t.Any]], elapsed: float) -> Progress:
        now = self._client.server_time or time.time()
        return Progress(
            tuple(pull for item in pods for pull in _image_pull.states(item, elapsed)),
            tuple(trial for item in pods for trial in _image_pull_arguments.trials(item, self._tried, now)),
        )

    def _list(self) -> list[dict[str, t.Any]]:
        return self._client.list(self._path, self._query)

    def remove(self, wait: bool = True) -> None:
        for _elapsed, left in looks(self._list, GONE_SECONDS):
            if isinstance(left, ClientError):
                continue
            for item in left:
                with contextlib.suppress(ApiError):
                    self._client.delete(f"{self._path}/{item['metadata']['name']}")
            if not wait or not left:
                return


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "namespace": {"type": "str", "required": True},
        "release": {"type": "str", "required": True},
        "images": {"type": "list", "elements": "str", "required": True},
        "nodes": {"type": "list", "elements": "str", "required": True},
        "pull_secrets": {"type": "list", "elements": "dict", "default": []},
        "objects": {"type": "list", "elements": "dict", "default": []},
        "timeout": {"type": "float", "default": 1800},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        images, nodes = list(dict.fromkeys(arguments["images"])), arguments["nodes"]
        if self.check_mode:
            return {"skipped": True, "msg": f"check mode: would pull {len(images)} images on {len(nodes)} nodes"}
        client, namespace, release = self.client(arguments), arguments["namespace"], arguments["release"]
        if client.get_or_none(f"/api/v1/namespaces/{namespace}") is None:
            return self.refusal([_image_pull.no_namespace(namespace)])
        tried = _image_pull_arguments.programs(arguments["objects"])
        containers = [program.container for program in tried]
        secrets = arguments["pull_secrets"]
        pods = [_image_pull.pod(release, namespace, node, images, secrets, tried=containers) for node in nodes]
        began = time.monotonic()
        found = Puller(client, namespace, release, tried).run(pods, arguments["timeout"])
        findings = _image_pull.findings(found.pulls) + _image_pull_arguments.findings(found.judged)
        if findings and not has_errors(findings):
            display.warning(report(findings))
        return {
            **self.refusal(findings),
            "digests": _image_pull.digests(found.pulls),
            "seconds": round(time.monotonic() - began, 1),
            "tables": [table(found.pulls)],
            "known": sum(trial.state == "known" for trial in found.judged),
            "tried": len(found.judged),
        }


def table(pulls: t.Sequence[Pull]) -> dict[str, t.Any]:
    rows = []
    for image in dict.fromkeys(pull.image for pull in pulls):
        of_image = [pull for pull in pulls if pull.image == image]
        done = sum(pull.state == "pulled" for pull in of_image)
        rows.append([image, f"{done} of {len(of_image)}", next((p.digest[:19] for p in of_image if p.digest), "none")])
    return {"title": "Images", "columns": ["image", "nodes", "digest"], "rows": rows}
