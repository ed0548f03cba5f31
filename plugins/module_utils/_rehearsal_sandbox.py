# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the sandbox of a rehearsal cluster is found, started and ended. Private to the collection; it may change."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils import _rehearsal_cgroups as cgroups

#: Files that only a new start of the sandbox can take up, relative to the cluster's folder.
BOOT_FILES = ("etc/topology.json", "lib/init.py", "lib/boot.py", "lib/node_init.py")

#: What a cluster's folder holds.
STATE_CONTENT = frozenset(
    {"admin.kubeconfig", ".admin.kubeconfig.new", "cluster", "rootfs", "rootfs.new", "rootfs.sha256"}
)

#: The folder that holds the clusters' folders by default: it goes with the last of them.
OWN_PARENT = "llmd-wide-ep"


class SandboxError(Exception):
    """The sandbox could not be started or ended."""


@dataclasses.dataclass(frozen=True)
class Paths:
    """Folders of one cluster."""

    state: pathlib.Path

    @property
    def cluster(self) -> pathlib.Path:
        return self.state / "cluster"

    @property
    def root(self) -> pathlib.Path:
        return self.state / "rootfs"

    @property
    def status(self) -> pathlib.Path:
        return self.cluster / "run/status.json"

    @property
    def boot(self) -> pathlib.Path:
        return self.cluster / "run/boot.json"

    @property
    def socket(self) -> pathlib.Path:
        return self.cluster / "run/supervisor.sock"

    @property
    def boot_log(self) -> pathlib.Path:
        return self.cluster / "log/boot.log"


def inner_pid(status: str) -> tuple[int, int]:
    """How deep a process is in pid namespaces and its number in the innermost, from ``/proc/PID/status``."""
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            numbers = line.split()[1:]
            return len(numbers), int(numbers[-1])
    return 0, 0


def find_init(name: str) -> int | None:
    """The host's number of the sandbox's PID 1, also while it is starting or when its starter was killed."""
    own = inner_pid(pathlib.Path("/proc/self/status").read_text())[0]
    for pid in cgroups.members(name):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            depth, number = inner_pid(pathlib.Path(f"/proc/{pid}/status").read_text())
            if number == 1 and depth == own + 1:
                return pid
    return None


def read_json(path: pathlib.Path) -> dict[str, t.Any]:
    """Empty for a file that is missing or not complete."""
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def digest_of(paths: Paths, programs: t.Mapping[str, t.Any], rootfs: str) -> str:
    total = hashlib.sha256()
    for name in BOOT_FILES:
        file = paths.cluster / name
        total.update(file.read_bytes() if file.exists() else b"")
    total.update(json.dumps([programs, rootfs], sort_keys=True).encode())
    return total.hexdigest()


def sha256_of(path: pathlib.Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def unpack(paths: Paths, archive: pathlib.Path, sha256: str) -> bool:
    """Unpack the root file system beside its place and rename it, so that a half one is never used."""
    marker = paths.state / "rootfs.sha256"
    if paths.root.exists() and marker.exists() and marker.read_text() == sha256:
        return False
    fresh = paths.state / "rootfs.new"
    for folder in (fresh, paths.root):
        shutil.rmtree(folder, ignore_errors=True)
    marker.unlink(missing_ok=True)
    fresh.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        tar.extractall(fresh, filter="fully_trusted")
    for name in ("proc", "sys", "dev", "run", "tmp", "mnt", "home", "opt", "cluster", "usr/local/bin"):
        (fresh / name).mkdir(parents=True, exist_ok=True)
    fresh.rename(paths.root)
    marker.write_text(sha256)
    return True


def boot_plan(paths: Paths, name: str, programs: t.Mapping[str, str], images: str, digest: str) -> dict[str, t.Any]:
    binds: list[list[t.Any]] = [[str(paths.cluster), "/cluster", False], [images, "/images", True]]
    binds += [[path, f"/usr/local/bin/{program}", True] for program, path in sorted(programs.items())]
    return {
        "root": str(paths.root),
        "hostname": f"{name}-control",
        "binds": binds,
        "digest": digest,
        "cgroups": [str(file) for file in cgroups.process_files(name)],
    }


def start(paths: Paths, name: str, nodes: t.Sequence[str], plan: t.Mapping[str, t.Any]) -> subprocess.Popen[bytes]:
    """Start PID 1 and return its parent at once; it belongs to no session and to no group of the caller."""
    for folder in ("run", "log", "audit", "etcd"):
        (paths.cluster / folder).mkdir(parents=True, exist_ok=True)
    cgroups.create(name, nodes)
    paths.boot.unlink(missing_ok=True)
    plan_file = paths.cluster / "run/plan.json"
    plan_file.write_text(json.dumps(plan))
    command = [sys.executable, str(paths.cluster / "lib/init.py"), "launch", str(plan_file)]
    environment = {"PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])}
    with paths.boot_log.open("wb") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=environment, start_new_session=True
        )


def stop(name: str, limit: float) -> bool:
    """End PID 1, and with it everything in the sandbox. Returns whether there was anything to end."""
    pid = find_init(name)
    leftovers = cgroups.members(name)
    if pid is None and not leftovers:
        return False
    if pid is not None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            if wait_until(lambda: find_init(name) != pid, limit):
                break
    for member in cgroups.members(name):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
    if not wait_until(lambda: not cgroups.members(name), 10):
        raise SandboxError(f"processes {cgroups.members(name)} survive SIGKILL; look at their state in ps")
    return True


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> t.Iterator[None]:
    """Hold the cluster's folder against another run: a killed ansible-playbook can leave its module behind, at work."""
    while folder.exists():
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Whoever had the lock may have deleted the folder meanwhile.
            if folder.exists() and os.fstat(descriptor).st_ino == folder.stat().st_ino:
                yield
                return
        finally:
            os.close(descriptor)
    yield


def wait_until(condition: t.Callable[[], bool], limit: float, interval: float = 0.05) -> bool:
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True


def remove_state(paths: Paths) -> None:
    """Delete the folder if it is a cluster's and nothing is mounted in it, since a mount leads elsewhere."""
    foreign = sorted({item.name for item in paths.state.iterdir()} - STATE_CONTENT)
    if foreign:
        raise SandboxError(f"{paths.state} also holds {', '.join(foreign[:5])}; nothing is deleted")
    mounts = pathlib.Path("/proc/self/mounts").read_text()
    inside = [line.split()[1] for line in mounts.splitlines() if line.split()[1].startswith(f"{paths.state}/")]
    if inside:
        raise SandboxError(f"{', '.join(inside)} is mounted inside {paths.state}; unmount it first")
    shutil.rmtree(paths.state)
    if paths.state.parent.name == OWN_PARENT:
        with contextlib.suppress(OSError):
            paths.state.parent.rmdir()


def last_lines(path: pathlib.Path, count: int = 15) -> str:
    with contextlib.suppress(FileNotFoundError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-count:])
    return ""
