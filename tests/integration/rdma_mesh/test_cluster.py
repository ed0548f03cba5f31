# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probers in pods of a rehearsal cluster whose rails are broken on purpose: the right verdict and the right culprit.

``LLMD_WIDE_EP_TEST_CLUSTER`` names the cluster; molecule/rdma_mesh has made it and its namespace. Run as root.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import typing as t

import pytest
from loading import load_file

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/integration/rehearsal_cluster"))

from _cluster import Cluster, changes, wait

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_result as results
from ansible_collections.llmd.wide_ep.plugins.module_utils._mesh_matrix import bit_count

rails_module = load_file(pathlib.Path(__file__).with_name("rails.py"), "mesh_rails")

NAME = os.environ.get("LLMD_WIDE_EP_TEST_CLUSTER", "")
pytestmark = pytest.mark.skipif(
    not NAME or os.geteuid() != 0, reason="LLMD_WIDE_EP_TEST_CLUSTER is not set, or no root"
)

NAMESPACE, RELEASE = "llm-d-wide-ep", "wide-ep-lws"
HOSTS, NICS = 4, 8
ALL, SAME = HOSTS * (HOSTS - 1) * NICS * NICS, HOSTS * (HOSTS - 1) * NICS
Json = dict[str, t.Any]


@dataclasses.dataclass
class Run:
    """One run of the playbook; ``found`` is what it left in its folder, empty where that is nothing."""

    status: int
    output: str
    found: Json
    seconds: float

    @property
    def codes(self) -> list[tuple[str, str]]:
        return [(finding["code"], finding["subject"]) for finding in self.found["findings"]]


@dataclasses.dataclass
class Bench:
    """The cluster with its rails, and the playbook of the check."""

    cluster: Cluster
    rails: t.Any
    folder: pathlib.Path

    @property
    def client(self) -> t.Any:
        return self.cluster.client()

    def command(self, folder: pathlib.Path, *options: str, **variables: t.Any) -> list[str]:
        given = {"wide_ep_artifacts_dir": str(folder), "rdma_mesh_join_timeout": 40, "rdma_mesh_phase_timeout": 40,
                 **variables}  # fmt: skip
        tool = pathlib.Path(sys.executable).with_name("ansible-playbook")
        return [str(tool), "playbooks/rdma_mesh.yml", "-i", "inventories/local", "-i", "tests/inventory", "-e",
                json.dumps(given), *options]  # fmt: skip

    def start(self, *options: str, **variables: t.Any) -> tuple[subprocess.Popen[str], pathlib.Path]:
        folder = self.folder / str(time.monotonic_ns())
        command = self.command(folder, *options, **variables)
        environment = {**os.environ, "LLMD_WIDE_EP_SCENARIO": "full", "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
        return process, folder

    def end(self, process: subprocess.Popen[str], folder: pathlib.Path, began: float) -> Run:
        output, _none = process.communicate(timeout=240)
        path = folder / RELEASE / "rdma_mesh/rdma_mesh_matrix.json"
        found = json.loads(path.read_text()) if path.exists() else {}
        return Run(process.returncode, output, found, time.monotonic() - began)

    def play(self, *options: str, **variables: t.Any) -> Run:
        began = time.monotonic()
        return self.end(*self.start(*options, **variables), began)

    def probe(self, **variables: t.Any) -> Run:
        """Probe whatever is kept, and let nothing but the verdict speak."""
        run = self.play(rdma_mesh_reuse=False, wide_ep_mesh_gate="warn", **variables)
        assert run.status == 0, run.output[-3000:]
        return run

    def jobs(self) -> list[Json]:
        return t.cast("list[Json]", self.client.list(f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"))

    def pods(self) -> list[Json]:
        return t.cast("list[Json]", self.client.list(f"/api/v1/namespaces/{NAMESPACE}/pods"))

    def host_of(self, index: int) -> int | None:
        """The host that the prober of this index is scheduled to."""
        annotation = "batch.kubernetes.io/job-completion-index"
        for pod in self.pods():
            if pod["metadata"].get("annotations", {}).get(annotation) == str(index) and pod["spec"].get("nodeName"):
                return int(self.rails.names.index(pod["spec"]["nodeName"]))
        return None

    def left(self) -> list[str]:
        """What a check has left in the namespace, but for the verdict."""
        found = [f"jobs/{job['metadata']['name']}" for job in self.jobs()]
        for plural in ("services", "secrets", "configmaps"):
            items = self.client.list(f"/api/v1/namespaces/{NAMESPACE}/{plural}")
            found += [f"{plural}/{item['metadata']['name']}" for item in items]
        return [name for name in found if "-mesh-" in name]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    cluster = Cluster(NAME)
    return Bench(cluster, rails_module.Rails(cluster), tmp_path_factory.mktemp("mesh"))


@pytest.fixture(autouse=True)
def mended(bench: Bench) -> t.Iterator[None]:
    yield
    bench.rails.mend()


@dataclasses.dataclass(frozen=True)
class Fault:
    """``findings`` are codes with their subject, {N} is the name of node N, in the order in which they are shown."""

    verdict: str
    findings: tuple[tuple[str, str], ...] = ()
    usable: int = ALL
    breaks: t.Callable[[t.Any], None] = lambda _rails: None
    qualifiers: tuple[str, ...] = ()


def cross(_h: int, i: int, _g: int, j: int) -> bool:
    return i != j


def miscabled(rails: t.Any) -> None:
    rails.swap(2, 0, 3)
    rails.lose(cross)


TOUCHING = 2 * NICS * (HOSTS - 1)
FAULTS = {
    "full mesh": Fault("FULL_MESH"),
    "rail-only": Fault("RAIL_ONLY", (("RDMA_RAIL_ONLY", "fabric"),), SAME, lambda rails: rails.lose(cross)),
    "rail groups": Fault(
        "RAIL_GROUPS", (("RDMA_RAIL_GROUPS", "fabric"),), ALL // 2,
        lambda rails: rails.lose(lambda _h, i, _g, j: i // 4 != j // 4),
    ),
    "one way": Fault(
        "ONE_WAY", (("RDMA_ONE_WAY", "path {0}/rail1 -> {2}/rail3"),), ALL - 2,
        lambda rails: rails.lose(lambda *pair: pair == (0, 1, 2, 3)),
    ),
    "partial": Fault(
        "PARTIAL", (("RDMA_PATH_BROKEN", "path {0}/rail1 <-> {2}/rail3"),), ALL - 2,
        lambda rails: rails.lose(lambda *pair: pair in ((0, 1, 2, 3), (2, 3, 0, 1))),
    ),
    "dead NIC": Fault(
        "FULL_MESH_MINUS_DOWN", (("RDMA_NIC_DOWN", "NIC {1}/rail7"),), ALL - TOUCHING,
        lambda rails: rails.unplug(1, 7), ("NIC_DOWN",),
    ),
    "dead host": Fault(
        "FULL_MESH_MINUS_DOWN", (("RDMA_HOST_DOWN", "host {3}"),), ALL // 2,
        lambda rails: rails.lose(lambda h, _i, g, _j: 3 in (h, g)), ("HOST_DOWN",),
    ),
    "partition": Fault(
        "HOST_PARTITION", (("RDMA_HOST_PARTITION", "fabric"),), ALL // 3,
        lambda rails: rails.lose(lambda h, _i, g, _j: h // 2 != g // 2),
    ),
    "small MTU": Fault(
        "PARTIAL", (("RDMA_MTU_MISMATCH", "NIC {1}/rail2"),), ALL - TOUCHING,
        lambda rails: rails.narrow(1, 2, 1500), ("MTU",),
    ),
    "swapped cables": Fault(
        "RAIL_ONLY",
        (("RDMA_MISCABLED", "NIC {2}/rail0"), ("RDMA_MISCABLED", "NIC {2}/rail3"), ("RDMA_RAIL_ONLY", "fabric")),
        SAME, miscabled, ("MISCABLED",),
    ),
}  # fmt: skip


def usable(found: Json) -> int:
    return sum(map(bit_count, results.read(json.dumps(found["raw"])).case.usable))


@pytest.mark.parametrize("name", FAULTS)
def test_verdict_and_culprit(bench: Bench, name: str) -> None:
    fault = FAULTS[name]
    fault.breaks(bench.rails)
    run = bench.probe()
    assert run.found["verdict"] == fault.verdict, run.output[-4000:]
    assert run.found["basis"] == "IP only"
    expected = [(code, subject.format(*bench.rails.names)) for code, subject in fault.findings]
    assert [entry for entry in run.codes if entry[0] != "RDMA_REQUIREMENT"] == expected
    assert set(run.found["qualifiers"]) >= {"IP_ONLY", *fault.qualifiers}
    assert usable(run.found) == fault.usable
    assert bench.left() == []
    print(f"{name}: {run.seconds:.1f} s, {run.found['duration_s']} s of them in the pods")


# --- the gate ---


def test_rails_stop_low_latency_and_let_high_throughput_pass(bench: Bench) -> None:
    bench.rails.lose(cross)
    stopped = bench.play()
    assert stopped.status != 0
    assert "RDMA_REQUIREMENT" in stopped.output
    assert "decode: deepep_low_latency (fail)" in stopped.output
    assert "(IP reachability only)" in stopped.output
    # The kept verdict has all pairs: what another deployment needs is judged without a probe.
    passed = bench.play(wide_ep_decode_all2all_backend="deepep_high_throughput")
    assert passed.status == 0, passed.output[-3000:]
    assert passed.found["verdict"] == "RAIL_ONLY"
    assert passed.found["raw"]["run_id"] == stopped.found["raw"]["run_id"]
    assert passed.seconds < stopped.seconds
    warned = bench.play(wide_ep_mesh_gate="warn")
    assert warned.status == 0
    assert "RDMA_REQUIREMENT" in warned.output
    off = bench.play(wide_ep_mesh_gate="off")
    assert (off.status, off.found) == (0, {})


def test_ip_reachability_is_no_proof_for_hardware(bench: Bench) -> None:
    run = bench.play(wide_ep_provider="existing", wide_ep_components=[], rdma_mesh_transport="udp")
    assert run.status != 0
    assert "transport udp tells nothing about RDMA" in run.output


def test_a_mended_fabric_is_probed_again_and_its_verdict_is_used_again(bench: Bench) -> None:
    first = bench.play()
    assert (first.status, first.found["verdict"]) == (0, "FULL_MESH"), first.output[-3000:]
    again = bench.play()
    assert (again.status, changes(again.output)) == (0, 0)
    assert again.found["raw"]["run_id"] == first.found["raw"]["run_id"]
    looked = bench.play("--check")
    assert (looked.status, changes(looked.output), looked.found) == (0, 0, {})
    print(f"probed in {first.seconds:.1f} s, used again in {again.seconds:.1f} s")


def test_a_new_host_is_probed_alone(bench: Bench) -> None:
    known = bench.play(rdma_mesh_nodes=bench.rails.names[:3], rdma_mesh_reuse=False)
    assert (known.status, known.found["coverage"]["total"]) == (0, 3 * 2 * NICS**2), known.output[-3000:]
    grown = bench.play(rdma_mesh_nodes=bench.rails.names)
    assert grown.status == 0, grown.output[-3000:]
    assert f"3 nodes are known, 1 are new: {bench.rails.names[3]}" in grown.output
    assert f"RDMA mesh: {3 * 2 * NICS**2} directed pairs" in grown.output, "384 of 768"
    assert (grown.found["verdict"], grown.found["coverage"]["directed_pairs_tested"]) == ("FULL_MESH", ALL)


# --- what goes wrong ---


def test_pods_that_never_start_are_told_with_their_reason(bench: Bench) -> None:
    run = bench.play(rdma_mesh_image="localhost:1/none:1", rdma_mesh_start_timeout=12, rdma_mesh_reuse=False)
    assert run.status != 0
    assert "RDMA_CHECK_FAILED" in run.output
    assert "ErrImagePull" in run.output or "ImagePullBackOff" in run.output
    assert bench.left() == []


def during(bench: Bench, does: t.Callable[[], bool]) -> threading.Thread:
    """Try until it succeeds, beside a run."""

    def tries() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(Exception):
                if does():
                    return
            time.sleep(0.02)

    thread = threading.Thread(target=tries, daemon=True)
    thread.start()
    return thread


def test_a_prober_that_does_not_join_is_a_host_that_is_down(bench: Bench) -> None:
    victims: list[int] = []

    def cut() -> bool:
        host = bench.host_of(3)
        if host is None:
            return False
        bench.rails.silence(host)
        victims.append(host)
        return True

    thread = during(bench, cut)
    run = bench.probe(rdma_mesh_join_timeout=12)
    thread.join()
    subject = f"host {bench.rails.names[victims[0]]}"
    assert ("RDMA_HOST_DOWN", subject) in run.codes
    assert (run.found["verdict"], usable(run.found)) == ("FULL_MESH_MINUS_DOWN", ALL // 2)
    kept = bench.client.get_or_none(f"/api/v1/namespaces/{NAMESPACE}/configmaps/{RELEASE}-rdma-mesh")
    assert kept is None or json.loads(kept["data"]["verdict"])["verdict"] == "FULL_MESH", "it is not kept"


def test_a_prober_that_dies_is_counted_down_and_the_others_are_judged(bench: Bench) -> None:
    # Pairs that are lost make the others wait, so that there is time to die.
    bench.rails.lose(cross)
    victims: list[int] = []

    def kill() -> bool:
        host = bench.host_of(2)
        lead = next(pod for pod in bench.pods() if pod["metadata"]["name"].rsplit("-", 1)[0].endswith("-0"))
        log = bench.client.logs(NAMESPACE, lead["metadata"]["name"], "prober", tail=None)
        if host is None or '"phase":"plan"' not in log:
            return False
        bench.rails.kill_prober(host)
        victims.append(host)
        return True

    thread = during(bench, kill)
    run = bench.probe(rdma_mesh_options={"settle": 2})
    thread.join()
    assert ("RDMA_HOST_DOWN", f"host {bench.rails.names[victims[0]]}") in run.codes
    assert (run.found["verdict"], usable(run.found)) == ("RAIL_ONLY", SAME // 2)


def test_two_checks_at_once_and_what_a_killed_one_leaves(bench: Bench) -> None:
    began = time.monotonic()
    # Probers that nobody answers are busy for long enough.
    bench.rails.lose(lambda *_pair: True)
    first, _folder = bench.start(rdma_mesh_reuse=False, rdma_mesh_options={"settle": 6})
    wait(bench.jobs, 60, "the Job of the first check")
    second = bench.play(rdma_mesh_reuse=False)
    assert second.status != 0
    assert "of another check runs since" in second.output
    os.killpg(first.pid, signal.SIGKILL)
    first.wait(timeout=10)
    assert bench.left(), "the killed run could not remove anything"
    bench.rails.mend()

    def ended() -> bool:
        return all(job.get("status", {}).get("conditions") for job in bench.jobs())

    wait(ended, 90, "the probers to end on their own")
    third = bench.play(rdma_mesh_reuse=False)
    assert (third.status, third.found["verdict"]) == (0, "FULL_MESH"), third.output[-3000:]
    assert bench.left() == []
    print(f"killed and run again: {time.monotonic() - began:.1f} s")


def test_beside_model_servers_the_prober_runs_in_their_pods(bench: Bench) -> None:
    """Two nodes serve, one is new: two processes and one pod, and the servers keep what they have."""
    labels = {"wide-ep.llm-d.ai/deployment": RELEASE, "llm-d.ai/role": "decode"}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods"
    for number, node in enumerate(bench.rails.names[:2]):
        container = {"name": "vllm", "image": "ghcr.io/llm-d/llm-d-cuda:v0.7.0", "command": ["sleep", "600"],
                     "resources": {"limits": {"nvidia.com/gpu": "8"}}}  # fmt: skip
        spec = {"containers": [container], "nodeName": node, "terminationGracePeriodSeconds": 0}
        metadata = {"name": f"server-{number}", "labels": labels}
        bench.client.create(path, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    try:
        wait(
            lambda: sum(pod["status"].get("phase") == "Running" for pod in bench.pods()) >= 2, 60, "two servers to run"
        )
        asked = {"rdma_mesh_nodes": bench.rails.names[:3], "rdma_mesh_nics": ["eth0"], "rdma_mesh_host_network": False}
        run = bench.play(rdma_mesh_in_situ="always", rdma_mesh_require="full_mesh", rdma_mesh_reuse=False, **asked)
        assert run.status == 0, run.output[-3000:]
        assert "2 nodes serve" in run.output
        assert (run.found["verdict"], run.found["coverage"]["directed_pairs_tested"]) == ("FULL_MESH", 6)
        assert sorted(run.found["hosts"]) == sorted(bench.rails.names[:3])
        phases = {pod["metadata"]["name"]: pod["status"]["phase"] for pod in bench.pods()}
        assert (phases["server-0"], phases["server-1"]) == ("Running", "Running")
        # Datagrams on the rails take nothing from the servers, so that pods of their own do.
        beside = bench.play(rdma_mesh_reuse=False)
        assert (beside.status, beside.found["verdict"]) == (0, "FULL_MESH"), beside.output[-3000:]
    finally:
        for number in range(2):
            bench.client.delete(f"{path}/server-{number}")
        wait(lambda: not bench.pods(), 30, "the servers to be gone")
