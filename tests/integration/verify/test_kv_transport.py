# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reader and the judge of the KV transport on real interfaces: bytes over the pod network, bytes over a rail.

Two network namespaces stand for a prefill and a decode pod. Namespaces have no HCA, so that a tree of counter files
takes its values from the rail's real counters; the reader finds it under the folder that it is given.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._kv_transport import (
    RDMA,
    READER,
    TCP,
    UNKNOWN,
    WORD,
    Reading,
    Transport,
    judge,
    parse,
)

BYTES_PER_TOKEN = 70272
TOKENS = 500
EXPECTED = TOKENS * BYTES_PER_TOKEN
#: What metrics cost on the pod network the whole time: two thirds of the expected bytes a second.
BACKGROUND = 24_000_000
NETWORKS = {"eth0": "10.231.0", "rail0": "10.231.1"}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

SENDER = """
import socket, sys, time
address, total, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data, sent, start = bytes(65536), 0, time.monotonic()
with socket.create_connection((address, 5000)) as peer:
    while sent < total:
        peer.sendall(data[: min(len(data), total - sent)])
        sent += min(len(data), total - sent)
        if rate:
            time.sleep(max(0.0, start + sent / rate - time.monotonic()))
"""
SINK = """
import socket, threading
def drain(peer):
    while peer.recv(1 << 20):
        pass
with socket.create_server(("", 5000), backlog=16) as server:
    print("listening", flush=True)
    while True:
        threading.Thread(target=drain, args=(server.accept()[0],), daemon=True).start()
"""


def run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


class Pods:
    """A prefill and a decode pod with a pod network and one rail between them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names = {role: f"kv-{role}-{os.getpid()}" for role in ("prefill", "decode")}
        self.offset = 2**33
        self.has_hca = True
        self.processes: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        for name in self.names.values():
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        for interface, network in NETWORKS.items():
            prefill, decode = self.names["prefill"], self.names["decode"]
            peer = ("type", "veth", "peer", "name", interface, "netns", decode)
            run("ip", "link", "add", interface, "netns", prefill, *peer)
            for host, name in enumerate(self.names.values(), start=1):
                run("ip", "-n", name, "address", "add", f"{network}.{host}/24", "dev", interface)
                run("ip", "-n", name, "link", "set", interface, "up")
        run("ip", "-n", self.names["prefill"], "route", "add", "default", "via", "10.231.0.2")
        sink = self.python("decode", SINK)
        assert sink.stdout
        assert sink.stdout.readline().strip() == "listening"

    def python(self, role: str, program: str, *arguments: str) -> subprocess.Popen[str]:
        command = ["ip", "netns", "exec", self.names[role], sys.executable, "-c", program, *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def send(self, interface: str, total: int, rate: int = 0) -> subprocess.Popen[str]:
        return self.python("prefill", SENDER, f"{NETWORKS[interface]}.2", str(total), str(rate))

    def read(self) -> Reading:
        if self.has_hca:
            self.write_counters()
        inside = ("ip", "netns", "exec", self.names["prefill"])
        return parse(run(*inside, "sh", "-c", READER, "sh", str(self.root)))

    def write_counters(self) -> None:
        """The HCA's counter in its words of four bytes, from what the rail has really sent."""
        sent = run("ip", "netns", "exec", self.names["prefill"], "cat", "/sys/class/net/rail0/statistics/tx_bytes")
        folder = self.root / "sys/class/infiniband/mlx5_0/ports/1/counters"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "port_xmit_data").write_text(f"{self.offset + int(sent) // WORD}\n", encoding="utf-8")

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        for name in self.names.values():
            subprocess.run(["ip", "netns", "delete", name], check=False)


@pytest.fixture
def pods(tmp_path: Path) -> t.Iterator[Pods]:
    made = Pods(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def transport(pods: Pods, interface: str, total: int = EXPECTED, background: int = 0) -> Transport:
    """What is found while so many bytes leave the prefill pod over that interface."""
    if background:
        pods.send("eth0", 60 * background, background)
        time.sleep(0.3)
    idle = pods.read()
    time.sleep(1)
    before = pods.read()
    sender = pods.send(interface, total)
    assert sender.wait(timeout=60) == 0
    return judge("prefill-0", EXPECTED, idle, before, pods.read())


def test_over_the_pod_network_then_over_the_rail(pods: Pods) -> None:
    over_network = transport(pods, "eth0")
    assert over_network.verdict == TCP, over_network
    assert over_network.pod_network is not None
    assert EXPECTED <= over_network.pod_network < 1.2 * EXPECTED
    over_rail = transport(pods, "rail0")
    assert over_rail.verdict == RDMA, over_rail
    assert over_rail.hcas is not None
    assert EXPECTED <= over_rail.hcas < 1.2 * EXPECTED
    assert over_rail.pod_network is not None
    assert over_rail.pod_network < 0.1 * EXPECTED


def test_what_the_pod_network_carries_anyway_is_not_kv_cache(pods: Pods) -> None:
    found = transport(pods, "rail0", background=BACKGROUND)
    assert found.verdict == RDMA, found


@pytest.mark.parametrize(("share", "verdict"), [(0.6, TCP), (0.3, UNKNOWN), (0.0, UNKNOWN)])
def test_less_than_expected_is_never_rdma(pods: Pods, share: float, verdict: str) -> None:
    assert transport(pods, "eth0", int(share * EXPECTED)).verdict == verdict


@pytest.mark.parametrize(("interface", "verdict"), [("eth0", TCP), ("rail0", UNKNOWN)])
def test_without_an_hca_to_read(pods: Pods, interface: str, verdict: str) -> None:
    pods.has_hca = False
    found = transport(pods, interface)
    assert found.verdict == verdict, found
    assert found.hcas is None


def test_tcp_over_the_rails_interface_is_no_rdma(pods: Pods) -> None:
    """An HCA counts RDMA alone: what the kernel sends over its port leaves its counter as it is."""
    pods.write_counters()
    pods.write_counters = lambda: None  # type: ignore[method-assign]
    found = transport(pods, "rail0")
    assert found.verdict == TCP, found
    assert "not as RDMA" in found.reason


def test_nothing_is_read_where_there_is_no_route(pods: Pods) -> None:
    run("ip", "-n", pods.names["prefill"], "route", "delete", "default")
    with pytest.raises(ValueError, match="default route"):
        pods.read()
