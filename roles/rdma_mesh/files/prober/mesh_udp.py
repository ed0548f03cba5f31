# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IP reachability between NICs: a datagram each way, small and of full size, bound to the NIC.

This tells nothing about RDMA. It is what can be tested where there are no RDMA devices.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import selectors
import socket
import typing as t

import mesh_merge as merge
from mesh_sweep import FULL, HEADER, SMALL, Sweep
from mesh_world import NONCE, World

#: IPv4 and UDP headers.
OVERHEAD = 28
#: From linux/in.h: send with "don't fragment" and do not believe earlier path MTUs.
IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3
BUFFER = 4 << 20
Json = dict[str, t.Any]


class Udp(Sweep):
    """One socket per NIC of this host, all in one loop. It answers from ``prepare`` until ``close``."""

    def __init__(self, world: World, options: Json) -> None:
        super().__init__(world, options)
        self.port = int(options.get("port", 7777))
        self.sockets: dict[int, socket.socket] = {}
        self.selector = selectors.DefaultSelector()
        self.failed: dict[int, int] = {}

    def prepare(self) -> Json:
        """Open a socket per NIC; one that cannot be opened is an outcome of its pairs, not of the run."""
        for position in self.world.mine:
            nic = self.world.nics[position]
            try:
                self.sockets[position] = self._open(nic)
                self.selector.register(self.sockets[position], selectors.EVENT_READ, position)
            except OSError as error:
                self.failed[position] = error.errno or errno.EINVAL
        return {}

    def _open(self, nic: Json) -> socket.socket:
        if not nic.get("ip"):
            raise OSError(errno.EADDRNOTAVAIL, "the NIC has no address")
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, nic["netdev"].encode() + b"\0")
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
            sock.bind((nic["ip"], self.port))
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
        return sock

    def connect(self, _endpoints: Json) -> None:
        """Nothing is exchanged beforehand."""

    def filenos(self) -> list[int]:
        return [sock.fileno() for sock in self.sockets.values()]

    def room(self, source: int, target: int) -> int:
        """The largest payload that both ends take."""
        mtu = min(int(self.world.nics[position].get("mtu") or 1500) for position in (source, target))
        return max(NONCE, min(mtu, 65535) - OVERHEAD - HEADER.size)

    def transmit(self, kind: int, source: int, target: int, body: bytes) -> None:
        peer, sock = self.world.nics[target], self.sockets.get(source)
        if sock is None or not peer.get("ip"):
            self.errors[kind, source, target] = self.failed.get(source, errno.EADDRNOTAVAIL)
            return
        for _attempt in range(50):
            try:
                sock.sendto(body, (peer["ip"], self.port))
            except BlockingIOError:
                self.turn(0.002)
            except OSError as error:
                self.errors[kind, source, target] = error.errno or errno.EIO
                return
            else:
                self.errors.pop((kind, source, target), None)
                return
        self.errors[kind, source, target] = errno.EAGAIN

    def turn(self, seconds: float) -> int:
        """Read what has arrived and answer it."""
        count = 0
        for key, _events in self.selector.select(max(0.0, seconds)):
            sock = t.cast("socket.socket", key.fileobj)
            while True:
                try:
                    data, address = sock.recvfrom(1 << 16)
                except BlockingIOError:
                    break
                except OSError:
                    # An ICMP message about an earlier datagram.
                    continue
                count += self.take(key.data, data, functools.partial(_answer, sock, address))
        return count

    def report(self) -> Json:
        mine = self.world.mine
        landed = {
            "seen": [self.seen[SMALL][position] for position in mine],
            "seen_full": [self.seen[FULL][position] for position in mine],
            "damaged": [self.damaged[position] for position in mine],
        }
        return merge.report(
            self.world.me,
            self.world.size,
            small={"OK": [self.acked[SMALL][position] for position in mine]},
            full={"OK": [self.acked[FULL][position] for position in mine]},
            landed=landed,
            wrong=sorted(self.wrong),
            errors=sorted([source, target, "send", number] for (_kind, source, target), number in self.errors.items()),
        )

    def close(self) -> None:
        self.selector.close()
        for sock in self.sockets.values():
            sock.close()


def _answer(sock: socket.socket, address: t.Any, _source: int, body: bytes) -> None:
    with contextlib.suppress(OSError):
        sock.sendto(body, address)
