# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module from a playbook, against an API server that runs the Job's pods as probers in network namespaces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import typing as t
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from loading import load_file

ROOT = Path(__file__).parents[3]
lab = load_file(Path(__file__).with_name("lab.py"), "mesh_lab")

HOSTS, NICS = 4, 4
Json = dict[str, t.Any]

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0, reason="network namespaces need Linux and root"
)


class Cluster:
    """Keeps objects by path, and starts the lab once the Job has its program and its configuration."""

    def __init__(self, lost: list[tuple[int, int, int, int]]) -> None:
        self.lost = lost
        self.objects: dict[str, Json] = {}
        self.log: str | None = None
        self.runs = 0
        self.starts = True
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method: str, path: str, body: Json | None) -> tuple[int, t.Any]:
        return self._read(path) if method == "GET" else self._write(method, path, body or {})

    def _read(self, path: str) -> tuple[int, t.Any]:
        lists: dict[str, t.Callable[[], t.Any]] = {
            "nodes": lambda: {"items": [self._node(host) for host in range(HOSTS)]},
            "pods": lambda: {"items": self._pods()},
            "jobs": lambda: {"items": [item for item in self.objects.values() if item["kind"] == "Job"]},
            "events": lambda: {"items": []},
            "log": lambda: self.log or "",
        }
        made = lists.get(path.rpartition("/")[2])
        if made:
            return 200, made()
        return (200, self.objects[path]) if path in self.objects else self._missing()

    def _write(self, method: str, path: str, body: Json) -> tuple[int, t.Any]:
        if method == "DELETE":
            return (200, {}) if self.objects.pop(path, None) else self._missing()
        if method == "POST":
            body["metadata"]["uid"] = f"uid-{len(self.objects)}"
            path = f"{path}/{body['metadata']['name']}"
        self.objects[path] = body
        if body["kind"] == "Secret" and self.starts:
            threading.Thread(target=self._probe, args=(body["metadata"]["name"],), daemon=True).start()
        return 201, body

    @staticmethod
    def _missing() -> tuple[int, Json]:
        return 404, {"kind": "Status", "status": "Failure", "reason": "NotFound", "message": "not found", "code": 404}

    @staticmethod
    def _node(host: int) -> Json:
        conditions = [{"type": "Ready", "status": "True"}]
        return {"metadata": {"name": f"node-{host}", "uid": f"node-uid-{host}"}, "spec": {},
                "status": {"conditions": conditions, "allocatable": {"nvidia.com/gpu": "8"},
                           "nodeInfo": {"bootID": "boot"}}}  # fmt: skip

    def _pods(self) -> list[Json]:
        name = next((item["metadata"]["name"] for item in self.objects.values() if item["kind"] == "Job"), None)
        if name is None or not self.starts:
            return []
        phase = "Running" if self.log is None else "Succeeded"
        index_of = "batch.kubernetes.io/job-completion-index"
        return [
            {
                "metadata": {"name": f"{name}-{index}", "annotations": {index_of: str(index)}},
                "spec": {"nodeName": f"node-{index}"},
                "status": {"phase": phase},
            }
            for index in range(HOSTS)
        ]

    def _probe(self, name: str) -> None:
        self.log = None
        made = {path.rsplit("/", 2)[1]: item for path, item in self.objects.items() if path.endswith(name)}
        config = json.loads(made["secrets"]["stringData"]["config.json"])
        config |= {"coordinator": "172.31.0.10", "nics": ["nic*"]}
        setup = {"hosts": HOSTS, "nics": NICS, "lost": self.lost, "config": config, "files": made["configmaps"]["data"]}
        self.runs += 1
        self.log = lab.isolated(setup)["log"]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length)
                code, found = cluster.answer(self.command, urlsplit(self.path).path, json.loads(raw) if raw else None)
                text = found if isinstance(found, str) else json.dumps(found)
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PATCH = do_DELETE = _do  # noqa: N815

            def log_message(self, *_arguments: t.Any) -> None:
                """Nothing is printed."""

        return Handler


@pytest.fixture
def cluster() -> t.Iterator[Cluster]:
    pairs = [(h, i, g, j) for h in range(HOSTS) for g in range(HOSTS) if h != g for i in range(NICS)
             for j in range(NICS) if i != j]  # fmt: skip
    made = Cluster(pairs)
    yield made
    made.close()


def play(cluster: Cluster, folder: Path, *options: str, **arguments: t.Any) -> tuple[Json, str]:
    """The task's result, and what the run printed."""
    access = {"clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{cluster.server.server_port}"}}],
              "users": [{"name": "u", "user": {}}], "current-context": "x",
              "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}]}  # fmt: skip
    (folder / "kubeconfig").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **access}))
    objects = yaml.safe_load((ROOT / "tests/data/rendered/gke.yaml").read_text(encoding="utf-8"))["items"]
    task = {"kubeconfig": str(folder / "kubeconfig"), "namespace": "n", "release": "r", "objects": objects,
            "program": str(ROOT / "roles/rdma_mesh/files/prober"), "hosts": HOSTS, "nics": ["rail*"],
            "transport": "udp", "accept_ip_only": True, "join_timeout": 20, "phase_timeout": 20,
            "start_timeout": 5, **arguments}  # fmt: skip
    copy = {"content": "{{ result | to_json }}", "dest": str(folder / "result.json"), "mode": "0600"}
    tasks = [{"llmd.wide_ep.rdma_mesh": task, "register": "result", "failed_when": False},
             {"ansible.builtin.copy": copy, "check_mode": False}]  # fmt: skip
    (folder / "play.yml").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"),
                   "ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false"}  # fmt: skip
    command = [str(Path(sys.executable).parent / "ansible-playbook"), str(folder / "play.yml"), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "result.json").read_text()), done.stdout


def test_rails_fail_low_latency_and_the_verdict_is_kept(cluster: Cluster, tmp_path: Path) -> None:
    found, shown = play(cluster, tmp_path, dest=str(tmp_path / "out"))
    assert (found["verdict"], found["basis"], found["passed"], found["reused"]) == (
        "RAIL_ONLY",
        "IP only",
        False,
        False,
    )
    assert found["requirement"]["states"] == {
        "prefill: deepep_high_throughput": "ok",
        "decode: deepep_low_latency": "fail",
    }
    assert [finding["code"] for finding in found["findings"]] == ["RDMA_REQUIREMENT", "RDMA_RAIL_ONLY"]
    assert "16 of 16 paths of the same rail and 0 of 16 across rails answer" in shown
    assert "RAIL_ONLY (IP only)" in (tmp_path / "out/rdma_mesh_matrix.html").read_text()
    assert [item["kind"] for item in cluster.objects.values()] == ["ConfigMap"], "the kept verdict is all that is left"

    again, _shown = play(cluster, tmp_path, require="none")
    assert (again["verdict"], again["reused"], again["changed"], cluster.runs) == ("RAIL_ONLY", True, False, 1)
    looked, _shown = play(cluster, tmp_path, "--check", require="none")
    assert (looked["verdict"], looked["reused"], looked["changed"]) == ("RAIL_ONLY", True, False)
    # What it does not carry may have been mended since.
    warned, _shown = play(cluster, tmp_path, gate="warn")
    assert (warned["verdict"], warned["reused"], warned["changed"], cluster.runs) == ("RAIL_ONLY", False, False, 2)
    assert warned["warnings"]
    cluster.lost = []
    mended, _shown = play(cluster, tmp_path)
    assert (mended["verdict"], mended["passed"], mended["changed"], cluster.runs) == ("FULL_MESH", True, True, 3)

    removed, _shown = play(cluster, tmp_path, state="absent")
    assert (removed["changed"], cluster.objects) == (True, {})
    removed, _shown = play(cluster, tmp_path, state="absent")
    assert removed["changed"] is False


def test_check_mode_creates_nothing(cluster: Cluster, tmp_path: Path) -> None:
    found, _shown = play(cluster, tmp_path, "--check", nics_per_host=NICS)
    assert (found["plan"]["directed_pairs"], found["plan"]["rounds"], found["changed"]) == (192, 12, True)
    assert (cluster.objects, cluster.runs) == ({}, 0)


def test_pods_that_never_start_leave_nothing(cluster: Cluster, tmp_path: Path) -> None:
    cluster.starts = False
    found, _shown = play(cluster, tmp_path, start_timeout=1)
    assert found["findings"][0]["code"] == "RDMA_CHECK_FAILED"
    assert "the coordinator's pod is absent" in found["findings"][0]["evidence"]
    assert cluster.objects == {}
