# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions about the gateway: CRDs, its provider's controller, its objects and their removal.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._platform import (
    PLATFORM_LABEL,
    Decision,
    Version,
    decide_crd,
    parse,
)

Json = t.Mapping[str, t.Any]

GATEWAY_GROUP = "gateway.networking.k8s.io"
DEPLOYMENT_LABEL = "wide-ep.llm-d.ai/deployment"
#: A day. Longer ones have six digits, which a route's timeout cannot hold.
LONGEST_TIMEOUT = 86400
GKE_CLASS_PREFIX = "gke-"
#: Full support of InferencePool v1 came with Istio 1.28.
OLDEST_CONTROLLER: dict[str, Version] = {"istio": (1, 28, 0)}


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the gateway is asked for, as far as it can be wrong.

    ``classes`` are the provider's by exposure; ``gateway_class`` is the one given instead, or empty.
    """

    provider: str
    exposure: str
    gateway_class: str
    classes: t.Mapping[str, str]
    request_timeout: int


def input_findings(asked: Asked) -> list[Finding]:
    """Why the inputs do not fit each other or the provider."""
    given, gke = asked.gateway_class, asked.provider == "gke"
    wanted = asked.classes.get(asked.exposure, "")
    rules = (
        (
            not 0 < asked.request_timeout <= LONGEST_TIMEOUT,
            "GATEWAY_TIMEOUT",
            f"wide_ep_request_timeout is {asked.request_timeout}",
            "a route's timeout is a number of seconds with at most five digits, and 0 is none at all",
            f"Set it between 1 and {LONGEST_TIMEOUT}.",
        ),
        (
            bool(given) and gke and given != wanted,
            "GATEWAY_CLASS",
            f"gateway_class is {given}",
            f"with wide_ep_gateway_provider=gke and gateway_exposure={asked.exposure} it is {wanted}; GKE gives other "
            "classes no InferencePool, or another exposure",
            "Leave gateway_class empty and set gateway_exposure.",
        ),
        (
            bool(given) and not gke and given.startswith(GKE_CLASS_PREFIX),
            "GATEWAY_CLASS",
            f"gateway_class is {given}",
            f"it is GKE's, and wide_ep_gateway_provider is {asked.provider}: the route would carry timeouts, which GKE "
            "refuses (GWCER104), and no health check",
            "Set wide_ep_gateway_provider to gke, or gateway_class to a class of that provider.",
        ),
    )
    return [Finding(code, "error", subject, seen, fix) for hit, code, subject, seen, fix in rules if hit]


def exposure_notice(asked: Asked) -> list[Finding]:
    """What everybody must know who makes the Gateway reachable from outside."""
    if asked.exposure != "external":
        return []
    seen = "it answers everybody who reaches its address: there is neither TLS nor authentication in front of the model"
    fix = "Set gateway_exposure to internal, or put a proxy with TLS and authentication, or a firewall rule, before it."
    return [Finding("GATEWAY_EXPOSED", "warning", "Gateway with gateway_exposure=external", seen, fix)]


@dataclasses.dataclass(frozen=True)
class CrdPlan:
    """``apply`` names the CRDs to apply; ``reasons`` tell what was decided about each group."""

    apply: tuple[str, ...]
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]


def plan_crds(existing: t.Sequence[Json], rows: t.Sequence[Json]) -> CrdPlan:
    """Which CRDs to apply. A group of which someone else installed a part is theirs: bundles are not mixed.

    A row has ``name``, ``bundle``, ``annotation`` (which holds the bundle's version) and whether it is ``required``.
    """
    have = {item["metadata"]["name"]: item for item in existing}
    apply: list[str] = []
    reasons: list[str] = []
    findings: list[Finding] = []
    for group in dict.fromkeys(_group(row["name"]) for row in rows):
        mine = [row for row in rows if _group(row["name"]) == group]
        foreign = [name for name, item in have.items() if _group(name) == group and not _is_platform(item)]
        if foreign:
            lacking = [row for row in mine if row["required"] and row["name"] not in have]
            findings += [_incomplete(row, foreign) for row in lacking]
            mine = [row for row in mine if row["required"] and row["name"] in have]
        for row in mine:
            decision = decide_crd(have.get(row["name"]), _wanted(row), row["annotation"])
            apply += [row["name"]] if decision.action == "apply" else []
            findings += [decision.finding] if decision.finding else []
            reasons.append(decision.reason)
    return CrdPlan(tuple(apply), tuple(reasons), tuple(findings))


def _group(name: str) -> str:
    return name.partition(".")[2]


def _is_platform(item: Json) -> bool:
    return bool((item["metadata"].get("labels") or {}).get(PLATFORM_LABEL) == "true")


def _wanted(row: Json) -> dict[str, t.Any]:
    """What is compared of a CRD that is shipped, without reading its file."""
    return {
        "metadata": {"name": row["name"], "annotations": {row["annotation"]: row["bundle"]}},
        "spec": {"versions": [{"name": "v1", "served": True}]},
    }


def _incomplete(row: Json, foreign: t.Sequence[str]) -> Finding:
    seen = f"it is not there, and someone else installed {', '.join(sorted(foreign))}"
    fix = f"Ask the owner of the cluster for the whole bundle of {_group(row['name'])}, {row['bundle']} or newer."
    return Finding("CRD_TOO_OLD", "error", row["name"], seen, fix)


def provider_findings(crds: t.Sequence[Json], provider: Json) -> list[Finding]:
    """What the cluster itself must bring along; ``provider`` has ``title``, ``crds`` and how to ``enable`` them."""
    have = {item["metadata"]["name"] for item in crds}
    lacking = [query["name"] for query in provider["crds"].values() if query["name"] not in have]
    if not lacking:
        return []
    seen = f"the cluster does not have {', '.join(lacking)}"
    return [Finding("GATEWAY_PROVIDER", "error", f"gateway provider {provider['title']}", seen, provider["enable"])]


@dataclasses.dataclass(frozen=True)
class Controller:
    """The controller that is wanted: by which environment variable it serves InferencePools, and its version."""

    provider: str
    flag: str
    setting: str
    version: str


def decide_controller(release: Json, found: t.Sequence[Json], wanted: Controller) -> Decision:
    """What to do about one Helm release of the provider, given the controllers that run in the cluster.

    Others give their release the same name, so our mark on the pod template tells whose it is.
    """
    foreign = [item for item in found if not _is_marked(item)]
    if foreign:
        return _judge_foreign(foreign[0], wanted)
    have, want = parse(release.get("installed_version", "")), parse(wanted.version)
    if release["action"] == "upgrade" and have and want and have > want:
        return Decision("adopt", f"{release['installed_version']} is newer than {wanted.version} and stays")
    return Decision(release["action"], release["reason"])


def _is_marked(item: Json) -> bool:
    notes = item["spec"]["template"]["metadata"].get("annotations") or {}
    return bool(notes.get(PLATFORM_LABEL) == "true")


def _judge_foreign(item: Json, wanted: Controller) -> Decision:
    where = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
    images = [container["image"] for container in item["spec"]["template"]["spec"]["containers"]]
    number = parse(images[0].partition("@")[0].rpartition(":")[2])
    oldest = OLDEST_CONTROLLER.get(wanted.provider)
    if number and oldest and (1, 0, 0) <= number < oldest:
        seen = f"{images[0]} was installed by someone else; it does not serve InferencePool v1 in full"
        shown = ".".join(map(str, oldest))
        return _refusal(where, seen, f"Ask its owner to upgrade it to {shown} or newer.")
    if _environment(item).get(wanted.flag, "").lower() not in ("true", "1"):
        seen = f"it was installed by someone else and runs without {wanted.flag}=true: routes to InferencePools fail"
        return _refusal(where, seen, f"Ask its owner to set {wanted.setting} in the values of its Helm release.")
    return Decision("adopt", f"{where} was installed by someone else, serves InferencePools and stays as it is")


def _refusal(where: str, seen: str, fix: str) -> Decision:
    return Decision("refuse", seen, Finding("GATEWAY_CONTROLLER", "error", f"Deployment {where}", seen, fix))


def _environment(item: Json) -> dict[str, str]:
    return {
        entry["name"]: str(entry.get("value", ""))
        for container in item["spec"]["template"]["spec"]["containers"]
        for entry in container.get("env") or []
    }


def class_findings(classes: t.Sequence[Json], name: str, provider: str, controller: str) -> list[Finding]:
    """Whether the class exists and is the provider's; ``controller`` is how its controller's name begins."""
    by_name = {item["metadata"]["name"]: item for item in classes}
    shown = ", ".join(sorted(by_name)) or "none"
    if name not in by_name:
        fix = (
            "Run playbooks/gateway.yml with the rights of the platform first, or set gateway_class to a class of "
            f"{provider}."
            if provider != "gke"
            else "Enable the Gateway API of the cluster: gcloud container clusters update NAME --gateway-api=standard."
        )
        seen = f"there is no such class; the cluster has: {shown}"
        return [Finding("GATEWAY_CLASS", "error", f"GatewayClass {name}", seen, fix)]
    served_by = by_name[name]["spec"]["controllerName"]
    if served_by.startswith(controller):
        return []
    seen = f"its controller is {served_by}, not one of {provider} ({controller}...)"
    fix = "Leave gateway_class empty, or set wide_ep_gateway_provider to the provider of that class."
    return [Finding("GATEWAY_CLASS", "error", f"GatewayClass {name}", seen, fix)]


def title(item: Json) -> str:
    namespace = item["metadata"].get("namespace")
    return f"{item['kind']} {namespace + '/' if namespace else ''}{item['metadata']['name']}"


def is_ours(item: Json, release: str) -> bool:
    return bool((item["metadata"].get("labels") or {}).get(DEPLOYMENT_LABEL) == release)


def object_findings(found: t.Sequence[Json], wanted: t.Sequence[Json], release: str, provider: str) -> list[Finding]:
    """Why the wanted objects cannot be applied over those that exist in the namespace."""
    names = {(item["kind"], item["metadata"]["name"]) for item in wanted}
    findings = []
    for item in found:
        if (item["kind"], item["metadata"]["name"]) in names and not is_ours(item, release):
            owner = (item["metadata"].get("labels") or {}).get(DEPLOYMENT_LABEL)
            seen = f"it exists and {'is of deployment ' + owner if owner else 'someone else made it'}"
            fix = "Give the deployment a namespace of its own (wide_ep_namespace), or remove the object."
            findings.append(Finding("GATEWAY_OBJECT_FOREIGN", "error", title(item), seen, fix))
    gateways = {item["metadata"]["name"] for item in wanted if item["kind"] == "Gateway"}
    if provider == "gke":
        findings += [_timed_route(item) for item in found if _has_timeouts(item, gateways)]
    return findings


def _has_timeouts(item: Json, gateways: t.Collection[str]) -> bool:
    spec = item.get("spec") or {}
    attached = any(ref.get("name") in gateways for ref in spec.get("parentRefs") or [])
    return item["kind"] == "HTTPRoute" and attached and any(rule.get("timeouts") for rule in spec.get("rules") or [])


def _timed_route(item: Json) -> Finding:
    seen = "a rule of it has timeouts, which GKE refuses (GWCER104), and then takes over nothing of the route"
    fix = (
        "Remove the field; on GKE the timeout is that of the GCPBackendPolicy: "
        f"kubectl patch httproute {item['metadata']['name']} -n {item['metadata'].get('namespace', '')} --type=json "
        """-p '[{"op": "remove", "path": "/spec/rules/0/timeouts"}]'"""
    )
    return Finding("GATEWAY_TIMEOUT", "error", title(item), seen, fix)


def unwanted(found: t.Sequence[Json], wanted: t.Sequence[Json], release: str) -> list[dict[str, t.Any]]:
    """Our objects that are not wanted any more, as what names them; routes and policies before the Gateway.

    A Gateway of another class is not wanted either: the controller of its old class would keep what it made for it.
    """
    keep = {(item["kind"], item["metadata"]["name"]): item for item in wanted}
    gone = []
    for item in found:
        new = keep.get((item["kind"], item["metadata"]["name"]))
        if is_ours(item, release) and (new is None or _class(new) != _class(item)):
            gone.append(item)
    return [identity(item) for item in sorted(gone, key=lambda item: (item["kind"] == "Gateway", item["kind"]))]


def _class(item: Json) -> str:
    return str((item.get("spec") or {}).get("gatewayClassName", "")) if item["kind"] == "Gateway" else ""


def identity(item: Json) -> dict[str, t.Any]:
    names = ("name", "namespace")
    metadata = {key: item["metadata"][key] for key in names if item["metadata"].get(key)}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata}


def crd_queries(crds: t.Sequence[Json]) -> dict[str, dict[str, str]]:
    """By CRD, what asks for all objects of its kind."""
    found = {}
    for item in crds:
        spec = item["spec"]
        served = [version["name"] for version in spec["versions"] if version.get("served")]
        if served:
            found[item["metadata"]["name"]] = {
                "api_version": f"{spec['group']}/{served[0]}",
                "kind": spec["names"]["kind"],
            }
    return found


def removal_findings(found: t.Mapping[str, Json], ours: t.Collection[str]) -> list[Finding]:
    """What still uses the kinds whose CRDs are ours, or a GatewayClass of our controller.

    ``found`` holds by CRD the objects of its kind in all namespaces; ``ours`` names the CRDs that we installed. The
    classes are the controllers' own and go with them.
    """
    findings = []
    for crd in sorted(found):
        items = [] if crd == f"gatewayclasses.{GATEWAY_GROUP}" else found[crd]["resources"]
        if crd not in ours or not items:
            continue
        names = [title(item) for item in items]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        fix = (
            "Remove them first (playbooks/cleanup.yml for a deployment of ours), or leave the platform parts installed."
        )
        findings.append(Finding("GATEWAY_IN_USE", "error", f"CRD {crd}", f"in use by {shown}", fix))
    return findings


@dataclasses.dataclass(frozen=True)
class Removal:
    """What of the platform is ours: providers, namespaces (by provider) and CRDs."""

    providers: tuple[str, ...]
    namespaces: tuple[str, ...]
    crds: tuple[Json, ...]


def plan_removal(found: t.Mapping[str, Json], providers: t.Mapping[str, Json]) -> Removal:
    """Judge what was found: ``<provider>_{controllers,namespace,crds}`` for each provider, and CRDs of ours by label.

    A provider is ours where its controller carries our mark or, once the controller is gone, where its namespace does.
    """
    ours, namespaces, crds = [], [], []
    for name, provider in providers.items():
        if "namespace" not in provider:
            continue
        controllers = found[f"{name}_controllers"]["resources"]
        labeled = any(_is_platform(item) for item in found[f"{name}_namespace"]["resources"])
        if any(map(_is_marked, controllers)) or (labeled and not controllers):
            ours.append(name)
            namespaces += [name] if labeled else []
            crds += [item for item in found[f"{name}_crds"]["resources"] if _helm_release(item) == _base(provider)]
    shipped = [item for name, query in found.items() if not name.endswith("_crds") for item in query["resources"]]
    crds += [item for item in shipped if item["kind"] == "CustomResourceDefinition" and _is_platform(item)]
    return Removal(tuple(ours), tuple(namespaces), tuple(crds))


def _base(provider: Json) -> tuple[str, str]:
    return provider["namespace"], provider["base"]["release"]


def _helm_release(item: Json) -> tuple[str, str]:
    notes = item["metadata"].get("annotations") or {}
    return notes.get("meta.helm.sh/release-namespace", ""), notes.get("meta.helm.sh/release-name", "")


def leftovers(found: t.Mapping[str, Json], provider: str, controller: str) -> list[dict[str, t.Any]]:
    """Classes of the provider's controller and, of Istio, its certificate in every namespace."""
    classes = [item for item in found["classes"]["resources"] if item["spec"]["controllerName"].startswith(controller)]
    certificates = found["certificates"]["resources"] if provider == "istio" else []
    return [identity(item) for item in (*classes, *certificates)]
