# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The committed manifests are what the role renders, and the role's tables fit what they speak of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[4]
ROLE = ROOT / "roles/model_server"
RENDERED = ROOT / "tests/data/rendered"
ARGUMENTS = json.loads((ROOT / "roles/rehearsal_cluster/files/images/vllm/arguments.json").read_text(encoding="utf-8"))
SPEC = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]["main"][
    "options"
]
VARIABLES = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))
SHARED = yaml.safe_load((ROOT / "roles/wide_ep/vars/main.yml").read_text(encoding="utf-8"))
OVERLAYS = VARIABLES["_model_server_overlays"]
COMPONENTS = VARIABLES["_model_server_components"]
PLAIN = [(overlay, components) for overlay in OVERLAYS for components in ("", "+topology_aware", "+rehearsal")]


def sets(name: str) -> dict[str, dict[str, Any]]:
    """The rendered LeaderWorkerSets of a file, by role."""
    items = yaml.safe_load((RENDERED / f"{name}.yaml").read_text(encoding="utf-8"))["items"]
    found = [item for item in items if item["kind"] == "LeaderWorkerSet"]
    return {item["metadata"]["labels"]["llm-d.ai/role"]: item for item in found}


def container(workload: dict[str, Any]) -> dict[str, Any]:
    template = workload["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    vllm: dict[str, Any] = template["spec"]["containers"][0]
    return vllm


def test_rendered_manifests_are_current() -> None:
    # A process of its own: Ansible's loader of collections is set up once, and other tests set it up otherwise.
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/render_model_server.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"run tools/render_model_server.py and read the difference\n{done.stdout}{done.stderr}"


def test_every_overlay_is_rendered_with_every_component() -> None:
    names = {path.stem for path in RENDERED.glob("*.yaml")}
    assert {
        "+".join([overlay, *more]) for overlay in OVERLAYS for more in ([], *([name] for name in COMPONENTS))
    } <= names
    assert {f"{overlay}+topology_aware+rehearsal" for overlay in OVERLAYS} <= names
    assert {"gke+multi_port", "gke+rehearsal+multi_port"} <= names


def test_every_layer_is_listed() -> None:
    modes = VARIABLES["_model_server_modes"].values()
    listed = {
        "base",
        *(name for names in (*OVERLAYS.values(), *COMPONENTS.values()) for name in names),
        *(name for mode in modes for name in mode["layers"]),
        *(pair["layer"] for pair in VARIABLES["_model_server_pairs"]),
    }
    assert {path.stem for path in (ROLE / "files/layers").glob("*.yml")} == listed


def test_every_overlay_has_its_nodes_and_its_inventory() -> None:
    assert set(OVERLAYS) == set(SHARED["_wide_ep_node_shapes"])
    for overlay in OVERLAYS:
        folder = ROOT / "inventories" / overlay.replace("_", "-")
        given = yaml.safe_load((folder / "group_vars/wide_ep/main.yml").read_text(encoding="utf-8"))
        assert given["wide_ep_overlay"] == overlay
        assert (folder / "hosts.yml").exists()


@pytest.mark.parametrize(("overlay", "components"), PLAIN)
def test_a_pod_has_the_gpus_of_its_node_and_fits_it(overlay: str, components: str) -> None:
    shape = SHARED["_wide_ep_node_shapes"][overlay]
    for workload in sets(overlay + components).values():
        resources = container(workload)["resources"]
        assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == str(shape["gpus"])
        named = {name for name in resources["limits"] if name.startswith("rdma/")}
        assert named <= set(shape["rdma_resources"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_queue_and_one_topology_request_and_no_group_name(overlay: str) -> None:
    level = SHARED["_wide_ep_node_shapes"][overlay]["topology_levels"][0]
    for workload in sets(f"{overlay}+topology_aware").values():
        template = workload["spec"]["leaderWorkerTemplate"]["workerTemplate"]
        kueue = {key: value for key, value in template["metadata"]["annotations"].items() if "kueue" in key}
        assert kueue == {"kueue.x-k8s.io/podset-required-topology": level}
        assert workload["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]
        assert "leaderTemplate" not in workload["spec"]["leaderWorkerTemplate"]
    for workload in sets(overlay).values():
        assert not any("kueue" in key for key in workload["metadata"]["labels"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_monitoring_restarts_nothing(overlay: str) -> None:
    assert sets(f"{overlay}+monitoring") == sets(overlay)
    assert sets(f"{overlay}+topology_aware+monitoring") == sets(f"{overlay}+topology_aware")


def test_the_tables_are_those_of_the_pinned_vllm() -> None:
    known = ARGUMENTS["arguments"]
    assert VARIABLES["_model_server_all2all_backends"] == known["--all2all-backend"]["choices"]
    assert SPEC["model_server_moe_backend"]["choices"] == known["--moe-backend"]["choices"]


@pytest.mark.parametrize("name", sorted(path.stem for path in RENDERED.glob("*.yaml") if "multi_port" not in path.stem))
def test_the_pinned_vllm_knows_every_argument(name: str) -> None:
    for workload in sets(name).values():
        given = [word for word in container(workload)["args"][0].split() if word.startswith("--")]
        assert [word for word in given if word not in ARGUMENTS["arguments"]] == []
