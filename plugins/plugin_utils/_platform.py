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


def decide_lws(
    release: Json,
    deployments: t.Sequence[Json],
    crds: t.Sequence[Json],
    *,
    namespace: str,
    release_name: str,
    version: str,
    minimum: str,
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
        return _judge_own(release, version)
    return Decision(release["action"], release["reason"])


def _judge_own(release: Json, version: str) -> Decision:
    have = release["installed_version"]
    installed, wanted = parse(have), parse(version)
    if installed is None or wanted is None or installed == wanted:
        return Decision(release["action"], release["reason"])
    if installed > wanted:
        return Decision("adopt", f"LWS {have} is newer than {version} and stays")
    if installed <= LAST_CHART_OWNING_CRD:
        seen = f"chart {have} holds the CRD in a template; upgrading it deletes every LeaderWorkerSet"
        fix = (
            "kubectl annotate crd leaderworkersets.leaderworkerset.x-k8s.io helm.sh/resource-policy=keep, upgrade LWS "
            f"to {version} or newer as its release notes say, then run the same command again."
        )
    else:
        seen = f"chart {have} is installed; Helm does not update CRDs, and old ones break the webhook"
        fix = f"Apply the CRDs of LWS {version} server-side, upgrade the release, then run the same command again."
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
