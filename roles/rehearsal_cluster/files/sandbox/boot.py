# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Second program of the sandbox: network, namespaces of the nodes, then supervisord in its place as PID 1."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import resource
import subprocess
import sys
import time
import typing as t

CLUSTER = pathlib.Path("/cluster")
SUPERVISORD = "/usr/bin/supervisord"
Data = t.Mapping[str, t.Any]


def run(*command: str, given: str | None = None) -> None:
    subprocess.run(command, check=True, input=given, text=True)


def batch(lines: t.Sequence[str], namespace: str | None = None) -> None:
    """One ``ip`` process for many commands."""
    prefix = ["nsenter", f"--net=/run/netns/{namespace}"] if namespace else []
    run(*prefix, "ip", "-batch", "-", given="\n".join(lines) + "\n")


def set_sysctl(values: Data) -> None:
    for name, value in values.items():
        (pathlib.Path("/proc/sys") / name).write_text(str(value))


def uplink(topology: Data) -> None:
    """The one link to the host. The handle on the host's namespace is given back right after it."""
    inside, outside = topology["address"], topology["host_address"]
    interface, prefix = topology["host_interface"], topology["prefix"]
    batch(["link set lo up", f"link add eth0 type veth peer name {interface} netns host",
           f"address add {inside}/{prefix} dev eth0", "link set eth0 up"])  # fmt: skip
    batch([f"address add {outside}/{prefix} dev {interface}", f"link set {interface} up"], "host")
    run("umount", "/run/netns/host")
    pathlib.Path("/run/netns/host").unlink()


def bridges(topology: Data) -> list[str]:
    lines = ["link add nodes type bridge", f"address add {topology['gateway']}/24 dev nodes", "link set nodes up",
             # A Service address without rules must end here, never in the host's network.
             f"route add {topology['ranges']['services']} dev nodes"]  # fmt: skip
    fabric = topology["fabric"]
    for rail in fabric["rails"]:
        lines += [f"link add {rail['name']} type bridge", f"link set {rail['name']} mtu {fabric['mtu']} up"]
        if fabric["mode"] == "full_mesh":
            lines += [f"address add {rail['gateway']}/24 dev {rail['name']}"]
    return lines


def ports(topology: Data, node: Data) -> list[str]:
    """Commands in the sandbox's own namespace: the cables of one node."""
    position, name, mtu = node["position"], node["name"], topology["fabric"]["mtu"]
    lines = [f"link add n{position} type veth peer name eth0 netns {name}", f"link set n{position} master nodes up",
             f"route add {node['pods']} via {node['address']}"]  # fmt: skip
    for rail in node["rails"]:
        port = f"n{position}r{rail['index']}"
        lines += [f"link add {port} type veth peer name {rail['name']} mtu {mtu} netns {name}",
                  f"link set {port} master {rail['name']} mtu {mtu} up"]  # fmt: skip
    return lines


def node_links(topology: Data, node: Data) -> list[str]:
    """Commands in the node's namespace: its addresses and routes."""
    lines = ["link set lo up", f"address add {node['address']}/24 dev eth0", "link set eth0 up",
             f"route add default via {topology['gateway']}"]  # fmt: skip
    lines += [f"route add {other['pods']} via {other['address']}" for other in topology["nodes"] if other is not node]
    for rail in node["rails"]:
        name, address, table = rail["name"], rail["address"], rail["table"]
        lines += [f"link set {name} up", f"address add {address}/24 dev {name}",
                  f"rule add from {address} lookup {table}",
                  f"route add {rail['subnet']} dev {name} src {address} table {table}"]  # fmt: skip
        if topology["fabric"]["mode"] == "full_mesh":
            lines += [f"route add {topology['ranges']['rails']} via {rail['gateway']} dev {name} table {table}"]
        else:
            # Otherwise the main table would lead to the target's rail through the node's own interface on it.
            lines += [f"route add unreachable {topology['ranges']['rails']} table {table}"]
    lines += [f"link set {port['source'].split('/')[1]} " + ("down" if port["type"] == "down" else f"mtu {port['mtu']}")
              for port in topology["fabric"]["ports"] if port["source"].split("/")[0] == node["name"]]  # fmt: skip
    return lines


def fault_rules(drops: t.Sequence[Data]) -> str:
    """One-way losses, in both families: rails of one subnet meet in a bridge, others in the routing."""
    rules = [f"    ip saddr {drop['source']} ip daddr {drop['target']} drop" for drop in drops]
    chain = ["  chain forward {", "    type filter hook forward priority 0;", *rules, "  }"]
    tables = [line for family in ("bridge", "inet") for line in (f"table {family} fabric {{", *chain, "}")]
    return "\n".join(tables) + "\n"


def start_node(topology: Data, node: Data) -> subprocess.Popen[bytes]:
    name = node["name"]
    batch(node_links(topology, node), name)
    return subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{name}", "unshare", "--mount", "--propagation", "private",
         "/usr/bin/python3", "/cluster/lib/node_init.py", name],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def keep_mounts(node: Data, process: subprocess.Popen[bytes]) -> None:
    """Hold the node's mount namespace open in PID 1, where programs find it as ``/proc/1/fd/<number>``.

    Linux 6.18 refuses at random (EINVAL) to keep one in a file as ``unshare --mount=FILE`` does, since it numbers
    namespaces per processor. supervisord closes the descriptors below its ``minfds`` (1024) only.
    """
    assert process.stdout is not None
    if process.stdout.readline() != b"mounted\n":
        raise SystemExit(f"node_init.py of {node['name']} ended with {process.wait()}")
    handle = os.open(f"/proc/{process.pid}/ns/mnt", os.O_RDONLY)
    os.set_inheritable(fcntl.fcntl(handle, fcntl.F_DUPFD, node["mounts"]), True)
    os.close(handle)
    process.communicate()


def network(topology: Data) -> None:
    uplink(topology)
    for node in topology["nodes"]:
        run("ip", "netns", "add", node["name"])
    batch([*bridges(topology), *(line for node in topology["nodes"] for line in ports(topology, node))])
    set_sysctl({"net/ipv4/ip_forward": 1, "net/ipv4/conf/all/rp_filter": 0})
    if topology["fabric"]["drops"]:
        run("nft", "-f", "-", given=fault_rules(topology["fabric"]["drops"]))


def nodes(topology: Data) -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    started = [(node, start_node(topology, node)) for node in topology["nodes"]]
    for node, process in started:
        keep_mounts(node, process)


def main(digest: str) -> None:
    started = time.time()
    topology = json.loads((CLUSTER / "etc/topology.json").read_text())
    for stale in ("status.json", "supervisor.sock"):
        (CLUSTER / "run" / stale).unlink(missing_ok=True)
    network(topology)
    nodes(topology)
    record = {"digest": digest, "started": started, "seconds": round(time.time() - started, 2)}
    (CLUSTER / "run/boot.json").write_text(json.dumps(record))
    os.execv(SUPERVISORD, [SUPERVISORD, "--nodaemon", "--configuration", "/cluster/etc/supervisord.conf"])


if __name__ == "__main__":
    main(sys.argv[1])
