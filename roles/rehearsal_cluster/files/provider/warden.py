# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What GKE's admission webhook (Warden) does to a pod that asks for networks.

It adds one of each network to the resources, by two names: ``rdma-0`` and ``rdma-0.IP``. Nodes with H200 announce the
second only, so that no pod is ever scheduled unless it sets the first to zero itself (llm-d issue 1730, fixed for the
guide by pull request 1738: a limit of zero keeps Warden from adding the name). Assumed: the first container gets them.
"""

from __future__ import annotations

import json
import typing as t

INTERFACES = "networking.gke.io/interfaces"
RESOURCE = "networking.gke.io.networks/"
SUFFIXES = ("", ".IP")
#: The network that every pod has anyway.
DEFAULT = "default"

Data = dict[str, t.Any]


class MalformedError(ValueError):
    """An annotation that is no list of interfaces."""


def networks_of(pod: t.Mapping[str, t.Any]) -> list[str]:
    """The names of the networks that a pod's annotation asks for, without the default one."""
    text = pod["metadata"].get("annotations", {}).get(INTERFACES)
    if not text:
        return []
    try:
        return [item["network"] for item in json.loads(text) if item["network"] != DEFAULT]
    except (ValueError, TypeError, KeyError) as error:
        raise MalformedError(f"annotation {INTERFACES}: {type(error).__name__}: {error}") from error


def resource_names(networks: t.Iterable[str]) -> list[str]:
    return [f"{RESOURCE}{network}{suffix}" for network in networks for suffix in SUFFIXES]


def patch_of(pod: t.Mapping[str, t.Any]) -> list[Data]:
    """The JSON patch that adds what is missing; a name that has a limit is left alone."""
    container = pod["spec"]["containers"][0]
    resources: t.Mapping[str, t.Any] = container.get("resources") or {}
    given = resources.get("limits") or {}
    added = {name: "1" for name in resource_names(networks_of(pod)) if name not in given}
    if not added:
        return []
    filled = {**resources, **{part: {**(resources.get(part) or {}), **added} for part in ("limits", "requests")}}
    return [{"op": "add", "path": "/spec/containers/0/resources", "value": filled}]


def decide(pod: t.Mapping[str, t.Any], known: t.Callable[[str], bool]) -> tuple[str, list[Data]]:
    """Why a pod is refused, or empty, and the patch. A pod cannot be made before its networks are."""
    try:
        missing = [network for network in networks_of(pod) if not known(network)]
    except MalformedError as error:
        return str(error), []
    if missing:
        return f"network {missing[0]!r} that the pod asks for does not exist in the cluster", []
    return "", patch_of(pod)
