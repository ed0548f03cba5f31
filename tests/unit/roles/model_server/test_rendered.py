# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The committed manifests are what the role renders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[4]
ROLE = ROOT / "roles/model_server"
VARIABLES = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))
OVERLAYS, COMPONENTS = VARIABLES["_model_server_overlays"], VARIABLES["_model_server_components"]


def test_rendered_manifests_are_current() -> None:
    # A process of its own: Ansible's loader of collections is set up once, and other tests set it up otherwise.
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/render_model_server.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"run tools/render_model_server.py and read the difference\n{done.stdout}{done.stderr}"


def test_every_overlay_and_component_is_rendered() -> None:
    expected = {"+".join([overlay, *more]) for overlay in OVERLAYS for more in ([], *([name] for name in COMPONENTS))}
    assert {path.stem for path in (ROOT / "tests/data/rendered").glob("*.yaml")} == expected


def test_every_layer_is_listed() -> None:
    listed = {"base", *(f"overlay_{name}" for name in OVERLAYS), *(f"component_{name}" for name in COMPONENTS)}
    assert {path.stem for path in (ROLE / "files/layers").glob("*.yml")} == listed
