# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters on Helm releases."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _helm_release


def helm_release_decision(status: t.Mapping[str, t.Any] | None, **wanted: t.Any) -> dict[str, t.Any]:
    """What to do about a release, given the ``status`` that ``helm_info`` returned (or nothing)."""
    try:
        own_charts = tuple(wanted.pop("own_charts", ()))
        return _helm_release.decide(status, _helm_release.Wanted(own_charts=own_charts, **wanted)).as_dict()
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(f"helm_release_decision: {error!r}") from error


def helm_pair_problem(helm_version: str, collection_version: str = "") -> str:
    """Why this Helm and the installed kubernetes.core do not fit; empty where they do."""
    problem = _helm_release.pair_problem(
        helm_version, collection_version or _helm_release.collection_version("kubernetes.core")
    )
    return problem.text() if problem else ""


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"helm_release_decision": helm_release_decision, "helm_pair_problem": helm_pair_problem}
