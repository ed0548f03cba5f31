# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role model_server."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import report
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_findings import findings
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
    plan: t.Mapping[str, t.Any], overlays: t.Collection[str], components: t.Collection[str]
) -> str:
    """Why the model servers cannot be rendered, as text; empty if they can."""
    return report(findings(plan, overlays, components))


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"model_server_manifests": model_server_manifests, "model_server_findings": model_server_findings}
