# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import subprocess
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils._kv_transport import (
    RDMA,
    READER,
    TCP,
    UNKNOWN,
    Reading,
    ReadingError,
    judge,
    parse,
)

#: What the reader prints in a pod with a pod network, a rail and two HCA ports, one of which says nothing.
TEXT = """\
== /proc/uptime
1234.50 9876.00
== /proc/net/route
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth2\t00000000\t0100000A\t0003\t0\t0\t200\t00000000\t0\t0\t0
eth0\t00000000\t0100F40A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
== /proc/net/ipv6_route
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
== /proc/net/dev
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     500       5    0    0    0     0          0         0      500       5    0    0    0     0       0          0
  eth0: 1000       10    0    0    0     0          0         0     2000      20    0    0    0     0       0          0
eth2:7 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0
== /sys/class/infiniband/mlx5_0/ports/1/counters/port_xmit_data
2500
== /sys/class/infiniband/mlx5_1/ports/1/counters/port_xmit_data
cat: /sys/class/infiniband/mlx5_1/ports/1/counters/port_xmit_data: Invalid argument
"""  # noqa: E501
IDLE = parse(TEXT)
EXPECTED = 1_000_000


def test_a_reading() -> None:
    sent = {"lo": 500, "eth0": 2000, "eth2": 9}
    assert Reading(1234.5, "eth0", sent, {"mlx5_0/1": 10000}) == IDLE


def test_a_pod_with_ipv6_alone() -> None:
    route = f"{'0' * 32} 00 {'0' * 32} 00 {'f' * 32} 00000400 00000001 00000000 00000003     eth2"
    text = "\n".join(line for line in TEXT.splitlines() if not line.startswith("eth0\t00000000\t01"))
    text = text.replace("eth2\t00000000", "eth2\t01000000").replace("== /proc/net/dev", f"{route}\n== /proc/net/dev")
    assert parse(text).pod_network == "eth2"


@pytest.mark.parametrize("text", ["", "sh: not found", TEXT.replace("\t00000000\t01", "\t00000001\t01"), TEXT[30:]])
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(ReadingError):
        parse(text)


def test_the_reader_prints_what_is_parsed(tmp_path: Path) -> None:
    folder = tmp_path / "sys/class/infiniband/mlx5_3/ports/1/counters"
    folder.mkdir(parents=True)
    (folder / "port_xmit_data").write_text("25\n")
    done = subprocess.run(["sh", "-c", READER, "sh", str(tmp_path)], capture_output=True, text=True, check=True)
    assert f"== {folder}/port_xmit_data\n25\n" in done.stdout
    assert "== /proc/net/dev" in done.stdout


def after(
    reading: Reading, seconds: float = 1, network: int = 0, rail: int = 0, hca: int | None = 0, **changes: t.Any
) -> Reading:
    sent = {
        **reading.interfaces,
        "eth0": reading.interfaces["eth0"] + network,
        "eth2": reading.interfaces["eth2"] + rail,
    }
    hcas = {} if hca is None else {name: count + hca for name, count in reading.hcas.items()}
    later = dataclasses.replace(reading, seconds=reading.seconds + seconds, interfaces=sent, hcas=hcas)
    return dataclasses.replace(later, **changes)


#: share of the expected bytes on the pod network, on another interface, over HCAs (None: not to be read)
VERDICTS: dict[str, tuple[float, float, float | None, str]] = {
    "all over TCP": (1.05, 0.0, 0.0, TCP),
    "half over TCP": (0.5, 0.0, 0.5, TCP),
    "TCP beside busy HCAs": (0.6, 0.0, 9.0, TCP),
    "TCP with no HCA to read": (0.5, 0.0, None, TCP),
    "TCP over a rail": (0.0, 1.02, 0.05, TCP),
    "RDMA": (0.01, 0.0, 1.0, RDMA),
    "RDMA beside expert traffic": (0.09, 0.0, 50.0, RDMA),
    "soft RoCE counts twice": (0.0, 1.02, 1.0, RDMA),
    "too much on the pod network": (0.1, 0.0, 1.0, UNKNOWN),
    "nearly half on the pod network": (0.49, 0.0, 1.0, UNKNOWN),
    "HCAs a little short": (0.0, 0.0, 0.89, UNKNOWN),
    "nothing anywhere": (0.0, 0.0, 0.0, UNKNOWN),
    "no HCA to read": (0.0, 0.0, None, UNKNOWN),
}


@pytest.mark.parametrize(("network", "rail", "hca", "verdict"), VERDICTS.values(), ids=VERDICTS)
def test_verdicts(network: float, rail: float, hca: float | None, verdict: str) -> None:
    idle = IDLE if hca is not None else dataclasses.replace(IDLE, hcas={})
    before = after(idle)
    sent = [round(share * EXPECTED) for share in (network, rail, hca or 0.0)]
    found = judge("p-0", EXPECTED, idle, before, after(before, 5, *sent))
    assert (found.pod, found.verdict) == ("p-0", verdict), found
    assert (found.hcas is None) == (hca is None)
    assert found.reason


def test_what_is_sent_anyway_is_not_counted() -> None:
    """Metrics of many ranks cost more than a tenth of the expected bytes while the prompts run."""
    before = after(IDLE, seconds=2, network=2 * EXPECTED)
    found = judge("p-0", EXPECTED, IDLE, before, after(before, 3, 3 * EXPECTED, 0, EXPECTED))
    assert (found.verdict, found.pod_network) == (RDMA, 0)


BEFORE = after(IDLE)
AFTER = after(BEFORE, 5, 0, 0, 2 * EXPECTED)
UNUSABLE: dict[str, tuple[int, Reading, Reading, Reading]] = {
    "nothing was prefilled": (0, IDLE, BEFORE, AFTER),
    "an HCA went away": (EXPECTED, IDLE, BEFORE, dataclasses.replace(AFTER, hcas={})),
    "another default route": (EXPECTED, IDLE, BEFORE, dataclasses.replace(AFTER, pod_network="eth2")),
    "the pod is another one": (EXPECTED, IDLE, BEFORE, dataclasses.replace(AFTER, seconds=3.0)),
    "a counter began anew": (EXPECTED, IDLE, BEFORE, dataclasses.replace(AFTER, hcas={"mlx5_0/1": 5})),
    "an interface began anew": (
        EXPECTED,
        IDLE,
        BEFORE,
        dataclasses.replace(AFTER, interfaces={**IDLE.interfaces, "eth0": 1}),
    ),
    "no time in between": (EXPECTED, IDLE, IDLE, AFTER),
}


@pytest.mark.parametrize("case", UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_judged_is_unknown(case: tuple[int, Reading, Reading, Reading]) -> None:
    expected, *readings = case
    found = judge("p-0", expected, *readings)
    assert (found.verdict, found.pod_network, found.hcas) == (UNKNOWN, None, None)
    assert found.reason


@given(st.integers(0, 3 * EXPECTED), st.integers(0, 3 * EXPECTED), st.none() | st.integers(0, 3 * EXPECTED))
def test_never_a_pass_without_evidence(network: int, rail: int, hca: int | None) -> None:
    idle = IDLE if hca is not None else dataclasses.replace(IDLE, hcas={})
    before = after(idle)
    found = judge("p-0", EXPECTED, idle, before, after(before, 5, network, rail, hca or 0))
    if found.verdict == RDMA:
        assert hca is not None
        assert hca >= 0.9 * EXPECTED
        assert network < 0.1 * EXPECTED
    if network >= 0.5 * EXPECTED:
        assert found.verdict == TCP
