# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions about filling the model caches of the nodes: where, by which Jobs, and how it went.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import re
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._capacity import (
    CONTAINER,
    GPU,
    allocatable,
    cache_volume,
    environment,
    why_not,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._quantity import pod_requests

Json = t.Mapping[str, t.Any]
JsonObject = dict[str, t.Any]

DEPLOYMENT_LABEL = "wide-ep.llm-d.ai/deployment"
COMPONENT_LABEL = "wide-ep.llm-d.ai/component"
COMPONENT = "prefetch"
NODE_ANNOTATION = "wide-ep.llm-d.ai/node"
MOUNT = "/opt/prefetch"
FRAME = "@prefetch "
#: A model on the hub: owner/name. Anything else is a path that the image or a volume brings along.
HUB_MODEL = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
#: What the download reads of the container's environment; HF_HUB_OFFLINE is for what starts afterwards.
ENVIRONMENT = re.compile(
    r"HF_(?!HUB_OFFLINE$)\w+|(?:HTTPS?|NO|ALL)_PROXY|https?_proxy|no_proxy|SSL_CERT_\w+|USER|\w+_CA_BUNDLE"
)
#: The program's exit codes that do not heal by a new pod.
FINAL_CODES = (10, 11, 20, 21, 30, 40, 50)
#: How long the image may take; it is larger than 10 GB.
START_SECONDS = 1800

#: Reasons of the program: the code of the finding, and what the reader does. {} is the token's Secret or the cache.
REASONS: t.Mapping[str, tuple[str, str]] = {
    "token": (
        "PREFETCH_TOKEN",
        "Put a token that may read the model into Secret {secret}, key {key}: run playbooks/workspace.yml with "
        "HF_TOKEN in the environment and workspace_hf_token_replace=true. Accept a gated model's terms on the hub.",
    ),
    "model": ("PREFETCH_MODEL", "Correct wide_ep_model or model_server_prefetch_revision."),
    "disk": (
        "PREFETCH_DISK",
        "Free space on the disk of {path}, set another path in model_server_hf_cache, or lower "
        "model_server_prefetch_reserve_percent.",
    ),
    "corrupt": ("PREFETCH_CORRUPT", "Check the proxy or mirror between the nodes and the hub, then run it again."),
    "hub": ("PREFETCH_HUB", "Check the network of the nodes and HF_ENDPOINT, then run it again: it resumes."),
    "time": (
        "PREFETCH_TIME",
        "Run it again: it resumes. If the nodes are slow, raise model_server_prefetch_timeout.",
    ),
    "library": ("PREFETCH_LIBRARY", "Use an image whose Python has huggingface_hub 0.34 or newer."),
}
#: Waiting reasons of a container that do not heal, and those that heal within a grace, in seconds.
STUCK: t.Mapping[str, float] = {
    "InvalidImageName": 0,
    "ErrImageNeverPull": 0,
    "CreateContainerConfigError": 15,
    "CreateContainerError": 60,
    "RunContainerError": 60,
    "ImagePullBackOff": 180,
}


@dataclasses.dataclass(frozen=True)
class Settings:
    namespace: str
    release: str
    model: str
    revision: str
    program: str
    nodes: tuple[str, ...]
    workers: int
    timeout: int
    patience: int
    reserve_percent: float
    verify: bool
    resources: Json

    @property
    def selector(self) -> str:
        return f"{DEPLOYMENT_LABEL}={self.release},{COMPONENT_LABEL}={COMPONENT}"

    @property
    def labels(self) -> dict[str, str]:
        return {DEPLOYMENT_LABEL: self.release, COMPONENT_LABEL: COMPONENT}


@dataclasses.dataclass(frozen=True)
class Template:
    """The pod template of a tier, as far as a prefetch pod repeats it."""

    tier: str
    spec: Json
    gpus: float

    @property
    def container(self) -> Json:
        return t.cast(Json, next(entry for entry in self.spec["containers"] if entry["name"] == CONTAINER))

    @property
    def cache(self) -> JsonObject:
        return cache_volume(self.spec, self.container)

    @property
    def token(self) -> tuple[str, str, bool]:
        """The Secret and key of the token, and whether the pods start without it."""
        for entry in self.container.get("env") or ():
            reference = (entry.get("valueFrom") or {}).get("secretKeyRef")
            if entry["name"] == "HF_TOKEN" and reference:
                return reference["name"], reference["key"], bool(reference.get("optional"))
        return "llm-d-hf-token", "HF_TOKEN", True


def templates(objects: t.Iterable[Json]) -> list[Template]:
    """One per tier, those that would give the same pod once."""
    found: dict[str, Template] = {}
    for item in objects:
        if item["kind"] == "LeaderWorkerSet":
            spec = item["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]
            gpus = pod_requests(spec).get(GPU, 0)
            template = Template(item["metadata"]["name"], spec, float(gpus))
            found.setdefault(json.dumps([_repeated(template), float(gpus)], sort_keys=True), template)
    return list(found.values())


def refusals(settings: Settings, given: t.Sequence[Template]) -> list[Finding]:
    """Why nothing can be put into the caches beforehand."""
    found = []
    for template in given:
        kinds = sorted(set(template.cache) - {"name"}) or ["the container's own disk"]
        if "hostPath" not in template.cache:
            seen = f"the cache of {template.tier} is {kinds[0]}, which a pod does not share with the next one"
            fix = "Use an overlay that keeps it on the nodes, set model_server_hf_cache to a path on them, or "
            fix += "model_server_prefetch: false to go without."
            found.append(Finding("PREFETCH_NO_CACHE", "error", "volume hf-cache", seen, fix))
    if not HUB_MODEL.fullmatch(settings.model):
        seen = f"{settings.model!r} is a path, not the name of a model on the hub"
        fix = "Set model_server_prefetch: false where the path is on the nodes; else write wide_ep_model as owner/name."
        found.append(Finding("PREFETCH_MODEL", "error", "wide_ep_model", seen, fix))
    return found


def choose(
    settings: Settings, given: t.Sequence[Template], nodes: t.Sequence[Json]
) -> tuple[list[tuple[str, Template]], list[Finding]]:
    """The nodes on which pods of a tier may run, each with the template of that tier."""
    chosen, reasons = [], {}
    for node in nodes:
        name = node["metadata"]["name"]
        why = [_why_not(node, template) for template in given]
        if None in why:
            chosen.append((name, given[why.index(None)]))
        else:
            reasons[name] = str(why[0])
    if not settings.nodes:
        return chosen, [] if chosen else [_no_node("nodes of the cluster", _some(reasons))]
    fitting = dict(chosen)
    findings = [
        _no_node(f"node {name}", reasons.get(name, "the cluster has no node of that name"))
        for name in settings.nodes
        if name not in fitting
    ]
    return [(name, fitting[name]) for name in settings.nodes if name in fitting], findings


def _why_not(node: Json, template: Template) -> str | None:
    why = why_not(node, template.spec)
    if why is None and float(allocatable(node).get(GPU, 0)) < template.gpus:
        return f"it offers fewer than {template.gpus:g} {GPU}"
    return why


def _some(reasons: Json) -> str:
    shown = [f"{name}: {why}" for name, why in reasons.items()]
    return "; ".join(shown[:5]) + (f"; and {len(shown) - 5} more" if len(shown) > 5 else "") or "it has no nodes"


def _no_node(subject: str, seen: str) -> Finding:
    fix = (
        "Correct model_server_prefetch_nodes, model_server_node_selector or model_server_tolerations, or add GPU nodes."
    )
    return Finding("PREFETCH_NO_NODE", "error", subject, seen, fix)


def _repeated(template: Template) -> JsonObject:
    """The part of the tier's pod that a prefetch pod has too."""
    container, spec = template.container, template.spec
    known = environment(container)
    kept = [entry for entry in container.get("env") or () if ENVIRONMENT.fullmatch(entry["name"])]
    mount = _cache_mount(container, template.cache)
    pod = {
        key: copy.deepcopy(spec[key])
        for key in ("tolerations", "nodeSelector", "affinity", "priorityClassName", "imagePullSecrets")
        if spec.get(key)
    }
    # Model servers stand close to each other; that says nothing about who may fill a cache.
    pod.get("affinity", {}).pop("podAffinity", None)
    pod.get("affinity", {}).pop("podAntiAffinity", None)
    return {
        "pod": pod,
        "image": container["image"],
        "imagePullPolicy": container.get("imagePullPolicy", "Always"),
        "env": kept,
        "cache": known.get("HF_HUB_CACHE", "/var/cache/huggingface"),
        "mount": mount,
        "volume": template.cache,
    }


def _cache_mount(container: Json, volume: Json) -> JsonObject | None:
    found = [mount for mount in container.get("volumeMounts") or () if mount["name"] == volume.get("name")]
    return dict(found[0]) if found else None


def config_map(settings: Settings) -> JsonObject:
    digest = hashlib.sha256(settings.program.encode()).hexdigest()[:8]
    metadata = {"name": f"{settings.release[:40]}-prefetch-{digest}", "namespace": settings.namespace}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {**metadata, "labels": settings.labels},
        "data": {"prefetch.py": settings.program},
    }


def job(settings: Settings, node: str, template: Template) -> JsonObject:
    """One Job per node, bound to it as a DaemonSet's pod is. Its name holds what it does: the same one is found again.

    An Indexed Job that spreads its pods would not do: a pod that has ended repels no other, so a node may get two and
    another one none. A Job rather than a bare pod: it outlives this run, replaces an evicted pod and removes itself.
    """
    spec = _job_spec(settings, node, template)
    digest = hashlib.sha256(json.dumps([node, spec], sort_keys=True).encode()).hexdigest()[:10]
    metadata: JsonObject = {
        "name": f"{settings.release[:40]}-prefetch-{digest}",
        "namespace": settings.namespace,
        "labels": settings.labels,
        "annotations": {NODE_ANNOTATION: node},
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _job_spec(settings: Settings, node: str, template: Template) -> JsonObject:
    return {
        "completions": 1,
        "parallelism": 1,
        "backoffLimit": 6,
        "activeDeadlineSeconds": settings.timeout + START_SECONDS,
        "ttlSecondsAfterFinished": 3600,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": COMPONENT, "operator": "In", "values": list(FINAL_CODES)},
                }
            ]
        },
        "template": {
            # Never the label llm-d.ai/guide: the router takes any pod with it for a model server.
            "metadata": {"labels": settings.labels, "annotations": {NODE_ANNOTATION: node}},
            "spec": _pod_spec(settings, node, template),
        },
    }


def _pod_spec(settings: Settings, node: str, template: Template) -> JsonObject:
    repeated = _repeated(template)
    pod = repeated["pod"]
    return {
        **pod,
        "affinity": _bound(pod.get("affinity") or {}, node),
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 10,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [_container(settings, repeated)],
        "volumes": [
            repeated["volume"],
            {"name": "program", "configMap": {"name": config_map(settings)["metadata"]["name"]}},
        ],
    }


def _bound(affinity: Json, node: str) -> JsonObject:
    """The affinity to one node, besides what the tier requires of its nodes."""
    required = ((affinity.get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")) or {}
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    terms = [{**term, "matchFields": [field]} for term in required.get("nodeSelectorTerms") or [{}]]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def _container(settings: Settings, repeated: Json) -> JsonObject:
    arguments = [f"--model={settings.model}", f"--revision={settings.revision}", f"--cache={repeated['cache']}"]
    arguments += [f"--workers={settings.workers}", f"--timeout={settings.timeout}", f"--patience={settings.patience}"]
    arguments += [f"--reserve-percent={settings.reserve_percent:g}", *([] if settings.verify else ["--no-verify"])]
    return {
        "name": COMPONENT,
        "image": repeated["image"],
        # The image of the model servers, so that it is on the node when they come.
        "imagePullPolicy": repeated["imagePullPolicy"],
        "command": ["python3", f"{MOUNT}/prefetch.py", *arguments],
        "env": [*repeated["env"], {"name": "PYTHONUNBUFFERED", "value": "1"}],
        "resources": dict(settings.resources),
        "securityContext": {
            # The cache on the host is root's, as the model servers make it.
            "runAsUser": 0,
            "runAsGroup": 0,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [repeated["mount"], {"name": "program", "mountPath": MOUNT, "readOnly": True}],
    }


@dataclasses.dataclass
class NodeState:
    """What is known of one node: ``phase`` is waiting, running, complete or failed."""

    node: str
    job: str
    phase: str = "waiting"
    note: str = "no pod yet"
    reason: str = ""
    frame: Json = dataclasses.field(default_factory=dict)
    stuck_since: float | None = None

    @property
    def ended(self) -> bool:
        return self.phase in ("complete", "failed")

    def line(self) -> str:
        """One line for a person who watches."""
        if not self.frame:
            return f"{self.node}: {self.phase}, {self.note}"
        left = self.frame["seconds_left"]
        text = f"{self.node}: {self.frame['state']}, {gigabytes(self.frame)}, "
        text += f"{self.frame['bytes_per_second'] / 1e9:.2f} GB/s"
        if self.frame["throttled"]:
            text += f", slowed down {self.frame['throttled']} times by the hub"
        return (
            text
            if self.ended
            else text + (", time left unknown" if left is None else f", {left // 60} min {left % 60} s left")
        )

    def as_dict(self) -> JsonObject:
        values = {key: value for key, value in self.frame.items() if key != "state"}
        return {"node": self.node, "state": self.phase, "reason": self.reason, "note": self.note, **values}


def gigabytes(frame: Json) -> str:
    return f"{frame['done_bytes'] / 1e9:.1f} of {frame['total_bytes'] / 1e9:.1f} GB"


def last_frame(log: str) -> JsonObject | None:
    """The last whole line of progress in a pod's log."""
    for line in reversed(log.splitlines()):
        if line.startswith(FRAME):
            try:
                frame = json.loads(line.removeprefix(FRAME))
            except ValueError:
                continue
            if isinstance(frame, dict) and {"state", "done_bytes", "total_bytes"} <= set(frame):
                return frame
    return None


def job_state(item: Json) -> tuple[str, str]:
    """``complete`` or ``failed`` with why, or ``running``."""
    for entry in (item.get("status") or {}).get("conditions") or ():
        if entry.get("status") == "True" and entry.get("type") in ("Complete", "Failed"):
            phase = "complete" if entry["type"] == "Complete" else "failed"
            return phase, " ".join(str(entry.get(key, "")) for key in ("reason", "message")).strip()
    return "running", ""


def waiting_reason(pod: Json) -> tuple[str, str] | None:
    """Why a pod does not run: a reason of STUCK or another one, and its message."""
    status = pod.get("status") or {}
    for entry in status.get("containerStatuses") or ():
        waiting = (entry.get("state") or {}).get("waiting")
        if waiting:
            return str(waiting.get("reason", "Waiting")), str(waiting.get("message", ""))
    for entry in status.get("conditions") or ():
        if entry.get("type") == "PodScheduled" and entry.get("status") == "False":
            return "Unschedulable", str(entry.get("message", ""))
    return None


def findings(states: t.Iterable[NodeState], given: t.Sequence[Template]) -> list[Finding]:
    """Why nodes are not complete; nodes that failed for the same reason are told together."""
    groups: dict[tuple[str, str], list[NodeState]] = {}
    for state in states:
        if state.phase != "complete":
            groups.setdefault((state.reason, "" if state.reason in REASONS else state.note), []).append(state)
    secret, key, _optional = given[0].token
    path = (given[0].cache.get("hostPath") or {}).get("path", "the cache")
    found = []
    for (reason, _note), members in groups.items():
        names = ", ".join(member.node for member in members)
        seen = "; ".join(dict.fromkeys(str(member.frame.get("detail") or member.note) for member in members))
        code, fix = REASONS.get(reason, ("PREFETCH_POD", "Remove the cause, then run it again: it resumes."))
        found.append(Finding(code, "error", f"node {names}", seen, fix.format(secret=secret, key=key, path=path)))
    return found


def table(states: t.Sequence[NodeState]) -> JsonObject:
    rows = []
    for state in states:
        frame = state.frame
        rows.append(
            [
                state.node,
                state.phase,
                gigabytes(frame) if frame else None,
                f"{frame['fetched_bytes'] / 1e9:.2f}" if frame else None,
                f"{frame['bytes_per_second'] / 1e9:.2f}" if frame else None,
                frame.get("seconds"),
            ]
        )
    columns = ["node", "state", "in the cache", "fetched GB", "GB/s", "seconds"]
    return {"title": "Model caches", "columns": columns, "rows": rows}


def summary(settings: Settings, states: t.Sequence[NodeState]) -> list[list[t.Any]]:
    complete = sum(state.phase == "complete" for state in states)
    fetched = sum(state.frame.get("fetched_bytes", 0) for state in states)
    return [
        ["Model", f"{settings.model} ({settings.revision})"],
        ["Complete", f"{complete} of {len(states)} nodes"],
        ["Fetched", f"{fetched / 1e9:.2f} GB"],
    ]


def fetched(states: t.Iterable[NodeState]) -> bool:
    """Whether a cache is not what it was."""
    return any(state.frame.get("fetched_bytes") or state.frame.get("damaged") for state in states)
