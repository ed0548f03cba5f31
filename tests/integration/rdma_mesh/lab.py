# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts with NICs in network namespaces, a router between them that loses what it is told to, and the real prober.

Runs as the first process of its own mount, network and PID namespace (`isolated` starts it so): whatever ends it, the
kernel takes everything away, and no packet leaves it. The router is the namespace itself. Each NIC is a point-to-point
link with static neighbors, and each pair of addresses can be lost on its own by a rule.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

GATEWAY, GATEWAY_MAC = "169.254.1.1", "02:00:00:00:00:01"
MTU = 4000
Json = dict[str, t.Any]
#: Whatever ends the one who started it ends the first process, and with it everything inside.
ISOLATION = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
)


def address(rail: int, host: int) -> str:
    return f"10.{100 + rail}.0.{10 + host}"


def mac(host: int, nic: int) -> str:
    return f"02:00:00:00:{host + 16:02x}:{nic + 16:02x}"


def isolated(setup: Json) -> Json:
    """Run a lab with this setup in namespaces of its own and return what it printed."""
    done = subprocess.run([*ISOLATION, sys.executable, __file__], input=json.dumps(setup), capture_output=True,
                          text=True, timeout=120, check=False)  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the lab ended with {done.returncode}: {done.stderr[-2000:]}")
    return t.cast("Json", json.loads(done.stdout))


def batch(lines: t.Iterable[str], namespace: str = "") -> None:
    where = ["-n", namespace] if namespace else []
    done = subprocess.run(["ip", *where, "-batch", "-"], input="\n".join(lines), text=True, capture_output=True,
                          check=False)  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"ip {namespace}: {done.stderr}")


class Lab:
    """``setup``: hosts, nics, rail_of (host -> rails of its NICs), lost (directed pairs), down, small_mtu, absent."""

    def __init__(self, setup: Json) -> None:
        self.setup = setup
        self.hosts, self.nics = setup["hosts"], setup["nics"]
        self.counts = setup.get("counts") or [self.nics] * self.hosts
        self.rails = {int(host): rails for host, rails in (setup.get("rail_of") or {}).items()}

    def rail(self, host: int, nic: int) -> int:
        return int(self.rails.get(host, range(self.nics))[nic])

    def of(self, host: int, nic: int) -> str:
        return address(self.rail(host, nic), host)

    def build(self) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
        for name, value in (("ip_forward", "1"), ("conf/all/rp_filter", "0"), ("conf/default/rp_filter", "0")):
            Path("/proc/sys/net/ipv4", name).write_text(value)
        batch(["link set lo up", *(f"netns add h{host}" for host in range(self.hosts))])
        batch(line for host in range(self.hosts) for line in self._links(host))
        for host in range(self.hosts):
            batch(self._inside(host), f"h{host}")
        batch(line for host in range(self.hosts) for line in self._routes(host))
        batch([f"rule add from {self.of(h, i)} to {self.of(g, j)} blackhole" for h, i, g, j in self.setup["lost"]])

    def _links(self, host: int) -> t.Iterator[str]:
        ports = [(f"f{host}n{nic}", f"nic{nic}", mac(host, nic)) for nic in range(self.counts[host])]
        for port, name, own in [*ports, (f"f{host}m", "mgmt", mac(host, 200))]:
            yield f"link add {port} address {GATEWAY_MAC} mtu {MTU} type veth peer name {name} address {own} " \
                  f"mtu {MTU} netns h{host}"  # fmt: skip
            small = (self.setup.get("small_mtu") or {}).get(f"{host}/{name}")
            if small:
                yield f"link set {port} mtu {small}"
            yield f"link set {port} up"

    def _inside(self, host: int) -> t.Iterator[str]:
        yield "link set lo up"
        yield from self._port("mgmt", f"172.31.0.{10 + host}", "main")
        for nic in range(self.counts[host]):
            yield from self._port(f"nic{nic}", self.of(host, nic), str(100 + nic))
            yield f"rule add from {self.of(host, nic)} lookup {100 + nic}"
        for nic in (self.setup.get("down") or {}).get(str(host), ()):
            yield f"link set nic{nic} down"

    @staticmethod
    def _port(name: str, own: str, table: str) -> t.Iterator[str]:
        yield f"address add {own}/32 dev {name}"
        yield f"link set {name} up"
        yield f"neigh add {GATEWAY} lladdr {GATEWAY_MAC} dev {name}"
        yield f"route add default via {GATEWAY} dev {name} onlink table {table}"

    def _routes(self, host: int) -> t.Iterator[str]:
        ports = [(f"f{host}n{nic}", self.of(host, nic), mac(host, nic)) for nic in range(self.counts[host])]
        for port, own, hardware in [*ports, (f"f{host}m", f"172.31.0.{10 + host}", mac(host, 200))]:
            yield f"route add {own}/32 dev {port}"
            yield f"neigh add {own} lladdr {hardware} dev {port}"

    def run(self) -> Json:
        """Start a prober per host, stop those that the setup names, and wait for the log."""
        with tempfile.TemporaryDirectory(dir="/run") as folder:
            self._write(Path(folder))
            start = time.monotonic()
            running = {host: self._start(host, folder) for host in range(self.hosts)
                       if host not in self.setup.get("absent", ())}  # fmt: skip
            log = self._follow(running)
            seconds = time.monotonic() - start
            codes = {host: process.wait(timeout=20) for host, process in running.items()}
            errors = {host: Path(folder, f"{host}.err").read_text() for host in running}
        return {"log": log, "seconds": round(seconds, 3), "codes": codes, "errors": errors}

    def _write(self, folder: Path) -> None:
        for name, text in self.setup["files"].items():
            (folder / name).write_text(text)
        (folder / "config.json").write_text(json.dumps(self.setup["config"]))

    def _start(self, host: int, folder: str) -> subprocess.Popen[str]:
        environment = {"PATH": os.environ["PATH"], "JOB_COMPLETION_INDEX": str(host), "NODE_NAME": f"node-{host}",
                       "PYTHONDONTWRITEBYTECODE": "1",
                       **(self.setup.get("environment") or {}).get(str(host), {})}  # fmt: skip
        command = ["ip", "netns", "exec", f"h{host}", sys.executable, f"{folder}/mesh_prober.py",
                   f"{folder}/config.json"]  # fmt: skip
        with Path(folder, f"{host}.err").open("w") as errors:
            output = subprocess.PIPE if host == 0 else errors
            return subprocess.Popen(command, env=environment, text=True, stdout=output, stderr=errors)

    def _follow(self, running: dict[int, subprocess.Popen[str]]) -> str:
        """The coordinator's output; on a line that holds ``kill_at`` the named hosts' probers are killed."""
        lines = []
        output = running[0].stdout
        assert output
        at = self.setup.get("kill_at")
        for line in output:
            lines.append(line)
            if at and at in line:
                at = None
                for host in self.setup["kill"]:
                    running[host].kill()
        return "".join(lines)


def main() -> None:
    lab = Lab(json.load(sys.stdin))
    lab.build()
    print(json.dumps(lab.run()))


if __name__ == "__main__":
    main()
