# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Merge of Kubernetes objects with overlays. Private to the collection; it may change at any time."""

from __future__ import annotations

import typing as t

#: Lists whose items have a key, as Kubernetes' own strategic merge knows them. A LeaderWorkerSet is a custom resource,
#: so neither kustomize nor the API server merges its lists by key.
LIST_KEYS: t.Mapping[str, str] = {
    "claims": "name",
    "containers": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ports": "name",
    "resourceClaims": "name",
    "tolerations": "key",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
#: An item of such a list with this pair leaves the list, as in Kubernetes' strategic merge.
DELETE = ("$patch", "delete")


def merge(base: t.Any, patch: t.Any, list_name: str = "") -> t.Any:
    """``base`` with ``patch`` on top; neither is changed.

    Mappings merge by key and ``None`` removes one. Lists named in ``LIST_KEYS`` merge by their items' key, keep the
    order of ``base`` and take new items at the end; ``$patch: delete`` removes one. Everything else is replaced.
    """
    if isinstance(base, t.Mapping) and isinstance(patch, t.Mapping):
        return _merge_mappings(base, patch)
    key = LIST_KEYS.get(list_name)
    if key and isinstance(base or [], list) and isinstance(patch, list):
        return _merge_lists(base or [], patch, key)
    return plain(patch)


def plain(value: t.Any) -> t.Any:
    """A copy in plain types. copy.deepcopy follows the tags of templated values into the template engine: 40 s."""
    if isinstance(value, t.Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def merge_all(layers: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    merged: dict[str, t.Any] = {}
    for layer in layers:
        merged = merge(merged, layer)
    return merged


def _merge_mappings(base: t.Mapping[str, t.Any], patch: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    merged = {key: plain(value) for key, value in base.items() if key not in patch}
    for key, value in patch.items():
        if value is None:
            continue
        merged[key] = merge(base.get(key, _empty_like(value)), value, key)
    # The order of the base is the order of the guide; a reader compares the two.
    order = [*(key for key in base if key in merged), *(key for key in merged if key not in base)]
    return {key: merged[key] for key in order}


def _empty_like(value: t.Any) -> t.Any:
    # Merging into nothing applies the same rules, so that a removal below does not stay behind as a null.
    return {} if isinstance(value, t.Mapping) else None


def _merge_lists(base: list[t.Any], patch: list[t.Any], key: str) -> list[t.Any]:
    patches = {item.get(key): item for item in patch}
    deleted = {item.get(key) for item in patch if DELETE in item.items()}
    kept = [item for item in base if item.get(key) not in deleted]
    merged = [merge(item, patches[item.get(key)]) if item.get(key) in patches else plain(item) for item in kept]
    known = {item.get(key) for item in base} | deleted
    # Merging into nothing, so that a removal inside of a new item does not stay behind as a null.
    return merged + [merge({}, item) for item in patch if item.get(key) not in known]
