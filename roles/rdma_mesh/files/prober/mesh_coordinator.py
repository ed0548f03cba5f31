# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the probers of all hosts together, leads them through the phases and writes the one result.

A host that does not join, falls silent or ends is counted down, and the others go on. Nothing is compared between the
clocks of two hosts.
"""

from __future__ import annotations

import hmac
import json
import time
import typing as t
from collections import Counter
from dataclasses import dataclass, field

import mesh_frames as frames
import mesh_matrix as matrix
import mesh_merge as merge
import mesh_schedule as schedule
import mesh_wire as wire
from mesh_agent import PROTOCOL
from mesh_world import World, make_plan, world

SCHEMA = 1
#: Raw errors that are kept; more say nothing new.
KEPT_ERRORS = 20000
#: Where more pairs fail, it is the fabric's shape: a second look with longer timers would take minutes.
RETRIED_SHARE = 0.25
#: Exponent of the timeout and retries of the second look: 7.5 s until a pair is given up.
AGAIN = (18, 6)

Json = dict[str, t.Any]


@dataclass
class Host:
    """A host by its completion index; ``gone`` tells why it takes no part."""

    index: int
    name: str
    facts: Json = field(default_factory=dict)
    line: wire.Line | None = None
    gone: str = "its prober did not join"
    report: Json | None = None

    @property
    def there(self) -> bool:
        return not self.gone


class Coordinator:
    def __init__(self, config: Json, write: t.Callable[[str], None]) -> None:
        self.config, self.write = config, write
        self.hub = wire.Hub(config.get("bind", "0.0.0.0"), int(config["port"]))
        self.hosts = [Host(index, f"index-{index}") for index in range(int(config["hosts"]))]
        self.problems: list[Json] = []
        self.seconds: dict[str, float] = {}
        self.told: dict[int, dict[str, Json]] = {}
        self.said: set[str] = set()
        self.listed: list[Json] = []

    def run(self) -> Json:
        """The result, written to the log before the last barrier is released."""
        started, begin = time.time(), time.monotonic()
        self._timed("join", self._join)
        refused = self._refusal()
        plan = schedule.Schedule((0,) * len(self.hosts), ())
        if not refused:
            plan = self._phases()
        result = self._result(plan, refused)
        result["started"], result["seconds"] = round(started, 3), self.seconds
        result["duration_s"] = round(time.monotonic() - begin, 3)
        for line in frames.write(self.config["run_id"], json.dumps(result, separators=(",", ":")), self.config["key"]):
            self.write(line)
        for host in self.hosts:
            if host.line is not None:
                self.hub.send(host.line, {"type": "bye"})
        self._flush()
        self.hub.close()
        return result

    def _timed(self, name: str, work: t.Callable[[], t.Any]) -> t.Any:
        start = time.monotonic()
        found = work()
        self.seconds[name] = round(time.monotonic() - start, 3)
        return found

    def _say(self, **facts: t.Any) -> None:
        self.write(frames.progress(self.config["run_id"], **facts))

    # --- joining ---

    def _join(self) -> None:
        end = time.monotonic() + float(self.config["join_seconds"])
        shown = -1
        while time.monotonic() < end and not all(host.line is not None for host in self.hosts):
            for line, message in self.hub.turn(min(0.5, end - time.monotonic())):
                if message is None:
                    self._lost(line, "join")
                elif message["type"] == "hello":
                    self._hello(line, message)
            joined = sum(host.there for host in self.hosts)
            if joined != shown:
                self._say(phase="join", joined=joined, hosts=len(self.hosts))
                shown = joined

    def _hello(self, line: wire.Line, message: Json) -> None:
        """Take a prober of this run in; a stranger is turned away and counted."""
        index, run_id = message.get("index"), self.config["run_id"]
        index = index if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < len(self.hosts) else -1
        expected = wire.proof(self.config["key"], run_id, index)
        if index < 0 or not hmac.compare_digest(str(message.get("proof")), expected):
            self.problems.append(
                {"kind": "stranger", "seen": f"a prober of another run or index: {str(message.get('index'))[:20]}"}
            )
            self.hub.drop(line)
            return
        host = self.hosts[index]
        if message.get("protocol") != PROTOCOL:
            host.gone = f"its prober speaks protocol {message.get('protocol')!r}, the coordinator {PROTOCOL}"
            self.hub.drop(line)
        elif host.line is not None:
            self.problems.append({"kind": "twice", "seen": f"two probers have index {index}: {host.name} and "
                                  f"{message.get('name')}"})  # fmt: skip
            self.hub.drop(line)
        else:
            host.name, host.facts, host.line, host.gone = str(message["name"]), message["facts"], line, ""

    def _lost(self, line: wire.Line, phase: str) -> None:
        for host in self.hosts:
            if host.line is line:
                host.line, host.gone = None, f"its prober ended in phase {phase}"

    def _refusal(self) -> str:
        """What makes a comparison meaningless."""
        joined = [host for host in self.hosts if host.there]
        twice = [name for name, count in Counter(host.name for host in joined).items() if count > 1]
        if twice:
            pods = [str(host.facts.get("pod") or f"index {host.index}") for host in joined if host.name == twice[0]]
            return f"several probers run on node {twice[0]}: {', '.join(pods)}"
        layers = sorted({nic["link_layer"] for host in joined for nic in host.facts["nics"] if nic.get("link_layer")})
        if len(layers) > 1:
            return f"the selected NICs have different link layers: {', '.join(layers)}"
        return ""

    # --- phases ---

    def _phases(self) -> schedule.Schedule:
        # Positions of NICs are fixed from here on, also those of hosts that end later.
        hosts = self.listed = [
            {"name": host.name, "nics": host.facts["nics"] if host.there else []} for host in self.hosts
        ]
        spec = self._spec()
        plan = make_plan([len(host["nics"]) for host in hosts], spec)
        self._say(phase="plan", rounds=len(plan.rounds), pairs=plan.size())
        if not plan.rounds:
            return plan
        self._timed("prepare", lambda: self._prepare(hosts, spec))
        failed: list[list[int]] = []
        self._timed("sweep", lambda: self._barrier("sweep", "swept", lambda _host, told: failed.extend(told["failed"])))
        doubtful = retried(failed, plan.size())
        if doubtful:
            self._timed("again", lambda: self._again(doubtful))
        if float((self.config.get(self.config["transport"]) or {}).get("rate_seconds") or 0) > 0:
            self._timed("measure", lambda: self._measure(plan))
        self._timed("report", lambda: self._barrier("report", "report", self._keep))
        for host in self.hosts:
            if host.there and host.report is None:
                host.gone = "its prober sent no report"
        return plan

    def _spec(self) -> Json:
        """The plan as asked for; nodes are named before it is known which index runs on which."""
        spec: Json = dict(self.config.get("plan") or {})
        if "names" in spec:
            spec["new"] = [host.index for host in self.hosts if host.name in spec["names"]]
        return spec

    def _prepare(self, hosts: list[Json], spec: Json) -> None:
        endpoints: dict[int, Json] = {}

        def keep(host: Host, message: Json) -> None:
            endpoints[host.index] = message["endpoints"]

        self._barrier("peers", "prepared", keep, lambda host: {"me": host.index, "hosts": hosts, "plan": spec})
        self._barrier("connect", "connected", None, lambda host: {"endpoints": self._column(host.index, endpoints)})

    def _again(self, failed: list[list[int]]) -> None:
        """The pairs that failed once more, with longer timers; a fabric without routes is not asked twice."""
        offsets, at = [], 0
        for host in self.listed:
            offsets.append(range(at, at + len(host["nics"])))
            at += len(host["nics"])
        endpoints: dict[int, Json] = {}

        def keep(host: Host, message: Json) -> None:
            endpoints[host.index] = message["endpoints"]

        def told(host: Host) -> Json:
            mine = [pair for pair in failed if pair[0] in offsets[host.index] or pair[1] in offsets[host.index]]
            return {"pairs": mine, "timers": (self.config.get("rdma") or {}).get("again") or AGAIN}

        self._barrier("again", "prepared", keep, told)
        self._barrier("connect", "connected", None, lambda host: {"endpoints": self._column(host.index, endpoints)})
        self._barrier("retry", "swept")

    @staticmethod
    def _column(index: int, endpoints: t.Mapping[int, Json]) -> Json:
        """What one host has to know of the others: its own column of the map, not the whole."""
        return {
            str(other): {**{name: value for name, value in told.items() if name != "to"},
                         "to": (told.get("to") or {}).get(str(index))}
            for other, told in endpoints.items() if other != index
        }  # fmt: skip

    def _measure(self, plan: schedule.Schedule) -> None:
        """Round by round with all hosts in step, so that a NIC sends to one and receives from one at a time."""
        for number in range(len(plan.rounds)):
            told: Json = {"round": number}
            self._barrier("measure", "measured", None, lambda _host, told=told: told)  # type: ignore[misc]
            if number % 16 == 0:
                self._say(phase="measure", round=number + 1, rounds=len(plan.rounds))

    def _keep(self, host: Host, message: Json) -> None:
        host.report = {**message, "host": host.index}

    def _barrier(
        self,
        order: str,
        answer: str,
        keep: t.Callable[[Host, Json], None] | None = None,
        told: t.Callable[[Host], Json] | None = None,
    ) -> None:
        """Give an order to all hosts and wait for all answers; who does not answer in time is counted down."""
        waiting = {host.index for host in self.hosts if host.there}
        for host in self.hosts:
            if host.there and host.line is not None:
                self.hub.send(host.line, {"type": order, **(told(host) if told else {})})
        end = time.monotonic() + float(self.config["phase_seconds"])
        while waiting and time.monotonic() < end:
            for line, message in self.hub.turn(min(0.5, end - time.monotonic())):
                found = self._answered(line, message, order, answer)
                if found is not None and found.index in waiting:
                    waiting.discard(found.index)
                    if keep and message is not None:
                        keep(found, message)
        for host in self.hosts:
            if host.index in waiting and host.line is not None:
                self.hub.drop(host.line)
                host.line, host.gone = None, f"no answer to {order} within {self.config['phase_seconds']} s"

    def _answered(self, line: wire.Line, message: Json | None, order: str, answer: str) -> Host | None:
        """The host that need not be waited for any longer: it has answered, or it is gone."""
        host = next((host for host in self.hosts if host.line is line), None)
        if message is None:
            self._lost(line, order)
            return host
        if message["type"] == "hello":
            self.problems.append({"kind": "late", "seen": f"index {message.get('index')} joined too late"})
            self.hub.drop(line)
        elif host is not None and message["type"] == "progress":
            self._progress(host, message)
        return host if message["type"] == answer else None

    def _progress(self, host: Host, message: Json) -> None:
        """Say a step once all hosts have told it."""
        step = str(message.get("step"))
        told = self.told.setdefault(host.index, {})
        told[step] = message
        present = [entry.index for entry in self.hosts if entry.there]
        if step in self.said or not all(step in self.told.get(index, {}) for index in present):
            return
        self.said.add(step)
        found = [self.told[index][step] for index in present]
        facts: Json = {"rounds": message.get("rounds")}
        for name in ("pairs", "failures"):
            if name in message:
                facts[name] = sum(int(entry[name]) for entry in found)
        for name in ("same", "cross"):
            if name in message:
                facts[name] = [sum(int(entry[name][part]) for entry in found) for part in (0, 1)]
        self._say(phase="sweep", step=step, **facts)

    def _flush(self) -> None:
        end = time.monotonic() + 5
        while time.monotonic() < end and any(
            host.line is not None and not host.line.closed and host.line.pending for host in self.hosts
        ):
            self.hub.turn(0.05)

    # --- the result ---

    def _result(self, plan: schedule.Schedule, refused: str) -> Json:
        known = self.listed or [{"name": host.name, "nics": host.facts.get("nics", [])} for host in self.hosts]
        everyone: World = world(self.config["run_id"], self.config["key"], 0, known, {})
        reports = [host.report for host in self.hosts if host.there and host.report is not None]
        merged = merge.Merged({})
        problem = refused
        try:
            if plan.rounds:
                merged = merge.merge(self.config["transport"], everyone.table, reports, plan)
        except merge.ReportError as error:
            problem = f"a report cannot be read: {error}"
        names = _unique([host.name for host in self.hosts])
        reach = matrix.build(names, everyone.table, merged.planes)
        return {
            "schema": SCHEMA,
            "run_id": self.config["run_id"],
            "transport": self.config["transport"],
            "hosts": [self._host(host, names[at], known[at]["nics"]) for at, host in enumerate(self.hosts)],
            "matrix": matrix.as_dict(reach),
            "errors": merged.errors[:KEPT_ERRORS],
            "rates": [rate for found in reports for rate in found.get("rates") or ()],
            "latencies": [value for found in reports for value in found.get("latencies") or ()],
            "flaps": [pair for found in reports for pair in found.get("flaps") or ()],
            "ud": [found.get("ud") for found in reports if found.get("ud")],
            "problems": self.problems[:100],
            "refused": problem,
            "plan": {**(self.config.get("plan") or {"mode": "full"}), "rounds": len(plan.rounds)},
        }

    @staticmethod
    def _host(host: Host, name: str, listed: t.Sequence[Json]) -> Json:
        moved = (host.report or {}).get("counters") or []
        nics = [
            {**nic, "counters": moved[position] if position < len(moved) else {}} for position, nic in enumerate(listed)
        ]
        facts = {key: value for key, value in host.facts.items() if key != "nics"}
        registered = (host.report or {}).get("gpu_memory") or {}
        refused = {nic: why for nic, why in registered.items() if why}
        if refused:
            seen = (
                f"{len(refused)} of {len(registered)} NICs cannot register a GPU's memory: {sorted(refused.items())[0]}"
            )
            facts["problems"] = [*facts.get("problems", []), {"code": "RDMA_NO_GPUDIRECT", "seen": seen}]
        return {**facts, "index": host.index, "name": name, "gone": host.gone, "nics": nics}


def retried(failed: list[list[int]], pairs: int) -> list[list[int]]:
    """The pairs that are worth a second look: all of a few, of many those whose datagrams were answered."""
    if len(failed) <= RETRIED_SHARE * pairs:
        return failed
    doubtful = [pair for pair in failed if pair[2]]
    return doubtful if len(doubtful) <= RETRIED_SHARE * pairs else []


def _unique(found: t.Sequence[str]) -> list[str]:
    """Names that occur twice get their index."""
    counts = Counter(found)
    return [f"{name}#{index}" if counts[name] > 1 else name for index, name in enumerate(found)]
