# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment was before a change. Private to the collection; it may change at any time.

It is kept in the cluster, so that another machine, or another night, can go back.
"""

from __future__ import annotations

import typing as t

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._helm_release import release_values, split_chart
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_restart import KIND, ROLE_LABEL, owned

Json = t.Mapping[str, t.Any]

FIELD_MANAGER = "llmd.wide_ep"


def applied(live: Json) -> dict[str, t.Any]:
    """The object as it was applied: what is ours of it, without defaults and what controllers wrote."""
    entries = live["metadata"].get("managedFields") or []
    fields = next((item["fieldsV1"] for item in entries if item.get("manager") == FIELD_MANAGER), None)
    if fields is None:
        raise ValueError(f"nothing of {live['kind']} {live['metadata']['name']} was applied by {FIELD_MANAGER}")
    ours = owned(live, fields)
    metadata = {**(ours.get("metadata") or {}), **{key: live["metadata"][key] for key in ("name", "namespace")}}
    return {"apiVersion": live["apiVersion"], "kind": live["kind"], **ours, "metadata": metadata}


def state(sets: t.Iterable[Json], helm: Json) -> dict[str, t.Any]:
    chart, version = split_chart(str(helm.get("chart", "")))
    router = {"chart": chart, "version": version, "values": release_values(helm)} if helm else {}
    return {"objects": [applied(item) for item in sets], "router": router}


def tier_objects(objects: t.Iterable[Json], role: str) -> list[Json]:
    return [
        item
        for item in objects
        if item["kind"] != KIND or (item["metadata"].get("labels") or {}).get(ROLE_LABEL) == role
    ]
