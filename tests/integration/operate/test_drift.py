# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes made by hand to a deployment: every one is found, and nothing else.

Needs the rehearsal cluster $LLMD_WIDE_EP_TEST_CLUSTER with the shared parts (playbooks/rehearsal_cluster.yml,
playbooks/lws.yml). A deployment that is there is used as it is; it is put back at the end. $LLMD_WIDE_EP_TEST_EXTRA has
further variables of it as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import typing as t
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / ".ansible" / "collections"), str(ROOT / "tools")]

from _paths import cache_root

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import JSON_PATCH, Client, load_client

CLUSTER = os.environ.get("LLMD_WIDE_EP_TEST_CLUSTER") or "test"
EXTRA = os.environ.get("LLMD_WIDE_EP_TEST_EXTRA") or "{}"
#: Whoever changes things by hand is neither of the identities that the tests are about.
KUBECONFIG = Path("/var/lib/llmd-wide-ep", CLUSTER, "admin.kubeconfig")
CHART = "registry.k8s.io/gateway-api-inference-extension/charts/standalone"
NAMESPACE, RELEASE = "llm-d-wide-ep", "wide-ep-lws"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}"
LWS = f"/apis/leaderworkerset.x-k8s.io/v1/namespaces/{NAMESPACE}/leaderworkersets"
POOLS = f"/apis/inference.networking.k8s.io/v1/namespaces/{NAMESPACE}/inferencepools"
PREFILL, DECODE = (f"{RELEASE}-nvidia-gpu-vllm-{role}" for role in ("prefill", "decode"))
HAND = {"fieldManager": "kubectl-edit"}

pytestmark = pytest.mark.skipif(not KUBECONFIG.is_file(), reason=f"the rehearsal cluster {CLUSTER} does not exist")


def play(folder: Path, *playbooks: str, **extra: t.Any) -> subprocess.CompletedProcess[str]:
    values = {**json.loads(EXTRA), "wide_ep_artifacts_dir": str(folder), **extra}
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        "-i",
        "inventories/local",
        "-i",
        "tests/inventory",
    ]
    names = [f"playbooks/{name}.yml" for name in playbooks]
    return subprocess.run(
        [*command, *names, "-e", json.dumps(values)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=900,
    )


def drift(folder: Path) -> tuple[int, list[dict[str, str]]]:
    """The exit code, and what the run wrote down."""
    for path in folder.glob("**/drift.json"):
        path.unlink()
    code = play(folder, "drift").returncode
    (path,) = folder.glob("**/drift.json")
    return code, json.loads(path.read_text(encoding="utf-8"))["data"]["findings"]


@pytest.fixture(scope="module")
def client() -> Client:
    return load_client(str(KUBECONFIG))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, client: Client) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("drift")
    existed = client.get_or_none(f"/api/v1/namespaces/{NAMESPACE}") is not None
    done = play(made, "workspace", "router", "model_server", "wait")
    assert done.returncode == 0, done.stdout
    before = {path: client.get(path) for path in touched(client)}
    values = json.loads(helm("get", "values", RELEASE, "--output", "json"))
    yield made
    if client.get_or_none(f"{CORE}/resourcequotas/made-by-hand"):
        client.delete(f"{CORE}/resourcequotas/made-by-hand")
    for path, item in before.items():
        put_back(client, path, item)
    upgraded(values)
    back = play(made, "model_server", "wait", wide_ep_allow_restart=True)
    assert back.returncode == 0, back.stdout
    assert drift(made)[1] == []
    if not existed:
        assert play(made, "cleanup").returncode == 0


def touched(client: Client) -> list[str]:
    """The objects that are changed and still exist afterwards."""
    return [
        f"/api/v1/namespaces/{NAMESPACE}",
        *(f"{LWS}/{name}" for name in (PREFILL, DECODE)),
        f"{APPS}/deployments/{RELEASE}-epp",
        f"{CORE}/services/{RELEASE}-epp",
        f"{POOLS}/{RELEASE}",
        f"{CORE}/configmaps/{epp_config(client)}",
    ]


def helm(*arguments: str) -> str:
    """As someone at a terminal runs it."""
    program = json.loads((cache_root() / "manifests" / "full.json").read_text())["programs"]["helm"]["path"]
    command = [program, "--kubeconfig", str(KUBECONFIG), "--namespace", NAMESPACE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def upgraded(values: dict[str, t.Any]) -> None:
    """The same chart with other values."""
    server = yaml.safe_load(KUBECONFIG.read_text())["clusters"][0]["cluster"]["server"]
    chart = f"oci://{urllib.parse.urlsplit(server).hostname}:5000/{CHART}"
    (listed,) = json.loads(helm("list", "--output", "json", "--filter", f"^{RELEASE}$"))
    version = listed["chart"].rpartition("-v")[2]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values, file)
        file.flush()
        helm("upgrade", RELEASE, chart, "--version", f"v{version}", "--plain-http", "--reset-values", "-f", file.name)


def epp_config(client: Client) -> str:
    maps = [item["metadata"]["name"] for item in client.list(f"{CORE}/configmaps")]
    return next(name for name in maps if name.startswith(f"{RELEASE}-epp"))


def put_back(client: Client, path: str, item: dict[str, t.Any]) -> None:
    """The object as it was, its owners included: a run takes no field from whoever changed it last."""
    now = client.get(path)
    metadata = {**item["metadata"], "resourceVersion": now["metadata"]["resourceVersion"]}
    metadata.pop("managedFields")
    client.replace(path, {**item, "metadata": metadata}, HAND)
    change(client, path, put("/metadata/managedFields", item["metadata"]["managedFields"]))


def container(client: Client, name: str) -> tuple[str, list[dict[str, str]]]:
    spec = client.get(f"{LWS}/{name}")["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]
    index = next(number for number, item in enumerate(spec["containers"]) if item["name"] == "vllm")
    base = f"/spec/leaderWorkerTemplate/workerTemplate/spec/containers/{index}"
    return base, spec["containers"][index]["env"]


def change(client: Client, path: str, *operations: dict[str, t.Any]) -> None:
    client.patch(path, list(operations), HAND, content_type=JSON_PATCH)


def put(path: str, value: t.Any) -> dict[str, t.Any]:
    return {"op": "add", "path": path, "value": value}


def tamper(client: Client) -> dict[str, str]:
    """The changes: the object that each is found at, and the words that tell it."""
    values = json.loads(helm("get", "values", RELEASE, "--output", "json"))
    upgraded({**values, "madeByHand": "yes"})
    base, env = container(client, DECODE)
    at = next(number for number, item in enumerate(env) if item["name"] == "MAX_TOKENS")
    change(client, f"{LWS}/{DECODE}", put(f"{base}/env/{at}/value", "128"))
    base, _env = container(client, PREFILL)
    change(client, f"{LWS}/{PREFILL}", put(f"{base}/env/-", {"name": "ADDED_BY_HAND", "value": "1"}))
    router = f"{APPS}/deployments/{RELEASE}-epp"
    change(client, router, put("/spec/replicas", 2))
    change(client, router, put("/spec/template/spec/containers/0/image", "docker.io/someone/picker:mine"))
    service = client.get(f"{CORE}/services/{RELEASE}-epp")
    ports = [number for number, item in enumerate(service["spec"]["ports"]) if item["port"] == 80]
    change(client, f"{CORE}/services/{RELEASE}-epp", put(f"/spec/ports/{ports[0]}/port", 8088))
    change(client, f"{POOLS}/{RELEASE}", put("/spec/targetPorts/0/number", 8001))
    config = epp_config(client)
    key = next(iter(client.get(f"{CORE}/configmaps/{config}")["data"]))
    change(client, f"{CORE}/configmaps/{config}", put(f"/data/{key}", "kind: Changed\n"))
    change(
        client,
        f"/api/v1/namespaces/{NAMESPACE}",
        put("/metadata/labels/pod-security.kubernetes.io~1enforce", "baseline"),
    )
    # The one of the model servers would keep their pods from starting long after it is back: the controller backs off.
    client.delete(f"{CORE}/serviceaccounts/{RELEASE}-epp")
    metadata = {"name": "made-by-hand", "labels": {"wide-ep.llm-d.ai/deployment": RELEASE}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"pods": "500"}}}
    client.create(f"{CORE}/resourcequotas", quota, HAND)
    change(client, f"{LWS}/{PREFILL}", put("/metadata/labels/llm-d.ai~1model", "another"))
    return {
        f"DRIFT_FIELD LeaderWorkerSet {DECODE}": "MAX_TOKENS",
        f"DRIFT_FIELD LeaderWorkerSet {PREFILL}": "ADDED_BY_HAND",
        f"DRIFT_HELM Helm release {RELEASE}": "",
        f"DRIFT_FIELD Deployment {RELEASE}-epp": "replicas",
        f"DRIFT_FIELD  Deployment {RELEASE}-epp": "someone/picker:mine",
        f"DRIFT_FIELD Service {RELEASE}-epp": "8088",
        f"DRIFT_FIELD InferencePool {RELEASE}": "8001",
        f"DRIFT_FIELD ConfigMap {config}": "Changed",
        f"DRIFT_FIELD Namespace {NAMESPACE}": "baseline",
        f"DRIFT_MISSING ServiceAccount {RELEASE}-epp": "does not",
        "DRIFT_EXTRA ResourceQuota made-by-hand": "kubectl-edit",
        f"DRIFT_FIELD  LeaderWorkerSet {PREFILL}": "another",
    }


def test_changes_by_hand_are_all_found_and_none_else(folder: Path, client: Client) -> None:
    assert drift(folder) == (0, [])

    expected = tamper(client)
    code, findings = drift(folder)

    assert code != 0
    assert len(expected) == 12
    told = [(f"{item['code']} {item['subject']}", item["evidence"]) for item in findings]
    for key, word in expected.items():
        title = " ".join(key.split())
        assert any(subject == title and word in evidence for subject, evidence in told), (title, word, told)
    assert len(told) == len(expected), told


def test_drift_changes_nothing(folder: Path, client: Client) -> None:
    before = {
        item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in client.list(f"{CORE}/configmaps")
    }
    drift(folder)
    after = {
        item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in client.list(f"{CORE}/configmaps")
    }
    assert before == after
