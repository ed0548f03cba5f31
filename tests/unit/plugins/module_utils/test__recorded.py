# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an API server returned at the end of real waits leads to the same end."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._evidence import LogKeeper, collect, findings_of, render
from ansible_collections.llmd.wide_ep.plugins.module_utils._observer import Target
from ansible_collections.llmd.wide_ep.plugins.module_utils._waiter import Spec, watch

from .kube_fake import FakeClock, FakeCluster

FILES = sorted((pathlib.Path(__file__).resolve().parents[3] / "data" / "kubernetes" / "recorded").glob("*.json"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_recorded(file: pathlib.Path) -> None:
    case = json.loads(file.read_text())
    cluster = FakeCluster()
    pods = ({"apiVersion": "v1", "kind": "Pod", **pod} for pod in case["pods"])
    for obj in (case["object"], *pods, *case.get("workloads", [])):
        cluster.put(obj)
    cluster.warnings_seen, cluster.server_time = case["events"], case["server_time"]
    client = t.cast("t.Any", cluster)
    spec = Spec((Target(**case["target"]),), timeout=60, grace=case["grace"])
    last = list(watch(client, spec, FakeClock()))[-1]
    text = render(last, collect(client, last, LogKeeper(client)))
    assert last.outcome == case["outcome"], text
    assert [finding.code for finding in findings_of(last)] == case["codes"], text
    assert max(map(len, text.splitlines())) <= 100


def test_there_are_recordings() -> None:
    wanted = {"crash_loop", "kueue_admitted", "kueue_unplaced", "lws_ready", "policy_denies", "unschedulable"}
    assert wanted <= {file.stem for file in FILES}
