# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""wait_ready against the rehearsal cluster, as the deployer: what heals is waited for, what cannot ends the wait.

Needs the rehearsal cluster $LLMD_WIDE_EP_TEST_CLUSTER (playbooks/rehearsal_cluster.yml), for LeaderWorkerSets also
playbooks/lws.yml.
"""

from __future__ import annotations

import json
import os
import pathlib
import secrets
import subprocess
import sys
import typing as t
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client, load_client
from ansible_collections.llmd.wide_ep.plugins.module_utils._evidence import LogKeeper, collect, findings_of, render
from ansible_collections.llmd.wide_ep.plugins.module_utils._observer import Target
from ansible_collections.llmd.wide_ep.plugins.module_utils._waiter import Snapshot, Spec, watch

ROOT = pathlib.Path(__file__).resolve().parents[3]
CACHE = pathlib.Path(
    os.environ.get("LLMD_WIDE_EP_CACHE")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "llmd-wide-ep"
)
CLUSTER = os.environ.get("LLMD_WIDE_EP_TEST_CLUSTER", "test")
KUBECONFIG = CACHE / "clusters" / CLUSTER / "deployer.kubeconfig"
PAUSE = "registry.k8s.io/pause:3.10"
SHELL = "docker.io/library/python:3.13-slim"
NO_SUCH_IMAGE = "ghcr.io/llm-d/llm-d-cuda:v0.0.0"
LWS_API = "leaderworkerset.x-k8s.io/v1"

Object = dict[str, t.Any]

pytestmark = pytest.mark.skipif(not KUBECONFIG.is_file(), reason=f"the rehearsal cluster {CLUSTER} does not exist")


@pytest.fixture(scope="module")
def client() -> Client:
    return load_client(str(KUBECONFIG))


def make_namespace(client: Client, labels: dict[str, str]) -> str:
    name = f"wait-ready-{secrets.token_hex(3)}"
    client.create(
        "/api/v1/namespaces",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
    )
    wait(client, [Target("v1", "ServiceAccount", name, "default")], timeout=30)
    return name


@pytest.fixture
def namespace(client: Client, request: pytest.FixtureRequest) -> Iterator[str]:
    name = make_namespace(client, getattr(request, "param", {}))
    yield name
    client.delete(f"/api/v1/namespaces/{name}", {"propagationPolicy": "Background", "gracePeriodSeconds": 0})


def apply(client: Client, namespace: str, *objects: Object) -> None:
    for obj in objects:
        resource = client.discover(obj["apiVersion"], obj["kind"])
        assert resource is not None, obj["kind"]
        obj["metadata"]["namespace"] = namespace
        client.apply(resource.path(namespace, obj["metadata"]["name"]), obj)


def wait(client: Client, targets: list[Target], **spec: t.Any) -> Snapshot:
    return list(watch(client, Spec(tuple(targets), interval=0.5, **spec)))[-1]


def pod_spec(**container: t.Any) -> Object:
    """One container on the CPU node, which has room whatever else runs."""
    extra = container.pop("pod", {})
    return {
        "terminationGracePeriodSeconds": 0,
        "nodeSelector": {"kubernetes.io/hostname": f"{CLUSTER}-cpu-0"},
        "containers": [{"name": "main", "image": PAUSE, **container}],
        **extra,
    }


def deployment(name: str = "web", **container: t.Any) -> Object:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec(**container)},
        },
    }


def job(command: str) -> Object:
    pod = pod_spec(image=SHELL, command=["sh", "-c", command], pod={"restartPolicy": "Never"})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "job"},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }


def leader_worker_set(command: str, *, groups: int = 1, size: int = 2, marker: str = "1") -> Object:
    template = {
        "metadata": {"labels": {"llm-d.ai/role": "decode"}, "annotations": {"marker": marker}},
        "spec": pod_spec(image=SHELL, command=["sh", "-c", command]),
    }
    return {
        "apiVersion": LWS_API,
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "decode"},
        "spec": {"replicas": groups, "leaderWorkerTemplate": {"size": size, "workerTemplate": template}},
    }


@dataclass(frozen=True)
class Failure:
    """A Deployment that cannot become ready, and how the wait ends."""

    code: str
    seen: str
    container: dict[str, t.Any] = field(default_factory=dict)
    grace: dict[str, float] = field(default_factory=dict)
    within: float = 20
    message: str = ""


MISSING_SECRET = {"name": "T", "valueFrom": {"secretKeyRef": {"name": "llm-d-hf-token", "key": "HF_TOKEN"}}}
NO_SUCH_MAP = {"name": "v", "configMap": {"name": "absent"}}
FAILURES = {
    "image_not_found": Failure("IMAGE_NOT_FOUND", "not found", {"image": NO_SUCH_IMAGE}),
    "invalid_image_name": Failure("IMAGE_NOT_FOUND", "InvalidImageName", {"image": "ghcr.io/UPPER/x:1"}),
    "secret_missing": Failure(
        "CONTAINER_CONFIG",
        'secret "llm-d-hf-token" not found',
        {"env": [MISSING_SECRET]},
        {"CreateContainerConfigError": 2},
    ),
    "crash_loop": Failure(
        "CRASH_LOOP",
        "exit code 3 (Error)",
        {"image": SHELL, "command": ["sh", "-c", "echo no active IB device; exit 3"]},
        within=45,
        message="  | no active IB device",
    ),
    "init_container_fails": Failure(
        "CRASH_LOOP",
        "exit code 4 (Error)",
        {
            "pod": {
                "initContainers": [
                    {"name": "prefetch", "image": SHELL, "command": ["sh", "-c", "echo HTTP 429; exit 4"]}
                ]
            }
        },
        within=45,
        message="  | HTTP 429",
    ),
    "sidecar_fails": Failure(
        "CRASH_LOOP",
        "exit code 2 (Error)",
        {
            "pod": {
                "initContainers": [
                    {
                        "name": "routing-proxy",
                        "image": SHELL,
                        "restartPolicy": "Always",
                        "command": ["sh", "-c", "echo unknown flag: --connector; exit 2"],
                    }
                ]
            }
        },
        within=45,
        message="  | unknown flag: --connector",
    ),
    "unschedulable": Failure(
        "UNSCHEDULABLE",
        "node affinity",
        {"pod": {"nodeSelector": {"no": "such-node"}}},
        {"Unschedulable": 2},
    ),
    "probe_fails": Failure(
        "PROBE_FAILED",
        "readiness probe does not pass",
        {
            "image": SHELL,
            "command": ["sleep", "600"],
            "startupProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
            "readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1},
        },
        {"ReadinessProbeFailed": 2},
        message="Unhealthy",
    ),
    "volume_missing": Failure(
        "VOLUME_MOUNT",
        'configmap "absent" not found',
        {"volumeMounts": [{"name": "v", "mountPath": "/v"}], "pod": {"volumes": [NO_SUCH_MAP]}},
        {"FailedMount": 4},
        within=30,
    ),
    "bad_command": Failure(
        "CONTAINER_CREATE",
        "no such file or directory",
        {"command": ["/no/such/program"]},
        {"CreateContainerError": 0, "CrashLoopBackOff": 0},
        within=40,
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_cannot_heal_ends_the_wait_with_its_reason(client: Client, namespace: str, name: str) -> None:
    case = FAILURES[name]
    apply(client, namespace, deployment(**json.loads(json.dumps(case.container))))
    keeper = LogKeeper(client)
    snapshot = wait(client, [Target("apps/v1", "Deployment", namespace, "web")], timeout=120, grace=case.grace)
    text = render(snapshot, collect(client, snapshot, keeper))
    assert snapshot.outcome == "failed", text
    assert snapshot.elapsed < case.within, text
    assert [finding.code for finding in findings_of(snapshot)] == [case.code], text
    assert case.seen in findings_of(snapshot)[0].evidence
    assert case.message in text, text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("namespace", [{"pod-security.kubernetes.io/enforce": "restricted"}], indirect=True)
def test_a_policy_that_refuses_the_pods_ends_the_wait_at_once(client: Client, namespace: str) -> None:
    apply(client, namespace, deployment())
    snapshot = wait(client, [Target("apps/v1", "Deployment", namespace, "web")], timeout=60)
    assert [finding.code for finding in findings_of(snapshot)] == ["ADMISSION_DENIED"]
    assert "violates PodSecurity" in findings_of(snapshot)[0].evidence
    assert snapshot.elapsed < 15


def test_many_kinds_become_ready(client: Client, namespace: str) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    apply(client, namespace, deployment(), service, job("true"))
    targets = [
        Target("apps/v1", "Deployment", namespace, "web"),
        Target("v1", "Service", namespace, "web"),
        Target("v1", "Pod", namespace, label_selector="app=web", count=1),
        Target("batch/v1", "Job", namespace, "job"),
        Target("v1", "Node", label_selector="kubernetes.io/os=linux", count=5),
    ]
    snapshot = wait(client, targets, timeout=60, stable_for=1)
    assert snapshot.outcome == "ready", snapshot.line()


def test_a_job_that_fails(client: Client, namespace: str) -> None:
    apply(client, namespace, job("echo reason; exit 1"))
    snapshot = wait(client, [Target("batch/v1", "Job", namespace, "job")], timeout=60)
    assert {finding.code for finding in findings_of(snapshot)} <= {"JOB_FAILED", "POD_FAILED"}
    assert "  | reason" in render(snapshot, collect(client, snapshot, LogKeeper(client)))


@pytest.fixture
def lws(client: Client) -> None:
    if client.discover(LWS_API, "LeaderWorkerSet") is None:
        pytest.skip("LeaderWorkerSets are not installed")


@pytest.mark.usefixtures("lws")
def test_leader_worker_set_and_its_rollout(client: Client, namespace: str) -> None:
    target = Target(LWS_API, "LeaderWorkerSet", namespace, "decode")
    apply(client, namespace, leader_worker_set("sleep 3600", groups=2))
    first = wait(client, [target], timeout=90)
    assert first.outcome == "ready", first.line()
    assert first.items[0].counts == {"groups_ready": 2, "groups_desired": 2, "pods_ready": 4, "pods_desired": 4}
    apply(client, namespace, leader_worker_set("sleep 3600", groups=2, marker="2"))
    second = wait(client, [target], timeout=180)
    assert second.outcome == "ready", second.line()
    assert {pod["metadata"]["annotations"]["marker"] for pod in second.items[0].pods} == {"2"}


@pytest.mark.usefixtures("lws")
def test_a_group_that_is_recreated_again_and_again(client: Client, namespace: str) -> None:
    apply(client, namespace, leader_worker_set("echo DeepEP timeout; sleep 3; exit 1"))
    keeper = LogKeeper(client)
    for snapshot in watch(client, Spec((Target(LWS_API, "LeaderWorkerSet", namespace, "decode"),), 120, 0.5)):
        keeper.look(snapshot)
    text = render(snapshot, collect(client, snapshot, keeper))
    assert "GROUP_RECREATED" in {finding.code for finding in findings_of(snapshot)}, text
    assert "DeepEP timeout" in text


PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - llmd.wide_ep.wait_ready:
        kubeconfig: {kubeconfig}
        timeout: 60
        objects:
          - {{api_version: apps/v1, kind: Deployment, namespace: {namespace}, name: web}}
"""


STARTS_SLOWLY = {
    "image": SHELL,
    "command": ["sh", "-c", "sleep 8; touch /tmp/up; sleep 600"],
    "startupProbe": {"exec": {"command": ["test", "-f", "/tmp/up"]}, "periodSeconds": 1, "failureThreshold": 60},
}


@pytest.mark.parametrize(
    ("container", "ending"),
    [
        (STARTS_SLOWLY, (0, "  web 0/1 ready, starting 1; 0 of 1 ready; 0:0")),
        ({"image": "X:1"}, (2, "ERROR IMAGE_NOT_FOUND")),
    ],
)
def test_action(
    client: Client, namespace: str, tmp_path: pathlib.Path, container: dict[str, t.Any], ending: tuple[int, str]
) -> None:
    apply(client, namespace, deployment(**container))
    play = tmp_path / "play.yml"
    play.write_text(PLAY.format(kubeconfig=KUBECONFIG, namespace=namespace))
    command = [pathlib.Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", play]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == ending[0], done.stdout + done.stderr
    assert ending[1] in done.stdout + done.stderr
    assert not {character for character in done.stdout if character < " "} - {"\n"}
