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


def router_refusals(image: str, mode: str, mirror: str = "") -> list[str]:
    """Why this endpoint picker image or router mode cannot be used; empty where they can."""
    return [finding.text() for finding in _router.refusals(image, mode, mirror)]


def router_differences(
    found: t.Mapping[str, t.Any], *, target_ports: t.Sequence[int], match_labels: t.Mapping[str, str], **wanted: t.Any
) -> list[str]:
    """Where the objects of the release (``found`` of ``object_info``) differ from what was asked for."""
    asked = _router.Wanted(target_ports=tuple(target_ports), match_labels=dict(match_labels), **wanted)
    return [finding.text() for finding in _router.differences(found, asked)]


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "epp_config": epp_config,
            "image_parts": image_parts,
            "pool_ports": pool_ports,
            "router_refusals": router_refusals,
            "router_differences": router_differences,
        }
