# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters on what runs, for the way back."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _rollback


def plain(value: t.Any) -> t.Any:
    """Ordinary containers: the ones of templates have no views that can be compared as sets."""
    if isinstance(value, t.Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def rollback_state(
    sets: t.Sequence[t.Mapping[str, t.Any]], helm: t.Mapping[str, t.Any] | None = None
) -> dict[str, t.Any]:
    """What a rollback goes back to: the applied part of the model servers, and the router's chart and values."""
    try:
        return _rollback.state(plain(sets), plain(helm or {}))
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(f"rollback_state: {type(error).__name__}: {error}") from error


def tier_objects(objects: t.Sequence[t.Mapping[str, t.Any]], role: str) -> list[t.Mapping[str, t.Any]]:
    """The LeaderWorkerSet of one tier, and what both share."""
    return _rollback.tier_objects(objects, role)


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"rollback_state": rollback_state, "tier_objects": tier_objects}
