# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role model_server."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import report
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_findings import findings, node_findings
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_manifests import Options, manifests


def model_server_manifests(
    plan: t.Mapping[str, t.Any], options: t.Mapping[str, str], layers: t.Sequence[t.Mapping[str, t.Any]]
) -> list[dict[str, t.Any]]:
    """The Kubernetes objects of the model servers."""
    try:
        return manifests(plan, Options(**options), layers)
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(f"model_server_manifests: {error}") from error


def model_server_findings(
    plan: t.Mapping[str, t.Any],
    known: t.Mapping[str, t.Any],
    judged: t.Sequence[t.Sequence[t.Any]],
    own: t.Sequence[t.Mapping[str, t.Any]],
    user: t.Sequence[t.Mapping[str, t.Any]],
) -> str:
    """Why the model servers cannot be rendered, or would not serve, as text; empty if they can."""
    try:
        return report(findings(plan, known, judged, own, user))
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(f"model_server_findings: {error}") from error


def model_server_node_findings(
    nodes: t.Sequence[t.Mapping[str, t.Any]], plan: t.Mapping[str, t.Any], rdma_resources: t.Mapping[str, t.Any]
) -> str:
    """What the cluster's GPU nodes lack for the model servers, as text; empty if nothing."""
    return report(node_findings(plan, nodes, rdma_resources))


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "model_server_findings": model_server_findings,
            "model_server_manifests": model_server_manifests,
            "model_server_node_findings": model_server_node_findings,
        }
