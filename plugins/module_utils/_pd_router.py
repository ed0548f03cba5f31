# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges the way of the requests: the route of a gateway, the endpoint picker, and the network of the KV cache.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._kv_transport import RDMA, TCP, UNKNOWN
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_case import Case

#: Where one of these is found, requests that failed say nothing more.
CAUSES_OF_FAILURE = frozenset({"ROUTER_RESTARTED", "ROUTE_MISSING"})


def failures(case: Case) -> collections.Counter[str]:
    """Failed requests by how they failed."""
    answers = case.report.answers if case.report else ()
    return collections.Counter(answer.failure() for answer in answers if not answer.ok)


def _failed(case: Case) -> str:
    asked = len(case.report.answers) if case.report else 0
    return "".join(f"; {count} of {asked} requests: {failure}" for failure, count in failures(case).items())


def check_route(case: Case) -> t.Iterator[Finding]:
    """A gateway without a route answers 404, which a client takes for a wrong model or path."""
    before, after = case.seen.route_before, case.seen.route_after
    route = after or before
    if route is None:
        return
    fix = "Run playbooks/gateway.yml and playbooks/router.yml: they restore the route; then playbooks/wait.yml."
    if not route.exists:
        when = "; it did when the proof began" if before and before.exists else ""
        yield Finding("ROUTE_MISSING", "error", route.subject, f"{route.problem}{when}{_failed(case)}", fix)
    elif route.problem:
        yield Finding("ROUTE_NOT_ACCEPTED", "error", route.subject, route.problem, fix)


def check_router(case: Case) -> t.Iterator[Finding]:
    """Requests under way while the endpoint picker starts anew fail in many ways, none of which names it."""
    for pod, how in case.router_restarts.items():
        fix = (
            f"Read why: kubectl -n {case.where} logs {case.expected.router} --all-containers --previous. "
            "Wait with playbooks/wait.yml, then run playbooks/verify.yml again."
        )
        yield Finding("ROUTER_RESTARTED", "error", f"endpoint picker pod {pod}", f"{how}{_failed(case)}", fix)


def check_transport(case: Case) -> t.Iterator[Finding]:
    severity: t.Literal["error", "warning"] = "error" if case.expected.kv_enforced else "warning"
    for transport in case.seen.transports:
        subject = f"prefill pod {transport.pod}"
        if transport.verdict == TCP:
            fix = (
                'Look for NIXL_ERR_BACKEND and "Destination is unreachable" in its log, at UCX_NET_DEVICES, UCX_TLS '
                "and the RDMA resources of the pods; playbooks/rdma_mesh.yml tells what the fabric carries."
            )
            yield Finding("KV_OVER_TCP", severity, subject, transport.reason, fix)
        elif transport.verdict != RDMA:
            fix = (
                "Find out why its counters do not tell; where they cannot be read in a pod, set "
                "verify_kv_transport: warn and look at the HCAs on the node."
            )
            yield Finding("KV_TRANSPORT_UNKNOWN", severity, subject, transport.reason, fix)


def kv_transport(case: Case) -> str:
    """One word for all prefill pods: the worst of theirs, or nothing where it was not looked at."""
    verdicts = {transport.verdict for transport in case.seen.transports}
    return next((verdict for verdict in (TCP, UNKNOWN, RDMA) if verdict in verdicts), "")


def decided(case: Case) -> str:
    """What the endpoint picker itself has counted, in words."""
    report = case.report
    both = (*report.decisions_before, *report.decisions_after) if report else ()
    if problem := next((one.error for one in both if one.error), None):
        return f"its metrics are not given ({problem})"
    if case.decisions is None:
        return "its counters began anew" if case.router_restarts else "not read"
    counts = [f"{count:g} {kind}" for kind, count in sorted(case.decisions.items(), reverse=True) if count]
    return ", ".join(counts) or "none"
