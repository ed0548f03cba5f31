# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the cluster what its configuration says, and reports whether it is: bootstrap objects, nodes, status file.

A kubelet that registers again forgets resources that no device plugin announces, so a patch made once does not last.
"""

from __future__ import annotations

import calendar
import hashlib
import http.client
import json
import pathlib
import ssl
import sys
import time
import typing as t

CLUSTER = pathlib.Path("/cluster")
DESIRED = CLUSTER / "etc/desired.json"
STATUS = CLUSTER / "run/status.json"
APPLY = "?fieldManager=rehearsal-steward&force=true"
Data = dict[str, t.Any]


class ApiError(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status


class Api:
    """One keep-alive connection to the API server."""

    def __init__(self, host: str, port: int, folder: pathlib.Path, name: str = "steward") -> None:
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        context.load_cert_chain(str(folder / f"{name}.crt"), str(folder / f"{name}.key"))
        self.connection = http.client.HTTPSConnection(host, port, timeout=10, context=context)

    def call(self, method: str, path: str, body: Data | None = None, kind: str = "application/json") -> Data:
        content = None if body is None else json.dumps(body)
        try:
            self.connection.request(method, path, content, {"Content-Type": kind, "Accept": "application/json"})
            answer = self.connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise
        if answer.status >= 300:
            raise ApiError(answer.status, text[:300])
        result: Data = json.loads(text)
        return result

    def apply(self, path: str, body: Data) -> Data:
        return self.call("PATCH", path + APPLY, body, "application/apply-patch+yaml")


def parse_time(text: str) -> float:
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


def missing_taints(node: Data, taints: t.Sequence[Data]) -> list[Data]:
    present = {(taint["key"], taint["effect"]) for taint in node["spec"].get("taints", [])}
    return [taint for taint in taints if (taint["key"], taint["effect"]) not in present]


def stale_labels(node: Data, labels: t.Mapping[str, str]) -> bool:
    found = node["metadata"].get("labels", {})
    return any(found.get(key) != value for key, value in labels.items())


def stale_resources(node: Data, resources: t.Mapping[str, str]) -> bool:
    status = node.get("status", {})
    return any(status.get(part, {}).get(key) != value
               for part in ("capacity", "allocatable") for key, value in resources.items())  # fmt: skip


def readiness(node: Data | None, booted: float) -> str:
    """Empty when the node is ready, else what it waits for."""
    if node is None:
        return "not registered"
    for condition in node.get("status", {}).get("conditions", []):
        if condition["type"] == "Ready":
            # A node of the life before the last boot still says that it is ready.
            if parse_time(condition["lastHeartbeatTime"]) + 1 < booted:
                return "no heartbeat since the last boot"
            if condition["status"] != "True":
                return str(condition.get("message", "not ready"))
            taints = [taint["key"] for taint in node["spec"].get("taints", [])]
            return "tainted not-ready" if "node.kubernetes.io/not-ready" in taints else ""
    return "no Ready condition"


class Steward:
    """Reconciles one cluster."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.applied = ""
        self.digest = ""
        self.desired: Data = {}
        self.booted: float = json.loads((CLUSTER / "run/boot.json").read_text())["started"]

    def load(self) -> None:
        content = DESIRED.read_bytes()
        self.digest = hashlib.sha256(content).hexdigest()
        self.desired = json.loads(content)

    def apply_objects(self) -> None:
        if self.applied == self.digest:
            return
        for item in self.desired["objects"]:
            self.api.apply(item["path"], item["object"])
        for path in self.desired["absent"]:
            self.remove(path)
        self.applied = self.digest

    def remove(self, path: str) -> None:
        try:
            self.api.call("DELETE", path)
        except ApiError as error:
            if error.status != 404:
                raise

    def reconcile_node(self, name: str, node: Data, wanted: Data) -> bool:
        """Whether something had to be set. Answers carry the version that the next request builds on."""
        path = f"/api/v1/nodes/{name}"
        head: Data = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        before = node["metadata"]["resourceVersion"]
        if stale_labels(node, wanted["labels"]):
            node = self.api.apply(path, {**head, "metadata": {"name": name, "labels": wanted["labels"]}})
        if stale_resources(node, wanted["resources"]):
            status = {"capacity": wanted["resources"], "allocatable": wanted["resources"]}
            node = self.api.apply(path + "/status", {**head, "status": status})
        spec: Data = {}
        if taints := missing_taints(node, wanted["taints"]):
            spec["taints"] = node["spec"].get("taints", []) + taints
        if not node["spec"].get("podCIDR"):
            spec |= {"podCIDR": wanted["pods"], "podCIDRs": [wanted["pods"]]}
        if spec:
            # The list of taints is one field: without the version a taint that came in between would be lost.
            patch = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}, "spec": spec}
            node = self.api.call("PATCH", path, patch, "application/merge-patch+json")
        return bool(node["metadata"]["resourceVersion"] != before)

    def reconcile(self) -> dict[str, str]:
        """What the cluster still waits for, by subject."""
        self.load()
        self.apply_objects()
        found = {node["metadata"]["name"]: node for node in self.api.call("GET", "/api/v1/nodes")["items"]}
        waiting: dict[str, str] = {}
        for name, wanted in self.desired["nodes"].items():
            node = found.get(name)
            changed = node is not None and self.reconcile_node(name, node, wanted)
            reason = "labels and resources just set" if changed else readiness(node, self.booted)
            if reason:
                waiting[name] = reason
        return waiting


def write_status(steward: Steward, waiting: t.Mapping[str, str]) -> None:
    new = STATUS.with_suffix(".new")
    status = {"digest": steward.digest, "ready": not waiting, "waiting": waiting, "time": time.time()}
    new.write_text(json.dumps(status))
    new.replace(STATUS)


def attempt(steward: Steward) -> dict[str, str]:
    try:
        return steward.reconcile()
    except ApiError as error:
        return {"api": str(error)}
    except (OSError, http.client.HTTPException) as error:
        return {"api": f"{type(error).__name__}: {error}"}


def main(host: str, port: int) -> None:
    steward = Steward(Api(host, port, CLUSTER / "pki"))
    last: dict[str, str] | None = None
    while True:
        waiting = attempt(steward)
        write_status(steward, waiting)
        if waiting != last:
            print(json.dumps(waiting) if waiting else "ready", flush=True)
            last = waiting
        time.sleep(0.3 if waiting else 2)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
