# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a deployment differs from its inventory. Private to the collection; it may change at any time.

The API server itself says what an object would be (a dry run of server-side apply), so that defaults, quantities and
webhooks never look like a difference. What someone added by hand is no field of ours and stays in that dry run; it is
found by who owns it.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.module_utils._predicates import LWS_NAME, labels
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_flat import Flat, flatten
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_restart import owned

Json = t.Mapping[str, t.Any]
JsonObject = dict[str, t.Any]

COMPONENT_LABEL = "wide-ep.llm-d.ai/component"
#: Who changes objects as part of the deployment: this collection, Helm, and controllers with what they own.
OURS = frozenset({"llmd.wide_ep", "helm"})
CONTROLLERS = frozenset(
    {"kube-controller-manager", "kube-scheduler", "kubelet", "kube-apiserver", "manager", "kueue", "kueue-admission"}
)
CONTROLLER_ENDINGS = ("-controller", "-controller-manager", "-operator", "-webhook", "-admission")
#: Kept by the server or a controller on objects of anyone.
BOOKKEEPING = frozenset(
    {
        "deployment.kubernetes.io/revision",
        "kubectl.kubernetes.io/last-applied-configuration",
        "kubernetes.io/metadata.name",
        "meta.helm.sh/release-name",
        "meta.helm.sh/release-namespace",
    }
)
#: Kinds of a component; without it in the inventory they are left over.
COMPONENT_OF = {
    "PodMonitor": "monitoring",
    "ServiceMonitor": "monitoring",
    "PrometheusRule": "monitoring",
    "PodMonitoring": "monitoring",
    "Rules": "monitoring",
    "LocalQueue": "topology_aware",
}
#: Objects that runs leave on purpose: the lock, and what a rollback goes back to.
KEPT_KINDS = frozenset({"Lease", "Pod", "Job", "Event", "EndpointSlice", "Endpoints", "ControllerRevision"})
LONGEST = 120


@dataclasses.dataclass(frozen=True)
class Difference:
    path: str
    live: str | None
    wanted: str | None
    by: str = ""

    @property
    def text(self) -> str:
        if self.by:
            return f"{self.path}: {_cut(self.live)} was added by {self.by}"
        return f"{self.path}: {_cut(self.live)}, the inventory has {_cut(self.wanted)}"


def compared(item: Json) -> Flat:
    """The fields of an object that an inventory can decide."""
    metadata = item.get("metadata") or {}
    kept = {
        kind: {key: value for key, value in (metadata.get(kind) or {}).items() if key not in BOOKKEEPING}
        for kind in ("labels", "annotations")
    }
    kept = {kind: values for kind, values in kept.items() if values}
    body = {key: value for key, value in item.items() if key not in ("metadata", "status", "apiVersion", "kind")}
    return flatten({**({"metadata": kept} if kept else {}), **body}) if kept or body else {}


def differences(live: Json, applied: Json) -> list[Difference]:
    """What the dry run of an apply would change."""
    before, after = compared(live), compared(applied)
    paths = [*after, *(path for path in before if path not in after)]
    return [
        Difference(path, before.get(path), after.get(path)) for path in paths if before.get(path) != after.get(path)
    ]


def is_controller(manager: str) -> bool:
    return manager in CONTROLLERS or manager.endswith(CONTROLLER_ENDINGS)


def added_by_hand(live: Json, known: t.Collection[str] = ()) -> list[Difference]:
    """Fields that neither we nor a controller own, beside ``known`` paths, which are told already."""
    found = []
    for entry in live["metadata"].get("managedFields") or ():
        manager = entry.get("manager", "")
        if entry.get("subresource") or manager in OURS or is_controller(manager) or "fieldsV1" not in entry:
            continue
        for path, value in compared(owned(live, entry["fieldsV1"])).items():
            if path not in known and not path.startswith("spec.finalizers"):
                found.append(Difference(path, value, None, manager))
    return found


def object_findings(title: str, live: Json, applied: Json) -> list[Finding]:
    """One finding per field."""
    changed = differences(live, applied)
    known = {difference.path for difference in changed}
    # A changed list is one value on one side and its items on the other.
    every = [*changed, *(item for item in added_by_hand(live, known) if not _covered(item.path, known))]
    fix = "Take it over into the inventory, or undo it by hand; a run takes no field from another owner by itself."
    return [Finding("DRIFT_FIELD", "error", title, difference.text, fix) for difference in every]


def _covered(path: str, known: t.Iterable[str]) -> bool:
    return any(path.startswith((f"{other}.", f"{other}[")) for other in known)


def missing(title: str) -> Finding:
    fix = "Run site.yml: it makes what is missing and leaves the rest."
    return Finding("DRIFT_MISSING", "error", title, "the inventory has it, the cluster does not", fix)


def refused(title: str, live: Json, wanted: Json, why: str) -> list[Finding]:
    """The server does not take the inventory's object over the one that is there: what differs is found here.

    It happens where a field is immutable, or where a key of a list was changed (the port of a Service), which would
    leave both entries in it.
    """
    fix = "Take it over into the inventory, or undo it by hand; a run cannot, because the server refuses it."
    found = lacking(wanted, live)
    if not found:
        return [Finding("DRIFT_FIELD", "error", title, f"it cannot become what the inventory has: {why}", fix)]
    return [Finding("DRIFT_FIELD", "error", title, difference.text, fix) for difference in found]


def lacking(wanted: t.Any, live: t.Any, path: str = "") -> list[Difference]:
    """What an object lacks of what is wanted; what it has beside that counts only in lists."""
    if isinstance(wanted, t.Mapping) and isinstance(live, t.Mapping):
        skipped = ("managedFields", "creationTimestamp", "status")
        inner = [key for key in wanted if key not in skipped and key not in BOOKKEEPING]
        return [item for key in inner for item in lacking(wanted[key], live.get(key), f"{path}.{key}".lstrip("."))]
    if isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        pairs = enumerate(zip(wanted, live, strict=True))
        return [item for index, (one, other) in pairs for item in lacking(one, other, f"{path}[{index}]")]
    if wanted in (None, {}, [], "") and live in (None, {}, [], ""):
        return []
    same = wanted == live or str(wanted) == str(live)
    return [] if same else [Difference(path, None if live is None else _shown(live), _shown(wanted))]


def image_findings(workloads: t.Iterable[Json], pods: t.Iterable[Json]) -> list[Finding]:
    """Pods that run another image than their template names, and templates whose image is not the same in all pods."""
    templates = {item["metadata"]["name"]: _images(_template(item)) for item in workloads}
    found: list[Finding] = []
    ids: dict[tuple[str, str], dict[str, list[str]]] = {}
    for pod in pods:
        owner = labels(dict(pod)).get(LWS_NAME, "")
        wanted, name = templates.get(owner), pod["metadata"]["name"]
        if wanted is None:
            continue
        for container, image in _images(pod["spec"]).items():
            if wanted.get(container, image) != image:
                seen = f"container {container} runs {image}, the template has {wanted[container]}"
                fix = "Wait for the update that is under way (playbooks/wait.yml), or restart the group."
                found.append(Finding("DRIFT_IMAGE", "error", f"Pod {name}", seen, fix))
        for entry in (pod.get("status") or {}).get("containerStatuses") or ():
            if entry.get("imageID"):
                ids.setdefault((owner, entry["name"]), {}).setdefault(entry["imageID"], []).append(name)
    for (owner, container), by_id in ids.items():
        if len(by_id) > 1:
            seen = "; ".join(f"{image.rpartition('@')[2][:19]} in {', '.join(names)}" for image, names in by_id.items())
            fix = "A tag moved. Name the image by digest (wide_ep_image_overrides) and run playbooks/upgrade.yml."
            found.append(Finding("DRIFT_IMAGE", "error", f"{owner}, container {container}", seen, fix))
    return found


def _template(workload: Json) -> Json:
    found: Json = workload["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]
    return found


def _images(spec: Json) -> dict[str, str]:
    return {
        entry["name"]: entry["image"]
        for entry in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    }


@dataclasses.dataclass(frozen=True)
class Labeled:
    """An object with the deployment's label, by its metadata."""

    kind: str
    metadata: Json

    @property
    def title(self) -> str:
        return f"{self.kind} {self.metadata['name']}"


def extra_findings(
    found: t.Iterable[Labeled], wanted: t.Collection[str], components: t.Collection[str]
) -> list[Finding]:
    """Objects under our label that nobody asked for: made by hand, or of a component that was taken out."""
    findings = []
    for one in found:
        if one.title in wanted or one.kind in KEPT_KINDS or one.metadata.get("ownerReferences"):
            continue
        if COMPONENT_LABEL in (one.metadata.get("labels") or {}):
            continue
        managers = [entry.get("manager", "") for entry in one.metadata.get("managedFields") or ()]
        component = COMPONENT_OF.get(one.kind)
        if component and component not in components and OURS & set(managers):
            why = f"component {component} is not in wide_ep_components"
            findings.append(_extra(one, why))
        elif not OURS & set(managers):
            findings.append(_extra(one, f"made by {', '.join(dict.fromkeys(managers)) or 'someone else'}"))
    return findings


def _extra(one: Labeled, why: str) -> Finding:
    fix = f"Delete it if no one needs it: kubectl -n {one.metadata.get('namespace', '')} delete {one.kind.lower()} "
    return Finding("DRIFT_EXTRA", "error", one.title, why, f"{fix}{one.metadata['name']}")


def helm_finding(release: str, decision: Json) -> list[Finding]:
    """The judgement of the Helm role's own decision, which is what the next run would act on."""
    if decision.get("action") == "unchanged":
        return []
    fix = "Run playbooks/router.yml to bring the release to the inventory, or take the change over."
    return [Finding("DRIFT_HELM", "error", f"Helm release {release}", str(decision.get("reason", "")), fix)]


def cloud_findings(looks: t.Iterable[Json]) -> list[Finding]:
    """What the next run would do at the provider, and what it would refuse to do."""
    found = []
    for look in looks:
        for action in look.get("actions") or ():
            seen = f"{action['action']}: {', '.join(action.get('fields') or ()) or 'it does not exist'}"
            fix = "Run playbooks/node_pools.yml, which shows its plan and asks, or take the change over."
            found.append(Finding("DRIFT_CLOUD", "error", str(action["object"]), seen, fix))
        for item in look.get("findings") or ():
            if item["severity"] == "error":
                found.append(Finding("DRIFT_CLOUD", "error", item["subject"], item["evidence"], item["fix"]))
    return found


def _shown(value: t.Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _cut(value: str | None) -> str:
    if value is None:
        return "absent"
    text = json.dumps(value) if "\n" in value else value
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
