# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every directed pair once, in as few rounds as there can be."""

from __future__ import annotations

import typing as t
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_schedule as schedule

UNEVEN = st.lists(st.integers(0, 16), min_size=2, max_size=24)


def wanted(counts: t.Sequence[int], allowed: schedule.Allowed | None = None) -> set[schedule.Pair]:
    return {
        (h, i, g, j)
        for h, count in enumerate(counts)
        for g, other in enumerate(counts)
        if h != g
        for i in range(count)
        for j in range(other)
        if allowed is None or allowed(h, i, g, j)
    }


def check_matchings(plan: schedule.Schedule) -> list[schedule.Pair]:
    """Every pair of the plan; no NIC sends or receives twice in a round."""
    found: list[schedule.Pair] = []
    for turn in plan.rounds:
        pairs = list(plan.pairs(turn))
        assert pairs, f"round {turn} is empty"
        assert len({pair[:2] for pair in pairs}) == len(pairs), f"a NIC sends twice in {turn}"
        assert len({pair[2:] for pair in pairs}) == len(pairs), f"a NIC receives twice in {turn}"
        found += pairs
    return found


@pytest.mark.parametrize("hosts", range(2, 17))
@pytest.mark.parametrize("nics", range(1, 9))
def test_each_directed_pair_once_in_the_fewest_rounds(hosts: int, nics: int) -> None:
    counts = (nics,) * hosts
    plan = schedule.full(counts)
    assert len(plan.rounds) == (hosts - 1) * nics == schedule.least_rounds(counts)
    found = Counter(check_matchings(plan))
    assert set(found.values()) == {1}
    assert set(found) == wanted(counts)
    assert plan.size() == schedule.directed_pairs(counts) == len(found)


@settings(max_examples=8, deadline=None)
@given(st.integers(17, 64), st.integers(1, 16))
def test_each_directed_pair_once_in_large_meshes(hosts: int, nics: int) -> None:
    plan = schedule.full((nics,) * hosts)
    assert len(plan.rounds) == (hosts - 1) * nics
    seen = bytearray((hosts * nics) ** 2)
    for turn in plan.rounds:
        for h, i, g, j in plan.pairs(turn):
            assert h != g
            seen[(h * nics + i) * hosts * nics + g * nics + j] += 1
    assert seen.count(1) == schedule.directed_pairs(plan.counts)
    assert seen.count(0) + seen.count(1) == len(seen)


@settings(max_examples=60, deadline=None)
@given(UNEVEN)
def test_uneven_counts_keep_each_pair_once(counts: list[int]) -> None:
    plan = schedule.full(counts)
    found = Counter(check_matchings(plan))
    assert set(found) == wanted(counts)
    assert set(found.values()) <= {1}
    have = [count for count in counts if count]
    if len(have) > 1:
        assert sum(counts) - min(have) <= len(plan.rounds) <= (len(counts) - 1) * max(counts)
    else:
        assert plan.rounds == ()


@pytest.mark.parametrize(
    ("counts", "rounds", "least"), [((8, 8, 8, 4), 24, 24), ((8, 8, 4, 4), 24, 20), ((1, 8), 8, 8), ((0, 8, 8), 8, 8)]
)
def test_uneven_examples(counts: tuple[int, ...], rounds: int, least: int) -> None:
    plan = schedule.full(counts)
    assert least <= len(plan.rounds) <= max(rounds, least) if 0 not in counts else len(plan.rounds) >= least
    assert schedule.least_rounds(counts) == least
    assert set(check_matchings(plan)) == wanted(counts)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=8), st.integers(0, 2**30))
def test_any_mask_is_kept_to(counts: list[int], salt: int) -> None:
    def allowed(h: int, i: int, g: int, j: int) -> bool:
        return hash((h, i, g, j, salt)) % 3 == 0

    plan = schedule.masked(counts, allowed)
    found = Counter(check_matchings(plan))
    assert set(found) == wanted(counts, allowed)
    assert set(found.values()) <= {1}
    assert plan.size() == len(found)
    sent, received = Counter(pair[:2] for pair in found), Counter(pair[2:] for pair in found)
    assert len(plan.rounds) >= max([*sent.values(), *received.values()], default=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40))
def test_two_groups(senders: int, receivers: int) -> None:
    rounds = schedule.between(senders, receivers)
    assert len(rounds) == (max(senders, receivers) if senders and receivers else 0)
    found = Counter(pair for pairs in rounds for pair in pairs)
    assert set(found) == {(x, y) for x in range(senders) for y in range(receivers)}
    assert set(found.values()) <= {1}
    for pairs in rounds:
        assert len({pair[0] for pair in pairs}) == len({pair[1] for pair in pairs}) == len(pairs)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 8), min_size=2, max_size=10), st.data())
def test_a_new_host_adds_its_own_pairs_alone(counts: list[int], data: st.DataObject) -> None:
    new = data.draw(st.integers(0, len(counts) - 1))
    plan = schedule.increment(counts, [new])
    found = check_matchings(plan)
    rest = sum(counts) - counts[new]
    assert set(found) == wanted(counts, lambda h, _i, g, _j: new in (h, g))
    assert len(found) == 2 * rest * counts[new]
    assert len(plan.rounds) >= max(rest, counts[new])
    if len(set(counts)) == 1:
        assert len(plan.rounds) == rest, "no more than its NICs have peers"


def test_an_unknown_new_host_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no host 4: 4 hosts"):
        schedule.increment([8] * 4, [4])


def test_two_rounds_tell_rails_from_a_mesh() -> None:
    first, second = schedule.full([8] * 4).rounds[:2]
    plan = schedule.full([8] * 4)
    assert all(i == j for _h, i, _g, j in plan.pairs(first))
    assert all(i != j for _h, i, _g, j in plan.pairs(second))
    assert {pair[:2] for pair in plan.pairs(first)} == {pair[:2] for pair in plan.pairs(second)}


def test_the_guide_s_key_value_paths_take_16_rounds() -> None:
    assert [len(pairs) for pairs in schedule.between(16, 16)] == [16] * 16


@pytest.mark.parametrize(("hosts", "nics", "budget"), [(1024, 8, 80), (64, 16, 100), (4, 8, 24), (4, 8, 999)])
def test_samples_keep_to_their_budget(hosts: int, nics: int, budget: int) -> None:
    plan = schedule.sampled((nics,) * hosts, budget, seed=7)
    assert len(plan.rounds) == len(set(plan.rounds)) == min(budget, (hosts - 1) * nics)
    assert plan.rounds[:2] == schedule.full((nics,) * hosts).rounds[:2]
    assert plan.size() == len(plan.rounds) * hosts * nics
    assert plan == schedule.sampled((nics,) * hosts, budget, seed=7), "a seed gives the same sample"


def test_a_sample_that_proves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a sample of 1 rounds"):
        schedule.sampled([8] * 4, 1)


@pytest.mark.parametrize("counts", [(), (8,), (0, 0), (0, 8)])
def test_without_two_hosts_there_is_nothing_to_do(counts: tuple[int, ...]) -> None:
    assert schedule.full(counts).rounds == ()
    assert schedule.least_rounds(counts) == 0
