# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client program as its pod runs it, against the real simulator and the real routing sidecar, without a cluster."""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_observation import Route, read_report

from ._loopback import DECODE, MANIFEST, PODS, PREFILL, ROUTER, Deployment, ask, codes, prove, prove_whole

RANKS = 3
ROUTE = Route("HTTPRoute n/r", True, "")

pytestmark = pytest.mark.skipif(not MANIFEST.exists(), reason="`make binaries` has not been run")


def made(folder: Path, ranks: int) -> t.Iterator[Deployment]:
    deployment = Deployment(folder, ranks)
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.stop()


@pytest.fixture
def deployment(tmp_path: Path) -> t.Iterator[Deployment]:
    yield from made(tmp_path, 1)


@pytest.fixture
def ranks(tmp_path: Path) -> t.Iterator[Deployment]:
    """Each rank an endpoint, as in multi-port mode."""
    yield from made(tmp_path, RANKS)


def test_disaggregated(deployment: Deployment, tmp_path: Path) -> None:
    verdict = prove(deployment, tmp_path)
    assert codes(verdict) == []
    assert verdict.passed
    assert (verdict.answered, verdict.prefilled_remotely) == (verdict.asked, verdict.asked)
    assert {row.role: sum(r.requests for r in verdict.rows if r.role == row.role) for row in verdict.rows} == {
        "prefill": verdict.asked,
        "decode": verdict.asked,
    }
    assert set(verdict.kinds) == {"completion", "chat", "chat_stream", "completion_stream"}
    assert verdict.kinds["chat_stream"]["chunks"] >= verdict.kinds["chat_stream"]["answered"]


def test_decode_only(deployment: Deployment, tmp_path: Path) -> None:
    deployment.disaggregates = False
    verdict = prove_whole(deployment, tmp_path)
    assert codes(verdict) == ["PREFILL_UNUSED"]
    assert (verdict.answered, verdict.prefilled_remotely) == (16, 0)
    # The list of models is a request for the endpoint picker as well.
    assert "decisions of the endpoint picker: 17 decode-only" in verdict.findings[0].evidence


def test_a_sidecar_that_falls_back_is_told_from_a_decision(deployment: Deployment, tmp_path: Path) -> None:
    """Both answer 200 decode-only; what the endpoint picker decided tells them apart."""
    deployment.knows_prefill = False
    verdict = prove_whole(deployment, tmp_path)
    assert codes(verdict) == ["PREFILL_UNUSED"]
    assert verdict.answered == 16
    assert "decisions of the endpoint picker: 17 prefill-decode" in verdict.findings[0].evidence


def test_wrong_model_name(deployment: Deployment, tmp_path: Path) -> None:
    assert codes(prove(deployment, tmp_path, model="other/model")) == ["WRONG_MODEL_NAME"]


def test_server_down_behind_its_sidecar(deployment: Deployment, tmp_path: Path) -> None:
    deployment.kill("decode-0")
    verdict = prove(deployment, tmp_path)
    assert codes(verdict) == ["VLLM_DOWN"]
    assert "decode-0" in verdict.findings[0].subject


def test_prefill_server_down(deployment: Deployment, tmp_path: Path) -> None:
    deployment.kill("prefill-0")
    assert codes(prove(deployment, tmp_path)) == ["PREFILL_POD_UNREACHABLE"]


def test_every_rank_is_an_endpoint(ranks: Deployment, tmp_path: Path) -> None:
    verdict = prove(ranks, tmp_path)
    assert codes(verdict) == []
    assert verdict.passed
    assert [list(row.ranks) for row in verdict.rows] == [["0", "1", "2"], ["3", "4", "5"]] * 2
    assert min(count for row in verdict.rows for count in row.ranks.values()) > 0


def test_a_rank_that_the_router_never_chooses(ranks: Deployment, tmp_path: Path) -> None:
    """Status 200 throughout, and each pod has served: the rank's own counter is the only witness."""
    ranks.skipped = 2
    verdict = prove(ranks, tmp_path)
    assert codes(verdict) == ["RANK_SILENT"] * 4
    assert (verdict.passed, verdict.answered) == (False, verdict.asked)
    assert [finding.subject for finding in verdict.findings] == [
        "prefill rank 2",
        "prefill rank 5",
        "decode rank 2",
        "decode rank 5",
    ]


def test_one_decode_rank_deaf(ranks: Deployment, tmp_path: Path) -> None:
    ranks.halt("decode-0-1", 1)
    verdict = prove(ranks, tmp_path)
    assert [(finding.code, finding.subject) for finding in verdict.findings] == [("RANK_DEAF", "decode rank 4")]
    # Its sidecar is well, and says so.
    assert "sidecar answers /health with 200, which tells nothing" in verdict.findings[0].evidence


def test_all_ranks_of_a_pod_down_behind_their_sidecar(ranks: Deployment, tmp_path: Path) -> None:
    ranks.kill("decode-0-1")
    verdict = prove(ranks, tmp_path)
    assert [(finding.code, finding.subject) for finding in verdict.findings] == [("VLLM_DOWN", "decode pod decode-0-1")]


def test_prefill_tier_gone_during_the_proof(deployment: Deployment, tmp_path: Path) -> None:
    """The sidecar goes on decode-only, with status 200 for every request."""

    def gone() -> None:
        for name in PREFILL:
            deployment.kill(name)

    deployment.at[8] = gone
    verdict = prove(deployment, tmp_path, pods_after=PODS[2:])
    assert codes(verdict) == ["PREFILL_ABSENT"]
    assert verdict.answered == verdict.asked == 16
    assert "they were there when the proof began" in verdict.findings[0].evidence


@pytest.mark.parametrize("told", ["pod", "container", "process"])
def test_endpoint_picker_restarted_mid_request(deployment: Deployment, tmp_path: Path, told: str) -> None:
    deployment.at[8] = deployment.restart_router
    after = {
        "pod": (dataclasses.replace(ROUTER, name="epp-2"),),
        "container": (dataclasses.replace(ROUTER, incarnation=("u1", "epp#1")),),
        "process": (ROUTER,),
    }
    verdict = prove(deployment, tmp_path, router_after=after[told])
    assert codes(verdict) == ["ROUTER_RESTARTED"]
    assert verdict.answered < verdict.asked
    assert f"of {verdict.asked} requests: " in verdict.findings[0].evidence


def test_route_deleted_during_the_proof(deployment: Deployment, tmp_path: Path) -> None:
    def deleted() -> None:
        deployment.has_route = False

    deployment.at[8] = deleted
    lost = Route("HTTPRoute of Gateway n/g", False, "no HTTPRoute leads to InferencePool x; there is none")
    verdict = prove(deployment, tmp_path, route_before=ROUTE, route_after=lost)
    assert codes(verdict) == ["ROUTE_MISSING"]
    assert f"of {verdict.asked} requests: HTTP 404" in verdict.findings[0].evidence


def test_a_404_of_the_server_is_no_missing_route(deployment: Deployment, tmp_path: Path) -> None:
    verdict = prove(deployment, tmp_path, model="other/model", route_before=ROUTE, route_after=ROUTE)
    assert codes(verdict) == ["WRONG_MODEL_NAME"]


def test_transfers_go_through_the_prefill_pod_that_they_name(ranks: Deployment, tmp_path: Path) -> None:
    """Prompts of known length: the servers' own count of tokens, at the pod that was named."""
    jobs = [
        {
            "url": f"http://127.0.0.1:{ranks.sidecars[DECODE[number % 2]] + number % RANKS}",
            "prefill": f"127.0.0.1:{ranks.ports[PREFILL[1]] + number % RANKS}",
            "pod": PREFILL[1],
            "words": 300,
        }
        for number in range(6)
    ]
    report = read_report(ask(ranks, tmp_path, transfers=jobs))
    assert [one.ok for one in report.answers] == [True] * 6
    tokens = sum(one.prompt_tokens for one in report.answers)
    assert tokens > 6 * 200
    prefilled = {pod: sum(ranks.prompt_tokens(pod)) for pod in PREFILL}
    assert prefilled == {PREFILL[0]: 0, PREFILL[1]: tokens}
