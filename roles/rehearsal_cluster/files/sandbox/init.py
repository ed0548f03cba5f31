# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""First program of the sandbox: makes the cluster's own root file system the only one that its processes see.

Runs with the host's Python. ``launch`` goes into the cluster's control groups and into fresh namespaces. ``enter`` is
PID 1 there, mounts, and replaces itself by ``boot.py`` of the new root. All mounts vanish with the namespaces.
"""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys
import typing as t

NAMESPACES = ("--mount", "--pid", "--net", "--uts", "--ipc")
#: The kubelet insists on these values. They belong to the whole machine, so it is shown files instead of the real ones.
KERNEL_TUNABLES = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def mount(*arguments: str, keep: tuple[int, ...] = ()) -> None:
    subprocess.run(["mount", *arguments], check=True, pass_fds=keep)


def bind(source: str, target: pathlib.Path, read_only: bool = False) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if pathlib.Path(source).is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    mount("--bind", source, str(target))
    if read_only:
        mount("-o", "remount,bind,ro", str(target))


def mount_root(root: pathlib.Path, binds: t.Iterable[t.Sequence[t.Any]]) -> None:
    mount("--bind", str(root), str(root))
    mount("-t", "proc", "proc", str(root / "proc"))
    mount("-t", "sysfs", "sysfs", str(root / "sys"))
    mount("--rbind", "/sys/fs/cgroup", str(root / "sys/fs/cgroup"))
    mount("--rbind", "/dev", str(root / "dev"))
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(root / "dev/shm"))
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(root / "run"))
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(root / "tmp"))
    for source, target, read_only in binds:
        bind(source, root / target.lstrip("/"), read_only)


def hide_tunables(root: pathlib.Path) -> None:
    folder = root / "run/sysctl"
    for name, value in KERNEL_TUNABLES.items():
        if not (root / "proc/sys" / name).exists():
            continue
        shown = folder / name
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.write_text(value + "\n")
        mount("--bind", str(shown), str(root / "proc/sys" / name))


def keep_host_network(root: pathlib.Path, descriptor: int) -> None:
    """Give the new root a handle on the host's network namespace, for one end of the veth pair."""
    handle = root / "run/netns/host"
    handle.parent.mkdir(parents=True)
    handle.touch()
    mount("--bind", f"/proc/self/fd/{descriptor}", str(handle), keep=(descriptor,))


def launch(plan_path: str, plan: t.Mapping[str, t.Any]) -> None:
    for file in plan["cgroups"]:
        pathlib.Path(file).write_text(str(os.getpid()))
    network = os.open("/proc/self/ns/net", os.O_RDONLY)
    os.set_inheritable(network, True)
    program = ["unshare", *NAMESPACES, "--fork", "--kill-child", "--propagation", "private",
               sys.executable, __file__, "enter", plan_path, str(network)]  # fmt: skip
    os.execvp(program[0], program)


def enter(plan: t.Mapping[str, t.Any], descriptor: int) -> None:
    root = pathlib.Path(plan["root"])
    socket.sethostname(plan["hostname"])
    mount_root(root, plan["binds"])
    hide_tunables(root)
    keep_host_network(root, descriptor)
    os.close(descriptor)
    old = root / "old"
    old.mkdir(exist_ok=True)
    os.chdir(root)
    subprocess.run(["pivot_root", ".", "old"], check=True)
    os.chdir("/")
    subprocess.run(["/usr/bin/umount", "--lazy", "/old"], check=True)
    environment = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    program = ["/usr/bin/python3", "/cluster/lib/boot.py", plan["digest"]]
    os.execve(program[0], program, environment)


def main(action: str, plan_path: str, *rest: str) -> None:
    plan = json.loads(pathlib.Path(plan_path).read_text())
    if action == "launch":
        launch(plan_path, plan)
    enter(plan, int(rest[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
