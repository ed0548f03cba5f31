# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read many objects, their pods, their Workloads and the warnings about them in few requests.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client
from ansible_collections.llmd.wide_ep.plugins.module_utils._predicates import (
    QUEUE_NAME,
    SERVICE_NAME,
    JsonObject,
    Related,
    judge,
    kind_of,
    labels,
    selects,
)

EVENTS_EVERY = 5.0
#: Newest first; Kueue serves v1beta2 since 0.15.
WORKLOAD_VERSIONS = ("kueue.x-k8s.io/v1beta2", "kueue.x-k8s.io/v1beta1")
ROUTE_VERSIONS = ("gateway.networking.k8s.io/v1",)


@dataclass(frozen=True)
class Target:
    """One object by name, or all that a label selector matches (at least `count`, at least one)."""

    api_version: str
    kind: str
    namespace: str | None = None
    name: str | None = None
    label_selector: str | None = None
    count: int | None = None

    def __str__(self) -> str:
        what = self.name or self.label_selector
        return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{what}"


@dataclass(frozen=True)
class Observation:
    """What one look at the cluster found; a target's entry is None where its kind is not served."""

    objects: t.Mapping[Target, tuple[JsonObject, ...] | None]
    related: t.Mapping[str, Related] = field(default_factory=dict)
    events: tuple[JsonObject, ...] = ()
    server_time: float | None = None


class Reader:
    """Few requests per look: one list per kind and namespace, one of pods and at times one of events per namespace."""

    def __init__(self, client: Client, targets: tuple[Target, ...]) -> None:
        self._client = client
        self._targets = targets
        self._settled: dict[Target, tuple[JsonObject, ...]] = {}
        self._events: dict[str, list[JsonObject]] = {}
        self._events_at: float | None = None
        self._may_read_events = True
        self._may_read_workloads = True
        self._may_read_routes = True

    def read(self, now: float) -> Observation:
        objects = self._objects()
        related = self._related([obj for found in objects.values() for obj in found or ()])
        self._keep_settled(objects, related)
        return Observation(objects, related, self._recent_events(objects, related, now), self._client.server_time)

    def _objects(self) -> dict[Target, tuple[JsonObject, ...] | None]:
        found: dict[Target, tuple[JsonObject, ...] | None] = dict(self._settled)
        groups: dict[tuple[str, str, str | None], list[Target]] = {}
        for target in self._targets:
            if target not in found:
                groups.setdefault((target.api_version, target.kind, target.namespace), []).append(target)
        for (api_version, kind, namespace), targets in groups.items():
            found.update(self._read_group(api_version, kind, namespace, targets))
        return {target: found[target] for target in self._targets}

    def _read_group(
        self, api_version: str, kind: str, namespace: str | None, targets: list[Target]
    ) -> dict[Target, tuple[JsonObject, ...] | None]:
        resource = self._client.discover(api_version, kind)
        if resource is None:
            return dict.fromkeys(targets)
        identity = {"apiVersion": api_version, "kind": kind}
        named = [target for target in targets if target.name]
        found: dict[Target, tuple[JsonObject, ...] | None] = {}
        if len(named) > 1 and resource.namespaced:
            by_name = {obj["metadata"]["name"]: obj for obj in self._client.list(resource.path(namespace))}
            for target in named:
                obj = by_name.get(t.cast("str", target.name))
                found[target] = ({**obj, **identity},) if obj else ()
        else:
            for target in named:
                obj = self._client.get_or_none(resource.path(namespace, target.name))
                found[target] = ({**obj, **identity},) if obj else ()
        for target in targets:
            if not target.name:
                listed = self._client.list(resource.path(namespace), {"labelSelector": target.label_selector})
                found[target] = tuple({**obj, **identity} for obj in listed)
        return found

    def _related(self, objects: list[JsonObject]) -> dict[str, Related]:
        selectors: dict[str, dict[str, JsonObject]] = {}
        services: dict[str, list[JsonObject]] = {}
        for obj in objects:
            kind = kind_of(obj["apiVersion"], obj["kind"])
            namespace = obj["metadata"].get("namespace", "")
            if kind.pods and (selector := kind.pods(obj)):
                selectors.setdefault(namespace, {})[obj["metadata"]["uid"]] = selector
            if kind.slices:
                services.setdefault(namespace, []).append(obj)
        related: dict[str, Related] = {}
        for namespace, wanted in selectors.items():
            pods = self._pods(namespace, wanted)
            for uid, selector in wanted.items():
                related[uid] = Related(pods=tuple(pod for pod in pods if selects(selector, pod)))
        for namespace, owners in services.items():
            slices = self._client.list(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")
            for obj in owners:
                mine = tuple(s for s in slices if labels(s).get(SERVICE_NAME) == obj["metadata"]["name"])
                related[obj["metadata"]["uid"]] = Related(slices=mine)
        for uid, workloads in self._workloads(objects).items():
            related[uid] = replace(related.get(uid, Related()), workloads=workloads)
        for uid, routes in self._routes(objects).items():
            related[uid] = replace(related.get(uid, Related()), routes=routes)
        return related

    def _workloads(self, objects: list[JsonObject]) -> dict[str, tuple[JsonObject, ...]]:
        """The Workloads of the objects that are in a queue; none where Kueue is not there or may not be asked."""
        queued: dict[str, list[str]] = {}
        for obj in objects:
            if kind_of(obj["apiVersion"], obj["kind"]).workloads and labels(obj).get(QUEUE_NAME):
                queued.setdefault(obj["metadata"]["namespace"], []).append(obj["metadata"]["uid"])
        found: dict[str, tuple[JsonObject, ...]] = {}
        for namespace, uids in queued.items():
            listed = self._list_workloads(namespace)
            for uid in uids if listed is not None else ():
                found[uid] = tuple(item for item in listed or () if uid in _owners(item))
        return found

    def _list_workloads(self, namespace: str) -> list[JsonObject] | None:
        if not self._may_read_workloads:
            return None
        try:
            return self._list_served(WORKLOAD_VERSIONS, "Workload", namespace)
        except ApiError as error:
            if not error.denied:
                raise
            self._may_read_workloads = False
            return None

    def _list_served(self, versions: tuple[str, ...], kind: str, namespace: str) -> list[JsonObject] | None:
        """All of a kind in a namespace, by the first version that is served; None where none is."""
        resource = next(filter(None, (self._client.discover(version, kind) for version in versions)), None)
        return None if resource is None else self._client.list(resource.path(namespace))

    def _routes(self, objects: list[JsonObject]) -> dict[str, tuple[JsonObject, ...]]:
        """The HTTPRoutes beside the pools; none where they are not served or may not be read."""
        found: dict[str, tuple[JsonObject, ...]] = {}
        for obj in objects:
            if self._may_read_routes and kind_of(obj["apiVersion"], obj["kind"]).routes:
                try:
                    listed = self._list_served(ROUTE_VERSIONS, "HTTPRoute", obj["metadata"]["namespace"])
                except ApiError as error:
                    if not error.denied:
                        raise
                    self._may_read_routes = False
                    continue
                if listed is not None:
                    found[obj["metadata"]["uid"]] = tuple(listed)
        return found

    def _pods(self, namespace: str, selectors: dict[str, JsonObject]) -> list[JsonObject]:
        only = next(iter(selectors.values())) if len(selectors) == 1 else {}
        query = ",".join(f"{key}={value}" for key, value in (only.get("matchLabels") or {}).items())
        return self._client.list(f"/api/v1/namespaces/{namespace}/pods", {"labelSelector": query or None})

    def _keep_settled(
        self, objects: t.Mapping[Target, tuple[JsonObject, ...] | None], related: dict[str, Related]
    ) -> None:
        for target, found in objects.items():
            if target.name and found and kind_of(target.api_version, target.kind).settled:
                obj = found[0]
                if judge(obj, related.get(obj["metadata"]["uid"], Related())).state == "ready":
                    self._settled[target] = found

    def _recent_events(
        self, objects: t.Mapping[Target, tuple[JsonObject, ...] | None], related: dict[str, Related], now: float
    ) -> tuple[JsonObject, ...]:
        """Warnings of the namespaces in which something is not ready; without the right to read them, none."""
        if self._events_at is None or now - self._events_at >= EVENTS_EVERY:
            self._events_at, self._events = now, {}
            for target, found in objects.items():
                unready = not found or any(
                    judge(obj, related.get(obj["metadata"]["uid"], Related())).state != "ready" for obj in found
                )
                if unready and target.namespace and target.namespace not in self._events:
                    self._events[target.namespace] = self._warnings(target.namespace)
        return tuple(event for events in self._events.values() for event in events)

    def _warnings(self, namespace: str) -> list[JsonObject]:
        if not self._may_read_events:
            return []
        try:
            return self._client.events(namespace, "type=Warning")
        except ApiError as error:
            if not error.denied:
                raise
            self._may_read_events = False
            return []


def _owners(obj: JsonObject) -> set[str]:
    return {owner.get("uid", "") for owner in obj["metadata"].get("ownerReferences") or []}
