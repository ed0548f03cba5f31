# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets a process beside a server and who a pod; and the program that is sent, run as the container would."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_frames as frames
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _mesh_job as jobs
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _mesh_run as runs
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _mesh_situ as situ

Json = dict[str, t.Any]
SETTINGS = jobs.Settings("n", "r", "0123456789abcdef", "key", "image", 3, "rdma", ("mlx5_*",))


def server(name: str, node: str | None, address: str | None = "10.0.0.1", *containers: str) -> Json:
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": [{"name": one} for one in containers or ("vllm",)]},
        "status": {"podIP": address},
    }


def test_one_server_per_node_that_can_be_reached() -> None:
    pods = [server("p2", "b"), server("p1", "b", "10.0.0.2"), server("p0", "a"), server("p3", "c", None),
            server("p4", None)]  # fmt: skip
    found = situ.places(pods, SETTINGS)
    assert [(place.node, place.pod, place.address) for place in found] == [
        ("a", "p0", "10.0.0.1"),
        ("b", "p1", "10.0.0.2"),
    ]
    assert [place.node for place in situ.places(pods, dataclasses.replace(SETTINGS, nodes=("b", "x")))] == ["b"]


def test_the_server_s_own_container() -> None:
    limits = {"limits": {"nvidia.com/gpu": "8"}}
    template = {"spec": {"containers": [{"name": "proxy"}, {"name": "vllm", "resources": limits}]}}
    settings = dataclasses.replace(SETTINGS, template=template)
    assert situ.places([server("p", "a", "1", "proxy", "vllm")], settings)[0].container == "vllm"
    assert situ.places([server("p", "a", "1", "other")], settings)[0].container == "other"


PLACES = [situ.Place("a", "pa", "vllm", "10.0.0.1"), situ.Place("b", "pb", "vllm", "10.0.0.2")]


@pytest.mark.parametrize(
    ("changes", "free", "total", "job"),
    [
        ({"hosts": 2}, ["c"], 2, None),
        ({"hosts": 3}, ["c", "d"], 3, ("c",)),
        ({"hosts": 3}, [], 2, None),
        ({"nodes": ("a", "b", "d")}, ["c", "d"], 3, ("d",)),
        ({"nodes": ("a", "b")}, ["c"], 2, None),
    ],
)
def test_who_runs_where(changes: Json, free: list[str], total: int, job: tuple[str, ...] | None) -> None:
    settings = dataclasses.replace(SETTINGS, options={"rate_seconds": 1, "sl": 3}, **changes)
    parts = situ.divide(settings, PLACES, free)
    told = jobs.config(parts.beside)
    assert (told["hosts"], told["coordinator"]) == (total, "10.0.0.1")
    assert told["rdma"] == {"rate_seconds": 0, "sl": 3, "gpu": False}, "requests must not feel it"
    if job is None:
        assert parts.job is None
        return
    assert parts.job is not None
    made = jobs.job(parts.job)["spec"]
    other = jobs.config(parts.job)
    assert (parts.job.nodes, made["completions"]) == (job, len(job))
    assert (other["hosts"], other["first_index"], other["coordinator"]) == (total, 2, "10.0.0.1")


def test_the_sent_program_runs_and_leaves_nothing() -> None:
    program = "import json, os, sys; print(os.environ['NODE_NAME'], json.load(open(sys.argv[1]))['hosts'], sys.argv[0])"
    text = situ.message(SETTINGS, {"mesh_prober.py": program}, PLACES[1], 1)
    done = subprocess.run([sys.executable, "-c", situ.BOOT], input=text, capture_output=True, text=True, check=True,
                          timeout=30)  # fmt: skip
    node, hosts, path = done.stdout.split()
    assert (node, hosts) == ("b", "3")
    assert not subprocess.run(["ls", path], capture_output=True, check=False).stdout


class Socket:
    """A stream that says its lines one by one and ends."""

    def __init__(self, *lines: str, error: str = "") -> None:
        self.lines, self.error, self.closed = list(lines), error, False

    def update(self, timeout: float) -> None:
        assert timeout == 0

    def read_stdout(self, timeout: float) -> str:
        return self.lines.pop(0) if self.lines else ""

    def read_stderr(self, timeout: float) -> str:
        return self.error

    def is_open(self) -> bool:
        return bool(self.lines)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, Socket]:
    sockets: dict[str, Socket] = {}
    monkeypatch.setattr(runs, "POLL_SECONDS", 0)
    monkeypatch.setattr(runs, "clear", lambda *_args: [])
    monkeypatch.setattr(situ, "start", lambda _client, _namespace, place, _text: sockets[place.pod])
    return sockets


def test_the_result_comes_from_the_first(started: dict[str, Socket]) -> None:
    said = [frames.progress(SETTINGS.run_id, phase="join", joined=2, hosts=2) + "\n",
            "\n".join(frames.write(SETTINGS.run_id, "{}", "key")) + "\n"]  # fmt: skip
    started.update(pa=Socket(*said), pb=Socket("noise"))
    shown: list[str] = []
    parts = situ.divide(dataclasses.replace(SETTINGS, hosts=2), PLACES, [])
    text, absent = situ.probe(t.cast(Client, None), parts, {}, shown.append)
    assert (text, absent) == ("{}", {0: ("a", ""), 1: ("b", "")})
    assert shown == ["RDMA mesh: 2 of 2 probers joined"]
    assert all(socket.closed for socket in started.values())


def test_a_coordinator_that_ends_early_is_told_with_its_words(started: dict[str, Socket]) -> None:
    started.update(pa=Socket("nothing\n", error="Address already in use"), pb=Socket())
    parts = situ.divide(dataclasses.replace(SETTINGS, hosts=2), PLACES, [])
    with pytest.raises(runs.RunError, match=r"ended early: .*Address already in use"):
        situ.probe(t.cast(Client, None), parts, {}, lambda _line: None)
    assert all(socket.closed for socket in started.values())
