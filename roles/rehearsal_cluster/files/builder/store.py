# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry's folder: images and charts under their upstream names, pushed through a registry of our own."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import charts, gotool
from .cache import Cache, digest, read_json, sha256_file, sha256_files, tree_digest, write_json
from .errors import BuildError
from .layers import Entry
from .layers import Layer as LayerTar
from .process import Command, run, start, stop
from .progress import Progress, Task
from .recipes import GENERATED, IMAGES_FOLDER, WHEEL_SETS, WHEELS, Image, Layer, image
from .wheels import provide, provide_set

SCHEMA = 2
RECORD = "store.json"
# Names of steps on the way to an image; not kept.
STEPS = "build"
BASE = f"{STEPS}/base:1"
START_SECONDS = 15.0
CHARTS_SECONDS, IMAGE_SECONDS, DEBIAN_SECONDS, SET_SECONDS = 6.0, 2.0, 4.0, 40.0


@dataclass(frozen=True)
class StoreInputs:
    """What images and charts are made of."""

    images: tuple[str, ...]
    charts: tuple[str, ...]
    definitions: tuple[str, ...]
    programs: Mapping[str, tuple[Path, str]]
    base: Path
    base_sha256: str
    architecture: str
    helm_version: str

    @property
    def recipes(self) -> list[Image]:
        """Return the images' recipes."""
        return [image(name) for name in self.images]


def used_programs(recipes: list[Image]) -> list[str]:
    """Name the programs that go into images."""
    return sorted({source for row in recipes for layer in row.layers for _path, source in layer.programs})


def used_folders(recipes: list[Image]) -> list[str]:
    """Name the folders that go into images."""
    return sorted({source for row in recipes for layer in row.layers for _path, source in layer.folders})


def used_wheels(recipes: list[Image]) -> list[str]:
    """Name the wheel programs that go into images."""
    return sorted({source for row in recipes for layer in row.layers for _path, source in layer.wheels})


def used_sets(recipes: list[Image]) -> list[str]:
    """Name the sets of wheels that go into images."""
    return sorted({source for row in recipes for layer in row.layers for _path, source in layer.wheel_sets})


def used_generated(recipes: list[Image]) -> list[str]:
    """Name the rendered files that go into images."""
    return sorted({source for row in recipes for layer in row.layers for _path, source in layer.generated})


def charts_folder(inputs: StoreInputs, cache: Cache) -> Path:
    """Return the folder of packaged charts and definitions."""
    name = charts.key(inputs.charts, inputs.definitions, inputs.helm_version)
    return cache.path("charts", name[:16])


def key(inputs: StoreInputs) -> str:
    """Hash everything that determines the registry's contents."""
    names = used_programs(inputs.recipes)
    sets = {name: WHEEL_SETS[name].key(inputs.architecture) for name in used_sets(inputs.recipes)}
    generated = {name: digest(dict(GENERATED[name]())) for name in used_generated(inputs.recipes)}
    return digest(
        {
            **({"sets": sets} if sets else {}),
            **({"generated": generated} if generated else {}),
            "schema": SCHEMA,
            "architecture": inputs.architecture,
            "base": inputs.base_sha256,
            "images": [row.described() for row in inputs.recipes],
            "programs": {name: inputs.programs[name][1] for name in names if name in inputs.programs},
            "folders": {name: tree_digest(IMAGES_FOLDER / name) for name in used_folders(inputs.recipes)},
            "wheels": {name: asdict(WHEELS[name][0]) for name in used_wheels(inputs.recipes)},
            "charts": charts.key(inputs.charts, inputs.definitions, inputs.helm_version),
        }
    )


def store_folder(inputs: StoreInputs, cache: Cache) -> Path:
    """Return the registry's folder."""
    return cache.path("images", key(inputs)[:16])


def broken(inputs: StoreInputs, cache: Cache) -> str:
    """Say why the registry's folder cannot be used; empty if it can."""
    folder = store_folder(inputs, cache)
    record = read_json(folder / RECORD)
    if not isinstance(record, dict):
        return "not built yet"
    if why := charts.broken(charts_folder(inputs, cache)):
        return f"charts: {why}"
    blobs = {folder / "sha256" / name: name for name in record["blobs"]}
    wanted = {**blobs, **{folder / "manifests" / name: value for name, value in record["manifests"].items()}}
    for path, found in sha256_files(wanted).items():
        if found != wanted[path]:
            return f"{path.name[:24]}: its checksum is not the recorded one"
    return ""


def image_seconds(row: Image) -> float:
    """Estimate how long an image takes."""
    if any(layer.wheel_sets for layer in row.layers):
        return SET_SECONDS
    return DEBIAN_SECONDS if row.debian else IMAGE_SECONDS


def tasks(inputs: StoreInputs, cache: Cache) -> list[Task]:
    """List what `build` does."""
    rows = [Task(f"image {row.reference}", image_seconds(row)) for row in inputs.recipes]
    packaged = charts.broken(charts_folder(inputs, cache))
    head = [Task(f"charts {', '.join(inputs.charts)}", CHARTS_SECONDS)] if packaged else []
    return [*head, Task("registry with base image and charts", DEBIAN_SECONDS), *rows]


def describe(inputs: StoreInputs, cache: Cache) -> dict[str, Any]:
    """Describe the registry's folder for the manifest."""
    folder = store_folder(inputs, cache)
    record = read_json(folder / RECORD) or {}
    crds = {name: str(charts_folder(inputs, cache) / "crds" / name) for name in inputs.definitions}
    return {
        "registry": {"path": str(folder)},
        "images": record.get("images", {}),
        "charts": record.get("charts", {}),
        "crds": crds,
    }


@contextmanager
def serve(program: Path, folder: Path) -> Iterator[str]:
    """Run the registry on a free loopback port; gives its address."""
    with tempfile.NamedTemporaryFile() as output:
        command: Command = [program, "--address", "127.0.0.1:0", "--disk", folder, "--writable"]
        process = start(command, output=output)
        try:
            limit = time.monotonic() + START_SECONDS
            while True:
                text = Path(output.name).read_text(errors="replace")
                if found := re.search(r"serving \d+ manifests of .* on (\S+)\n", text):
                    break
                if process.poll() is not None or time.monotonic() > limit:
                    raise BuildError("The local registry did not start.", "see the lines above.", text)
                time.sleep(0.02)
            yield found[1]
        finally:
            stop(process)


class Pusher:
    """Makes images in a registry with crane."""

    def __init__(self, inputs: StoreInputs, address: str, scratch: Path, wheels: Mapping[str, Path], cache: Cache):
        self.inputs, self.address, self.scratch, self.wheels = inputs, address, scratch, wheels
        self.cache = cache
        self.tick: Callable[[], None] = lambda: None

    def sets(self, name: str) -> Path:
        """Provide a set of wheels."""
        return provide_set(WHEEL_SETS[name], self.inputs.architecture, self.cache, self.tick)

    def crane(self, *arguments: str | Path) -> str:
        """Run crane with no credentials and no settings of the user."""
        env = {"DOCKER_CONFIG": str(self.scratch), "HOME": str(self.scratch), "PATH": "/usr/bin:/bin"}
        return run([self.inputs.programs["crane"][0], *arguments], env=env, tick=self.tick)

    def base(self) -> None:
        """Push the Debian base."""
        self.crane("append", "--oci-empty-base", "-f", self.inputs.base, "-t", f"{self.address}/{BASE}")

    def layer(self, name: str, row: Layer) -> Path:
        """Write a layer's tar."""
        path = self.scratch / f"{name}.tar"
        with LayerTar(path) as tar:
            for target, source in row.programs:
                tar.add_parents(target)
                tar.add_file(target, self.inputs.programs[source][0])
            for target, source in row.wheels:
                tar.add_parents(target)
                tar.add_file(target, self.wheels[source])
            for target, source in row.folders:
                tar.add_tree(target, IMAGES_FOLDER / source)
            for target, source in row.wheel_sets:
                tar.add_tree(target, self.sets(source))
            for target, source in row.generated:
                tar.add_parents(f"{target}/x")
                for file, text in sorted(GENERATED[source]().items()):
                    tar.add(Entry(f"{target}/{file}", content=text.encode()))
            for target, source in row.definitions:
                tar.add_parents(target)
                tar.add_file(target, charts_folder(self.inputs, self.cache) / "crds" / source, 0o644)
            for target, link in row.links:
                tar.add_parents(target)
                tar.add(Entry(target, link=link))
        return path

    def image(self, row: Image) -> str:
        """Push an image under both its names; returns its digest."""
        step = f"{self.address}/{STEPS}/{row.name}:1" if row.layers else f"{self.address}/{BASE}"
        files = [self.layer(f"{row.name}-{number}", layer) for number, layer in enumerate(row.layers)]
        if files:
            below = ["-b", f"{self.address}/{BASE}"] if row.debian else ["--oci-empty-base"]
            self.crane("append", *below, *(part for path in files for part in ("-f", path)), "-t", step)
        settings = ["--entrypoint", ",".join(row.entrypoint), "--user", row.user]
        settings += [part for name, value in row.env for part in ("--env", f"{name}={value}")]
        settings += [part for name, value in row.labels for part in ("--label", f"{name}={value}")]
        platform = ["--set-platform", f"linux/{self.inputs.architecture}"]
        name = f"{self.address}/{row.short}"
        self.crane("mutate", step, *settings, *platform, "-t", name)
        self.crane("copy", name, f"{self.address}/{row.reference}")
        for path in files:
            path.unlink()
        return self.crane("digest", name).strip().splitlines()[-1]

    def chart(self, row: charts.Chart, file: Path) -> str:
        """Push a packaged chart; returns its digest."""
        helm = self.inputs.programs["helm"][0]
        homes = {f"HELM_{name}_HOME": str(self.scratch / "helm") for name in ("CACHE", "CONFIG", "DATA")}
        env = {**homes, "HOME": str(self.scratch), "PATH": "/usr/bin:/bin"}
        push: Command = [helm, "push", file, f"oci://{self.address}/{row.repository}", "--plain-http"]
        text = run(push, env=env, tick=self.tick)
        found = re.search(r"^Digest: (sha256:[0-9a-f]{64})$", text, re.M)
        if not found:
            raise BuildError(f"helm push of {row.name} printed no digest.", "see the lines above.", text)
        return found[1]


def wheel_programs(inputs: StoreInputs, cache: Cache, tick: Callable[[], None]) -> dict[str, Path]:
    """Provide the programs of wheels."""
    rows = {name: WHEELS[name] for name in used_wheels(inputs.recipes)}
    return {name: provide(wheel, cache, tick, (member,)) / member for name, (wheel, member) in rows.items()}


def record(folder: Path, pushed: Mapping[str, Mapping[str, str]]) -> None:
    """Drop the steps' manifests and write what the folder holds."""
    manifests = folder / "manifests"
    for path in manifests.glob(f"%2Fv2%2F{STEPS}%2F*"):
        path.unlink()
    blobs = sorted(path.name for path in (folder / "sha256").iterdir())
    sums = {path.name: sha256_file(path) for path in sorted(manifests.iterdir())}
    write_json(folder / RECORD, {**pushed, "blobs": blobs, "manifests": sums})


def make_charts(inputs: StoreInputs, cache: Cache, go: gotool.Go, env: Mapping[str, str], progress: Progress) -> None:
    """Package charts and copy definitions, unless they are there."""
    folder = charts_folder(inputs, cache)
    if not charts.broken(folder):
        return
    with progress.task() as tick, cache.scratch("charts") as scratch, cache.new_folder(folder) as fresh:
        program = gotool.provide(go, cache, tick)
        helm = inputs.programs["helm"][0]
        sources = charts.Sources(program, helm, env=env, scratch=scratch, tick=tick)
        charts.make(inputs.charts, inputs.definitions, sources, fresh)


def build(inputs: StoreInputs, cache: Cache, go: gotool.Go, env: Mapping[str, str], progress: Progress) -> None:
    """Build the registry's folder."""
    make_charts(inputs, cache, go, env, progress)
    packaged = charts_folder(inputs, cache)
    pushed: dict[str, dict[str, str]] = {"images": {}, "charts": {}}
    with cache.scratch("store") as scratch, cache.new_folder(store_folder(inputs, cache)) as fresh:
        with serve(inputs.programs["registry"][0], fresh) as address:
            with progress.task() as tick:
                pusher = Pusher(inputs, address, scratch, wheel_programs(inputs, cache, tick), cache)
                pusher.tick = tick
                pusher.base()
                for name in inputs.charts:
                    row = charts.chart(name)
                    pushed["charts"][row.reference] = pusher.chart(row, packaged / row.file)
            for recipe in inputs.recipes:
                with progress.task() as tick:
                    pusher.tick = tick
                    pushed["images"][recipe.reference] = pusher.image(recipe)
        record(fresh, pushed)
