# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each scenario needs: rows here, nothing elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    ("pause", "client", "lws", "epp", "pd-sidecar", "envoy", "llm-d-cuda", "llm-d-cuda-0.8"),
    ("lws", "standalone", "inferencepool"),
    ("gateway-api-inference-extension",),
)
_ISTIO_IMAGES = ("pilot", "proxyv2")
_ISTIO_CHARTS = ("base", "istiod")
_ISTIO_DEFINITIONS = ("gateway-api", "istio")
SCENARIOS: tuple[Scenario, ...] = (
    STANDALONE,
    # The guide with its benchmark. The load generator's image has 0.6 GB, which only those build who ask for it.
    replace(STANDALONE, name="benchmark", images=(*STANDALONE.images, "inference-perf")),
    # The guide with a Gateway: router mode gateway with provider istio.
    replace(
        STANDALONE,
        name="istio",
        families=(*STANDALONE.families, "istio"),
        images=(*STANDALONE.images, *_ISTIO_IMAGES),
        charts=(*STANDALONE.charts, *_ISTIO_CHARTS),
        definitions=(*STANDALONE.definitions, *_ISTIO_DEFINITIONS),
    ),
    # What the tests run: every part that a cluster may have.
    Scenario(
        "full",
        (*STANDALONE.families, "istio", "kueue", "kwok", "lws-0.7", "prometheus-operator"),
        STANDALONE.systems,
        (
            *STANDALONE.images,
            *_ISTIO_IMAGES,
            "inference-perf",
            "kueue",
            "lws-0.7",
            "prometheus",
            "prometheus-config-reloader",
            "prometheus-operator",
        ),
        (*STANDALONE.charts, *_ISTIO_CHARTS, "kueue", "lws:0.7.0"),
        (*STANDALONE.definitions, *_ISTIO_DEFINITIONS, "prometheus-operator"),
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
