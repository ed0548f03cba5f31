# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters on Kueue and its queue objects."""

from __future__ import annotations

import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import report
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _kueue

Json = t.Mapping[str, t.Any]


def kueue_quotas(objects: t.Sequence[Json], given: Json | None = None) -> dict[str, str]:
    """The quota of every resource that the LeaderWorkerSets among the objects ask for."""
    return _kueue.quotas(objects, given or {})


def kueue_objects(
    quotas: t.Mapping[str, str], names: t.Mapping[str, str], shape: Json, namespace: str, labels: Json
) -> list[dict[str, t.Any]]:
    """Topology, ResourceFlavor and ClusterQueue."""
    return _kueue.platform_objects(_kueue.Names(**names), shape, quotas, namespace, labels)


def kueue_object_findings(wanted: t.Sequence[Json], existing: t.Sequence[Json]) -> str:
    """Why the wanted objects cannot be applied over the existing ones; empty where they can."""
    return report(_kueue.object_findings(existing, wanted))


def kueue_queue_findings(name: str, levels: t.Sequence[str], level: str) -> str:
    """What is wrong with the queue's inputs; empty where nothing is."""
    return report(_kueue.queue_findings(name, levels, level))


def kueue_decision(
    release: Json,
    deployments: t.Sequence[Json],
    crds: t.Sequence[Json],
    configs: t.Sequence[Json],
    *,
    objects: t.Sequence[Json],
    namespace: str,
    release_name: str,
    version: str,
) -> dict[str, t.Any]:
    """What to do about Kueue, given the decision about our Helm release and what runs in the cluster."""
    sets = _kueue.sets(objects)
    wanted = _kueue.Wanted(
        namespace=namespace,
        release=release_name,
        version=version,
        names=tuple(str(item["metadata"]["name"]) for item in sets),
        groups=max((int(item["spec"].get("replicas", 1)) for item in sets), default=1),
    )
    return _kueue.decide(release, deployments, crds, configs, wanted).as_dict()


def kueue_is_ours(deployments: t.Sequence[Json], crds: t.Sequence[Json], *, namespace: str, release_name: str) -> bool:
    """Whether we installed the Kueue of the cluster."""
    return _kueue.is_ours(deployments, crds, namespace, release_name)


def by_kind(found: t.Mapping[str, Json]) -> dict[str, list[Json]]:
    """The answers of object_info as objects by kind."""
    return {kind: list(answer["resources"]) for kind, answer in found.items()}


def kueue_removal_findings(found: t.Mapping[str, Json], names: t.Mapping[str, str], whole: bool) -> str:
    """Why the queue objects, or Kueue as a whole, cannot be removed; empty where they can."""
    return report(_kueue.removal_findings(by_kind(found), _kueue.Names(**names), whole=whole))


def kueue_unused(
    found: t.Mapping[str, Json], names: t.Mapping[str, str], labels: t.Mapping[str, str]
) -> list[dict[str, t.Any]]:
    """Our queue objects that nothing else refers to, in the order in which they can be deleted."""
    return _kueue.unused(by_kind(found), _kueue.Names(**names), labels)


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "kueue_decision": kueue_decision,
            "kueue_is_ours": kueue_is_ours,
            "kueue_object_findings": kueue_object_findings,
            "kueue_objects": kueue_objects,
            "kueue_queue_findings": kueue_queue_findings,
            "kueue_quotas": kueue_quotas,
            "kueue_removal_findings": kueue_removal_findings,
            "kueue_unused": kueue_unused,
        }
