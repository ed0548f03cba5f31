# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges the shared inputs before anything changes. Private to the collection; it may change at any time."""

from __future__ import annotations

import difflib
import re
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._capacity import shape_findings
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._plan import TIERS

#: RFC 1123 label, as the API server checks namespaces and the prefixes of pod names.
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
#: The charts cut a release name at 40 characters in some object names and not in others, so longer ones fall apart.
LONGEST_RELEASE = 40
#: Overlays that a provider can run. `local` and `existing` run any.
OVERLAYS = {"gke": {"gke", "gke_a4"}, "coreweave": {"coreweave"}, "dgx_cloud": {"dgx_cloud_gb200"}}
#: What inventories say where only the user knows the value.
TO_CHANGE = "CHANGE_ME"
REGISTRY_PREFIX = re.compile(r"[A-Za-z0-9.-]+(:\d+)?(/[a-z0-9._/-]+)?")


def judge(
    names: t.Iterable[str], known: t.Collection[str], plan: t.Mapping[str, t.Any], inputs: t.Mapping[str, t.Any]
) -> list[Finding]:
    """Findings about the set variables ``names``, the ``plan`` and the remaining ``inputs``, all at once.

    With a ``shape`` in the inputs, the overlay's node, the plan is also compared with the hardware. ``missing`` are
    variables that the user has not set yet, with their meaning.
    """
    shape = inputs.get("shape")
    return [
        *missing_values(inputs.get("missing") or {}),
        *unknown_names(names, known),
        *kubernetes_names(plan),
        *tier_arithmetic(plan),
        *combinations(plan, inputs),
        *(shape_findings(plan, shape) if shape else []),
    ]


def marked(variables: t.Mapping[str, t.Any]) -> list[str]:
    """Names of variables in which a person has still to write something."""
    return sorted(name for name, value in variables.items() if _is_marked(value))


def _is_marked(value: t.Any) -> bool:
    if isinstance(value, str):
        return TO_CHANGE in value
    if isinstance(value, dict):
        return any(map(_is_marked, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_is_marked, value))


def missing_values(described: t.Mapping[str, str]) -> list[Finding]:
    """``described`` is what each variable means, as far as that is known."""
    return [
        Finding(
            "INPUT_MISSING",
            "error",
            name,
            f"it still says {TO_CHANGE}",
            f"Write your own value in the inventory. {text}".strip(),
        )
        for name, text in described.items()
    ]


def unknown_names(names: t.Iterable[str], known: t.Collection[str]) -> list[Finding]:
    findings = []
    for name in sorted(set(names) - set(known)):
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else "see docs/reference/variables.md for the known ones"
        findings.append(
            Finding("INPUT_UNKNOWN", "error", name, "no role knows this variable", f"Rename or remove it; {hint}")
        )
    return findings


def kubernetes_names(plan: t.Mapping[str, t.Any]) -> list[Finding]:
    longest = {"namespace": 63, "release": LONGEST_RELEASE}
    return [
        Finding(
            "INPUT_NAME",
            "error",
            f"wide_ep_{key}",
            f"{plan[key]!r} is no DNS label of at most {limit} characters",
            "Use lower-case letters, digits and dashes, with a letter or digit at both ends.",
        )
        for key, limit in longest.items()
        if not DNS_LABEL.fullmatch(plan[key]) or len(plan[key]) > limit
    ]


def tier_arithmetic(plan: t.Mapping[str, t.Any]) -> list[Finding]:
    findings = []
    for role in TIERS:
        tier = plan[role]
        too_small = [key for key in ("groups", "hosts_per_group", "ranks_per_host") if tier[key] < 1]
        findings += [
            Finding(
                "INPUT_TYPE", "error", f"wide_ep_{role}_{key}", f"{tier[key]} is less than 1", "Set it to 1 or more."
            )
            for key in too_small
        ]
        if too_small:
            continue
        experts = 256 + tier["redundant_experts"]
        if experts % tier["dp_size"]:
            findings.append(_indivisible(role, tier, experts))
    return findings


def _indivisible(role: str, tier: t.Mapping[str, t.Any], experts: int) -> Finding:
    ranks = tier["dp_size"]
    fitting = -256 % ranks
    return Finding(
        "EXPERTS_NOT_DIVISIBLE",
        "error",
        f"{role}: {experts} experts over {ranks} ranks",
        f"256 routed + {tier['redundant_experts']} redundant experts leave {experts % ranks} over "
        f"({tier['hosts_per_group']} hosts x {tier['ranks_per_host']} ranks)",
        f"Set wide_ep_redundant_experts to {fitting}, {fitting + ranks} or another value that divides, or change "
        f"wide_ep_{role}_hosts_per_group or wide_ep_{role}_ranks_per_host.",
    )


def combinations(plan: t.Mapping[str, t.Any], inputs: t.Mapping[str, t.Any]) -> list[Finding]:
    overlays = OVERLAYS.get(inputs["provider"], {plan["overlay"]})
    gateway = plan["router_mode"] == "gateway"
    rules = (
        (
            plan["overlay"] not in overlays,
            f"wide_ep_overlay={plan['overlay']} with wide_ep_provider={inputs['provider']}",
            "the overlay is made for other hardware",
            f"Use one of: {', '.join(sorted(overlays))}.",
        ),
        (
            gateway and plan["gateway_provider"] == "none",
            "wide_ep_router_mode=gateway with wide_ep_gateway_provider=none",
            "no one implements the Gateway",
            "Set wide_ep_gateway_provider to gke, agentgateway or istio, or wide_ep_router_mode to standalone.",
        ),
        (
            not gateway and plan["gateway_provider"] != "none",
            f"wide_ep_router_mode=standalone with wide_ep_gateway_provider={plan['gateway_provider']}",
            "standalone mode has no Gateway",
            "Set wide_ep_gateway_provider to none, or wide_ep_router_mode to gateway.",
        ),
        (
            plan["load_balancing"] == "multi_port"
            and plan["decode"]["ranks_per_host"] != plan["prefill"]["ranks_per_host"],
            "wide_ep_load_balancing=multi_port with different ranks per host",
            f"prefill has {plan['prefill']['ranks_per_host']}, decode {plan['decode']['ranks_per_host']}: the "
            "pool's ports are the same for both (llm-d #2488)",
            "Make wide_ep_prefill_ranks_per_host and wide_ep_decode_ranks_per_host equal.",
        ),
        (
            bool(inputs["mirror"]) and not REGISTRY_PREFIX.fullmatch(inputs["mirror"]),
            "wide_ep_mirror",
            f"{inputs['mirror']!r} is no registry prefix",
            "Write it as host[:port][/path], without a scheme and without a slash at the end.",
        ),
    )
    return [Finding("INPUT_COMBINATION", "error", subject, seen, fix) for hit, subject, seen, fix in rules if hit]
