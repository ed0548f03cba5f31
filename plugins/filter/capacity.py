# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters on what a deployment takes and what its nodes give."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.llmd.wide_ep.plugins.module_utils import _capacity
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import report
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _plan_report

Json = t.Mapping[str, t.Any]


def capacity_findings(
    plan: Json,
    shape: Json,
    objects: t.Sequence[Json],
    nodes: t.Sequence[Json] | None = None,
    *,
    may_grow: bool = False,
    download_gbit_per_s: float = 0,
) -> dict[str, t.Any]:
    """Whether the rendered pods fit the overlay's nodes, and those of the cluster where they are given."""
    try:
        found = _capacity.object_findings(plan, shape, objects, float(download_gbit_per_s))
        found += [] if nodes is None else _capacity.node_findings(plan, objects, nodes, may_grow)
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(f"capacity_findings: {type(error).__name__}: {error}") from error
    parts = {severity: [item for item in found if item.severity == severity] for severity in ("error", "warning")}
    return {
        "findings": [item.as_dict() for item in found],
        "errors": report(parts["error"]),
        "warnings": report(parts["warning"]),
    }


def plan_report(
    plan: Json,
    shape: Json,
    objects: t.Sequence[Json],
    *,
    mirror: str = "",
    images: Json | None = None,
    download_gbit_per_s: float = 0,
) -> dict[str, t.Any]:
    """The plan as a summary, tables and data, with its findings."""
    try:
        return _plan_report.build(
            plan, shape, objects, mirror=mirror, images=images or {}, gbit_per_s=float(download_gbit_per_s)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(f"plan_report: {type(error).__name__}: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"capacity_findings": capacity_findings, "plan_report": plan_report}
