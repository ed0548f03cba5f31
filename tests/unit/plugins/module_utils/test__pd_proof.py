# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import has_errors
from ansible_collections.llmd.wide_ep.plugins.module_utils._kv_transport import Transport
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_case import Case
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_observation import (
    Answer,
    ClientReport,
    Decisions,
    Endpoint,
    Expectation,
    LwsState,
    Observation,
    PodState,
    Route,
    Scrape,
    TierExpectation,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_proof import judge
from ansible_collections.llmd.wide_ep.plugins.module_utils._prometheus_text import Served

MODEL = "deepseek-ai/DeepSeek-R1-0528"
LABELS = {"llm-d.ai/guide": "wide-ep-lws"}
PODS = ("prefill-0", "prefill-0-1", "decode-0", "decode-0-1")
EXPECTED = Expectation(
    namespace="llm-d-wide-ep",
    model=MODEL,
    tiers=(
        TierExpectation("prefill", "lws-prefill", PODS[:2]),
        TierExpectation("decode", "lws-decode", PODS[2:]),
    ),
    pool_labels=LABELS,
    router="deployment/wide-ep-lws-epp",
)
ENDPOINT = Endpoint("Service llm-d-wide-ep/wide-ep-lws-epp", "http://10.96.0.7:80", 1, "")
ANSWER = Answer("completion", 200, None, MODEL, 1, "I am fine.", None, "", None, 0.1)
STREAM = dataclasses.replace(ANSWER, kind="chat_stream", done=True, chunks=3)
FAILED = Answer("completion", 503, None, None, 0, "", None, "no healthy upstream", None, 0.1)
GONE = LwsState("lws-prefill", exists=True, replicas=0)


def pod(name: str, **changes: t.Any) -> PodState:
    state = PodState(name, name.split("-", maxsplit=1)[0], LABELS, "10.1.0.1", "gpu-0", True, "", (name, "vllm#0"))
    return dataclasses.replace(state, **changes)


def scrape(name: str, count: float = 0.0, **changes: t.Any) -> Scrape:
    prefill = name.startswith("prefill")
    served = Served(total=count, prefilled=count if prefill else 0.0, decoded=0.0 if prefill else count)
    one = Scrape(name, 8000 if prefill else 8200, None, None, served, frozenset({MODEL}))
    return dataclasses.replace(one, **changes)


def client(
    counts: t.Mapping[str, float], answers: t.Sequence[Answer] = (ANSWER, STREAM) * 2, **changes: t.Any
) -> ClientReport:
    before = tuple(scrape(name) for name in counts)
    after = tuple(scrape(name, count) for name, count in counts.items())
    report = ClientReport("done", "http://10.96.0.7:80", (MODEL,), None, before, after, tuple(answers), 1.0)
    return dataclasses.replace(report, **changes)


COUNTS = dict.fromkeys(PODS, 2.0)
ALL_PODS = tuple(pod(name) for name in PODS)
HEALTHY = Observation(ENDPOINT, {}, ALL_PODS, ALL_PODS, client(COUNTS))


def seen(**changes: t.Any) -> Observation:
    return dataclasses.replace(HEALTHY, **changes)


def but(name: str, **changes: t.Any) -> tuple[PodState, ...]:
    return tuple(pod(other, **(changes if other == name else {})) for other in PODS)


def cut_off(name: str, sidecar: t.Any) -> ClientReport:
    before = tuple(
        scrape(other, error="no answer within 5 s" if other == name else None, sidecar=sidecar) for other in PODS
    )
    return client({}, (), stage="scrape", before=before)


WITHOUT_PREFILL = ALL_PODS[2:]
DECODE_ONLY = {**COUNTS, "prefill-0": 0.0, "prefill-0-1": 0.0}
NOT_FOUND = dataclasses.replace(FAILED, status=404, detail="The model `wrong` does not exist.")
WARM_UP_404 = client({}, (NOT_FOUND,), stage="warm_up", model_names=("other/model",), before=client(COUNTS).before)

ROUTER = PodState("epp-1", "", {}, "10.1.0.9", "cpu-0", True, "", ("u1", "epp#0"))
OTHER_ROUTER = dataclasses.replace(ROUTER, name="epp-2", ready=False, incarnation=("u2", "epp#0"))
RESTARTED_ROUTER = dataclasses.replace(ROUTER, incarnation=("u1", "epp#1"))
CUT = dataclasses.replace(FAILED, status=None, error="Connection reset by peer", detail="")
ROUTE = Route("HTTPRoute llm-d-wide-ep/wide-ep-lws", True, "")
NO_ROUTE = Route("HTTPRoute of Gateway n/g", False, "no HTTPRoute leads to InferencePool wide-ep-lws; there is none")
LOST = dataclasses.replace(FAILED, status=404, detail="")


def counted(started: float = 1.0, error: str | None = None, **counts: float) -> tuple[Decisions, ...]:
    kinds = {name.replace("_", "-"): count for name, count in counts.items()}
    return (Decisions("epp-1", error, kinds, started),)


def unreachable(*names: str) -> tuple[Scrape, ...]:
    return tuple(scrape(other, 2.0, error="no route to host" if other in names else None) for other in PODS)


def transport(verdict: str) -> Transport:
    return Transport("prefill-0", verdict, 100, 60, None, "the pod network carried 60 %")


#: what was seen, and the codes of all findings
CASES: dict[str, tuple[Observation, set[str]]] = {
    "healthy": (HEALTHY, set()),
    "no endpoint": (
        seen(endpoint=Endpoint("Service x", None, 0, "it does not exist"), client=None),
        {"ENDPOINT_MISSING"},
    ),
    "endpoint picker down": (
        seen(endpoint=dataclasses.replace(ENDPOINT, ready=0, evidence="pod epp: CrashLoopBackOff"), client=None),
        {"NO_READY_ENDPOINT"},
    ),
    "prefill set at 0 replicas": (
        seen(
            lws={"prefill": GONE},
            pods_before=WITHOUT_PREFILL,
            pods_after=WITHOUT_PREFILL,
            client=client({"decode-0": 2, "decode-0-1": 2}),
        ),
        {"PREFILL_ABSENT"},
    ),
    "decode set gone": (
        seen(pods_before=ALL_PODS[:2], pods_after=ALL_PODS[:2], client=client({}, (FAILED,), stage="warm_up")),
        {"DECODE_ABSENT", "REQUEST_FAILED"},
    ),
    "one pod missing": (
        seen(
            pods_before=ALL_PODS[:3],
            pods_after=ALL_PODS[:3],
            client=client({"prefill-0": 2, "prefill-0-1": 2, "decode-0": 4}),
        ),
        {"POD_MISSING"},
    ),
    "decode-only in spite of prefill pods": (seen(client=client(DECODE_ONLY)), {"PREFILL_UNUSED"}),
    "some requests not prefilled": (seen(client=client({**COUNTS, "prefill-0": 1})), {"REQUESTS_NOT_PREFILLED"}),
    "one prefill pod idle": (
        seen(client=client({**COUNTS, "prefill-0": 4, "prefill-0-1": 0})),
        {"PREFILL_POD_SILENT"},
    ),
    "one decode pod idle": (seen(client=client({**COUNTS, "decode-0": 4, "decode-0-1": 0})), {"DECODE_POD_SILENT"}),
    "one decode pod out of the pool": (
        seen(
            pods_before=but("decode-0-1", labels={}),
            pods_after=but("decode-0-1", labels={}),
            client=client({**COUNTS, "decode-0": 4, "decode-0-1": 0}),
        ),
        {"POD_NOT_IN_POOL"},
    ),
    "one decode pod cut off": (seen(client=cut_off("decode-0", "no answer within 5 s")), {"DECODE_POD_UNREACHABLE"}),
    "one prefill pod cut off": (seen(client=cut_off("prefill-0", None)), {"PREFILL_POD_UNREACHABLE"}),
    "sidecar up while vLLM is down": (seen(client=cut_off("decode-0", 200)), {"VLLM_DOWN"}),
    "one pod not ready": (
        seen(
            pods_after=but("decode-0", ready=False, reason="ContainersReady is False"),
            client=client({**COUNTS, "decode-0": 0, "decode-0-1": 4}),
        ),
        {"POD_NOT_READY"},
    ),
    "wrong model name, as the endpoint lists it": (seen(client=WARM_UP_404), {"WRONG_MODEL_NAME"}),
    "wrong model name on one pod": (
        seen(
            client=client(
                {},
                (NOT_FOUND,),
                stage="warm_up",
                model_names=(),
                before=tuple(scrape(n, models=frozenset({"x" if n == "decode-0" else MODEL})) for n in PODS),
            )
        ),
        {"WRONG_MODEL_NAME"},
    ),
    "wrong model name in an answer": (
        seen(client=client(COUNTS, [ANSWER, STREAM, STREAM, dataclasses.replace(ANSWER, model="x")])),
        {"WRONG_MODEL_NAME"},
    ),
    "a request refused": (seen(client=client(COUNTS, [ANSWER, STREAM, STREAM, FAILED])), {"REQUEST_FAILED"}),
    "an answer without choices": (
        seen(client=client(COUNTS, [ANSWER, STREAM, STREAM, dataclasses.replace(ANSWER, choices=0)])),
        {"ANSWER_SHAPE"},
    ),
    "an answer that is not JSON": (
        seen(client=client(COUNTS, [ANSWER, STREAM, STREAM, dataclasses.replace(ANSWER, detail="not JSON: <html>")])),
        {"ANSWER_SHAPE"},
    ),
    "a stream without end": (
        seen(client=client(COUNTS, [ANSWER, ANSWER, STREAM, dataclasses.replace(STREAM, done=False)])),
        {"STREAM_INCOMPLETE"},
    ),
    "answers of pods that are not ours": (
        seen(client=client(COUNTS, [ANSWER] * 6)),
        {"ANSWERED_ELSEWHERE", "REQUESTS_NOT_PREFILLED"},
    ),
    "a pod replaced": (seen(pods_after=but("decode-0", incarnation=("another uid",))), {"POD_RESTARTED"}),
    "a container started anew": (
        seen(pods_after=but("prefill-0", incarnation=("prefill-0", "vllm#1"))),
        {"POD_RESTARTED"},
    ),
    "a pod that vanished": (seen(pods_after=ALL_PODS[:3]), {"POD_RESTARTED"}),
    "the prefill tier vanished": (
        seen(pods_after=WITHOUT_PREFILL, client=client(COUNTS, after=unreachable("prefill-0", "prefill-0-1"))),
        {"PREFILL_ABSENT"},
    ),
    "the decode tier vanished": (
        seen(pods_after=ALL_PODS[:2], client=client(COUNTS, (ANSWER, FAILED), after=unreachable(*PODS[2:]))),
        {"DECODE_ABSENT", "REQUEST_FAILED", "ANSWERED_ELSEWHERE"},
    ),
    "the endpoint picker lived on": (seen(router_before=(ROUTER,), router_after=(ROUTER,)), set()),
    "the endpoint picker was replaced": (
        seen(
            router_before=(ROUTER,),
            router_after=(OTHER_ROUTER,),
            client=client(COUNTS, (ANSWER, STREAM, FAILED, CUT)),
        ),
        {"ROUTER_RESTARTED"},
    ),
    "the endpoint picker was replaced before every pod had served": (
        seen(
            router_before=(ROUTER,),
            router_after=(OTHER_ROUTER,),
            client=client({"prefill-0": 1, "prefill-0-1": 0, "decode-0": 0, "decode-0-1": 1}, (ANSWER, CUT, CUT)),
        ),
        {"ROUTER_RESTARTED"},
    ),
    "the endpoint picker is gone": (seen(router_before=(ROUTER,), router_after=()), {"ROUTER_RESTARTED"}),
    "the endpoint picker's container restarted": (
        seen(router_before=(ROUTER,), router_after=(RESTARTED_ROUTER,)),
        {"ROUTER_RESTARTED"},
    ),
    "the endpoint picker's process began anew": (
        seen(client=client(COUNTS, decisions_before=counted(1.0), decisions_after=counted(2.0))),
        {"ROUTER_RESTARTED"},
    ),
    "the endpoint picker does not give its metrics": (
        seen(client=client(COUNTS, decisions_before=counted(error="HTTP 401"), decisions_after=counted())),
        set(),
    ),
    "no route": (seen(route_before=NO_ROUTE, client=None), {"ROUTE_MISSING"}),
    "the route was deleted": (
        seen(route_before=ROUTE, route_after=NO_ROUTE, client=client(COUNTS, (ANSWER, STREAM, LOST, LOST))),
        {"ROUTE_MISSING"},
    ),
    "the route is not accepted": (
        seen(route_before=ROUTE, route_after=dataclasses.replace(ROUTE, problem="ResolvedRefs is False: x")),
        {"ROUTE_NOT_ACCEPTED"},
    ),
    "a stream without a chunk": (
        seen(client=client(COUNTS, [ANSWER, ANSWER, STREAM, dataclasses.replace(STREAM, chunks=0)])),
        {"ANSWER_SHAPE"},
    ),
    "KV cache over RDMA": (seen(transports=(transport("rdma"),)), set()),
    "counters that began anew": (
        seen(client=client(COUNTS, before=tuple(scrape(n, 9 if n == "decode-0" else 0) for n in PODS))),
        {"POD_RESTARTED"},
    ),
    "client pod did not start": (
        seen(client=None, client_problem=("pod wide-ep-lws-verify-1", "ImagePullBackOff")),
        {"CLIENT_POD_FAILED"},
    ),
    "nothing is known": (seen(client=None), {"PROOF_INCOMPLETE"}),
    "nothing was asked": (seen(client=client(COUNTS, [])), {"PROOF_INCOMPLETE"}),
}


KV = {"tcp": "KV_OVER_TCP", "unknown": "KV_TRANSPORT_UNKNOWN"}


@pytest.mark.parametrize("enforced", [True, False])
@pytest.mark.parametrize("verdict", KV)
def test_kv_cache_over_anything_but_rdma(verdict: str, enforced: bool) -> None:
    expected = dataclasses.replace(EXPECTED, kv_enforced=enforced)
    found = judge(expected, seen(transports=(transport("rdma"), transport(verdict))))
    assert [(finding.code, finding.severity) for finding in found.findings] == [
        (KV[verdict], "error" if enforced else "warning")
    ]
    # A warning lets the proof pass; it never turns the word for the network into a good one.
    assert (found.passed, found.kv_transport) == (not enforced, verdict)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ((), (), "not read"),
        (counted(prefill_decode=5), counted(prefill_decode=9, decode_only=1), "4 prefill-decode, 1 decode-only"),
        (counted(), counted(), "none"),
        (counted(error="HTTP 401"), counted(error="HTTP 401"), "its metrics are not given (HTTP 401)"),
        (counted(1.0, prefill_decode=5), counted(2.0, prefill_decode=2), "its counters began anew"),
    ],
)
def test_decisions_stand_beside_the_counts(
    before: tuple[Decisions, ...], after: tuple[Decisions, ...], words: str
) -> None:
    observation = seen(client=client(DECODE_ONLY, decisions_before=before, decisions_after=after))
    verdict = judge(EXPECTED, observation)
    assert verdict.decisions == words
    unused = next(finding for finding in verdict.findings if finding.code == "PREFILL_UNUSED")
    assert f"decisions of the endpoint picker: {words}" in unused.evidence


def test_kinds_of_requests_are_counted() -> None:
    assert judge(EXPECTED, seen(client=client(COUNTS, (ANSWER, STREAM, STREAM, FAILED)))).kinds == {
        "completion": {"asked": 2, "answered": 1, "chunks": 0},
        "chat_stream": {"asked": 2, "answered": 2, "chunks": 6},
    }


@pytest.mark.parametrize("name", CASES)
def test_judge(name: str) -> None:
    observation, codes = CASES[name]
    verdict = judge(EXPECTED, observation)
    assert {finding.code for finding in verdict.findings} == codes
    assert verdict.passed is (not codes)
    assert all(finding.evidence and finding.fix for finding in verdict.findings)


def test_healthy_verdict_tells_what_a_reader_wants_to_know() -> None:
    verdict = judge(EXPECTED, HEALTHY)
    assert (verdict.asked, verdict.answered, verdict.prefilled_remotely) == (4, 4, 4)
    assert verdict.endpoint == "http://10.96.0.7:80"
    assert verdict.text == "I am fine."
    assert [(row.pod, row.role, row.requests, row.state) for row in verdict.rows] == [
        (name, name.split("-", maxsplit=1)[0], 2, "ready") for name in PODS
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("prefill set at 0 replicas", ["lws-prefill has spec.replicas 0", "4 requests were answered decode-only"]),
        ("one decode pod cut off", ["no answer within 5 s", "the pod is Ready"]),
        ("sidecar up while vLLM is down", ["its sidecar answers /health with 200"]),
        ("wrong model name, as the endpoint lists it", [MODEL, "other/model"]),
        ("endpoint picker down", ["CrashLoopBackOff"]),
        ("one prefill pod cut off", ["prefill pod prefill-0"]),
        ("a request refused", ["1 of 4 requests: HTTP 503: no healthy upstream"]),
        ("the prefill tier vanished", ["none of its 2 pods exists; they were there when the proof began"]),
        (
            "the endpoint picker was replaced",
            ["epp-1", "there is epp-2", "1 of 4 requests: HTTP 503", "1 of 4 requests: Connection reset by peer"],
        ),
        ("the endpoint picker is gone", ["there is no other"]),
        ("the route was deleted", ["it did when the proof began", "2 of 4 requests: HTTP 404"]),
    ],
)
def test_evidence_names_the_cause(name: str, words: list[str]) -> None:
    first = judge(EXPECTED, CASES[name][0]).findings[0]
    assert [word for word in words if word not in f"{first.subject}: {first.evidence}"] == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (FAILED, "HTTP 503: no healthy upstream"),
        (dataclasses.replace(FAILED, status=None, error="connection refused", detail=""), "connection refused"),
        (dataclasses.replace(FAILED, status=429, dropped="rejected", detail="a\n b"), "HTTP 429: rejected: a b"),
    ],
)
def test_failure_of_an_answer(answer: Answer, expected: str) -> None:
    assert answer.failure() == expected


@pytest.mark.parametrize(("name", "role"), [("prefill-0", "prefill"), ("decode-0-1", "decode"), ("other", None)])
def test_role_of_a_pod_of_the_plan(name: str, role: str | None) -> None:
    assert EXPECTED.role_of(name) == role


#: requests of others decoded, prefilled, and in decode at the begin and the end of the window; what is not prefilled
OTHERS = [
    (0, 0, 0, 0, 0),
    (3, 3, 0, 0, 0),
    (3, 0, 3, 0, 0),
    (0, 3, 0, 3, 0),
    (5, 5, 2, 2, 0),
    (3, 2, 0, 0, 1),
    (3, 0, 0, 0, 3),
    (0, 2, 0, 3, 1),
]


@pytest.mark.parametrize(("decoded", "prefilled", "begun", "left", "expected"), OTHERS)
def test_requests_of_others(decoded: int, prefilled: int, begun: int, left: int, expected: int) -> None:
    report = client({**COUNTS, "decode-0": 2 + decoded, "prefill-0": 2 + prefilled})

    def in_decode(scrapes: tuple[Scrape, ...], count: int) -> tuple[Scrape, ...]:
        return tuple(
            dataclasses.replace(s, served=dataclasses.replace(s.served, in_flight=count)) if s.pod == "decode-0" else s
            for s in scrapes
        )

    busy = dataclasses.replace(report, before=in_decode(report.before, begun), after=in_decode(report.after, left))
    assert Case(EXPECTED, seen(client=busy)).unprefilled == expected
    assert judge(EXPECTED, seen(client=busy)).passed is (expected == 0)


def test_a_pod_beside_the_plan_must_serve_too() -> None:
    pods = (*ALL_PODS, pod("decode-1"))
    verdict = judge(EXPECTED, seen(pods_before=pods, pods_after=pods, client=client({**COUNTS, "decode-1": 0})))
    assert [finding.code for finding in verdict.findings] == ["DECODE_POD_SILENT"]


MULTI_PORT = dataclasses.replace(
    EXPECTED,
    rank_endpoints=True,
    tiers=tuple(dataclasses.replace(tier, ranks_per_pod=2, pods_per_group=2) for tier in EXPECTED.tiers),
)


def test_ports_of_a_pod_are_added_up_and_shown_as_ranks() -> None:
    before = tuple(scrape(name, port=port) for name in PODS for port in (8200, 8201))
    after = tuple(scrape(name, port - 8199, port=port) for name in PODS for port in (8200, 8201))
    verdict = judge(MULTI_PORT, seen(client=client({}, before=before, after=after)))
    assert verdict.passed
    assert [(row.requests, row.ranks) for row in verdict.rows] == [(3, {"0": 1, "1": 2}), (3, {"2": 1, "3": 2})] * 2


def test_requests_in_decode_are_added_up_over_the_ports_of_a_pod() -> None:
    def scrapes(count: float, in_flight: float) -> tuple[Scrape, ...]:
        served = Served(total=count, prefilled=0.0, decoded=count, in_flight=in_flight)
        decode = [scrape(name, port=port, served=served) for name in PODS[2:] for port in (8200, 8201)]
        return (*decode, *(scrape(name, count and 4) for name in PODS[:2]))

    ports = client({}, before=scrapes(0, 0), after=scrapes(2, 1))
    # 8 decoded and 4 still in decode, 8 prefilled
    assert Case(EXPECTED, seen(client=ports)).unprefilled == 4


counts = st.dictionaries(st.sampled_from(PODS), st.integers(0, 3), max_size=4)
answers = st.lists(
    st.builds(
        Answer,
        kind=st.sampled_from(["completion", "chat_stream"]),
        status=st.sampled_from([None, 200, 404, 503]),
        error=st.sampled_from([None, "refused"]),
        model=st.sampled_from([None, MODEL, "x"]),
        choices=st.integers(0, 1),
        text=st.just(""),
        done=st.sampled_from([None, True, False]),
        detail=st.sampled_from(["", "bad"]),
        chunks=st.integers(0, 2),
        dropped=st.none(),
        seconds=st.just(0.0),
    ),
    max_size=3,
)
states = st.lists(
    st.builds(
        pod,
        st.sampled_from([*PODS, "decode-1", "prefill-7"]),
        ready=st.booleans(),
        labels=st.sampled_from([LABELS, {}]),
        incarnation=st.sampled_from([("1",), ("2",)]),
        role=st.sampled_from(["prefill", "decode", ""]),
    ),
    max_size=6,
    unique_by=lambda state: state.name,
).map(tuple)
scrapes = st.lists(
    st.builds(
        lambda name, count, error: scrape(name, count, error=error),
        st.sampled_from([*PODS, "other"]),
        st.integers(0, 3),
        st.sampled_from([None, None, "refused"]),
    ),
    max_size=6,
).map(tuple)
reports = st.builds(
    ClientReport,
    stage=st.sampled_from(["scrape", "warm_up", "done"]),
    url=st.just("http://x"),
    model_names=st.sampled_from([(), (MODEL,), ("x",)]),
    models_error=st.none(),
    before=scrapes,
    after=scrapes,
    answers=answers.map(tuple),
    seconds=st.just(1.0),
)
observations = st.builds(
    Observation,
    endpoint=st.sampled_from([ENDPOINT, dataclasses.replace(ENDPOINT, url=None)]),
    lws=st.sampled_from([{}, {"prefill": GONE}]),
    pods_before=states,
    pods_after=states,
    client=st.none() | reports,
    router_before=st.sampled_from([(), (ROUTER,)]),
    router_after=st.sampled_from([None, (), (ROUTER,), (OTHER_ROUTER,), (RESTARTED_ROUTER,)]),
    route_before=st.sampled_from([None, ROUTE, NO_ROUTE]),
    route_after=st.sampled_from([None, ROUTE, NO_ROUTE]),
    transports=st.lists(st.sampled_from(["rdma", "tcp", "unknown"]).map(transport), max_size=2).map(tuple),
)


@given(observations, st.sampled_from([EXPECTED, MULTI_PORT, dataclasses.replace(EXPECTED, kv_enforced=True)]))
def test_judge_is_total_and_gives_a_reason(observation: Observation, expected: Expectation) -> None:
    verdict = judge(expected, observation)
    assert verdict.passed is not has_errors(verdict.findings)
    assert 0 <= verdict.prefilled_remotely <= verdict.answered <= verdict.asked


@given(counts)
def test_judge_never_passes_while_a_pod_has_done_nothing(found: dict[str, int]) -> None:
    """Only counters vary; every answer came."""
    verdict = judge(EXPECTED, seen(client=client(found)))
    decoded = found.get("decode-0", 0) + found.get("decode-0-1", 0)
    prefilled = found.get("prefill-0", 0) + found.get("prefill-0-1", 0)
    complete = all(found.get(name, 0) > 0 for name in PODS) and prefilled >= decoded >= 4
    assert verdict.passed is complete
