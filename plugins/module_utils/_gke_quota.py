# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a project's quotas leave room for a node pool. Private to the collection; it may change at any time.

Compute Engine tells the number of GPUs over all regions with the project, and CPUs by machine family with the region.
The quota of one GPU family in one region (H200, B200) is in neither: Google's own refusal is the first to tell that.
"""

from __future__ import annotations

import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, Severity
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_errors import JsonObject
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_pool_options import Options
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_rest import Client, Target

ALL_GPUS = "GPUS_ALL_REGIONS"
FIX = (
    "Ask for more (IAM & Admin, Quotas), and for the region's quota of the GPU family with it, or use fewer nodes. "
    "Machines of a reservation are counted already."
)


def check_project(options: Options, client: Client, _missing: Severity) -> list[Finding]:
    """That the project exists, and how many GPUs it may have. A reservation took its share when it was made."""
    live = client.get(Target("compute", f"projects/{options.project}"))
    if live is None:
        fix = "Correct node_pools_project: it is the project's id, not its name or number."
        return [Finding("GCP_REFUSED", "error", f"project {options.project}", "it does not exist", fix)]
    if options.profile is None or options.capacity != "on_demand":
        return []
    return short(live, ALL_GPUS, nodes(options) * options.profile.gpus, f"project {options.project}")


def check_region(options: Options, client: Client, _missing: Severity) -> list[Finding]:
    """CPUs of the machine's family, for pools without GPUs: the machines with GPUs are counted by those."""
    if options.profile is not None or options.capacity != "on_demand":
        return []
    live = client.get(Target("compute", f"projects/{options.project}/regions/{options.region}"))
    family, _dash, size = options.machine_type.partition("-")
    number = size.rpartition("-")[2]
    if live is None or not number.isdecimal():
        return []
    return short(live, f"{family.upper()}_CPUS", nodes(options) * int(number), f"region {options.region}")


def nodes(options: Options) -> int:
    """At most; a pool that grows is judged at its full size."""
    return (options.node_count or options.max_nodes or 0) * len(options.zones)


def short(live: JsonObject, metric: str, needed: int, subject: str) -> list[Finding]:
    """Whether a quota that is told leaves less than is needed."""
    found: JsonObject | None = next(
        (quota for quota in live.get("quotas") or () if quota.get("metric") == metric), None
    )
    if found is None:
        return []
    limit, used = float(found.get("limit", 0)), float(found.get("usage", 0))
    if limit - used >= needed:
        return []
    seen = f"{metric}: {needed} needed, {limit - used:g} of {limit:g} left"
    return [Finding("GCP_QUOTA", "error", subject, seen, FIX)]


CHECKS: tuple[tuple[str, t.Callable[[Options, Client, Severity], list[Finding]]], ...] = (
    ("project", check_project),
    ("quota of CPUs", check_region),
)
