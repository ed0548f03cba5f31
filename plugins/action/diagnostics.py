# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write everything that explains a deployment's trouble into one archive, without its secrets."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import tarfile
import tempfile
import time
import typing as t
from pathlib import Path

import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils import _diagnostics
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import ACCESS_ARGUMENTS, InProcessAction
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._inventory import discover
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._phases import RUN_ID_VARIABLE, run_folder

#: Kinds that say nothing about trouble, or that are read in another way.
SKIPPED = frozenset({"events", "endpoints", "secrets", "controllerrevisions", "localsubjectaccessreviews", "bindings"})
CLUSTER_KINDS = (
    ("nodes", "/api/v1/nodes"),
    ("crds", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"),
    ("networks", "/apis/networking.gke.io/v1/networks"),
    ("topologies", "/apis/kueue.x-k8s.io/v1beta2/topologies"),
    ("clusterqueues", "/apis/kueue.x-k8s.io/v1beta2/clusterqueues"),
)
UNREADABLE = frozenset({401, 403, 404, 405, 503})


@dataclasses.dataclass
class Collected:
    """Files of the archive by their path in it; mutable because it grows while the cluster is asked."""

    values: tuple[str, ...] = ()
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    def add(self, path: str, text: str) -> None:
        self.files[path] = _diagnostics.clean(text, self.values)

    def add_objects(self, path: str, items: t.Sequence[dict[str, t.Any]]) -> None:
        cleaned = [_diagnostics.clean_object(item) for item in items]
        self.add(path, yaml.safe_dump_all(cleaned, sort_keys=False))

    @property
    def logs(self) -> dict[str, str]:
        return {path: text for path, text in self.files.items() if path.startswith("logs/")}


class Collector:
    def __init__(self, client: Client, namespaces: t.Sequence[str], lines: int) -> None:
        self._client = client
        self._namespaces = namespaces
        self._lines = lines
        self.found = Collected()

    def run(self) -> Collected:
        secrets = [item for name in self._namespaces for item in self._try(f"/api/v1/namespaces/{name}/secrets")]
        self.found.values = _diagnostics.secret_values(secrets)
        self.found.add("version.json", json.dumps(self._client.get("/version"), indent=1))
        for name, path in CLUSTER_KINDS:
            items = self._try(path)
            if items:
                self.found.add_objects(f"cluster/{name}.yaml", items if name != "crds" else [_versions(items)])
        for namespace in self._namespaces:
            self._namespace(namespace, [item for item in secrets if item["metadata"].get("namespace") == namespace])
        hits = _diagnostics.classify(self.found.logs)
        told = [f"{hit.count} x {hit.name}: {hit.meaning}\n    {hit.source}: {hit.line}" for hit in hits]
        self.found.add("causes.txt", "\n".join(told) or "no line of a log has a known meaning")
        self.found.add("transports.txt", _diagnostics.transport_lines(self.found.logs))
        self.found.add("notes.txt", "\n".join(self.found.notes))
        return self.found

    def _namespace(self, namespace: str, secrets: t.Sequence[dict[str, t.Any]]) -> None:
        if secrets:
            self.found.add_objects(f"{namespace}/secrets.yaml", secrets)
        for kind in discover(self._client):
            if not kind.namespaced or kind.plural in SKIPPED or "metrics" in kind.group:
                continue
            items = self._try(kind.path(namespace))
            if items:
                self.found.add_objects(f"{namespace}/{kind.plural}.yaml", items)
            if kind.plural == "pods" and not kind.group:
                self._logs(namespace, items)
        events = self._try(f"/api/v1/namespaces/{namespace}/events")
        lines = sorted(_diagnostics.event_line(event) for event in events)
        self.found.add(f"{namespace}/events.txt", "\n".join(lines))

    def _logs(self, namespace: str, pods: t.Sequence[dict[str, t.Any]]) -> None:
        for pod in pods:
            name = pod["metadata"]["name"]
            for container, had_previous in _diagnostics.containers(pod):
                for previous in (False, True) if had_previous else (False,):
                    mark = ".previous" if previous else ""
                    text = self._log(namespace, name, container, previous)
                    if text is not None:
                        self.found.add(f"logs/{namespace}/{name}/{container}{mark}.log", text)

    def _log(self, namespace: str, pod: str, container: str, previous: bool) -> str | None:
        try:
            return self._client.logs(namespace, pod, container, tail=self._lines, previous=previous)
        except ApiError as error:
            self.found.notes.append(f"log of {namespace}/{pod}/{container}: {error.status} {error.message}")
            return None

    def _try(self, path: str) -> list[dict[str, t.Any]]:
        try:
            return self._client.list(path)
        except ApiError as error:
            if error.status not in UNREADABLE:
                raise
            if error.status != 404:
                self.found.notes.append(f"{path}: {error.status} {error.message}")
            return []


def _versions(crds: t.Sequence[dict[str, t.Any]]) -> dict[str, t.Any]:
    """Names and versions: the schemas are megabytes that every cluster of the same versions has."""
    return {item["metadata"]["name"]: [entry["name"] for entry in item["spec"]["versions"]] for item in crds}


def write_archive(path: Path, files: t.Mapping[str, str], folder: str) -> None:
    """One archive that only its owner may read; a half-written one never has its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".diagnostics-")
    try:
        with os.fdopen(handle, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as archive:
            for name, text in files.items():
                content = text.encode()
                info = tarfile.TarInfo(f"{folder}/{name}")
                info.size, info.mode, info.mtime = len(content), 0o600, int(time.time())
                archive.addfile(info, io.BytesIO(content))
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "namespaces": {"type": "list", "elements": "str", "required": True},
        "release": {"type": "str", "required": True},
        "artifacts_dir": {"type": "path", "required": True},
        "lines": {"type": "int", "default": 5000},
        "name": {"type": "str", "default": "diagnostics"},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        run_id = os.environ.get(RUN_ID_VARIABLE) or f"pid-{os.getppid()}"
        folder = run_folder(arguments["artifacts_dir"], arguments["release"], run_id)
        stamp = time.strftime("%H%M%S", time.gmtime())
        path = folder / f"{arguments['name']}-{stamp}.tar.gz"
        if self.check_mode:
            return {"skipped": True, "msg": f"check mode: would write {path}"}
        client = self.client(arguments)
        found = Collector(client, arguments["namespaces"], arguments["lines"]).run()
        write_archive(path, found.files, path.name.removesuffix(".tar.gz"))
        hits = _diagnostics.classify(found.logs)
        return {
            "path": str(path),
            "files": sorted(found.files),
            "notes": found.notes,
            "causes": [dataclasses.asdict(hit) for hit in hits],
            "requests": client.request_count,
        }
