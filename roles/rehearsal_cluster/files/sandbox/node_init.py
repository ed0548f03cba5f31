# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside of one node, in its own network and mount namespace: the usual paths of a node lead to a folder of its own."""

from __future__ import annotations

import pathlib
import subprocess
import sys

#: Path in the node -> folder of the node's state. Paths that pods mount from the host are among them.
FOLDERS = {
    "/var/lib/kubelet": "kubelet",
    "/var/lib/containerd": "containerd",
    "/var/lib/cni": "cni",
    "/var/log": "log",
    "/mnt": "mnt",
    "/home": "home",
    "/opt": "opt",
}

#: Each rail answers for its own address only; else one interface would speak for all and cross-rail tests would lie.
SYSCTL = {"ip_forward": 1, "conf/all/arp_ignore": 1, "conf/all/arp_announce": 2, "conf/all/rp_filter": 0}


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def main(node: str) -> None:
    for name, value in SYSCTL.items():
        (pathlib.Path("/proc/sys/net/ipv4") / name).write_text(str(value))
    state = pathlib.Path("/cluster/nodes") / node
    for path, name in FOLDERS.items():
        folder = state / name
        folder.mkdir(parents=True, exist_ok=True)
        pathlib.Path(path).mkdir(parents=True, exist_ok=True)
        mount("--bind", str(folder), path)
    # A sysfs shows the interfaces of the namespace it was mounted in; the cgroups under it come from the host.
    cgroups = pathlib.Path("/run/cgroup")
    cgroups.mkdir(exist_ok=True)
    mount("--rbind", "/sys/fs/cgroup", str(cgroups))
    mount("-t", "sysfs", "sysfs", "/sys")
    mount("--rbind", str(cgroups), "/sys/fs/cgroup")
    subprocess.run(["umount", "--recursive", str(cgroups)], check=True)
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/tmp")
    mount("--make-rshared", "/")
    # Whoever started this takes hold of the namespace now, which would end with its last process.
    print("mounted", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
