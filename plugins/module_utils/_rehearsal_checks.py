# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a rehearsal cluster can run on this machine. Private to the collection; it may change at any time."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t
import zlib

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

PROGRAMS = ("coredns", "etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet",
            "registry")  # fmt: skip
#: Put into the sandbox too when they were built.
OPTIONAL_PROGRAMS = ("kubectl", "kwok")
HOST_COMMANDS = ("mount", "pivot_root", "unshare")
#: Kernel option -> what it is for.
KERNEL_OPTIONS = {
    "CONFIG_OVERLAY_FS": "layers of images",
    "CONFIG_VETH": "links of nodes and pods",
    "CONFIG_BRIDGE": "links of nodes and pods",
    "CONFIG_NF_TABLES": "Services",
    "CONFIG_NFT_NAT": "Services",
}
#: What a cluster and each of its nodes take of fs.inotify.max_user_instances, which the kernel counts per user.
CLUSTER_WATCHERS = 15
NODE_WATCHERS = 7
#: An interface name has 15 characters, of which the prefix takes four.
NAME = re.compile(r"^[a-z]([a-z0-9-]{0,9}[a-z0-9])?$")
DEFAULT_NAME = "local"
#: Where the builder writes what it built of a scenario.
MANIFEST = re.compile(r"/manifests/(?P<scenario>[a-z0-9]+)\.json$")
DEFAULT_SCENARIO = "standalone"


@dataclasses.dataclass(frozen=True)
class Route:
    """A line of the host's routing table."""

    interface: str
    network: ipaddress.IPv4Network


@dataclasses.dataclass(frozen=True)
class Host:
    """What was seen of the machine."""

    system: str
    root: bool
    sudo: bool
    memory_gib: float
    disk_gib: float
    disk_path: str
    kernel: t.Mapping[str, bool | None]
    commands: t.Mapping[str, bool]
    routes: tuple[Route, ...]
    running: bool
    state_exists: bool
    watchers_used: int
    watchers_needed: int
    watchers_limit: int


@dataclasses.dataclass(frozen=True)
class Limits:
    memory_gib: float
    disk_gib: float


def watchers_of(nodes: int) -> int:
    return CLUSTER_WATCHERS + NODE_WATCHERS * nodes


def parse_routes(text: str) -> tuple[Route, ...]:
    """Read ``/proc/net/route``. Addresses are little-endian hexadecimal numbers."""
    routes = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8:
            continue
        address, mask = (int.from_bytes(bytes.fromhex(fields[index]), "little") for index in (1, 7))
        routes.append(Route(fields[0], ipaddress.IPv4Network((address, bin(mask).count("1")), strict=False)))
    return tuple(routes)


def parse_memory_gib(text: str) -> float:
    """``MemAvailable`` of ``/proc/meminfo``."""
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024**2
    return 0.0


def parse_kernel(text: str) -> dict[str, bool | None]:
    """Kernel options from its configuration. Without one nothing is known, and nothing is refused."""
    if not text:
        return dict.fromkeys(KERNEL_OPTIONS)
    lines = set(text.splitlines())
    return {option: f"{option}=y" in lines or f"{option}=m" in lines for option in KERNEL_OPTIONS}


def check_host(host: Host, limits: Limits) -> list[Finding]:
    if host.system != "Linux":
        fix = "run it on a Linux machine, or use an inventory of a real cluster"
        return [Finding("REHEARSAL_PLATFORM", "error", "operating system", f"{host.system}", fix)]
    findings = []
    if not (host.root or host.sudo):
        evidence = "the user is not root and there is no sudo"
        findings.append(Finding("REHEARSAL_PRIVILEGE", "error", "user", evidence, "install sudo or run as root"))
    for command, found in host.commands.items():
        if not found:
            fix = "install the package util-linux"
            findings.append(Finding("REHEARSAL_KERNEL", "error", command, "the command is not installed", fix))
    for option, present in host.kernel.items():
        if present is False:
            evidence = f"the running kernel is built without it; it is needed for {KERNEL_OPTIONS[option]}"
            findings.append(
                Finding("REHEARSAL_KERNEL", "error", option, evidence, "boot your distribution's own kernel")
            )
    return findings + ([] if host.running else check_room(host, limits))


def check_room(host: Host, limits: Limits) -> list[Finding]:
    findings = []
    if host.memory_gib < limits.memory_gib:
        evidence = f"{host.memory_gib:.1f} GiB available, {limits.memory_gib:g} GiB needed"
        fix = "end other programs, or lower rehearsal_cluster_min_memory_gib if you know that less is enough"
        findings.append(Finding("REHEARSAL_MEMORY", "error", "memory", evidence, fix))
    if not host.state_exists and host.disk_gib < limits.disk_gib:
        evidence = (
            f"{host.disk_gib:.1f} GiB free on the file system of {host.disk_path}, {limits.disk_gib:g} GiB needed"
        )
        fix = "free some space, or set rehearsal_cluster_state_dir to a folder on another disk"
        findings.append(Finding("REHEARSAL_DISK", "error", "disk", evidence, fix))
    if host.watchers_used + host.watchers_needed > host.watchers_limit:
        evidence = f"about {host.watchers_used} of {host.watchers_limit} are in use, {host.watchers_needed} more needed"
        fix = "remove another rehearsal cluster, or raise it: sysctl fs.inotify.max_user_instances=512"
        findings.append(Finding("REHEARSAL_LIMIT", "error", "fs.inotify.max_user_instances", evidence, fix))
    return findings


def check_name(name: str) -> list[Finding]:
    if NAME.match(name):
        return []
    fix = "use at most 11 lower-case letters, digits and hyphens, starting with a letter"
    return [Finding("REHEARSAL_NAME", "error", "rehearsal_cluster_name", repr(name), fix)]


def build_command(manifest: str) -> str:
    """How what a manifest describes is built."""
    found = MANIFEST.search(manifest)
    other = found and found["scenario"] != DEFAULT_SCENARIO
    return f"run `make binaries{' SCENARIO=' + found['scenario'] if found and other else ''}`"


def check_manifest(manifest: t.Any, path: str, exists: t.Callable[[str], bool]) -> list[Finding]:
    """``manifest`` is None when the file is missing and a text when it could not be read."""

    def finding(evidence: str) -> list[Finding]:
        return [Finding("REHEARSAL_PROGRAMS", "error", path, evidence, build_command(path))]

    if manifest is None:
        return finding("the manifest of the built programs does not exist")
    if not isinstance(manifest, dict):
        return finding(f"the manifest of the built programs cannot be read: {manifest}")
    if manifest.get("schema") != 1:
        return finding(f"its schema is {manifest.get('schema')!r}, this version of the collection reads schema 1")
    programs = manifest.get("programs", {})
    missing = [name for name in PROGRAMS if name not in programs]
    if missing:
        return finding(f"it does not list {', '.join(missing)}")
    if pause_image(manifest) is None:
        return finding("it lists no image named pause")
    parts = [*(programs[name]["path"] for name in PROGRAMS), manifest["rootfs"]["path"], manifest["registry"]["path"]]
    gone = [part for part in parts if not exists(part)]
    return finding(f"{', '.join(gone)} does not exist") if gone else []


def pause_image(manifest: t.Mapping[str, t.Any]) -> str | None:
    return next((name for name in sorted(manifest.get("images", {})) if "/pause:" in name), None)


def overlaps(network: ipaddress.IPv4Network, routes: t.Iterable[Route], interface: str) -> Route | None:
    """The route that already leads to the network. The default route and the cluster's own link do not count."""
    for route in routes:
        if route.network.prefixlen > 0 and route.interface != interface and route.network.overlaps(network):
            return route
    return None


def choose_subnet(
    name: str, wanted: str, address_range: str, recorded: t.Mapping[str, str], routes: t.Sequence[Route]
) -> tuple[str, list[Finding]]:
    """The wanted /30, else the one that the cluster had, else the first for the default name, else a free one."""
    interface = f"lwe-{name}"
    taken = {subnet for cluster, subnet in recorded.items() if cluster != name}
    parent = ipaddress.IPv4Network(address_range)
    count = 1 << (30 - parent.prefixlen)

    def subnet_at(index: int) -> str:
        return f"{parent.network_address + 4 * index}/30"

    def obstacle(subnet: str) -> str:
        if subnet in taken:
            return "another cluster has it"
        route = overlaps(ipaddress.IPv4Network(subnet), routes, interface)
        return f"the host has a route to {route.network} by {route.interface}" if route else ""

    # Starting at a place of its own keeps clusters apart that are made at the same moment.
    first = zlib.crc32(name.encode()) % (count - 1)
    places = (subnet_at(1 + (first + step) % (count - 1)) for step in range(count - 1))
    had = recorded.get(name, "")
    if had and obstacle(had):
        had = ""
    own = subnet_at(0) if name == DEFAULT_NAME else next((item for item in places if not obstacle(item)), subnet_at(1))
    chosen = wanted or had or own
    if not (evidence := obstacle(chosen)):
        return chosen, []
    fix = "set rehearsal_cluster_address_range to a private /16 that nothing on your network uses"
    return chosen, [Finding("REHEARSAL_ADDRESS", "error", f"address range {chosen}", evidence, fix)]
