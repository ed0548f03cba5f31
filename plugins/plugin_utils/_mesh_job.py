# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Job that probes the fabric, from the pods that will use it. Private to the collection; it may change.

Pure: manifests in, manifests out. A prober's pod is a model server's pod without its model: the same resources,
annotations, privileges and tolerations, since those decide which NICs it sees. It never has the label
``llm-d.ai/guide``, by which the router would send it requests.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._mesh_verdict import Group
from ansible_collections.llmd.wide_ep.plugins.module_utils._quantity import quantity

DEPLOYMENT_LABEL = "wide-ep.llm-d.ai/deployment"
COMPONENT_LABEL = "wide-ep.llm-d.ai/component"
COMPONENT = "rdma-mesh"
ROLE_LABEL = "llm-d.ai/role"
INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"
PROGRAM, CONFIG = "/opt/rdma-mesh", "/etc/rdma-mesh"
#: What a model server needs and a prober does not.
REDUCED = {"cpu": "1", "memory": "2Gi", "ephemeral-storage": "1Gi"}
#: Annotations that concern networks; the others are the workload's own matter.
NETWORK_ANNOTATION = re.compile(r"^(networking\.gke\.io|k8s\.v1\.cni\.cncf\.io|v1\.multus-cni\.io|cni\.)")
#: The environment by which the workload picks its NICs and that decides what it needs of the fabric.
PICKED = re.compile(r"^(NVSHMEM_|NCCL_|UCX_|DEEP_EP_|EP_|MORI_|VLLM_DEEPEP_)")
HCA_MAP = "DEEP_EP_DEVICE_TO_HCA_MAPPING"

JsonObject = dict[str, t.Any]


class JobError(ValueError):
    """The inputs do not make a Job; str() says which one."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """``nodes`` restricts where probers run; ``template`` is the pod template of a model server, or empty."""

    namespace: str
    release: str
    run_id: str
    key: str
    image: str
    hosts: int
    transport: str
    nics: tuple[str, ...]
    template: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    nodes: tuple[str, ...] = ()
    #: Where the scheduler may choose, if ``nodes`` does not say; anywhere if empty.
    allowed: tuple[str, ...] = ()
    host_network: bool = False
    port: int = 18515
    join_seconds: float = 120
    phase_seconds: float = 120
    deadline_seconds: int = 600
    plan: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    options: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    resources: t.Mapping[str, t.Any] | None = None
    tolerations: tuple[JsonObject, ...] = ()
    #: Ask for the model servers' devices. Datagrams do without them beside servers that hold them.
    take_devices: bool = True
    #: Where another process coordinates, its address, and the index of the Job's first pod.
    coordinator: str = ""
    first_index: int = 0
    #: All probers of the run, where those of the Job are not all.
    total: int = 0

    @property
    def name(self) -> str:
        """Name and index make a host name of at most 63 characters."""
        return f"{self.release[:40]}-mesh-{self.run_id[:8]}"

    @property
    def labels(self) -> dict[str, str]:
        return {DEPLOYMENT_LABEL: self.release, COMPONENT_LABEL: COMPONENT}


def templates(objects: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, JsonObject]:
    """Role to pod template, of the rendered LeaderWorkerSets."""
    found = {}
    for item in objects:
        if item.get("kind") == "LeaderWorkerSet":
            role = (item["metadata"].get("labels") or {}).get(ROLE_LABEL) or item["metadata"]["name"]
            found[role] = item["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    return found


def group_sizes(objects: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, int]:
    """Role to the hosts whose ranks exchange tokens."""
    return {
        role: int(item["spec"]["leaderWorkerTemplate"].get("size", 1))
        for item in objects
        if item.get("kind") == "LeaderWorkerSet"
        and (role := (item["metadata"].get("labels") or {}).get(ROLE_LABEL) or item["metadata"]["name"])
    }


def server(template: t.Mapping[str, t.Any]) -> JsonObject:
    """The model server's container: the one that asks for most resources."""
    containers = template["spec"]["containers"]
    return t.cast("JsonObject", max(containers, key=lambda one: len((one.get("resources") or {}).get("limits") or {})))


def image_of(template: t.Mapping[str, t.Any]) -> str:
    """The model server's own image: it has what its traffic goes through."""
    if not template:
        raise JobError("image is empty and there is no rendered model server to take it from")
    return str(server(template)["image"])


def environment(container: t.Mapping[str, t.Any]) -> dict[str, str]:
    return {entry["name"]: str(entry["value"]) for entry in container.get("env") or () if "value" in entry}


def backend(container: t.Mapping[str, t.Any]) -> str:
    """The value of --all2all-backend, or of the environment variable of older servers."""
    text = "\n".join([*(container.get("command") or ()), *(container.get("args") or ())])
    found = re.findall(r"--all2all-backend[= \\\n]+([\w-]+)", text)
    return found[-1] if found else environment(container).get("VLLM_ALL2ALL_BACKEND", "allgather_reducescatter")


def hca_map(value: str) -> list[str]:
    """Rank to device of ``0:mlx5_0:1,1:mlx5_1:1``; JobError names the entry that does not fit."""
    ranks: dict[int, str] = {}
    for entry in filter(None, (part.strip() for part in value.split(","))):
        found = re.fullmatch(r"(\d+):([\w.-]+)(?::\d+)?", entry)
        if not found:
            raise JobError(f"{HCA_MAP}: {entry!r} is not <rank>:<device>:<port>")
        if int(found.group(1)) in ranks:
            raise JobError(f"{HCA_MAP}: rank {found.group(1)} occurs twice")
        ranks[int(found.group(1))] = found.group(2)
    missing = [rank for rank in range(len(ranks)) if rank not in ranks]
    if missing:
        raise JobError(f"{HCA_MAP}: rank {missing[0]} is missing")
    return [ranks[rank] for rank in range(len(ranks))]


def groups(
    objects: t.Iterable[t.Mapping[str, t.Any]],
    hosts: t.Sequence[str],
    nic_names: t.Sequence[str] = (),
    placement: t.Mapping[str, t.Sequence[str]] | None = None,
) -> list[Group]:
    """What each role needs. Before its pods are placed, a role may come to any host: it is judged on all of them."""
    found, rendered = [], list(objects)
    sizes = group_sizes(rendered)
    for role, template in templates(rendered).items():
        container = server(template)
        known = environment(container)
        devices = hca_map(known.get(HCA_MAP, ""))
        positions = {name.partition(":")[0]: at for at, name in enumerate(nic_names)}
        ranks = tuple(positions[device] for device in devices) if devices and set(devices) <= set(positions) else ()
        on = tuple((placement or {}).get(role) or hosts)
        found.append(Group(role, on, backend(container), known, ranks, sizes[role]))
    return found


def config(settings: Settings) -> JsonObject:
    """What every prober is told."""
    return {
        "run_id": settings.run_id,
        "key": settings.key,
        "hosts": settings.total or settings.hosts,
        "transport": settings.transport,
        "nics": list(settings.nics),
        "coordinator": settings.coordinator or f"{settings.name}-0.{settings.name}.{settings.namespace}",
        "first_index": settings.first_index,
        "port": settings.port,
        "join_seconds": settings.join_seconds,
        "phase_seconds": settings.phase_seconds,
        "deadline_seconds": settings.deadline_seconds,
        "plan": dict(settings.plan),
        settings.transport: dict(settings.options),
    }


def manifests(settings: Settings, files: t.Mapping[str, str]) -> list[JsonObject]:
    """The Job first, then what it owns."""
    return [job(settings), *(part(settings, files) for part in (_service, _program, _secret))]


def _head(settings: Settings, api_version: str, kind: str) -> JsonObject:
    metadata = {"name": settings.name, "namespace": settings.namespace, "labels": settings.labels}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def _service(settings: Settings, _files: t.Mapping[str, str]) -> JsonObject:
    """Headless, and for pods that are not Ready too: it is how probers find the coordinator."""
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {"batch.kubernetes.io/job-name": settings.name},
        "ports": [{"name": "mesh", "port": settings.port}],
    }
    return {**_head(settings, "v1", "Service"), "spec": spec}


def _program(settings: Settings, files: t.Mapping[str, str]) -> JsonObject:
    return {**_head(settings, "v1", "ConfigMap"), "data": dict(files)}


def _secret(settings: Settings, _files: t.Mapping[str, str]) -> JsonObject:
    """The run's key makes its frames unforgeable, so it is not in the ConfigMap."""
    return {**_head(settings, "v1", "Secret"), "stringData": {"config.json": json.dumps(config(settings))}}


def job(settings: Settings) -> JsonObject:
    if settings.hosts < 2 and not settings.coordinator:
        raise JobError(f"a mesh needs at least 2 hosts, {settings.hosts} are asked for")
    spec = {
        "completionMode": "Indexed",
        "completions": settings.hosts,
        "parallelism": settings.hosts,
        # Without it, since Kubernetes 1.29, one failed pod would end the Job and with it the coordinator.
        "backoffLimitPerIndex": 0,
        "activeDeadlineSeconds": settings.deadline_seconds,
        "ttlSecondsAfterFinished": 600,
        "template": {"metadata": _pod_metadata(settings), "spec": _pod_spec(settings)},
    }
    return {**_head(settings, "batch/v1", "Job"), "spec": spec}


def _pod_metadata(settings: Settings) -> JsonObject:
    # The network of the node has no interfaces to attach.
    given = {} if settings.host_network else (settings.template.get("metadata") or {}).get("annotations") or {}
    annotations = {name: value for name, value in given.items() if NETWORK_ANNOTATION.match(name)}
    return {"labels": settings.labels, **({"annotations": annotations} if annotations else {})}


def _pod_spec(settings: Settings) -> JsonObject:
    given = settings.template.get("spec") or {}
    names = ("nodeSelector", "runtimeClassName", "imagePullSecrets", "schedulerName", "priorityClassName",
             *(("resourceClaims",) if settings.take_devices else ()))  # fmt: skip
    kept = {name: copy.deepcopy(given[name]) for name in names if given.get(name)}
    spec: JsonObject = {
        **kept,
        "restartPolicy": "Never",
        "subdomain": settings.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "tolerations": [*copy.deepcopy(given.get("tolerations") or []), *settings.tolerations],
        "affinity": _affinity(settings, given),
        "containers": [_container(settings, server(settings.template) if given else {})],
        "volumes": [
            {"name": "program", "configMap": {"name": settings.name}},
            {"name": "config", "secret": {"secretName": settings.name}},
        ],
    }
    if settings.host_network:
        spec |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    return spec


def _affinity(settings: Settings, given: t.Mapping[str, t.Any]) -> JsonObject:
    """One prober per node, on the nodes of the model servers."""
    term = {"labelSelector": {"matchLabels": settings.labels}, "topologyKey": "kubernetes.io/hostname"}
    affinity: JsonObject = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    node = copy.deepcopy((given.get("affinity") or {}).get("nodeAffinity") or {})
    names = settings.nodes or settings.allowed
    if names:
        fields = [{"key": "metadata.name", "operator": "In", "values": [name]} for name in names]
        # A node's name is matched one by one: `In` of matchFields takes a single value.
        node["requiredDuringSchedulingIgnoredDuringExecution"] = {
            "nodeSelectorTerms": [{"matchFields": [field]} for field in fields]
        }
    return {**affinity, **({"nodeAffinity": node} if node else {})}


def _container(settings: Settings, given: t.Mapping[str, t.Any]) -> JsonObject:
    fields = {"NODE_NAME": "spec.nodeName", "POD_NAME": "metadata.name"}
    env = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]
    env += [{"name": name, "value": value} for name, value in environment(given).items() if PICKED.match(name)]
    env.append({"name": "PYTHONDONTWRITEBYTECODE", "value": "1"})
    container: JsonObject = {
        "name": "prober",
        "image": settings.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", f"{PROGRAM}/mesh_prober.py", f"{CONFIG}/config.json"],
        "env": env,
        "resources": _resources(settings, given),
        "volumeMounts": [
            {"name": "program", "mountPath": PROGRAM, "readOnly": True},
            {"name": "config", "mountPath": CONFIG, "readOnly": True},
        ],
    }
    if settings.host_network:
        # A second check's pods would share the node's ports with these: the scheduler keeps them apart.
        container["ports"] = [{"name": "mesh", "containerPort": settings.port}]
    security = copy.deepcopy(given.get("securityContext")) or {}
    if settings.transport == "udp" and not security.get("privileged"):
        # Binding a socket to an interface needed NET_RAW before Linux 5.7.
        capabilities = security.setdefault("capabilities", {})
        capabilities["add"] = list(dict.fromkeys([*(capabilities.get("add") or ()), "NET_RAW"]))
    return {**container, **({"securityContext": security} if security else {})}


def _resources(settings: Settings, given: t.Mapping[str, t.Any]) -> JsonObject:
    """Those of the model server, with less of what only a model needs."""
    if settings.resources is not None:
        return dict(settings.resources)
    found: JsonObject = {}
    for kind, amounts in (given.get("resources") or {}).items():
        if isinstance(amounts, dict):
            kept = {name: _reduced(name, value) for name, value in amounts.items()}
            found[kind] = {name: value for name, value in kept.items() if settings.take_devices or name in REDUCED}
        else:
            found[kind] = amounts
    if not settings.take_devices:
        found.pop("claims", None)
    return found


def _reduced(name: str, value: t.Any) -> t.Any:
    least = REDUCED.get(name)
    return least if least is not None and quantity(least) < quantity(value) else value


def devices(template: t.Mapping[str, t.Any]) -> list[str]:
    """The extended resources that a model server takes at least one of."""
    if not template:
        return []
    limits = (server(template).get("resources") or {}).get("limits") or {}
    return sorted(name for name, value in limits.items() if "/" in name and str(value) not in ("0", "None"))


def unfit(node: t.Mapping[str, t.Any], wanted: t.Iterable[str], selector: t.Mapping[str, str] | None = None) -> str:
    """Why a node cannot have a prober; empty where it can."""
    status = node.get("status") or {}
    ready: JsonObject = next((one for one in status.get("conditions") or () if one.get("type") == "Ready"), {})
    if ready.get("status") != "True":
        return f"it is not Ready: {ready.get('message') or 'no message'}"
    if (node.get("spec") or {}).get("unschedulable"):
        return "it is cordoned"
    labels = node["metadata"].get("labels") or {}
    other = [f"{name}={value}" for name, value in (selector or {}).items() if labels.get(name) != value]
    if other:
        return f"it has not the label {other[0]}"
    there = status.get("allocatable") or {}
    lacking = [name for name in wanted if str(there.get(name, "0")) == "0"]
    return f"it has no {lacking[0]}" if lacking else ""


def reasons(settings: Settings, nodes: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, str]:
    """Node to why it cannot have a prober, empty where it can."""
    wanted, selector = devices(settings.template), (settings.template.get("spec") or {}).get("nodeSelector")
    return {node["metadata"]["name"]: unfit(node, wanted, selector) for node in nodes}


def on_nodes(settings: Settings, nodes: t.Sequence[t.Mapping[str, t.Any]]) -> Settings:
    """The settings with the nodes that fit; JobError names those that were asked for and do not."""
    why = reasons(settings, nodes)
    bad = {name: why.get(name, "it does not exist") for name in settings.nodes if why.get(name, "x")}
    if bad:
        raise JobError("; ".join(f"node {name}: {reason}" for name, reason in bad.items()))
    if settings.nodes or settings.transport == "rdma":
        # Probers with a model server's devices go where model servers go, to nodes that are yet to be made too.
        return settings
    fit = tuple(sorted(name for name, reason in why.items() if not reason))
    if len(fit) < settings.hosts:
        others = "; ".join(f"{name}: {reason}" for name, reason in why.items() if reason)
        raise JobError(f"{len(fit)} nodes can have a prober, {settings.hosts} are needed; {others or 'no other node'}")
    return dataclasses.replace(settings, allowed=fit)


def completion_index(pod: t.Mapping[str, t.Any]) -> int | None:
    value = (pod["metadata"].get("annotations") or {}).get(INDEX_ANNOTATION)
    return int(value) if value is not None and str(value).isdigit() else None
