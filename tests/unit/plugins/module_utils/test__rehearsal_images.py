# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib
import stat
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils import _rehearsal_images as images

NAME = "ghcr.io/llm-d/epp:v0.10.0"


def program(path: pathlib.Path, text: str) -> pathlib.Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def archive(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "epp.tar").write_text("layers")
    return tmp_path / "epp.tar"


@pytest.fixture
def base(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "images" / "0123"
    for name in ("manifests/one.json", "sha256/abc"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def registry_program(folder: pathlib.Path) -> pathlib.Path:
    return program(folder / "registry", "echo serving 1 manifests of $4 on 127.0.0.1:1; exec sleep 60")


def crane_program(folder: pathlib.Path) -> pathlib.Path:
    """What was pushed goes into the newest folder, as the registry would put it."""
    return program(folder / "crane", f'echo "$3" >> "$(ls -d {folder}/images/.*.new)/pushed"')


@pytest.mark.parametrize(
    ("name", "held", "words"),
    [
        (NAME, "file", ""),
        (NAME, "layout", ""),
        (NAME, "folder", "index.json does not exist"),
        (NAME, "nothing", "does not exist"),
        ("epp", "file", "is no full image reference"),
        (f"ghcr.io/llm-d/epp@sha256:{'0' * 64}", "file", "has no tag"),
    ],
)
def test_judge(tmp_path: pathlib.Path, name: str, held: str, words: str) -> None:
    path = tmp_path / "image"
    if held in ("layout", "folder"):
        path.mkdir()
    if held in ("layout", "file"):
        (path / "index.json" if held == "layout" else path).write_text("{}")
    findings = images.judge(images.Extra(name, path))
    assert [one.code for one in findings] == (["REHEARSAL_IMAGE"] if words else [])
    assert all(words in one.evidence for one in findings)


def test_the_name_follows_base_names_and_contents() -> None:
    names = {
        images.folder_name(base, {name: digest})
        for base in ("0123", "4567")
        for name in ("a:1", "b:1")
        for digest in ("x", "y")
    }
    assert len(names) == 8
    two = {"a:1": "x", "b:1": "y"}
    assert images.folder_name("0123", two) == images.folder_name("0123", dict(reversed(two.items())))


def test_digest_of_a_layout_is_that_of_its_index(tmp_path: pathlib.Path, archive: pathlib.Path) -> None:
    (tmp_path / "layout").mkdir()
    (tmp_path / "layout" / "index.json").write_text(archive.read_text())
    (tmp_path / "layout" / "oci-layout").write_text("{}")
    assert images.digest_of(tmp_path / "layout") == images.digest_of(archive)


def make(base: pathlib.Path, archive: pathlib.Path, crane: t.Any, registry: t.Any) -> tuple[pathlib.Path, bool]:
    folder = base.with_name("0123-456")
    return folder, images.make(folder, base, [images.Extra(NAME, archive)], crane=crane, registry=registry)


def test_images_are_added_to_a_copy_once(base: pathlib.Path, archive: pathlib.Path, tmp_path: pathlib.Path) -> None:
    programs = {"crane": crane_program(tmp_path), "registry": registry_program(tmp_path)}
    folder, made = make(base, archive, **programs)
    assert made
    assert (folder / "pushed").read_text().split() == ["127.0.0.1:1/llm-d/epp:v0.10.0", f"127.0.0.1:1/{NAME}"]
    assert (folder / "sha256" / "abc").samefile(base / "sha256" / "abc")
    assert not (base / "pushed").exists()
    assert make(base, archive, **programs) == (folder, False)


@pytest.mark.parametrize("broken", ["crane", "registry"])
def test_a_failure_leaves_nothing_behind(
    base: pathlib.Path, archive: pathlib.Path, tmp_path: pathlib.Path, broken: str
) -> None:
    programs = {"crane": crane_program(tmp_path), "registry": registry_program(tmp_path)}
    programs[broken] = program(tmp_path / "broken", "echo no space left >&2; exit 1")
    with pytest.raises(images.ImagesError, match="no space left"):
        make(base, archive, **programs)
    assert [path.name for path in base.parent.iterdir() if path.is_dir()] == ["0123"]
