# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of a dressed cluster look at."""

from __future__ import annotations

import time
import typing as t
from collections.abc import Callable

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client

Json = dict[str, t.Any]


def until(condition: Callable[[], t.Any], what: str, seconds: float = 60) -> t.Any:
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.3)


def condition(item: Json, kind: str) -> tuple[str, str]:
    """Status and reason of a condition, empty where there is none."""
    found = [entry for entry in item.get("status", {}).get("conditions", []) if entry["type"] == kind]
    return (found[0]["status"], found[0]["reason"]) if found else ("", "")


def ready_nodes(client: Client, label: str, pool: str) -> list[str]:
    nodes = client.list("/api/v1/nodes", {"labelSelector": f"{label}={pool}"})
    return sorted(node["metadata"]["name"] for node in nodes if condition(node, "Ready")[0] == "True")
