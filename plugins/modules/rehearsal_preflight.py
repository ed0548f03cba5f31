# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rehearsal_preflight
short_description: Judge whether a rehearsal cluster can run on this machine
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Looks at the machine and at the built programs, changes nothing, and needs no privileges.
  - Fails with all findings at once. Room for the cluster is only asked for when it does not run yet.
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed.
    support: none
options:
  address_range:
    description: The range that the C(/30) of a cluster is taken from.
    type: str
    required: true
  manifest:
    description: The manifest that the builder wrote.
    type: path
    required: true
  min_disk_gib:
    description: The free disk space that a new cluster needs.
    type: float
    required: true
  min_memory_gib:
    description: The available memory that a start needs.
    type: float
    required: true
  name:
    description: The name of the cluster.
    type: str
    required: true
  nodes:
    description: How many nodes the cluster has.
    type: int
    required: true
  state_dir:
    description: The folder of the cluster.
    type: path
    required: true
  subnet:
    description: The C(/30) of the cluster. Empty takes a free one, and keeps it.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Judge the machine
  llmd.wide_ep.rehearsal_preflight:
    name: local
    address_range: 10.201.0.0/16
    manifest: ~/.cache/llmd-wide-ep/manifests/standalone.json
    min_disk_gib: 25
    min_memory_gib: 6
    nodes: 5
    state_dir: /var/lib/llmd-wide-ep/local
"""

RETURN = r"""
findings:
  description: What speaks against it.
  type: list
  elements: dict
  returned: always
pause_image:
  description: The image that holds a pod's namespaces.
  type: str
  returned: success
programs:
  description: Path and hash of each program, by name.
  type: dict
  returned: success
registry:
  description: The folder of the image registry.
  type: str
  returned: success
rootfs:
  description: Path and hash of the root file system's archive.
  type: dict
  returned: success
running:
  description: Whether the cluster's sandbox runs.
  type: bool
  returned: success
subnet:
  description: The C(/30) of the cluster.
  type: str
  returned: success
"""

import contextlib
import gzip
import ipaddress
import json
import os
import pathlib
import platform
import shutil
import sys
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmd.wide_ep.plugins.module_utils import _rehearsal_checks as checks
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import has_errors, report
from ansible_collections.llmd.wide_ep.plugins.module_utils._rehearsal_cgroups import members, running_clusters
from ansible_collections.llmd.wide_ep.plugins.module_utils._rehearsal_files import nearest_existing

ARGUMENTS: dict[str, t.Any] = {
    "address_range": {"type": "str", "required": True},
    "manifest": {"type": "path", "required": True},
    "min_disk_gib": {"type": "float", "required": True},
    "min_memory_gib": {"type": "float", "required": True},
    "name": {"type": "str", "required": True},
    "nodes": {"type": "int", "required": True},
    "state_dir": {"type": "path", "required": True},
    "subnet": {"type": "str", "default": ""},
}
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
GIB = 1024**3


def read_text(path: str) -> str:
    file = pathlib.Path(path)
    return file.read_text() if file.exists() else ""


def read_kernel() -> dict[str, bool | None]:
    packed = pathlib.Path("/proc/config.gz")
    if packed.exists():
        return checks.parse_kernel(gzip.decompress(packed.read_bytes()).decode())
    return checks.parse_kernel(read_text(f"/boot/config-{platform.release()}"))


def count_watchers() -> int:
    """Inotify instances in use. Without privileges others' are not seen, so a cluster counts as its usual share."""
    seen = 0
    for descriptor in pathlib.Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            seen += os.readlink(descriptor) == "anon_inode:inotify"
    if os.geteuid() == 0:
        return seen
    return max(seen, sum(checks.watchers_of(len(nodes)) for nodes in running_clusters().values()))


def read_host(name: str, state_dir: pathlib.Path, nodes: int) -> checks.Host:
    running = platform.system() == "Linux" and bool(members(name))
    folder = nearest_existing(state_dir)
    return checks.Host(
        system=platform.system(),
        root=os.geteuid() == 0,
        sudo=shutil.which("sudo", path=PATH) is not None,
        memory_gib=checks.parse_memory_gib(read_text("/proc/meminfo")),
        disk_gib=shutil.disk_usage(folder).free / GIB,
        disk_path=str(folder),
        kernel=read_kernel(),
        commands={command: shutil.which(command, path=PATH) is not None for command in checks.HOST_COMMANDS},
        routes=checks.parse_routes(read_text("/proc/net/route")),
        running=running,
        state_exists=(state_dir / "cluster").exists(),
        watchers_used=0 if running else count_watchers(),
        watchers_needed=checks.watchers_of(nodes),
        watchers_limit=int(read_text("/proc/sys/fs/inotify/max_user_instances") or sys.maxsize),
    )


def read_manifest(path: pathlib.Path) -> t.Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return str(error)


def read_subnets(state_dir: pathlib.Path) -> dict[str, str]:
    """The /30 of every cluster that is beside this one, by name."""
    found = {}
    for file in state_dir.parent.glob("*/cluster/etc/topology.json"):
        topology = read_manifest(file)
        if isinstance(topology, dict):
            interface = ipaddress.ip_interface(f"{topology['address']}/{topology['prefix']}")
            found[topology["name"]] = str(interface.network)
    return found


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    params = module.params
    name, state_dir = params["name"], pathlib.Path(params["state_dir"])
    host = read_host(name, state_dir, params["nodes"])
    findings = checks.check_name(name)
    findings += checks.check_host(host, checks.Limits(params["min_memory_gib"], params["min_disk_gib"]))
    manifest = read_manifest(pathlib.Path(params["manifest"]))
    findings += checks.check_manifest(manifest, params["manifest"], os.path.exists)
    subnet, taken = checks.choose_subnet(
        name, params["subnet"], params["address_range"], read_subnets(state_dir), host.routes
    )
    findings += taken
    result: dict[str, t.Any] = {"findings": [finding.as_dict() for finding in findings]}
    if has_errors(findings):
        module.fail_json(msg=f"no rehearsal cluster on this machine:\n{report(findings)}", **result)
    programs = manifest["programs"]
    wanted = [item for item in (*checks.PROGRAMS, *checks.OPTIONAL_PROGRAMS) if item in programs]
    module.exit_json(
        changed=False,
        pause_image=checks.pause_image(manifest),
        programs={item: {key: programs[item][key] for key in ("path", "sha256")} for item in wanted},
        registry=manifest["registry"]["path"],
        rootfs=manifest["rootfs"],
        running=host.running,
        subnet=subnet,
        **result,
    )


if __name__ == "__main__":
    main()
