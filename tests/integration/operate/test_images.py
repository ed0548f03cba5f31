# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images and charts from a registry to a mirror, and through a folder to another. Needs built programs, no cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from _deployment import INVENTORIES, ROOT, Run
from _paths import cache_root

from ansible_collections.llmd.wide_ep.plugins.module_utils._rehearsal_images import serving

MANIFEST = cache_root() / "manifests" / "full.json"
pytestmark = pytest.mark.skipif(not MANIFEST.is_file(), reason="make binaries SCENARIO=full builds what is served")


@pytest.fixture(scope="module")
def built() -> dict[str, t.Any]:
    found: dict[str, t.Any] = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def upstream(built: dict[str, t.Any]) -> Iterator[str]:
    with serving(Path(built["programs"]["registry"]["path"]), Path(built["registry"]["path"])) as address:
        yield address


def images(folder: Path, built: dict[str, t.Any], action: str, **variables: t.Any) -> Run:
    values = {
        "operate_images": action,
        "operate_crane": built["programs"]["crane"]["path"],
        "operate_images_bundle": str(folder / "bundle"),
        "wide_ep_artifacts_dir": str(folder),
        "wide_ep_mirror": "mirror.example",
        **variables,
    }
    tool = str(Path(sys.executable).with_name("ansible-playbook"))
    sources = [f"--inventory={inventory}" for inventory in INVENTORIES]
    run = subprocess.run(
        [tool, "playbooks/images.yml", *sources, "-e", json.dumps(values)],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "LLMD_WIDE_EP_SCENARIO": "full"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    return Run(run.returncode, run.stdout + run.stderr, 0.0)


def catalog(built: dict[str, t.Any], address: str) -> dict[str, str]:
    """Every tag of a registry with its digest."""
    crane = built["programs"]["crane"]["path"]

    def ask(*arguments: str) -> list[str]:
        done = subprocess.run([crane, *arguments], capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.split()

    names = [f"{name}:{tag}" for name in ask("catalog", address) for tag in ask("ls", f"{address}/{name}")]
    return {name: ask("digest", f"{address}/{name}")[0] for name in names}


def changed(run: Run) -> bool:
    assert run.code == 0, run.output[-4000:]
    return " changed=0 " not in run.output


def test_a_mirror_is_filled_directly_and_through_a_folder(
    tmp_path: Path, built: dict[str, t.Any], upstream: str
) -> None:
    registry = Path(built["programs"]["registry"]["path"])
    for name in ("direct", "cut-off"):
        (tmp_path / name).mkdir()
    with serving(registry, tmp_path / "direct") as direct, serving(registry, tmp_path / "cut-off") as cut_off:
        given = {"operate_images_from": upstream, "wide_ep_mirror": f"{direct}/mirror"}
        assert changed(images(tmp_path, built, "mirror", **given))
        assert not changed(images(tmp_path, built, "mirror", **given))
        copied = catalog(built, direct)
        assert len(copied) == 8, copied
        known = {**built["images"], **built["charts"]}
        assert copied == {f"mirror/{name}": known[name] for name in known if f"mirror/{name}" in copied}

        assert changed(images(tmp_path, built, "bundle", operate_images_from=upstream))
        assert not changed(images(tmp_path, built, "bundle", operate_images_from=upstream))
        # The site that is cut off has the folder alone.
        assert changed(images(tmp_path, built, "load", wide_ep_mirror=f"{cut_off}/mirror"))
        assert not changed(images(tmp_path, built, "load", wide_ep_mirror=f"{cut_off}/mirror"))
        assert catalog(built, cut_off) == copied


def test_what_is_not_upstream_is_named(tmp_path: Path, built: dict[str, t.Any], upstream: str) -> None:
    run = images(tmp_path, built, "bundle", operate_images_from=upstream, wide_ep_image_overrides={})
    assert run.code != 0
    assert "llm-d-router-endpoint-picker" in run.output
    assert not (tmp_path / "bundle" / "bundle.json").exists()


def test_copies_need_a_mirror(tmp_path: Path, built: dict[str, t.Any]) -> None:
    run = images(tmp_path, built, "mirror", wide_ep_mirror="", wide_ep_image_overrides={})
    assert run.code != 0
    assert "INPUT_MISSING" in run.output
