# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions about Kueue: quotas, queue objects, versions, removal.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import collections
import dataclasses
import fractions
import re
import typing as t

import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._quantity import pod_requests, written
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._platform import Decision, Version, lws_version, parse

Json = t.Mapping[str, t.Any]

API = "kueue.x-k8s.io/v1beta2"
FRAMEWORK = "leaderworkerset.x-k8s.io/leaderworkerset"
PLATFORM_LABEL = "wide-ep.llm-d.ai/platform"
#: Every pod of a namespace with a LocalQueue of this name is put into it, routers and clients too.
DEFAULT_QUEUE = "default"
CONFIG_KEY = "controller_manager_config.yaml"

#: v1beta2 is served, and LeaderWorkerSets are managed without naming the framework pod, since 0.15.
OLDEST: Version = (0, 15, 0)
#: Below it, why a deployment would be refused or wrongly placed, newest range last.
TOO_OLD: tuple[tuple[str, Version, str], ...] = (
    ("below 0.14", (0, 14, 0), "topology-aware scheduling is off and Topology is served in v1alpha1 only"),
    ("0.14", OLDEST, "v1beta2 is not served, and groups start unplaced unless framework pod is named too"),
)
#: Below it a Workload's name is a pod label, which holds 63 characters (Kueue #10032).
LONG_NAMES: Version = (0, 18, 0)
LABEL_LENGTH = 63


def set_requests(item: Json) -> dict[str, fractions.Fraction]:
    """What all pods of a LeaderWorkerSet ask for together."""
    spec = item["spec"]
    template, groups = spec["leaderWorkerTemplate"], spec.get("replicas", 1)
    leader, size = template.get("leaderTemplate"), template.get("size", 1)
    parts = [(template["workerTemplate"], size - bool(leader))] + ([(leader, 1)] if leader else [])
    total: dict[str, fractions.Fraction] = collections.defaultdict(fractions.Fraction)
    for pod, number in parts:
        for name, value in pod_requests(pod["spec"]).items():
            total[name] += value * number * groups
    return dict(total)


def sets(objects: t.Iterable[Json]) -> list[Json]:
    return [item for item in objects if item["kind"] == "LeaderWorkerSet"]


def quotas(objects: t.Sequence[Json], given: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The quota of every resource that the sets ask for; Kueue skips what is asked for in zero, and so do we."""
    total: dict[str, fractions.Fraction] = collections.defaultdict(fractions.Fraction)
    for item in sets(objects):
        for name, value in set_requests(item).items():
            total[name] += value
    asked = {name: written(name, value) for name, value in sorted(total.items()) if value}
    return {**asked, **{name: str(value) for name, value in given.items()}}


@dataclasses.dataclass(frozen=True)
class Names:
    topology: str
    flavor: str
    cluster_queue: str


def platform_objects(
    names: Names, shape: Json, quota: t.Mapping[str, str], namespace: str, labels: Json
) -> list[dict[str, t.Any]]:
    """Topology, ResourceFlavor and ClusterQueue, in the order in which they refer to each other.

    ``shape`` holds ``topology_levels``, ``labels`` and ``taints`` of the nodes.
    """
    covered = sorted(quota)
    flavor = {"name": names.flavor, "resources": [{"name": name, "nominalQuota": quota[name]} for name in covered]}
    specs: dict[tuple[str, str], dict[str, t.Any]] = {
        ("Topology", names.topology): {"levels": [{"nodeLabel": level} for level in shape["topology_levels"]]},
        ("ResourceFlavor", names.flavor): {
            "nodeLabels": dict(shape["labels"]),
            # Any value: providers and sites give the taint different ones.
            "tolerations": [
                {"key": one["key"], "operator": "Exists", "effect": one["effect"]} for one in shape["taints"]
            ],
            "topologyName": names.topology,
        },
        ("ClusterQueue", names.cluster_queue): {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "resourceGroups": [{"coveredResources": covered, "flavors": [flavor]}],
        },
    }
    return [
        {
            "apiVersion": API,
            "kind": kind,
            "metadata": {"name": name, "labels": dict(labels)},
            "spec": _without_empty(spec),
        }
        for (kind, name), spec in specs.items()
    ]


def _without_empty(spec: Json) -> dict[str, t.Any]:
    return {key: value for key, value in spec.items() if value not in ([], {})}


#: What cannot be changed once an object exists: its kind, the field, and the variables that name a new object.
IMMUTABLE: tuple[tuple[str, str, str], ...] = (
    ("Topology", "levels", "kueue_topology and kueue_flavor"),
    ("ResourceFlavor", "nodeLabels", "kueue_flavor"),
    ("ResourceFlavor", "tolerations", "kueue_flavor"),
    ("ResourceFlavor", "topologyName", "kueue_flavor"),
    ("LocalQueue", "clusterQueue", "wide_ep_queue"),
)
NAMED_BY = {
    "Topology": "kueue_topology",
    "ResourceFlavor": "kueue_flavor",
    "ClusterQueue": "kueue_cluster_queue",
    "LocalQueue": "wide_ep_queue",
}


def object_findings(existing: t.Iterable[Json], wanted: t.Iterable[Json]) -> list[Finding]:
    """Why the wanted objects cannot be applied over the existing ones: someone else's, or immutable fields differ."""
    have = {(item["kind"], item["metadata"]["name"]): item for item in existing}
    found = []
    for item in wanted:
        old = have.get((item["kind"], item["metadata"]["name"]))
        if old is None:
            continue
        if not _is_ours(old, item["metadata"]["labels"]):
            found.append(_foreign_object(item))
        else:
            found += _immutable_differences(old, item)
    return found


def _is_ours(item: Json, labels: t.Mapping[str, str]) -> bool:
    have = item["metadata"].get("labels") or {}
    return all(have.get(key) == value for key, value in labels.items())


def _title(item: Json) -> str:
    namespace = item["metadata"].get("namespace")
    return f"{item['kind']} {namespace + '/' if namespace else ''}{item['metadata']['name']}"


def _foreign_object(item: Json) -> Finding:
    seen = "it exists and someone else made it: it does not carry our label"
    fix = f"Set {NAMED_BY[item['kind']]} to another name."
    return Finding("KUEUE_OBJECT_FOREIGN", "error", _title(item), seen, fix)


def _immutable_differences(old: Json, new: Json) -> list[Finding]:
    found = []
    for kind, field, variable in IMMUTABLE:
        have, want = (item.get("spec", {}).get(field) for item in (old, new))
        if kind == new["kind"] and _shown(have) != _shown(want):
            seen = f"{field} is {_shown(have)}, wanted is {_shown(want)}; Kueue allows no change of it"
            fix = f"Set {variable} to another name, or remove the object when no group uses it."
            found.append(Finding("KUEUE_OBJECT_IMMUTABLE", "error", _title(new), seen, fix))
    return found


def _shown(value: t.Any) -> str:
    """A value in few words, independent of what the API server adds or how it orders a mapping."""
    if isinstance(value, t.Mapping):
        return ", ".join(f"{key}={value[key]}" for key in sorted(value)) or "empty"
    if isinstance(value, t.Sequence) and not isinstance(value, str):
        return " > ".join(str(one.get("nodeLabel", one.get("key"))) for one in value) or "empty"
    return str(value or "empty")


def queue_findings(name: str, levels: t.Sequence[str], level: str) -> list[Finding]:
    """What is wrong with the queue's inputs."""
    found = []
    if name == DEFAULT_QUEUE:
        seen = (
            f"a LocalQueue named {DEFAULT_QUEUE} takes every pod of its namespace that names no queue, the router's "
            "too, and they are never started"
        )
        found.append(Finding("KUEUE_QUEUE_NAME", "error", "wide_ep_queue", seen, "Set wide_ep_queue to another name."))
    if level not in levels:
        fix = "Name one of them, or add the level to kueue_topology_levels."
        seen = f"{level} is not a level of the topology; its levels are {', '.join(levels)}"
        found.append(Finding("INPUT_COMBINATION", "error", "wide_ep_topology_level", seen, fix))
    return found


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Our release, and what the running Kueue has to manage."""

    namespace: str
    release: str
    version: str
    names: tuple[str, ...] = ()
    groups: int = 1


def decide(
    release: Json, deployments: t.Sequence[Json], crds: t.Sequence[Json], configs: t.Sequence[Json], wanted: Wanted
) -> Decision:
    """What to do about Kueue, given the decision about our Helm release and what runs in the cluster.

    The action is ``adopt`` (someone else's, left as it is), ``refuse``, or the release's own action.
    """
    running = [item for item in deployments if is_kueue(item)]
    own = [item for item in running if is_own(item, wanted.namespace, wanted.release)]
    if running and not own:
        return _judge_foreign(running[0], configs, wanted)
    orphaned = crds and not own and _helm_owner(crds[0]) != (wanted.namespace, wanted.release)
    if release["action"] == "install" and orphaned:
        return _refuse_orphan(crds[0])
    have, want = parse(release.get("installed_version") or ""), parse(wanted.version)
    if release["action"] in ("upgrade", "recover") and have and want and have > want:
        return Decision("adopt", f"Kueue {release['installed_version']} is newer than {wanted.version} and stays")
    return Decision(release["action"], release["reason"])


def is_kueue(deployment: Json) -> bool:
    """By its label or its image, whatever the chart that installed it calls its parts."""
    name = (deployment["metadata"].get("labels") or {}).get("app.kubernetes.io/name", "")
    images = [container["image"] for container in deployment["spec"]["template"]["spec"]["containers"]]
    return name == "kueue" or any(re.search(r"(^|/)kueue(-controller)?(:|@|$)", image) for image in images)


def is_own(deployment: Json, namespace: str, release: str) -> bool:
    """Of our Helm release and with our mark: others give their release the same name, as Kueue's documents do."""
    notes = (deployment["spec"]["template"].get("metadata") or {}).get("annotations") or {}
    return _helm_owner(deployment) == (namespace, release) and notes.get(PLATFORM_LABEL) == "true"


def is_ours(deployments: t.Sequence[Json], crds: t.Sequence[Json], namespace: str, release: str) -> bool:
    """Whether we installed Kueue; where no controller is left, whether its CRDs are of our release."""
    running = [item for item in deployments if is_kueue(item)]
    if running:
        return any(is_own(item, namespace, release) for item in running)
    return any(_helm_owner(item) == (namespace, release) for item in crds)


def _helm_owner(item: Json) -> tuple[str, str] | None:
    notes = item["metadata"].get("annotations") or {}
    name = notes.get("meta.helm.sh/release-name")
    return (notes.get("meta.helm.sh/release-namespace", ""), name) if name else None


def _refuse_orphan(crd: Json) -> Decision:
    owner = _helm_owner(crd)
    seen = f"CRD {crd['metadata']['name']} exists" + (f", of Helm release {'/'.join(owner)}" if owner else "")
    seen += ", but no Kueue controller was found"
    fix = "Start that Kueue again, or remove it together with its CRDs; removing them deletes every queue."
    return Decision("refuse", seen, Finding("KUEUE_UNUSABLE", "error", "Kueue", seen, fix))


def _judge_foreign(deployment: Json, configs: t.Sequence[Json], wanted: Wanted) -> Decision:
    where = f"{deployment['metadata']['namespace']}/{deployment['metadata']['name']}"
    found = lws_version(deployment)
    problems = [
        *version_problems(found, wanted),
        *_argument_problems(deployment),
        *config_problems(_config_of(deployment, configs)),
    ]
    if not problems:
        return Decision("adopt", f"Kueue {found} was installed by someone else ({where}) and stays as it is")
    seen = f"Deployment {where}, installed by someone else, runs Kueue {found or 'of unknown version'}:\n"
    seen += "\n".join(problem for problem, _fix in problems)
    fix = "\n".join(dict.fromkeys(fix for _problem, fix in problems))
    return Decision("refuse", problems[0][0], Finding("KUEUE_UNUSABLE", "error", "Kueue", seen, fix))


def version_problems(version: str, wanted: Wanted) -> list[tuple[str, str]]:
    """Why this version would refuse the deployment's objects or place them wrongly, and what helps."""
    numbers = parse(version)
    upgrade = f"Ask its owner to upgrade it to {wanted.version}."
    if numbers is None:
        return [("its version cannot be read from its image or labels", upgrade)]
    for name, below, why in TOO_OLD:
        if numbers < below:
            return [(f"Kueue {name}: {why}", upgrade)]
    # leaderworkerset-<set>-<group>-<five characters>
    digits = len(str(max(0, wanted.groups - 1)))
    room = LABEL_LENGTH - len("leaderworkerset-") - len("-") - digits - len("-12345")
    long = [name for name in wanted.names if len(name) > room]
    if numbers < LONG_NAMES and long:
        problem = (
            f"Kueue 0.15 to 0.17: names of sets have at most {room} characters, {', '.join(long)} has {len(long[0])}"
        )
        return [(problem, f"{upgrade} Or shorten wide_ep_release.")]
    return []


def _argument_problems(deployment: Json) -> list[tuple[str, str]]:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    arguments = " ".join(word for container in containers for word in container.get("args") or ())
    if "TopologyAwareScheduling=false" in arguments:
        return [("topology-aware scheduling is switched off", "Ask its owner to allow gate TopologyAwareScheduling.")]
    return []


def _config_of(deployment: Json, configs: t.Sequence[Json]) -> Json | None:
    """The configuration of this controller; None where it cannot be read."""
    namespace = deployment["metadata"]["namespace"]
    texts = [item["data"][CONFIG_KEY] for item in configs
             if item["metadata"].get("namespace") == namespace and CONFIG_KEY in (item.get("data") or {})]  # fmt: skip
    loaded = yaml.safe_load(texts[0]) if texts else None
    return loaded if isinstance(loaded, t.Mapping) else None


def config_problems(config: Json | None) -> list[tuple[str, str]]:
    """A framework that is not named is not managed: groups would start without waiting for their place."""
    if config is None:
        return []
    frameworks = (config.get("integrations") or {}).get("frameworks") or []
    if FRAMEWORK in frameworks:
        return []
    problem = f"its configuration does not manage LeaderWorkerSets (frameworks: {', '.join(frameworks) or 'none'})"
    return [(problem, f"Ask its owner to add {FRAMEWORK} to integrations.frameworks.")]


def removal_findings(found: t.Mapping[str, t.Sequence[Json]], names: Names, *, whole: bool) -> list[Finding]:
    """Why the queue objects, or with ``whole`` Kueue with its CRDs, cannot be removed yet.

    ``found`` holds what exists, by kind. The chart's CRDs are in its templates: uninstalling it deletes every object.
    """
    used = [item for item in found.get("LocalQueue", ()) if item["spec"]["clusterQueue"] == names.cluster_queue]
    admitted = [item for item in found.get("Workload", ()) if _cluster_queue_of(item) == names.cluster_queue]
    blocking = [*used, *admitted]
    if whole:
        ours = {("Topology", names.topology), ("ResourceFlavor", names.flavor), ("ClusterQueue", names.cluster_queue)}
        blocking = [
            item for items in found.values() for item in items if (item["kind"], item["metadata"]["name"]) not in ours
        ]
    if not blocking:
        return []
    shown = [_title(item) for item in blocking[:8]] + ([f"and {len(blocking) - 8} more"] if len(blocking) > 8 else [])
    what = "uninstalling Kueue would delete" if whole else f"ClusterQueue {names.cluster_queue} is used by"
    fix = "Remove the deployments first (playbooks/cleanup.yml); ask the owners of what is not yours."
    return [Finding("KUEUE_IN_USE", "error", "Kueue", f"{what} {', '.join(shown)}", fix)]


def _cluster_queue_of(workload: Json) -> str:
    return str(((workload.get("status") or {}).get("admission") or {}).get("clusterQueue", ""))


def unused(
    found: t.Mapping[str, t.Sequence[Json]], names: Names, labels: t.Mapping[str, str]
) -> list[dict[str, t.Any]]:
    """Our objects that no other queue refers to, in the order in which they can be deleted."""
    others = [item for item in found.get("ClusterQueue", ()) if item["metadata"]["name"] != names.cluster_queue]
    shared = {
        flavor["name"]
        for item in others
        for group in item["spec"].get("resourceGroups") or ()
        for flavor in group.get("flavors") or ()
    }
    kept_flavor = names.flavor in shared
    kept_topology = kept_flavor or any(
        item["spec"].get("topologyName") == names.topology and item["metadata"]["name"] != names.flavor
        for item in found.get("ResourceFlavor", ())
    )
    order = [("ClusterQueue", names.cluster_queue, False), ("ResourceFlavor", names.flavor, kept_flavor),
             ("Topology", names.topology, kept_topology)]  # fmt: skip
    return [
        {"apiVersion": API, "kind": kind, "metadata": {"name": name}}
        for kind, name, kept in order
        for item in found.get(kind, ())
        if not kept and item["metadata"]["name"] == name and _is_ours(item, labels)
    ]
