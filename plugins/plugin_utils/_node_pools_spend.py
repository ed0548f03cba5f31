# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is about to make of pools and networks, and what that costs in GPU hours. Private to the collection."""

from __future__ import annotations

import collections
import dataclasses
import re
import typing as t

Json = t.Mapping[str, t.Any]

#: What is paid for by the hour from its creation on.
PAID = ("cluster ", "node pool ")
SIZE = re.compile(r"target(?:Size|Nodes|Racks): (\S+) -> (\S+)")
HOURS_A_DAY = 24


@dataclasses.dataclass(frozen=True)
class Pool:
    """A node pool as it is wanted."""

    name: str
    nodes: int
    machine_type: str
    gpus_per_node: int = 0
    capacity: str = ""

    @property
    def gpus(self) -> int:
        return self.nodes * self.gpus_per_node


def costs(actions: t.Iterable[Json]) -> bool:
    """Whether a yes is needed: something that is paid for is made, or made larger."""
    return any(_costs(action) for action in actions)


def _costs(action: Json) -> bool:
    if not str(action["object"]).startswith(PAID):
        return False
    if action["action"] in ("create", "replace"):
        return True
    return action["action"] == "update" and any(_grows(str(field)) for field in action["fields"])


def _grows(field: str) -> bool:
    match = SIZE.search(field)
    if not match:
        return False
    before, after = (int(value) if value.isdigit() else 0 for value in match.groups())
    return after > before


def plan(actions: t.Sequence[Json], pools: t.Sequence[Json]) -> dict[str, t.Any]:
    """For a person who is asked, and for the run's record."""
    wanted = [Pool(**pool) for pool in pools]
    gpus = sum(pool.gpus for pool in wanted)
    done = collections.Counter((str(a["action"]), _kind(a)) for a in actions if a["action"] != "none")
    return {
        "costs": costs(actions),
        "gpus": gpus,
        "nodes": sum(pool.nodes for pool in wanted),
        "changes": sum(done.values()),
        "lines": [*_what(done), *(_line(pool) for pool in wanted), _sum(gpus)],
        "tables": [
            {
                "title": "Node pools",
                "columns": ["pool", "nodes", "machine type", "GPUs", "capacity"],
                "rows": [[p.name, p.nodes, p.machine_type, p.gpus, p.capacity or "-"] for p in wanted],
            }
        ],
    }


def _kind(action: Json) -> str:
    return str(action["object"]).rpartition(" ")[0]


def _what(done: t.Mapping[tuple[str, str], int]) -> list[str]:
    if not done:
        return ["Networks, cluster and node pools are as they shall be."]
    parts: dict[str, list[str]] = collections.defaultdict(list)
    for (action, kind), count in sorted(done.items()):
        parts[action].append(f"{count} {kind}{'s' if count > 1 else ''}")
    return [f"{action}: {', '.join(kinds)}" for action, kinds in parts.items()]


def _line(pool: Pool) -> str:
    gpus = f", {pool.gpus} GPUs" if pool.gpus else ""
    way = f" ({pool.capacity})" if pool.capacity else ""
    return f"node pool {pool.name}: {pool.nodes} x {pool.machine_type}{gpus}{way}"


def _sum(gpus: int) -> str:
    return f"{gpus} GPU hours per hour, {gpus * HOURS_A_DAY} per day, whether they serve or not"


def keeping(pools: t.Sequence[Json], existing: t.Collection[str]) -> list[str]:
    """What it costs to keep what is there, for a person who is asked whether it may go."""
    kept = [pool for pool in (Pool(**entry) for entry in pools) if pool.name in existing]
    if not kept:
        return ["There is no node pool of ours, so nothing is paid for by the hour but the cluster and its network."]
    return [*(f"exists: {_line(pool)}" for pool in kept), f"to keep: {_sum(sum(pool.gpus for pool in kept))}"]
