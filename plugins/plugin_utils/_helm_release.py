# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about a Helm release. Private to the collection; it may change at any time."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pathlib
import re
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

Action = t.Literal["install", "upgrade", "unchanged", "recover", "refuse"]

#: States that Helm 3 never leaves by itself after its process was killed, and the one that kubernetes.core < 6.4.0
#: reports as unchanged when the values are equal (kubernetes.core #319).
BROKEN = frozenset({"failed", "pending-install", "pending-upgrade", "pending-rollback", "uninstalling", "unknown"})
#: A release that was uninstalled with its history kept; `helm upgrade --install` replaces it.
GONE = frozenset({"uninstalled"})
CHART = re.compile(r"(?P<name>.+?)-(?P<version>v?\d+\.\d+\.\d+.*)")

OLDEST_HELM = (3, 17, 0)
#: kubernetes.core from this version -> the first Helm that does not fit. 6.4.0 starts Helm 4 but still hands it options
#: of Helm 3; older ones list releases with an option that Helm 4 no longer has.
PAIRS = (
    ((6, 5, 0), (5, 0, 0), "below 5"),
    ((0, 0, 0), (4, 0, 0), "below 4, or install kubernetes.core 6.5.0 or newer"),
)


@dataclasses.dataclass(frozen=True)
class Wanted:
    release: str
    namespace: str
    chart: str
    version: str
    values: t.Mapping[str, t.Any]
    #: Charts of ours that the release may have been made from before, for example in another router mode.
    own_charts: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Decision:
    action: Action
    reason: str
    revision: int = 0
    installed_version: str = ""
    finding: Finding | None = None

    def as_dict(self) -> dict[str, t.Any]:
        text = self.finding.text() if self.finding else ""
        shown = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "finding"}
        return {**shown, "text": text}


def decide(status: t.Mapping[str, t.Any] | None, wanted: Wanted) -> Decision:
    """Compare what Helm reports (``helm_info``'s ``status``) with what is wanted."""
    if not status or status["status"] in GONE:
        return Decision("install", "it is not installed")
    chart, version = split_chart(str(status["chart"]))
    revision = int(status["revision"])
    if chart not in {wanted.chart, *wanted.own_charts}:
        return Decision("refuse", f"it is a release of chart {chart}", revision, version, _foreign(status, wanted))
    if status["status"] in BROKEN:
        return Decision("recover", f"revision {revision} is {status['status']}", revision, version)
    if (chart, plain(version)) != (wanted.chart, plain(wanted.version)):
        reason = f"{chart} {version} is installed, {wanted.chart} {wanted.version} is wanted"
        return Decision("upgrade", reason, revision, version)
    changed = changed_paths(release_values(status), wanted.values)
    if changed:
        return Decision("upgrade", f"values differ: {', '.join(changed)}", revision, version)
    return Decision("unchanged", f"revision {revision} is deployed with these values", revision, version)


def split_chart(text: str) -> tuple[str, str]:
    """Name and version of what Helm prints as one word; a chart name may hold dashes and digits."""
    match = CHART.fullmatch(text)
    return (match["name"], match["version"]) if match else (text, "")


def plain(version: str) -> str:
    return version.removeprefix("v")


def release_values(status: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    """The user's values; kubernetes.core 8.0.0 drops the older of both names."""
    return t.cast("t.Mapping[str, t.Any]", status.get("release_values", status.get("values")) or {})


def changed_paths(before: t.Any, after: t.Any, path: str = "", limit: int = 8) -> list[str]:
    """Dotted paths of the values that differ, at most ``limit`` of them."""
    if not (isinstance(before, t.Mapping) and isinstance(after, t.Mapping)):
        return [] if before == after else [path or "."]
    found: list[str] = []
    for key in sorted({*before, *after}, key=str):
        inner = f"{path}.{key}" if path else str(key)
        if key not in before or key not in after:
            found.append(inner)
        else:
            found += changed_paths(before[key], after[key], inner, limit)
    return found if len(found) <= limit else [*found[:limit], f"and {len(found) - limit} more"]


def _foreign(status: t.Mapping[str, t.Any], wanted: Wanted) -> Finding:
    return Finding(
        "HELM_RELEASE_FOREIGN",
        "error",
        f"Helm release {wanted.release} in namespace {wanted.namespace}",
        f"it exists and is made from chart {status['chart']} ({status['status']}, revision {status['revision']}), "
        f"not from {wanted.chart}",
        "Choose another wide_ep_release or wide_ep_namespace, or uninstall that release if no one needs it.",
    )


def pair_problem(helm: str, collection: str) -> Finding | None:
    """Whether this Helm and this kubernetes.core work together."""
    ceiling, words = next((top, text) for since, top, text in PAIRS if _numbers(collection) >= since)
    if OLDEST_HELM <= _numbers(helm) < ceiling:
        return None
    seen = f"helm {helm or 'of unknown version'} with kubernetes.core {collection or 'of unknown version'}"
    fix = f"This pair does not work. Use Helm 3.17 or newer, {words}."
    return Finding("HELM_VERSION", "error", "wide_ep_helm_binary", seen, fix)


def _numbers(version: str) -> tuple[int, int, int]:
    """`helm version --short` prints v3.22.0+g1234567; own builds may lack the last number."""
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else (0, 0, 0)


def collection_version(name: str) -> str:
    """The version of an installed collection, from the file that its build wrote; empty where there is none."""
    try:
        package = importlib.import_module(f"ansible_collections.{name}")
    except ImportError:
        return ""
    for folder in package.__path__:
        manifest = pathlib.Path(folder) / "MANIFEST.json"
        if manifest.is_file():
            return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    return ""
