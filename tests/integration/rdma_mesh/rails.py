# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rails of a running rehearsal cluster, and what breaks them. Run as root."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import typing as t

#: Source host and NIC, target host and NIC.
Pair = tuple[int, int, int, int]
TABLE = "mesh_test"
CONTROL_PORT = 18515


class Rails:
    """Hosts are the GPU nodes in their order. Every fault is taken back by ``mend``."""

    def __init__(self, cluster: t.Any) -> None:
        self.cluster = cluster
        topology = json.loads((cluster.paths.cluster / "etc/topology.json").read_text())
        self.mtu = topology["fabric"]["mtu"]
        self.range = topology["ranges"]["rails"]
        self.nodes = [node for node in topology["nodes"] if node["rails"]]
        self.names = [node["name"] for node in self.nodes]
        self.undo: list[t.Callable[[], None]] = []

    def _inside(self, *command: str, node: str = "") -> None:
        done = self.cluster.inside(*command, node=node)
        assert done.returncode == 0, f"{' '.join(command)[:200]}: {done.stderr[:200]}"

    def _ip(self, *lines: str, node: str = "") -> None:
        script = "\n".join(f"ip {line}" for line in lines)
        self._inside("/bin/sh", "-e", "-c", script, node=node)

    def _port(self, host: int, nic: int) -> str:
        """The other end of a NIC's cable."""
        return f"n{self.nodes[host]['position']}r{nic}"

    def mend(self) -> None:
        while self.undo:
            self.undo.pop()()

    def _filter(self, name: str, rule: str, elements: t.Sequence[str] = ()) -> None:
        """In both families: NICs of one rail meet in a bridge, others in the routing."""
        pairs = ""
        if elements:
            pairs = f"set pairs {{ type ipv4_addr . ipv4_addr; elements = {{ {', '.join(elements)} }}; }}"
        for family in ("bridge", "inet"):
            chain = f"chain forward {{ type filter hook forward priority 0; {rule}; }}"
            self._inside("nft", f"table {family} {name} {{ {pairs}\n{chain}\n}}")
        self.undo.append(lambda: self._unfilter(name))

    def _unfilter(self, name: str) -> None:
        for family in ("bridge", "inet"):
            self._inside("nft", f"delete table {family} {name}")

    def lose(self, lost: t.Callable[[int, int, int, int], bool]) -> None:
        """Drop what the NICs of these pairs send to each other, each direction on its own."""
        address = {
            (host, rail["index"]): rail["address"] for host, node in enumerate(self.nodes) for rail in node["rails"]
        }
        elements = [
            f"{one} . {other}" for a, one in address.items() for b, other in address.items()
            if a[0] != b[0] and lost(*a, *b)
        ]  # fmt: skip
        self._filter(TABLE, "ip saddr . ip daddr @pairs drop", elements)

    def silence(self, host: int) -> None:
        """Cut a node off from the probers of the others, but for its NICs."""
        address = self.nodes[host]["address"]
        rule = f"ip saddr {address} tcp dport {CONTROL_PORT} drop; ip daddr {address} tcp dport {CONTROL_PORT} drop"
        self._filter(f"{TABLE}_control", rule)

    def unplug(self, host: int, nic: int) -> None:
        self._ip(f"link set {self._port(host, nic)} down")
        self.undo.append(lambda: self._ip(f"link set {self._port(host, nic)} up"))

    def narrow(self, host: int, nic: int, mtu: int) -> None:
        """The switch's port takes smaller packets than the NIC believes."""
        self._ip(f"link set {self._port(host, nic)} mtu {mtu}")
        self.undo.append(lambda: self._ip(f"link set {self._port(host, nic)} mtu {self.mtu}"))

    def swap(self, host: int, one: int, other: int) -> None:
        """Two cables of a node change places, and with the rail its address goes to the other NIC."""
        self._wire(host, {one: other, other: one})
        self.undo.append(lambda: self._wire(host, {one: one, other: other}))

    def _wire(self, host: int, rail_of: t.Mapping[int, int]) -> None:
        node, rails = self.nodes[host], self.nodes[host]["rails"]
        self._ip(*(f"link set {self._port(host, nic)} master rail{rail}" for nic, rail in rail_of.items()))
        lines = [f"address flush dev rail{nic}" for nic in rail_of]
        for nic, rail in rail_of.items():
            found = rails[rail]
            lines += [
                f"route flush table {found['table']} || true",
                f"address add {found['address']}/24 dev rail{nic}",
                f"route add {found['subnet']} dev rail{nic} src {found['address']} table {found['table']}",
                f"route add {self.range} via {found['gateway']} dev rail{nic} table {found['table']}",
            ]
        self._ip(*lines, node=node["name"])
        for name in ("", *self.names):
            self._ip(*(f"neigh flush dev rail{rail} || true" for rail in rail_of.values()), node=name)

    def kill_prober(self, host: int) -> None:
        group = f"/llmd-wide-ep-{self.cluster.name}/{self.names[host]}"
        killed = 0
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (
                    b"mesh_prober.py" in (process / "cmdline").read_bytes()
                    and group in (process / "cgroup").read_text()
                ):
                    os.kill(int(process.name), signal.SIGKILL)
                    killed += 1
        assert killed, f"no prober on {self.names[host]}"
