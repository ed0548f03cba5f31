# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each scenario needs: rows here, nothing elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import BuildError


@dataclass(frozen=True)
class Scenario:
    """Names of families, file systems, images, charts, definitions and Debian packages that a scenario needs."""

    name: str
    families: tuple[str, ...]
    systems: tuple[str, ...]
    images: tuple[str, ...]
    charts: tuple[str, ...]
    definitions: tuple[str, ...]
    packages: tuple[str, ...] = ()


_CLUSTER = ("kubernetes", "etcd", "crane", "helm", "coredns")

STANDALONE = Scenario(
    "standalone",
    (*_CLUSTER, "lws", "router", "simulator"),
    ("rootfs", "base"),
    ("pause", "client", "lws", "epp", "pd-sidecar", "envoy", "llm-d-cuda"),
    ("lws", "standalone", "inferencepool"),
    ("gateway-api-inference-extension",),
)
SCENARIOS: tuple[Scenario, ...] = (
    STANDALONE,
    # What the tests run: every part that a cluster may have.
    Scenario(
        "full",
        (*STANDALONE.families, "kueue", "kwok", "lws-0.7", "prometheus-operator"),
        STANDALONE.systems,
        (
            *STANDALONE.images,
            "kueue",
            "lws-0.7",
            "prometheus",
            "prometheus-config-reloader",
            "prometheus-operator",
        ),
        (*STANDALONE.charts, "kueue", "lws:0.7.0"),
        (*STANDALONE.definitions, "prometheus-operator"),
        ("prometheus", "promtool"),
    ),
)


def scenario(name: str) -> Scenario:
    """Return the scenario of that name."""
    for row in SCENARIOS:
        if row.name == name:
            return row
    known = ", ".join(row.name for row in SCENARIOS)
    raise BuildError(f"There is no scenario {name!r}.", f"choose one of: {known}.")
