# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from builder import charts, recipes, store
from builder.cache import Cache, write_json
from builder.recipes import Image, Layer
from builder.store import StoreInputs

IMAGE = Image(
    "tiny",
    "ghcr.io/x/tiny:v1",
    (Layer(programs=(("tiny", "tiny"),)), Layer(folders=(("opt/data", "data"),))),
    ("/tiny",),
)


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoreInputs:
    folder = tmp_path / "files"
    (folder / "data").mkdir(parents=True)
    (folder / "data/x").write_text("1")
    monkeypatch.setattr(store, "IMAGES_FOLDER", folder)
    monkeypatch.setattr(recipes, "IMAGES", (IMAGE,))
    names = ("lws",), ("gateway-api-inference-extension",)
    return StoreInputs(
        ("tiny",),
        *names,
        {"tiny": (tmp_path / "p", "a"), "crane": (tmp_path / "c", "b")},
        tmp_path / "b",
        "c",
        "amd64",
        "v3",
    )


def test_key_changes_with_every_input(inputs: StoreInputs, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [store.key(inputs)]
    keys.append(store.key(replace(inputs, programs={"tiny": (Path("p"), "changed")})))
    keys.append(store.key(replace(inputs, base_sha256="changed")))
    keys.append(store.key(replace(inputs, architecture="arm64")))
    keys.append(store.key(replace(inputs, helm_version="v4")))
    keys.append(store.key(replace(inputs, charts=())))
    (store.IMAGES_FOLDER / "data/x").write_text("2")
    keys.append(store.key(inputs))
    monkeypatch.setattr(recipes, "IMAGES", (replace(IMAGE, user="1:1"),))
    keys.append(store.key(inputs))
    assert len(set(keys)) == len(keys)


def test_key_ignores_programs_that_are_in_no_image(inputs: StoreInputs) -> None:
    other = replace(inputs, programs={**inputs.programs, "crane": (Path("elsewhere"), "changed")})
    assert store.key(other) == store.key(inputs)


def make_folder(inputs: StoreInputs, cache: Cache) -> Path:
    folder = store.store_folder(inputs, cache)
    for name in ("sha256", "manifests"):
        (folder / name).mkdir(parents=True)
    content = b"blob"
    (folder / "sha256" / hashlib.sha256(content).hexdigest()).write_bytes(content)
    for name in ("ghcr.io%2Fx%2Ftiny", "build%2Fbase"):
        (folder / "manifests" / f"%2Fv2%2F{name}%2Fmanifests%2F1.json").write_text("{}")
    store.record(folder, {"images": {IMAGE.reference: "sha256:1"}, "charts": {}})
    packaged = store.charts_folder(inputs, cache)
    packaged.mkdir(parents=True)
    (packaged / "lws-0.9.0.tgz").write_bytes(b"chart")
    write_json(packaged / charts.SUMS, {"lws-0.9.0.tgz": hashlib.sha256(b"chart").hexdigest()})
    return folder


def test_complete_folder_is_used_and_described(inputs: StoreInputs, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    assert store.broken(inputs, cache) == "not built yet"
    folder = make_folder(inputs, cache)
    assert store.broken(inputs, cache) == ""
    assert [path.name for path in (folder / "manifests").iterdir()] == [
        "%2Fv2%2Fghcr.io%2Fx%2Ftiny%2Fmanifests%2F1.json"
    ]
    shown = store.describe(inputs, cache)
    assert shown["registry"] == {"path": str(folder)}
    assert shown["images"] == {"ghcr.io/x/tiny:v1": "sha256:1"}
    assert shown["crds"]["gateway-api-inference-extension"].endswith("crds/gateway-api-inference-extension")


@pytest.mark.parametrize("part", ["sha256", "manifests", "chart"])
@pytest.mark.parametrize("damage", ["change", "remove"])
def test_damaged_folder_is_not_used(inputs: StoreInputs, tmp_path: Path, part: str, damage: str) -> None:
    cache = Cache(tmp_path / "cache")
    folder = make_folder(inputs, cache)
    path = store.charts_folder(inputs, cache) / "lws-0.9.0.tgz" if part == "chart" else next((folder / part).iterdir())
    if damage == "change":
        path.write_bytes(b"other")
    else:
        path.unlink()
    assert "its checksum is not the recorded one" in store.broken(inputs, cache)
