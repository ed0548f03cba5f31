# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges what the model servers are rendered from. Private to the collection; it may change at any time."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

#: A hub name or a path. A leading dash would be an argument of vLLM; quoting keeps the rest away from the shell.
MODEL = re.compile(r"[^\s-][^\x00-\x1f\x7f]*")


def findings(plan: t.Mapping[str, t.Any], overlays: t.Collection[str], components: t.Collection[str]) -> list[Finding]:
    """What keeps this plan from being rendered with the layers that exist."""
    refused = [name for name in plan["components"] if name not in components]
    rules = (
        (
            plan["overlay"] not in overlays,
            "INPUT_COMBINATION",
            f"wide_ep_overlay={plan['overlay']}",
            "the role model_server has no layer for this overlay",
            f"Use one of: {', '.join(sorted(overlays))}; or add the role's files/layers/overlay_{plan['overlay']}.yml.",
        ),
        (
            bool(refused),
            "INPUT_COMBINATION",
            f"wide_ep_components has {', '.join(refused)}",
            "the role model_server has no layer for it",
            f"Use only: {', '.join(sorted(components))}.",
        ),
        (
            plan["load_balancing"] != "hybrid",
            "INPUT_COMBINATION",
            f"wide_ep_load_balancing={plan['load_balancing']}",
            "the pinned vLLM does not know --data-parallel-multi-port-external-lb",
            "Set wide_ep_load_balancing to hybrid.",
        ),
        (
            MODEL.fullmatch(plan["model"]) is None,
            "INPUT_TYPE",
            "wide_ep_model",
            f"{plan['model']!r} is neither a model's name nor a path",
            "Write it as the hub does, for example deepseek-ai/DeepSeek-R1-0528.",
        ),
    )
    return [Finding(code, "error", subject, seen, fix) for hit, code, subject, seen, fix in rules if hit]
