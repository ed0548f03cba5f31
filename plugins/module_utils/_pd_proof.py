# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges whether requests were answered, and disaggregated for real.

Private to the collection: it may change at any time, do not import it from elsewhere.

An answer with status 200 proves nothing about prefill: without a ready prefill pod the EPP (up to v0.10.0, llm-d-router
#2427) and the sidecar (up to v0.8) serve decode-only and say nothing. So the verdict rests on counters of the servers,
as differences over the window of the proof. ``passed`` is built from positive evidence, never from a lack of findings.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, has_errors
from ansible_collections.llmd.wide_ep.plugins.module_utils._kv_transport import Transport
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_case import Case, Delta
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_observation import (
    Answer,
    Expectation,
    Observation,
    TierExpectation,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_router import (
    CAUSES_OF_FAILURE,
    check_route,
    check_router,
    check_transport,
    decided,
    failures,
    kv_transport,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._rank_proof import (
    broken_ports,
    check_deaf,
    check_ranks,
    deaf_ranks,
    every_rank_served,
)

DONE = "done"
STREAMED = "_stream"
Findings = t.Iterator[Finding]


@dataclasses.dataclass(frozen=True)
class Row:
    pod: str
    role: str
    node: str
    requests: int
    ranks: t.Mapping[str, int]
    state: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    passed: bool
    findings: tuple[Finding, ...]
    rows: tuple[Row, ...]
    endpoint: str
    text: str
    asked: int
    answered: int
    prefilled_remotely: int
    decisions: str = ""
    kv_transport: str = ""
    transports: tuple[Transport, ...] = ()
    kinds: t.Mapping[str, t.Mapping[str, int]] = dataclasses.field(default_factory=dict)

    def as_dict(self) -> dict[str, t.Any]:
        return {**dataclasses.asdict(self), "findings": [finding.as_dict() for finding in self.findings]}


def check_endpoint(case: Case) -> Findings:
    endpoint = case.seen.endpoint
    if endpoint.url is None:
        fix = "Run playbooks/router.yml, then playbooks/wait.yml."
        yield Finding("ENDPOINT_MISSING", "error", endpoint.subject, endpoint.evidence, fix)
    elif endpoint.ready == 0:
        fix = (
            f"Look at the endpoint picker: kubectl -n {case.where} describe {case.expected.router}. "
            "playbooks/router.yml and playbooks/wait.yml restore it."
        )
        yield Finding("NO_READY_ENDPOINT", "error", endpoint.subject, endpoint.evidence, fix)


def check_tiers(case: Case) -> Findings:
    """A tier without a single pod, and single pods that are missing."""
    for tier in case.expected.tiers:
        missing = [name for name in tier.pods if name not in case.pods]
        lws = case.seen.lws.get(tier.role)
        seen = lws.text() if lws else f"LeaderWorkerSet {tier.lws_name} was not read"
        if is_absent(case, tier):
            gone = "" if len(missing) == len(tier.pods) else "; they were there when the proof began"
            unnoticed = f"; {case.answered} requests were answered decode-only" if case.answered and case.deltas else ""
            told = unnoticed if tier.role == "prefill" and not gone else ""
            evidence = f"none of its {len(tier.pods)} pods exists{gone}; {seen}{told}"
            fix = f"Run playbooks/model_server.yml, then playbooks/wait.yml: they restore {tier.lws_name}."
            yield Finding(f"{tier.role.upper()}_ABSENT", "error", f"{tier.role} tier", evidence, fix)
            continue
        for name in missing:
            fix = f"Find out why it is gone: kubectl -n {case.where} describe leaderworkerset {tier.lws_name}"
            yield Finding("POD_MISSING", "error", f"pod {name}", f"it does not exist; {seen}", fix)


def is_absent(case: Case, tier: TierExpectation) -> bool:
    """No pod of the tier is there, at the end of the proof where it had one."""
    return not any(name in case.there for name in case.members(tier))


def check_pods(case: Case) -> Findings:
    for tier in (tier for tier in case.expected.tiers if not is_absent(case, tier)):
        for pod in (case.pods[name] for name in case.members(tier) if name in case.pods):
            if not pod.ready:
                fix = f"kubectl -n {case.where} describe pod {pod.name}; wait with playbooks/wait.yml."
                yield Finding("POD_NOT_READY", "error", f"{tier.role} pod {pod.name}", pod.reason, fix)
            lacking = [f"{k}={v}" for k, v in case.expected.pool_labels.items() if pod.labels.get(k) != v]
            if lacking:
                evidence = f"the router does not select it: label {', '.join(lacking)} is missing"
                fix = f"kubectl -n {case.where} label --overwrite pod {pod.name} {' '.join(lacking)}"
                yield Finding("POD_NOT_IN_POOL", "error", f"{tier.role} pod {pod.name}", evidence, fix)


def check_restarts(case: Case) -> Findings:
    later = {pod.name: pod for pod in case.seen.pods_after}
    absent = {name for tier in case.expected.tiers if is_absent(case, tier) for name in case.members(tier)}
    for pod in case.seen.pods_before if case.seen.pods_after else ():
        if pod.name in absent:
            continue
        evidence = None
        if pod.name not in later:
            evidence = "it was there when the proof began and is gone"
        elif pod.incarnation != later[pod.name].incarnation:
            evidence = "the pod or one of its containers was started anew during the proof"
        elif case.deltas.get(pod.name, Delta()).reset:
            evidence = "its counters began anew during the proof"
        if evidence:
            fix = (
                f"Read why: kubectl -n {case.where} logs {pod.name} -c vllm --previous. "
                "Wait with playbooks/wait.yml, then run playbooks/verify.yml again."
            )
            yield Finding("POD_RESTARTED", "error", f"{case.role_of(pod.name)} pod {pod.name}", evidence, fix)


def check_client(case: Case) -> Findings:
    if case.seen.client_problem:
        subject, evidence = case.seen.client_problem
        fix = "The client pod needs an image with python3 that the cluster can pull (wide_ep_image_overrides.client)."
        yield Finding("CLIENT_POD_FAILED", "error", subject, evidence, fix)


def check_reachable(case: Case) -> Findings:
    """A pod whose servers give no answer; a sidecar that does tells a dead server from a cut network."""
    deaf = deaf_ranks(case)
    for pod, scrapes in broken_ports(case).items():
        if pod in deaf:
            continue
        role, scrape = case.role_of(pod), scrapes[0]
        state = "Ready" if pod in case.pods and case.pods[pod].ready else "not Ready"
        ports = f"port {scrape.port}" if len(scrapes) == 1 else f"ports {scrape.port}-{scrapes[-1].port}"
        if all(one.sidecar == 200 for one in scrapes):
            evidence = f"{ports}: {scrape.error}; its sidecar answers /health with 200; the pod is {state}"
            fix = f"Read the server's log: kubectl -n {case.where} logs {pod} -c vllm"
            yield Finding("VLLM_DOWN", "error", f"{role} pod {pod}", evidence, fix)
            continue
        beside = f"; its sidecar: {scrape.sidecar}" if scrape.sidecar else ""
        evidence = f"{ports}, asked from the client pod: {scrape.error}{beside}; the pod is {state}"
        node = case.pods[pod].node if pod in case.pods else "unknown"
        fix = f"Check network policies and the pod network of its node ({node})."
        code = f"{role.upper()}_POD_UNREACHABLE" if role in ("prefill", "decode") else "DECODE_POD_UNREACHABLE"
        yield Finding(code, "error", f"{role} pod {pod}", evidence, fix)


def check_model(case: Case) -> Findings:
    report, model = case.report, case.expected.model
    if report is None:
        return
    fix = "Set wide_ep_model to the name that is served, or deploy that model with playbooks/model_server.yml."
    wrong = {scrape.pod: scrape.models for scrape in report.before if scrape.models and model not in scrape.models}
    if report.model_names and model not in report.model_names:
        evidence = f"asked for {model}; the endpoint serves {', '.join(report.model_names)}"
        yield Finding("WRONG_MODEL_NAME", "error", f"model {model}", evidence, fix)
    elif wrong:
        for pod, names in wrong.items():
            evidence = f"asked for {model}; it serves {', '.join(sorted(names))}"
            yield Finding("WRONG_MODEL_NAME", "error", f"{case.role_of(pod)} pod {pod}", evidence, fix)
    elif others := sorted({a.model or "no name" for a in report.answers if a.ok and a.model != model}):
        evidence = f"asked for {model}; answers name {', '.join(others)}"
        yield Finding("WRONG_MODEL_NAME", "error", f"model {model}", evidence, fix)


def check_answers(case: Case) -> Findings:
    """Requests that failed, grouped by how, and answers that are not what an OpenAI client expects."""
    report = case.report
    if report is None:
        return
    subject, asked = f"endpoint {report.url}", len(report.answers)
    for failure, count in failures(case).items():
        fix = f"Read the router's log: kubectl -n {case.where} logs {case.expected.router} --all-containers --tail=50"
        yield Finding("REQUEST_FAILED", "error", subject, f"{count} of {asked} requests: {failure}", fix)
    fix = "Compare the image of the model servers and of the sidecar with the version table."
    for complaint, count in collections.Counter(filter(None, map(_complaint, report.answers))).items():
        code, what = complaint
        yield Finding(code, "error", subject, f"{count} of {asked} requests: {what}", fix)


def _complaint(answer: Answer) -> tuple[str, str] | None:
    if not answer.ok:
        return None
    if answer.kind.endswith(STREAMED) and not answer.done:
        return "STREAM_INCOMPLETE", f"{answer.kind}: the stream ended without [DONE]"
    if answer.kind.endswith(STREAMED) and answer.chunks < 1 and not answer.detail:
        return "ANSWER_SHAPE", f"{answer.kind}: the stream has no chunk"
    if answer.detail:
        return "ANSWER_SHAPE", f"{answer.kind}: {' '.join(answer.detail.split())[:200]}"
    if answer.choices < 1:
        return "ANSWER_SHAPE", f"{answer.kind}: choices is empty"
    return None


def check_use(case: Case) -> Findings:
    """Every pod did its part, and every decoded request was prefilled elsewhere."""
    if not case.deltas or not case.answered:
        return
    if case.tier_work("decode") < case.answered:
        evidence = f"{case.answered} requests were answered, decode pods counted {case.tier_work('decode'):g}"
        fix = "Look for other pods with the label llm-d.ai/guide: the router sends requests to them."
        yield Finding("ANSWERED_ELSEWHERE", "error", "decode tier", evidence, fix)
    if not any(is_absent(case, tier) for tier in case.expected.tiers if tier.role == "prefill"):
        yield from _check_prefill(case)
    for tier in case.expected.tiers:
        silent = [name for name in case.members(tier) if name in case.there and case.work(tier, name) <= 0]
        if tier.role == "prefill" and case.tier_work("prefill") <= 0:
            continue
        for name in silent:
            evidence = f"it served none of {case.answered} distinct requests; its tier {case.tier_work(tier.role):g}"
            fix = f"Compare its labels with its peers': kubectl -n {case.where} get pods -o wide --show-labels"
            yield Finding(f"{tier.role.upper()}_POD_SILENT", "error", f"{tier.role} pod {name}", evidence, fix)


def _check_prefill(case: Case) -> Findings:
    counts = (
        f"{case.tier_work('decode'):g} requests decoded, {case.tier_work('prefill'):g} prefilled remotely; "
        f"decisions of the endpoint picker: {decided(case)}"
    )
    fix = (
        "Check the endpoint picker's configuration (deciders.prefill, prefill-filter), the pods' label llm-d.ai/role "
        f"and the sidecar's log: kubectl -n {case.where} logs -l llm-d.ai/role=decode -c routing-proxy"
    )
    if case.tier_work("prefill") <= 0:
        yield Finding("PREFILL_UNUSED", "error", "prefill tier", counts, fix)
    elif case.unprefilled:
        yield Finding("REQUESTS_NOT_PREFILLED", "error", "prefill tier", counts, fix)


CHECKS: tuple[t.Callable[[Case], Findings], ...] = (
    check_endpoint,
    check_route,
    check_router,
    check_client,
    check_tiers,
    check_pods,
    check_reachable,
    check_deaf,
    check_restarts,
    check_model,
    check_answers,
    check_use,
    check_ranks,
    check_transport,
)
#: A later finding about a subject of which an earlier one has already told the cause is an echo.
ECHOES = frozenset({"PREFILL_POD_SILENT", "DECODE_POD_SILENT"})
#: What follows from requests that never reached a server.
CONSEQUENCES = ECHOES | {"REQUEST_FAILED", "RANK_SILENT"}


def judge(expected: Expectation, seen: Observation) -> Verdict:
    """Total: whatever was seen, there is a verdict, and one that does not pass says why."""
    case = Case(expected, seen)
    findings = _without_echoes([finding for check in CHECKS for finding in check(case)])
    passed = proven(case) and not has_errors(findings)
    if not passed and not has_errors(findings):
        fix = "Run playbooks/verify.yml again with -v and read its artifact."
        evidence = f"the proof ended at stage {case.report.stage if case.report else 'none'} without its evidence"
        findings.append(Finding("PROOF_INCOMPLETE", "error", f"deployment in {case.where}", evidence, fix))
    report = case.report
    return Verdict(
        passed=passed,
        findings=tuple(findings),
        rows=tuple(rows(case)),
        endpoint=seen.endpoint.url or "",
        text=next((answer.text for answer in report.answers if answer.ok), "") if report else "",
        asked=len(report.answers) if report else 0,
        answered=case.answered,
        prefilled_remotely=case.prefilled_remotely,
        decisions=decided(case),
        kv_transport=kv_transport(case),
        transports=seen.transports,
        kinds=kinds(case),
    )


def kinds(case: Case) -> dict[str, dict[str, int]]:
    """By kind of request how many were sent, were answered, and in how many chunks."""
    found: dict[str, dict[str, int]] = {}
    for answer in case.report.answers if case.report else ():
        row = found.setdefault(answer.kind, {"asked": 0, "answered": 0, "chunks": 0})
        row["asked"] += 1
        row["answered"] += answer.ok
        row["chunks"] += answer.chunks
    return found


def proven(case: Case) -> bool:
    """Every answer came, and every pod of both tiers did its part of each."""
    report = case.report
    if report is None or report.stage != DONE or not report.answers or case.answered != len(report.answers):
        return False
    tiers = {tier.role: tier for tier in case.expected.tiers}
    if set(tiers) != {"prefill", "decode"} or not all(tier.pods for tier in tiers.values()):
        return False
    served = all(case.work(tier, pod) > 0 for tier in tiers.values() for pod in case.members(tier))
    counted = case.unprefilled == 0 and case.tier_work("decode") >= case.answered
    return served and counted and every_rank_served(case)


def _without_echoes(findings: list[Finding]) -> list[Finding]:
    caused = {finding.subject for finding in findings if finding.code not in ECHOES}
    codes = {finding.code for finding in findings}
    return [
        finding
        for finding in findings
        if not (finding.code in ECHOES and finding.subject in caused)
        and not (finding.code in CONSEQUENCES and codes & CAUSES_OF_FAILURE)
        and not ("WRONG_MODEL_NAME" in codes and finding.code == "REQUEST_FAILED" and "HTTP 404" in finding.evidence)
    ]


def rows(case: Case) -> t.Iterator[Row]:
    for tier in case.expected.tiers:
        for name in case.members(tier):
            pod = case.pods.get(name)
            state = "missing" if pod is None else "ready" if pod.ready else "not ready"
            ranks = {rank: int(count) for rank, count in case.ranks(tier, name).items()}
            yield Row(name, tier.role, pod.node if pod else "", int(case.work(tier, name)), ranks, state)
