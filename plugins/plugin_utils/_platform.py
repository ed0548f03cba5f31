# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions about shared parts of a cluster: LWS and CRDs. Private to the collection; it may change at any time."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

Version = tuple[int, int, int]
Json = t.Mapping[str, t.Any]

PLATFORM_LABEL = "wide-ep.llm-d.ai/platform"
#: The last LWS chart with its CRD in a template: upgrading from it, or uninstalling it, deletes every set (LWS #880).
LAST_CHART_OWNING_CRD: Version = (0, 7, 0)


@dataclasses.dataclass(frozen=True)
class Decision:
    action: str
    reason: str
    finding: Finding | None = None

    def as_dict(self) -> dict[str, t.Any]:
        text = self.finding.text() if self.finding else ""
        return {"action": self.action, "reason": self.reason, "text": text}


def parse(text: str) -> Version | None:
    """The first three numbers in a tag, chart or label."""
    match = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def lws_version(deployment: Json) -> str:
    """The version of a running LWS controller: its image's tag, else the label that its chart sets."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    tags = [container["image"].partition("@")[0].rpartition(":")[2] for container in containers]
    label = (deployment["metadata"].get("labels") or {}).get("app.kubernetes.io/version", "")
    return next((text for text in (*tags, label) if parse(text)), "")


def chart_version(deployment: Json) -> str:
    """The version of the chart that made a controller, by the label that Helm charts set; else the controller's."""
    chart = (deployment["metadata"].get("labels") or {}).get("helm.sh/chart", "")
    return str(chart).removeprefix("lws-") if parse(chart) else lws_version(deployment)


def lws_chart(deployments: t.Sequence[Json], *, namespace: str, release_name: str) -> dict[str, t.Any]:
    """The version of our release's chart (empty: not known), and whether that chart owns the CRD."""
    own = [item for item in deployments if _of_release(item, namespace, release_name)]
    version = chart_version(own[0]) if own else ""
    numbers = parse(version)
    return {"version": version, "owns_crd": numbers is not None and numbers <= LAST_CHART_OWNING_CRD}


def lws_crds_due(
    deployments: t.Sequence[Json],
    crds: t.Sequence[Json],
    *,
    namespace: str,
    release_name: str,
    version: str,
    upgrade: bool,
) -> str:
    """Why the CRDs have to be applied before Helm touches the release; empty if they need not be."""
    have = lws_chart(deployments, namespace=namespace, release_name=release_name)["version"]
    if have:
        installed, wanted = parse(have), parse(version)
        older = installed is not None and wanted is not None and installed < wanted
        if older and upgrade:
            return f"LWS {have} becomes {version}"
        # What a direct upgrade from a chart that owned it leaves behind.
        return f"the CRD of LWS {have} is gone" if installed == wanted and not crds else ""
    if crds and not deployments and _helm_owner(crds[0]) in (None, (namespace, release_name)):
        return "the CRDs of an earlier installation are there, and Helm does not update CRDs"
    return ""


def crd_difference(found: t.Sequence[Json], wanted: t.Sequence[Json]) -> str:
    """Where the served CRDs lack something of the wanted ones; empty if nowhere."""
    specs = {item["metadata"]["name"]: item.get("spec") for item in found}
    for item in wanted:
        name = item["metadata"]["name"]
        if name not in specs:
            return f"{name} is not there"
        path = _lacking(specs[name], item["spec"], "spec")
        if path:
            return f"{name} differs at {path}"
    return ""


def _lacking(found: t.Any, wanted: t.Any, path: str) -> str:
    """Where ``found`` lacks a part of ``wanted``. What only ``found`` has are the API server's defaults."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return path
        return next(
            (at for key, value in wanted.items() if (at := _lacking(found.get(key), value, f"{path}.{key}"))), ""
        )
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            return path
        parts = [(have, want, f"{path}[{index}]") for index, (have, want) in enumerate(zip(found, wanted, strict=True))]
        return next((at for part in parts if (at := _lacking(*part))), "")
    return "" if found == wanted else path


def decide_lws(
    release: Json,
    deployments: t.Sequence[Json],
    crds: t.Sequence[Json],
    *,
    namespace: str,
    release_name: str,
    version: str,
    minimum: str,
    upgrade: bool = False,
    crds_applied: bool = False,
) -> Decision:
    """What to do about LWS.

    ``release`` is the decision about our Helm release, ``deployments`` the LWS controllers in the cluster, ``crds`` its
    CRD. The action is ``adopt`` (leave alone what someone else installed), ``refuse``, or the release's own action.
    """
    if release["action"] == "install":
        foreign = [item for item in deployments if not _of_release(item, namespace, release_name)]
        if foreign:
            return _judge_foreign(foreign[0], minimum)
        if crds and not deployments and _helm_owner(crds[0]) not in (None, (namespace, release_name)):
            return _refuse_orphan_crd(crds[0])
    if release["action"] in ("upgrade", "recover") and release["installed_version"]:
        return _judge_own(release, version, upgrade=upgrade, crds_applied=crds_applied)
    return Decision(release["action"], release["reason"])


def _judge_own(release: Json, version: str, *, upgrade: bool, crds_applied: bool) -> Decision:
    have = release["installed_version"]
    installed, wanted = parse(have), parse(version)
    if installed is None or wanted is None or installed == wanted:
        return Decision(release["action"], release["reason"])
    if installed > wanted:
        return Decision("adopt", f"LWS {have} is newer than {version} and stays")
    if upgrade and crds_applied:
        return Decision(release["action"], f"{release['reason']}; the CRDs of {version} are in place and kept")
    if installed <= LAST_CHART_OWNING_CRD:
        seen = f"chart {have} holds the CRD in a template; upgrading it as it is deletes every LeaderWorkerSet"
    else:
        seen = f"chart {have} is installed; Helm does not update CRDs, and old ones break the webhook"
    fix = (
        f"Run the same command with -e lws_upgrade=true: it applies the CRDs of LWS {version}, marked to be kept, and "
        "upgrades the release; sets and pods stay. By hand: kubectl annotate crd "
        "leaderworkersets.leaderworkerset.x-k8s.io helm.sh/resource-policy=keep, kubectl apply --server-side "
        f"--force-conflicts the CRDs of {version}, then helm upgrade. Never uninstall a chart up to 0.7.0: then Helm "
        "does not look at that annotation."
    )
    if upgrade:
        seen = f"the CRDs of LWS {version} were not applied, since no controller of the release says its version"
    finding = Finding("LWS_UPGRADE_UNSAFE", "error", f"LWS {have} to {version}", seen, fix)
    return Decision("refuse", seen, finding)


def _judge_foreign(deployment: Json, minimum: str) -> Decision:
    found = lws_version(deployment)
    where = f"{deployment['metadata']['namespace']}/{deployment['metadata']['name']}"
    numbers, least = parse(found), parse(minimum)
    if numbers and least and numbers >= least:
        return Decision("adopt", f"LWS {found} was installed by someone else ({where}) and stays as it is")
    seen = f"Deployment {where}, installed by someone else, runs LWS {found or 'of unknown version'}"
    fix = f"Ask its owner to upgrade it to {minimum} or newer."
    return Decision("refuse", seen, Finding("LWS_TOO_OLD", "error", "LWS controller", seen, fix))


def _refuse_orphan_crd(crd: Json) -> Decision:
    owner = "/".join(_helm_owner(crd) or ("?", "?"))
    seen = f"CRD {crd['metadata']['name']} belongs to Helm release {owner}, but no LWS controller runs"
    fix = "Repair or remove that release first; removing it deletes every LeaderWorkerSet."
    return Decision("refuse", seen, Finding("LWS_UPGRADE_UNSAFE", "error", "LWS CRD", seen, fix))


def _helm_owner(item: Json) -> tuple[str, str] | None:
    notes = item["metadata"].get("annotations") or {}
    name = notes.get("meta.helm.sh/release-name")
    return (notes.get("meta.helm.sh/release-namespace", ""), name) if name else None


def _of_release(item: Json, namespace: str, release_name: str) -> bool:
    return _helm_owner(item) == (namespace, release_name)


def decide_crd(existing: Json | None, wanted: Json, annotation: str) -> Decision:
    """Install a CRD where it is absent, update our own, never downgrade, leave alone what someone else installed."""
    name = wanted["metadata"]["name"]
    if existing is None:
        return Decision("apply", f"{name} is not installed")
    served = {version["name"] for version in existing["spec"]["versions"] if version.get("served")}
    missing = {version["name"] for version in wanted["spec"]["versions"] if version.get("served")} - served
    ours = (existing["metadata"].get("labels") or {}).get(PLATFORM_LABEL) == "true"
    have, want = (_bundle(item, annotation) for item in (existing, wanted))
    if ours and (parse(have) or (0, 0, 0)) < (parse(want) or (0, 0, 0)):
        return Decision("apply", f"{name} is ours and of {have or 'an unknown version'}, {want} is wanted")
    if missing:
        owner = "ours" if ours else "installed by someone else"
        seen = f"{name} ({have or 'no version'}), {owner}, does not serve {', '.join(sorted(missing))}"
        fix = f"Ask the owner of the cluster to install {want} or newer."
        return Decision("refuse", seen, Finding("CRD_TOO_OLD", "error", name, seen, fix))
    return Decision("keep", f"{name} {have or 'of unknown version'} is installed")


def _bundle(item: Json, annotation: str) -> str:
    return str((item["metadata"].get("annotations") or {}).get(annotation, ""))
