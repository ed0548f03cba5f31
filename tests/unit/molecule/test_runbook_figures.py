# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenario `runbooks` reports: requests by the second they were sent in, and ranks from a watch."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import operate_data as data
import pytest
from loading import load_file

FILES = Path(__file__).resolve().parents[3] / "molecule" / "runbooks" / "files"
load = load_file(FILES / "load.py", "runbooks_load")
measure = load_file(FILES / "measure.py", "runbooks_measure")


def test_a_second_is_told_when_every_request_sent_in_it_has_ended() -> None:
    ledger = load.Ledger()
    for second in (10, 10, 11):
        ledger.send(second)
    ledger.end(10, "")
    ledger.end(11, "")
    assert ledger.over(12) == []
    ledger.end(10, "HTTP 503")
    assert [json.loads(line) for line in ledger.over(12)] == [
        {"second": 10, "sent": 2, "failed": 1, "reasons": {"HTTP 503": 1}},
        {"second": 11, "sent": 1, "failed": 0, "reasons": {}},
    ]
    ledger.send(12)
    ledger.end(12, "")
    assert ledger.over(12) == []


def change(at: float, decode: int, wanted: int = 16, prefill: int = 8) -> t.Any:
    return measure.Change(at, {"prefill": prefill, "decode": decode}, {"prefill": 8, "decode": wanted})


@pytest.mark.parametrize(
    ("changes", "seconds", "lowest"),
    [
        ([change(0, 16)], 0, "all ranks"),
        ([change(0, 16), change(12, 8), change(15.5, 16)], 3.5, "decode 8 of 16"),
        # It began before and goes on after.
        ([change(0, 8)], 10, "decode 8 of 16"),
        ([change(0, 16), change(18, 0, prefill=0)], 2, "prefill 0 of 8, decode 0 of 16"),
        # A group that is asked for counts from then on, and one that is not asked for any more does not.
        ([change(0, 8, 8), change(11, 8, 16), change(15, 16, 16)], 4, "decode 8 of 16"),
        ([change(0, 16, 16), change(11, 16, 8), change(12, 8, 8)], 0, "all ranks"),
        # After the interval.
        ([change(0, 16), change(25, 0)], 0, "all ranks"),
    ],
)
def test_reduced(changes: list[t.Any], seconds: float, lowest: str) -> None:
    assert measure.reduced(changes, 10, 20) == (seconds, lowest)


def test_a_pod_that_goes_and_a_set_that_is_made_anew_count_as_missing() -> None:
    sets = (data.workload("prefill"), data.workload("decode"))
    pods = [data.pod(role, 0, worker, "n") for role in ("prefill", "decode") for worker in (0, 1)]
    for pod in pods:
        pod["spec"] = data.pod_spec()
    whole = measure.count(1, pods, sets, None)
    assert (whole.ready, whole.wanted) == ({"prefill": 16, "decode": 16}, {"prefill": 16, "decode": 16})
    pods[3]["metadata"]["deletionTimestamp"] = "now"
    assert measure.count(2, pods, sets, whole).ready == {"prefill": 16, "decode": 8}
    gone = measure.count(3, pods[:2], sets[:1], whole)
    assert (gone.ready["decode"], gone.wanted["decode"], gone.whole) == (0, 16, False)


def test_requests_count_by_the_second_in_which_they_were_sent() -> None:
    rows = [
        {"second": n, "sent": 4, "failed": n % 2, "reasons": {"HTTP 503": 1} if n % 2 else {}} for n in range(9, 14)
    ]
    log = "\n".join(["started", *map(json.dumps, rows)])
    found = measure.requests(log, 10, 13)
    assert found == {"until": 13, "sent": 12, "failed": 1, "bad_seconds": 1, "reasons": {"HTTP 503": 1}}


def test_the_proof_is_the_last_of_the_interval(tmp_path: Path) -> None:
    assert measure.proof(tmp_path, 0) == "none"
    for number, passed in enumerate((False, True)):
        path = tmp_path / f"run-{number}" / "verify.json"
        path.parent.mkdir()
        path.write_text(json.dumps({"data": {"passed": passed}}), encoding="utf-8")
        os.utime(path, (100 + number, 100 + number))
    assert measure.proof(tmp_path, 0) == "passed"
    assert measure.proof(tmp_path, 200) == "none"
