# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The receipt of a removal over cluster and cloud objects. Private to the collection; it may change at any time."""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, report

Json = t.Mapping[str, t.Any]


def receipt(removed: t.Sequence[Json], left: t.Sequence[Json], kept: t.Sequence[Json] = ()) -> dict[str, t.Any]:
    """``removed`` are the actions of the removal; what is left, or kept on purpose, has a kind, a name and a reason."""
    gone = collections.Counter(_kind(action) for action in removed if action["action"] in ("delete", "replace"))
    findings = [left_over(item) for item in left]
    return {
        "removed": sum(gone.values()),
        "left_over": [dict(item) for item in left],
        "errors": report(findings),
        "findings": [finding.as_dict() for finding in findings],
        "summary": [
            ["removed", ", ".join(f"{count} {kind}" for kind, count in sorted(gone.items())) or "nothing was there"],
            ["kept on purpose", ", ".join(_title(item) for item in kept) or "nothing"],
            ["left over", ", ".join(_title(item) for item in left) or "nothing"],
        ],
        "tables": [_table("Kept on purpose", kept), _table("Left over", left)],
    }


def _kind(action: Json) -> str:
    return str(action["object"]).rpartition(" ")[0]


def _title(item: Json) -> str:
    return f"{item['kind']} {item['name']}"


def _table(title: str, items: t.Sequence[Json]) -> dict[str, t.Any]:
    rows = [[_title(item), str(item["reason"])] for item in items]
    return {"title": title, "columns": ["object", "reason"], "rows": rows}


def left_over(item: Json) -> Finding:
    fix = "Remove what it belongs to, or the object itself in the console, and run the same command again."
    return Finding("CLOUD_LEFT_OVER", "error", _title(item), str(item["reason"]), fix)
