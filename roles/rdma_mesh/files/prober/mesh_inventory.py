# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has: NICs, ports, GIDs, MTU, partition keys, GPUs and their NICs, limits. From files alone."""

from __future__ import annotations

import ctypes
import fnmatch
import os
import platform
import re
import resource
import socket
import typing as t
from pathlib import Path

Json = dict[str, t.Any]

LIBRARY = "libibverbs.so.1"
NVIDIA = "0x10de"
#: What the workload picks its NICs by; shown so that a difference to the check is seen.
PICKING = re.compile(r"^(NVSHMEM_(HCA|IB|ENABLE_NIC)|NCCL_(IB|CROSS_NIC|NET)|UCX_(NET_DEVICES|IB|TLS)|DEEP_EP_|MORI_)")
KERNEL = {
    "gc_thresh3": "net/ipv4/neigh/default/gc_thresh3",
    "arp_ignore": "net/ipv4/conf/all/arp_ignore",
    "arp_announce": "net/ipv4/conf/all/arp_announce",
    "rp_filter": "net/ipv4/conf/all/rp_filter",
}
#: Below this an RC mesh of a few dozen peers does not fit.
LEAST_MEMLOCK = 64 << 20


class Roots(t.NamedTuple):
    """Where to look; tests look elsewhere."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")


def text(path: Path) -> str:
    """The file's text, empty where it cannot be read: entries that are not mapped into a container give EINVAL."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def names(path: Path) -> list[str]:
    try:
        return sorted(os.listdir(path), key=natural)
    except OSError:
        return []


def natural(name: str) -> list[t.Any]:
    """mlx5_10 comes after mlx5_9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def take(transport: str, patterns: t.Sequence[str], roots: Roots = Roots(),  # noqa: B008 - immutable
         gid_index: int | None = None, family: str = "ipv4") -> Json:  # fmt: skip
    """Everything that the coordinator is told about this host."""
    if transport == "rdma":
        nics, found = rdma_nics(patterns, roots, gid_index, family)
    else:
        nics, found = ip_nics(patterns, roots)
    host = host_facts(transport, roots)
    host["gpus"] = gpus(roots, nics)
    if not nics:
        seen = f"no NIC matches {', '.join(patterns)}; there are {', '.join(found) or 'none'}"
        host["problems"].append({"code": "RDMA_NO_NICS", "seen": seen})
    if transport == "rdma":
        host["problems"] += access_problems(nics, roots)
    host["problems"] += gpu_problems(host)
    return {**host, "nics": nics}


# --- RDMA ports ---


def rdma_nics(
    patterns: t.Sequence[str], roots: Roots, gid_index: int | None, family: str
) -> tuple[list[Json], list[str]]:
    """One entry per port whose device's name matches, and the names of all devices."""
    base = roots.sys / "class" / "infiniband"
    found = names(base)
    nics = []
    for device in found:
        ports = names(base / device / "ports")
        for port in ports:
            name = device if len(ports) == 1 else f"{device}:{port}"
            if any(fnmatch.fnmatch(device, pattern) or fnmatch.fnmatch(name, pattern) for pattern in patterns):
                nics.append(rdma_port(roots, device, int(port), name, gid_index=gid_index, family=family))
    return nics, found


def rdma_port(roots: Roots, device: str, port: int, name: str, *, gid_index: int | None, family: str) -> Json:
    base = roots.sys / "class" / "infiniband" / device
    own = base / "ports" / str(port)
    layer = text(own / "link_layer")
    index, kind, gid, netdev = pick_gid(own, layer, gid_index, family)
    address = ipv4_of(gid)
    pci = os.path.realpath(base / "device")
    return {
        "name": name,
        "dev": device,
        "port": port,
        "link_layer": layer,
        "state": text(own / "state").partition(":")[2].strip() or "UNKNOWN",
        "phys_state": text(own / "phys_state").partition(":")[2].strip(),
        "rate_gbps": rate(text(own / "rate")),
        "lid": hexadecimal(text(own / "lid")),
        "sm_lid": hexadecimal(text(own / "sm_lid")),
        "guid": text(base / "node_guid"),
        "fw": text(base / "fw_ver"),
        "driver": os.path.basename(os.path.realpath(base / "device" / "driver")),
        "pkey": text(own / "pkeys" / "0"),
        "pkeys": len(names(own / "pkeys")),
        "gid": gid,
        "gid_index": index,
        "gid_type": kind,
        "gids": len(names(own / "gids")),
        "netdev": netdev,
        "ip": address,
        "mtu": number(text(roots.sys / "class" / "net" / netdev / "mtu")) if netdev else None,
        "numa": number(text(base / "device" / "numa_node")),
        "pci": os.path.basename(pci),
        "pci_path": pci,
    }


def pick_gid(own: Path, layer: str, wanted: int | None, family: str) -> tuple[int, str, str, str]:
    """As the workload's libraries do: on Ethernet the first RoCE v2 entry of the family, on InfiniBand index 0."""
    if wanted is not None:
        return gid_entry(own, wanted)
    if layer == "InfiniBand":
        return gid_entry(own, 0)
    fallback = (-1, "", "", "")
    for name in names(own / "gids"):
        entry = gid_entry(own, int(name))
        if "v2" not in entry[1].lower() or not entry[2].strip("0:"):
            continue
        if (ipv4_of(entry[2]) is not None) == (family == "ipv4"):
            return entry
        fallback = entry if fallback[0] < 0 else fallback
    # A fabric of IPv6 alone has no mapped address.
    return fallback


def gid_entry(own: Path, index: int) -> tuple[int, str, str, str]:
    return (
        index,
        text(own / "gid_attrs" / "types" / str(index)),
        text(own / "gids" / str(index)),
        text(own / "gid_attrs" / "ndevs" / str(index)),
    )


def ipv4_of(gid: str) -> str | None:
    """The address in a mapped GID (::ffff:a.b.c.d)."""
    groups = gid.lower().split(":")
    if len(groups) != 8 or groups[:5] != ["0000"] * 5 or groups[5] != "ffff":
        return None
    value = int(groups[6] + groups[7], 16)
    return socket.inet_ntoa(value.to_bytes(4, "big"))


def rate(line: str) -> float | None:
    """400 of `400 Gb/sec (4X NDR)`."""
    found = re.match(r"([\d.]+) Gb/sec", line)
    return float(found.group(1)) if found else None


def hexadecimal(line: str) -> int | None:
    try:
        return int(line, 16)
    except ValueError:
        return None


def number(line: str) -> int | None:
    try:
        return int(line)
    except ValueError:
        return None


def counters(nic: Json, roots: Roots = Roots()) -> dict[str, int]:  # noqa: B008 - immutable
    """Counters of a port now; their differences over the run tell of losses."""
    if not nic.get("dev"):
        return {}
    own = roots.sys / "class" / "infiniband" / nic["dev"] / "ports" / str(nic["port"])
    found = {}
    for folder in ("counters", "hw_counters"):
        for name in names(own / folder):
            value = number(text(own / folder / name))
            if value is not None and name != "lifespan":
                found[name] = value
    return found


# --- plain interfaces ---


def ip_nics(patterns: t.Sequence[str], roots: Roots) -> tuple[list[Json], list[str]]:
    base = roots.sys / "class" / "net"
    found = names(base)
    matching = [name for name in found if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
    return [ip_nic(base, name) for name in matching], found


def ip_nic(base: Path, name: str) -> Json:
    flags = hexadecimal(text(base / name / "flags")) or 0
    # Reading carrier fails where the interface is down.
    up = flags & 1 and text(base / name / "carrier") == "1"
    return {
        "name": name,
        "netdev": name,
        "link_layer": "Ethernet",
        "state": "ACTIVE" if up else "DOWN",
        "ip": address_of(name),
        "mtu": number(text(base / name / "mtu")),
        "mac": text(base / name / "address"),
        "numa": number(text(base / name / "device" / "numa_node")),
        "pci_path": os.path.realpath(base / name / "device") if (base / name / "device").exists() else "",
    }


def address_of(name: str) -> str | None:
    """The interface's first IPv4 address."""
    import fcntl  # noqa: PLC0415 - of Linux alone, where there are interfaces to ask

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock.fileno(), 0x8915, name.encode()[:15].ljust(40, b"\0"))  # SIOCGIFADDR
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


# --- the host ---


def host_facts(transport: str, roots: Roots) -> Json:
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return {
        "node": os.environ.get("NODE_NAME", ""),
        "pod": os.environ.get("POD_NAME", ""),
        "boot_id": text(roots.proc / "sys/kernel/random/boot_id"),
        "arch": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "transport": transport,
        "memlock": None if limit == resource.RLIM_INFINITY else limit,
        "environment": {name: value for name, value in sorted(os.environ.items()) if PICKING.match(name)},
        **{name: number(text(roots.proc / "sys" / path)) for name, path in KERNEL.items()},
        "gpudirect": gpudirect(roots),
        "problems": [],
    }


def gpudirect(roots: Roots) -> Json:
    """How NICs can reach the memory of GPUs: the peer-memory module, or dma-buf of the open kernel modules."""
    parameters = text(roots.proc / "driver/nvidia/params")
    mapping = re.search(r"RegistryDwords:.*PeerMappingOverride=(\d)", parameters)
    return {
        "driver": (re.findall(r"\b\d{3}\.\d+(?:\.\d+)?\b", text(roots.proc / "driver/nvidia/version")) or [""])[0],
        "peermem": (roots.sys / "module/nvidia_peermem").exists(),
        "dma_buf": "Open Kernel Module" in text(roots.proc / "driver/nvidia/version"),
        "peer_mapping_override": bool(mapping and mapping.group(1) == "1"),
    }


def gpus(roots: Roots, nics: t.Sequence[Json]) -> list[Json]:
    """GPUs and the NIC that shares the longest way from the root of PCIe with each."""
    base = roots.sys / "bus/pci/devices"
    found: list[Json] = []
    for address in names(base):
        if text(base / address / "vendor") == NVIDIA and text(base / address / "class").startswith("0x03"):
            path = os.path.realpath(base / address)
            found.append({"idx": len(found), "pci": address, "numa": number(text(base / address / "numa_node")),
                          "nic": nearest(path, nics)})  # fmt: skip
    return found


def nearest(path: str, nics: t.Sequence[Json]) -> str | None:
    def shared(nic: Json) -> int:
        ours, other = path.split("/"), (nic.get("pci_path") or "").split("/")
        return next(
            (at for at in range(min(len(ours), len(other))) if ours[at] != other[at]), min(len(ours), len(other))
        )

    best = max(nics, key=shared, default=None)
    # Two parts are /sys/devices; a shared root complex is the third.
    return best["name"] if best is not None and best.get("pci_path") and shared(best) > 3 else None


def access_problems(nics: t.Sequence[Json], roots: Roots) -> list[Json]:
    problems = []
    nodes = [name for name in names(roots.dev / "infiniband") if name.startswith("uverbs")]
    usable = [name for name in nodes if os.access(roots.dev / "infiniband" / name, os.R_OK | os.W_OK)]
    if nics and not usable:
        seen = f"{len(nodes)} of /dev/infiniband/uverbs*, none that can be opened; {len(nics)} devices in sysfs"
        problems.append({"code": "RDMA_NO_ACCESS", "seen": seen})
    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        problems.append({"code": "RDMA_NO_ACCESS", "seen": f"the image lacks a library: {error}"})
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if limit != resource.RLIM_INFINITY and limit < LEAST_MEMLOCK and not can_lock(roots):
        seen = f"the memlock limit is {limit >> 10} KiB, at least {LEAST_MEMLOCK >> 20} MiB are needed"
        problems.append({"code": "RDMA_MEMLOCK", "seen": seen})
    return problems


def can_lock(roots: Roots) -> bool:
    """Whether the process has the capability IPC_LOCK, which makes the limit void."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", text(roots.proc / "self/status"), re.MULTILINE)
    return bool(found and int(found.group(1), 16) >> 14 & 1)


def gpu_problems(host: Json) -> list[Json]:
    ready = host["gpudirect"]
    if host["transport"] != "rdma" or not host["gpus"] or ready["peermem"] or ready["dma_buf"]:
        return []
    driver = ready["driver"] or "unknown"
    seen = f"{len(host['gpus'])} GPUs, no nvidia_peermem and no open kernel modules (driver {driver})"
    return [{"code": "RDMA_NO_GPUDIRECT", "seen": seen}]
