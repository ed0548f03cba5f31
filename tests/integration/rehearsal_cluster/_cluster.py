# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Handles on a running rehearsal cluster, for its tests. Run as root."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils import _rehearsal_sandbox as sandbox
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client, load_client
from ansible_collections.llmd.wide_ep.plugins.module_utils._rehearsal_supervisor import Supervisor

ROOT = pathlib.Path(__file__).resolve().parents[3]
STATE = pathlib.Path("/var/lib/llmd-wide-ep")


def wait(condition: t.Callable[[], t.Any], limit: float, what: str) -> t.Any:
    deadline = time.monotonic() + limit
    while True:
        with contextlib.suppress(OSError):
            if result := condition():
                return result
        assert time.monotonic() < deadline, f"{what}: not within {limit:g} s"
        time.sleep(0.05)


@dataclasses.dataclass
class Cluster:
    """One cluster by name, with the variables it is made with."""

    name: str
    variables: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    @property
    def paths(self) -> sandbox.Paths:
        return sandbox.Paths(STATE / self.name)

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.paths.socket)

    def command(self, playbook: str, **variables: t.Any) -> list[str]:
        given = {**self.variables, **variables, "rehearsal_cluster_name": self.name}
        tool = pathlib.Path(sys.executable).with_name("ansible-playbook")
        return [str(tool), f"playbooks/{playbook}.yml", "-i", "inventories/local", "-e", json.dumps(given)]

    def play(self, playbook: str = "rehearsal_cluster", **variables: t.Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(playbook, **variables), cwd=ROOT, text=True, capture_output=True, check=False, timeout=600
        )

    def ensure(self) -> int:
        """How many tasks changed something."""
        result = self.play()
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
        return changes(result.stdout)

    def client(self, user: str = "admin") -> Client:
        return load_client(str(self.paths.state / "admin.kubeconfig"))

    def init(self) -> int:
        pid = sandbox.find_init(self.name)
        assert pid is not None, f"cluster {self.name} does not run"
        return pid

    def inside(self, *command: str, node: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in the sandbox, or in the network namespace of a node."""
        enter = ["nsenter", "-t", str(self.init()), "-a", *(["nsenter", f"--net=/run/netns/{node}"] if node else [])]
        return subprocess.run([*enter, *command], text=True, capture_output=True, check=False, timeout=60)

    def reaches(self, source: tuple[str, int], target: tuple[str, int]) -> bool:
        """Whether one rail reaches another, by one packet there and back."""
        topology = json.loads((self.paths.cluster / "etc/topology.json").read_text())
        address = {node["name"]: [rail["address"] for rail in node["rails"]] for node in topology["nodes"]}
        here, there = (address[node][rail] for node, rail in (source, target))
        return self.inside("ping", "-c1", "-W1", "-I", here, there, node=source[0]).returncode == 0

    def kill(self, program: str) -> int:
        """Kill a supervised process; returns its number inside of the sandbox."""
        pid = int(self.supervisor.rpc.getProcessInfo(program)["pid"])
        self.inside("/bin/sh", "-c", f"kill -9 {pid}")
        return pid

    def runs_again(self, program: str, old: int) -> bool:
        info = self.supervisor.rpc.getProcessInfo(program)
        return info["statename"] == "RUNNING" and int(info["pid"]) != old

    def is_ready(self) -> bool:
        status = sandbox.read_json(self.paths.status)
        fresh = status.get("time", 0) > time.time() - 10
        return fresh and bool(status.get("ready")) and all(program.running for program in self.supervisor.programs())

    def kill_sandbox(self) -> None:
        """What a reboot does: every process is gone at once, and so are the control groups."""
        os.kill(self.init(), signal.SIGKILL)
        wait(lambda: sandbox.find_init(self.name) is None, 20, "the sandbox to end")
        sandbox.cgroups.sweep(self.name)


def end_tree(pid: int, number: signal.Signals) -> None:
    """Signal a run with its workers and modules, which are in sessions of their own, but not the sandbox."""
    parents: dict[int, list[int]] = {}
    for file in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = file.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(file.parent.name))
    pending = [pid]
    for current in pending:
        pending += [child for child in parents.get(current, []) if not is_sandbox(child)]
    for current in pending:
        with contextlib.suppress(ProcessLookupError):
            os.kill(current, number)


def is_sandbox(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "llmd-wide-ep-" in pathlib.Path(f"/proc/{pid}/cgroup").read_text()
    return False


def changes(output: str) -> int:
    recap = next(line for line in output.splitlines() if "changed=" in line)
    return int(recap.split("changed=")[1].split()[0])
