# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pull images on nodes, and tell before anything depends on it where that fails."""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils import _image_pull
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client
from ansible_collections.llmd.wide_ep.plugins.module_utils._image_pull import Pull
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import ACCESS_ARGUMENTS, InProcessAction, display

INTERVAL = 1.0
SHOW_SECONDS = 15.0
GONE_SECONDS = 60.0


class Puller:
    """One pod per node; they are removed whatever happens."""

    def __init__(self, client: Client, namespace: str, release: str) -> None:
        self._client = client
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        labels = f"{_image_pull.DEPLOYMENT_LABEL}={release},{_image_pull.COMPONENT_LABEL}={_image_pull.COMPONENT}"
        self._query = {"labelSelector": labels}

    def run(self, pods: t.Sequence[dict[str, t.Any]], timeout: float) -> list[Pull]:
        self.remove()
        began = time.monotonic()
        try:
            for item in pods:
                self._client.create(self._path, item)
            return self._follow(began, timeout)
        finally:
            self.remove(wait=False)

    def _follow(self, began: float, timeout: float) -> list[Pull]:
        shown = began
        while True:
            now = time.monotonic()
            found = [pull for item in self._list() for pull in _image_pull.states(item, now - began)]
            waiting = [pull for pull in found if pull.state == "waiting"]
            if not waiting or now - began > timeout:
                return found
            if now - shown > SHOW_SECONDS:
                shown = now
                display.display(f"  {len(found) - len(waiting)} of {len(found)} pulls done, on {waiting[0].node} next")
            time.sleep(INTERVAL)

    def _list(self) -> list[dict[str, t.Any]]:
        return self._client.list(self._path, self._query)

    def remove(self, wait: bool = True) -> None:
        deadline = time.monotonic() + GONE_SECONDS
        while left := self._list():
            for item in left:
                with contextlib.suppress(ApiError):
                    self._client.delete(f"{self._path}/{item['metadata']['name']}")
            if not wait or time.monotonic() > deadline:
                return
            time.sleep(INTERVAL)


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "namespace": {"type": "str", "required": True},
        "release": {"type": "str", "required": True},
        "images": {"type": "list", "elements": "str", "required": True},
        "nodes": {"type": "list", "elements": "str", "required": True},
        "pull_secrets": {"type": "list", "elements": "dict", "default": []},
        "timeout": {"type": "float", "default": 1800},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        images, nodes = list(dict.fromkeys(arguments["images"])), arguments["nodes"]
        if self.check_mode:
            return {"skipped": True, "msg": f"check mode: would pull {len(images)} images on {len(nodes)} nodes"}
        client, namespace, release = self.client(arguments), arguments["namespace"], arguments["release"]
        if client.get_or_none(f"/api/v1/namespaces/{namespace}") is None:
            return self.refusal([_image_pull.no_namespace(namespace)])
        pods = [_image_pull.pod(release, namespace, node, images, arguments["pull_secrets"]) for node in nodes]
        began = time.monotonic()
        pulls = Puller(client, namespace, release).run(pods, arguments["timeout"])
        return {
            **self.refusal(_image_pull.findings(pulls)),
            "digests": _image_pull.digests(pulls),
            "seconds": round(time.monotonic() - began, 1),
            "tables": [table(pulls)],
        }


def table(pulls: t.Sequence[Pull]) -> dict[str, t.Any]:
    rows = []
    for image in dict.fromkeys(pull.image for pull in pulls):
        of_image = [pull for pull in pulls if pull.image == image]
        done = sum(pull.state == "pulled" for pull in of_image)
        rows.append([image, f"{done} of {len(of_image)}", next((p.digest[:19] for p in of_image if p.digest), "none")])
    return {"title": "Images", "columns": ["image", "nodes", "digest"], "rows": rows}
