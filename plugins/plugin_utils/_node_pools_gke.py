# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a GKE cluster with RDMA node pools needs inside of it, as objects. Private to the collection."""

from __future__ import annotations

import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_machines import MACHINES

Json = dict[str, t.Any]

API = "networking.gke.io/v1"
GROUP = "networking.gke.io"


def interface_names(count: int, machine: str) -> list[str]:
    """The names that the pods' annotations refer to: the further gVNICs, then the rails from 0 on."""
    gvnics = MACHINES[machine].gvnics
    return [f"gvnic-{index + 1}" if index < gvnics else f"rdma-{index - gvnics}" for index in range(count)]


def network_objects(pairs: t.Sequence[t.Mapping[str, str]], machine: str, labels: t.Mapping[str, str]) -> list[Json]:
    """A param set and a Network per interface, in the order of the node pool's interfaces."""
    objects: list[Json] = []
    for name, pair in zip(interface_names(len(pairs), machine), pairs, strict=True):
        mode = "RDMA" if name.startswith("rdma-") else "NetDevice"
        spec = {"vpc": base(pair["network"]), "vpcSubnet": base(pair["subnetwork"]), "deviceMode": mode}
        reference = {"group": GROUP, "kind": "GKENetworkParamSet", "name": name}
        objects += [
            _object("GKENetworkParamSet", name, labels, spec),
            _object("Network", name, labels, {"type": "Device", "parametersRef": reference}),
        ]
    return objects


def _object(kind: str, name: str, labels: t.Mapping[str, str], spec: Json) -> Json:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name, "labels": dict(labels)}, "spec": spec}


def base(link: str) -> str:
    """A network's or subnet's name out of its URL or path."""
    return link.rpartition("/")[2]


def wait_objects(objects: t.Sequence[Json]) -> list[Json]:
    """What `wait_ready` is asked for."""
    return [
        {"api_version": item["apiVersion"], "kind": item["kind"], "name": item["metadata"]["name"]} for item in objects
    ]


def kubeconfig(
    name: str, endpoint: str, authority: str, program: t.Sequence[str], environment: t.Mapping[str, str]
) -> Json:
    """How kubectl, Helm and the modules reach the cluster; each of them runs ``program`` for a token when it needs one.

    Nothing in it is secret: the program reads the credentials where Google's libraries look for them.
    """
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": program[0],
        "args": list(program[1:]),
        "env": [{"name": key, "value": value} for key, value in environment.items() if value],
        "interactiveMode": "Never",
        "provideClusterInfo": False,
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {"server": f"https://{endpoint}", "certificate-authority-data": authority},
            }
        ],
        "users": [{"name": name, "user": {"exec": credential}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
