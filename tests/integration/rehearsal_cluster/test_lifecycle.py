# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small cluster through what can happen to it: killed programs, lost labels, a reboot, a neighbor, removal.

Needs root and built programs. Makes up to two clusters of its own.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from _cluster import ROOT, Cluster, changes, wait
from leftovers import leftovers

SMALL = {"rehearsal_cluster_gpu_nodes": 1}
SYSCTLS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def sysctls() -> dict[str, str]:
    return {name: (pathlib.Path("/proc/sys") / name).read_text() for name in SYSCTLS}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    before = sysctls()
    one = Cluster("it-one", SMALL)
    one.play("rehearsal_cluster_remove")
    one.ensure()
    yield one
    assert one.play("rehearsal_cluster_remove").returncode == 0
    assert leftovers(one.name) == []
    assert sysctls() == before, "settings of the host's kernel have changed"


def test_a_second_run_changes_nothing(cluster: Cluster) -> None:
    assert cluster.ensure() == 0


def test_check_mode_changes_nothing_and_says_so(cluster: Cluster) -> None:
    result = subprocess.run(
        [*cluster.command("rehearsal_cluster"), "--check"], cwd=ROOT, text=True, capture_output=True, check=False
    )
    assert result.returncode == 0, result.stdout[-2000:]
    assert changes(result.stdout) == 0


@pytest.mark.parametrize(
    "program", ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "coredns", "registry", "steward",
                "kube-proxy", "it-one-gpu-0-kubelet", "it-one-gpu-0-containerd", "it-one-gpu-0-kube-proxy"]
)  # fmt: skip
def test_a_killed_program_runs_again(cluster: Cluster, program: str) -> None:
    old = cluster.kill(program)
    wait(lambda: cluster.runs_again(program, old), 60, f"{program} to run again")
    wait(cluster.is_ready, 60, "the cluster to be ready")


def test_after_all_that_a_run_changes_nothing(cluster: Cluster) -> None:
    assert cluster.ensure() == 0


def test_lost_resources_labels_and_taints_come_back(cluster: Cluster) -> None:
    client, path = cluster.client(), "/api/v1/nodes/it-one-gpu-0"
    gone = {"nvidia.com/gpu": None}
    client.patch(path + "/status", {"status": {"capacity": gone, "allocatable": gone}})
    client.patch(path, {"metadata": {"labels": {"cloud.google.com/gke-accelerator": None}}, "spec": {"taints": None}})

    def restored() -> bool:
        node = client.get(path)
        return (
            node["status"]["allocatable"].get("nvidia.com/gpu") == "8"
            and node["metadata"]["labels"].get("cloud.google.com/gke-accelerator") == "nvidia-h200-141gb"
            and "nvidia.com/gpu" in [taint["key"] for taint in node["spec"].get("taints", [])]
        )

    wait(restored, 15, "the steward to restore the node")


def test_a_changed_setting_restarts_only_what_it_concerns(cluster: Cluster) -> None:
    def pids() -> dict[str, int]:
        return {item["name"]: item["pid"] for item in cluster.supervisor.rpc.getAllProcessInfo()}

    before = pids()
    assert cluster.play(rehearsal_cluster_max_pods=50).returncode == 0
    restarted = {name for name, pid in pids().items() if pid != before[name]}
    assert restarted == {"it-one-cpu-0-kubelet", "it-one-gpu-0-kubelet"}
    assert cluster.ensure() > 0


def test_everything_returns_after_a_reboot_like_end(cluster: Cluster) -> None:
    client = cluster.client()
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}}
    client.create("/api/v1/namespaces/default/configmaps", body)
    cluster.kill_sandbox()
    assert cluster.ensure() == 1
    assert cluster.client().get("/api/v1/namespaces/default/configmaps/kept")["metadata"]["name"] == "kept"


def test_two_clusters_live_side_by_side(cluster: Cluster) -> None:
    two = Cluster("it-two", {"rehearsal_cluster_gpu_nodes": 0})
    try:
        two.ensure()
        servers = {one.client().server for one in (cluster, two)}
        assert len(servers) == 2
        for one in (cluster, two):
            names = {item["metadata"]["name"] for item in one.client().list("/api/v1/nodes")}
            assert names
            assert all(name.startswith(f"{one.name}-") for name in names)
    finally:
        assert two.play("rehearsal_cluster_remove").returncode == 0
    assert leftovers(two.name) == []
    assert cluster.ensure() == 0


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"rehearsal_cluster_min_memory_gib": 100000}, "REHEARSAL_MEMORY"),
        ({"rehearsal_cluster_min_disk_gib": 10000000}, "REHEARSAL_DISK"),
        ({"rehearsal_cluster_manifest": "/nowhere/standalone.json"}, "REHEARSAL_PROGRAMS"),
    ],
)
def test_a_machine_that_does_not_fit_is_refused_before_anything_is_touched(
    variables: dict[str, object], code: str
) -> None:
    three = Cluster("it-three", SMALL)
    result = three.play(**variables)
    assert result.returncode != 0
    assert code in result.stdout
    assert leftovers(three.name) == []


def test_a_network_of_the_host_is_not_taken(cluster: Cluster) -> None:
    three = Cluster("it-three", SMALL)
    used = next(
        line.split()[0]
        for line in subprocess.run(
            ["ip", "-4", "route"], text=True, capture_output=True, check=True
        ).stdout.splitlines()
        if line.startswith("10.201.") and "lwe-it-one" in line
    )
    result = three.play(rehearsal_cluster_subnet=used)
    assert result.returncode != 0
    assert "REHEARSAL_ADDRESS" in result.stdout
    assert leftovers(three.name) == []
