# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The coordinator over loopback, with probers that behave as a test tells them."""

from __future__ import annotations

import json
import socket
import threading
import typing as t
from types import ModuleType

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_frames as frames
from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_result as results

RUN, KEY = "run", "key"
Import = t.Callable[[str], ModuleType]
Json = dict[str, t.Any]
NIC = {"name": "nic0", "link_layer": "Ethernet", "state": "ACTIVE"}


class Prober(threading.Thread):
    """Speaks the protocol line by line; ``dies`` at an order, ``says`` something else instead."""

    def __init__(self, wire: ModuleType, port: int, index: int, **behavior: t.Any) -> None:
        super().__init__(daemon=True)
        self.wire, self.port, self.index, self.behavior = wire, port, index, behavior
        self.bye = False

    def run(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            hello = {"type": "hello", "protocol": 1, "run_id": RUN, "index": self.index,
                     "proof": self.wire.proof(KEY, RUN, self.index), "name": f"node-{self.index}",
                     "facts": {"nics": [NIC]}}  # fmt: skip
            sock.sendall((json.dumps({**hello, **self.behavior.get("hello", {})}) + "\n").encode())
            for line in sock.makefile():
                order = json.loads(line)["type"]
                if order == "bye":
                    self.bye = True
                    return
                if order == self.behavior.get("dies"):
                    return
                if order == self.behavior.get("silent"):
                    continue
                sock.sendall(self.answer(order))

    def answer(self, order: str) -> bytes:
        if order == self.behavior.get("raw", [None])[0]:
            return bytes(self.behavior["raw"][1])
        kind = {"peers": "prepared", "connect": "connected", "sweep": "swept"}.get(order, order)
        extra: Json = {"endpoints": {}, "failed": []}
        if order == "report":
            extra = {"small": {}, "full": {}, "counters": [{"x": 1}], **self.behavior.get("report", {})}
        return (json.dumps({"type": kind, **extra}) + "\n").encode()


def run(prober: Import, probers: list[tuple[int, Json]], hosts: int, **config: t.Any) -> tuple[Json, list[Prober]]:
    wire = prober("mesh_wire")
    told = {"run_id": RUN, "key": KEY, "hosts": hosts, "transport": "udp", "bind": "127.0.0.1", "port": 0,
            "join_seconds": 1.5, "phase_seconds": 0.7, **config}  # fmt: skip
    lines: list[str] = []
    coordinator = prober("mesh_coordinator").Coordinator(told, lines.append)
    threads = [Prober(wire, coordinator.hub.port, index, **behavior) for index, behavior in probers]
    for thread in threads:
        thread.start()
    coordinator.run()
    for thread in threads:
        thread.join(timeout=5)
    return t.cast("Json", json.loads(frames.read("\n".join(lines), RUN, KEY))), threads


def gone(result: Json) -> list[str]:
    return [host["gone"] for host in result["hosts"]]


def test_all_take_part(prober: Import) -> None:
    result, threads = run(prober, [(0, {}), (1, {}), (2, {})], 3)
    assert gone(result) == ["", "", ""]
    assert all(thread.bye for thread in threads), "the last barrier is released"
    assert result["hosts"][0]["nics"][0]["counters"] == {"x": 1}
    assert results.analyze(results.read(json.dumps(result))).shape.verdict == "NO_CONNECTIVITY"


@pytest.mark.parametrize(
    ("behavior", "reason"),
    [
        ({"dies": "peers"}, "its prober ended in phase peers"),
        ({"dies": "sweep"}, "its prober ended in phase sweep"),
        ({"dies": "report"}, "its prober ended in phase report"),
        ({"silent": "sweep"}, "no answer to sweep within 0.7 s"),
        ({"raw": ("sweep", b"no json\n")}, "its prober ended in phase sweep"),
        ({"hello": {"protocol": 9}}, "its prober speaks protocol 9, the coordinator 1"),
        ({"hello": {"proof": "guess"}}, "its prober did not join"),
        ({"hello": {"run_id": "other", "proof": "0"}}, "its prober did not join"),
    ],
)
def test_one_is_counted_down_and_the_others_go_on(prober: Import, behavior: Json, reason: str) -> None:
    result, _threads = run(prober, [(0, {}), (1, {}), (2, behavior)], 3)
    assert gone(result) == ["", "", reason]
    case = results.read(json.dumps(result)).case
    assert case.joined == {0, 1}
    assert sum(bin(row).count("1") for row in case.tested) == 2, "its pairs are not measured, the others' are"


def test_a_host_that_never_comes(prober: Import) -> None:
    result, _threads = run(prober, [(0, {}), (1, {})], 3)
    assert gone(result) == ["", "", "its prober did not join"]
    assert result["hosts"][2]["name"] == "index-2"


def test_strangers_and_doubles_are_turned_away(prober: Import) -> None:
    strangers: list[tuple[int, Json]] = [(0, {"hello": {"index": 7}}), (1, {"hello": {"index": "x"}})]
    result, _threads = run(prober, [*strangers, (0, {}), (0, {}), (1, {})], 3)
    assert {problem["kind"] for problem in result["problems"]} == {"stranger", "twice"}
    assert gone(result)[:2] == ["", ""]


@pytest.mark.parametrize(
    ("hello", "words"),
    [
        ({"name": "node-0"}, "several probers run on node node-0"),
        ({"facts": {"nics": [{**NIC, "link_layer": "InfiniBand"}]}}, "different link layers: Ethernet, InfiniBand"),
    ],
)
def test_what_cannot_be_compared_is_refused(prober: Import, hello: Json, words: str) -> None:
    result, _threads = run(prober, [(0, {}), (1, {"hello": hello})], 2)
    assert words in result["refused"]
    assert results.analyze(results.read(json.dumps(result))).shape.verdict == "NOT_MEASURED"


def test_a_report_that_cannot_be_read_refuses_the_result(prober: Import) -> None:
    result, _threads = run(prober, [(0, {}), (1, {"report": {"small": {"OK": "%"}}})], 2)
    assert "a report cannot be read" in result["refused"]


@pytest.mark.parametrize(
    ("failed", "pairs", "expected"),
    [
        ([[0, 1, 0]], 8, [[0, 1, 0]]),
        ([[0, 1, 0], [1, 0, 1], [2, 0, 0]], 8, [[1, 0, 1]]),
        ([[0, 1, 1], [1, 0, 1], [2, 0, 1]], 8, []),
        ([], 8, []),
    ],
)
def test_a_second_look(prober: Import, failed: list[list[int]], pairs: int, expected: list[list[int]]) -> None:
    assert prober("mesh_coordinator").retried(failed, pairs) == expected
