# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role gateway."""

from __future__ import annotations

import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import report
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _gateway

Json = t.Mapping[str, t.Any]


def _asked(provider: Json, name: str, exposure: str, gateway_class: str, request_timeout: int) -> _gateway.Asked:
    return _gateway.Asked(
        provider=name,
        exposure=exposure,
        gateway_class=gateway_class,
        classes=provider["classes"],
        request_timeout=int(request_timeout),
    )


def gateway_input_findings(
    provider: Json, name: str, *, exposure: str, gateway_class: str, request_timeout: int
) -> str:
    """Why the inputs do not fit the provider; empty where they do."""
    return report(_gateway.input_findings(_asked(provider, name, exposure, gateway_class, request_timeout)))


def gateway_exposure_notice(provider: Json, name: str, *, exposure: str) -> str:
    """What to know about a Gateway that is reachable from outside; empty where it is not."""
    return report(_gateway.exposure_notice(_asked(provider, name, exposure, "", 1)))


def gateway_crd_plan(existing: t.Sequence[Json], rows: t.Sequence[Json]) -> dict[str, t.Any]:
    """Which CRDs to apply, given those of the cluster."""
    plan = _gateway.plan_crds(existing, rows)
    wait = [
        {"api_version": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "name": n} for n in plan.apply
    ]
    return {"apply": list(plan.apply), "wait": wait, "reasons": list(plan.reasons), "text": report(plan.findings)}


def gateway_provider_findings(crds: t.Sequence[Json], provider: Json) -> str:
    """What the cluster lacks that only its owner can give it; empty where nothing is."""
    return report(_gateway.provider_findings(crds, provider))


def gateway_controller_decision(
    release: Json, controllers: t.Sequence[Json], *, provider: str, flag: str, setting: str, version: str
) -> dict[str, t.Any]:
    """What to do about one Helm release of the provider, given the controllers in the cluster."""
    wanted = _gateway.Controller(provider=provider, flag=flag, setting=setting, version=version)
    return _gateway.decide_controller(release, controllers, wanted).as_dict()


def gateway_class_findings(classes: t.Sequence[Json], name: str, *, provider: str, controller: str) -> str:
    """Why the class cannot be used; empty where it can."""
    return report(_gateway.class_findings(classes, name, provider, controller))


def gateway_object_findings(found: t.Sequence[Json], wanted: t.Sequence[Json], *, release: str, provider: str) -> str:
    """Why the wanted objects cannot be applied over the existing ones; empty where they can."""
    return report(_gateway.object_findings(found, wanted, release, provider))


def gateway_unwanted(found: t.Sequence[Json], wanted: t.Sequence[Json], release: str) -> list[dict[str, t.Any]]:
    """Our objects among the found ones that are not wanted any more."""
    return _gateway.unwanted(found, wanted, release)


def gateway_removal_findings(found: t.Mapping[str, Json], ours: t.Sequence[str]) -> str:
    """Why the provider and its CRDs cannot be removed; empty where they can."""
    return report(_gateway.removal_findings(found, ours))


def gateway_removal(found: t.Mapping[str, Json], providers: t.Mapping[str, Json]) -> dict[str, t.Any]:
    """What of the platform is ours and goes."""
    removal = _gateway.plan_removal(found, providers)
    return {
        "providers": list(removal.providers),
        "namespaces": list(removal.namespaces),
        "crds": [item["metadata"]["name"] for item in removal.crds],
        "objects": [_gateway.identity(item) for item in removal.crds],
        "queries": _gateway.crd_queries(removal.crds),
    }


def gateway_leftovers(
    found: t.Mapping[str, Json], provider: str, providers: t.Mapping[str, Json]
) -> list[dict[str, t.Any]]:
    """What the controller of a provider made outside of any Helm release."""
    return _gateway.leftovers(found, provider, providers[provider]["controller"])


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "gateway_class_findings": gateway_class_findings,
            "gateway_controller_decision": gateway_controller_decision,
            "gateway_crd_plan": gateway_crd_plan,
            "gateway_exposure_notice": gateway_exposure_notice,
            "gateway_leftovers": gateway_leftovers,
            "gateway_removal": gateway_removal,
            "gateway_input_findings": gateway_input_findings,
            "gateway_object_findings": gateway_object_findings,
            "gateway_provider_findings": gateway_provider_findings,
            "gateway_removal_findings": gateway_removal_findings,
            "gateway_unwanted": gateway_unwanted,
        }
