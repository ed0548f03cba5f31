# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_case import Case
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_observation import (
    Answer,
    ClientReport,
    Endpoint,
    Expectation,
    Observation,
    PodState,
    Scrape,
    TierExpectation,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_proof import Verdict, judge
from ansible_collections.llmd.wide_ep.plugins.module_utils._prometheus_text import Served, kept_lines, parse, served
from ansible_collections.llmd.wide_ep.plugins.module_utils._rank_proof import every_rank_served

MODEL = "m"
RANKS = 8
PREFILL, DECODE = ("prefill-0", "prefill-0-1"), ("decode-0", "decode-0-1")
PORTS = {"prefill": 8000, "decode": 8200}
EXPECTED = Expectation(
    "n",
    MODEL,
    (
        TierExpectation("prefill", "p", PREFILL, ranks_per_pod=RANKS, pods_per_group=2),
        TierExpectation("decode", "d", DECODE, ranks_per_pod=RANKS, pods_per_group=2),
    ),
    {},
    "deployment/epp",
    rank_endpoints=True,
)
HYBRID = dataclasses.replace(EXPECTED, rank_endpoints=False)
PODS = tuple(
    PodState(name, name.split("-", maxsplit=1)[0], {}, "10.1.0.1", "gpu-0", True, "", (name,))
    for name in (*PREFILL, *DECODE)
)
DATA = pathlib.Path(__file__).resolve().parents[3] / "data" / "metrics" / "vllm-0.19.1"
Counts = dict[tuple[str, int], float]


def scrape(pod: str, port: int, one: Served, error: str | None = None, sidecar: t.Any = None) -> Scrape:
    return Scrape(pod, port, error, sidecar, one, frozenset({MODEL}))


def work(pod: str, count: float) -> Served:
    prefill = pod.startswith("prefill")
    # Each of the servers calls its only rank by the same label.
    label = {"0": count}
    return Served(total=count, prefilled=count * prefill, decoded=count * (not prefill), ranks=label)


def ports(counts: Counts, deaf: t.Mapping[tuple[str, int], t.Any] | None = None) -> tuple[Scrape, ...]:
    """A scrape of each rank's port; ``deaf`` has what the sidecar says for ranks that say nothing."""
    found = []
    for pod in (*PREFILL, *DECODE):
        first = PORTS[pod.split("-", maxsplit=1)[0]]
        for rank in range(RANKS):
            silent = (pod, rank) in (deaf or {})
            error, sidecar = ("no answer within 5 s", (deaf or {})[pod, rank]) if silent else (None, None)
            found.append(scrape(pod, first + rank, work(pod, counts.get((pod, rank), 0)), error, sidecar))
    return tuple(found)


ALL = {(pod, rank): 2.0 for pod in (*PREFILL, *DECODE) for rank in range(RANKS)}
ANSWERS = tuple(Answer("completion", 200, None, MODEL, 1, "a", None, "", None, 0.1) for _number in range(32))


def verdict(
    after: tuple[Scrape, ...],
    before: tuple[Scrape, ...] | None = None,
    expected: Expectation = EXPECTED,
    answers: tuple[Answer, ...] = ANSWERS,
) -> Verdict:
    stage = "done" if after else "scrape"
    report = ClientReport(stage, "u", (MODEL,), None, before or ports({}), after, answers, 1.0)
    return judge(expected, Observation(Endpoint("s", "u", 1, ""), {}, PODS, PODS, report))


def only(found: Verdict) -> Finding:
    (finding,) = found.findings
    return finding


def test_every_rank_is_proven() -> None:
    found = verdict(ports(ALL))
    assert (found.passed, found.findings) == (True, ())
    ranks = {row.pod: list(row.ranks) for row in found.rows}
    assert ranks == {
        pod: [str(rank) for rank in range(first, first + RANKS)]
        for tier in (PREFILL, DECODE)
        for first, pod in zip((0, RANKS), tier, strict=True)
    }
    assert {count for row in found.rows for count in row.ranks.values()} == {2}


@pytest.mark.parametrize(
    ("lost", "name"), [(("decode-0-1", 3), "decode rank 11"), (("prefill-0", 7), "prefill rank 7")]
)
def test_a_rank_without_requests_is_named(lost: tuple[str, int], name: str) -> None:
    """Its tier has counted enough: only the rank's own count tells."""
    neighbor = (lost[0], 0)
    finding = only(found := verdict(ports({**ALL, lost: 0, neighbor: 4})))
    assert (finding.code, finding.severity, finding.subject, found.passed) == ("RANK_SILENT", "error", name, False)
    assert f"of pod {lost[0]}" in finding.evidence
    assert ": 4" in finding.evidence


def test_ranks_of_one_pod_are_named_together() -> None:
    counts = {**ALL, ("decode-0", 1): 0, ("decode-0", 2): 0, ("decode-0", 3): 6}
    assert only(verdict(ports(counts))).subject == "decode ranks 1, 2"


@pytest.mark.parametrize("sidecar", [200, "connection refused"])
def test_one_deaf_rank_is_told_from_a_dead_pod(sidecar: t.Any) -> None:
    deaf = {("decode-0-1", 3): sidecar}
    finding = only(found := verdict((), ports({}, deaf), answers=()))
    assert (finding.code, finding.subject, found.passed) == ("RANK_DEAF", "decode rank 11", False)
    assert "port 8203 of pod decode-0-1: no answer within 5 s; other ranks of the pod answer" in finding.evidence
    assert ("sidecar answers /health" in finding.evidence) is (sidecar == 200)


def test_ranks_that_nothing_could_reach_are_not_named_beside_the_cause() -> None:
    """Few requests came through before the endpoint picker went."""
    report = ClientReport(
        "done",
        "u",
        (MODEL,),
        None,
        ports({}),
        ports({("decode-0", 0): 1, ("prefill-0", 0): 1}),
        (ANSWERS[0], dataclasses.replace(ANSWERS[0], status=None, error="connection refused")),
        1.0,
    )
    router = PodState("epp", "", {}, "10.1.0.9", "cpu-0", True, "", ("u1",))
    seen = Observation(Endpoint("s", "u", 1, ""), {}, PODS, PODS, report, router_before=(router,), router_after=())
    assert only(judge(EXPECTED, seen)).code == "ROUTER_RESTARTED"


def test_a_rank_that_falls_deaf_during_the_proof_is_named_once() -> None:
    deaf = {("decode-0-1", 3): 200}
    found = verdict(ports({**ALL, ("decode-0-1", 0): 4}, deaf))
    assert [(finding.code, finding.subject) for finding in found.findings] == [("RANK_DEAF", "decode rank 11")]


@pytest.mark.parametrize(
    ("pod", "sidecar", "code"),
    [
        ("decode-0", 200, "VLLM_DOWN"),
        ("decode-0", "no route to host", "DECODE_POD_UNREACHABLE"),
        ("prefill-0", None, "PREFILL_POD_UNREACHABLE"),
    ],
)
def test_a_pod_of_which_no_rank_answers_is_one_finding(pod: str, sidecar: t.Any, code: str) -> None:
    finding = only(verdict((), ports({}, {(pod, rank): sidecar for rank in range(RANKS)}), answers=()))
    first = PORTS[pod.split("-", maxsplit=1)[0]]
    assert finding.code == code
    assert finding.evidence.startswith(f"ports {first}-{first + 7}")


def test_a_pod_with_too_few_ranks() -> None:
    fewer = tuple(one for one in ports(ALL) if (one.pod, one.port) != ("prefill-0", 8007))
    more = tuple(
        dataclasses.replace(one, served=work(one.pod, 4)) if (one.pod, one.port) == ("prefill-0", 8000) else one
        for one in fewer
    )
    finding = only(
        found := verdict(more, tuple(one for one in ports({}) if one.port != 8007 or one.pod != "prefill-0"))
    )
    assert (finding.code, finding.subject, found.passed) == ("RANKS_MISSING", "prefill pod prefill-0", False)
    assert "7 ranks apart, the plan has 8" in finding.evidence


def recorded(role: str, when: str, pod: str, port: int) -> Scrape:
    lines = kept_lines((DATA / f"{role}_{when}.txt").read_text(encoding="utf-8"))
    return Scrape(pod, port, None, None, served(parse(lines)), frozenset({MODEL}))


def test_ranks_of_recorded_vllm_metrics() -> None:
    """Hybrid mode: one API server per pod labels the requests of its ranks by their number in the group."""
    one_pod = dataclasses.replace(
        HYBRID,
        tiers=(
            TierExpectation("prefill", "p", ("prefill-0",), ranks_per_pod=2),
            TierExpectation("decode", "d", ("decode-0-1",), ranks_per_pod=8),
        ),
    )
    pods = tuple(pod for pod in PODS if pod.name in ("prefill-0", "decode-0-1"))
    before = (recorded("prefill", "before", "prefill-0", 8000), recorded("decode", "before", "decode-0-1", 8200))
    after = (recorded("prefill", "after", "prefill-0", 8000), recorded("decode", "after", "decode-0-1", 8200))
    report = ClientReport("done", "u", (MODEL,), None, before, after, ANSWERS[:4], 1.0)
    found = judge(one_pod, Observation(Endpoint("s", "u", 1, ""), {}, pods, pods, report))
    decode = next(row for row in found.rows if row.role == "decode")
    assert list(decode.ranks) == ["10", "11", "12", "13", "14", "15", "8", "9"]
    silent = [rank for rank, count in decode.ranks.items() if not count]
    warnings = [finding for finding in found.findings if finding.subject.startswith("decode rank")]
    assert [(finding.code, finding.severity) for finding in warnings] == [("RANK_SILENT", "warning")] * bool(silent)


@pytest.mark.parametrize(
    ("ranks", "codes"),
    [
        ({str(rank): 1.0 for rank in range(8, 16)}, []),
        ({str(rank): float(rank < 12) for rank in range(8, 16)}, [("RANK_SILENT", "warning")]),
        ({str(rank): 1.0 for rank in range(8, 15)}, [("RANKS_MISSING", "error")]),
        ({}, []),
    ],
)
def test_hybrid_mode(ranks: dict[str, float], codes: list[tuple[str, str]]) -> None:
    """A rank without requests is a word, a rank without a counter a fault, and a server without labels neither."""
    after = tuple(
        scrape(pod, PORTS[role], Served(total=16, prefilled=16, decoded=16, ranks=ranks if pod == "decode-0-1" else {}))
        for role, tier in (("prefill", PREFILL), ("decode", DECODE))
        for pod in tier
    )
    before = tuple(dataclasses.replace(one, served=Served()) for one in after)
    found = verdict(after, before, HYBRID)
    assert [(finding.code, finding.severity) for finding in found.findings] == codes
    assert found.passed is not any(severity == "error" for _code, severity in codes)


@pytest.mark.parametrize(("counts", "served"), [(ALL, True), ({**ALL, ("prefill-0-1", 5): 0}, False), ({}, False)])
def test_the_proof_needs_a_count_of_every_rank(counts: Counts, served: bool) -> None:
    report = ClientReport("done", "u", (MODEL,), None, ports({}), ports(counts), ANSWERS, 1.0)
    case = Case(EXPECTED, Observation(Endpoint("s", "u", 1, ""), {}, PODS, PODS, report))
    assert every_rank_served(case) is served
    assert every_rank_served(dataclasses.replace(case, expected=HYBRID))
