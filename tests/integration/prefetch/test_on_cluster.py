# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The prefetch of every GPU node of the tests' cluster, with the real client, from a hub in the same cluster.

The image that stands for vLLM's has Python and not the client: the program brings it along, as an archive from the hub.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import io
import json
import os
import secrets
import threading
import time
import typing as t
import zipfile
from base64 import b64encode
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ansible_collections.llmd.wide_ep.plugins.action.prefetch import Follower
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client, ClientError, load_client
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _prefetch

ROOT = Path(__file__).parents[3]
CACHE_ROOT = Path(os.environ.get("LLMD_WIDE_EP_CACHE") or Path.home() / ".cache" / "llmd-wide-ep")
CLUSTER = os.environ.get("LLMD_WIDE_EP_TEST_CLUSTER") or "test"
KUBECONFIG = CACHE_ROOT / "clusters" / CLUSTER / "deployer.kubeconfig"
SHARED = "/mnt/stateful_partition/kube-ephemeral-ssd/shared_disk"
IMAGE = "docker.io/library/python:3.13-slim"
MODEL = "deepseek-ai/DeepSeek-R1-0528"
MEGABYTES = 12
TOTAL = 3 * (MEGABYTES << 20) + 300_000 + 25
#: What a ConfigMap holds of the archive, below its limit of 1 MiB.
PART = 700_000
CLIENT = "huggingface_hub"
#: What decides about its dependencies there, not here.
THERE = {"python_version": "3.13", "python_full_version": "3.13.0", "extra": ""}

pytestmark = [
    pytest.mark.skipif(not KUBECONFIG.exists(), reason=f"cluster {CLUSTER} is not up"),
    pytest.mark.skipif(not importlib.util.find_spec("huggingface_hub"), reason="no huggingface_hub"),
]

WRAPPER = """
import os, sys, urllib.request
urllib.request.urlretrieve(os.environ["HF_ENDPOINT"] + "/site.zip", "/tmp/site.zip")
sys.path.insert(0, "/tmp/site.zip")
exec(compile({source!r}, "prefetch.py", "exec"))
"""
SERVE = """
import glob, sys
sys.path.insert(0, "/opt/hub")
import hub
server = hub.Hub(hub.contents({megabytes}), ("0.0.0.0", 8000), "{url}")
server.extra["/site.zip"] = b"".join(open(path, "rb").read() for path in sorted(glob.glob("/opt/site-*/part")))
server.serve_forever()
"""


def distributions() -> list[importlib.metadata.Distribution]:
    """The client and all that it needs, as their installed metadata say; what is absent is of other platforms."""
    found: dict[str, importlib.metadata.Distribution] = {}
    wanted = [CLIENT]
    while wanted:
        name = canonicalize_name(wanted.pop())
        if name in found:
            continue
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.distribution(name)
            needs = map(Requirement, found[name].requires or [])
            wanted += [need.name for need in needs if need.marker is None or need.marker.evaluate(THERE)]
    return list(found.values())


def archive() -> bytes:
    """The client as an archive that Python imports from.

    What is compiled stays here, and its metadata with it: a part without metadata counts as not installed.
    """
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for distribution in distributions():
            files = [path for path in distribution.files or [] if not {"tests", ".."} & set(path.parts)]
            pure = all(path.suffix != ".so" for path in files)
            for path in files:
                if path.suffix in (".py", ".pem") or (pure and path.name == "METADATA"):
                    target.write(path.locate(), path)
    return made.getvalue()


@dataclasses.dataclass
class Bench:
    """A namespace with a hub in it, and a cache path of its own on the nodes."""

    client: Client
    namespace: str
    folder: str

    @property
    def url(self) -> str:
        return f"http://hub.{self.namespace}.svc:8000"

    def control(self, **values: t.Any) -> dict[str, int]:
        path = f"/api/v1/namespaces/{self.namespace}/services/hub:8000/proxy/control"
        return t.cast("dict[str, int]", self.client.get(path, values))

    def create(self, plural: str, name: str, kind: str, **rest: t.Any) -> None:
        body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, **rest.pop("metadata", {})}, **rest}
        self.client.create(f"/api/v1/namespaces/{self.namespace}/{plural}", body)

    def objects(self) -> list[dict[str, t.Any]]:
        """The rendered model servers, with this bench's hub and cache."""
        rendered = yaml.safe_load((ROOT / "tests/data/rendered/gke+rehearsal.yaml").read_text())["items"]
        for item in rendered:
            if item["kind"] != "LeaderWorkerSet":
                continue
            spec = item["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]
            container = next(entry for entry in spec["containers"] if entry["name"] == "vllm")
            container["env"].append({"name": "HF_ENDPOINT", "value": self.url})
            volume = next(entry for entry in spec["volumes"] if entry["name"] == "hf-cache")
            volume["hostPath"]["path"] = f"{SHARED}/{self.folder}"
        return list(rendered)

    def settings(self, **changes: t.Any) -> _prefetch.Settings:
        source = (ROOT / "roles/model_server/files/prefetch.py").read_text()
        values: dict[str, t.Any] = {
            "namespace": self.namespace,
            "release": "prefetch-test",
            "model": MODEL,
            "revision": "main",
            "program": WRAPPER.format(source=source),
            "nodes": (),
            "workers": 2,
            "timeout": 300,
            "patience": 60,
            "reserve_percent": 0,
            "verify": True,
            "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        }
        return _prefetch.Settings(**{**values, **changes})

    def run(self, **changes: t.Any) -> tuple[list[_prefetch.NodeState], list[t.Any], list[str]]:
        settings, lines = self.settings(**changes), []
        given = _prefetch.templates(self.objects())
        chosen, findings = _prefetch.choose(settings, given, self.client.list("/api/v1/nodes"))
        assert findings == []
        states = Follower(self.client, settings, lines.append).run(chosen)
        return states, _prefetch.findings(states, given), lines

    def jobs(self) -> list[dict[str, t.Any]]:
        return self.client.list(f"/apis/batch/v1/namespaces/{self.namespace}/jobs")

    def pods(self) -> list[dict[str, t.Any]]:
        return self.client.list(f"/api/v1/namespaces/{self.namespace}/pods", {"labelSelector": "job-name"})

    def start_hub(self) -> None:
        site = archive()
        parts = [site[start : start + PART] for start in range(0, len(site), PART)]
        hub = {"hub.py": Path(__file__).with_name("hub.py").read_text()}
        serve = SERVE.format(megabytes=MEGABYTES, url=self.url)
        self.create("configmaps", "hub", "ConfigMap", data={**hub, "serve.py": serve})
        volumes: list[dict[str, t.Any]] = [{"name": "hub", "configMap": {"name": "hub"}}]
        mounts = [{"name": "hub", "mountPath": "/opt/hub"}]
        for index, part in enumerate(parts):
            name = f"site-{index}"
            self.create("configmaps", name, "ConfigMap", binaryData={"part": b64encode(part).decode()})
            volumes.append({"name": name, "configMap": {"name": name}})
            mounts.append({"name": name, "mountPath": f"/opt/{name}"})
        container = {"name": "hub", "image": IMAGE, "command": ["python3", "/opt/hub/serve.py"], "volumeMounts": mounts}
        spec = {"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 0}
        self.create("pods", "hub", "Pod", metadata={"labels": {"app": "hub"}}, spec=spec)
        self.create("services", "hub", "Service", spec={"selector": {"app": "hub"}, "ports": [{"port": 8000}]})
        until(self._hub_answers)

    def _hub_answers(self) -> bool:
        try:
            return "sent" in self.control()
        except ClientError:
            return False

    def remove_caches(self) -> None:
        nodes = [node["metadata"]["name"] for node in self.client.list("/api/v1/nodes")]
        suffix = secrets.token_hex(2)
        names = {f"clean-{node}-{suffix}": node for node in nodes if "gpu" in node}
        for name, node in names.items():
            container = {
                "name": "clean",
                "image": IMAGE,
                "command": ["rm", "-rf", f"/shared/{self.folder}"],
                "securityContext": {"runAsUser": 0},
                "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
            }
            spec = {
                "nodeName": node,
                "restartPolicy": "Never",
                "tolerations": [{"operator": "Exists"}],
                "containers": [container],
                "volumes": [{"name": "shared", "hostPath": {"path": SHARED, "type": "DirectoryOrCreate"}}],
            }
            self.create("pods", name, "Pod", spec=spec)
        path = f"/api/v1/namespaces/{self.namespace}/pods/"
        until(lambda: all(self.client.get(path + name)["status"].get("phase") == "Succeeded" for name in names))


def until(condition: t.Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def bench() -> t.Iterator[Bench]:
    client = load_client(str(KUBECONFIG))
    name = f"prefetch-test-{secrets.token_hex(3)}"
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    client.create("/api/v1/namespaces", namespace)
    made = Bench(client, name, name)
    try:
        made.start_hub()
        yield made
        made.remove_caches()
    finally:
        client.delete(f"/api/v1/namespaces/{name}")


def test_every_gpu_node_is_filled_in_parallel(bench: Bench) -> None:
    bench.control(speed=2 << 20)
    states, findings, lines = bench.run()
    assert findings == []
    assert len(states) == len(
        [node for node in bench.client.list("/api/v1/nodes") if "gpu" in node["metadata"]["name"]]
    )
    assert {state.frame["fetched_bytes"] for state in states} == {TOTAL}
    assert any("GB/s" in line and "left" in line for line in lines), lines
    assert bench.control()["sent"] == len(states) * TOTAL
    assert _prefetch.fetched(states)
    assert bench.jobs() == []
    until(lambda: bench.pods() == [])


def test_a_second_run_changes_nothing(bench: Bench) -> None:
    sent, started = bench.control()["sent"], time.monotonic()
    states, findings, _lines = bench.run()
    assert findings == []
    assert not _prefetch.fetched(states)
    assert bench.control()["sent"] == sent
    assert time.monotonic() - started < 60


def test_a_killed_pod_is_replaced_and_the_download_goes_on(bench: Bench) -> None:
    bench.remove_caches()
    node = sorted(node["metadata"]["name"] for node in bench.client.list("/api/v1/nodes") if "gpu" in json.dumps(node))[
        0
    ]
    before = bench.control(speed=2 << 20)["sent"]
    result: list[t.Any] = []
    thread = threading.Thread(target=lambda: result.append(bench.run(nodes=(node,))))
    thread.start()
    until(lambda: bench.control()["sent"] - before > 25 << 20)
    (pod,) = bench.pods()
    path = f"/api/v1/namespaces/{bench.namespace}/pods/{pod['metadata']['name']}"
    bench.client.delete(path, params={"gracePeriodSeconds": 0})
    bench.control(speed=0)
    thread.join(timeout=240)
    states, findings, _lines = result[0]
    assert findings == []
    assert [state.phase for state in states] == ["complete"]
    assert bench.control()["sent"] - before < TOTAL + 2 * (10 << 20) + (1 << 20)


def test_a_refused_token_ends_every_node_and_names_the_secret(bench: Bench) -> None:
    bench.control(token="hf_other")
    try:
        states, findings, _lines = bench.run()
    finally:
        bench.control(token="")
    assert {state.phase for state in states} == {"failed"}
    (finding,) = findings
    assert finding.code == "PREFETCH_TOKEN"
    assert "Secret llm-d-hf-token" in finding.fix
    with pytest.raises(ApiError):
        bench.client.get(f"/apis/batch/v1/namespaces/{bench.namespace}/jobs/{states[0].job}")
