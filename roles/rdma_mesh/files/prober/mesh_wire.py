# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON lines between the coordinator and its agents, with a proof that both belong to the same run."""

from __future__ import annotations

import hashlib
import hmac
import json
import selectors
import socket
import time
import typing as t

#: The largest message is a host's column of the QP map at 1,024 hosts.
LONGEST = 64 << 20
READ = 1 << 16

Json = dict[str, t.Any]


class WireError(Exception):
    """The other side is gone or does not speak the protocol."""


def proof(key: str, run_id: str, index: int) -> str:
    return hmac.new(key.encode(), f"{run_id} {index}".encode(), hashlib.sha256).hexdigest()


class Line:
    """One connection, not blocking: messages in, messages out."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.closed = False
        self._in = bytearray()
        self._out = bytearray()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        return self.sock.fileno()

    @property
    def pending(self) -> bool:
        return bool(self._out)

    def send(self, message: Json) -> None:
        self._out += json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"
        self.flush()

    def flush(self) -> None:
        try:
            while self._out:
                sent = self.sock.send(self._out[: 1 << 20])
                del self._out[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def receive(self) -> list[Json]:
        """The messages that have arrived; the line closes where the peer is gone or sends anything else."""
        try:
            while True:
                part = self.sock.recv(READ)
                if not part:
                    self.close()
                    break
                self._in += part
                if len(self._in) > LONGEST:
                    self.close()
                    return []
        except BlockingIOError:
            pass
        except OSError:
            self.close()
        *lines, rest = bytes(self._in).split(b"\n")
        self._in = bytearray(rest)
        found = []
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                message = None
            if not isinstance(message, dict) or not isinstance(message.get("type"), str):
                self.close()
                return []
            found.append(message)
        return found

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.sock.close()


def connect(host: str, port: int, seconds: float) -> Line:
    """Try until the coordinator listens: pods of a Job start in any order, and its name resolves when it runs."""
    end, last = time.monotonic() + seconds, "no attempt"
    while time.monotonic() < end:
        try:
            return Line(socket.create_connection((host, port), timeout=2))
        except OSError as error:
            last = str(error)
            time.sleep(0.2)
    raise WireError(f"no coordinator at {host}:{port} within {seconds:g} s: {last}")


class Hub:
    """The coordinator's side: one loop over all agents."""

    def __init__(self, address: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listener.bind((address, port))
        self.listener.listen(1024)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.listener, selectors.EVENT_READ)
        self._gone: list[Line] = []

    def turn(self, seconds: float) -> list[tuple[Line, Json | None]]:
        """What arrived from whom; None where a line closed."""
        found: list[tuple[Line, Json | None]] = [(line, None) for line in self._gone]
        self._gone.clear()
        for key, events in self._selector.select(max(0.0, seconds)):
            if key.fileobj is self.listener:
                self._accept()
                continue
            line = t.cast("Line", key.data)
            if events & selectors.EVENT_WRITE:
                line.flush()
            if events & selectors.EVENT_READ and not line.closed:
                found += [(line, message) for message in line.receive()]
            self._watch(line, key.fileobj)
            if line.closed:
                found.append((line, None))
        return found

    def _accept(self) -> None:
        try:
            sock, _address = self.listener.accept()
        except OSError:
            return
        line = Line(sock)
        self._selector.register(sock, selectors.EVENT_READ, line)

    def _watch(self, line: Line, sock: t.Any) -> None:
        if line.closed:
            self._selector.unregister(sock)
        else:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.pending else 0)
            self._selector.modify(sock, events, line)

    def send(self, line: Line, message: Json) -> None:
        if not line.closed:
            line.send(message)
            if line.closed:
                self._gone.append(line)
                self._forget_closed()
            else:
                self._watch(line, line.sock)

    def drop(self, line: Line) -> None:
        if not line.closed:
            self._selector.unregister(line.sock)
            line.close()

    def _forget_closed(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, Line) and key.data.closed:
                self._selector.unregister(key.fileobj)

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, Line):
                key.data.close()
        self._selector.close()
        self.listener.close()
