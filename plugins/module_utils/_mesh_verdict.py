# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a measured matrix means: one verdict, and who can use the fabric. Private to the collection; it may change.

Pure and total: every matrix has exactly one verdict, the first of VERDICTS whose condition holds. Nothing here looks
at the positions of hosts and NICs, so that a relabeled matrix has the same verdict; only ``miscabled`` compares
positions, because that is what it is for.
"""

from __future__ import annotations

import dataclasses
import functools
import typing as t
from collections import Counter

from ansible_collections.llmd.wide_ep.plugins.module_utils._mesh_matrix import (
    ARRIVED,
    CODES,
    DELIVERED,
    USABLE,
    Matrix,
    Rows,
    bit_count,
    bits,
    transpose,
)

VERDICTS = (
    "NOT_MEASURED",
    "NO_RDMA",
    "SINGLE_HOST",
    "NO_CONNECTIVITY",
    "FULL_MESH_MINUS_DOWN",
    "FULL_MESH_DEGRADED",
    "FULL_MESH_SAMPLED",
    "FULL_MESH",
    "RAIL_ONLY",
    "RAIL_GROUPS",
    "HOST_PARTITION",
    "ONE_WAY",
    "PARTIAL",
)
#: Transports that say something about RDMA. The others tell that an address is reachable, no more.
RDMA_TRANSPORTS = ("rdma",)
FULL = ("FULL_MESH", "FULL_MESH_SAMPLED", "FULL_MESH_DEGRADED", "FULL_MESH_MINUS_DOWN")


@dataclasses.dataclass(frozen=True)
class Case:
    """A matrix with what is known around it.

    ``joined`` are the positions of hosts whose prober reported to the end. ``active`` tells whether any RDMA port was
    ACTIVE, ``lossy`` whether counters moved that stand for losses, ``complete`` whether the whole result arrived.
    """

    matrix: Matrix
    joined: frozenset[int]
    transport: str = "rdma"
    complete: bool = True
    active: bool = True
    lossy: bool = False

    @functools.cached_property
    def wanted(self) -> Rows:
        return self.matrix.wanted()

    @functools.cached_property
    def tested(self) -> Rows:
        return self.matrix.rows(CODES[1:])

    @functools.cached_property
    def usable(self) -> Rows:
        return self.matrix.rows(USABLE)

    @functools.cached_property
    def delivered(self) -> Rows:
        return self.matrix.rows(DELIVERED)

    @functools.cached_property
    def live(self) -> int:
        """NICs that sent or received something. A small payload proves life, also where the full MTU does not pass."""
        received = live = 0
        for position, row in enumerate(self.matrix.rows(ARRIVED)):
            received |= row
            live |= (1 << position) if row else 0
        return live | received

    @functools.cached_property
    def mutual(self) -> Rows:
        """The pairs that are usable both ways."""
        back = transpose(self.usable, self.matrix.size)
        return tuple(row & other for row, other in zip(self.usable, back, strict=True))

    @functools.cached_property
    def components(self) -> tuple[int, ...]:
        """Live NICs that are connected by pairs usable both ways, as masks."""
        rest, found = self.live, []
        while rest:
            component = edge = rest & -rest
            while edge:
                reached = 0
                for position in bits(edge):
                    reached |= self.mutual[position]
                edge = reached & ~component
                component |= edge
            found.append(component)
            rest &= ~component
        return tuple(found)

    @functools.cached_property
    def host_masks(self) -> tuple[int, ...]:
        return self.matrix.host_masks()

    @functools.cached_property
    def live_hosts(self) -> frozenset[int]:
        return frozenset(host for host, mask in enumerate(self.host_masks) if mask & self.live)

    @functools.cached_property
    def down_nics(self) -> tuple[int, ...]:
        """NICs that neither sent nor received, of hosts whose prober reported, as far as they were tested."""
        tested = functools.reduce(int.__or__, self.tested, 0)
        return tuple(
            position
            for position, nic in enumerate(self.matrix.nics)
            if not self.live >> position & 1
            and nic.host in self.joined
            and (self.tested[position] or tested >> position & 1)
        )

    @functools.cached_property
    def down_hosts(self) -> tuple[int, ...]:
        """Hosts whose prober did not report, and those that nothing reaches."""
        silent = {self.matrix.nics[position].host for position in self.down_nics} - self.live_hosts
        return tuple(host for host in range(len(self.matrix.hosts)) if host not in self.joined or host in silent)

    @functools.cached_property
    def hosts_of(self) -> dict[int, frozenset[int]]:
        """The hosts of each component."""
        return {
            component: frozenset(host for host, mask in enumerate(self.host_masks) if mask & component)
            for component in self.components
        }

    @functools.cached_property
    def separate(self) -> bool:
        """At least two components, each of two hosts or more, and every pair in each usable both ways.

        An empty list of components, or one of single NICs, is not separate.
        """
        return (
            len(self.components) >= 2
            and all(len(hosts) >= 2 for hosts in self.hosts_of.values())
            and all(map(self._is_complete, self.components))
        )

    def _is_complete(self, component: int) -> bool:
        return all(
            component & ~self.host_masks[self.matrix.nics[position].host] & ~self.mutual[position] == 0
            for position in bits(component)
        )

    @functools.cached_property
    def one_nic_per_host(self) -> bool:
        return all(bit_count(component) == len(hosts) for component, hosts in self.hosts_of.items())

    @functools.cached_property
    def spans_all(self) -> bool:
        """Whether every live host is in every component, but where its NIC is down or it has fewer of them."""
        width = max(map(bit_count, self.host_masks), default=0)
        missing = Counter(host for hosts in self.hosts_of.values() for host in self.live_hosts - hosts)
        return all(count <= width - bit_count(self.host_masks[host] & self.live) for host, count in missing.items())

    @functools.cached_property
    def lacks_pairs(self) -> bool:
        """Whether pairs of hosts that reported were not tested."""
        present = functools.reduce(int.__or__, (self.host_masks[host] for host in self.joined), 0)
        return any(
            present >> position & 1 and wanted & present & ~tested
            for position, (wanted, tested) in enumerate(zip(self.wanted, self.tested, strict=True))
        )

    @functools.cached_property
    def classification(self) -> Classification:
        return _classify(self)

    @property
    def coverage(self) -> tuple[int, int]:
        """Tested pairs, and all of them."""
        return sum(map(bit_count, self.tested)), sum(map(bit_count, self.wanted))


@dataclasses.dataclass(frozen=True)
class Classification:
    verdict: str
    qualifiers: tuple[str, ...]
    components: tuple[int, ...]


def classify(case: Case) -> Classification:
    """The first verdict that holds; those that hold too, and what else is to be known, are qualifiers."""
    return case.classification


def _classify(case: Case) -> Classification:
    holds = [name for name in VERDICTS if _CONDITIONS[name](case)]
    also = [name for name in _QUALIFIERS if _QUALIFIERS[name](case)]
    components = case.components if case.complete else ()
    qualifiers = [name for name in (*holds[1:], *also) if not (name == "PARTIAL" or name in FULL[:1])]
    return Classification(holds[0], tuple(dict.fromkeys(qualifiers)), components)


def _not_measured(case: Case) -> bool:
    if not case.complete or (len(case.matrix.hosts) >= 2 and len(case.joined) < 2):
        return True
    return not any(case.tested) and case.active and not _single_host(case)


def _single_host(case: Case) -> bool:
    return len(case.matrix.hosts) < 2 or sum(1 for mask in case.host_masks if mask) < 2


def _no_connectivity(case: Case) -> bool:
    return any(case.tested) and not any(case.usable)


def _live_usable(case: Case) -> bool:
    """Every tested pair of two live NICs is usable, and there is one."""
    broken = (
        tested & ~usable & case.live
        for position, (tested, usable) in enumerate(zip(case.tested, case.usable, strict=True))
        if case.live >> position & 1
    )
    return any(case.usable) and not any(broken)


def _minus_down(case: Case) -> bool:
    return bool(case.down_nics or case.down_hosts) and _live_usable(case)


def _all_usable(case: Case) -> bool:
    return any(case.usable) and case.usable == case.tested and not case.down_hosts


def _degraded(case: Case) -> bool:
    return _all_usable(case) and ("SLOW" in case.matrix.planes or case.lossy)


def _sampled(case: Case) -> bool:
    return _all_usable(case) and case.tested != case.wanted


def _full_mesh(case: Case) -> bool:
    return _all_usable(case) and case.tested == case.wanted


def _rail_only(case: Case) -> bool:
    return case.separate and case.one_nic_per_host and case.spans_all


def _rail_groups(case: Case) -> bool:
    return case.separate and not case.one_nic_per_host and case.spans_all and not _host_partition(case)


def _host_partition(case: Case) -> bool:
    """Components complete, and the hosts fall into groups that share none. Each group may hold rails of its own."""
    return case.separate and len(_host_groups(case)) >= 2


def _host_groups(case: Case) -> list[set[int]]:
    groups: list[set[int]] = []
    for hosts in map(set, case.hosts_of.values()):
        touched = [group for group in groups if group & hosts]
        groups = [*(group for group in groups if not group & hosts), hosts.union(*touched)]
    return groups


def _one_way(case: Case) -> bool:
    """Some live pairs are undelivered, and the reverse of every such pair is delivered."""
    back = transpose(case.delivered, case.matrix.size)
    found = False
    for position in bits(case.live):
        lost = case.tested[position] & ~case.delivered[position] & case.live
        if lost & ~back[position]:
            return False
        found = found or lost != 0
    return found


_CONDITIONS: dict[str, t.Callable[[Case], bool]] = {
    "NOT_MEASURED": _not_measured,
    "NO_RDMA": lambda case: case.transport in RDMA_TRANSPORTS and not case.active,
    "SINGLE_HOST": _single_host,
    "NO_CONNECTIVITY": _no_connectivity,
    "FULL_MESH_MINUS_DOWN": _minus_down,
    "FULL_MESH_DEGRADED": _degraded,
    "FULL_MESH_SAMPLED": _sampled,
    "FULL_MESH": _full_mesh,
    "RAIL_ONLY": _rail_only,
    "RAIL_GROUPS": _rail_groups,
    "HOST_PARTITION": _host_partition,
    "ONE_WAY": _one_way,
    "PARTIAL": lambda case: True,
}


def _inner_rails(case: Case) -> bool:
    return _host_partition(case) and case.one_nic_per_host


_QUALIFIERS: dict[str, t.Callable[[Case], bool]] = {
    "IP_ONLY": lambda case: case.transport not in RDMA_TRANSPORTS,
    "SAMPLED": lambda case: any(case.tested) and case.complete and case.lacks_pairs,
    "NIC_DOWN": lambda case: bool(case.down_nics),
    "HOST_DOWN": lambda case: bool(case.down_hosts),
    "UNEVEN": lambda case: len({bit_count(mask) for mask in case.host_masks if mask}) > 1,
    "RAIL_ONLY": _inner_rails,
    "MISCABLED": lambda case: _rail_only(case) and bool(miscabled(case)),
    "MTU": lambda case: "SMALL_OK_MTU_FAIL" in case.matrix.planes,
}


@dataclasses.dataclass(frozen=True)
class Miscabled:
    """A NIC whose position on its host is not the one that most members of its rail have; a tie names all."""

    nic: int
    rail: int
    tie: bool


def rail_index(case: Case, component: int) -> tuple[int, bool]:
    """The position that most members of the component have on their hosts, and whether it is a tie."""
    found = Counter(case.matrix.nics[position].index for position in bits(component)).most_common(2)
    return found[0][0], len(found) > 1 and found[0][1] == found[1][1]


def miscabled(case: Case) -> list[Miscabled]:
    """NICs that sit on another rail than their position says."""
    named = []
    for component in case.components:
        if not 1 < bit_count(component) == len(case.hosts_of[component]):
            continue
        rail, tie = rail_index(case, component)
        odd = [nic for nic in bits(component) if tie or case.matrix.nics[nic].index != rail]
        named += [Miscabled(nic, case.matrix.nics[nic].index if tie else rail, tie) for nic in odd]
    return sorted(named, key=lambda entry: entry.nic)


# --- who can use it ---

State = t.Literal["ok", "fail", "unknown"]


@dataclasses.dataclass(frozen=True)
class Backend:
    """``need`` is full (each NIC to each), rail (same local rank), relay (NVLink finds the rail) or other.

    ``rail_when`` is the environment that makes rails enough, as (name, value); ``advice`` says so in words.
    """

    need: t.Literal["full", "rail", "relay"]
    rail_when: tuple[tuple[str, str], ...] = ()
    advice: str = ""


ROUTES = "routes between the rails' subnets"
BACKENDS: dict[str, Backend] = {
    # NVSHMEM ranks are global ranks in low-latency mode and node ranks else: NVLink forwards the rest.
    "deepep_low_latency": Backend("full", advice=ROUTES),
    "deepep_high_throughput": Backend("rail", advice="GPU i on NIC i of every host, and intact rails"),
    # The run-time default is 0 (vllm-project/vllm#54281), whatever the type stub says.
    "deepep_v2": Backend(
        "full", (("VLLM_DEEPEP_V2_ALLOW_HYBRID_MODE", "1"),), f"VLLM_DEEPEP_V2_ALLOW_HYBRID_MODE=1, or {ROUTES}"
    ),
    "nccl_gin": Backend("full", (("NCCL_CROSS_NIC", "0"),), f"NCCL_CROSS_NIC=0, or {ROUTES}"),
    "mori": Backend("full", (("MORI_ENABLE_RAIL_ONLY", "1"),), f"MORI_ENABLE_RAIL_ONLY=1, or {ROUTES}"),
    "allgather_reducescatter": Backend("relay", advice="at least one intact rail between the hosts"),
    "naive": Backend("relay", advice="at least one intact rail between the hosts"),
}
#: Any prefill NIC to any decode NIC and back: the router pairs ranks as it likes.
KV_PATH = "kv_nixl"
KV_ADVICE = f"{ROUTES}, and UCX_IB_ROCE_REACHABILITY_MODE=all where they are routed"


@dataclasses.dataclass(frozen=True)
class Group:
    """Hosts that run one role. ``rank_nics`` is the NIC position of each local rank, where it is not the same.

    ``hosts_per_group`` is on how many of the hosts the ranks are that exchange tokens; 0 where that is not known.
    """

    role: str
    hosts: tuple[str, ...]
    backend: str
    environment: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    rank_nics: tuple[int, ...] = ()
    hosts_per_group: int = 0

    @property
    def on_one_host(self) -> bool:
        """Whether NVLink carries all that its ranks exchange."""
        return self.hosts_per_group == 1 or len(set(self.hosts)) < 2


def need_of(backend: str, environment: t.Mapping[str, str]) -> str | None:
    """full, rail or relay; None for a backend that is not known."""
    known = BACKENDS.get(backend)
    if known is None:
        return None
    rails = any(environment.get(name, "").strip() == value for name, value in known.rail_when)
    return "rail" if rails else known.need


def mask_of(matrix: Matrix, hosts: t.Iterable[str], need: str, rank_nics: t.Sequence[int] = ()) -> Rows:
    """The pairs that these hosts need among themselves."""
    positions = {matrix.hosts.index(name) for name in hosts if name in matrix.hosts}
    ranks = {nic: rank for rank, nic in enumerate(rank_nics)}
    members, per_rank = 0, Counter[int]()
    host_masks = matrix.host_masks()
    for position, nic in enumerate(matrix.nics):
        if nic.host in positions and (not ranks or nic.index in ranks):
            members |= 1 << position
            per_rank[ranks.get(nic.index, nic.index)] |= 1 << position
    rows = []
    for position, nic in enumerate(matrix.nics):
        peers = per_rank[ranks.get(nic.index, nic.index)] if need == "rail" else members
        rows.append(peers & ~host_masks[nic.host] if members >> position & 1 else 0)
    return tuple(rows)


def kv_mask(matrix: Matrix, groups: t.Sequence[Group]) -> Rows:
    """Both ways between every prefill and every decode NIC on different hosts; between all hosts without roles."""
    roles = {role: {host for group in groups if group.role == role for host in group.hosts} for role in
             ("prefill", "decode")}  # fmt: skip
    if not all(roles.values()):
        return matrix.wanted()
    masks = dict(zip(matrix.hosts, matrix.host_masks(), strict=True))
    sides = {role: functools.reduce(int.__or__, (masks.get(host, 0) for host in hosts), 0)
             for role, hosts in roles.items()}  # fmt: skip
    prefill, decode = sides["prefill"], sides["decode"]
    return tuple(
        ((decode if prefill >> position & 1 else 0) | (prefill if decode >> position & 1 else 0)) & row
        for position, row in enumerate(matrix.wanted())
    )


def unite(masks: t.Sequence[Rows], size: int) -> Rows:
    if not masks:
        return (0,) * size
    return tuple(functools.reduce(int.__or__, rows) for rows in zip(*masks, strict=True))


def covers(case: Case, mask: Rows) -> State:
    """ok where the whole mask is usable, fail where a pair of it was tested and is not, unknown otherwise."""
    lacking = [row & ~usable for row, usable in zip(mask, case.usable, strict=True)]
    if not any(lacking):
        return "ok" if case.complete and any(mask) else "unknown"
    failed = any(row & tested for row, tested in zip(lacking, case.tested, strict=True))
    return "fail" if failed and case.complete else "unknown"


def _relay(case: Case, hosts: t.Iterable[str]) -> State:
    """NVLink relays to a rail that works: each pair of hosts needs one usable pair of NICs each way."""
    matrix = case.matrix
    masks = dict(zip(matrix.hosts, case.host_masks, strict=True))
    present = [masks.get(host, 0) for host in hosts]
    states: set[State] = set()
    reach = [unite([(case.usable[p],) for p in bits(mask)], 1)[0] for mask in present]
    tried = [unite([(case.tested[p],) for p in bits(mask)], 1)[0] for mask in present]
    for one in range(len(present)):
        for other in range(len(present)):
            if one != other and not reach[one] & present[other]:
                states.add("fail" if tried[one] & present[other] else "unknown")
    if not case.complete or len(present) < 2:
        return "unknown"
    return "fail" if "fail" in states else "unknown" if states else "ok"


def backend_state(case: Case, group: Group) -> State:
    """Whether the fabric carries the group; a group on one host needs nothing of it."""
    need = need_of(group.backend, group.environment)
    if need is None or not case.complete:
        return "unknown"
    if group.hosts_per_group == 1:
        return "ok"
    if need == "relay":
        return _relay(case, group.hosts)
    if group.on_one_host:
        return "ok"
    if _lacks_rank(case, group, need):
        return "fail"
    state = covers(case, mask_of(case.matrix, group.hosts, need, group.rank_nics))
    return _with_absent(case, group.hosts, state)


def _lacks_rank(case: Case, group: Group, need: str) -> bool:
    """Whether a host has no NIC for a rank that its peers have one for: such pairs are in no mask."""
    per_host: dict[str, set[int]] = {host: set() for host in group.hosts}
    for nic in case.matrix.nics:
        if (host := case.matrix.hosts[nic.host]) in per_host:
            per_host[host].add(nic.index)
    present = [found for found in per_host.values() if found]
    if group.rank_nics:
        return any(not found.issuperset(group.rank_nics) for found in present)
    return need == "rail" and any(found != present[0] for found in present)


def _with_absent(case: Case, hosts: t.Iterable[str], state: State) -> State:
    """A host whose prober never joined has no NICs in the matrix: what it needs is not known."""
    masks = dict(zip(case.matrix.hosts, case.host_masks, strict=True))
    absent = any(not masks.get(host) for host in hosts)
    return "unknown" if absent and state == "ok" else state


def usable_by(case: Case, groups: t.Sequence[Group] = ()) -> dict[str, dict[str, str]]:
    """Per backend, with its settings on all hosts, and per KV path: whether this fabric carries it, and what it needs.

    ``basis`` is "IP only" where the transport says nothing about RDMA.
    """
    basis = "RDMA" if case.transport in RDMA_TRANSPORTS else "IP only"
    found: dict[str, dict[str, str]] = {}
    for name, backend in BACKENDS.items():
        for setting, environment in (("", {}), *((f"{k}={v}", {k: v}) for k, v in backend.rail_when)):
            state = backend_state(case, Group("", case.matrix.hosts, name, environment))
            label = f"{name} with {setting}" if setting else name
            found[label] = {"state": state, "needs": "" if state == "ok" else backend.advice, "basis": basis}
            if setting:
                found[label]["needs"] = "" if state == "ok" else "intact rails"
    kv = _with_absent(case, case.matrix.hosts, covers(case, kv_mask(case.matrix, groups)))
    found[KV_PATH] = {"state": kv, "needs": "" if kv == "ok" else KV_ADVICE, "basis": basis}
    return found


@dataclasses.dataclass(frozen=True)
class Requirement:
    """What the deployment needs of the fabric, judged. ``missing`` counts needed pairs that are not usable."""

    satisfied: bool
    states: t.Mapping[str, State]
    needed: int
    missing: int
    examples: tuple[tuple[int, int], ...]


def judge(case: Case, groups: t.Sequence[Group], *, kv: bool = True, explicit: Rows | None = None) -> Requirement:
    """Judge what the groups need, the KV paths between them, and an ``explicit`` mask where one is asked for."""
    matrix = case.matrix
    states: dict[str, State] = {f"{group.role}: {group.backend}": backend_state(case, group) for group in groups}
    masks = [
        mask_of(matrix, group.hosts, need, group.rank_nics)
        for group in groups
        if (need := need_of(group.backend, group.environment)) in ("full", "rail") and not group.on_one_host
    ]
    if kv and {"prefill", "decode"} <= {group.role for group in groups}:
        masks.append(kv_mask(matrix, groups))
        hosts = [host for group in groups for host in group.hosts]
        states[KV_PATH] = _with_absent(case, hosts, covers(case, masks[-1]))
    if explicit is not None:
        masks.append(explicit)
        states["require"] = _with_absent(case, matrix.hosts, covers(case, explicit))
    mask = unite(masks, matrix.size)
    lacking = [row & ~usable for row, usable in zip(mask, case.usable, strict=True)]
    missing = sum(map(bit_count, lacking))
    examples = tuple((source, target) for source, row in enumerate(lacking) if row for target in _first(row, 3))[:10]
    satisfied = bool(states) and all(state == "ok" for state in states.values())
    return Requirement(satisfied, states, sum(map(bit_count, mask)), missing, examples)


def _first(mask: int, count: int) -> list[int]:
    found = []
    for position in bits(mask):
        found.append(position)
        if len(found) == count:
            break
    return found
