# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment on the tests' rehearsal cluster under load: its playbooks, its pods, and what a client notices."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / ".ansible" / "collections"), str(ROOT / "tools")]

from _paths import cache_root

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client, load_client

CLUSTER = os.environ.get("LLMD_WIDE_EP_TEST_CLUSTER") or "test"
STATE = Path("/var/lib/llmd-wide-ep", CLUSTER)
KUBECONFIG = cache_root() / "clusters" / CLUSTER / "deployer.kubeconfig"
NAMESPACE, RELEASE = "llm-d-wide-ep", "wide-ep-lws"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
NAMESPACED = f"/api/v1/namespaces/{NAMESPACE}"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{RELEASE}"
LWS = f"/apis/leaderworkerset.x-k8s.io/v1/namespaces/{NAMESPACE}/leaderworkersets"
PREFILL, DECODE = (f"{RELEASE}-nvidia-gpu-vllm-{role}" for role in ("prefill", "decode"))
INVENTORIES = ("inventories/local", "tests/inventory")
MEASURE = ROOT / "molecule" / "runbooks" / "files" / "measure.py"
LOAD = "molecule/runbooks/load.yml"
#: Pods that are a group each: four nodes hold prefill, two groups of decode and a node to spare.
SIZE: dict[str, t.Any] = {
    "wide_ep_prefill_hosts_per_group": 1,
    "wide_ep_decode_hosts_per_group": 1,
    "wide_ep_decode_groups": 2,
}
COLOR = re.compile(r"\x1b\[[0-9;]*m")


class Run(t.NamedTuple):
    """A finished run of ansible-playbook."""

    code: int
    output: str
    seconds: float

    @property
    def text(self) -> str:
        """The output in one line, since messages are wrapped."""
        return " ".join(self.output.split())


def until(condition: Callable[[], t.Any], what: str, limit: float, pause: float = 0.2) -> float:
    """The seconds until it holds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit, f"{what}: not within {limit:g} s"
        time.sleep(pause)
    return time.monotonic() - began


def is_ready(pod: t.Mapping[str, t.Any]) -> bool:
    conditions = pod["status"].get("conditions") or ()
    going = bool(pod["metadata"].get("deletionTimestamp"))
    return not going and any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


class Deployment:
    """``variables`` are given to every run."""

    def __init__(self, folder: Path, **variables: t.Any) -> None:
        self.client: Client = load_client(str(KUBECONFIG))
        self.admin: Client = load_client(str(STATE / "admin.kubeconfig"))
        self.folder = folder
        self.variables = {**SIZE, "wide_ep_artifacts_dir": str(folder), **variables}

    def command(self, *names: str, **variables: t.Any) -> list[str]:
        plain = (".yml", "--check")
        playbooks = [name if name.endswith(plain) else f"playbooks/{name}.yml" for name in names]
        given = ["-e", json.dumps({**self.variables, **variables})]
        tool = str(Path(sys.executable).with_name("ansible-playbook"))
        return [tool, *playbooks, *given, *(f"--inventory={inventory}" for inventory in INVENTORIES)]

    @contextlib.contextmanager
    def started(self, *names: str, **variables: t.Any) -> Iterator[tuple[subprocess.Popen[str], Callable[[], Run]]]:
        """A run under way in a process group of its own, and what it gave once it has ended."""
        began = time.monotonic()
        process = subprocess.Popen(
            self.command(*names, **variables),
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

        def finished() -> Run:
            output, _none = process.communicate(timeout=900)
            return Run(process.returncode, COLOR.sub("", output), time.monotonic() - began)

        try:
            yield process, finished
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def play(self, *names: str, **variables: t.Any) -> Run:
        with self.started(*names, **variables) as (_process, finished):
            return finished()

    def succeed(self, *names: str, **variables: t.Any) -> Run:
        run = self.play(*names, **variables)
        assert run.code == 0, run.output[-6000:]
        return run

    def pods(self, role: str = "") -> list[dict[str, t.Any]]:
        selector = f"llm-d.ai/role={role}" if role else "llm-d.ai/role"
        return self.admin.list(PODS, {"labelSelector": selector})

    def pod(self, name: str) -> dict[str, t.Any] | None:
        return self.admin.get_or_none(f"{PODS}/{name}")

    def uids(self) -> dict[str, str]:
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in self.pods()}

    def whole(self, pods: int = 3) -> bool:
        found = self.pods()
        return len(found) == pods and all(is_ready(pod) for pod in found)

    def status(self) -> tuple[int, dict[str, t.Any]]:
        """The exit code of playbooks/status.yml and what it wrote down."""
        for path in self.folder.glob("**/status.json"):
            path.unlink()
        run = self.play("status")
        found = list(self.folder.glob("**/status.json"))
        assert found, run.output[-4000:]
        document: dict[str, t.Any] = json.loads(found[0].read_text(encoding="utf-8"))
        return run.code, {**document["data"], "output": run.output}

    def processes(self, pod: str, program: str) -> list[int]:
        """Processes on this machine of a program in a pod of the cluster."""
        found = self.pod(pod)
        assert found is not None
        uid, numbers = found["metadata"]["uid"], []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                group = (folder / "cgroup").read_text(encoding="utf-8").replace("_", "-")
                if uid in group and program in (folder / "cmdline").read_text(encoding="utf-8"):
                    numbers.append(int(folder.name))
        return numbers

    def kill(self, pod: str, program: str) -> None:
        numbers = self.processes(pod, program)
        assert numbers, f"no process of {program} in {pod}"
        for number in numbers:
            os.kill(number, signal.SIGKILL)

    def figures(self, began: float, ended: float) -> dict[str, t.Any]:
        """What the client and the watch on the ranks noticed in an interval."""
        log = ""

        def over() -> bool:
            nonlocal log
            log = self.admin.logs(NAMESPACE, "runbooks-load", "load", tail=100_000)
            lines = [line for line in log.splitlines() if line.startswith("{")]
            return bool(lines) and json.loads(lines[-1])["second"] >= int(ended)

        until(over, "every request is over", 60, 0.5)
        files = (str(self.folder / "ranks.jsonl"), str(self.folder / RELEASE))
        command = [sys.executable, str(MEASURE), "between", *files, str(began), str(ended)]
        run = subprocess.run(command, input=log, capture_output=True, text=True, check=True, timeout=60)
        found: dict[str, t.Any] = json.loads(run.stdout)
        return found


@contextlib.contextmanager
def deployed(folder: Path, **variables: t.Any) -> Iterator[Deployment]:
    """A deployment with a client that asks all the time; it is removed afterwards."""
    made = Deployment(folder, **variables)
    made.succeed("lws", "gateway", "workspace", "router", "model_server", "wait")
    try:
        made.succeed(LOAD)
        yield made
    finally:
        (folder / "ranks.jsonl").unlink(missing_ok=True)
        gone = made.play("cleanup")
    assert gone.code == 0, gone.output[-4000:]
