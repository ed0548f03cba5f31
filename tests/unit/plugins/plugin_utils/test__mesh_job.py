# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A prober's pod is a model server's without the model."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _mesh_job as jobs

ROOT = Path(__file__).parents[4]
OVERLAYS = ("gke", "gke_a4", "coreweave", "dgx_cloud_gb200")
OBJECTS = {
    name: yaml.safe_load((ROOT / f"tests/data/rendered/{name}.yaml").read_text(encoding="utf-8"))["items"]
    for name in OVERLAYS
}
SETTINGS = jobs.Settings("n", "wide-ep-lws", "0123456789abcdef", "secret key", "image:1", 4, "rdma", ("mlx5_*",))


def settings(overlay: str = "gke", **changes: t.Any) -> jobs.Settings:
    template = jobs.templates(OBJECTS[overlay])["decode"]
    return dataclasses.replace(SETTINGS, template=template, **changes)


def pod(made: jobs.Settings) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", jobs.job(made)["spec"]["template"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_pod_is_the_workload_s(overlay: str) -> None:
    made = settings(overlay)
    given, found = made.template, pod(made)
    server, prober = jobs.server(given), found["spec"]["containers"][0]
    assert prober.get("securityContext") == server.get("securityContext")
    assert found["spec"]["tolerations"] == (given["spec"].get("tolerations") or [])
    devices = {name: value for name, value in server["resources"]["limits"].items() if name not in jobs.REDUCED}
    assert {name: prober["resources"]["limits"][name] for name in devices} == devices
    assert prober["resources"]["limits"].get("memory", "2Gi") == "2Gi"
    network = {name for name in given["metadata"].get("annotations") or {} if name.startswith("networking.gke.io")}
    assert set(found["metadata"].get("annotations") or {}) == network


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_router_never_selects_a_prober(overlay: str) -> None:
    text = json.dumps(jobs.manifests(settings(overlay), {}))
    labels = pod(settings(overlay))["metadata"]["labels"]
    assert labels == {"wide-ep.llm-d.ai/deployment": "wide-ep-lws", "wide-ep.llm-d.ai/component": "rdma-mesh"}
    assert '"llm-d.ai/guide"' not in text
    assert "HF_TOKEN" not in text


def test_the_job() -> None:
    made = settings(nodes=("b", "a"))
    job = jobs.job(made)["spec"]
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 4, 4)
    assert job["backoffLimitPerIndex"] == 0, "one pod that fails does not end the coordinator"
    assert job["ttlSecondsAfterFinished"] >= 600
    affinity = job["template"]["spec"]["affinity"]
    assert affinity["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]["topologyKey"] == (
        "kubernetes.io/hostname"
    )
    terms = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [term["matchFields"][0]["values"] for term in terms] == [["b"], ["a"]]
    assert len(f"{made.name}-1023") <= 63


def test_the_service_finds_pods_that_are_not_ready() -> None:
    service = next(item for item in jobs.manifests(settings(), {}) if item["kind"] == "Service")
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["clusterIP"] == "None"
    told = jobs.config(settings())
    assert told["coordinator"] == f"{SETTINGS.name}-0.{SETTINGS.name}.n"


def test_the_key_is_in_the_secret_alone() -> None:
    for item in jobs.manifests(settings(), {"mesh_prober.py": "x"}):
        assert ("secret key" in json.dumps(item)) is (item["kind"] == "Secret")


def test_the_image_is_the_model_server_s() -> None:
    assert jobs.image_of(settings().template) == "ghcr.io/llm-d/llm-d-cuda:v0.7.0"
    with pytest.raises(jobs.JobError, match="image is empty"):
        jobs.image_of({})


def test_datagrams_can_do_without_the_devices_of_servers() -> None:
    made = settings("coreweave", transport="udp", take_devices=False)
    resources = jobs.server(pod(made))["resources"]
    assert resources["limits"]
    assert set(resources["limits"]) <= set(jobs.REDUCED)
    assert "nvidia.com/gpu" in jobs.server(pod(settings("coreweave", transport="udp")))["resources"]["limits"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_datagrams_may_bind_to_an_interface(overlay: str) -> None:
    security = jobs.server(pod(settings(overlay, transport="udp")))["securityContext"]
    assert security.get("privileged") or "NET_RAW" in security["capabilities"]["add"]
    given = jobs.server(jobs.templates(OBJECTS[overlay])["decode"])["securityContext"]
    assert set((given.get("capabilities") or {}).get("add") or ()) <= set(security["capabilities"]["add"])


def test_the_network_of_the_node_attaches_nothing_and_is_for_one_check_at_a_time() -> None:
    found = pod(settings(host_network=True))
    assert (found["spec"]["hostNetwork"], found["spec"]["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    assert "annotations" not in found["metadata"]
    assert found["spec"]["containers"][0]["ports"] == [{"name": "mesh", "containerPort": 18515}]
    assert "ports" not in pod(settings())["spec"]["containers"][0]


def test_less_is_never_made_more() -> None:
    template = {"spec": {"containers": [{"name": "v", "image": "i", "resources": {
        "requests": {"cpu": "50m", "memory": "1Ti", "x/y": "8"}, "limits": {"memory": "128Mi"}}}]}}  # fmt: skip
    made = dataclasses.replace(SETTINGS, template=template)
    assert jobs.server(pod(made))["resources"] == {
        "requests": {"cpu": "50m", "memory": "2Gi", "x/y": "8"},
        "limits": {"memory": "128Mi"},
    }


def test_one_host_is_no_mesh() -> None:
    with pytest.raises(jobs.JobError, match="at least 2 hosts, 1 are asked for"):
        jobs.job(settings(hosts=1))


# --- where it runs ---


def node(name: str, ready: str = "True", gpus: str = "8", **spec: t.Any) -> dict[str, t.Any]:
    conditions = [{"type": "Ready", "status": ready, "message": "why"}]
    return {"metadata": {"name": name}, "spec": spec, "status": {"conditions": conditions,
                                                                 "allocatable": {"nvidia.com/gpu": gpus}}}  # fmt: skip


NODES = [node("a"), node("b"), node("c", "False"), node("d", unschedulable=True), node("cpu", gpus="0")]


def test_datagram_probers_go_where_the_model_servers_would() -> None:
    made = jobs.on_nodes(settings(transport="udp", hosts=2), NODES)
    assert (made.nodes, made.allowed) == ((), ("a", "b"))
    terms = pod(made)["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert [term["matchFields"][0]["values"] for term in terms["nodeSelectorTerms"]] == [["a"], ["b"]]
    with pytest.raises(
        jobs.JobError, match="2 nodes can have a prober, 4 are needed; c: it is not Ready: why; d: it is"
    ):
        jobs.on_nodes(settings(transport="udp"), NODES)


def test_nodes_of_another_pool_do_not_fit() -> None:
    template = {"spec": {"nodeSelector": {"pool": "gpu"}, "containers": [{"name": "v", "image": "i"}]}}
    made = dataclasses.replace(SETTINGS, template=template, nodes=("a", "b"))
    nodes = [node("a"), node("b")]
    nodes[0]["metadata"]["labels"] = {"pool": "gpu"}
    with pytest.raises(jobs.JobError, match=r"^node b: it has not the label pool=gpu$"):
        jobs.on_nodes(made, nodes)


def test_probers_with_devices_are_the_scheduler_s_matter() -> None:
    assert jobs.on_nodes(settings(), []).allowed == ()


def test_nodes_that_do_not_fit_are_named() -> None:
    assert jobs.on_nodes(settings(nodes=("a", "b")), NODES).nodes == ("a", "b")
    with pytest.raises(jobs.JobError) as refused:
        jobs.on_nodes(settings(nodes=("a", "c", "d", "cpu", "x")), NODES)
    assert str(refused.value) == (
        "node c: it is not Ready: why; node d: it is cordoned; node cpu: it has no nvidia.com/gpu; "
        "node x: it does not exist"
    )


# --- what the deployment needs ---


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_needs_come_from_the_rendered_servers(overlay: str) -> None:
    found = {group.role: group for group in jobs.groups(OBJECTS[overlay], ["a", "b"])}
    assert {role: group.backend for role, group in found.items()} == {
        "prefill": "deepep_high_throughput",
        "decode": "deepep_low_latency",
    }
    assert found["decode"].hosts == ("a", "b")
    assert found["decode"].hosts_per_group == (4 if overlay == "dgx_cloud_gb200" else 2)


def test_the_gpu_to_hca_map_is_by_rank() -> None:
    names = [f"mlx5_{at}" for at in (7, 6, 5, 4, 3, 2, 1, 0)]
    group = jobs.groups(OBJECTS["gke"], ["a", "b"], names, {"decode": ["b"]})[1]
    assert (group.role, group.hosts, group.rank_nics) == ("decode", ("b",), (7, 6, 5, 4, 3, 2, 1, 0))
    assert jobs.groups(OBJECTS["gke"], ["a"], ["ibp0"])[1].rank_nics == (), "the devices are not those of the map"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", []), ("0:mlx5_0:1,1:mlx5_1:1", ["mlx5_0", "mlx5_1"]), ("1:b:1, 0:a", ["a", "b"])],
)
def test_hca_map(value: str, expected: list[str]) -> None:
    assert jobs.hca_map(value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [("x:mlx5_0", "'x:mlx5_0' is not"), ("0:a,0:b", "rank 0 occurs twice"), ("0:a,2:b", "rank 1 is missing")],
)
def test_hca_map_is_checked(value: str, message: str) -> None:
    with pytest.raises(jobs.JobError, match=message):
        jobs.hca_map(value)


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"args": ["vllm serve x \\\n  --all2all-backend deepep_v2 \\\n"]}, "deepep_v2"),
        ({"args": ["--all2all-backend=mori"]}, "mori"),
        ({"command": ["vllm", "--all2all-backend", "naive"]}, "naive"),
        ({"env": [{"name": "VLLM_ALL2ALL_BACKEND", "value": "deepep_low_latency"}]}, "deepep_low_latency"),
        ({}, "allgather_reducescatter"),
    ],
)
def test_backend(container: dict[str, t.Any], expected: str) -> None:
    assert jobs.backend(container) == expected
