# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the second source of a rehearsal changes: what a rehearsal cluster cannot have, and nothing else."""

from __future__ import annotations

import typing as t

import pytest
import yaml

from ._collection import ROOT

SECOND = ROOT / "inventories" / "rehearsal"
VARIABLES: dict[str, t.Any] = yaml.safe_load((SECOND / "group_vars/wide_ep/main.yml").read_text())
# Why a variable is there. One that fits nowhere would make a rehearsal prove less than it says.
REASONS = {
    # The component also lets UDP carry the probes of the mesh.
    "sizes": {"wide_ep_components"},
    "images": {
        "wide_ep_mirror",
        "wide_ep_mirror_plain_http",
        "wide_ep_image_overrides",
        "wide_ep_helm_binary",
        "node_pools_gib",
    },
    "router": {"router_generation"},
    "places": {
        "rehearsal_cluster_name",
        "rehearsal_cluster_cache",
        "rehearsal_cluster_kubeconfig_dir",
        "rehearsal_cluster_scenario",
        "rehearsal_cluster_manifest",
        "_rehearsal_access",
        "wide_ep_kubeconfig",
        "wide_ep_platform_kubeconfig",
        "wide_ep_context",
        "node_pools_api_endpoint",
        "node_pools_credentials_file",
        "node_pools_poll_interval",
    },
    "user": {
        "node_pools_project",
        "node_pools_zone",
        "node_pools_capacity",
        "node_pools_authorized_networks",
        "node_pools_instance_type",
    },
}
REHEARSED = ("gke", "gke-a4", "coreweave")


def variables(name: str) -> dict[str, t.Any]:
    content: dict[str, t.Any] = {}
    for path in sorted((ROOT / "inventories" / name / "group_vars" / "wide_ep").glob("*.yml")):
        content |= yaml.safe_load(path.read_text())
    return content


def test_every_variable_has_its_reason() -> None:
    assert set(VARIABLES) == set().union(*REASONS.values())


def test_it_brings_no_host() -> None:
    assert yaml.safe_load((SECOND / "hosts.yml").read_text()) == {"wide_ep": {}}


@pytest.mark.parametrize("name", REHEARSED)
def test_nothing_is_left_to_fill_in(name: str) -> None:
    open_ends = {key for key, value in variables(name).items() if "CHANGE_ME" in str(value)}
    assert open_ends <= set(VARIABLES)
    assert "CHANGE_ME" not in (SECOND / "group_vars/wide_ep/main.yml").read_text()


@pytest.mark.parametrize("name", REHEARSED)
def test_there_are_nodes_to_be_dressed_like_its_own(name: str) -> None:
    """The profile is named as the overlay, and has the overlay's labels and RDMA resources."""
    overlay = variables(name)["wide_ep_overlay"]
    shapes = yaml.safe_load((ROOT / "roles/wide_ep/vars/main.yml").read_text())["_wide_ep_node_shapes"]
    role = ROOT / "roles/rehearsal_cluster"
    node = yaml.safe_load((role / f"vars/{overlay}.yml").read_text())["_rehearsal_cluster_profile"]["gpu_node"]
    assert shapes[overlay]["labels"].items() <= node["labels"].items()
    assert node["labels"]["node.kubernetes.io/instance-type"] == shapes[overlay]["machine_type"]
    assert node["taints"] == shapes[overlay]["taints"]
    assert shapes[overlay]["rdma_resources"].keys() <= node["resources"].keys()
    assert set(shapes[overlay]["topology_levels"]) - {"kubernetes.io/hostname"} <= set(node["labels"])
