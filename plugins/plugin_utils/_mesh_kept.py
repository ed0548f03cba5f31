# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict that is kept in the cluster, and what of it still holds. Private to the collection; it may change.

A result holds, node by node, while the node's UID, boot id, kernel and driver are those of the run, and as a whole
while the inputs and the prober are. What the deployment needs is no part of that: it is judged anew each time, since
all pairs are known. NICs cannot be seen without a pod; their GUIDs and drivers are compared as soon as one runs.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import typing as t
import zlib

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client
from ansible_collections.llmd.wide_ep.plugins.module_utils._mesh_matrix import fingerprint
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._mesh_job import Settings, reasons

#: Above this a result does not fit a ConfigMap and is probed anew each time.
KEPT_BYTES = 900_000
#: Labels that tell the driver of a node's GPUs or NICs.
DRIVER = re.compile(r"(driver[-._]version|gpu-driver|ofed)", re.IGNORECASE)

JsonObject = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Kept:
    """A result that was made with the same inputs and prober; ``nodes`` is each node's state at that time."""

    text: str
    nodes: t.Mapping[str, str]
    probed: str = ""


@dataclasses.dataclass(frozen=True)
class Choice:
    """What to do: ``nodes`` the result shall be of, and which of them alone have to be probed.

    No nodes mean that nothing kept is part of the answer; none to probe that it is the whole answer.
    """

    nodes: tuple[str, ...] = ()
    new: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return bool(self.nodes) and not self.new

    @property
    def part(self) -> bool:
        return bool(self.nodes and self.new)


def name_of(release: str) -> str:
    return f"{release[:50]}-rdma-mesh"


def path_of(namespace: str, release: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps/{name_of(release)}"


def node_states(nodes: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, str]:
    """A node that was replaced or rebooted, or has another driver, may have other NICs."""
    found = {}
    for node in nodes:
        info = (node.get("status") or {}).get("nodeInfo") or {}
        labels = node["metadata"].get("labels") or {}
        drivers = {name: value for name, value in sorted(labels.items()) if DRIVER.search(name)}
        facts = [node["metadata"].get("uid", ""), info.get("bootID", ""), info.get("kernelVersion", ""), drivers]
        found[node["metadata"]["name"]] = json.dumps(facts, sort_keys=True)
    return found


def inputs(settings: Settings, version: str) -> str:
    facts = {
        "transport": settings.transport,
        "nics": list(settings.nics),
        "plan": dict(settings.plan),
        "options": dict(settings.options),
        "program": version,
    }
    return fingerprint(facts)


def choose(known: Kept | None, settings: Settings, nodes: t.Sequence[t.Mapping[str, t.Any]]) -> Choice:
    """What of the kept result answers the question."""
    if known is None:
        return Choice()
    states = node_states(nodes)
    holds = [name for name in sorted(known.nodes) if states.get(name) == known.nodes[name]]
    wanted = list(settings.nodes) or holds
    if not settings.nodes and len(holds) < settings.hosts:
        fit = [name for name, why in sorted(reasons(settings, nodes).items()) if not why and name not in holds]
        # Nodes of the deployment that came back before others.
        wanted = [*holds, *sorted(fit, key=lambda name: name not in known.nodes)][: settings.hosts]
        if len(wanted) < settings.hosts:
            return Choice()
    new = [name for name in wanted if name not in holds]
    if not new:
        return Choice(tuple(wanted))
    partial = len(new) < len(wanted) and settings.plan.get("mode", "full") == "full"
    return Choice(tuple(wanted), tuple(new)) if partial else Choice()


def read(client: Client, settings: Settings, version: str) -> Kept | None:
    """The kept result, where its inputs are these."""
    try:
        found = client.get_or_none(path_of(settings.namespace, settings.release))
        data = (found or {}).get("data") or {}
        if data["inputs"] != inputs(settings, version):
            return None
        text = zlib.decompress(base64.b64decode(data["result"])).decode()
        nodes = json.loads(data["nodes"])
        return Kept(text, {name: str(state) for name, state in nodes.items()}, data.get("probed", ""))
    except (AttributeError, KeyError, TypeError, ValueError, zlib.error):
        return None


def nic_facts(text: str) -> dict[str, list[str]]:
    """Host to its NICs, each with what makes it the same one."""
    return {
        host["name"]: [
            " ".join(filter(None, (nic["name"], nic.get("guid") or nic.get("mac"), nic.get("driver"), nic.get("fw"))))
            for nic in host.get("nics") or ()
        ]
        for host in json.loads(text)["hosts"]
    }


def keep(
    client: Client,
    settings: Settings,
    text: str,
    version: str,
    *,
    nodes: t.Sequence[t.Mapping[str, t.Any]],
    verdict: t.Mapping[str, t.Any],
) -> bool:
    """Keep a result with what it depends on; whether that changed anything. One that is too large is not kept."""
    raw = json.loads(text)
    packed = base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    if len(packed) > KEPT_BYTES:
        client.warnings.append(f"the result has {len(packed)} bytes, more than can be kept: the next run probes again")
        return False
    states = node_states(nodes)
    names = [host["name"] for host in raw["hosts"]]
    body: JsonObject = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name_of(settings.release),
            "namespace": settings.namespace,
            "labels": settings.labels,
        },
        "data": {
            "inputs": inputs(settings, version),
            "nodes": json.dumps({name: states[name] for name in names if name in states}, sort_keys=True),
            "nics": json.dumps(nic_facts(text), sort_keys=True),
            "verdict": json.dumps(verdict, sort_keys=True),
            "probed": str(raw.get("started", "")),
            "result": packed,
        },
    }
    path = path_of(settings.namespace, settings.release)
    before = (client.get_or_none(path) or {}).get("data") or {}
    client.apply(path, body, force=True)
    return any(before.get(name) != body["data"][name] for name in ("inputs", "nodes", "nics", "verdict"))


def forget(client: Client, namespace: str, release: str) -> bool:
    try:
        client.delete(path_of(namespace, release))
    except ApiError as error:
        if error.not_found:
            return False
        raise
    return True
