# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster of the molecule scenario, seen from inside: nodes of the imitated provider, rights, fabric, restarts.

``LLMD_WIDE_EP_TEST_CLUSTER`` names it; it is made as molecule/rehearsal_cluster/group_vars/wide_ep.yml says.
"""

from __future__ import annotations

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from _cluster import Cluster, wait
from leftovers import cache

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import load_client

NAME = os.environ.get("LLMD_WIDE_EP_TEST_CLUSTER", "molecule")
FIRST, SECOND = f"{NAME}-gpu-0", f"{NAME}-gpu-1"


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return Cluster(NAME)


def test_nodes_look_like_the_providers(cluster: Cluster) -> None:
    nodes = {item["metadata"]["name"]: item for item in cluster.client().list("/api/v1/nodes")}
    assert set(nodes) == {f"{NAME}-cpu-0", FIRST, SECOND}
    for name in (FIRST, SECOND):
        node = nodes[name]
        assert node["metadata"]["labels"]["gpu.nvidia.com/model"] == "H200"
        assert node["metadata"]["labels"]["node.kubernetes.io/instance-type"] == "gd-8xh200ib-i128"
        assert node["status"]["allocatable"]["nvidia.com/gpu"] == "8"
        assert node["status"]["allocatable"]["rdma/ib"] == "1"
        assert node["status"]["nodeInfo"]["kubeletVersion"].startswith("v1.36.")
    assert "nvidia.com/gpu" not in nodes[f"{NAME}-cpu-0"]["status"]["allocatable"]


@pytest.mark.parametrize(
    ("user", "verb", "group", "resource", "allowed"),
    [
        ("deployer", "create", "", "namespaces", True),
        ("deployer", "create", "", "pods", True),
        ("deployer", "create", "", "secrets", True),
        ("deployer", "patch", "leaderworkerset.x-k8s.io", "leaderworkersets", True),
        ("deployer", "escalate", "rbac.authorization.k8s.io", "roles", True),
        ("deployer", "create", "apiextensions.k8s.io", "customresourcedefinitions", False),
        ("deployer", "create", "rbac.authorization.k8s.io", "clusterroles", False),
        ("deployer", "patch", "", "nodes", False),
        ("platform", "create", "apiextensions.k8s.io", "customresourcedefinitions", True),
        ("platform", "create", "admissionregistration.k8s.io", "validatingwebhookconfigurations", True),
        ("platform", "create", "certificates.k8s.io", "certificatesigningrequests", False),
    ],
)
def test_identities_have_their_rights_and_no_more(
    user: str, verb: str, group: str, resource: str, allowed: bool
) -> None:
    client = load_client(str(cache() / "clusters" / NAME / f"{user}.kubeconfig"))
    assert client.can_i(verb, resource, group=group).allowed is allowed


def test_kubeconfigs_are_for_their_owner_alone() -> None:
    for user in ("deployer", "platform"):
        assert (cache() / "clusters" / NAME / f"{user}.kubeconfig").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("source", "target", "reached"),
    [
        ((FIRST, 0), (SECOND, 0), True),
        ((SECOND, 5), (FIRST, 5), True),
        ((FIRST, 0), (SECOND, 1), False),
        ((SECOND, 3), (FIRST, 2), False),
        ((FIRST, 1), (SECOND, 1), False),
        ((FIRST, 7), (SECOND, 7), False),
    ],
    ids=["rail 0", "rail 5", "across 0-1", "across 3-2", "dropped", "down"],
)
def test_the_fabric_has_its_rails_and_faults(
    cluster: Cluster, source: tuple[str, int], target: tuple[str, int], reached: bool
) -> None:
    assert cluster.reaches(source, target) is reached


def test_a_killed_kubelet_comes_back(cluster: Cluster) -> None:
    program = f"{FIRST}-kubelet"
    old = cluster.kill(program)
    wait(lambda: cluster.runs_again(program, old), 30, f"{program} to run again")
    client = cluster.client()

    def ready() -> bool:
        node = client.get(f"/api/v1/nodes/{FIRST}")
        conditions = {item["type"]: item["status"] for item in node["status"]["conditions"]}
        return conditions["Ready"] == "True" and node["status"]["allocatable"].get("nvidia.com/gpu") == "8"

    wait(ready, 60, f"{FIRST} to be ready with its GPUs")
