# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has, from trees of files as sysfs has them."""

from __future__ import annotations

import typing as t
from pathlib import Path
from types import ModuleType

import pytest

ZERO = "0000:0000:0000:0000:0000:0000:0000:0000"
LOCAL = "fe80:0000:0000:0000:5054:00ff:fe12:3456"
MAPPED = "0000:0000:0000:0000:0000:ffff:0a64:000b"


@pytest.fixture(scope="module")
def inventory(prober: t.Callable[[str], ModuleType]) -> ModuleType:
    return prober("mesh_inventory")


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def port(device: str, gids: list[tuple[str, str]], **changes: str) -> dict[str, str]:
    base = f"class/infiniband/{device}"
    own = f"{base}/ports/1"
    files = {
        f"{own}/link_layer": "Ethernet",
        f"{own}/state": "4: ACTIVE",
        f"{own}/phys_state": "5: LinkUp",
        f"{own}/rate": "400 Gb/sec (4X NDR)",
        f"{own}/lid": "0x0",
        f"{own}/sm_lid": "0x0",
        f"{own}/pkeys/0": "0xffff",
        f"{base}/node_guid": "b83f:d203:0012:3456",
        f"{base}/fw_ver": "28.39.1002",
        f"{base}/device/numa_node": "1",
        f"{own}/hw_counters/out_of_sequence": "7",
        f"{own}/hw_counters/lifespan": "10",
        f"{own}/counters/port_rcv_errors": "0",
        "class/net/eth2/mtu": "8896",
    }
    for index, (gid, kind) in enumerate(gids):
        files[f"{own}/gids/{index}"] = gid
        if kind:
            files |= {f"{own}/gid_attrs/types/{index}": kind, f"{own}/gid_attrs/ndevs/{index}": "eth2"}
    return {**files, **{f"{own}/{name}": value for name, value in changes.items()}}


GIDS = [(LOCAL, "IB/RoCE v1"), (LOCAL, "RoCE v2"), (MAPPED, "IB/RoCE v1"), (MAPPED, "RoCE v2"), (ZERO, "")]


def roots(inventory: ModuleType, folder: Path) -> t.Any:
    for name in ("sys", "proc", "dev"):
        (folder / name).mkdir(exist_ok=True)
    return inventory.Roots(folder / "sys", folder / "proc", folder / "dev")


def test_a_roce_port(inventory: ModuleType, tmp_path: Path) -> None:
    write(tmp_path / "sys", port("mlx5_0", GIDS))
    found = inventory.take("rdma", ["mlx5_*"], roots(inventory, tmp_path))
    nic = found["nics"][0]
    expected = {"name": "mlx5_0", "link_layer": "Ethernet", "state": "ACTIVE", "rate_gbps": 400.0, "gid": MAPPED,
                "gid_index": 3, "gid_type": "RoCE v2", "netdev": "eth2", "ip": "10.100.0.11", "mtu": 8896,
                "pkey": "0xffff", "numa": 1, "fw": "28.39.1002"}  # fmt: skip
    assert {name: nic[name] for name in expected} == expected
    assert inventory.counters(nic, roots(inventory, tmp_path)) == {"out_of_sequence": 7, "port_rcv_errors": 0}


@pytest.mark.parametrize(
    "case",
    [
        (GIDS, "Ethernet", None, "ipv4", 3),
        (GIDS, "Ethernet", None, "ipv6", 1),
        (GIDS, "Ethernet", 2, "ipv4", 2),
        (GIDS[:2], "Ethernet", None, "ipv4", 1),
        (GIDS[2:3], "Ethernet", None, "ipv4", -1),
        ([], "Ethernet", None, "ipv4", -1),
        ([(LOCAL, "IB/RoCE v1")], "InfiniBand", None, "ipv4", 0),
        # Entries that are not mapped into the container have no readable type.
        ([(MAPPED, ""), (MAPPED, "RoCE v2")], "Ethernet", None, "ipv4", 1),
        ([(ZERO, "RoCE v2"), (MAPPED, "RoCE v2")], "Ethernet", None, "ipv4", 1),
    ],
)
def test_the_gid_is_picked_as_the_workload_does(
    inventory: ModuleType, tmp_path: Path, case: tuple[t.Any, str, int | None, str, int]
) -> None:
    gids, layer, index, family, expected = case
    write(tmp_path, port("mlx5_0", gids, link_layer=layer))
    own = tmp_path / "class/infiniband/mlx5_0/ports/1"
    assert inventory.pick_gid(own, layer, index, family)[0] == expected


def test_devices_in_the_order_of_their_numbers(inventory: ModuleType, tmp_path: Path) -> None:
    for device in ("mlx5_10", "mlx5_9", "ibp0", "mlx5_0"):
        write(tmp_path / "sys", port(device, GIDS))
    write(tmp_path / "sys", {"class/infiniband/mlx5_9/ports/2/state": "1: DOWN"})
    found = inventory.take("rdma", ["mlx5_*"], roots(inventory, tmp_path))
    assert [nic["name"] for nic in found["nics"]] == ["mlx5_0", "mlx5_9:1", "mlx5_9:2", "mlx5_10"]
    assert [nic["state"] for nic in found["nics"]] == ["ACTIVE", "ACTIVE", "DOWN", "ACTIVE"]


def test_nothing_matches(inventory: ModuleType, tmp_path: Path) -> None:
    write(tmp_path / "sys", port("ibp0", GIDS))
    found = inventory.take("rdma", ["mlx5_*"], roots(inventory, tmp_path))
    seen = {"code": "RDMA_NO_NICS", "seen": "no NIC matches mlx5_*; there are ibp0"}
    assert seen in found["problems"]


def test_devices_without_access(inventory: ModuleType, tmp_path: Path) -> None:
    write(tmp_path / "sys", port("mlx5_0", GIDS))
    problems = inventory.take("rdma", ["*"], roots(inventory, tmp_path))["problems"]
    assert "0 of /dev/infiniband/uverbs*, none that can be opened; 1 devices in sysfs" in [p["seen"] for p in problems]
    write(tmp_path / "dev", {"infiniband/uverbs0": ""})
    problems = inventory.take("rdma", ["*"], roots(inventory, tmp_path))["problems"]
    assert not [problem for problem in problems if "uverbs" in problem["seen"]]


@pytest.mark.parametrize(
    "case",
    [
        (65536, "00000000a80425fb", True),
        (65536, "00000000a80465fb", False),
        (-1, "0", False),
        (1 << 30, "0", False),
    ],
)
def test_memlock(
    inventory: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: tuple[int, str, bool]
) -> None:
    limit, capabilities, named = case
    write(tmp_path / "proc", {"self/status": f"Name:\tx\nCapEff:\t{capabilities}"})
    monkeypatch.setattr(inventory.resource, "getrlimit", lambda _which: (limit, limit))
    codes = [problem["code"] for problem in inventory.access_problems([], roots(inventory, tmp_path))]
    assert ("RDMA_MEMLOCK" in codes) is named


def gpu_tree(root: Path) -> None:
    for address, bridge in (("0000:1b:00.0", "pci0000:15/0000:15:01.0"), ("0000:4e:00.0", "pci0000:48/0000:48:01.0")):
        device = root / "devices" / bridge / address
        write(device, {"vendor": "0x10de", "class": "0x030200", "numa_node": "0"})
        link = root / "bus/pci/devices" / address
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(device)


def test_gpus_and_their_nics(inventory: ModuleType, tmp_path: Path) -> None:
    gpu_tree(tmp_path / "sys")
    where = roots(inventory, tmp_path)
    nics = [{"name": f"mlx5_{at}", "pci_path": str(tmp_path / f"sys/devices/pci0000:{root}/0000:{root}:01.0/nic")}
            for at, root in enumerate(("48", "15"))]  # fmt: skip
    assert [(gpu["pci"], gpu["nic"]) for gpu in inventory.gpus(where, nics)] == [
        ("0000:1b:00.0", "mlx5_1"),
        ("0000:4e:00.0", "mlx5_0"),
    ]


def test_gpudirect(inventory: ModuleType, tmp_path: Path) -> None:
    where = roots(inventory, tmp_path)
    gpu_tree(tmp_path / "sys")
    version = "NVRM version: NVIDIA UNIX {} for x86_64  580.65.06  Release Build"
    write(tmp_path / "proc", {"driver/nvidia/version": version.format("x86_64 Kernel Module"),
                              "driver/nvidia/params": 'RegistryDwords: "PeerMappingOverride=1;"'})  # fmt: skip
    ready = inventory.gpudirect(where)
    assert ready == {"driver": "580.65.06", "peermem": False, "dma_buf": False, "peer_mapping_override": True}
    host = {"transport": "rdma", "gpus": inventory.gpus(where, []), "gpudirect": ready}
    assert "driver 580.65.06" in inventory.gpu_problems(host)[0]["seen"]
    write(tmp_path / "proc", {"driver/nvidia/version": version.format("Open Kernel Module")})
    assert inventory.gpu_problems({**host, "gpudirect": inventory.gpudirect(where)}) == []


def test_plain_interfaces(inventory: ModuleType, tmp_path: Path) -> None:
    write(tmp_path / "sys", {"class/net/rail0/mtu": "8896", "class/net/rail0/flags": "0x1003",
                             "class/net/rail0/carrier": "1", "class/net/rail1/flags": "0x1002",
                             "class/net/rail1/mtu": "1500", "class/net/eth0/mtu": "1500"})  # fmt: skip
    found = inventory.take("udp", ["rail*"], roots(inventory, tmp_path))
    assert [(nic["name"], nic["state"], nic["mtu"]) for nic in found["nics"]] == [
        ("rail0", "ACTIVE", 8896),
        ("rail1", "DOWN", 1500),
    ]
    assert found["problems"] == []
