# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List what a rehearsal cluster leaves on the machine, and fail if there is any: ``leftovers.py NAME``, as root."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import struct
import sys
import typing as t

NETLINK_NETFILTER = 12
NFNL_SUBSYS_NFTABLES = 10
NFT_MSG_GETTABLE = 1
NLM_F_REQUEST_DUMP = 0x301
NLMSG_DONE = 3
NLMSG_ERROR = 2
NFTA_TABLE_NAME = 1


def cache() -> pathlib.Path:
    own = os.environ.get("LLMD_WIDE_EP_CACHE")
    return pathlib.Path(
        own or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "llmd-wide-ep"
    )


def read(path: str | pathlib.Path) -> str:
    with contextlib.suppress(OSError):
        return pathlib.Path(path).read_text(errors="replace")
    return ""


def processes(name: str) -> list[str]:
    """Processes in one of the cluster's control groups, or that name its folder."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        command = read(folder / "cmdline").replace("\0", " ")
        if f"/llmd-wide-ep-{name}/" in read(folder / "cgroup") or f"llmd-wide-ep/{name}/cluster" in command:
            found.append(f"process {folder.name} {command[:80]}")
    return found


def mounts(name: str) -> list[str]:
    """In any process's view, so a namespace that somebody else holds is seen too."""
    found = set()
    for file in pathlib.Path("/proc").glob("[0-9]*/mountinfo"):
        for line in read(file).splitlines():
            if f"llmd-wide-ep/{name}/" in line:
                found.add(f"mount {line.split()[4]}")
    return sorted(found)


def kept_namespaces(name: str) -> list[str]:
    """Namespaces bound to files of the host; a sandbox's are in its own mounts only."""
    paths = [line.split()[4] for line in read("/proc/self/mountinfo").splitlines() if " - nsfs " in line]
    return [f"namespace {path}" for path in paths if path.startswith((f"/run/netns/{name}-", "/run/netns/cni-"))]


def links(name: str) -> list[str]:
    ours = (f"lwe-{name}", "nodes", "cni0", "rail0")
    return [f"link {link}" for link in ours if (pathlib.Path("/sys/class/net") / link).exists()]


def routes(name: str) -> list[str]:
    return [f"route {line}" for line in read("/proc/net/route").splitlines() if line.startswith(f"lwe-{name}\t")]


def tables() -> list[str]:
    """Names of nftables tables, asked from the kernel, since the tool nft need not be installed."""
    names: list[str] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as kernel:
        kind = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETTABLE
        kernel.send(struct.pack("=IHHII", 20, kind, NLM_F_REQUEST_DUMP, 1, 0) + struct.pack("=BBH", 0, 0, 0))
        kernel.settimeout(5)
        while True:
            data = kernel.recv(65536)
            while data:
                length, message = struct.unpack("=IH", data[:6])
                if message in (NLMSG_DONE, NLMSG_ERROR):
                    return names
                names += [f"nft table {value}" for value in table_names(data[20:length])]
                data = data[length + (-length % 4) :]


def table_names(attributes: bytes) -> t.Iterator[str]:
    while attributes:
        length, kind = struct.unpack("=HH", attributes[:4])
        if kind == NFTA_TABLE_NAME:
            yield attributes[4:length].rstrip(b"\0").decode()
        attributes = attributes[length + (-length % 4) :]


def leftovers(name: str) -> list[str]:
    groups = [f"control group {path}" for path in pathlib.Path("/sys/fs/cgroup").glob(f"**/llmd-wide-ep-{name}")]
    files = [pathlib.Path("/var/lib/llmd-wide-ep") / name, cache() / "clusters" / name]
    ours = [table for table in tables() if table.split()[-1] in {"kube-proxy", "fabric"}]
    return [
        *processes(name),
        *mounts(name),
        *kept_namespaces(name),
        *links(name),
        *routes(name),
        *ours,
        *groups,
        *(f"folder {file}" for file in files if file.exists()),
    ]


def main() -> int:
    found = leftovers(sys.argv[1])
    print("\n".join(found) if found else f"nothing of cluster {sys.argv[1]} is left")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
