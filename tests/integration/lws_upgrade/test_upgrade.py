# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the LWS chart that owns its CRD to the table's version, with a running set: nothing of the set is lost.

Needs the rehearsal cluster $LLMD_WIDE_EP_TEST_CLUSTER of scenario full (playbooks/rehearsal_cluster.yml) without any
LeaderWorkerSet, and root. It ends with the table's version installed.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t
from collections.abc import Callable, Iterator

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client, load_client

ROOT = pathlib.Path(__file__).resolve().parents[3]
CLUSTER = os.environ.get("LLMD_WIDE_EP_TEST_CLUSTER", "test")
KUBECONFIG = pathlib.Path("/var/lib/llmd-wide-ep") / CLUSTER / "admin.kubeconfig"
TABLE = yaml.safe_load((ROOT / "roles/wide_ep/vars/main.yml").read_text())["_wide_ep_default_charts"]["lws"]
OLD = "0.7.0"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CRD = "leaderworkersets.leaderworkerset.x-k8s.io"
SETS = "/apis/leaderworkerset.x-k8s.io/v1/namespaces/default/leaderworkersets"
PODS = "/api/v1/namespaces/default/pods"
VALUES = {
    "image": {"manager": {"repository": "registry.k8s.io/lws/lws", "tag": f"v{OLD}", "pullPolicy": "IfNotPresent"}},
    "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
}
REMOVE = """
- hosts: wide_ep
  gather_facts: false
  module_defaults:
    group/kubernetes.core.k8s: &access {kubeconfig: "{{ wide_ep_platform_kubeconfig }}"}
    group/llmd.wide_ep.k8s: *access
    group/kubernetes.core.helm:
      <<: *access
      binary_path: "{{ wide_ep_helm_binary }}"
  tasks:
    - ansible.builtin.include_role: {name: llmd.wide_ep.lws, tasks_from: remove}
"""

pytestmark = pytest.mark.skipif(not KUBECONFIG.is_file(), reason=f"the rehearsal cluster {CLUSTER} does not exist")


def cache() -> pathlib.Path:
    own = os.environ.get("LLMD_WIDE_EP_CACHE")
    base = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return pathlib.Path(own) if own else base / "llmd-wide-ep"


def play(playbook: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
    given = {"rehearsal_cluster_name": CLUSTER, "rehearsal_cluster_scenario": "full", **variables}
    tool = pathlib.Path(sys.executable).with_name("ansible-playbook")
    command = [str(tool), playbook, "-i", "inventories/local", "-e", json.dumps(given)]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False, timeout=600)


def helm(*arguments: str, values: t.Any = None) -> str:
    program = json.loads((cache() / "manifests/full.json").read_text())["programs"]["helm"]["path"]
    access = ["--kubeconfig", str(KUBECONFIG), "--namespace", "lws-system"]
    done = subprocess.run(
        [program, *arguments, *access],
        input=json.dumps(values),
        text=True,
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait(condition: Callable[[], t.Any], limit: float, what: str) -> t.Any:
    deadline = time.monotonic() + limit
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {limit:g} s"
        time.sleep(0.5)
    return result


@pytest.fixture(scope="module")
def client() -> Client:
    return load_client(str(KUBECONFIG))


def leader_worker_set() -> dict[str, t.Any]:
    container = {
        "name": "main",
        "image": "registry.k8s.io/pause:3.10",
        "resources": {"requests": {"cpu": "10m"}},
    }
    spec = {
        "nodeSelector": {"kubernetes.io/hostname": f"{CLUSTER}-cpu-0"},
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
    }
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "kept"},
        "spec": {"replicas": 2, "leaderWorkerTemplate": {"size": 2, "workerTemplate": {"spec": spec}}},
    }


def uids(client: Client) -> dict[str, str]:
    """What must outlive the upgrade: the set, its StatefulSets and its pods."""
    paths = (SETS, "/apis/apps/v1/namespaces/default/statefulsets", PODS)
    items = [item for path in paths for item in client.list(path)]
    return {f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["uid"] for item in items}


def pods_ready(client: Client) -> bool:
    conditions = [one for pod in client.list(PODS) for one in pod["status"].get("conditions", [])]
    return sum(one["type"] == "Ready" and one["status"] == "True" for one in conditions) == 4


def chart(client: Client) -> str:
    registry = client.server.removeprefix("https://").replace(":6443", ":5000")
    return f"oci://{registry}/{TABLE['ref']}"


def remove_lws(client: Client) -> None:
    if "lws" in helm("list", "--short", "--all").split():
        helm("uninstall", "lws", "--wait")
    for item in client.list(CRDS):
        if item["metadata"]["name"].endswith(("leaderworkerset.x-k8s.io", "disaggregatedset.x-k8s.io")):
            client.delete(f"{CRDS}/{item['metadata']['name']}")
    wait(lambda: client.get_or_none(f"{CRDS}/{CRD}") is None, 60, "the CRD is gone")


@pytest.fixture
def running(client: Client) -> Iterator[dict[str, str]]:
    """A set of two groups that runs under the old controller."""
    if client.get_or_none(f"{CRDS}/{CRD}"):
        everywhere = client.list("/apis/leaderworkerset.x-k8s.io/v1/leaderworkersets")
        assert not everywhere, f"sets exist: {[item['metadata']['name'] for item in everywhere]}"
    remove_lws(client)
    # As the role makes it.
    namespace = {"name": "lws-system", "labels": {"wide-ep.llm-d.ai/platform": "true"}}
    client.apply("/api/v1/namespaces/lws-system", {"apiVersion": "v1", "kind": "Namespace", "metadata": namespace})
    options = ["--version", OLD, "--plain-http", "--wait", "--timeout", "120s", "--values", "-"]
    helm("install", "lws", chart(client), *options, values=VALUES)
    # The webhook answers a little after its Deployment is available.
    wait(lambda: applied(client), 60, "the webhook accepts a set")
    wait(lambda: pods_ready(client), 90, "the set's pods are ready")
    yield uids(client)
    client.delete(f"{SETS}/kept", {"propagationPolicy": "Foreground"})
    wait(lambda: not client.list(PODS), 60, "the set's pods are gone")


def applied(client: Client) -> bool:
    try:
        client.apply(f"{SETS}/kept", leader_worker_set())
    except ApiError as error:
        if "webhook" not in str(error):
            raise
        return False
    return True


def controller(client: Client) -> dict[str, t.Any]:
    return client.get("/apis/apps/v1/namespaces/lws-system/deployments/lws-controller-manager")


def replaced(client: Client) -> bool:
    """Whether the new controller runs alone."""
    found = controller(client)
    status, wanted = found["status"], found["spec"]["replicas"]
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return bool(status.get("observedGeneration") == found["metadata"]["generation"] and counts == [wanted] * 3)


def test_set_survives_the_way_from_the_chart_that_owns_its_crd(
    client: Client, running: dict[str, str], tmp_path: pathlib.Path
) -> None:
    assert len([name for name in running if name.startswith("Pod/")]) == 4
    before = client.get(f"{CRDS}/{CRD}")
    assert before["metadata"]["annotations"].get("helm.sh/resource-policy") is None

    refused = play("playbooks/lws.yml")
    assert refused.returncode != 0
    assert "LWS_UPGRADE_UNSAFE" in refused.stdout
    assert "-e lws_upgrade=true" in " ".join(refused.stdout.split())
    assert client.get(f"{CRDS}/{CRD}")["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]

    # Charts up to 0.7.0 take the CRD with them, and its sets: nothing is removed while a set exists.
    (tmp_path / "remove.yml").write_text(REMOVE)
    kept = play(str(tmp_path / "remove.yml"))
    assert kept.returncode != 0
    assert "default/kept" in kept.stdout

    done = play("playbooks/lws.yml", lws_upgrade=True)
    assert done.returncode == 0, done.stdout[-4000:]
    wait(lambda: replaced(client), 120, "the new controller runs alone")
    assert controller(client)["spec"]["template"]["spec"]["containers"][0]["image"].endswith(f":v{TABLE['version']}")
    after = client.get(f"{CRDS}/{CRD}")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["versions"] != before["spec"]["versions"]
    assert serves_the_tables_crd(client)
    assert uids(client) == running

    # The new controller works on what the old one made.
    client.patch(f"{SETS}/kept", {"spec": {"replicas": 3}})
    wait(lambda: len(client.list(PODS)) == 6, 60, "the third group is made")
    assert uids(client).items() >= running.items()

    again = play("playbooks/lws.yml")
    assert again.returncode == 0, again.stdout[-4000:]
    assert "changed=0" in again.stdout


def serves_the_tables_crd(client: Client) -> bool:
    """Whether the served CRD is the one in the chart of the table's version."""
    text = helm("show", "crds", chart(client), "--version", TABLE["version"], "--plain-http")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    wanted = next(item for item in yaml.load_all(text, loader) if item and item["metadata"]["name"] == CRD)
    return bool(client.get(f"{CRDS}/{CRD}")["spec"]["versions"] == wanted["spec"]["versions"])
