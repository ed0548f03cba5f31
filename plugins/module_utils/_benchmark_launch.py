# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod that makes the load of a benchmark: what it is, what it is told, what it says, and how it ended.

Private to the collection: it may change at any time, do not import it from elsewhere.

The guide's launcher sleeps in its pod and runs the load through an exec, so that a lost connection loses the run, and a
timeout leaves the load running. Here the load is the pod's own process; whoever watches may go and come back.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

#: Name and label of the guide's pod, service account and ConfigMap, so that its commands find ours.
POD = "llmdbench-harness-launcher"
PROFILES_MAP = "inference-perf-profiles"
CONTAINER = "harness"
MARK = "@benchmark "
PROGRAM, PROFILES, RESULTS = "/opt/llmdbench", "/workspace/profiles/inference-perf", "/requests"
DEPLOYMENT_LABEL = "wide-ep.llm-d.ai/deployment"
COMPONENT_LABEL = "wide-ep.llm-d.ai/component"
COMPONENT = "benchmark"
REQUEST_ANNOTATION = "wide-ep.llm-d.ai/benchmark-request"
EXPERIMENT_ANNOTATION = "wide-ep.llm-d.ai/benchmark-experiment"
#: Seconds that a pod may live beyond what it was told: the pull of its image, and the way to the endpoint.
SLACK = 1800

Json = t.Mapping[str, t.Any]
JsonObject = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Launch:
    """What to run, where, and on what kind of pod. ``profiles`` are configurations, ``requests`` their sizes."""

    namespace: str
    release: str
    model: str
    base_url: str
    image: str
    tool_release: str
    profiles: t.Mapping[str, str]
    requests: t.Mapping[str, int]
    repeats: int
    deadline: float
    keep: float
    connect_timeout: float
    first_answer_timeout: float
    fingerprint: str
    command: tuple[str, ...] = ("inference-perf",)
    service_account: str = "llmdbench-harness-sa"
    resources: Json = dataclasses.field(default_factory=dict)
    node_selector: Json = dataclasses.field(default_factory=dict)
    tolerations: tuple[Json, ...] = ()
    affinity: Json = dataclasses.field(default_factory=dict)
    pull_secrets: tuple[str, ...] = ()
    security_context: Json = dataclasses.field(default_factory=dict)
    env: Json = dataclasses.field(default_factory=dict)
    volumes: tuple[Json, ...] = ()
    volume_mounts: tuple[Json, ...] = ()
    token_secret: str = ""
    token_key: str = "HF_TOKEN"
    results_size: str = ""

    @property
    def labels(self) -> dict[str, str]:
        return {"app": POD, DEPLOYMENT_LABEL: self.release, COMPONENT_LABEL: COMPONENT}

    @property
    def runs(self) -> list[JsonObject]:
        """Repeats of one profile follow each other; each has a folder of its own."""
        pairs = [(name, repeat) for name in self.profiles for repeat in range(self.repeats)]
        return [
            {
                "number": number,
                "profile": name,
                "repeat": repeat,
                "requests": self.requests[name],
                "folder": f"{name}/run-{repeat}",
            }
            for number, (name, repeat) in enumerate(pairs)
        ]

    @property
    def request(self) -> str:
        """The same for the same load on the same deployment: by it a run finds the pod of an interrupted one."""
        told = {"fingerprint": self.fingerprint, "plan": self.told("", ()), "image": self.image}
        return digest({**told, "profiles": dict(self.profiles)})[:16]

    def told(self, experiment: str, targets: t.Sequence[Json]) -> JsonObject:
        """The input of the launcher's program."""
        return {
            "base_url": self.base_url,
            "model": self.model,
            "command": list(self.command),
            "release": self.tool_release,
            "connect_timeout": self.connect_timeout,
            "first_answer_timeout": self.first_answer_timeout,
            "deadline": self.deadline,
            "keep": self.keep,
            "report_every": 2,
            "profiles": PROFILES,
            "results": RESULTS,
            "experiment": experiment,
            "targets": list(targets),
            "runs": self.runs,
        }


def digest(value: t.Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _metadata(launch: Launch, name: str) -> JsonObject:
    return {"name": name, "namespace": launch.namespace, "labels": launch.labels}


def objects(launch: Launch) -> list[JsonObject]:
    """What stands before the pod. Nothing in the pod asks the API server, so its account has no rights and no token."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(launch, launch.service_account)}
    data = {f"{name}.yaml": text for name, text in launch.profiles.items()}
    profiles = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(launch, PROFILES_MAP), "data": data}
    return [{**account, "automountServiceAccountToken": False}, profiles]


def pod(launch: Launch, experiment: str) -> JsonObject:
    annotations = {REQUEST_ANNOTATION: launch.request, EXPERIMENT_ANNOTATION: experiment}
    size = {"sizeLimit": launch.results_size} if launch.results_size else {}
    seconds = launch.deadline * len(launch.runs) + launch.keep + launch.connect_timeout + launch.first_answer_timeout
    spec: JsonObject = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": int(seconds) + SLACK,
        "terminationGracePeriodSeconds": 15,
        "serviceAccountName": launch.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [_container(launch)],
        "volumes": [
            {"name": "results", "emptyDir": size},
            {"name": "tmp", "emptyDir": {}},
            {"name": "profiles", "configMap": {"name": PROFILES_MAP}},
            {"name": "program", "configMap": {"name": POD}},
            *launch.volumes,
        ],
        "nodeSelector": dict(launch.node_selector),
        "tolerations": list(launch.tolerations),
    }
    if launch.security_context.get("pod"):
        spec["securityContext"] = launch.security_context["pod"]
    if launch.affinity:
        spec["affinity"] = dict(launch.affinity)
    if launch.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in launch.pull_secrets]
    metadata = {**_metadata(launch, POD), "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _container(launch: Launch) -> JsonObject:
    # Homes and caches where any user may write; the image's own may belong to root.
    env = {"HOME": "/tmp", "HF_HOME": "/tmp/huggingface", "TZ": "UTC", **launch.env}
    given: list[JsonObject] = [{"name": name, "value": str(value)} for name, value in env.items()]
    if launch.token_secret:
        reference = {"name": launch.token_secret, "key": launch.token_key, "optional": True}
        given.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    container = {
        "name": CONTAINER,
        "image": launch.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", f"{PROGRAM}/launcher.py", f"{PROGRAM}/input.json"],
        "env": given,
        "resources": dict(launch.resources),
        "volumeMounts": [
            {"name": "results", "mountPath": RESULTS},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "profiles", "mountPath": PROFILES, "readOnly": True},
            {"name": "program", "mountPath": PROGRAM, "readOnly": True},
            *launch.volume_mounts,
        ],
    }
    if launch.security_context.get("container"):
        container["securityContext"] = launch.security_context["container"]
    return container


def program_map(launch: Launch, program: str, told: Json, owner: Json) -> JsonObject:
    """Owned by the pod, so that it goes with it."""
    reference = {"apiVersion": "v1", "kind": "Pod", "name": POD, "uid": owner["metadata"]["uid"]}
    metadata = {**_metadata(launch, POD), "ownerReferences": [reference]}
    data = {"launcher.py": program, "input.json": json.dumps(told)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


# What it says


def frames(log: str) -> list[JsonObject]:
    """The lines of progress, in order; a line that is cut is none."""
    found = []
    for line in log.splitlines():
        if line.startswith(MARK):
            try:
                frame = json.loads(line[len(MARK) :])
            except ValueError:
                continue
            if isinstance(frame, dict) and "state" in frame:
                found.append(frame)
    return found


def span(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"


def progress_text(frame: Json) -> str:
    """One line for whoever watches: requests done, rate, failures, time left."""
    if frame["state"] == "checking":
        left = f", {span(frame['left'])} left" if "left" in frame else ""
        return f"endpoint: {frame.get('note', '')}{left}"
    if frame["state"] != "running":
        return f"{frame.get('outcome', frame['state'])}: {frame.get('evidence') or 'results are ready'}"
    head = f"{frame['profile']} {frame['run'] + 1}/{frame['runs']}: {frame['done']} of {frame['total']} requests"
    parts = [head]
    if "rate" in frame:
        parts.append(f"{frame['rate']:.1f}/s")
    parts.append(f"{frame['failures']} failed")
    if frame["done"] >= frame["total"]:
        parts.append("writing its report")
    elif "left" in frame:
        parts.append(f"{span(frame['left'])} left")
    parts.append(f"deadline in {span(frame['deadline_left'])}")
    return ", ".join(parts)


# How it ended

#: State of the launcher -> code and fix.
ENDINGS: t.Mapping[str, tuple[str, str]] = {
    "endpoint": (
        "BENCHMARK_ENDPOINT",
        "Run playbooks/verify.yml: it says what is wrong between router and model servers. No load was sent. A first "
        "answer that waits for compilation is given benchmark_first_answer_timeout seconds.",
    ),
    "model": ("BENCHMARK_MODEL", "Set wide_ep_model to a name that is served. No load was sent."),
    "tool": ("BENCHMARK_TOOL", "Set benchmark_image to an image with inference-perf on its path."),
    "release": ("BENCHMARK_TOOL", "Set benchmark_tool_release to the release that the image holds."),
    "folder": ("BENCHMARK_FOLDER", "Give the pod an empty volume at /requests."),
    "disk": ("BENCHMARK_DISK", "Raise benchmark_results_size, or leave benchmark_per_request off."),
    "system": ("BENCHMARK_LOAD_ENDED", "Read the message: the launcher could not work in its pod."),
    "deadline": (
        "BENCHMARK_DEADLINE",
        "Raise benchmark_deadline, or look why the load took longer than planned. All its processes were killed.",
    ),
    "killed": ("BENCHMARK_LOAD_ENDED", "Look for an out-of-memory kill: raise the memory of benchmark_resources."),
    "failed": ("BENCHMARK_LOAD_ENDED", "Read the last lines; the whole log is in the results folder, stdout.log."),
    "empty": (
        "BENCHMARK_LOAD_ENDED",
        "Read stdout.log in the results folder: inference-perf ends with 0 also where its workers died.",
    ),
}
TOKENIZER_FIX = (
    "Give benchmark_tokenizer a folder in the pod: an image or a volume (benchmark_volumes, benchmark_volume_mounts) "
    "brings it, and nothing is fetched then. A hub's id needs the network, and for a gated model the token."
)


def ending_findings(ended: Json) -> list[Finding]:
    """What the launcher's last word says is wrong."""
    outcome, evidence = str(ended["outcome"]), str(ended.get("evidence") or "no evidence")
    if outcome == "complete":
        return []
    code, fix = ENDINGS.get(outcome, ("BENCHMARK_LOAD_ENDED", "Read the evidence."))
    if outcome == "failed" and "tokenizer" in evidence.lower():
        code, fix = "BENCHMARK_TOKENIZER", TOKENIZER_FIX
    runs = ended.get("runs") or []
    where = f"run {runs[-1]['folder']}" if runs else f"pod {POD}"
    return [Finding(code, "error", where, evidence, fix)]
