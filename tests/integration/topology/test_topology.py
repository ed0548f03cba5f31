# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Topology-aware scheduling with the real Kueue: where groups stand, what is refused, what holds a group back.

Needs the rehearsal cluster $LLMD_WIDE_EP_TEST_CLUSTER of scenario full (playbooks/rehearsal_cluster.yml), with no
deployment on it: the groups take all four GPU nodes, two in each block.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import pathlib
import re
import secrets
import subprocess
import sys
import time
import typing as t
from collections.abc import Iterator

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client, load_client
from ansible_collections.llmd.wide_ep.plugins.module_utils._evidence import findings_of
from ansible_collections.llmd.wide_ep.plugins.module_utils._observer import Target
from ansible_collections.llmd.wide_ep.plugins.module_utils._waiter import Snapshot, Spec, watch

ROOT = pathlib.Path(__file__).resolve().parents[3]
CACHE = pathlib.Path(
    os.environ.get("LLMD_WIDE_EP_CACHE")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "llmd-wide-ep"
)
CLUSTER = os.environ.get("LLMD_WIDE_EP_TEST_CLUSTER", "test")
FOLDER = CACHE / "clusters" / CLUSTER
PAUSE = "registry.k8s.io/pause:3.10"
BLOCK = "cloud.google.com/gce-topology-block"
GROUP_NAME = "kueue.x-k8s.io/podset-group-name"
MARK = "wide-ep.llm-d.ai/platform"
KUEUE = "/apis/apps/v1/namespaces/kueue-system/deployments/kueue-controller-manager"
REMOVE = """
- hosts: wide_ep
  gather_facts: false
  module_defaults:
    group/kubernetes.core.k8s: &access {kubeconfig: "{{ access }}"}
    group/llmd.wide_ep.k8s: *access
    group/kubernetes.core.helm: {kubeconfig: "{{ access }}", binary_path: "{{ wide_ep_helm_binary }}"}
  vars:
    access: "{{ wide_ep_platform_kubeconfig if platform else wide_ep_kubeconfig }}"
  tasks:
    - ansible.builtin.include_role: {name: "llmd.wide_ep.{{ item.0 }}", tasks_from: "{{ item.1 }}"}
      loop: "{{ what }}"
"""

Object = dict[str, t.Any]

pytestmark = pytest.mark.skipif(
    not (FOLDER / "deployer.kubeconfig").is_file(), reason=f"the rehearsal cluster {CLUSTER} does not exist"
)


class Run(t.NamedTuple):
    code: int
    output: str

    @property
    def changed(self) -> int:
        found = re.search(r"changed=(\d+)", self.output)
        assert found, self.output
        return int(found[1])


class Site:
    """A topology-aware deployment in a namespace of its own, and the playbooks run on it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.namespace = f"topology-{secrets.token_hex(3)}"
        self.folder = folder
        self.deployer = load_client(str(FOLDER / "deployer.kubeconfig"))
        self.platform = load_client(str(FOLDER / "platform.kubeconfig"))

    def play(self, playbook: str, **variables: t.Any) -> Run:
        given = {
            "rehearsal_cluster_name": CLUSTER,
            "rehearsal_cluster_scenario": "full",
            "wide_ep_components": ["topology_aware", "rehearsal"],
            "wide_ep_namespace": self.namespace,
            "wide_ep_artifacts_dir": str(self.folder),
            **variables,
        }
        program = str(pathlib.Path(sys.executable).with_name("ansible-playbook"))
        path = playbook if playbook.startswith("/") else f"playbooks/{playbook}.yml"
        done = subprocess.run(
            [program, path, "-i", "inventories/local", "-e", json.dumps(given)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Run(done.returncode, done.stdout + done.stderr)

    def must(self, *playbooks: str, **variables: t.Any) -> Run:
        for playbook in playbooks:
            run = self.play(playbook, **variables)
            assert run.code == 0, run.output
        return run

    def remove(self, *what: str, platform: bool = False) -> None:
        playbook = self.folder / "remove.yml"
        playbook.write_text(REMOVE, encoding="utf-8")
        self.must(str(playbook), what=[entry.split(".") for entry in what], platform=platform)

    def set_name(self, tier: str) -> str:
        return f"wide-ep-lws-nvidia-gpu-vllm-{tier}"

    def set_path(self, tier: str = "") -> str:
        sets = f"/apis/leaderworkerset.x-k8s.io/v1/namespaces/{self.namespace}/leaderworkersets"
        return f"{sets}/{self.set_name(tier)}" if tier else sets

    def pods(self, tier: str) -> list[Object]:
        selector = {"labelSelector": f"llm-d.ai/role={tier}"}
        return self.deployer.list(f"/api/v1/namespaces/{self.namespace}/pods", selector)

    def nodes(self, tier: str) -> list[str]:
        return sorted(pod["spec"].get("nodeName", "") for pod in self.pods(tier))

    def blocks(self, tier: str) -> set[str]:
        return {self.deployer.get(f"/api/v1/nodes/{node}")["metadata"]["labels"][BLOCK] for node in self.nodes(tier)}

    def wait(self, tier: str, **spec: t.Any) -> list[Snapshot]:
        target = Target("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", self.namespace, self.set_name(tier))
        return list(watch(self.deployer, Spec((target,), **{"timeout": 120.0, **spec})))


def until(condition: t.Callable[[], t.Any], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.2)


def ready(client: Client, namespace: str, name: str, seconds: float = 60) -> None:
    """Wait until a Deployment is ready."""
    target = Target("apps/v1", "Deployment", namespace, name)
    last = list(watch(client, Spec((target,), timeout=seconds, interval=0.5)))[-1]
    assert last.outcome == "ready", last.line()


def restart(client: Client, namespace: str, name: str) -> None:
    """Delete the pods of a Deployment."""
    selector = client.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")["spec"]["selector"]
    labels = ",".join(f"{key}={value}" for key, value in selector["matchLabels"].items())
    pods = f"/api/v1/namespaces/{namespace}/pods"
    for item in client.list(pods, {"labelSelector": labels}):
        client.delete(f"{pods}/{item['metadata']['name']}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("topology"))
    try:
        made.must("lws", "gateway", "kueue", "workspace", "queue", "router", "model_server", "wait")
        yield made
    finally:
        made.remove("model_server.remove", "router.remove", "kueue.remove_queue", "workspace.remove")
        made.remove("kueue.remove", platform=True)
    assert made.platform.discover("kueue.x-k8s.io/v1beta2", "ClusterQueue") is None or not made.platform.list(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {"labelSelector": "app.kubernetes.io/name=kueue"}
    )


def test_each_group_stands_in_one_block(site: Site) -> None:
    assert [len(site.blocks(tier)) for tier in ("prefill", "decode")] == [1, 1]
    assert len({*site.nodes("prefill"), *site.nodes("decode")}) == 4


def test_requests_are_still_prefilled_remotely(site: Site) -> None:
    assert "16 of 16 requests prefilled remotely" in site.must("verify").output


def test_a_second_run_changes_nothing(site: Site) -> None:
    assert {playbook: site.must(playbook).changed for playbook in ("kueue", "queue", "model_server")} == {
        "kueue": 0,
        "queue": 0,
        "model_server": 0,
    }


def test_a_group_of_one_pod_set_is_refused(site: Site) -> None:
    """The guide's own form: a group name without a leader template. Without the name it is accepted."""
    item = copy.deepcopy(site.deployer.get(site.set_path("decode")))
    item["metadata"] = {"name": "probe", "labels": item["metadata"]["labels"]}
    item.pop("status")
    site.deployer.create(site.set_path(), item, dry_run=True)
    annotations = item["spec"]["leaderWorkerTemplate"]["workerTemplate"]["metadata"]["annotations"]
    annotations[GROUP_NAME] = "llm-d-wide-ep"
    with pytest.raises(ApiError) as refused:
        site.deployer.create(site.set_path(), item, dry_run=True)
    assert 'admission webhook "vleaderworkerset.kb.io" denied the request' in refused.value.message
    assert f"annotations[{GROUP_NAME}]" in refused.value.message
    assert "can only define groups of exactly 2 pod sets, got: 1 pod set(s)" in refused.value.message


def test_a_changed_variable_recreates_its_tier_alone(site: Site) -> None:
    """Kueue's webhook refuses another template of a managed set, so the set is deleted and created again."""
    change = {"model_server_decode_max_tokens": 512}
    sets = {tier: site.deployer.get(site.set_path(tier))["metadata"]["uid"] for tier in ("prefill", "decode")}
    kept = {pod["metadata"]["uid"] for pod in site.pods("prefill")}
    refused = site.play("model_server", **change)
    words = " ".join(refused.output.split())
    assert refused.code != 0
    assert refused.changed == 0
    assert "decode: 1 group of 2 pods, 16 GPUs" in words
    assert "Kueue's queue has it deleted and created again" in words
    assert site.deployer.get(site.set_path("decode"))["metadata"]["uid"] == sets["decode"]

    site.must("model_server", "wait", wide_ep_allow_restart=True, **change)
    assert {pod["metadata"]["uid"] for pod in site.pods("prefill")} == kept
    assert site.deployer.get(site.set_path("prefill"))["metadata"]["uid"] == sets["prefill"]
    assert site.deployer.get(site.set_path("decode"))["metadata"]["uid"] != sets["decode"]
    assert len(site.blocks("decode")) == 1
    site.must("model_server", "wait", wide_ep_allow_restart=True)


@contextlib.contextmanager
def cordoned(client: Client, node: str) -> Iterator[None]:
    client.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}})
    try:
        yield
    finally:
        client.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}})


def test_with_a_cordoned_node_the_wait_names_what_is_missing(site: Site) -> None:
    block, node = site.blocks("decode"), site.nodes("decode")[-1]
    with cordoned(site.platform, node):
        site.deployer.delete(site.set_path("decode"), {"propagationPolicy": "Foreground"})
        until(lambda: not site.pods("decode"), 60, "the pods of decode to end")
        refused = site.play("model_server")
        assert refused.code != 0
        assert "1 of 4 pods (32 GPUs) find no node" in " ".join(refused.output.split())
        # Where nodes may come, only Kueue can tell.
        site.must("model_server", model_server_nodes_may_grow=True)
        shots = site.wait("decode", grace={"WorkloadUnplaced": 5})
    last = shots[-1]
    assert last.outcome == "failed"
    (finding,) = findings_of(last)
    assert finding.code == "WORKLOAD_NOT_ADMITTED"
    assert "allows to fit only 1 out of 2 pod(s)" in finding.evidence
    assert f"asks for 2 pods with 8 nvidia.com/gpu each in one {BLOCK}" in finding.evidence
    assert "uncordon" in finding.fix
    assert any('not admitted: topology "wide-ep-gke" allows to fit only 1' in shot.line() for shot in shots)
    assert site.nodes("decode") == ["", ""], "no pod starts without its group"
    assert site.wait("decode")[-1].outcome == "ready"
    assert site.blocks("decode") == block


@contextlib.contextmanager
def stopped(site: Site) -> Iterator[None]:
    def pods() -> list[Object]:
        return site.platform.list("/api/v1/namespaces/kueue-system/pods")

    site.platform.patch(KUEUE, {"spec": {"replicas": 0}})
    try:
        until(lambda: not pods(), 60, "Kueue to stop")
        yield
    finally:
        site.platform.patch(KUEUE, {"spec": {"replicas": 1}})
        ready(site.platform, "kueue-system", "kueue-controller-manager", 120)


def test_nobody_else_needs_a_running_kueue(site: Site) -> None:
    foreign = f"foreign-{secrets.token_hex(3)}"
    spec = {"containers": [{"name": "main", "image": PAUSE}], "terminationGracePeriodSeconds": 0}
    pod = {"metadata": {"labels": {"app": "web"}}, "spec": spec}
    web = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": pod},
    }
    job_pod = {"spec": {**spec, "restartPolicy": "Never"}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {"template": job_pod}}
    client = site.platform
    with stopped(site):
        client.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": foreign}})
        client.create(f"/apis/apps/v1/namespaces/{foreign}/deployments", web)
        client.create(f"/apis/batch/v1/namespaces/{foreign}/jobs", job)
        restart(client, "lws-system", "lws-controller-manager")
        restart(client, site.namespace, "wide-ep-lws-epp")
        ready(client, foreign, "web")
        ready(client, "lws-system", "lws-controller-manager")
        ready(client, site.namespace, "wide-ep-lws-epp", 120)
        until(lambda: client.get(f"/apis/batch/v1/namespaces/{foreign}/jobs/job")["status"].get("ready"), 60, "the Job")
        client.delete(f"/api/v1/namespaces/{foreign}")
        until(lambda: client.get_or_none(f"/api/v1/namespaces/{foreign}") is None, 60, "the foreign namespace to go")


@pytest.mark.parametrize(
    ("playbook", "variables", "code"),
    [
        ("queue", {"wide_ep_queue": "default"}, "KUEUE_QUEUE_NAME"),
        ("queue", {"kueue_cluster_queue": "absent"}, "KUEUE_OBJECT_IMMUTABLE"),
        ("queue", {"kueue_cluster_queue": "absent", "wide_ep_queue": "other"}, "KUEUE_UNUSABLE"),
        ("kueue", {"kueue_topology_levels": [BLOCK, "kubernetes.io/hostname"]}, "KUEUE_OBJECT_IMMUTABLE"),
        ("kueue", {"wide_ep_topology_level": "cloud.google.com/gce-rack"}, "INPUT_COMBINATION"),
    ],
)
def test_refusals(site: Site, playbook: str, variables: Object, code: str) -> None:
    run = site.play(playbook, **variables)
    assert run.code != 0
    assert code in run.output
    assert run.changed == 0


def test_a_kueue_of_someone_else_is_left_as_it_is(site: Site) -> None:
    """Of the same release name, as Kueue's documents install it: only our mark tells it from ours."""

    def mark(value: str | None) -> None:
        site.platform.patch(KUEUE, {"spec": {"template": {"metadata": {"annotations": {MARK: value}}}}})
        ready(site.platform, "kueue-system", "kueue-controller-manager", 120)

    mark(None)
    try:
        run = site.must("kueue", kueue_values={"controllerManager": {"replicas": 2}})
        assert run.changed == 0
        words = "installed by someone else (kueue-system/kueue-controller-manager) and stays as it is"
        assert words in " ".join(run.output.split())
        assert site.platform.get(KUEUE)["spec"]["replicas"] == 1
    finally:
        mark("true")
