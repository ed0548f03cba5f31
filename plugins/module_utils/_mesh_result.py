# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the probers' one result to everything that is said about a fabric. Private to the collection; it may change."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_matrix as matrix
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._mesh_diagnosis import (
    LOSS_COUNTERS,
    LOSSY_FROM,
    Facts,
    diagnose,
    rail_matrix,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._mesh_verdict import (
    BACKENDS,
    RDMA_TRANSPORTS,
    Case,
    Classification,
    Group,
    Requirement,
    classify,
    judge,
    mask_of,
    usable_by,
)

SCHEMA = 1
TRANSPORTS = ("rdma", "udp")
SLOW_BELOW = 0.75
REQUIRE = ("auto", "full_mesh", "rail", "none")
#: A table of more NICs than this is no text to read; the picture and the file have all of them.
TEXT_NICS = 64

Json = dict[str, t.Any]


class ResultError(ValueError):
    """The text is no result of the probers; str() names the field."""


@dataclass(frozen=True)
class Result:
    """A run's result with its parts in the shape in which they are judged."""

    case: Case
    facts: Facts
    refused: str
    raw: Json


@dataclass(frozen=True)
class Analysis:
    """What a result means for a deployment."""

    result: Result
    shape: Classification
    usable_by: dict[str, dict[str, str]]
    requirement: Requirement
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        return not self.requirement.satisfied and bool(self.requirement.states)


def read(text: str, absent: t.Mapping[int, tuple[str, str]] | None = None) -> Result:
    """The result in the probers' words; ``absent`` names hosts that did not join and tells why, by completion index."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise ResultError(f"not JSON: {error}") from error
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        seen = raw.get("schema") if isinstance(raw, dict) else raw
        raise ResultError(f"schema is {str(seen)[:40]!r}, this reads {SCHEMA}")
    if raw.get("transport") not in TRANSPORTS:
        raise ResultError(f"transport {raw.get('transport')!r} is not one of {', '.join(TRANSPORTS)}")
    hosts = raw.get("hosts")
    if not isinstance(hosts, list) or not all(isinstance(host, dict) and "name" in host for host in hosts):
        raise ResultError("hosts: not a list of hosts with names")
    try:
        reach = matrix.from_dict(raw.get("matrix"))
    except matrix.MatrixError as error:
        raise ResultError(f"matrix: {error}") from error
    if reach.hosts != tuple(host["name"] for host in hosts):
        raise ResultError("matrix.hosts: not the names in hosts")
    for index, (name, reason) in (absent or {}).items():
        if 0 <= index < len(hosts) and hosts[index].get("gone"):
            hosts[index]["name"] = name if name not in reach.hosts else hosts[index]["name"]
            hosts[index]["gone"] = reason or hosts[index]["gone"]
    renamed = matrix.Matrix(tuple(host["name"] for host in hosts), reach.nics, reach.planes)
    # What is written of it can be read again.
    raw["matrix"]["hosts"] = list(renamed.hosts)
    return _result(raw, hosts, renamed)


def _result(raw: Json, hosts: list[Json], reach: matrix.Matrix) -> Result:
    nics: dict[int, Json] = {}
    for position, nic in enumerate(reach.nics):
        listed = hosts[nic.host].get("nics") or []
        if nic.index >= len(listed) or listed[nic.index].get("name") != nic.name:
            raise ResultError(f"matrix.nics[{position}]: {reach.label(position)} is not in hosts")
        nics[position] = listed[nic.index]
    joined = frozenset(index for index, host in enumerate(hosts) if not host.get("gone"))
    errors = {
        (source, target): (str(stage), int(number))
        for source, target, stage, number in raw.get("errors") or ()
        if 0 <= source < reach.size and 0 <= target < reach.size
    }
    absent = {index: host["gone"] for index, host in enumerate(hosts) if host.get("gone")}
    rates = {(source, target): float(value) for source, target, value in raw.get("rates") or ()}
    facts = Facts(dict(enumerate(hosts)), nics, errors, rates, absent)
    moved = [(nic.get("counters") or {}).get(name, 0) for nic in nics.values() for name in LOSS_COUNTERS]
    lossy = any(value >= LOSSY_FROM for value in moved)
    active = any(nic.get("state") == "ACTIVE" for nic in nics.values())
    refused = str(raw.get("refused") or "")
    case = Case(_with_slow(reach, rates, nics), joined, raw["transport"], not refused, active, lossy)
    return Result(case, facts, refused, raw)


def extend(old: str, new: str) -> str | None:
    """The result of a run that probed new hosts alone, with the pairs of the others from the result before.

    Hosts that the run left out stay out. None where a host's NICs are not those of before: then nothing of it holds.
    """
    before, after = json.loads(old), json.loads(new)
    present = {host["name"] for host in after["hosts"]}
    then, now = matrix.from_dict(before["matrix"]), matrix.from_dict(after["matrix"])
    kept = {key: value for key, value in _identities(before).items() if key[0] in present}
    if kept.items() - _identities(after).items():
        return None
    place = {(now.hosts[nic.host], nic.name): at for at, nic in enumerate(now.nics)}
    move = {at: place[key] for at, nic in enumerate(then.nics) if (key := (then.hosts[nic.host], nic.name)) in place}
    measured = now.rows(matrix.CODES[1:])
    planes = {code: list(rows) for code, rows in now.planes.items()}
    _carry(then, move, planes, measured)
    whole = matrix.build(now.hosts, now.nics, planes)
    lists = _moved_lists(before, move, measured)
    lists = {name: [*(after.get(name) or ()), *entries] for name, entries in lists.items()}
    plan = {**after["plan"], "mode": "full"}
    return json.dumps({**after, **lists, "matrix": matrix.as_dict(whole), "plan": plan})


def restrict(text: str, names: t.Collection[str]) -> str:
    """The result of these hosts alone."""
    raw = json.loads(text)
    whole = matrix.from_dict(raw["matrix"])
    stay = [at for at, name in enumerate(whole.hosts) if name in names]
    if len(stay) == len(whole.hosts):
        return text
    hosts = {old: new for new, old in enumerate(stay)}
    nics = [at for at, nic in enumerate(whole.nics) if nic.host in hosts]
    move = {old: new for new, old in enumerate(nics)}
    planes: dict[str, list[int]] = {}
    _carry(whole, move, planes, (0,) * len(nics))
    table = [matrix.Nic(hosts[whole.nics[at].host], whole.nics[at].index, whole.nics[at].name) for at in nics]
    part = matrix.build([whole.hosts[at] for at in stay], table, planes)
    lists = _moved_lists(raw, move, (0,) * len(nics))
    kept = [{**raw["hosts"][old], "index": new} for old, new in hosts.items()]
    return json.dumps({**raw, **lists, "hosts": kept, "matrix": matrix.as_dict(part)})


def _carry(then: matrix.Matrix, move: t.Mapping[int, int], planes: dict[str, list[int]], measured: matrix.Rows) -> None:
    """Put the pairs of a matrix to where its NICs are now, but for those that were measured anew."""
    for code, rows in then.planes.items():
        for at, row in enumerate(rows):
            if at not in move:
                continue
            moved = sum(1 << move[target] for target in matrix.bits(row) if target in move) & ~measured[move[at]]
            if moved:
                planes.setdefault(code, [0] * len(measured))[move[at]] |= moved


#: What a result lists by the positions of two NICs.
PAIR_LISTS = ("errors", "rates", "latencies", "flaps")


def _moved_lists(raw: Json, move: t.Mapping[int, int], measured: matrix.Rows) -> dict[str, list[list[t.Any]]]:
    return {
        name: [
            [move[source], move[target], *rest]
            for source, target, *rest in raw.get(name) or ()
            if source in move and target in move and not measured[move[source]] >> move[target] & 1
        ]
        for name in PAIR_LISTS
    }


def _identities(raw: Json) -> dict[tuple[str, str], str]:
    """What makes a NIC the same one: its GUID or hardware address, and its driver."""
    return {
        (host["name"], nic["name"]): f"{nic.get('guid') or nic.get('mac')} {nic.get('driver')}"
        for host in raw["hosts"]
        for nic in host.get("nics") or ()
    }


def _with_slow(
    reach: matrix.Matrix, rates: t.Mapping[tuple[int, int], float], nics: t.Mapping[int, Json]
) -> matrix.Matrix:
    """OK becomes SLOW below three quarters of the slower end's own link rate: no floor suits all links."""
    slow = [0] * reach.size
    for (source, target), rate in rates.items():
        link = min(float(nics[end].get("rate_gbps") or 0) for end in (source, target))
        if rate < SLOW_BELOW * link:
            slow[source] |= 1 << target
    good = reach.planes.get("OK")
    if good is None or not any(row & other for row, other in zip(good, slow, strict=True)):
        return reach
    planes = {
        **reach.planes,
        "OK": tuple(row & ~other for row, other in zip(good, slow, strict=True)),
        "SLOW": tuple(row & other for row, other in zip(good, slow, strict=True)),
    }
    return matrix.build(reach.hosts, reach.nics, planes)


def analyze(result: Result, groups: t.Sequence[Group] = (), require: str = "auto", *, kv: bool = True) -> Analysis:
    """Judge the result for the groups of a deployment, or for an explicit requirement.

    Without ``kv`` the key-value paths are shown in usable_by and nothing fails by them.
    """
    case = result.case
    explicit = None
    if require == "full_mesh":
        explicit = case.wanted
    elif require == "rail":
        explicit = mask_of(case.matrix, case.matrix.hosts, "rail")
    asked = () if require == "none" else groups
    requirement = judge(case, asked, kv=kv, explicit=explicit)
    findings = [*_refused(result), *diagnose(case, result.facts), *_flaps(result), *_strangers(result)]
    if requirement.states and not requirement.satisfied:
        findings.insert(0, _requirement_finding(result, requirement))
    shape = classify(case)
    return Analysis(result, shape, usable_by(case, groups), requirement, tuple(findings))


def _refused(result: Result) -> list[Finding]:
    if not result.refused:
        return []
    fix = "Start one prober per node, with NICs of one kind (rdma_mesh_nics), then run the check again."
    return [Finding("RDMA_CHECK_FAILED", "error", "RDMA mesh check", result.refused, fix)]


def _strangers(result: Result) -> list[Finding]:
    problems = [str(problem.get("seen")) for problem in result.raw.get("problems") or ()]
    if not problems:
        return []
    fix = "Remove what earlier runs have left behind: playbooks/rdma_mesh.yml does so before it starts."
    seen = "; ".join(problems[:3])
    return [Finding("RDMA_CHECK_FAILED", "warning", "probers that were turned away", seen, fix)]


def _flaps(result: Result) -> list[Finding]:
    """What failed at first and passed with longer timers is no silent pass."""
    label = result.case.matrix.label
    pairs = [(int(source), int(target)) for source, target in result.raw.get("flaps") or ()]
    if not pairs:
        return []
    shown = ", ".join(f"{label(source)} -> {label(target)}" for source, target in pairs[:4])
    seen = f"{len(pairs)} paths failed at first and passed when tried again: {shown}"
    return [Finding("RDMA_FLAP", "warning", "paths", seen, "Run the check again; check cables and PFC if it recurs.")]


def _requirement_finding(result: Result, requirement: Requirement) -> Finding:
    reach = result.case.matrix
    lacking = ", ".join(f"{name} ({state})" for name, state in requirement.states.items() if state != "ok")
    paths = ", ".join(f"{reach.label(a)} -> {reach.label(b)}" for a, b in requirement.examples[:3])
    seen = f"not carried: {lacking}; {requirement.missing} of {requirement.needed} paths lack"
    seen += f", among them {paths}" if paths else ""
    if result.case.transport not in RDMA_TRANSPORTS:
        seen += " (IP reachability only)"
    advice = {BACKENDS[name].advice for label, state in requirement.states.items() if state != "ok"
              if (name := label.rpartition(": ")[2]) in BACKENDS}  # fmt: skip
    wanted = "; or provide ".join(sorted(advice)) or "routes between the rails' subnets"
    fix = f"Mend what the other findings name; or provide {wanted}."
    return Finding("RDMA_REQUIREMENT", "error", "fabric", seen, fix)


def as_dict(analysis: Analysis) -> Json:
    """The result of the module: no matrix, which is in a file."""
    case, requirement = analysis.result.case, analysis.requirement
    tested, total = case.coverage
    label = case.matrix.label
    return {
        "verdict": analysis.shape.verdict,
        "qualifiers": list(analysis.shape.qualifiers),
        "transport": case.transport,
        "basis": "RDMA" if case.transport in RDMA_TRANSPORTS else "IP only",
        "usable_by": analysis.usable_by,
        "requirement": {
            "satisfied": requirement.satisfied,
            "states": dict(requirement.states),
            "needed_pairs": requirement.needed,
            "missing_pairs": requirement.missing,
            "examples": [[label(source), label(target)] for source, target in requirement.examples],
        },
        "coverage": {"directed_pairs_tested": tested, "total": total,
                     "method": (analysis.result.raw.get("plan") or {}).get("mode", "full")},
        "hosts": list(case.matrix.hosts),
        "nics": case.matrix.size,
        "rail_matrix": rail_matrix(case.matrix, case.usable),
        "components": [[label(nic) for nic in matrix.bits(mask)] for mask in analysis.shape.components[:64]],
        "findings": [finding.as_dict() for finding in analysis.findings],
        "duration_s": analysis.result.raw.get("duration_s"),
    }  # fmt: skip


#: One letter per code in the text matrix.
LETTERS = dict(zip(matrix.CODES, "?.sa-AITxnlwcmo", strict=True))


def text_matrix(reach: matrix.Matrix) -> str:
    """Senders down, receivers across; pairs on one host are blank."""
    if reach.size > TEXT_NICS:
        return f"{reach.size} NICs are too many for a text; see the picture"
    wanted, width = reach.wanted(), max((len(reach.label(at)) for at in range(reach.size)), default=0)
    lines = []
    for source in range(reach.size):
        cells = "".join(
            LETTERS[reach.code(source, target)] if wanted[source] >> target & 1 else " " for target in range(reach.size)
        )
        lines.append(f"{reach.label(source):<{width}} {cells}")
    used = [code for code in matrix.CODES[1:] if code in reach.planes]
    if any(row & ~sum_of for row, sum_of in zip(wanted, reach.rows(matrix.CODES[1:]), strict=True)):
        used.append(matrix.CODES[0])
    legend = ", ".join(f"{LETTERS[code]} {code}" for code in used)
    return "\n".join([*lines, legend])
