# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters on shared parts of a cluster."""

from __future__ import annotations

import typing as t

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _platform


def lws_decision(
    release: t.Mapping[str, t.Any],
    deployments: t.Sequence[t.Mapping[str, t.Any]],
    crds: t.Sequence[t.Mapping[str, t.Any]],
    *,
    namespace: str,
    release_name: str,
    version: str,
    minimum: str,
    upgrade: bool = False,
    crds_applied: bool = False,
) -> dict[str, t.Any]:
    """What to do about LWS, given the decision about our Helm release and what runs in the cluster."""
    decision = _platform.decide_lws(
        release,
        deployments,
        crds,
        namespace=namespace,
        release_name=release_name,
        version=version,
        minimum=minimum,
        upgrade=upgrade,
        crds_applied=crds_applied,
    )
    return decision.as_dict()


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "lws_decision": lws_decision,
            "lws_chart": _platform.lws_chart,
            "lws_crds_due": _platform.lws_crds_due,
            "crd_difference": _platform.crd_difference,
        }
