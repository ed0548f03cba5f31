# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_findings import findings

PLAN = {"overlay": "gke", "components": ["rehearsal"], "load_balancing": "hybrid", "model": "org/name"}

CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "fits": ({}, []),
    "local path": ({"model": "/models/R1 (fp8)"}, []),
    "overlay without a layer": ({"overlay": "coreweave"}, ["wide_ep_overlay=coreweave"]),
    "component without a layer": ({"components": ["topology_aware"]}, ["wide_ep_components has topology_aware"]),
    "mode": ({"load_balancing": "multi_port"}, ["wide_ep_load_balancing=multi_port"]),
    "model that is an argument": ({"model": "--port"}, ["wide_ep_model"]),
    "model with a line break": ({"model": "a\nb"}, ["wide_ep_model"]),
    "two at once": ({"overlay": "x", "model": ""}, ["wide_ep_overlay=x", "wide_ep_model"]),
}


@pytest.mark.parametrize(("changes", "subjects"), CASES.values(), ids=CASES.keys())
def test_findings(changes: dict[str, Any], subjects: list[str]) -> None:
    assert [finding.subject for finding in findings({**PLAN, **changes}, ["gke"], ["rehearsal"])] == subjects
