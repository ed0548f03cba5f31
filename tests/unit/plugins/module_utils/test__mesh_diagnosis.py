# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The culprit is named, once."""

from __future__ import annotations

import random
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_diagnosis as diagnosis
from ansible_collections.llmd.wide_ep.plugins.module_utils._mesh_diagnosis import Facts
from ansible_collections.llmd.wide_ep.plugins.module_utils._mesh_verdict import Case

from .mesh_fabric import Rule, but, case, full, rails, touches

GUIDE = (8, 8, 8, 8)
GUID = {"state": "ACTIVE", "mtu": 9000, "pkey": "0xffff", "link_layer": "Ethernet", "gid_type": "RoCE v2"}
NICS: dict[int, dict[str, t.Any]] = {nic: dict(GUID) for nic in range(32)}


def nic_facts(**changes: t.Any) -> dict[int, dict[str, t.Any]]:
    """``n5={...}`` changes what is known of NIC 5."""
    return {nic: {**known, **changes.get(f"n{nic}", {})} for nic, known in NICS.items()}


def swapped(h: int, i: int, g: int, j: int) -> str:
    at = {1: 5, 5: 1}
    return rails(h, at.get(i, i) if h == 2 else i, g, at.get(j, j) if g == 2 else j)


def partition(h: int, _i: int, g: int, _j: int) -> str:
    return "OK" if h // 2 == g // 2 else "RETRY_EXC"


def planes(_h: int, i: int, _g: int, j: int) -> str:
    return "OK" if i // 4 == j // 4 else "RETRY_EXC"


def is_pair(*pair: int) -> t.Callable[[int, int, int, int], bool]:
    return lambda *other: other == pair


def both(h: int, i: int, g: int, j: int) -> t.Callable[[int, int, int, int], bool]:
    return lambda *other: other in ((h, i, g, j), (g, j, h, i))


ERRORS_22 = {(0, target): ("RTR", 22) for target in range(8, 32)}
ROWS: list[tuple[str, Case, Facts, list[tuple[str, str]]]] = [
    ("full mesh", case(GUIDE), Facts(nics=NICS), []),
    ("rail-only", case(GUIDE, rails), Facts(nics=NICS), [("RDMA_RAIL_ONLY", "fabric")]),
    ("swapped cables", case(GUIDE, swapped), Facts(),
     [("RDMA_MISCABLED", "NIC h2/mlx5_1"), ("RDMA_MISCABLED", "NIC h2/mlx5_5"), ("RDMA_RAIL_ONLY", "fabric")]),
    ("planes", case(GUIDE, planes), Facts(), [("RDMA_RAIL_GROUPS", "fabric")]),
    ("partition", case(GUIDE, partition), Facts(), [("RDMA_HOST_PARTITION", "fabric")]),
    ("port down", case(GUIDE, but(full, (touches(1, 3), "NO_DELIVERY"))), Facts(nics=nic_facts(n11={"state": "DOWN"})),
     [("RDMA_NIC_DOWN", "NIC h1/mlx5_3")]),
    ("cable", case(GUIDE, but(full, (touches(1, 3), "NO_DELIVERY"))), Facts(nics=NICS),
     [("RDMA_LINK_SILENT", "NIC h1/mlx5_3")]),
    ("rail and cable", case(GUIDE, but(rails, (touches(1, 3), "NO_DELIVERY"))), Facts(nics=NICS),
     [("RDMA_LINK_SILENT", "NIC h1/mlx5_3"), ("RDMA_RAIL_ONLY", "fabric")]),
    ("host silent", case(GUIDE, but(full, (touches(3), "NO_DELIVERY"))), Facts(nics=NICS),
     [("RDMA_HOST_DOWN", "host h3")]),
    ("host away", case(GUIDE, but(full, (touches(3), "NOT_MEASURED")), joined=(0, 1, 2)),
     Facts(absent={3: "pod mesh-3 is Pending: Insufficient nvidia.com/gpu"}), [("RDMA_HOST_DOWN", "host h3")]),
    ("deaf", case(GUIDE, but(full, (lambda _h, _i, g, j: (g, j) == (2, 4), "NO_DELIVERY"))), Facts(),
     [("RDMA_RX_DEAD", "NIC h2/mlx5_4")]),
    ("mute", case(GUIDE, but(full, (lambda h, i, _g, _j: (h, i) == (2, 4), "NO_DELIVERY"))), Facts(),
     [("RDMA_TX_DEAD", "NIC h2/mlx5_4")]),
    ("one way", case(GUIDE, but(full, (is_pair(0, 1, 2, 3), "NO_DELIVERY"), (is_pair(2, 3, 0, 1), "NO_ACK"))), Facts(),
     [("RDMA_ONE_WAY", "path h0/mlx5_1 -> h2/mlx5_3")]),
    ("one-way rails", case(GUIDE, but(full, (lambda _h, i, _g, j: (i, j) == (1, 0), "NO_DELIVERY"))), Facts(),
     [("RDMA_ONE_WAY", "rail 1 -> rail 0")]),
    ("one-way hosts", case(GUIDE, but(full, (lambda h, _i, g, _j: (h, g) == (1, 0), "NO_DELIVERY"))), Facts(),
     [("RDMA_ONE_WAY", "host h1 -> host h0")]),
    ("path", case(GUIDE, but(full, (both(0, 1, 2, 3), "RETRY_EXC"))), Facts(errors={(1, 19): ("send", 113)}),
     [("RDMA_PATH_BROKEN", "path h0/mlx5_1 <-> h2/mlx5_3")]),
    ("small MTU", case(GUIDE, but(full, (touches(1, 2), "SMALL_OK_MTU_FAIL"))), Facts(nics=nic_facts(n10={"mtu": 700})),
     [("RDMA_MTU_MISMATCH", "NIC h1/mlx5_2")]),
    ("small MTU on a path", case(GUIDE, but(full, (is_pair(0, 0, 1, 0), "SMALL_OK_MTU_FAIL"))), Facts(),
     [("RDMA_MTU_MISMATCH", "paths between NICs")]),
    ("small MTU everywhere", case(GUIDE, lambda *_pair: "SMALL_OK_MTU_FAIL"), Facts(),
     [("RDMA_MTU_MISMATCH", "paths between NICs")]),
    ("small MTU on rails", case(GUIDE, but(rails, (touches(1, 2), "SMALL_OK_MTU_FAIL"))), Facts(),
     [("RDMA_MTU_MISMATCH", "NIC h1/mlx5_2"), ("RDMA_RAIL_ONLY", "fabric")]),
    ("GID", case(GUIDE, but(full, (lambda h, i, _g, _j: (h, i) == (0, 0), "RTR_FAIL"))),
     Facts(errors=ERRORS_22), [("RDMA_GID_MISMATCH", "from NIC h0/mlx5_0")]),
    ("GID both ways", case(GUIDE, but(full, (both(0, 0, 1, 0), "RTR_FAIL"))),
     Facts(errors={(0, 8): ("RTR", 22), (8, 0): ("RTR", 22)}), [("RDMA_GID_MISMATCH", "path h0/mlx5_0 <-> h1/mlx5_0")]),
    ("wrong peer", case(GUIDE, but(full, (is_pair(0, 1, 2, 3), "WRONG_PEER"))), Facts(),
     [("RDMA_WRONG_PEER", "addresses of the NICs")]),
    ("partition key", case(GUIDE), Facts(nics=nic_facts(n4={"pkey": "0x8001"})),
     [("RDMA_PKEY_MISMATCH", "partition keys")]),
    ("limited members", case(GUIDE), Facts(nics=nic_facts(n4={"pkey": "0x7fff"}, n5={"pkey": "0x7fff"})),
     [("RDMA_PKEY_MISMATCH", "partition keys")]),
    ("lossy", case(GUIDE, lossy=True), Facts(nics=nic_facts(n4={"counters": {"out_of_sequence": 260}})),
     [("RDMA_LOSSY", "NIC h0/mlx5_4")]),
    ("congested", case(GUIDE), Facts(nics=nic_facts(n4={"counters": {"np_cnp_sent": 90, "out_of_sequence": 1}})),
     [("RDMA_CONGESTION", "NIC h0/mlx5_4")]),
    ("link layers", case(GUIDE), Facts(nics=nic_facts(n4={"link_layer": "InfiniBand"})),
     [("RDMA_MIXED_LINKS", "selected NICs")]),
    ("uneven", case((8, 8, 4)), Facts(), [("RDMA_UNEVEN_NICS", "host h2")]),
    ("neighbors", case(GUIDE, but(full, (both(0, 1, 2, 1), "NO_DELIVERY"))), Facts(hosts={0: {"gc_thresh3": 16}}),
     [("RDMA_NEIGHBOR_TABLE", "host h0"), ("RDMA_PATH_BROKEN", "path h0/mlx5_1 <-> h2/mlx5_1")]),
    ("memlock", case(GUIDE), Facts(hosts={1: {"problems": [{"code": "RDMA_MEMLOCK", "seen": "64 KiB"}]}}),
     [("RDMA_MEMLOCK", "host h1")]),
    ("cut off", case(GUIDE, complete=False), Facts(), [("RDMA_RESULT_INCOMPLETE", "RDMA mesh check")]),
]  # fmt: skip


@pytest.mark.parametrize(("found", "facts", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_culprits(found: Case, facts: Facts, expected: list[tuple[str, str]]) -> None:
    findings = diagnosis.diagnose(found, facts)
    assert [(finding.code, finding.subject) for finding in findings] == expected
    assert all(finding.evidence and finding.fix for finding in findings)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("small MTU", "its MTU is 700, that of most NICs 9000"),
        ("host away", "Insufficient nvidia.com/gpu"),
        ("path", "EHOSTUNREACH: no answer to ARP"),
        ("GID", "EINVAL"),
        ("swapped cables", "it is on the rail of h0/mlx5_5, h1/mlx5_5, h3/mlx5_5, which is rail 5"),
        ("rail-only", "8 parts, each whole, and no path between them: rail 0 of h0, h1, h2, h3"),
    ],
)
def test_evidence(name: str, words: str) -> None:
    found, facts = next((found, facts) for label, found, facts, _expected in ROWS if label == name)
    assert words in diagnosis.diagnose(found, facts)[0].evidence


def rates(effects: t.Mapping[str, t.Mapping[t.Any, float]], size: int = 16, seed: int = 1) -> dict[t.Any, float]:
    dice = random.Random(seed)
    found = {}
    for source in range(size):
        for target in range(size):
            if source // 4 != target // 4:
                rate = 390 * (1 + dice.gauss(0, 0.003))
                rate *= 1 - effects.get("sender", {}).get(source, 0) - effects.get("receiver", {}).get(target, 0)
                found[source, target] = rate * (1 - effects.get("path", {}).get((source, target), 0))
    return found


def test_slow_parts_are_told_apart() -> None:
    found = diagnosis.slow_parts(rates({"sender": {3: 0.5}, "receiver": {9: 0.1}, "path": {(0, 15): 0.6}}))
    assert [(kind, culprit) for kind, culprit, _effect in found] == [("sender", 3), ("receiver", 9), ("path", (0, 15))]
    assert [round(effect, 1) for _kind, _culprit, effect in found] == [-0.5, -0.1, -0.6]


@pytest.mark.parametrize("given", [{}, {(0, 1): 1.0}, {(0, n): 0.0 for n in range(9)}])
def test_too_few_rates_say_nothing(given: dict[tuple[int, int], float]) -> None:
    assert diagnosis.slow_parts(given) == []
    assert diagnosis.slow_parts(rates({})) == []


def shares(rule: Rule) -> list[list[float | None]]:
    found = case((2, 2, 2), rule)
    return diagnosis.rail_matrix(found.matrix, found.usable)


def test_rail_matrix() -> None:
    assert shares(full) == [[1.0, 1.0], [1.0, 1.0]]
    assert shares(rails) == [[1.0, 0.0], [0.0, 1.0]]
