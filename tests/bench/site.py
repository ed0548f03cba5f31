# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the deployment against bare helm and kubectl, in one run on one rehearsal cluster.

ABBA pairs of: the deploy phases by ansible-playbook, and ``bare_site.sh`` with the same objects, values and conditions,
each in a fresh namespace with all images pulled. Then the deploy phases once more with nothing to change: seconds and
API requests. Ratios of one run only: the machine's speed differs from day to day.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
import urllib.parse

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from _paths import cache_root

BIN = ROOT / ".venv" / "bin"
#: What the ratio is about: from an empty namespace until everything is ready.
DEPLOY_PHASES = ("workspace", "router", "model_server", "wait")
RELEASE = "wide-ep-lws"
#: Identity of the deployment's kubeconfig, as the audit log names it.
IDENTITY = "llmd-deployer"


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The rehearsal cluster that is up: programs, access and audit log."""

    name: str
    inventory: str
    kubectl: str
    helm: str
    kubeconfig: str
    registry: str
    audit_log: pathlib.Path

    @classmethod
    def named(cls, name: str) -> Cluster:
        cache = cache_root()
        programs = json.loads((cache / "manifests" / "standalone.json").read_text())["programs"]
        kubeconfig = cache / "clusters" / name / "deployer.kubeconfig"
        server = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        return cls(
            name=name,
            inventory="inventories/local",
            kubectl=programs["kubectl"]["path"],
            helm=programs["helm"]["path"],
            kubeconfig=str(kubeconfig),
            registry=f"{urllib.parse.urlsplit(server).hostname}:5000",
            audit_log=pathlib.Path("/var/lib/llmd-wide-ep") / name / "cluster" / "audit" / "audit.log",
        )

    def run_kubectl(self, *arguments: str) -> str:
        command = [self.kubectl, "--kubeconfig", self.kubeconfig, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def playbooks(self, phases: t.Sequence[str], namespace: str) -> float:
        """Run the phases in one ansible-playbook call; seconds."""
        command = [
            BIN / "ansible-playbook",
            *(
                "-i",
                self.inventory,
                "-e",
                f"wide_ep_namespace={namespace}",
                "-e",
                f"rehearsal_cluster_name={self.name}",
            ),
            *(f"playbooks/{phase}.yml" for phase in phases),
        ]
        return timed(command)

    def bare(self, namespace: str, inputs: pathlib.Path) -> float:
        programs = [os.path.dirname(self.kubectl), os.path.dirname(self.helm), os.environ["PATH"]]
        chart = f"{self.registry}/registry.k8s.io/gateway-api-inference-extension/charts/standalone"
        command = ["bash", ROOT / "tests/bench/bare_site.sh", namespace, RELEASE, chart, "v1.5.0", inputs]
        return timed(command, {**os.environ, "KUBECONFIG": self.kubeconfig, "PATH": os.pathsep.join(programs)})

    def remove(self, namespace: str) -> None:
        self.run_kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait", "--timeout=5m")

    def save_inputs(self, namespace: str, folder: pathlib.Path) -> None:
        """Keep what the playbooks deployed, so that the bare commands deploy the very same."""
        values = [self.helm, "--kubeconfig", self.kubeconfig, "get", "values", RELEASE, "-n", namespace, "-o", "json"]
        (folder / "values.json").write_text(subprocess.run(values, capture_output=True, text=True, check=True).stdout)
        kinds = {"secret": ["secret/llm-d-hf-token"], "sets": ["serviceaccount/deepseek-r1", "leaderworkersets"]}
        for name, wanted in kinds.items():
            found = [json.loads(self.run_kubectl("get", kind, "-n", namespace, "-o", "json")) for kind in wanted]
            objects = [bare(one) for document in found for one in document.get("items", [document])]
            document = {"apiVersion": "v1", "kind": "List", "items": objects}
            (folder / f"{name}.json").write_text(json.dumps(document))

    def requests_since(self, start: datetime.datetime) -> int:
        """Requests of the deployment's identity in the audit log, each counted once."""
        count = 0
        for line in self.audit_log.read_text().splitlines():
            event = json.loads(line)
            received = datetime.datetime.fromisoformat(event["requestReceivedTimestamp"].replace("Z", "+00:00"))
            if event["stage"] == "ResponseComplete" and event["user"]["username"] == IDENTITY and received >= start:
                count += 1
        return count


def bare(item: dict[str, t.Any]) -> dict[str, t.Any]:
    """An object as one would write it: without status, namespace and what the server added."""
    metadata = {key: item["metadata"][key] for key in ("name", "labels", "annotations") if key in item["metadata"]}
    return {key: value for key, value in {**item, "metadata": metadata}.items() if key != "status"}


def timed(command: t.Sequence[t.Any], environment: dict[str, str] | None = None) -> float:
    start = time.monotonic()
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(f"{command} failed:\n{finished.stdout[-4000:]}{finished.stderr[-2000:]}")
    return time.monotonic() - start


def measure(cluster: Cluster, pairs: int) -> dict[str, t.Any]:
    seconds: dict[str, list[float]] = {"playbooks": [], "bare": []}
    with tempfile.TemporaryDirectory() as folder:
        inputs = pathlib.Path(folder)
        cluster.playbooks(DEPLOY_PHASES, "bench-warm-up")
        cluster.save_inputs("bench-warm-up", inputs)
        cluster.remove("bench-warm-up")
        for index in range(pairs):
            order = ("playbooks", "bare") if index % 2 == 0 else ("bare", "playbooks")
            for side in order:
                namespace = f"bench-{index}-{side}"
                ours = side == "playbooks"
                used = cluster.playbooks(DEPLOY_PHASES, namespace) if ours else cluster.bare(namespace, inputs)
                seconds[side].append(used)
                print(f"pair {index + 1}/{pairs}  {side:<9}  {used:6.1f} s", flush=True)
                cluster.remove(namespace)
    return {**seconds, **no_change(cluster)}


def no_change(cluster: Cluster) -> dict[str, t.Any]:
    phases = ("lws", "gateway", *DEPLOY_PHASES)
    cluster.playbooks(phases, "bench-no-change")
    start = datetime.datetime.now(datetime.UTC)
    used = cluster.playbooks(phases, "bench-no-change")
    requests = cluster.requests_since(start)
    cluster.remove("bench-no-change")
    return {"no_change_seconds": used, "no_change_requests": requests}


def table(result: dict[str, t.Any]) -> str:
    lines = ["deployment            median      min      max"]
    for side in ("playbooks", "bare"):
        values = result[side]
        lines.append(f"{side:<18} {statistics.median(values):7.1f} s {min(values):6.1f} s {max(values):6.1f} s")
    ratios = [ours / theirs for ours, theirs in zip(result["playbooks"], result["bare"], strict=True)]
    lines.append(f"ratio              {statistics.median(ratios):7.2f}   {min(ratios):6.2f}   {max(ratios):6.2f}")
    quiet = (result["no_change_seconds"], result["no_change_requests"])
    lines.append("no change          {:7.1f} s   {} API requests".format(*quiet))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cluster", default="local", help="name of a rehearsal cluster that is up")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures here")
    arguments = parser.parse_args()
    result = measure(Cluster.named(arguments.cluster), arguments.pairs)
    print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
