# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Talks to the supervisord of a rehearsal cluster. Private to the collection; it may change at any time."""

from __future__ import annotations

import dataclasses
import http.client
import pathlib
import socket
import typing as t
import xmlrpc.client


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


class _SocketTransport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def make_connection(self, host: t.Any) -> http.client.HTTPConnection:
        return _SocketConnection(self.path)


@dataclasses.dataclass(frozen=True)
class Program:
    """One supervised process."""

    name: str
    state: str
    description: str
    log: str

    @property
    def running(self) -> bool:
        return self.state == "RUNNING"


class Supervisor:
    """The few calls that are needed. Raises OSError when nobody listens."""

    def __init__(self, path: pathlib.Path) -> None:
        self.proxy = xmlrpc.client.ServerProxy("http://localhost", _SocketTransport(str(path)))

    @property
    def rpc(self) -> t.Any:
        return self.proxy.supervisor

    def programs(self) -> list[Program]:
        return [
            Program(f"{item['group']}:{item['name']}", item["statename"], item["description"], item["stdout_logfile"])
            for item in self.rpc.getAllProcessInfo()
        ]

    def reload(self) -> list[str]:
        """Restart the groups whose configuration changed, as `supervisorctl update` does."""
        added, changed, removed = self.rpc.reloadConfig()[0]
        for name in [*changed, *removed]:
            self.rpc.stopProcessGroup(name)
            self.rpc.removeProcessGroup(name)
        for name in [*changed, *added]:
            self.rpc.addProcessGroup(name)
        return sorted({*added, *changed, *removed})

    def revive(self) -> list[str]:
        """Start what was given up on or stopped by hand."""
        down = [program.name for program in self.programs() if program.state in {"FATAL", "EXITED", "STOPPED"}]
        for name in down:
            self.rpc.startProcess(name, False)
        return down
