# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From codes and counters to causes, each naming its culprit. Private to the collection; it may change at any time.

The steps run from host to NIC to path. Each takes the broken pairs that it explains away from those that follow, so
that a dead host is one finding and not a thousand broken paths.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import typing as t
from collections import Counter

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, Severity
from ansible_collections.llmd.wide_ep.plugins.module_utils._mesh_matrix import (
    ARRIVED,
    Matrix,
    bit_count,
    bits,
    transpose,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._mesh_verdict import (
    Case,
    Classification,
    classify,
    miscabled,
    rail_index,
)

SHOWN = 4
#: With fewer senders or receivers there is no "others" to compare with.
LEAST_ENDS = 4
#: Counters that move where packets are lost on the way (RoCE, then InfiniBand).
LOSS_COUNTERS = (
    "out_of_sequence",
    "packet_seq_err",
    "local_ack_timeout_err",
    "rnr_nak_retry_err",
    "rx_discards",
    "completer_retry_err",
    "rcvd_seq_err",
    "symbol_error",
    "link_downed",
    "port_rcv_errors",
    "VL15_dropped",
)
#: A counter that moves less over a whole run tells nothing: single retries occur on busy hosts.
LOSSY_FROM = 10
#: Counters that move where senders are held back.
CONGESTION_COUNTERS = ("np_cnp_sent", "rp_cnp_handled", "port_xmit_wait")
ERRNO = {
    1: "EPERM: not permitted",
    12: "ENOMEM: the memlock limit is too low",
    19: "ENODEV: no such device",
    79: "ELIBACC: a library is missing",
    22: "EINVAL: GID family, GID index or MTU do not fit",
    90: "EMSGSIZE: larger than the netdev's MTU",
    99: "EADDRNOTAVAIL: the address is not on the NIC",
    100: "ENETDOWN: the link is down",
    101: "ENETUNREACH: no route",
    110: "ETIMEDOUT: the address was not resolved",
    113: "EHOSTUNREACH: no answer to ARP",
}
COMPLETION = {
    4: "local protection error",
    5: "flushed",
    10: "remote access error",
    12: "retries exceeded: no acknowledgement",
    13: "receiver not ready",
}


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the probers saw beside the matrix, by position of host or NIC; errors and rates by pair."""

    hosts: t.Mapping[int, t.Mapping[str, t.Any]] = dataclasses.field(default_factory=dict)
    nics: t.Mapping[int, t.Mapping[str, t.Any]] = dataclasses.field(default_factory=dict)
    errors: t.Mapping[tuple[int, int], tuple[str, int]] = dataclasses.field(default_factory=dict)
    rates: t.Mapping[tuple[int, int], float] = dataclasses.field(default_factory=dict)
    absent: t.Mapping[int, str] = dataclasses.field(default_factory=dict)

    def nic(self, position: int, name: str) -> t.Any:
        return self.nics.get(position, {}).get(name)


class _State:
    """The broken pairs that no step has explained yet."""

    def __init__(self, case: Case, facts: Facts) -> None:
        self.case, self.facts, self.matrix = case, facts, case.matrix
        self.explained = 0
        self.broken = [tested & ~usable for tested, usable in zip(case.tested, case.usable, strict=True)]
        self.findings: list[Finding] = []

    def say(self, code: str, severity: Severity, subject: str, evidence: str, fix: str) -> None:
        self.findings.append(Finding(code, severity, subject, evidence, fix))

    def explain_nics(self, positions: t.Iterable[int]) -> None:
        """Take all pairs from and to these NICs away."""
        gone = functools.reduce(int.__or__, (1 << position for position in positions), 0)
        self.explained |= gone
        self.broken = [0 if gone >> p & 1 else row & ~gone for p, row in enumerate(self.broken)]

    @functools.cached_property
    def rest(self) -> tuple[Case, Classification]:
        """The case without the NICs whose faults are explained, and what the fabric is for the others."""
        case = self.case
        if self.explained:
            case = dataclasses.replace(case, matrix=self.matrix.without_nics(self.explained))
        return case, classify(case)

    def explain(self, rows: t.Sequence[int]) -> None:
        self.broken = [row & ~known for row, known in zip(self.broken, rows, strict=True)]

    def pairs(self, rows: t.Sequence[int]) -> t.Iterator[tuple[int, int]]:
        return ((source, target) for source, row in enumerate(rows) for target in bits(row))

    def path(self, source: int, target: int) -> str:
        return f"{self.matrix.label(source)} -> {self.matrix.label(target)}"

    def host_name(self, position: int) -> str:
        return self.matrix.hosts[self.matrix.nics[position].host]

    def rail_name(self, position: int) -> str:
        return str(self.matrix.nics[position].index)

    def tested_between(self, name: t.Callable[[int], str], source: str, target: str) -> int:
        """How many pairs were tested from NICs of one name to NICs of another."""
        members = functools.reduce(int.__or__, (1 << p for p in range(self.matrix.size) if name(p) == target), 0)
        return sum(bit_count(self.case.tested[p] & members) for p in range(self.matrix.size) if name(p) == source)

    def paths(self, rows: t.Sequence[int]) -> str:
        """The first paths, spread over senders, and how many more there are."""
        count = sum(map(bit_count, rows))
        firsts = [(source, next(bits(row))) for source, row in enumerate(rows) if row]
        rest = ((source, target) for source, target in self.pairs(rows) if (source, target) not in firsts)
        shown = [*firsts[:SHOWN]]
        while len(shown) < min(SHOWN, count):
            shown.append(next(rest))
        more = f" and {count - len(shown)} more" if count > len(shown) else ""
        return ", ".join(self.path(*pair) for pair in shown) + more

    def errors_of(self, position: int) -> str:
        found = Counter(value for (source, _target), value in self.facts.errors.items() if source == position)
        told = found.most_common(2)
        return "; ".join(f"{stage} failed with {_cause(stage, number)} ({n} times)" for (stage, number), n in told)


def _cause(stage: str, number: int) -> str:
    """A raw error in words: completions have statuses, everything else has errno."""
    if stage == "wc":
        return COMPLETION.get(number, f"completion status {number}")
    if stage == "deadline":
        return "no completion by the deadline"
    return ERRNO.get(number, f"error {number}")


def diagnose(case: Case, facts: Facts | None = None) -> list[Finding]:
    """All findings, most telling first. Nothing is said about a result that did not arrive whole."""
    state = _State(case, facts or Facts())
    if not case.complete:
        fix = "Run the check again; the log of the pod with completion index 0 tells why it ended."
        state.say("RDMA_RESULT_INCOMPLETE", "error", "RDMA mesh check", "the result did not arrive whole", fix)
    else:
        for step in _STEPS:
            step(state)
    rank = {"error": 0, "warning": 1, "info": 2}
    return sorted(state.findings, key=lambda finding: rank[finding.severity])


def _hosts(state: _State) -> None:
    case, matrix = state.case, state.matrix
    for host in case.down_hosts:
        mine = list(bits(case.host_masks[host]))
        if host not in case.joined:
            seen = state.facts.absent.get(host, "its prober did not report")
            fix = "Look at the pod's events and at whether the node is Ready, then run the check again."
        else:
            seen = f"its prober reports, but none of its {len(mine)} NICs exchanges anything with another host"
            fix = "Check the node's uplinks, the RDMA network's firewall and the driver."
            seen += "".join(f"; {found}" for found in [state.errors_of(mine[0])] if found)
        state.say("RDMA_HOST_DOWN", "error", f"host {matrix.hosts[host]}", seen, fix)
        state.explain_nics(mine)


def _nics(state: _State) -> None:
    case, matrix = state.case, state.matrix
    down = [nic for nic in case.down_nics if matrix.nics[nic].host not in case.down_hosts]
    for nic in down:
        port, errors = state.facts.nic(nic, "state"), state.errors_of(nic)
        shown = "".join(f"; {errors}" for errors in [errors] if errors)
        if port not in (None, "ACTIVE"):
            fix = "Check cable, transceiver and driver of the port (ibstat, dmesg on the node)."
            state.say("RDMA_NIC_DOWN", "error", f"NIC {matrix.label(nic)}", f"its port is {port}{shown}", fix)
        else:
            seen = f"its port is up, yet it exchanges nothing with any other host{shown}"
            fix = "Check the switch port, its VLAN and the access lists: the NIC itself has a link."
            state.say("RDMA_LINK_SILENT", "error", f"NIC {matrix.label(nic)}", seen, fix)
    state.explain_nics(down)


def _deaf_and_mute(state: _State) -> None:
    """NICs that only receive, or only send."""
    case, delivered = state.case, state.matrix.rows(ARRIVED)
    received = functools.reduce(int.__or__, delivered, 0)
    tested = functools.reduce(int.__or__, case.tested, 0)
    unexplained = functools.reduce(int.__or__, state.broken, 0)
    mute = [nic for nic in bits(case.live) if state.broken[nic] and not delivered[nic]]
    deaf = [nic for nic in bits(case.live & tested & unexplained) if not received >> nic & 1]
    for nic in mute:
        seen = f"it receives, but nothing that it sends arrives{_with(state.errors_of(nic))}"
        fix = "Check its transmitter, and access lists by source address."
        state.say("RDMA_TX_DEAD", "error", f"NIC {state.matrix.label(nic)}", seen, fix)
    for nic in deaf:
        seen = "it sends, but nothing that is sent to it arrives"
        fix = "Check its receiver, and access lists by destination address."
        state.say("RDMA_RX_DEAD", "error", f"NIC {state.matrix.label(nic)}", seen, fix)
    state.explain_nics([*mute, *deaf])


def _with(text: str) -> str:
    return f"; {text}" if text else ""


def _wrong_peers(state: _State) -> None:
    rows = state.matrix.planes.get("WRONG_PEER")
    if not rows:
        return
    lids = Counter(facts.get("lid") for facts in state.facts.nics.values() if facts.get("lid"))
    twice = [lid for lid, count in lids.items() if count > 1]
    seen = f"what is sent reaches another NIC: {state.paths(rows)}"
    seen += f"; LIDs that occur more than once: {twice[:SHOWN]}" if twice else ""
    fix = "Give every NIC its own LID and GID: one subnet manager per fabric, no address twice."
    state.say("RDMA_WRONG_PEER", "error", "addresses of the NICs", seen, fix)
    state.explain(rows)


def _mtu(state: _State) -> None:
    """Small payloads pass and full ones do not; the NIC is named where all of its pairs are of that kind."""
    rows = list(state.matrix.planes.get("SMALL_OK_MTU_FAIL", ()))
    if not any(rows):
        return
    fix = "Set the same MTU on the netdevs and on every switch port between them."
    for nic in _culprits(state, rows):
        mtu = state.facts.nic(nic, "mtu") or state.facts.nic(nic, "active_mtu")
        usual = _usual(state.facts, nic, "mtu")
        seen = "small payloads pass from and to it, a full MTU passes with no peer"
        seen += f"; its MTU is {mtu}, that of most NICs {usual}" if mtu and usual and mtu != usual else ""
        state.say("RDMA_MTU_MISMATCH", "error", f"NIC {state.matrix.label(nic)}", seen, fix)
        mine = 1 << nic
        state.explain_nics([nic])
        rows = [0 if source == nic else row & ~mine for source, row in enumerate(rows)]
    if any(rows):
        seen = f"small payloads pass, a full MTU does not: {state.paths(rows)}"
        state.say("RDMA_MTU_MISMATCH", "error", "paths between NICs", seen, fix)
        state.explain(rows)


def _culprits(state: _State, rows: t.Sequence[int]) -> list[int]:
    """NICs all of whose arriving pairs, one of them at least, are in ``rows``, in both or the only tested direction."""
    back = transpose(rows, state.matrix.size)
    arrived = state.matrix.rows(ARRIVED)
    arrived_back = transpose(arrived, state.matrix.size)
    found = [
        nic
        for nic in range(state.matrix.size)
        if (rows[nic] | back[nic])
        and rows[nic] == arrived[nic]
        and back[nic] == arrived_back[nic]
        and bit_count(rows[nic] | back[nic]) > 1
    ]
    # Where everything fails, no NIC stands out.
    return found if 2 * len(found) < bit_count(state.case.live) else []


def _usual(facts: Facts, besides: int, name: str) -> t.Any:
    values = Counter(found[name] for nic, found in facts.nics.items() if nic != besides and found.get(name))
    return values.most_common(1)[0][0] if values else None


def _gids(state: _State) -> None:
    planes = state.matrix.planes
    rows = [ah | rtr for ah, rtr in zip(state.matrix.rows(["AH_FAIL"]), state.matrix.rows(["RTR_FAIL"]), strict=True)]
    if not (any(rows) and ("AH_FAIL" in planes or "RTR_FAIL" in planes)):
        return
    invalid = [0] * state.matrix.size
    for (source, target), (_stage, number) in state.facts.errors.items():
        if number == 22 and rows[source] >> target & 1:
            invalid[source] |= 1 << target
    if any(invalid):
        kinds = Counter(facts.get("gid_type") for facts in state.facts.nics.values() if facts.get("gid_type"))
        seen = f"the driver refuses the peer's address with EINVAL: {state.paths(invalid)}"
        seen += f"; GID types in use: {dict(kinds)}" if len(kinds) > 1 else ""
        fix = "Use GIDs of one type and family on all NICs (RoCE v2, IPv4), by index and not by a constant."
        state.say("RDMA_GID_MISMATCH", "error", _between(state, invalid), seen, fix)
        state.explain(invalid)


def _pkeys(state: _State) -> None:
    keys = {nic: int(str(facts["pkey"]), 0) for nic, facts in state.facts.nics.items() if facts.get("pkey")}
    if not keys:
        return
    numbers = Counter(key & 0x7FFF for key in keys.values())
    usual = numbers.most_common(1)[0][0]
    odd = [nic for nic, key in keys.items() if key & 0x7FFF != usual]
    limited = [nic for nic, key in keys.items() if not key & 0x8000]
    fix = "Make every NIC a full member of one partition, at index 0: NVSHMEM uses that one."
    if odd:
        seen = f"{_names(state, odd)}: another partition than the other NICs' 0x{usual:04x}"
        state.say("RDMA_PKEY_MISMATCH", "error", "partition keys", seen, fix)
    if len(limited) > 1:
        seen = f"{_names(state, limited)}: limited members, which cannot talk to each other"
        state.say("RDMA_PKEY_MISMATCH", "warning", "partition keys", seen, fix)


def _names(state: _State, nics: t.Sequence[int]) -> str:
    more = f" and {len(nics) - SHOWN} more" if len(nics) > SHOWN else ""
    return ", ".join(state.matrix.label(nic) for nic in nics[:SHOWN]) + more


def _miscabled(state: _State) -> None:
    case, shape = state.rest
    if "RAIL_ONLY" not in (shape.verdict, *shape.qualifiers):
        return
    for entry in miscabled(case):
        component = next(mask for mask in case.components if mask >> entry.nic & 1)
        others = _names(state, [nic for nic in bits(component) if nic != entry.nic])
        seen = f"it is on the rail of {others}"
        seen += "; of two members either can be the odd one" if entry.tie else f", which is rail {entry.rail}"
        fix = "Check the cabling, the order of the devices and the GPU-to-HCA map of that host."
        state.say("RDMA_MISCABLED", "error", f"NIC {state.matrix.label(entry.nic)}", seen, fix)


def _shape(state: _State) -> None:
    """A fabric that falls into parts, each of them whole."""
    case, shape = state.rest
    verdict, components = shape.verdict, shape.components
    if verdict not in _SHAPES:
        return
    code, fix = _SHAPES[verdict]
    parts = []
    for component in components:
        index, tie = rail_index(case, component)
        hosts = case.hosts_of[component]
        label = f"rail {index}" if verdict == "RAIL_ONLY" and not tie else f"{bit_count(component)} NICs"
        names = [state.matrix.hosts[host] for host in sorted(hosts)]
        parts.append(f"{label} of {', '.join(names[:SHOWN])}{' ...' if len(names) > SHOWN else ''}")
    shown = "; ".join(parts[: 2 * SHOWN])
    seen = f"{len(components)} parts, each whole, and no path between them: {shown}"
    state.say(code, "warning", "fabric", seen, fix)
    across = [~next((c for c in components if c >> p & 1), 0) for p in range(state.matrix.size)]
    state.explain([row & other for row, other in zip(state.broken, across, strict=True)])


_SHAPES = {
    "RAIL_ONLY": (
        "RDMA_RAIL_ONLY",
        "Route between the rails' subnets, or use a backend that needs rails alone (see usable_by).",
    ),
    "RAIL_GROUPS": (
        "RDMA_RAIL_GROUPS",
        "Expected of NICs with several planes. Otherwise route between the groups' subnets.",
    ),
    "HOST_PARTITION": (
        "RDMA_HOST_PARTITION",
        "Check the links between the leaf switches, zones and placement: the hosts of one group see each other only.",
    ),
}


def _one_way(state: _State) -> None:
    """Pairs that deliver in one direction: firewalls without state, or routes that differ."""
    back = transpose(state.case.delivered, state.matrix.size)
    rows = [row & ~ok & other for row, ok, other in zip(state.broken, state.case.delivered, back, strict=True)]
    if not any(rows):
        return
    subject = _between(state, rows)
    seen = f"nothing arrives in this direction, the reverse delivers: {state.paths(rows)}"
    fix = "Check rules of a firewall without state and routes that differ by direction."
    state.say("RDMA_ONE_WAY", "error", subject, seen, fix)
    # On RC the way back of the acknowledgement is the broken direction: NO_ACK is its other half.
    answers = transpose(rows, state.matrix.size)
    state.explain([row | other for row, other in zip(rows, answers, strict=True)])


def _between(state: _State, rows: t.Sequence[int]) -> str:
    """What the pairs have in common: one path, two hosts or two rails; else their number."""
    count = sum(map(bit_count, rows))
    if count > 65536:
        return f"{count} paths"
    pairs = set(state.pairs(rows))
    return _one_path(state, pairs) or _whole_side(state, pairs) or _one_end(state, pairs) or f"{count} paths"


def _one_path(state: _State, pairs: set[tuple[int, int]]) -> str:
    source, target = min(pairs)
    if pairs == {(source, target)}:
        return f"path {state.path(source, target)}"
    if pairs != {(source, target), (target, source)}:
        return ""
    # By name: which prober has which position differs from run to run.
    return f"path {' <-> '.join(sorted(map(state.matrix.label, (source, target))))}"


def _whole_side(state: _State, pairs: set[tuple[int, int]]) -> str:
    """All tested pairs from one host or rail to another."""
    for kind, name in (("host", state.host_name), ("rail", state.rail_name)):
        ends = {(name(source), name(target)) for source, target in pairs}
        source, target = min(ends)
        if len(ends) == 1 and len(pairs) == state.tested_between(name, source, target):
            return f"{kind} {source} -> {kind} {target}"
    return ""


def _one_end(state: _State, pairs: set[tuple[int, int]]) -> str:
    senders, receivers = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    if len(senders) == 1:
        return f"from NIC {state.matrix.label(senders.pop())}"
    return f"to NIC {state.matrix.label(receivers.pop())}" if len(receivers) == 1 else ""


def _limited(pairs: t.Iterator[tuple[int, int]], limit: int) -> t.Iterator[tuple[int, int]]:
    for _count, pair in zip(range(limit), pairs, strict=False):
        yield pair


def _neighbors(state: _State) -> None:
    """A full neighbor table loses pairs at random, of one subnet only, on hosts with more peers than entries."""
    if not any(state.broken):
        return
    for host, facts in state.facts.hosts.items():
        limit, need = facts.get("gc_thresh3"), state.matrix.size - bit_count(state.case.host_masks[host])
        broken = sum(bit_count(state.broken[nic]) for nic in bits(state.case.host_masks[host]))
        if limit and broken and need > int(limit):
            seen = f"{broken} paths from it fail; it has {need} peers and room for {limit} neighbors"
            fix = "Raise net.ipv4.neigh.default.gc_thresh1, 2 and 3 on the node beyond the number of peers."
            state.say("RDMA_NEIGHBOR_TABLE", "error", f"host {state.matrix.hosts[host]}", seen, fix)


def _broken_paths(state: _State) -> None:
    """What no step has explained, with the raw errors."""
    if not any(state.broken):
        return
    kinds = Counter(
        _cause(stage, number)
        for (source, target), (stage, number) in state.facts.errors.items()
        if state.broken[source] >> target & 1
    )
    codes = Counter(state.matrix.code(*pair) for pair in _limited(state.pairs(state.broken), 4096))
    told = ", ".join(f"{code} {count} times" for code, count in codes.most_common(3))
    raw = f"; {', '.join(text for text, _count in kinds.most_common(2))}" if kinds else ""
    seen = f"{state.paths(state.broken)} ({told}{raw})"
    fix = "Check routes, access lists and switches between these NICs; the matrix in the artifacts shows all of them."
    state.say("RDMA_PATH_BROKEN", "error", _between(state, state.broken), seen, fix)


def _losses(state: _State) -> None:
    for nic, facts in state.facts.nics.items():
        moved = {name: facts.get("counters", {}).get(name, 0) for name in (*LOSS_COUNTERS, *CONGESTION_COUNTERS)}
        lost = {name: moved[name] for name in LOSS_COUNTERS if moved[name] >= LOSSY_FROM}
        held = {name: moved[name] for name in CONGESTION_COUNTERS if moved[name] >= LOSSY_FROM}
        if lost:
            fix = "Check PFC on the priority in use, the cable and the transceiver."
            state.say("RDMA_LOSSY", "warning", f"NIC {state.matrix.label(nic)}", f"counters moved: {lost}", fix)
        elif held:
            fix = "Check ECN and PFC, and how many NICs share the uplinks."
            state.say("RDMA_CONGESTION", "info", f"NIC {state.matrix.label(nic)}", f"counters moved: {held}", fix)


def _slow(state: _State) -> None:
    """Slow senders, receivers and paths, told apart by a median polish of rates relative to the link."""
    for kind, nic_or_pair, effect in slow_parts(state.facts.rates):
        if kind == "path":
            subject = f"path {state.path(*t.cast('tuple[int, int]', nic_or_pair))}"
        else:
            subject = f"{kind} {state.matrix.label(t.cast('int', nic_or_pair))}"
        fix = "Check PCIe width and NUMA of a NIC, pause frames; for a path the hash over equal routes."
        state.say("RDMA_SLOW", "warning", subject, f"{-effect:.0%} below what the others reach", fix)


def slow_parts(rates: t.Mapping[tuple[int, int], float]) -> list[tuple[str, t.Any, float]]:
    """sender or receiver below -5 % of the median, paths below -max(6 sigma, 5 %), with the effect."""
    ends = [len({pair[side] for pair in rates}) for side in (0, 1)]
    if min(ends) < LEAST_ENDS:
        return []
    median = statistics.median(rates.values())
    if median <= 0:
        return []
    rest = {pair: rate / median - 1 for pair, rate in rates.items()}
    rows: dict[int, float] = dict.fromkeys((pair[0] for pair in rates), 0.0)
    columns: dict[int, float] = dict.fromkeys((pair[1] for pair in rates), 0.0)
    for _turn in range(4):
        for side, effects in ((0, rows), (1, columns)):
            groups: dict[int, list[float]] = {}
            for pair, value in rest.items():
                groups.setdefault(pair[side], []).append(value)
            shifts = {nic: statistics.median(values) for nic, values in groups.items()}
            middle = statistics.median(shifts.values())
            for nic in effects:
                effects[nic] += shifts[nic] - middle
            rest = {pair: value - shifts[pair[side]] + middle for pair, value in rest.items()}
    spread = 1.4826 * statistics.median(map(abs, rest.values()))
    limit = -max(6 * spread, 0.05)
    found: list[tuple[str, t.Any, float]] = [("sender", nic, effect) for nic, effect in rows.items() if effect < -0.05]
    found += [("receiver", nic, effect) for nic, effect in columns.items() if effect < -0.05]
    return found + [("path", pair, value) for pair, value in rest.items() if value < limit]


def _inventory(state: _State) -> None:
    """What the hosts say about themselves."""
    counts = {
        state.matrix.hosts[host]: bit_count(mask)
        for host, mask in enumerate(state.case.host_masks)
        if host in state.case.joined
    }
    if len(set(counts.values())) > 1:
        fewest = min(counts, key=lambda name: counts[name])
        seen = f"{fewest} has {counts[fewest]} NICs, others have up to {max(counts.values())}"
        fix = "Check the resource requests of the pods and the NICs of that node."
        state.say("RDMA_UNEVEN_NICS", "warning", f"host {fewest}", seen, fix)
    layers = Counter(facts.get("link_layer") for facts in state.facts.nics.values() if facts.get("link_layer"))
    if len(layers) > 1:
        fix = "Select NICs of one link layer by rdma_mesh_nics: there is no path between InfiniBand and Ethernet."
        state.say("RDMA_MIXED_LINKS", "error", "selected NICs", f"link layers: {dict(layers)}", fix)
    for host, facts in state.facts.hosts.items():
        for problem in facts.get("problems") or ():
            code = problem.get("code")
            if code in _HOST_PROBLEMS:
                severity, fix = _HOST_PROBLEMS[code]
                subject = f"host {state.matrix.hosts[host]}"
                state.say(code, t.cast("Severity", severity), subject, str(problem.get("seen", ""))[:400], fix)


_HOST_PROBLEMS = {
    "RDMA_NO_ACCESS": ("error", "Give the pod its RDMA devices: resource requests, annotations and privilege."),
    "RDMA_MEMLOCK": ("error", "Raise the memlock limit, or give the container the capability IPC_LOCK."),
    "RDMA_NO_GPUDIRECT": ("warning", "Load nvidia_peermem, or use a driver with dma-buf (open kernel modules)."),
    "RDMA_NO_NICS": ("error", "Check the node's RDMA driver and the pattern that selects NICs."),
}

_STEPS: tuple[t.Callable[[_State], None], ...] = (
    _hosts,
    _nics,
    _gids,
    _deaf_and_mute,
    _wrong_peers,
    _mtu,
    _miscabled,
    _shape,
    _one_way,
    _neighbors,
    _broken_paths,
    _slow,
    _losses,
    _pkeys,
    _inventory,
)


def rail_matrix(matrix: Matrix, usable: t.Sequence[int]) -> list[list[float | None]]:
    """The share of usable pairs from NICs of one position to those of another; None where there are no pairs."""
    width = max(matrix.counts(), default=0)
    by_index = [0] * width
    for position, nic in enumerate(matrix.nics):
        by_index[nic.index] |= 1 << position
    wanted = matrix.wanted()
    share: list[list[float | None]] = []
    for source in range(width):
        row: list[float | None] = []
        for target in range(width):
            total = sum(bit_count(wanted[nic] & by_index[target]) for nic in bits(by_index[source]))
            good = sum(bit_count(usable[nic] & by_index[target]) for nic in bits(by_index[source]))
            row.append(round(good / total, 4) if total else None)
        share.append(row)
    return share
