# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The committed manifests are what the role renders."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
SPEC = importlib.util.spec_from_file_location("render_model_server", ROOT / "tools/render_model_server.py")
assert SPEC
assert SPEC.loader
tool = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tool)

COMBINATIONS = tool.combinations()


@pytest.mark.parametrize(("name", "overlay", "components"), COMBINATIONS, ids=[item[0] for item in COMBINATIONS])
def test_rendered_manifests_are_current(name: str, overlay: str, components: list[str]) -> None:
    committed = (tool.RENDERED / f"{name}.yaml").read_text(encoding="utf-8")
    assert committed == tool.text_of(overlay, components), "run tools/render_model_server.py and read the difference"


def test_every_committed_file_has_a_combination() -> None:
    assert {path.stem for path in tool.RENDERED.glob("*.yaml")} == {
        name for name, _overlay, _components in COMBINATIONS
    }


def test_every_layer_is_listed() -> None:
    layers = {path.stem for path in (ROOT / "roles/model_server/files/layers").glob("*.yml")}
    variables = tool.role_variables()
    listed = {f"overlay_{name}" for name in variables["_model_server_overlays"]}
    assert layers == {"base"} | listed | {f"component_{name}" for name in variables["_model_server_components"]}
