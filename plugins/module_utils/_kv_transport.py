# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells over which network the KV cache of a prefill pod travels, from byte counters around prompts of known length.

Private to the collection: it may change at any time, do not import it from elsewhere.

NIXL hands the choice of the network to UCX, which takes TCP without a word where it finds no RDMA path: answers stay
right and become slow. A decode pod reads the KV cache out of its prefill pod, so that what the prefill pod sends tells.
The RDMA counters of an HCA count RDMA alone: on Ethernet ports the driver takes them from the port's InfiniBand
counters, and what the kernel sends over the same port is not in them.
"""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

RDMA, TCP, UNKNOWN = "rdma", "tcp", "unknown"
#: From this share of the expected bytes on, the pod network carries the KV cache; below the other, it does not.
CARRIES, SPARES = 0.5, 0.1
#: How much of the expected bytes the HCAs must have sent at least: counters are read a moment before or after.
ARRIVED = 0.9
#: /sys/class/infiniband/*/ports/*/counters/port_xmit_data counts words of four bytes.
WORD = 4

#: Prints what ``parse`` reads: a section per file, each under a line with its path. $1 stands in front of /sys.
READER = """\
read_file() { echo "== $1"; cat "$1" 2>&1 || true; }
read_file /proc/uptime
read_file /proc/net/route
read_file /proc/net/ipv6_route
read_file /proc/net/dev
for file in "$1"/sys/class/infiniband/*/ports/*/counters/port_xmit_data; do read_file "$file"; done
"""
_HEAD = "== "
_LOOPBACK = "lo"


class ReadingError(ValueError):
    """What the reader printed cannot be understood; str() is the evidence."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """Bytes that a pod has sent since it started, by interface and by HCA port, at ``seconds`` of its clock."""

    seconds: float
    pod_network: str
    interfaces: t.Mapping[str, int]
    hcas: t.Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Transport:
    """What one prefill pod sent while ``expected`` bytes of KV cache left it."""

    pod: str
    verdict: str
    expected: int
    pod_network: int | None = None
    hcas: int | None = None
    reason: str = ""

    def as_dict(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)


def parse(text: str) -> Reading:
    """What the reader printed in a pod."""
    sections: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith(_HEAD):
            sections[line.removeprefix(_HEAD).strip()] = []
        elif sections:
            sections[next(reversed(sections))].append(line)
    interfaces = _interfaces(sections.get("/proc/net/dev", []))
    pod_network = _default_interface(sections)
    if pod_network not in interfaces:
        raise ReadingError(f"the pod has no interface with a default route; it has {', '.join(interfaces) or 'none'}")
    return Reading(_seconds(sections), pod_network, interfaces, _hcas(sections))


def _seconds(sections: t.Mapping[str, list[str]]) -> float:
    try:
        return float(sections["/proc/uptime"][0].split()[0])
    except (KeyError, IndexError, ValueError) as error:
        raise ReadingError("/proc/uptime cannot be read in the pod") from error


def _interfaces(lines: t.Iterable[str]) -> dict[str, int]:
    """Bytes sent by interface: the ninth number behind its name. Two lines are the head of the table."""
    found = {}
    for line in lines:
        name, colon, numbers = line.partition(":")
        fields = numbers.split()
        if colon and len(fields) >= 16 and fields[8].isdigit():
            found[name.strip()] = int(fields[8])
    return found


def _default_interface(sections: t.Mapping[str, list[str]]) -> str:
    """The interface with the default route, by metric; of IPv6 where there is none of IPv4."""
    routes = []
    for line in sections.get("/proc/net/route", []):
        fields = line.split()
        if len(fields) >= 8 and fields[1] == "00000000" and fields[7] == "00000000":
            routes.append((0, int(fields[6]), fields[0]))
    for line in sections.get("/proc/net/ipv6_route", []):
        fields = line.split()
        if len(fields) == 10 and set(fields[0]) == {"0"} and fields[1] == "00" and fields[9] != _LOOPBACK:
            routes.append((1, int(fields[5], 16), fields[9]))
    return min(routes)[2] if routes else ""


def _hcas(sections: t.Mapping[str, list[str]]) -> dict[str, int]:
    """Bytes sent by HCA port; a port whose counter cannot be read is left out."""
    found = {}
    for path, lines in sections.items():
        parts = path.split("/")
        if parts[-1] == "port_xmit_data" and lines and lines[0].strip().isdigit():
            found[f"{parts[-5]}/{parts[-3]}"] = WORD * int(lines[0])
    return found


def judge(pod: str, expected: int, idle: Reading, before: Reading, after: Reading) -> Transport:
    """``idle`` to ``before`` is a time without our prompts: scrapes and probes send then what they always send."""
    whole = (idle, before, after)
    if expected <= 0:
        return Transport(pod, UNKNOWN, 0, reason="no prompt of known length was prefilled by it")
    if len({(reading.pod_network, *sorted(reading.interfaces), *sorted(reading.hcas)) for reading in whole}) > 1:
        return Transport(pod, UNKNOWN, expected, reason="its interfaces or HCAs changed between two readings")
    if not idle.seconds < before.seconds < after.seconds or _fell(whole):
        return Transport(pod, UNKNOWN, expected, reason="its counters or its clock began anew between two readings")
    sent = {name: _grown(idle, before, after, name) for name in before.interfaces if name != _LOOPBACK}
    network = sent[before.pod_network]
    hcas = sum(before.hcas.values()), sum(after.hcas.values())
    over_hcas = hcas[1] - hcas[0] if before.hcas else None
    verdict, reason = _verdict(expected, network, sum(sent.values()), over_hcas)
    return Transport(pod, verdict, expected, network, over_hcas, reason)


def _fell(readings: t.Sequence[Reading]) -> bool:
    return any(
        late[name] < early[name]
        for one, other in itertools.pairwise(readings)
        for early, late in ((one.interfaces, other.interfaces), (one.hcas, other.hcas))
        for name in early
    )


def _grown(idle: Reading, before: Reading, after: Reading, name: str) -> int:
    """Bytes sent beyond what the interface sends in that time anyway."""
    rate = (before.interfaces[name] - idle.interfaces[name]) / (before.seconds - idle.seconds)
    usual = rate * (after.seconds - before.seconds)
    return max(0, round(after.interfaces[name] - before.interfaces[name] - usual))


def _verdict(expected: int, network: int, all_networks: int, hcas: int | None) -> tuple[str, str]:
    if network >= CARRIES * expected:
        return TCP, f"the pod network carried {_share(network, expected)} of the expected bytes"
    if hcas is None:
        return UNKNOWN, f"no counter of an HCA can be read; the pod network carried {_share(network, expected)}"
    if hcas < SPARES * expected and all_networks >= CARRIES * expected:
        return TCP, f"other interfaces carried {_share(all_networks, expected)} of the expected bytes, but not as RDMA"
    if network < SPARES * expected and hcas >= ARRIVED * expected:
        return (
            RDMA,
            f"HCAs sent {_share(hcas, expected)} of the expected bytes, the pod network {_share(network, expected)}",
        )
    return UNKNOWN, (
        f"HCAs sent {_share(hcas, expected)} of the expected bytes, the pod network {_share(network, expected)}"
    )


def _share(part: int, whole: int) -> str:
    share = 100 * part / whole
    return f"{share:.0f} %" if share >= 1 or part == 0 else "less than 1 %"
