# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that are not there, in the shapes of the providers, and what the tests do with the cluster that has them."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import pathlib
import secrets
import subprocess
import sys
import time
import typing as t
from collections.abc import Callable, Iterator

import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _kueue

ROOT = pathlib.Path(__file__).resolve().parents[3]
RENDERED = ROOT / "tests/data/rendered"
CLUSTER = os.environ.get("LLMD_WIDE_EP_TEST_CLUSTER", "test")
#: Nodes, and pods on nodes that are not there, need the administrator.
KUBECONFIG = pathlib.Path("/var/lib/llmd-wide-ep") / CLUSTER / "admin.kubeconfig"
SHAPES: dict[str, dict[str, t.Any]] = yaml.safe_load((ROOT / "roles/wide_ep/vars/main.yml").read_text())[
    "_wide_ep_node_shapes"
]
HOSTNAME = "kubernetes.io/hostname"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
MARK = "wide-ep.llm-d.ai/test"
DEPLOYMENT_LABEL = "wide-ep.llm-d.ai/deployment"

BACKGROUND = {"propagationPolicy": "Background", "gracePeriodSeconds": 0}

Object = dict[str, t.Any]


def play(name: str, **variables: t.Any) -> None:
    """Run a playbook on the test cluster."""
    given = {"rehearsal_cluster_name": CLUSTER, "rehearsal_cluster_scenario": "full", **variables}
    tool = pathlib.Path(sys.executable).with_name("ansible-playbook")
    command = [str(tool), f"playbooks/{name}.yml", "-i", "inventories/local", "-e", json.dumps(given)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def wait(condition: Callable[[], t.Any], limit: float, what: Callable[[], str]) -> t.Any:
    """Wait until a condition gives something true; `what` tells the state when it does not."""
    deadline = time.monotonic() + limit
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {limit:g} s: {what()}"
        time.sleep(0.3)
    return result


def labels(shape: t.Mapping[str, t.Any], name: str, index: int, per_block: int) -> dict[str, str]:
    """A node's labels: nodes of one block share the widest domain, the narrower ones halve it."""
    domains = {}
    for depth, level in enumerate(shape["topology_levels"]):
        size = 1 if level.endswith("host") else max(1, per_block >> depth)
        domains[level] = name if level == HOSTNAME else f"domain-{depth}-{index // size}"
    machine = {"node.kubernetes.io/instance-type": shape["machine_type"], "kubernetes.io/os": "linux"}
    return {"kubernetes.io/arch": shape["architecture"], **machine, **shape["labels"], **domains, HOSTNAME: name}


def fake_node(overlay: str, name: str, index: int, per_block: int) -> Object:
    """A node of an overlay's shape, as its provider announces it, for KWOK to keep ready."""
    shape = SHAPES[overlay]
    resources = {
        **shape["allocatable"],
        "nvidia.com/gpu": str(shape["gpus"]),
        **shape["rdma_resources"],
        "pods": "110",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {MARK: "admission", **labels(shape, name, index, per_block)},
        },
        "spec": {"taints": copy.deepcopy(shape["taints"])},
        "status": {"capacity": resources, "allocatable": resources},
    }


def sweep(client: Client) -> None:
    """Remove what a killed run left; its nodes would count as room."""
    for path in ("/api/v1/namespaces", "/api/v1/nodes"):
        for item in client.list(path, {"labelSelector": f"{MARK}=admission"}):
            client.delete(f"{path}/{item['metadata']['name']}", BACKGROUND)


class Case:
    """One rendered deployment in a namespace of its own, with nodes of its overlay's shape."""

    def __init__(self, client: Client, overlay: str, variant: str) -> None:
        self.client, self.overlay, self.variant = client, overlay, variant
        self.namespace = f"admission-{secrets.token_hex(3)}"
        self.objects = self.read()
        self.nodes: list[Object] = []

    def read(self) -> list[Object]:
        """The committed manifests, moved to the case's namespace."""
        suffix = "" if self.variant == "plain" else f"+{self.variant}"
        listed = yaml.safe_load((RENDERED / f"{self.overlay}{suffix}.yaml").read_text())["items"]
        for item in listed:
            item["metadata"]["namespace"] = self.namespace
        return t.cast("list[Object]", listed)

    @property
    def sets(self) -> list[Object]:
        return [item for item in self.objects if item["kind"] == "LeaderWorkerSet"]

    @property
    def pods_wanted(self) -> int:
        return sum(item["spec"]["replicas"] * item["spec"]["leaderWorkerTemplate"]["size"] for item in self.sets)

    @property
    def group_size(self) -> int:
        return max(int(item["spec"]["leaderWorkerTemplate"]["size"]) for item in self.sets)

    @property
    def groups(self) -> int:
        return sum(int(item["spec"]["replicas"]) for item in self.sets)

    def path(self, item: Object) -> str:
        resource = self.client.discover(item["apiVersion"], item["kind"])
        assert resource is not None, item["kind"]
        return resource.path(item["metadata"].get("namespace"), item["metadata"]["name"])

    def apply(self, items: t.Iterable[Object], *, dry_run: bool = False) -> None:
        for item in items:
            self.client.apply(self.path(item), item, dry_run=dry_run)

    def prepare(self, *, per_block: int, blocks: int) -> None:
        """Make the namespace, the nodes, and with Kueue the queue objects."""
        head = {"name": self.namespace, "labels": {DEPLOYMENT_LABEL: self.namespace, MARK: "admission"}}
        self.client.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": head})
        names = [f"{self.namespace}-{index}" for index in range(per_block * blocks)]
        self.nodes = [fake_node(self.overlay, name, index, per_block) for index, name in enumerate(names)]
        for node in self.nodes:
            self.client.create("/api/v1/nodes", node)
        wait(self.nodes_ready, 60, lambda: "fake nodes are not ready")
        self.apply(self.queue_objects())

    def nodes_ready(self) -> bool:
        return all(self.node_ready(self.client.get(f"/api/v1/nodes/{node['metadata']['name']}")) for node in self.nodes)

    @staticmethod
    def node_ready(node: Object) -> bool:
        conditions = node["status"].get("conditions") or []
        tainted = any(taint["key"] == "node.kubernetes.io/not-ready" for taint in node["spec"].get("taints", []))
        return not tainted and any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def queue_objects(self) -> list[Object]:
        queue = self.sets[0]["metadata"]["labels"].get(QUEUE_LABEL)
        if not queue:
            return []
        shared = _kueue.Names(self.namespace, self.namespace, self.namespace)
        quota = _kueue.quotas(self.sets, {})
        made = _kueue.platform_objects(shared, SHAPES[self.overlay], quota, self.namespace, {})
        local_queue = {
            "apiVersion": _kueue.API,
            "kind": "LocalQueue",
            "metadata": {"name": queue, "namespace": self.namespace},
            "spec": {"clusterQueue": self.namespace},
        }
        return [*made, local_queue]

    def pods(self) -> list[Object]:
        return self.client.list(f"/api/v1/namespaces/{self.namespace}/pods")

    def bound(self) -> dict[str, str]:
        """The node of every pod that has one."""
        return {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in self.pods() if pod["spec"].get("nodeName")}

    def blocks_of_groups(self) -> dict[str, set[str]]:
        """The widest domains that the pods of each group stand in."""
        level = SHAPES[self.overlay]["topology_levels"][0]
        domain = {node["metadata"]["name"]: node["metadata"]["labels"][level] for node in self.nodes}
        found: dict[str, set[str]] = {}
        for pod in self.pods():
            marks = pod["metadata"]["labels"]
            group = f"{marks['leaderworkerset.sigs.k8s.io/name']}-{marks['leaderworkerset.sigs.k8s.io/group-index']}"
            found.setdefault(group, set()).add(domain[pod["spec"]["nodeName"]])
        return found

    def reasons(self) -> list[str]:
        """What the Workloads say while they are not admitted."""
        listed = self.client.list(f"/apis/kueue.x-k8s.io/v1beta2/namespaces/{self.namespace}/workloads")
        conditions = [one for item in listed for one in (item.get("status") or {}).get("conditions") or []]
        return [one["message"] for one in conditions if one["type"] == "QuotaReserved" and one["status"] == "False"]

    def state(self) -> str:
        events = {event.get("message", "") for event in self.client.events(self.namespace)}
        return f"bound {self.bound()} of {self.pods_wanted}; {self.reasons()} {sorted(events)[:8]}"

    def gone(self) -> bool:
        return self.client.get_or_none(f"/api/v1/namespaces/{self.namespace}") is None

    def remove(self) -> None:
        """Take everything off the cluster; a pod that is left keeps the next case's nodes from being empty."""
        try:
            with contextlib.suppress(ApiError):
                self.client.delete(f"/api/v1/namespaces/{self.namespace}", BACKGROUND)
            for item in reversed(self.queue_objects()):
                if "namespace" not in item["metadata"]:
                    with contextlib.suppress(ApiError):
                        self.client.delete(self.path(item), BACKGROUND)
            wait(self.gone, 120, lambda: f"namespace {self.namespace} is not gone: {self.pods()}")
        finally:
            for node in self.nodes:
                with contextlib.suppress(ApiError):
                    self.client.delete(f"/api/v1/nodes/{node['metadata']['name']}", BACKGROUND)


@contextlib.contextmanager
def case(client: Client, overlay: str, variant: str) -> Iterator[Case]:
    """A case that leaves nothing behind."""
    one = Case(client, overlay, variant)
    try:
        yield one
    finally:
        one.remove()
