# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role router."""

from __future__ import annotations

import json
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.llmd.wide_ep.plugins.module_utils._image import parse_image
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _epp_config, _router


def epp_config(
    profiles: t.Sequence[t.Mapping[str, t.Any]],
    version: str,
    decider: str,
    plugin_parameters: t.Mapping[str, t.Any] | None = None,
) -> dict[str, str]:
    """The endpoint picker's configuration file: its name and its text."""
    # A round trip through JSON drops the tags that Ansible puts on values, which YAML would not represent.
    plain = json.loads(json.dumps([version, decider, profiles, plugin_parameters or {}]))
    try:
        text = _epp_config.render(_epp_config.build(_epp_config.parse(*plain)))
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(f"the endpoint picker's configuration cannot be made: {error}") from error
    return {"name": _epp_config.file_name(text), "text": text}


def image_parts(reference: str) -> dict[str, str]:
    """An image reference as the three values that charts glue together again as ``registry/repository:tag``."""
    try:
        return parse_image(reference).as_chart_values()
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


def pool_ports(ports: t.Sequence[int]) -> list[dict[str, int]]:
    """Port numbers as an InferencePool has them."""
    return [{"number": int(port)} for port in ports]


def router_refusals(
    image: str,
    *,
    profiles: t.Sequence[t.Mapping[str, t.Any]],
    decider: str,
    plugin_parameters: t.Mapping[str, t.Any] | None = None,
    request_timeout: int | str,
    **asked: t.Any,
) -> list[str]:
    """Why the router cannot be installed with this endpoint picker image and these inputs; empty where it can."""
    try:
        config = (decider, profiles, plugin_parameters or {})
        # A variable from the command line is text.
        inputs = _router.Asked(image=image, config=config, request_timeout=int(request_timeout), **asked)
        return [finding.text() for finding in _router.refusals(inputs)]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(f"router_refusals: {error!r}") from error


def router_replacement(deployments: t.Sequence[t.Mapping[str, t.Any]], selector: t.Mapping[str, str]) -> str:
    """Why the release has to be uninstalled before it is installed anew; empty where an upgrade does."""
    return _router.replacement(deployments, selector)


def router_differences(
    found: t.Mapping[str, t.Any],
    *,
    ports: t.Sequence[int],
    target_ports: t.Sequence[int],
    match_labels: t.Mapping[str, str],
    sets: t.Sequence[str] = (),
    **wanted: t.Any,
) -> list[str]:
    """Where the objects of the release and the pods of its pool (``found`` of ``object_info``) are not as asked for."""
    asked = _router.Wanted(
        ports=tuple(ports),
        target_ports=tuple(target_ports),
        match_labels=dict(match_labels),
        sets=tuple(sets),
        **wanted,
    )
    pods = found.get("pods", {}).get("resources", [])
    return [finding.text() for finding in (*_router.differences(found, asked), *_router.selection(pods, asked))]


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "epp_config": epp_config,
            "image_parts": image_parts,
            "pool_ports": pool_ports,
            "router_refusals": router_refusals,
            "router_replacement": router_replacement,
            "router_differences": router_differences,
        }
