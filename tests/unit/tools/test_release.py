# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release carries: the bill of materials and the definition of the execution environment."""

from __future__ import annotations

import json
import subprocess
import sys
import types
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def sbom(load_tool: Callable[[str], types.ModuleType]) -> types.ModuleType:
    return load_tool("sbom")


@pytest.fixture(scope="module")
def lock() -> dict[str, str]:
    text = (ROOT / "requirements" / "run-py312.txt").read_text()
    return dict(line.split(" ")[0].split("==") for line in text.splitlines() if "==" in line and line[0].isalnum())


@pytest.fixture(scope="module")
def components(sbom: types.ModuleType) -> dict[str, dict[str, t.Any]]:
    return {item["purl"]: item for item in json.loads(sbom.document(ROOT))["components"]}


def test_every_locked_package_is_listed_with_its_hashes(
    components: dict[str, dict[str, t.Any]], lock: dict[str, str]
) -> None:
    listed = {purl: item for purl, item in components.items() if purl.startswith("pkg:pypi/")}
    assert set(listed) == {f"pkg:pypi/{name.lower()}@{version}" for name, version in lock.items()}
    assert all(item["hashes"] for item in listed.values())


def test_every_image_and_chart_of_the_version_table_is_listed(components: dict[str, dict[str, t.Any]]) -> None:
    table = yaml.safe_load((ROOT / "roles" / "wide_ep" / "vars" / "main.yml").read_text())
    wanted = [reference.rpartition(":")[0] for reference in table["_wide_ep_default_images"].values()]
    wanted += [chart["ref"] for chart in table["_wide_ep_default_charts"].values()]
    listed = " ".join(components)
    assert [reference for reference in wanted if f"repository_url={reference}" not in listed.replace("%2F", "/")] == []


def test_programs_of_the_rehearsal_are_no_part_of_a_deployment(components: dict[str, dict[str, t.Any]]) -> None:
    scopes = {item.get("scope") for purl, item in components.items() if purl.startswith("pkg:golang/")}
    assert scopes == {"excluded"}


def test_the_same_sources_give_the_same_document(sbom: types.ModuleType) -> None:
    assert sbom.document(ROOT) == sbom.document(ROOT)


def test_an_image_without_a_version_is_refused(sbom: types.ModuleType) -> None:
    with pytest.raises(SystemExit, match="is no image reference"):
        list(sbom.images({"vllm": "@@"}))


def test_the_execution_environment_is_well_formed(tmp_path: Path) -> None:
    """ansible-builder judges it; what it copies must be there, so it gets an archive of the release's name."""
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())
    archive = tmp_path / "dist" / f"{galaxy['namespace']}-{galaxy['name']}-{galaxy['version']}.tar.gz"
    archive.parent.mkdir()
    archive.touch()
    (tmp_path / "requirements").symlink_to(ROOT / "requirements")
    definition = tmp_path / "execution-environment.yml"
    definition.write_text((ROOT / "execution-environment.yml").read_text())
    program = str(Path(sys.executable).parent / "ansible-builder")
    done = subprocess.run(
        [program, "create", "-f", str(definition), "-c", str(tmp_path / "context")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "context" / "_build" / "collections" / archive.name).is_file()


def test_the_execution_environment_has_the_locked_core(lock: dict[str, str]) -> None:
    definition = yaml.safe_load((ROOT / "execution-environment.yml").read_text())
    assert definition["dependencies"]["ansible_core"]["package_pip"] == f"ansible-core=={lock['ansible-core']}"
