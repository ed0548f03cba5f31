# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The prober of one host: does what the coordinator says, and answers other hosts until it says goodbye."""

from __future__ import annotations

import importlib
import os
import selectors
import time
import typing as t

import mesh_inventory as inventory
import mesh_wire as wire
from mesh_world import World, world

#: Hosts whose probers differ are not compared.
PROTOCOL = 1
#: Loaded when they are asked for: verbs need a library that not every host has.
TRANSPORTS = {"udp": ("mesh_udp", "Udp"), "rdma": ("mesh_rdma", "Rdma")}

Json = dict[str, t.Any]


class Agent:
    def __init__(self, config: Json, index: int) -> None:
        self.config, self.index = config, index
        self.transport: t.Any = None
        self.world: World | None = None
        self.before: list[dict[str, int]] = []

    def run(self) -> None:
        """Take part until the coordinator says goodbye or is gone; what went wrong travels as data, not as a status."""
        config = self.config
        options = config.get(config["transport"]) or {}
        facts = inventory.take(config["transport"], config["nics"], gid_index=options.get("gid_index"),
                               family=options.get("family", "ipv4"))  # fmt: skip
        self.before = [inventory.counters(nic) for nic in facts["nics"]]
        line = wire.connect(config["coordinator"], int(config["port"]), float(config["join_seconds"]))
        name = os.environ.get("NODE_NAME") or os.uname().nodename
        line.send({"type": "hello", "protocol": PROTOCOL, "run_id": config["run_id"], "index": self.index,
                   "proof": wire.proof(config["key"], config["run_id"], self.index), "name": name,
                   "facts": facts})  # fmt: skip
        try:
            self._serve(line)
        finally:
            if self.transport is not None:
                self.transport.close()
            line.close()

    def _serve(self, line: wire.Line) -> None:
        end = time.monotonic() + float(self.config["deadline_seconds"])
        while time.monotonic() < end:
            for message in self._wait(line, 0.2):
                if message["type"] == "bye":
                    return
                answer = self._do(message, line)
                if answer is not None:
                    line.send(answer)
            if line.closed:
                return

    def _wait(self, line: wire.Line, seconds: float) -> list[Json]:
        """Messages of the coordinator; meanwhile other hosts are answered."""
        with selectors.DefaultSelector() as selector:
            selector.register(line.sock, selectors.EVENT_READ | (selectors.EVENT_WRITE if line.pending else 0))
            for fileno in self.transport.filenos() if self.transport else ():
                selector.register(fileno, selectors.EVENT_READ)
            # Queue pairs have no file that wakes: their datagrams are polled for.
            silent = self.transport is not None and not self.transport.filenos()
            selector.select(0.005 if silent else seconds)
        if self.transport is not None:
            self.transport.turn(0)
        line.flush()
        return [] if line.closed else line.receive()

    def _do(self, message: Json, line: wire.Line) -> Json | None:
        """Carry out an order; None where it is not known."""
        known: dict[str, t.Callable[[Json, wire.Line], Json]] = {
            "peers": lambda told, _line: {"type": "prepared", "endpoints": self._prepare(told)},
            "connect": self._connect,
            "sweep": self._sweep,
            "again": lambda told, _line: {
                "type": "prepared",
                "endpoints": self.transport.again(told["pairs"], told["timers"]),
            },
            "retry": self._retry,
            "measure": self._measure,
            "report": lambda _told, _line: {**self.transport.report(), "counters": self._moved()},
        }
        order = known.get(message["type"])
        return order(message, line) if order else None

    def _connect(self, told: Json, _line: wire.Line) -> Json:
        self.transport.connect(told["endpoints"])
        return {"type": "connected"}

    def _sweep(self, _told: Json, line: wire.Line) -> Json:
        self.transport.sweep(lambda step: line.send({"type": "progress", **step}))
        return {"type": "swept", "failed": getattr(self.transport, "failures", list)()}

    def _retry(self, _told: Json, line: wire.Line) -> Json:
        self.transport.retry(lambda step: line.send({"type": "progress", **step}))
        return {"type": "swept", "failed": []}

    def _measure(self, told: Json, _line: wire.Line) -> Json:
        self.transport.measure(int(told["round"]))
        return {"type": "measured"}

    def _prepare(self, message: Json) -> Json:
        config = self.config
        module, name = TRANSPORTS[config["transport"]]
        self.world = world(config["run_id"], config["key"], message["me"], message["hosts"], message["plan"])
        self.transport = getattr(importlib.import_module(module), name)(
            self.world, config.get(config["transport"]) or {}
        )
        return t.cast("Json", self.transport.prepare())

    def _moved(self) -> list[dict[str, int]]:
        """Per NIC the counters that moved during the run."""
        assert self.world is not None
        after = [inventory.counters(self.world.nics[position]) for position in self.world.mine]
        return [
            {name: value - before.get(name, value) for name, value in now.items() if value != before.get(name, value)}
            for before, now in zip(self.before, after)  # noqa: B905 - strict is of Python 3.10
        ]
