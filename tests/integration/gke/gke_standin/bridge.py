# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a rehearsal cluster the one behind the cloud's clusters: its pools bring nodes, its networks are looked up.

It tells the provider's parts in the cluster by the ConfigMap kube-system/rehearsal-cloud, and makes of the Services
there what Google's controllers make of them outside: a LoadBalancer is a forwarding rule and a firewall.
"""

from __future__ import annotations

import json
import pathlib
import sys
import typing as t

import kubernetes
import urllib3.exceptions

from .cloud import COMPUTE_BASE, Cloud, Json
from .identity import Cluster

NAMESPACE = "kube-system"
NAME = "rehearsal-cloud"
# A pool has its nodes in these states; DISC, NodePool.status.
SERVING = ("RUNNING", "RUNNING_WITH_ERROR", "RECONCILING")
TAINTS = {"NO_SCHEDULE": "NoSchedule", "PREFER_NO_SCHEDULE": "PreferNoSchedule", "NO_EXECUTE": "NoExecute"}


def last(link: str) -> str:
    return link.rpartition("/")[2]


def pool_of(body: Json, size: int) -> Json:
    """A node pool as the provider's parts want it."""
    config = body.get("config", {})
    labels = dict(config.get("labels", {}))
    for accelerator in config.get("accelerators", []):
        # DOC gpus: the label is there where GKE installs the driver.
        driver = accelerator.get("gpuDriverInstallationConfig", {}).get("gpuDriverVersion", "INSTALLATION_DISABLED")
        if driver in ("DEFAULT", "LATEST"):
            labels["cloud.google.com/gke-gpu-driver-version"] = driver.lower()
    taints = [{**taint, "effect": TAINTS[taint["effect"]]} for taint in config.get("taints", [])]
    kind = "gpu" if config.get("accelerators") else "cpu"
    return {"name": body["name"], "kind": kind, "count": size, "labels": labels, "taints": taints}


def snapshot(cloud: Cloud) -> Json:
    """The part of the cloud that shows in a cluster."""
    pools, subnetworks, network = [], {}, ""
    for path, body in sorted(cloud.objects.items()):
        if "/nodePools/" in path and body["status"] in SERVING:
            groups = [cloud.objects[cloud.path_of(link, "")] for link in body["instanceGroupUrls"]]
            pools.append(pool_of(body, sum(group["targetSize"] for group in groups)))
        elif "/subnetworks/" in path:
            subnetworks[body["name"]] = last(body["network"])
        elif "/clusters/" in path and "/nodePools/" not in path:
            network = last(body.get("network", ""))
    return {"pools": pools, "subnetworks": subnetworks, "cluster_network": network}


def balancers(cloud: Cloud, services: t.Iterable[t.Any]) -> dict[str, Json]:
    """Forwarding rules and firewalls of the LoadBalancer Services, by path (DOC service-load-balancer)."""
    path, cluster = next(
        ((path, body) for path, body in cloud.objects.items() if "/clusters/" in path and "/nodePools/" not in path),
        ("", {}),
    )
    if not path:
        return {}
    project = f"projects/{cloud.project}"
    region = f"{project}/regions/{cluster['location']}"
    network = COMPUTE_BASE + cloud.path_of(cluster.get("network", "default"), f"{project}/global/networks")
    result: dict[str, Json] = {}
    for service in services:
        if service.spec.type != "LoadBalancer":
            continue
        name = "a" + service.metadata.uid.replace("-", "")[:31]
        about = json.dumps({"kubernetes.io/service-name": f"{service.metadata.namespace}/{service.metadata.name}"})
        result[f"{region}/forwardingRules/{name}"] = {"name": name, "description": about, "network": network}
        wall = f"k8s-fw-{name}"
        result[f"{project}/global/firewalls/{wall}"] = {
            "kind": "compute#firewall",
            "name": wall,
            "description": about,
            "network": network,
            "direction": "INGRESS",
        }
    return {path: {**body, "selfLink": COMPUTE_BASE + path} for path, body in result.items()}


class Bridge:
    """Keeps a cluster and the cloud in step. ``update`` is called after every call of the API."""

    def __init__(self, cloud: Cloud, kubeconfig: pathlib.Path) -> None:
        self.cloud = cloud
        self.told: Json | None = None
        self.made: set[str] = set()
        self.core = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(str(kubeconfig)))
        cluster = Cluster.load(kubeconfig)
        cloud.endpoint, cloud.authority = cluster.address, cluster.authority

    def update(self) -> None:
        """What the cluster cannot be told now it is told after the next call."""
        state = snapshot(self.cloud)
        try:
            if state != self.told:
                self.tell(state)
                self.told = state
            if state["cluster_network"] and state["pools"]:
                self.follow_services()
        except (kubernetes.client.ApiException, urllib3.exceptions.HTTPError) as error:
            print(f"the cluster does not answer: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

    def tell(self, state: Json) -> None:
        body: Json = {"metadata": {"name": NAME}, "data": {"state": json.dumps(state)}}
        try:
            self.core.patch_namespaced_config_map(NAME, NAMESPACE, body, _request_timeout=10)
        except kubernetes.client.ApiException as error:
            if error.status != 404:
                raise
            self.core.create_namespaced_config_map(NAMESPACE, body, _request_timeout=10)

    def follow_services(self) -> None:
        services = self.core.list_service_for_all_namespaces(_request_timeout=10).items
        wanted = balancers(self.cloud, services)
        for path in self.made - set(wanted):
            self.cloud.objects.pop(path, None)
        self.cloud.objects.update({path: body for path, body in wanted.items() if path not in self.made})
        self.cloud.ready.update(wanted)
        self.made = set(wanted)

    def forget(self) -> None:
        """All nodes of the cluster come back."""
        try:
            self.core.delete_namespaced_config_map(NAME, NAMESPACE, _request_timeout=10)
        except kubernetes.client.ApiException as error:
            if error.status != 404:
                raise
