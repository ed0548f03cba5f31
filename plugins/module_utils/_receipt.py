# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a deployment exists in a cluster, and what a removal did about it.

Private to the collection: it may change at any time, do not import it from elsewhere.

Ours is the union of: objects with our label, objects of our Helm release, and what controllers made for either of them.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

DEPLOYMENT_LABEL = "wide-ep.llm-d.ai/deployment"
PLATFORM_LABEL = "wide-ep.llm-d.ai/platform"
HELM_NAME = "meta.helm.sh/release-name"
HELM_NAMESPACE = "meta.helm.sh/release-namespace"

#: Records of what happened, readings that no one creates, and the shadows of Services, which name no owner.
SKIPPED_RESOURCES = frozenset({"events", "componentstatuses", "endpoints"})
SKIPPED_GROUPS = frozenset({"metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io"})
#: CRDs that this guide brings, in whatever way they came: nobody labels those of a chart's crds folder.
GUIDE_GROUPS = (
    "leaderworkerset.x-k8s.io",
    "disaggregatedset.x-k8s.io",
    "inference.networking.k8s.io",
    "inference.networking.x-k8s.io",
    "llm-d.ai",
)
SHORT_NAMES = {"customresourcedefinitions.apiextensions.k8s.io": "crd", "namespaces": "namespace"}
#: What Kubernetes itself puts into every namespace, and istiod wherever one runs, ours or another's.
BORN_WITH_NAMESPACE = frozenset(
    {
        ("ConfigMap", "kube-root-ca.crt"),
        ("ServiceAccount", "default"),
        ("ConfigMap", "istio-ca-root-cert"),
        ("ConfigMap", "istio-ca-crl"),
    }
)

JsonObject = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A resource that the API server can list."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def prefix(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str | None = None) -> str:
        where = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.prefix}{where}/{self.plural}"


@dataclasses.dataclass(frozen=True)
class Thing:
    """One object, by its metadata alone."""

    kind: str
    plural: str
    namespace: str
    name: str
    uid: str
    labels: t.Mapping[str, str]
    annotations: t.Mapping[str, str]
    owners: tuple[str, ...]
    finalizers: tuple[str, ...]
    deleting: str

    @property
    def title(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def helm_release(self) -> tuple[str, str] | None:
        """(namespace, name) of the Helm release that it belongs to or records."""
        if self.kind == "Secret" and self.labels.get("owner") == "helm":
            return self.namespace, self.labels.get("name", "")
        name = self.annotations.get(HELM_NAME)
        return (self.annotations.get(HELM_NAMESPACE, ""), name) if name else None

    def as_dict(self) -> JsonObject:
        return {"kind": self.kind, "namespace": self.namespace, "name": self.name, "uid": self.uid}


@dataclasses.dataclass(frozen=True)
class Deployment:
    """Whose objects are looked for. ``known`` are names of objects in its namespace that go with it without a label."""

    release: str
    namespace: str
    known: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Inventory:
    ours: tuple[Thing, ...]
    platform: tuple[Thing, ...]
    foreign: tuple[Thing, ...]


@dataclasses.dataclass(frozen=True)
class Kept:
    what: str
    reason: str
    command: str


@dataclasses.dataclass(frozen=True)
class Receipt:
    removed: tuple[JsonObject, ...]
    kept: tuple[Kept, ...]
    left_over: tuple[Thing, ...]


def parse_discovery(document: t.Mapping[str, t.Any]) -> list[Kind]:
    """Listable kinds of an APIGroupDiscoveryList, each in the version that the server prefers."""
    found: dict[tuple[str, str], Kind] = {}
    for group in document.get("items") or ():
        name = (group.get("metadata") or {}).get("name", "")
        if name in SKIPPED_GROUPS:
            continue
        for version in group.get("versions") or ():
            for kind in _kinds(name, version):
                found.setdefault((name, kind.plural), kind)
    return list(found.values())


def _kinds(group: str, version: t.Mapping[str, t.Any]) -> t.Iterator[Kind]:
    for resource in version.get("resources") or ():
        plural = resource.get("resource", "")
        if "list" not in (resource.get("verbs") or ()) or plural in SKIPPED_RESOURCES:
            continue
        kind = (resource.get("responseKind") or {}).get("kind") or plural
        yield Kind(group, version["version"], kind, plural, resource.get("scope") == "Namespaced")


def thing(kind: Kind, metadata: t.Mapping[str, t.Any]) -> Thing:
    return Thing(
        kind=kind.kind,
        plural=f"{kind.plural}.{kind.group}" if kind.group else kind.plural,
        namespace=metadata.get("namespace") or "",
        name=metadata["name"],
        uid=metadata.get("uid") or "",
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        owners=tuple(owner.get("uid", "") for owner in metadata.get("ownerReferences") or ()),
        finalizers=tuple(metadata.get("finalizers") or ()),
        deleting=metadata.get("deletionTimestamp") or "",
    )


def sort_out(things: t.Sequence[Thing], deployment: Deployment, known_uids: t.Collection[str] = ()) -> Inventory:
    """Whose each object is. ``known_uids`` were ours earlier: what they owned stays ours when they are gone."""
    shared = {one.name for one in things if one.kind == "Namespace" and one.labels.get(PLATFORM_LABEL) == "true"}
    parts: dict[str, list[Thing]] = {"deployment": [], "platform": []}
    rest: list[Thing] = []
    for one in things:
        if _is_ours(one, deployment, known_uids):
            parts["deployment"].append(one)
        elif _is_platform(one, shared):
            parts["platform"].append(one)
        else:
            rest.append(one)
    rest = _adopt(parts["deployment"], rest, known_uids)
    rest = _adopt(parts["platform"], rest, ())
    return Inventory(*(tuple(sorted(part, key=_order)) for part in (parts["deployment"], parts["platform"], rest)))


def _order(one: Thing) -> tuple[str, str, str]:
    return one.namespace, one.kind, one.name


def _is_ours(one: Thing, deployment: Deployment, known_uids: t.Collection[str]) -> bool:
    return (
        one.labels.get(DEPLOYMENT_LABEL) == deployment.release
        or one.uid in known_uids
        or one.helm_release == (deployment.namespace, deployment.release)
    )


def _is_platform(one: Thing, shared_namespaces: t.Collection[str]) -> bool:
    """Labeled, a CRD of the guide, or of a Helm release in a namespace that we made for shared parts."""
    if one.kind == "CustomResourceDefinition" and one.name.partition(".")[2] in GUIDE_GROUPS:
        return True
    release = one.helm_release
    return one.labels.get(PLATFORM_LABEL) == "true" or (release is not None and release[0] in shared_namespaces)


def _adopt(family: list[Thing], rest: list[Thing], known_uids: t.Collection[str]) -> list[Thing]:
    """Move descendants of the family into it, generation by generation; return the others."""
    uids = {one.uid for one in family} | set(known_uids)
    while children := [one for one in rest if uids.intersection(one.owners)]:
        family += children
        uids |= {one.uid for one in children}
        rest = [one for one in rest if one.uid not in uids]
    return rest


def write_receipt(before: t.Iterable[JsonObject], now: Inventory, deployment: Deployment) -> Receipt:
    """Before minus now is removed; of what is still there, some is kept on purpose and the rest is left over."""
    there = {one.uid for one in now.ours}
    removed = tuple(one for one in before if one["uid"] not in there)
    tenants = tuple(one for one in now.foreign if _is_tenant(one, deployment))
    kept = [*_kept_platform(now.platform)]
    left_over = []
    for one in now.ours:
        if one.kind == "Namespace" and one.name == deployment.namespace and tenants and not one.deleting:
            names = ", ".join(f"{tenant.kind} {tenant.name}" for tenant in tenants[:5])
            more = f" and {len(tenants) - 5} more" if len(tenants) > 5 else ""
            reason = f"it holds what is not ours: {names}{more}"
            kept.append(Kept(one.title, reason, f"kubectl delete namespace {one.name}"))
        else:
            left_over.append(one)
    return Receipt(removed, tuple(kept), tuple(left_over))


def _is_tenant(one: Thing, deployment: Deployment) -> bool:
    """Somebody put it into our namespace: no controller made it, and it is not there by birth."""
    return (
        one.namespace == deployment.namespace
        and not one.owners
        and not one.deleting
        and (one.kind, one.name) not in BORN_WITH_NAMESPACE
        and one.name not in deployment.known
    )


def _kept_platform(things: t.Iterable[Thing]) -> t.Iterator[Kept]:
    """Platform parts: one line per Helm release, and one per object outside of any."""
    releases: set[tuple[str, str]] = set()
    for one in things:
        release = one.helm_release
        if release is not None:
            if release not in releases:
                releases.add(release)
                yield Kept(
                    f"Helm release {'/'.join(release)}",
                    "other deployments may use it",
                    f"helm uninstall {release[1]} --namespace {release[0]}",
                )
        elif not one.owners:
            yield Kept(one.title, _reason(one), f"kubectl delete {_kubectl(one)}")


def _reason(one: Thing) -> str:
    if one.kind == "CustomResourceDefinition":
        return "others may use it; its removal deletes every object of the kind, in every namespace"
    return "other deployments may use it"


def _kubectl(one: Thing) -> str:
    where = f" --namespace {one.namespace}" if one.namespace else ""
    return f"{SHORT_NAMES.get(one.plural, one.plural)} {one.name}{where}"


def findings(receipt: Receipt, namespace_messages: t.Sequence[str] = ()) -> list[Finding]:
    """One finding per object that is left over; what holds it is named, nothing is stripped."""
    return [Finding("LEFT_OVER", "error", one.title, *_left_over(one, namespace_messages)) for one in receipt.left_over]


def _left_over(one: Thing, namespace_messages: t.Sequence[str]) -> tuple[str, str]:
    seen = f"it is being deleted since {one.deleting}" if one.deleting else "it still exists"
    if one.finalizers:
        seen += f"; it waits for the finalizers {', '.join(one.finalizers)}"
    if one.kind == "Namespace" and namespace_messages:
        seen += "; " + "; ".join(namespace_messages)
    if one.deleting and one.finalizers:
        return seen, (
            "Find the controller that owns the finalizer and let it finish. Only if it is gone for good: "
            f'kubectl patch {_kubectl(one)} --type merge --patch \'{{"metadata":{{"finalizers":null}}}}\''
        )
    if one.deleting:
        return seen, "Run playbooks/cleanup.yml again once what it waits for is gone."
    return seen, f"kubectl delete {_kubectl(one)}"


def by_kind(things: t.Iterable[JsonObject], names: int = 4) -> list[list[t.Any]]:
    """Rows of kind, count and names, for a table that stays short."""
    groups: dict[str, list[str]] = collections.defaultdict(list)
    for one in things:
        groups[one["kind"]].append(one["name"])
    return [
        [kind, len(found), ", ".join(sorted(found)[:names]) + (", ..." if len(found) > names else "")]
        for kind, found in sorted(groups.items())
    ]
