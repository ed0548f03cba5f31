# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure preflight on a rehearsal cluster, as it is and with a thousand more nodes that KWOK plays.

Each run is the playbook; the seconds and requests of the checks are what it wrote down, without the start of Ansible.
What asks a node (pulling the images on one) is timed apart. The nodes and their pods are removed at the end.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / ".ansible" / "collections"), str(ROOT / "tests" / "integration" / "admission")]

from _placement import fake_node

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client, load_client

NAMESPACE = "preflight-bench"
MARK = {"wide-ep.llm-d.ai/test": "preflight-bench"}
SELECTOR = {"labelSelector": "wide-ep.llm-d.ai/test=preflight-bench"}
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
NOW = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
LIMIT_SECONDS = 5.0
WORKERS = 8

Json = dict[str, t.Any]


def node(index: int) -> Json:
    made = fake_node("gke", f"kwok-{index:04d}", index, 16)
    made["metadata"]["labels"].update(MARK)
    return made


def pod(node_name: str, number: int) -> Json:
    """What runs on a node anyway, such as its agents."""
    containers = [{"name": "agent", "image": "agent", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]
    spec = {"nodeName": node_name, "containers": containers, "tolerations": [{"operator": "Exists"}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{node_name}-{number}", "labels": MARK},
        "spec": spec,
    }


def in_parallel(work: t.Callable[[t.Any], t.Any], items: t.Iterable[t.Any]) -> None:
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, items))


def grow(client: Client, nodes: int, pods_per_node: int) -> None:
    in_parallel(lambda index: client.create("/api/v1/nodes", node(index)), range(nodes))
    client.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": MARK}})
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"
    until(lambda: client.get_or_none(account), "the namespace has its service account", 60)
    bodies = [pod(f"kwok-{index:04d}", number) for index in range(nodes) for number in range(pods_per_node)]
    in_parallel(lambda body: client.create(PODS, body), bodies)
    until(lambda: running(client) == len(bodies), "the pods run", 600)


def running(client: Client) -> int:
    return sum(item["status"].get("phase") == "Running" for item in client.list(PODS))


def until(condition: t.Callable[[], t.Any], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"after {seconds:g} s still not so: {what}")
        time.sleep(1)


def shrink(client: Client) -> None:
    """Remove the nodes, the pods with them; a pod would otherwise wait for a kubelet that is none."""

    def remove(path: str) -> None:
        try:
            client.delete(path, params=NOW)
        except ApiError as error:
            if not error.not_found:
                raise

    in_parallel(remove, [f"{PODS}/{item['metadata']['name']}" for item in client.list(PODS)])
    in_parallel(
        remove, [f"/api/v1/nodes/{item['metadata']['name']}" for item in client.list("/api/v1/nodes", SELECTOR)]
    )
    remove(f"/api/v1/namespaces/{NAMESPACE}")


def run(cluster: str, *arguments: str) -> tuple[float, Json]:
    """Seconds of the play, and what it wrote down of its checks."""
    with tempfile.TemporaryDirectory() as folder:
        given = {
            "wide_ep_artifacts_dir": folder,
            "rehearsal_cluster_name": cluster,
            "rehearsal_cluster_scenario": "full",
        }
        tool = pathlib.Path(sys.executable).with_name("ansible-playbook")
        command = [tool, "playbooks/preflight.yml", "-i", "inventories/local", "-e", json.dumps(given), *arguments]
        began = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        used = time.monotonic() - began
        found = [json.loads(path.read_text()) for path in pathlib.Path(folder).glob("**/preflight.json")]
    if done.returncode or not found:
        raise SystemExit(f"preflight failed:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    return used, {row[0]: row[1] for row in found[0]["summary"]}


def play(cluster: str, playbook: str) -> None:
    given = {"rehearsal_cluster_name": cluster, "rehearsal_cluster_scenario": "full"}
    tool = pathlib.Path(sys.executable).with_name("ansible-playbook")
    command = [tool, playbook, "-i", "inventories/local", "-e", json.dumps(given)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def measure(client: Client, cluster: str, runs: int) -> Json:
    found = [run(cluster, "--tags", "preflight_cluster") for _run in range(runs)]
    return {
        "nodes": len(client.list("/api/v1/nodes")),
        "pods": len(client.list("/api/v1/pods")),
        "requests": [int(summary["requests"]) for _used, summary in found],
        "checks": [float(summary["seconds"]) for _used, summary in found],
        "play": [used for used, _summary in found],
    }


def pulls(cluster: str, node_name: str) -> float:
    """The same with the images pulled on one node; the difference is the node's part."""
    arguments = json.dumps({"preflight_pull_nodes": [node_name]})
    return run(cluster, "--tags", "preflight_cluster", "-e", arguments)[0]


def line(name: str, found: Json) -> str:
    checks, play = found["checks"], found["play"]
    return (
        f"{name:<12} {found['nodes']:>6} {found['pods']:>6} {max(found['requests']):>9} "
        f"{statistics.median(checks):>8.2f} s {max(checks):>6.2f} s {statistics.median(play):>8.1f} s"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cluster", default=os.environ.get("LLMD_WIDE_EP_TEST_CLUSTER", "local"))
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pods-per-node", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    admin = pathlib.Path("/var/lib/llmd-wide-ep") / arguments.cluster / "admin.kubeconfig"
    client = load_client(str(admin))
    shrink(client)
    # The pods that pull images are made in the deployment's namespace.
    play(arguments.cluster, "playbooks/workspace.yml")
    as_it_is = measure(client, arguments.cluster, arguments.runs)
    kubelets = [item["metadata"]["name"] for item in client.list("/api/v1/nodes")]
    (first,) = [name for name in sorted(kubelets) if name.startswith("gpu")][:1]
    cold, warm = pulls(arguments.cluster, first), pulls(arguments.cluster, first)
    try:
        grow(client, arguments.nodes, arguments.pods_per_node)
        grown = measure(client, arguments.cluster, arguments.runs)
    finally:
        shrink(client)
    print("cluster       nodes   pods  requests     checks     worst     whole play")
    print(line("rehearsal", as_it_is))
    print(line("with KWOK", grown))
    base = statistics.median(as_it_is["play"])
    print(f"node part    pull of all images on {first}: {cold - base:.1f} s, again {warm - base:.1f} s")
    worst = max(*as_it_is["checks"], *grown["checks"])
    print(f"limit        {LIMIT_SECONDS:g} s: {'kept' if worst <= LIMIT_SECONDS else 'MISSED'}")
    return 0 if worst <= LIMIT_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
