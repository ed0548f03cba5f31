# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what both ends saw to one code per pair."""

from __future__ import annotations

import typing as t
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_matrix as matrix
from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_schedule as schedule

#: Two hosts with one NIC each: everything is about the pair 0 -> 1.
TABLE = [matrix.Nic(0, 0, "a"), matrix.Nic(1, 0, "a")]
PLAN = schedule.full((1, 1))
Import = t.Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def merge(prober: Import) -> ModuleType:
    return prober("mesh_merge")


def code(
    merge: ModuleType, transport: str, *, small: str = "", full: str = "", seen: str = "", wrong: t.Any = ()
) -> str:
    """The code of 0 -> 1 for what its sender says and what has landed at its receiver."""
    sender = merge.report(0, 2, small={small: [2]} if small else {}, full={full: [2]} if full else {}, landed={},
                          errors=[])  # fmt: skip
    landed = {name: [1] for name in seen.split()}
    receiver = merge.report(1, 2, small={}, full={}, landed=landed, wrong=wrong)
    found = merge.merge(transport, TABLE, [sender, receiver], PLAN)
    return matrix.build(["h0", "h1"], TABLE, found.planes).code(0, 1)


UDP = [
    ("OK", "OK", "seen seen_full", "OK"),
    ("", "", "", "NO_DELIVERY"),
    ("", "", "seen seen_full", "NO_ACK"),
    ("OK", "", "seen", "SMALL_OK_MTU_FAIL"),
    ("", "", "seen", "SMALL_OK_MTU_FAIL"),
    ("", "", "damaged", "CORRUPT"),
    ("OK", "", "seen seen_full", "NO_ACK"),
]
RDMA = [
    ("OK", "OK", "seen seen_full", "OK"),
    ("OK", "OK", "", "WRONG_PEER"),
    ("OK", "OK", "damaged", "CORRUPT"),
    ("RETRY_EXC", "", "seen seen_full", "NO_ACK"),
    ("RETRY_EXC", "", "seen", "NO_ACK"),
    ("RETRY_EXC", "", "", "RETRY_EXC"),
    ("OK", "RETRY_EXC", "seen", "SMALL_OK_MTU_FAIL"),
    ("RNR", "", "", "RNR"),
    ("LOC_PROT", "", "", "LOC_PROT"),
    ("RTR_FAIL", "", "", "RTR_FAIL"),
    ("AH_FAIL", "", "", "AH_FAIL"),
    ("RTS_FAIL", "", "", "RTS_FAIL"),
    ("OTHER", "", "", "OTHER"),
    ("", "", "", "RETRY_EXC"),
]


@pytest.mark.parametrize(("small", "full", "seen", "expected"), UDP)
def test_datagrams(merge: ModuleType, small: str, full: str, seen: str, expected: str) -> None:
    assert code(merge, "udp", small=small, full=full, seen=seen) == expected


@pytest.mark.parametrize(("small", "full", "seen", "expected"), RDMA)
def test_queue_pairs(merge: ModuleType, small: str, full: str, seen: str, expected: str) -> None:
    assert code(merge, "rdma", small=small, full=full, seen=seen) == expected


def test_a_payload_at_another_host_is_named(merge: ModuleType) -> None:
    assert code(merge, "udp", wrong=[(0, 1)]) == "WRONG_PEER"
    assert code(merge, "udp", wrong=[(-1, 99)]) == "NO_DELIVERY"


def test_a_host_without_a_report_is_not_measured(merge: ModuleType) -> None:
    table = [matrix.Nic(host, 0, "a") for host in range(3)]
    ok = {"OK": [6]}
    reports = [merge.report(0, 3, small=ok, full=ok, landed={}), merge.report(1, 3, small={}, full={}, landed={})]
    found = merge.merge("udp", table, reports, schedule.full((1, 1, 1)))
    assert found.planes == {"OK": [2, 0, 0], "NO_DELIVERY": [0, 1, 0]}


def test_pairs_outside_the_plan_are_not_measured(merge: ModuleType) -> None:
    plan = schedule.masked((1, 1), lambda h, _i, _g, _j: h == 1)
    found = merge.merge("udp", TABLE, [merge.report(h, 2, small={}, full={}, landed={}) for h in (0, 1)], plan)
    assert found.planes == {"NO_DELIVERY": [0, 1]}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2**37 - 1), min_size=1, max_size=9))
def test_packed_rows(prober: Import, rows: list[int]) -> None:
    merge = prober("mesh_merge")
    assert merge.unpack(merge.pack(rows, 37), len(rows), 37) == rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"small": {"OK": "%"}}, "do not unpack"),
        ({"small": {"OK": 5}}, "do not unpack"),
        ({"small": {"FINE": ""}}, "cannot report 'FINE'"),
        ({"small": [1]}, "small is no mapping"),
        ({"seen": "eJwDAAAAAAE="}, "0 bytes of rows, 1 are expected"),
    ],
)
def test_a_report_of_another_shape_is_refused(merge: ModuleType, change: dict[str, t.Any], message: str) -> None:
    good = merge.report(0, 2, small={}, full={}, landed={})
    with pytest.raises(merge.ReportError, match=message):
        merge.merge("udp", TABLE, [{**good, **change}], PLAN)


def test_a_row_beyond_the_last_nic_is_refused(merge: ModuleType) -> None:
    with pytest.raises(merge.ReportError, match="more bits than there are NICs"):
        merge.unpack(merge.pack([4], 3), 1, 2)
