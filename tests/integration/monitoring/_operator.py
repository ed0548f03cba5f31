# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Prometheus operator and its Prometheus on the rehearsal cluster, for as long as a test runs."""

from __future__ import annotations

import json
import time
import typing as t
import urllib.parse
from pathlib import Path

import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client, ClientError

Json = dict[str, t.Any]

NAMESPACE = "monitoring-test"
QUERIES = f"/api/v1/namespaces/{NAMESPACE}/services/prometheus-operated:9090/proxy/api/v1"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
#: What the operator needs to run a Prometheus; the role needs the first two.
KINDS = ("podmonitors", "prometheusrules", "prometheuses", "servicemonitors", "probes", "scrapeconfigs")
MANAGER = "llmd.wide_ep.test"


def wait(what: str, condition: t.Callable[[], t.Any], *, seconds: float) -> t.Any:
    """Until the condition holds; what was seen last tells why it did not."""
    end = time.monotonic() + seconds
    while True:
        try:
            found = condition()
        except ClientError as error:
            found, last = None, str(error)
        else:
            last = str(found)
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}; last seen: {last[-2000:]}"
        time.sleep(1)


class Definitions:
    """The operator's CRDs; those that were there before stay."""

    def __init__(self, platform: Client, manifest: Path) -> None:
        assert manifest.is_file(), f"{manifest.name} is missing: build the scenario full"
        self.platform = platform
        self.folder = Path(json.loads(manifest.read_text(encoding="utf-8"))["crds"]["prometheus-operator"])
        self.made: list[str] = []

    def install(self) -> None:
        for kind in KINDS:
            text = (self.folder / f"monitoring.coreos.com_{kind}.yaml").read_text(encoding="utf-8")
            wanted = yaml.safe_load(text)
            path = f"{DEFINITIONS}/{wanted['metadata']['name']}"
            if self.platform.get_or_none(path) is None:
                self.platform.apply(path, wanted, field_manager=MANAGER)
                self.made.append(path)
        wait("all definitions are served", lambda: all(self._established(path) for path in self.made), seconds=30)

    def _established(self, path: str) -> bool:
        conditions = self.platform.get(path).get("status", {}).get("conditions", [])
        return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)

    def remove(self) -> None:
        for path in self.made:
            self.platform.delete(path)


class Prometheus:
    """A Prometheus of the operator, asked through the API server."""

    def __init__(self, platform: Client) -> None:
        self.platform = platform
        registry = f"{urllib.parse.urlsplit(platform.server).hostname}:5000"
        text = Path(__file__).with_name("operator.yml").read_text(encoding="utf-8")
        self.objects: list[Json] = yaml.safe_load(text.replace("@registry@", registry))

    def _path(self, item: Json) -> str:
        resource = self.platform.discover(item["apiVersion"], item["kind"])
        assert resource is not None, item["kind"]
        return resource.path(item["metadata"].get("namespace"), item["metadata"]["name"])

    def start(self) -> None:
        for item in self.objects:
            self.platform.apply(self._path(item), item, field_manager=MANAGER)
        wait("Prometheus answers", lambda: self.api("status/buildinfo"), seconds=180)

    def stop(self) -> None:
        cluster_wide = [item for item in self.objects if "namespace" not in item["metadata"]]
        for item in reversed(cluster_wide):
            self.platform.delete(self._path(item))
        path = f"/api/v1/namespaces/{NAMESPACE}"
        wait("the namespace is gone", lambda: self.platform.get_or_none(path) is None, seconds=120)

    def api(self, path: str, **parameters: str) -> t.Any:
        return self.platform.raw("GET", f"{QUERIES}/{path}", parameters, timeout=20).json()["data"]

    def query(self, expression: str) -> list[Json]:
        found: list[Json] = self.api("query", query=expression)["result"]
        return found

    def rules(self) -> list[Json]:
        return [rule for group in self.api("rules")["groups"] for rule in group["rules"]]

    def alerts(self) -> list[Json]:
        return [one for one in self.api("alerts")["alerts"] if one["state"] == "firing"]

    def firing(self) -> set[tuple[str, str]]:
        """Names and roles of the alerts that fire."""
        return {(one["labels"]["alertname"], one["labels"].get("role", "")) for one in self.alerts()}
