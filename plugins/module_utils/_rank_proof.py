# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges the ranks of a pod one by one, where the server tells them apart.

Private to the collection: it may change at any time, do not import it from elsewhere.

In multi-port mode the router chooses the rank, so that each of them must have served. In hybrid mode the API server of
a pod spreads requests over its ranks and prefers the first ones while there is little to do: a rank without requests is
worth a word there, and a rank without a counter is a fault.
"""

from __future__ import annotations

import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_case import Case
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_observation import Scrape, TierExpectation


def broken_ports(case: Case) -> dict[str, list[Scrape]]:
    """By pod the ports that gave no answer; what is said of a pod that is gone elsewhere is not repeated."""
    report = case.report
    scrapes = (*report.before, *report.after) if report else ()
    latest = {(scrape.pod, scrape.port): scrape for scrape in scrapes if scrape.error}
    found: dict[str, list[Scrape]] = {}
    for (pod, _port), scrape in sorted(latest.items()):
        if pod in case.there or pod not in case.pods:
            found.setdefault(pod, []).append(scrape)
    return found


def deaf_ranks(case: Case) -> dict[str, dict[int, Scrape]]:
    """By pod the ranks whose port gives no answer while another port of the same pod does."""
    report = case.report
    ports: dict[str, set[int]] = {}
    for scrape in (*report.before, *report.after) if report else ():
        ports.setdefault(scrape.pod, set()).add(scrape.port)
    return {
        pod: {sorted(ports[pod]).index(scrape.port): scrape for scrape in scrapes}
        for pod, scrapes in broken_ports(case).items()
        if len(scrapes) < len(ports[pod])
    }


def check_deaf(case: Case) -> t.Iterator[Finding]:
    for pod, ranks in deaf_ranks(case).items():
        tier = tier_of(case, pod)
        first = tier.first_rank(pod) if tier else 0
        for place, scrape in ranks.items():
            sidecar = "; its sidecar answers /health with 200, which tells nothing" if scrape.sidecar == 200 else ""
            evidence = f"port {scrape.port} of pod {pod}: {scrape.error}; other ranks of the pod answer{sidecar}"
            fix = (
                f"Read what the rank says: kubectl -n {case.where} logs {pod} -c vllm. Its supervisor ends a pod whose "
                "rank stays silent, and the group starts anew: playbooks/wait.yml, then playbooks/verify.yml."
            )
            yield Finding("RANK_DEAF", "error", f"{case.role_of(pod)} rank {first + place}", evidence, fix)


def check_ranks(case: Case) -> t.Iterator[Finding]:
    """Every rank has a counter, and it has moved."""
    if not case.deltas or not case.answered:
        return
    for tier in case.expected.tiers:
        for pod in case.members(tier):
            if pod in case.there and case.work(tier, pod) > 0:
                yield from _check_pod(case, tier, pod)


def _check_pod(case: Case, tier: TierExpectation, pod: str) -> t.Iterator[Finding]:
    ranks = case.ranks(tier, pod)
    deaf = {str(tier.first_rank(pod) + place) for place in deaf_ranks(case).get(pod, {})}
    known = len(deaf | set(ranks))
    if ranks and known < tier.ranks_per_pod:
        evidence = f"its metrics tell {known} ranks apart, the plan has {tier.ranks_per_pod} per pod"
        fix = "Compare --data-parallel-size-local of the pod with the plan: playbooks/model_server.yml."
        yield Finding("RANKS_MISSING", "error", f"{tier.role} pod {pod}", evidence, fix)
    silent = [rank for rank, count in ranks.items() if count <= 0 and rank not in deaf]
    if not silent:
        return
    served = ", ".join(f"{rank}: {count:g}" for rank, count in ranks.items() if count > 0)
    evidence = f"none of {case.answered} distinct requests was served there; requests by rank of pod {pod}: {served}"
    name = f"{tier.role} rank{'s' if len(silent) > 1 else ''} {', '.join(silent)}"
    if case.expected.rank_endpoints:
        fix = "Compare the ports of the InferencePool and --data-parallel-size of the sidecar with the ranks of a pod."
        yield Finding("RANK_SILENT", "error", name, evidence, fix)
    else:
        fix = "Send more requests at once (verify_concurrency, verify_max_requests) to reach every rank of a pod."
        yield Finding("RANK_SILENT", "warning", name, evidence, fix)


def every_rank_served(case: Case) -> bool:
    """Where each rank is an endpoint: a positive count of each."""
    if not case.expected.rank_endpoints:
        return True
    found = [(tier, case.ranks(tier, pod)) for tier in case.expected.tiers for pod in case.members(tier)]
    return all(len(ranks) >= tier.ranks_per_pod and min(ranks.values()) > 0 for tier, ranks in found)


def tier_of(case: Case, pod: str) -> TierExpectation | None:
    return next((tier for tier in case.expected.tiers if tier.role == case.role_of(pod)), None)
