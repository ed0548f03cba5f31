# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists what exists in a cluster, by metadata alone. Private to the collection; it may change at any time."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client
from ansible_collections.llmd.wide_ep.plugins.module_utils._receipt import Kind, Thing, parse_discovery, thing

#: The whole API in two answers: stable since Kubernetes 1.30, as v2beta1 on by default since 1.27.
DISCOVERY = ",".join(
    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1")
)
#: Neither the content of Secrets nor anything else of an object leaves the server.
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
PAGE = 500
#: Not allowed to list it, or it is served by an aggregated server that does not answer.
UNREADABLE = frozenset({401, 403, 404, 405, 503})


@dataclasses.dataclass(frozen=True)
class Snapshot:
    things: tuple[Thing, ...]
    unreadable: tuple[str, ...]


def discover(client: Client) -> list[Kind]:
    return [kind for root in ("/api", "/apis") for kind in _discover(client, root)]


def _discover(client: Client, root: str) -> list[Kind]:
    return parse_discovery(client.raw("GET", root, accept=DISCOVERY).json())


def take_snapshot(client: Client, kinds: t.Iterable[Kind], namespace: str) -> Snapshot:
    """Everything in the namespace, where it exists, and everything outside of namespaces."""
    exists = client.get_or_none(f"/api/v1/namespaces/{namespace}") is not None
    things: list[Thing] = []
    unreadable: list[str] = []
    for kind in kinds:
        if kind.namespaced and not exists:
            continue
        try:
            things += list_metadata(client, kind, kind.path(namespace))
        except ApiError as error:
            if error.status not in UNREADABLE:
                raise
            unreadable.append(f"{kind.plural}.{kind.group}".rstrip("."))
    return Snapshot(tuple(things), tuple(unreadable))


def list_metadata(
    client: Client, kind: Kind, path: str, params: t.Mapping[str, t.Any] | None = None
) -> t.Iterator[Thing]:
    query: dict[str, t.Any] = {"limit": PAGE, **(params or {})}
    while True:
        page = client.raw("GET", path, query, accept=METADATA).json()
        for item in page.get("items") or ():
            yield thing(kind, item["metadata"])
        token = (page.get("metadata") or {}).get("continue")
        if not token:
            return
        query["continue"] = token


def namespace_messages(client: Client, namespace: str) -> list[str]:
    """Why a namespace does not go away, in the words of the namespace controller."""
    found = client.get_or_none(f"/api/v1/namespaces/{namespace}") or {}
    conditions = (found.get("status") or {}).get("conditions") or ()
    return [condition.get("message", "") for condition in conditions if condition.get("status") == "True"]
