# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every matrix has one verdict, and the ones that a plain component count gets wrong have the right one."""

from __future__ import annotations

import random
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_matrix as matrix
from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_verdict as verdict

from .mesh_fabric import Rule, build, but, case, full, rails, touches

GUIDE = (8, 8, 8, 8)
PREFILL = verdict.Group("prefill", ("h0", "h1"), "deepep_high_throughput")
DECODE = verdict.Group("decode", ("h2", "h3"), "deepep_low_latency")


def of(found: verdict.Case) -> str:
    return verdict.classify(found).verdict


def qualifiers(found: verdict.Case) -> tuple[str, ...]:
    return verdict.classify(found).qualifiers


def swapped(rule: Rule, host: int, one: int, other: int) -> Rule:
    """The rule as seen where two cables of a host are swapped."""

    def at(h: int, i: int) -> int:
        return {one: other, other: one}.get(i, i) if h == host else i

    return lambda h, i, g, j: rule(h, at(h, i), g, at(g, j))


def groups_of(*sets: t.Collection[int]) -> Rule:
    return lambda h, _i, g, _j: "OK" if any(h in hosts and g in hosts for hosts in sets) else "RETRY_EXC"


def planes_of(size: int) -> Rule:
    return lambda _h, i, _g, j: "OK" if i // size == j // size else "RETRY_EXC"


def deaf(host: int, nic: int) -> Rule:
    return but(full, (lambda _h, _i, g, j: (g, j) == (host, nic), "NO_DELIVERY"))


FABRICS: list[tuple[str, verdict.Case, str]] = [
    ("full mesh", case(GUIDE), "FULL_MESH"),
    ("rail-only", case(GUIDE, rails), "RAIL_ONLY"),
    ("rail-only with swapped cables", case(GUIDE, swapped(rails, 2, 1, 5)), "RAIL_ONLY"),
    ("two planes", case(GUIDE, planes_of(4)), "RAIL_GROUPS"),
    ("one rail apart from a mesh of seven",
     case(GUIDE, lambda _h, i, _g, j: "OK" if (i == 0) == (j == 0) else "RETRY_EXC"), "RAIL_GROUPS"),
    ("host partition", case(GUIDE, groups_of((0, 1), (2, 3))), "HOST_PARTITION"),
    ("one NIC down", case(GUIDE, but(full, (touches(1, 3), "NO_DELIVERY"))), "FULL_MESH_MINUS_DOWN"),
    ("one host silent", case(GUIDE, but(full, (touches(1), "NO_DELIVERY"))), "FULL_MESH_MINUS_DOWN"),
    ("one host never joined", case(GUIDE, but(full, (touches(3), "NOT_MEASURED")), joined=(0, 1, 2)),
     "FULL_MESH_MINUS_DOWN"),
    ("a host without NICs never joined", case((8, 8, 0), joined=(0, 1)), "FULL_MESH_MINUS_DOWN"),
    ("one one-way pair", case(GUIDE, but(full, (lambda *pair: pair == (0, 1, 2, 3), "NO_DELIVERY"))), "ONE_WAY"),
    ("rail and NIC down", case(GUIDE, but(rails, (touches(1, 3), "RETRY_EXC"))), "RAIL_ONLY"),
    ("a deaf NIC", case((8,) * 8, deaf(2, 2)), "ONE_WAY"),
    ("a broken path", case(GUIDE, but(full, (lambda h, i, g, j: {(h, i), (g, j)} == {(0, 1), (2, 3)}, "RETRY_EXC"))),
     "PARTIAL"),
    ("small MTU at one NIC", case(GUIDE, but(full, (touches(0, 0), "SMALL_OK_MTU_FAIL"))), "PARTIAL"),
    ("slow", case(GUIDE, but(full, (touches(0, 0), "SLOW"))), "FULL_MESH_DEGRADED"),
    ("lossy", case(GUIDE, lossy=True), "FULL_MESH_DEGRADED"),
    ("sampled", case(GUIDE, but(full, (lambda h, _i, g, _j: (h + g) % 3 == 0, "NOT_MEASURED"))), "FULL_MESH_SAMPLED"),
    ("dead", case(GUIDE, lambda *_pair: "NO_DELIVERY"), "NO_CONNECTIVITY"),
    ("no result", case(GUIDE, complete=False), "NOT_MEASURED"),
    ("one of two reported", case((8, 8), joined=(0,)), "NOT_MEASURED"),
    ("nothing tested", case(GUIDE, lambda *_pair: "NOT_MEASURED"), "NOT_MEASURED"),
    ("no active port", case(GUIDE, lambda *_pair: "NOT_MEASURED", active=False), "NO_RDMA"),
    ("no NICs at all", case((0, 0), active=False), "NO_RDMA"),
    ("one host", case((8,)), "SINGLE_HOST"),
    ("one host with NICs", case((8, 0)), "SINGLE_HOST"),
    ("uneven, full", case((8, 8, 4, 4)), "FULL_MESH"),
    ("uneven, rails", case((8, 8, 8, 4), rails), "RAIL_ONLY"),
]  # fmt: skip


@pytest.mark.parametrize(("found", "expected"), [row[1:] for row in FABRICS], ids=[row[0] for row in FABRICS])
def test_fabrics(found: verdict.Case, expected: str) -> None:
    assert of(found) == expected


def test_every_verdict_is_among_the_fabrics() -> None:
    assert {expected for _name, _found, expected in FABRICS} == set(verdict.VERDICTS)


# --- traps ---


def test_trap_no_components_are_not_rails() -> None:
    """An empty or all-singleton list is "complete, one NIC per host" without meaning it."""
    dead = case(GUIDE, lambda *_pair: "RETRY_EXC")
    assert dead.components == ()
    assert of(dead) == "NO_CONNECTIVITY"
    # Delivered, but never answered: NICs live, and no two of them are connected.
    unanswered = case(GUIDE, but(lambda *_pair: "NO_ACK", (lambda *pair: pair == (0, 0, 1, 0), "OK")))
    assert all(matrix.bit_count(component) == 1 for component in unanswered.components)
    assert of(unanswered) == "PARTIAL"


def test_trap_rails_inside_two_host_groups_are_a_partition() -> None:
    apart = groups_of((0, 1), (2, 3))
    found = case(GUIDE, lambda h, i, g, j: "OK" if i == j and apart(h, i, g, j) == "OK" else "RETRY_EXC")
    assert of(found) == "HOST_PARTITION"
    assert "RAIL_ONLY" in qualifiers(found)


def test_trap_one_nic_per_host_has_no_rails() -> None:
    assert of(case((1,) * 6)) == "FULL_MESH"
    assert of(case((1,) * 6, groups_of((0, 1, 2), (3, 4, 5)))) == "HOST_PARTITION"
    assert "RAIL_ONLY" not in {of(case((1, 1, 1), rule)) for rule in (full, rails, groups_of((0, 1)))}


def test_trap_majority_names_the_swapped_nics() -> None:
    found = verdict.miscabled(case(GUIDE, swapped(rails, 2, 1, 5)))
    assert [(entry.nic, entry.rail, entry.tie) for entry in found] == [(17, 5, False), (21, 1, False)]
    assert "MISCABLED" in qualifiers(case(GUIDE, swapped(rails, 2, 1, 5)))
    assert verdict.miscabled(case(GUIDE, rails)) == []


def test_trap_two_hosts_are_a_tie_that_names_both() -> None:
    found = verdict.miscabled(case((4, 4), swapped(rails, 1, 0, 2)))
    assert [(entry.nic, entry.tie) for entry in found] == [(0, True), (2, True), (4, True), (6, True)]


def test_trap_one_way_goes_by_delivery() -> None:
    """On RC both completions fail where one direction is dead; the nonce tells which one."""
    rule = but(
        full,
        (lambda h, i, g, j: (h, i, g, j) == (0, 0, 1, 0), "RETRY_EXC"),
        (lambda h, i, g, j: (h, i, g, j) == (1, 0, 0, 0), "NO_ACK"),
    )
    found = case(GUIDE, rule)
    assert found.usable == matrix.transpose(found.usable, 32), "usable is symmetric"
    assert of(found) == "ONE_WAY"


def test_trap_a_sample_is_never_a_plain_full_mesh() -> None:
    for missing in ((0, 0, 1, 0), (3, 7, 0, 0)):
        found = case(GUIDE, but(full, (lambda *pair, missing=missing: pair == missing, "NOT_MEASURED")))
        assert of(found) == "FULL_MESH_SAMPLED"
        assert "SAMPLED" in qualifiers(found)


def test_trap_a_small_mtu_is_not_a_dead_nic() -> None:
    found = case(GUIDE, but(full, (touches(0, 0), "SMALL_OK_MTU_FAIL")))
    assert found.down_nics == ()
    assert "MTU" in qualifiers(found)


def test_trap_ip_says_nothing_about_rdma() -> None:
    found = case(GUIDE, transport="udp", active=False)
    assert (of(found), qualifiers(found)) == ("FULL_MESH", ("IP_ONLY",))
    assert {entry["basis"] for entry in verdict.usable_by(found).values()} == {"IP only"}


def test_trap_old_names_are_gone() -> None:
    assert not {"FULL_MESH_EXCEPT_DOWN", "PARTITIONED", "DEGRADED"} & set(verdict.VERDICTS)


# --- properties ---


@st.composite
def any_case(draw: st.DrawFn) -> verdict.Case:
    counts = draw(st.lists(st.integers(0, 4), min_size=1, max_size=6))
    rule = draw(st.sampled_from([full, rails, planes_of(2), groups_of((0, 1), (2, 3)), deaf(0, 0)]))
    noise = draw(st.sampled_from([0, 0, 2, 20]))
    seed = draw(st.integers(0, 2**20))
    dice = random.Random(seed)
    found = build(counts, lambda *pair: dice.choice(matrix.CODES) if dice.randrange(40) < noise else rule(*pair))
    joined = frozenset(host for host in range(len(counts)) if draw(st.integers(0, 9)))
    found = found.without_hosts(set(range(len(counts))) - joined)
    transport = draw(st.sampled_from(["rdma", "udp"]))
    flags = [draw(st.sampled_from([True, True, True, False])) for _flag in range(2)]
    return verdict.Case(found, joined, transport, flags[0], flags[1], draw(st.booleans()))


@settings(max_examples=150, deadline=None)
@given(any_case(), st.randoms(use_true_random=False))
def test_total_and_stable_under_relabeling(found: verdict.Case, dice: t.Any) -> None:
    first = verdict.classify(found)
    assert first.verdict in verdict.VERDICTS
    assert first == verdict.classify(found)
    again = verdict.classify(relabeled(found, dice))
    assert again.verdict == first.verdict
    # Which NIC is on the wrong rail is a question of positions.
    drop = {"MISCABLED"}
    assert set(again.qualifiers) - drop == set(first.qualifiers) - drop
    assert len(again.components) == len(first.components)


def relabeled(found: verdict.Case, dice: t.Any) -> verdict.Case:
    """The same fabric with hosts, and the NICs on each, in another order."""
    old = found.matrix
    hosts = list(range(len(old.hosts)))
    dice.shuffle(hosts)
    order: list[int] = []
    for host in hosts:
        mine = [position for position, nic in enumerate(old.nics) if nic.host == host]
        dice.shuffle(mine)
        order += mine
    place = {position: at for at, position in enumerate(order)}
    nics = []
    for at, position in enumerate(order):
        index = sum(1 for other in order[:at] if old.nics[other].host == old.nics[position].host)
        nics.append(matrix.Nic(hosts.index(old.nics[position].host), index, old.nics[position].name))
    planes = {
        code: [sum(1 << place[target] for target in matrix.bits(rows[position])) for position in order]
        for code, rows in old.planes.items()
    }
    moved = matrix.build([old.hosts[host] for host in hosts], nics, planes)
    joined = frozenset(hosts.index(host) for host in found.joined)
    return verdict.Case(moved, joined, found.transport, found.complete, found.active, found.lossy)


@settings(max_examples=60, deadline=None)
@given(any_case())
def test_what_the_fabric_carries_is_total_too(found: verdict.Case) -> None:
    table = verdict.usable_by(found, [PREFILL, DECODE])
    assert {entry["state"] for entry in table.values()} <= {"ok", "fail", "unknown"}
    verdict.judge(found, [PREFILL, DECODE])
    if not found.complete:
        assert {entry["state"] for entry in table.values()} == {"unknown"}


# --- who can use it ---


def states(found: verdict.Case) -> dict[str, str]:
    return {name: entry["state"] for name, entry in verdict.usable_by(found, [PREFILL, DECODE]).items()}


def test_a_full_mesh_carries_everything() -> None:
    assert set(states(case(GUIDE)).values()) == {"ok"}


def test_rails_carry_what_needs_rails() -> None:
    assert states(case(GUIDE, rails)) == {
        "deepep_low_latency": "fail",
        "deepep_high_throughput": "ok",
        "deepep_v2": "fail",
        "deepep_v2 with VLLM_DEEPEP_V2_ALLOW_HYBRID_MODE=1": "ok",
        "nccl_gin": "fail",
        "nccl_gin with NCCL_CROSS_NIC=0": "ok",
        "mori": "fail",
        "mori with MORI_ENABLE_RAIL_ONLY=1": "ok",
        "allgather_reducescatter": "ok",
        "naive": "ok",
        "kv_nixl": "fail",
    }
    assert "VLLM_DEEPEP_V2_ALLOW_HYBRID_MODE=1" in verdict.usable_by(case(GUIDE, rails))["deepep_v2"]["needs"]


def test_what_was_not_measured_is_unknown() -> None:
    found = case(GUIDE, but(full, (touches(3), "NOT_MEASURED")), joined=(0, 1, 2))
    assert states(found)["deepep_low_latency"] == "unknown"
    assert states(case((8, 8, 0), joined=(0, 1)))["deepep_high_throughput"] == "unknown"


def test_the_guide_s_mask() -> None:
    """Decode full, prefill rail, and the key-value paths both ways: 128 + 16 + 512 directed pairs."""
    found = case(GUIDE)
    sizes = [
        sum(map(matrix.bit_count, rows))
        for rows in (
            verdict.mask_of(found.matrix, DECODE.hosts, "full"),
            verdict.mask_of(found.matrix, PREFILL.hosts, "rail"),
            verdict.kv_mask(found.matrix, [PREFILL, DECODE]),
        )
    ]
    assert sizes == [128, 16, 512]
    assert verdict.judge(found, [PREFILL, DECODE]).needed == sum(sizes)


@pytest.mark.parametrize(
    ("groups", "kv", "satisfied", "missing"),
    [
        ([PREFILL], True, True, 0),
        ([PREFILL, DECODE], False, False, 112),
        ([PREFILL, DECODE], True, False, 560),
        ([verdict.Group("decode", ("h2", "h3"), "deepep_v2")], False, False, 112),
        ([verdict.Group("decode", ("h2", "h3"), "deepep_v2", {"VLLM_DEEPEP_V2_ALLOW_HYBRID_MODE": "1"})],
         False, True, 0),
        ([verdict.Group("decode", ("h2", "h3"), "deepep_v2", {"VLLM_DEEPEP_V2_ALLOW_HYBRID_MODE": "0"})],
         False, False, 112),
        ([verdict.Group("decode", ("h2",), "deepep_low_latency")], False, True, 0),
        ([verdict.Group("decode", ("h2", "h3"), "something_new")], False, False, 0),
        ([], True, False, 0),
    ],
)  # fmt: skip
def test_rails_under_requirements(groups: list[verdict.Group], kv: bool, satisfied: bool, missing: int) -> None:
    judged = verdict.judge(case(GUIDE, rails), groups, kv=kv)
    assert (judged.satisfied, judged.missing) == (satisfied, missing)
    assert bool(judged.examples) == bool(missing)


def test_the_mapping_of_ranks_decides_what_a_rail_is() -> None:
    """Rank i on NIC i is a rail; the same devices in another order per host are the fabric's rails no more."""
    mapped = verdict.Group("prefill", ("h0", "h1"), "deepep_high_throughput", rank_nics=(3, 2, 1, 0))
    found = case(GUIDE, rails)
    assert verdict.backend_state(found, mapped) == "ok"
    assert sum(map(matrix.bit_count, verdict.mask_of(found.matrix, mapped.hosts, "rail", mapped.rank_nics))) == 8


def test_a_rail_that_a_host_lacks_is_a_failure() -> None:
    assert states(case((8, 8, 8, 4), rails))["deepep_high_throughput"] == "fail"
    assert states(case((8, 8, 8, 4)))["deepep_low_latency"] == "ok"
    needs_five = verdict.Group("decode", ("h2", "h3"), "deepep_low_latency", rank_nics=(0, 5))
    assert verdict.backend_state(case((8, 8, 8, 4)), needs_five) == "fail"


def test_an_explicit_requirement() -> None:
    found = case(GUIDE, rails)
    judged = verdict.judge(found, [], explicit=found.wanted)
    assert (judged.satisfied, judged.needed, judged.missing) == (False, 768, 672)
    assert verdict.judge(found, [], explicit=verdict.mask_of(found.matrix, found.matrix.hosts, "rail")).satisfied


def test_a_host_that_never_joined_fails_what_needs_it() -> None:
    found = case((8, 8, 8, 0), joined=(0, 1, 2))
    assert of(found) == "FULL_MESH_MINUS_DOWN"
    judged = verdict.judge(found, [PREFILL, DECODE])
    assert not judged.satisfied
    assert judged.states["prefill: deepep_high_throughput"] == "ok"
    assert judged.states["decode: deepep_low_latency"] == "unknown"


def test_relays_need_one_rail_between_hosts() -> None:
    one = case((2, 2, 2), lambda _h, i, _g, j: "OK" if i == j == 0 else "RETRY_EXC")
    assert states(one)["allgather_reducescatter"] == "ok"
    assert states(case(GUIDE, groups_of((0, 1), (2, 3))))["allgather_reducescatter"] == "fail"


# --- groups that stay on one host ---


@pytest.mark.parametrize(("hosts_per_group", "state", "missing"), [(0, "fail", 24), (2, "fail", 24), (1, "ok", 0)])
@pytest.mark.parametrize("backend", ["deepep_low_latency", "deepep_v2"])
def test_ranks_of_one_host_need_nothing_of_the_fabric(
    backend: str, hosts_per_group: int, state: str, missing: int
) -> None:
    group = verdict.Group("decode", ("h0", "h1"), backend, hosts_per_group=hosts_per_group)
    found = verdict.judge(case((4, 4), rails), [group], kv=False)
    assert (found.states, found.missing) == ({f"decode: {backend}": state}, missing)


def test_key_values_leave_the_host_all_the_same() -> None:
    groups = [verdict.Group(role, ("h0", "h1"), "deepep_low_latency", hosts_per_group=1) for role in
              ("prefill", "decode")]  # fmt: skip
    found = verdict.judge(case((4, 4), rails), groups)
    assert found.states[verdict.KV_PATH] == "fail"
    assert found.missing == 24
