# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters on the shared inputs."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.llmd.wide_ep.plugins.module_utils._plan import build_plan


def plan(inputs: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The deployment's plan as a dictionary."""
    try:
        return build_plan(inputs).as_dict()
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise AnsibleFilterError(f"the inputs make no plan: {error}") from error


def mirrored(reference: str, mirror: str = "") -> str:
    """The image or chart ``reference`` behind the ``mirror`` prefix."""
    return f"{mirror.rstrip('/')}/{reference}" if mirror else reference


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"plan": plan, "mirrored": mirrored}
