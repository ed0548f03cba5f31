# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a provider runs in its clusters: admission (Warden), controllers of its kinds, nodes that come with their pools.

The cloud's side is told by the ConfigMap kube-system/rehearsal-cloud, where there is one: its networks and node pools.
Without it every node is there, and networks are not looked up.
"""

from __future__ import annotations

import base64
import http.client
import http.server
import json
import pathlib
import ssl
import subprocess
import sys
import threading
import time
import typing as t
import xmlrpc.client

import identity
import networks
import pools
import steward
import warden

CLUSTER = pathlib.Path("/cluster")
ADDRESS = ("127.0.0.1", 9444)
STATE = "/api/v1/namespaces/kube-system/configmaps/rehearsal-cloud"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
WARDEN = "warden-mutating.config.common-webhooks.networking.gke.io"
NETWORKING = "/apis/networking.gke.io/v1"
NODE_POOLS = "/apis/compute.coreweave.com/v1alpha1/nodepools"
APPLY = "?fieldManager=rehearsal-provider&force=true"
FINISHED = ("Succeeded", "Failed")

Data = dict[str, t.Any]


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def found(api: steward.Api, path: str) -> Data | None:
    try:
        return api.call("GET", path)
    except steward.ApiError as error:
        if error.status == 404:
            return None
        raise


class Server(http.server.ThreadingHTTPServer):
    """TLS on the loopback interface of the sandbox, where the API server is too."""

    daemon_threads = True

    def __init__(self, api: t.Callable[[], steward.Api]) -> None:
        super().__init__(ADDRESS, Handler)
        self.api = api
        pki = CLUSTER / "pki"
        self.documents = identity.documents((pki / "cloud.crt").read_text())
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(str(pki / "provider.crt"), str(pki / "provider.key"))
        self.socket = self.context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)


class Handler(http.server.BaseHTTPRequestHandler):
    """Discovery by GET, admission by POST."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30

    def do_GET(self) -> None:
        body = self.server.documents.get(self.path)
        self.answer(200 if body else 404, body or {})

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        api = self.server.api()
        refusal, patch = warden.decide(
            request["object"], lambda name: found(api, f"{NETWORKING}/networks/{name}") is not None
        )
        response: Data = {"uid": request["uid"], "allowed": not refusal}
        if refusal:
            response["status"] = {"message": refusal, "code": 403}
        elif patch:
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
        self.answer(200, {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response})

    def answer(self, status: int, body: Data) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: t.Any) -> None:
        """Nothing: the audit log has the requests that lead here."""


class Kubelets:
    """The nodes' kubelets, as supervisord runs them."""

    def __init__(self) -> None:
        # The package of Debian's supervisor, which has the transport for its own socket.
        from supervisor.xmlrpc import SupervisorTransport  # noqa: PLC0415

        transport = SupervisorTransport(None, None, f"unix://{CLUSTER}/run/supervisor.sock")
        self.rpc: t.Any = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor

    def running(self) -> set[str]:
        suffix = "-kubelet"
        return {
            item["name"].removesuffix(suffix)
            for item in self.rpc.getAllProcessInfo()
            if item["name"].endswith(suffix) and item["statename"] in ("RUNNING", "STARTING")
        }

    def start(self, node: str) -> None:
        self.rpc.startProcess(f"{node}-kubelet", False)

    def stop(self, node: str) -> None:
        self.rpc.stopProcess(f"{node}-kubelet", True)


class Provider:
    """Reconciles one cluster."""

    def __init__(self, api: steward.Api, config: Data) -> None:
        self.api = api
        self.config = config
        self.profile: str = config["profile"]
        self.nodes: list[Data] = config["nodes"]
        self.kubelets = Kubelets()
        self.applied = False

    # What is there from the start

    def apply_objects(self) -> None:
        if self.applied or self.profile != "gke":
            return
        default = {"apiVersion": "networking.gke.io/v1", "kind": "Network", "metadata": {"name": warden.DEFAULT}}
        self.apply(f"{NETWORKING}/networks/{warden.DEFAULT}", {**default, "spec": {"type": "L3"}})
        self.apply(f"{WEBHOOKS}/{WARDEN}", webhook((CLUSTER / "pki/ca.crt").read_bytes()))
        self.applied = True

    def apply(self, path: str, body: Data) -> Data:
        return self.api.call("PATCH", path + APPLY, body, "application/apply-patch+yaml")

    def merge(self, path: str, body: Data) -> Data:
        return self.api.call("PATCH", path, body, "application/merge-patch+json")

    # Networks

    def reconcile_networks(self, cloud: networks.Cloud | None, pods: t.Sequence[Data]) -> None:
        params = self.api.call("GET", f"{NETWORKING}/gkenetworkparamsets")["items"]
        objects = self.api.call("GET", f"{NETWORKING}/networks")["items"]
        for item in params:
            self.keep_params(item, params, objects, cloud)
        by_name = {item["metadata"]["name"]: item for item in params}
        asked = {name for pod in pods for name in networks_of(pod)}
        for item in objects:
            self.keep_network(item, by_name.get(item["spec"].get("parametersRef", {}).get("name")), asked)

    def keep_params(
        self, item: Data, params: t.Sequence[Data], objects: t.Sequence[Data], cloud: networks.Cloud | None
    ) -> None:
        path = f"{NETWORKING}/gkenetworkparamsets/{item['metadata']['name']}"
        users = networks.users_of(item, objects)
        wanted = networks.finalizers(item, users)
        if wanted != item["metadata"].get("finalizers", []):
            self.merge(path, {"metadata": {"finalizers": wanted}})
        if item["metadata"].get("deletionTimestamp") and not wanted:
            return
        verdict = networks.judge_params(item, params, cloud)
        more = {"networkName": users[0]} if users else {}
        item["status"] = self.keep_status(path, item, {"Ready": verdict}, more)

    def keep_network(self, item: Data, params: Data | None, asked: t.Collection[str]) -> None:
        name = item["metadata"]["name"]
        path = f"{NETWORKING}/networks/{name}"
        in_use = item["metadata"].get("annotations", {}).get(networks.IN_USE)
        wanted = "true" if name in asked else None
        if in_use != wanted:
            self.merge(path, {"metadata": {"annotations": {networks.IN_USE: wanted}}})
        verdict = networks.judge_network(item, params)
        self.keep_status(path, item, {"Ready": verdict, "ParamsReady": verdict}, {})

    def keep_status(
        self, path: str, item: Data, verdicts: t.Mapping[str, networks.Verdict], more: t.Mapping[str, t.Any]
    ) -> Data:
        old = item.get("status", {})
        generation = item["metadata"]["generation"]
        new = {**more, "conditions": networks.conditions(old.get("conditions", []), verdicts, generation, now())}
        if new != old:
            self.merge(f"{path}/status", {"status": new})
        return new

    # Nodes

    def reconcile_nodes(self, wanted: t.Sequence[Data], found_nodes: t.Mapping[str, Data]) -> dict[str, pools.Member]:
        """Starts and stops kubelets, and labels the nodes of each pool."""
        label = pools.LABELS[self.profile]
        current = {name: node["metadata"]["labels"].get(label, "") for name, node in found_nodes.items()}
        members = pools.assign(self.nodes, wanted, current)
        running = self.kubelets.running()
        for node in self.nodes:
            name = node["name"]
            if name not in members:
                self.take_away(name, name in running, name in found_nodes)
            elif name not in running:
                self.kubelets.start(name)
            elif name in found_nodes:
                self.mark(found_nodes[name], members[name], label)
        return members

    def take_away(self, name: str, running: bool, registered: bool) -> None:
        if running:
            self.kubelets.stop(name)
        if registered:
            self.api.call("DELETE", f"/api/v1/nodes/{name}")

    def mark(self, node: Data, member: pools.Member, label: str) -> None:
        path = f"/api/v1/nodes/{node['metadata']['name']}"
        labels = {**member.labels, label: member.pool}
        if steward.stale_labels(node, labels):
            self.merge(path, {"metadata": {"labels": labels}})
        missing = steward.missing_taints(node, list(member.taints))
        if missing:
            version = node["metadata"]["resourceVersion"]
            taints = node["spec"].get("taints", []) + missing
            self.merge(path, {"metadata": {"resourceVersion": version}, "spec": {"taints": taints}})

    def keep_node_pools(self, items: t.Sequence[Data], members: t.Mapping[str, pools.Member], ready: set[str]) -> None:
        for item in items:
            name = item["metadata"]["name"]
            mine = [node for node, member in members.items() if member.pool == name]
            there = len([node for node in mine if node in ready])
            verdicts = pools.verdicts(item, len(mine), there)
            self.keep_status(f"{NODE_POOLS}/{name}", item, verdicts, pools.numbers(item, len(mine), there))

    # The whole

    def reconcile(self) -> None:
        self.apply_objects()
        state = cloud_state(self.api)
        nodes = {node["metadata"]["name"]: node for node in self.api.call("GET", "/api/v1/nodes")["items"]}
        pods = [
            pod
            for pod in self.api.call("GET", "/api/v1/pods")["items"]
            if pod.get("status", {}).get("phase") not in FINISHED
        ]
        if self.profile == "gke":
            known = {key: state[key] for key in networks.Cloud._fields if key in state} if state else None
            self.reconcile_networks(networks.Cloud(**known) if known else None, pods)
            self.reconcile_nodes(self.pools_of(state), nodes)
        else:
            items = self.api.call("GET", NODE_POOLS)["items"]
            busy = {pod["spec"].get("nodeName", "") for pod in pods if asks_for_gpus(pod)}
            known_pools = [pool for item in items if (pool := pools.pool_of(item, busy))]
            wanted = known_pools if state is not None else self.pools_of(None)
            members = self.reconcile_nodes(wanted, nodes)
            self.keep_node_pools(items, members, {name for name, node in nodes.items() if is_ready(node)})

    def pools_of(self, state: Data | None) -> list[Data]:
        """The pools of the cloud; without one, those that the cluster was made with."""
        if state is not None:
            return list(state.get("pools", []))
        names = dict.fromkeys((node["pool"], node["kind"]) for node in self.nodes)
        return [{"name": name, "kind": kind, "count": len(self.nodes)} for name, kind in names]


def networks_of(pod: Data) -> list[str]:
    try:
        return warden.networks_of(pod)
    except warden.MalformedError:
        return []


def asks_for_gpus(pod: Data) -> bool:
    return any("nvidia.com/gpu" in item.get("resources", {}).get("limits", {}) for item in pod["spec"]["containers"])


def is_ready(node: Data) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def cloud_state(api: steward.Api) -> Data | None:
    item = found(api, STATE)
    return None if item is None else json.loads(item.get("data", {}).get("state", "{}"))


def webhook(authority: bytes) -> Data:
    """Only pods with the annotation are sent, so that nothing else waits for this program."""
    client = {
        "url": f"https://{ADDRESS[0]}:{ADDRESS[1]}/warden",
        "caBundle": base64.b64encode(authority).decode(),
    }
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
    asks = f"has(object.metadata.annotations) && '{warden.INTERFACES}' in object.metadata.annotations"
    hook = {
        "name": WARDEN,
        "clientConfig": client,
        "rules": [rule],
        "matchConditions": [{"name": "asks-for-networks", "expression": asks}],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "failurePolicy": "Fail",
        "timeoutSeconds": 10,
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": WARDEN},
        "webhooks": [hook],
    }


def answer_at_443(address: str, port: int) -> None:
    """Clouds name their API servers by an address alone, so the port has to be the one of https."""
    lines = [
        # Added first, so that its deletion cannot fail: the program may start more than once.
        "add table ip provider",
        "delete table ip provider",
        "table ip provider {",
        "  chain incoming {",
        "    type nat hook prerouting priority dstnat;",
        f"    ip daddr {address} tcp dport 443 redirect to :{port}",
        "  }",
        "}",
    ]
    subprocess.run(["nft", "-f", "-"], input="\n".join([*lines, ""]), text=True, check=True)


def main(host: str, port: int) -> None:
    def connect() -> steward.Api:
        return steward.Api(host, port, CLUSTER / "pki", "provider")

    answer_at_443(host, port)
    server = Server(connect)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    provider = Provider(connect(), json.loads((CLUSTER / "etc/provider.json").read_text()))
    last = ""
    while True:
        try:
            provider.reconcile()
            message = "settled"
        except (steward.ApiError, OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            message = f"{type(error).__name__}: {error}"
        if message != last:
            print(message, flush=True)
            last = message
        time.sleep(0.5)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
