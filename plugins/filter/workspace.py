# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role workspace."""

from __future__ import annotations

import typing as t

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _workspace

Objects = t.Sequence[t.Mapping[str, t.Any]]


def namespace_decision(existing: Objects, name: str, release: str, *, adopt: bool, level: str) -> dict[str, t.Any]:
    """What to do about the namespace, given the one in the cluster (an empty list: none)."""
    return _workspace.decide_namespace(
        existing[0] if existing else None, name, release, adopt=adopt, level=level
    ).as_dict()


def token_decision(
    existing: Objects, name: str, key: str, *, provided: bool, replace: bool = False
) -> dict[str, t.Any]:
    """What to do about the token's Secret, given the one in the cluster (an empty list: none)."""
    return _workspace.decide_token(
        existing[0] if existing else None, name, key, provided=provided, replace=replace
    ).as_dict()


def foreign_objects(objects: Objects, release: str, known: t.Sequence[str] = ()) -> list[str]:
    """Kind and name of what someone else keeps in the namespace."""
    return _workspace.foreign_objects(objects, release, known)


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "namespace_decision": namespace_decision,
            "token_decision": token_decision,
            "foreign_objects": foreign_objects,
        }
