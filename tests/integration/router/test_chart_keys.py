# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recorded keys of the charts against the charts themselves.

Those of generation gaie are packaged by `make binaries`. Those of llm_d_router are read where LLMD_WIDE_EP_ROUTER_PARTS
names a folder with their sources in `charts/`; without it they are rendered only.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import tarfile
import typing as t

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _router_values

from ._site import CACHE

PARTS = os.environ.get("LLMD_WIDE_EP_ROUTER_PARTS", "")
CHARTS = {
    ("gaie", "standalone"): "standalone-v1.5.0",
    ("gaie", "gateway"): "inferencepool-v1.5.0",
    ("llm_d_router", "standalone"): "llm-d-router-standalone",
    ("llm_d_router", "gateway"): "llm-d-router-gateway",
}
USED = re.compile(r"\.Values\.([A-Za-z][\w.]*\w)")
#: What templates and values name for other reasons than taking a value.
IGNORED = {
    # Old names, which the charts of llm-d-router refuse.
    "llm_d_router": ("inferenceExtension", "inferencePool", "experimentalHttpRoute", "inferenceObjectives"),
    # Templates of the library that the chart does not use, and keys that nothing reads.
    "gaie": (
        "experimentalHttpRoute",
        "inferenceExtension.apiVersion",
        "inferencePool.apiVersion",
        "inferencePool.targetPortNumber",
        "inferenceExtension.endpointsServer",
    ),
}
IGNORED_EVERYWHERE = ("router.modelServers.targetPortNumber", "router.epp.flags.secure", "router.proxy.agentgateway")
#: Values that are read from a variable of the template, so that no text names them.
PROXY = ("router.proxy.", "inferenceExtension.sidecar.", "router.monitoring.provider.")


def files(generation: str, mode: str) -> dict[str, str]:
    """The text of a chart's files, with those of its library, by their path."""
    name = CHARTS[generation, mode]
    if generation == "gaie":
        packages = sorted(CACHE.glob(f"charts/*/{name}.tgz"))
        if not packages:
            pytest.skip("no charts are packaged: run `make binaries`")
        with tarfile.open(packages[-1]) as tar:
            members = [one for one in tar if one.isfile()]
            return {
                one.name.partition("/")[2]: t.cast("t.IO[bytes]", tar.extractfile(one)).read().decode()
                for one in members
            }
    if not PARTS:
        pytest.skip("llm_d_router: rendered only; LLMD_WIDE_EP_ROUTER_PARTS names no folder with its charts")
    sources = pathlib.Path(PARTS) / "charts"
    found = {}
    for folder, prefix in ((sources / name, ""), (sources / "routerlib", "charts/router/")):
        paths = [
            path for path in folder.rglob("*") if path.is_file() and "charts" not in path.relative_to(folder).parts
        ]
        found |= {f"{prefix}{path.relative_to(folder)}": path.read_text(encoding="utf-8") for path in paths}
    return found


def leaves(values: t.Any, prefix: str = "") -> set[str]:
    if isinstance(values, dict) and values:
        return set().union(*(leaves(value, f"{prefix}.{key}" if prefix else key) for key, value in values.items()))
    return {prefix}


def chart_keys(generation: str, mode: str) -> set[str]:
    """What the chart's values files and templates name."""
    texts = files(generation, mode)
    library = {"gaie": "inferenceExtension", "llm_d_router": "router"}[generation]
    names: set[str] = set()
    for path, text in texts.items():
        if path.endswith("values.yaml"):
            names |= leaves(yaml.safe_load(text), library if path.startswith("charts/") else "")
        elif "/templates/" in f"/{path}":
            names |= set(USED.findall(text))
    names = {name for name in names if not name.startswith(IGNORED_EVERYWHERE + IGNORED[generation])}
    # A name above others says nothing: templates ask for it to see whether it is there.
    return {name for name in names if not any(other.startswith(f"{name}.") for other in names)}


def inside(name: str, key: str) -> bool:
    return name == key or name.startswith(f"{key}.")


@pytest.mark.parametrize(("generation", "mode"), CHARTS)
def test_every_key_of_the_chart_is_recorded(generation: str, mode: str) -> None:
    known = set().union(*(_router_values.KEYS[generation, one] for one in _router_values.MODES))
    assert {name for name in chart_keys(generation, mode) if not any(inside(name, key) for key in known)} == set()


@pytest.mark.parametrize(("generation", "mode"), CHARTS)
def test_every_recorded_key_is_one_of_the_chart(generation: str, mode: str) -> None:
    there = chart_keys(generation, mode)
    named = {key for key in _router_values.KEYS[generation, mode] if not key.startswith((*PROXY, *IGNORED[generation]))}
    assert {key for key in named if not any(inside(name, key) for name in there)} == set()


@pytest.mark.parametrize("generation", _router_values.GENERATIONS)
def test_the_proxy_has_the_recorded_keys(generation: str) -> None:
    """The presets and the template of the Deployment name them."""
    text = json.dumps(files(generation, "standalone"))
    prefix = {"gaie": "inferenceExtension.sidecar.", "llm_d_router": "router.proxy."}[generation]
    keys = {key for key in _router_values.KEYS[generation, "standalone"] if key.startswith(prefix)}
    lacking = {key for key in keys if not re.search(rf"[\W_]{key.rpartition('.')[2]}\b", text)}
    assert lacking == set()
