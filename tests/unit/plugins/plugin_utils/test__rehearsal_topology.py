# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, addresses and labels of a cluster."""

from __future__ import annotations

import itertools
import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _rehearsal_render as render
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _rehearsal_topology as topology

from ..._collection import ROOT

ROLE = ROOT / "roles" / "rehearsal_cluster"
PROFILES = {
    name: yaml.safe_load((ROLE / f"vars/{name}.yml").read_text())["_rehearsal_cluster_profile"]
    for name in ("gke", "coreweave")
}


def make(profile: str = "gke", **options: t.Any) -> dict[str, t.Any]:
    return topology.topology("local", "10.201.0.0/30", PROFILES[profile], **options)


def gpu_node(cluster: dict[str, t.Any], index: int) -> dict[str, t.Any]:
    return next(node for node in cluster["nodes"] if node["name"] == f"local-gpu-{index}")


def test_the_default_cluster_has_its_addresses() -> None:
    cluster = make()
    assert (cluster["host_address"], cluster["address"]) == ("10.201.0.1", "10.201.0.2")
    assert [node["name"] for node in cluster["nodes"]] == ["local-cpu-0", *(f"local-gpu-{n}" for n in range(4))]


@pytest.mark.parametrize("profile", PROFILES)
def test_nothing_has_the_address_of_something_else(profile: str) -> None:
    cluster = make(profile)
    used = [node["address"] for node in cluster["nodes"]] + [node["pods"] for node in cluster["nodes"]]
    used += [rail["address"] for node in cluster["nodes"] for rail in node["rails"]]
    used += [rail["gateway"] for rail in cluster["fabric"]["rails"]] + [cluster["gateway"], cluster["address"]]
    assert len(set(used)) == len(used)
    assert len({node["mounts"] for node in cluster["nodes"]}) == 5


@pytest.mark.parametrize(("index", "block"), [(0, "block-0"), (1, "block-0"), (2, "block-1"), (3, "block-1")])
def test_two_nodes_share_a_block(index: int, block: str) -> None:
    labels = gpu_node(make(), index)["labels"]
    assert labels["cloud.google.com/gce-topology-block"] == block
    assert labels["cloud.google.com/gce-topology-subblock"] == block.replace("block", "subblock") + "-0"
    assert labels["cloud.google.com/gce-topology-host"] == f"host-{index}"


@pytest.mark.parametrize(
    ("profile", "resource"), [("gke", "networking.gke.io.networks/rdma-7.IP"), ("coreweave", "rdma/ib")]
)
def test_gpu_nodes_announce_gpus_and_rdma(profile: str, resource: str) -> None:
    cluster = make(profile)
    assert gpu_node(cluster, 0)["resources"]["nvidia.com/gpu"] == "8"
    assert gpu_node(cluster, 0)["resources"][resource] == "1"
    assert len(gpu_node(cluster, 0)["rails"]) == 8
    assert cluster["nodes"][0]["resources"] == {}


def test_only_gke_taints_its_gpu_nodes() -> None:
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    assert gpu_node(make("gke"), 0)["taints"] == [taint]
    assert gpu_node(make("coreweave"), 0)["taints"] == []


def test_drops_become_addresses() -> None:
    fault = {"type": "drop", "source": "local-gpu-0/rail1", "target": "local-gpu-2/rail3"}
    fabric = make(faults=[fault])["fabric"]
    assert fabric["drops"] == [{"source": "10.202.1.11", "target": "10.202.3.13"}]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fabric": "ring"}, "ring"),
        ({"faults": [{"type": "melt", "source": "local-gpu-0/rail0"}]}, "melt"),
        ({"faults": [{"type": "down", "source": "local-gpu-9/rail0"}]}, "local-gpu-9/rail0"),
        ({"faults": [{"type": "drop", "source": "local-gpu-0/rail0"}]}, "None is no rail"),
        ({"faults": [{"type": "mtu", "source": "local-gpu-0/rail0", "mtu": 1}]}, "between 68 and 65535"),
    ],
)
def test_what_no_cluster_can_be_made_of(options: dict[str, t.Any], words: str) -> None:
    with pytest.raises(topology.TopologyError, match=words):
        make(**options)


def test_a_subnet_has_two_addresses() -> None:
    with pytest.raises(topology.TopologyError, match="/30"):
        topology.topology("local", "10.201.0.0/24", PROFILES["gke"])


def test_objects_of_the_role_have_a_path() -> None:
    files = sorted((ROLE / "files/rbac").glob("*.yml"))
    objects = list(itertools.chain.from_iterable(yaml.safe_load(file.read_text())["items"] for file in files))
    wanted = topology.desired(make(), objects)
    assert len(wanted["objects"]) == len(objects) + 2
    paths = [item["path"] for item in wanted["objects"]]
    assert "/apis/rbac.authorization.k8s.io/v1/clusterroles/llmd-deployer" in paths
    assert "/api/v1/namespaces/kube-system/services/kube-dns" in paths
    assert len(set(paths)) == len(paths)


def test_an_unknown_kind_of_object_is_named() -> None:
    with pytest.raises(topology.TopologyError, match="Secret"):
        topology.object_path({"kind": "Secret", "metadata": {"name": "x"}})


def test_nobody_but_the_administrator_and_the_steward_is_a_master() -> None:
    masters = {item["name"] for item in render.certificates(make()) if item.get("organization") == "system:masters"}
    assert masters == {"admin", "steward"}


def test_every_file_has_a_source_and_the_supervisor_comes_last() -> None:
    cluster = make()
    files = render.files(cluster, topology.desired(cluster, []), str(ROLE))
    for item in files:
        source = item.get("template") or item.get("copy") or "/"
        assert item.get("data") or pathlib.Path(source).is_file(), item
    assert files[-1]["path"] == "etc/supervisord.conf"
    assert len({item["path"] for item in files}) == len(files)


def test_fake_nodes_and_their_pods_have_stages() -> None:
    stages = [yaml.safe_load((ROLE / f"files/kwok/{name}.yaml").read_text()) for name in render.KWOK_STAGES]
    assert {stage["kind"] for stage in stages} == {"Stage"}
    assert {stage["spec"]["resourceRef"]["kind"] for stage in stages} == {"Node", "Pod"}
    # KWOK ends at once where it finds no stages.
    cluster = make()
    paths = {item["path"] for item in render.files(cluster, topology.desired(cluster, []), str(ROLE))}
    command = (ROLE / "templates/supervisord.conf.j2").read_text()
    for name in render.KWOK_STAGES:
        assert f"etc/kwok/{name}.yaml" in paths
        assert f"--config=/cluster/etc/kwok/{name}.yaml" in command
    assert "kwok" in {item["name"] for item in render.certificates(cluster)}
