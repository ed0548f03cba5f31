# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts and custom resource definitions, taken from published Go modules."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from . import families, gotool
from .cache import SUMS, digest, read_json, sha256_file, write_json
from .errors import BuildError
from .process import Command, run


@dataclass(frozen=True)
class Module:
    """A Go module that is read as a source tree, pinned by its checksum."""

    path: str
    version: str
    checksum: str


LWS = Module("sigs.k8s.io/lws", "v0.9.0", "h1:DcJCgxjjoGOx//QHZkeKpyiblxYq70aCRZNYSfykWyI=")
LWS_OLD = Module("sigs.k8s.io/lws", "v0.7.0", "h1:qWfzX8+UBak+Hq0+m/PuE3uO0mp/3dmm5q/h/7z31A8=")
KUEUE = Module("sigs.k8s.io/kueue", "v0.19.2", "h1:mPNzr37u0nwI7ikST5QQl5gg6EgtYOAvC9ZbTgywdN8=")
GAIE = Module(
    "sigs.k8s.io/gateway-api-inference-extension", "v1.5.0", "h1:w9Awt60cmI1vM7Y6N81h8wDCBP0WkmxpdI7GKY0v070="
)
GATEWAY_API = Module("sigs.k8s.io/gateway-api", "v1.5.1", "h1:RqVRIlkhLhUO8wOHKTLnTJA6o/1un4po4/6M1nRzdd0=")
ISTIO = Module("istio.io/istio", families.ISTIO, "h1:ui9TJjRMAV/hb5ehQaZDq7IUGxuQP6dra9lapT/VjHI=")
PROMETHEUS_OPERATOR = Module(
    "github.com/prometheus-operator/prometheus-operator", "v0.83.0", "h1:qAKbm+45fqNGcn9sGTa1Ae2TM3KZuYA/uyoD2QKi9+o="
)


@dataclass(frozen=True)
class Chart:
    """A chart: where its sources are, and the repository, name and version it is published under."""

    name: str
    module: Module
    charts: str
    repository: str
    version: str
    app_version: str
    # The name of its folder, where it is another than the chart's.
    folder: str = ""

    @property
    def reference(self) -> str:
        """Return the chart's name in a registry."""
        return f"{self.repository}/{self.name}:{self.version}"

    @property
    def file(self) -> str:
        """Return the name of its package."""
        return f"{self.name}-{self.version}.tgz"


@dataclass(frozen=True)
class Definitions:
    """Files of a module: custom resource definitions, or what an image takes from there."""

    name: str
    module: Module
    files: str


_ISTIO_VERSION = families.ISTIO.removeprefix("v")
_ISTIO_REPOSITORY = "gcr.io/istio-release/charts"
_GAIE_REPOSITORY = "registry.k8s.io/gateway-api-inference-extension/charts"
CHARTS: tuple[Chart, ...] = (
    Chart("lws", LWS, "charts", "registry.k8s.io/lws/charts", "0.9.0", "v0.9.0"),
    Chart("standalone", GAIE, "config/charts", _GAIE_REPOSITORY, "v1.5.0", "v1.5.0"),
    Chart("inferencepool", GAIE, "config/charts", _GAIE_REPOSITORY, "v1.5.0", "v1.5.0"),
    # The last chart with its CRD in a template: what a cluster may still have.
    Chart("lws", LWS_OLD, "charts", "registry.k8s.io/lws/charts", "0.7.0", "v0.7.0"),
    Chart("kueue", KUEUE, "charts", "registry.k8s.io/kueue/charts", "0.19.2", "v0.19.2"),
    Chart("base", ISTIO, "manifests/charts", _ISTIO_REPOSITORY, _ISTIO_VERSION, _ISTIO_VERSION),
    Chart(
        "istiod",
        ISTIO,
        "manifests/charts/istio-control",
        _ISTIO_REPOSITORY,
        _ISTIO_VERSION,
        _ISTIO_VERSION,
        folder="istio-discovery",
    ),
)
DEFINITIONS: tuple[Definitions, ...] = (
    Definitions("gateway-api-inference-extension", GAIE, "config/crd/bases/*.yaml"),
    Definitions("gateway-api", GATEWAY_API, "config/crd/standard/gateway.networking.k8s.io_*s.yaml"),
    Definitions("istio", ISTIO, "tools/packaging/common/envoy_bootstrap.json"),
    Definitions("prometheus-operator", PROMETHEUS_OPERATOR, "example/prometheus-operator-crd/*.yaml"),
)
SCHEMA = 1


def chart(name: str) -> Chart:
    """Return the chart of that name: the first one, or with `name:version` the one of that version."""
    return next(row for row in CHARTS if name in (row.name, f"{row.name}:{row.version}"))


def definitions(name: str) -> Definitions:
    """Return the definitions of that name."""
    return next(row for row in DEFINITIONS if row.name == name)


def key(names: tuple[str, ...], crds: tuple[str, ...], helm: str) -> str:
    """Hash what determines the packaged charts."""
    # What most rows leave empty does not count, so that they stay the same when such a field is added.
    filled = [{field: value for field, value in asdict(chart(name)).items() if value} for name in names]
    rows = filled, [asdict(definitions(name)) for name in crds]
    return digest({"schema": SCHEMA, "rows": rows, "helm": helm})


def broken(folder: Path) -> str:
    """Say why packaged charts cannot be used; empty if they can."""
    sums = read_json(folder / SUMS)
    if not isinstance(sums, dict):
        return "not built yet"
    changed = [n for n, value in sums.items() if not (folder / n).exists() or sha256_file(folder / n) != value]
    return f"{changed[0]}: its checksum is not the recorded one" if changed else ""


class Sources:
    """Fetches modules with go and packages what is in them."""

    def __init__(
        self, go: Path, helm: Path, *, env: Mapping[str, str], scratch: Path, tick: Callable[[], None]
    ) -> None:
        self.go = go
        self.helm, self.scratch, self.tick = helm, scratch, tick
        self.go_env = gotool.environment(env, None, scratch)
        # Helm must neither read nor write the user's settings.
        homes = {f"HELM_{name}_HOME": str(scratch / f"helm-{name.lower()}") for name in ("CACHE", "CONFIG", "DATA")}
        self.helm_env = {**env, **homes}

    def module(self, module: Module) -> Path:
        """Return a module's source folder (read-only, in Go's module cache)."""
        name = f"{module.path}@{module.version}"
        text = run([self.go, "mod", "download", "-json", name], env=self.go_env, cwd=self.scratch, tick=self.tick)
        found = json.loads(text[text.index("{") :])
        if found.get("Sum") != module.checksum:
            raise BuildError(
                f"{name} has the checksum {found.get('Sum')} instead of {module.checksum}.",
                "empty the module cache with `go clean -modcache` and run again.",
            )
        return Path(found["Dir"])

    def package(self, row: Chart, target: Path) -> Path:
        """Package a chart under its published version."""
        copy = self.scratch / f"{row.name}-{row.version}-sources"
        shutil.copytree(self.module(row.module) / row.charts, copy, copy_function=shutil.copyfile)
        for folder in (copy, *(path for path in copy.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        sources = copy / (row.folder or row.name)
        run([self.helm, "dependency", "build", sources], env=self.helm_env, tick=self.tick)
        versions = ["--version", row.version, "--app-version", row.app_version]
        package: Command = [self.helm, "package", sources, *versions, "--destination", target]
        run(package, env=self.helm_env, tick=self.tick)
        return target / row.file

    def definitions(self, row: Definitions, target: Path) -> None:
        """Copy custom resource definitions."""
        folder = target / "crds" / row.name
        folder.mkdir(parents=True)
        for path in sorted(self.module(row.module).glob(row.files)):
            shutil.copyfile(path, folder / path.name)


def make(names: tuple[str, ...], crds: tuple[str, ...], sources: Sources, target: Path) -> None:
    """Write packaged charts, definitions and their checksums into a folder."""
    for name in names:
        sources.package(chart(name), target)
    for name in crds:
        sources.definitions(definitions(name), target)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    write_json(target / SUMS, {path.relative_to(target).as_posix(): sha256_file(path) for path in files})
