# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rehearsal_sandbox
short_description: Run or remove the sandbox of a rehearsal cluster
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - A sandbox is a set of own mount, pid, network, uts and ipc namespaces with a root file system of its own, in which
    supervisord is process 1. The host sees one veth interface with one address, one tree of control groups, one folder.
  - Starts it if it does not run, restarts the programs whose configuration changed, restarts all of it if its network
    or its programs changed, and waits until every node is ready.
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed.
    support: none
options:
  host_interface:
    description: The host's end of the link to the cluster.
    type: str
    required: true
  images:
    description: The folder that holds image registries, shown read-only to the sandbox. Required with O(state=present).
    type: path
  name:
    description: The name of the cluster.
    type: str
    required: true
  nodes:
    description: The names of the nodes. Required with O(state=present).
    type: list
    elements: str
  pending:
    description: Configuration files that were written before, or would have been in check mode.
    type: list
    elements: str
    default: []
  programs:
    description:
      - The programs that the sandbox gets, each with C(path) and C(sha256), by name. Required with O(state=present).
    type: dict
  ready_timeout:
    description: How many seconds the cluster may take until all its nodes are ready.
    type: float
    default: 180
  rootfs:
    description: The archive of the root file system, with C(path) and C(sha256). Required with O(state=present).
    type: dict
  state:
    description: Whether the cluster runs (V(present)) or nothing of it is left (V(absent)).
    type: str
    choices: [present, absent]
    default: present
  state_dir:
    description: The folder of the cluster.
    type: path
    required: true
  stop_timeout:
    description: How many seconds the sandbox gets to end by itself before it is killed.
    type: float
    default: 10
"""

EXAMPLES = r"""
- name: Remove the sandbox
  llmd.wide_ep.rehearsal_sandbox:
    name: local
    host_interface: lwe-local
    state_dir: /var/lib/llmd-wide-ep/local
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, in order.
  type: list
  elements: str
  returned: always
  sample: [started the sandbox]
seconds:
  description: How long it took until the cluster was ready.
  type: float
  returned: when O(state=present)
"""

import hashlib
import ipaddress
import pathlib
import time
import typing as t
import xmlrpc.client

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmd.wide_ep.plugins.module_utils import _rehearsal_cgroups as cgroups
from ansible_collections.llmd.wide_ep.plugins.module_utils import _rehearsal_sandbox as sandbox
from ansible_collections.llmd.wide_ep.plugins.module_utils._rehearsal_checks import overlaps, parse_routes
from ansible_collections.llmd.wide_ep.plugins.module_utils._rehearsal_supervisor import Program, Supervisor

ARGUMENTS: dict[str, t.Any] = {
    "host_interface": {"type": "str", "required": True},
    "images": {"type": "path"},
    "name": {"type": "str", "required": True},
    "nodes": {"type": "list", "elements": "str"},
    "pending": {"type": "list", "elements": "str", "default": []},
    "programs": {"type": "dict"},
    "ready_timeout": {"type": "float", "default": 180},
    "rootfs": {"type": "dict"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "state_dir": {"type": "path", "required": True},
    "stop_timeout": {"type": "float", "default": 10},
}
BOOT_SECONDS = 60
STATUS_SECONDS = 15


def pending(status: t.Mapping[str, t.Any], digest: str, programs: t.Sequence[Program], now: float) -> dict[str, str]:
    """What the cluster still waits for, by subject; empty when it is ready."""
    waiting = {program.name: program.state for program in programs if not program.running}
    if status.get("digest") != digest or now - status.get("time", 0) > STATUS_SECONDS:
        return {**waiting, "steward": "has not looked at the cluster yet"}
    return {**waiting, **status.get("waiting", {})}


def predicted(pending: t.Sequence[str]) -> list[str]:
    """What files that are not written yet would lead to."""
    if any(path.endswith(f"/{name}") for path in pending for name in sandbox.BOOT_FILES):
        return ["restarted the sandbox"]
    return ["restarted programs"] if any(path.endswith("/supervisord.conf") for path in pending) else []


class SandboxManager:
    """One cluster's sandbox."""

    def __init__(self, module: AnsibleModule) -> None:
        self.check_mode: bool = module.check_mode
        self.params: dict[str, t.Any] = module.params
        self.name: str = module.params["name"]
        self.interface = pathlib.Path("/sys/class/net") / module.params["host_interface"]
        self.paths = sandbox.Paths(pathlib.Path(module.params["state_dir"]))
        self.actions: list[str] = []

    def verify_programs(self) -> None:
        wanted = [(name, item["path"], item["sha256"]) for name, item in self.params["programs"].items()]
        wanted.append(("rootfs", self.params["rootfs"]["path"], self.params["rootfs"]["sha256"]))
        for name, path, sha256 in wanted:
            if sandbox.sha256_of(pathlib.Path(path)) != sha256:
                raise sandbox.SandboxError(f"{name} at {path} is not the file that was built; run `make binaries`")

    def end(self) -> bool:
        ended = sandbox.stop(self.name, self.params["stop_timeout"])
        # The kernel takes a network namespace down after its last process is gone.
        if not sandbox.wait_until(lambda: not self.interface.exists(), 20):
            raise sandbox.SandboxError(f"{self.interface.name} outlives the cluster; remove it with ip link delete")
        return ended

    def check_address(self) -> None:
        """Another cluster may have taken the same addresses since they were chosen."""
        link = sandbox.read_json(self.paths.cluster / "etc/topology.json")
        network = ipaddress.ip_interface(f"{link['address']}/{link['prefix']}").network
        routes = parse_routes(pathlib.Path("/proc/net/route").read_text())
        if route := overlaps(ipaddress.IPv4Network(network), routes, link["host_interface"]):
            raise sandbox.SandboxError(f"{network} is in use by {route.interface}; run it again for other addresses")

    def boot(self, digest: str) -> None:
        self.check_address()
        self.verify_programs()
        rootfs = self.params["rootfs"]
        sandbox.unpack(self.paths, pathlib.Path(rootfs["path"]), rootfs["sha256"])
        programs = {name: item["path"] for name, item in self.params["programs"].items()}
        plan = sandbox.boot_plan(self.paths, self.name, programs, self.params["images"], digest)
        process = sandbox.start(self.paths, self.name, self.params["nodes"], plan)
        self.await_boot(lambda: process.poll() is not None)

    def await_boot(self, ended: t.Callable[[], bool]) -> None:
        """Until supervisord listens, or the sandbox ended, whichever is first."""
        if sandbox.wait_until(lambda: self.listening() or ended(), BOOT_SECONDS) and self.listening():
            return
        log = sandbox.last_lines(self.paths.boot_log)
        raise sandbox.SandboxError(f"the sandbox did not start; end of {self.paths.boot_log}:\n{log}")

    def listening(self) -> bool:
        if not self.paths.boot.exists():
            return False
        try:
            Supervisor(self.paths.socket).programs()
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    def update(self, digest: str) -> None:
        """Bring the sandbox to the wanted configuration; every step is skipped where it already has it."""
        running = sandbox.find_init(self.name) is not None
        if running and not self.check_mode and not self.listening():
            self.await_boot(lambda: not cgroups.members(self.name))
        current = sandbox.read_json(self.paths.boot).get("digest")
        if not running or current != digest:
            self.actions.append("restarted the sandbox" if running else "started the sandbox")
            if not self.check_mode:
                self.end()
                self.boot(digest)
        elif self.check_mode:
            self.actions += predicted(self.params["pending"])
        else:
            supervisor = Supervisor(self.paths.socket)
            self.actions += [f"restarted {name}" for name in supervisor.reload()]
            self.actions += [f"started {name}" for name in supervisor.revive()]

    def wanted_status(self) -> str:
        return hashlib.sha256((self.paths.cluster / "etc/desired.json").read_bytes()).hexdigest()

    def waiting(self, digest: str) -> dict[str, str]:
        status = sandbox.read_json(self.paths.status)
        return pending(status, digest, Supervisor(self.paths.socket).programs(), time.time())

    def await_ready(self) -> None:
        digest = self.wanted_status()
        if sandbox.wait_until(lambda: not self.waiting(digest), self.params["ready_timeout"], 0.1):
            return
        waiting = self.waiting(digest)
        lines = [f"{subject}: {reason}" for subject, reason in waiting.items()]
        for program in Supervisor(self.paths.socket).programs():
            if not program.running:
                log = self.paths.cluster / pathlib.Path(program.log).relative_to("/cluster")
                lines.append(f"end of {log}:\n{sandbox.last_lines(log)}")
        limit = self.params["ready_timeout"]
        raise sandbox.SandboxError(f"the cluster is not ready after {limit:g} s.\n" + "\n".join(lines))

    def present(self) -> dict[str, t.Any]:
        started = time.monotonic()
        programs = {name: item["sha256"] for name, item in self.params["programs"].items()}
        digest = sandbox.digest_of(self.paths, programs, self.params["rootfs"]["sha256"])
        self.update(digest)
        if not self.check_mode:
            self.await_ready()
        return {"seconds": round(time.monotonic() - started, 1)}

    def absent(self) -> dict[str, t.Any]:
        if self.check_mode:
            if sandbox.find_init(self.name) is not None:
                self.actions.append("ended the sandbox")
        elif self.end():
            self.actions.append("ended the sandbox")
        if cgroups.folders(self.name):
            self.actions.append("removed its control groups")
            if not self.check_mode and (left := cgroups.sweep(self.name)):
                raise sandbox.SandboxError(f"control groups stay: {', '.join(map(str, left[:5]))}")
        if self.paths.state.exists():
            self.actions.append(f"deleted {self.paths.state}")
            if not self.check_mode:
                sandbox.remove_state(self.paths)
        return {}


def main() -> None:
    required = ("nodes", "programs", "images", "rootfs")
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True, required_if=[("state", "present", required)])
    manager = SandboxManager(module)
    try:
        with sandbox.locked(manager.paths.state):
            result = manager.present() if module.params["state"] == "present" else manager.absent()
    except (sandbox.SandboxError, OSError, xmlrpc.client.Error) as error:
        module.fail_json(msg=f"cluster {manager.name}: {error}", actions=manager.actions)
    module.exit_json(changed=bool(manager.actions), actions=manager.actions, **result)


if __name__ == "__main__":
    main()
