# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as its users get it: built, installed where nothing else is, called by its full name."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

# tools/ is on the path since the harness is imported.
import release
import setup
from harness import CLUSTER, RELEASE, ROOT, Run, require, run_program


def run_environment() -> Path:
    """The environment of the run lock alone, not the tests' one that contains it."""
    lane = setup.pick_lane(sys.version_info[:2], os.environ.get("PATH", ""))
    path = setup.venv_path("run", lane)
    with setup.locked(path):
        if not (path / setup.MARKER).exists():
            setup.say(f"installing run-{lane}.txt into {path}")
            setup.create_venv(path, ROOT / "requirements" / f"run-{lane}.txt")
    return path


def install(programs: Path, folder: Path) -> Path:
    """Build the collection and install it; return its folder. What it depends on comes with the lock's bundle."""
    archive = release.build(folder)
    galaxy = [str(programs / "ansible-galaxy"), "collection", "install", "--no-deps", "-p", str(folder / "collections")]
    done = run_program([*galaxy, str(archive)], folder)
    require(done.code == 0, "ansible-galaxy collection install failed")
    return folder / "collections" / "ansible_collections" / "llmd" / "wide_ep"


def play_installed(playbook: str, *arguments: str, folder: Path) -> Run:
    """Run a playbook of the installed collection with an inventory of it, in a folder without configuration."""
    programs = run_environment() / "bin"
    collection = install(programs, folder)
    empty = folder / "empty"
    empty.mkdir()
    command = [
        str(programs / "ansible-playbook"),
        f"llmd.wide_ep.{playbook}",
        "-i",
        str(collection / "inventories/local"),
    ]
    given = {
        "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"),
        "ANSIBLE_CALLBACKS_ENABLED": "llmd.wide_ep.phases",
        "LLMD_WIDE_EP_SCENARIO": "full",
        "PATH": f"{programs}:{os.defpath}",
    }
    return run_program([*command, "-e", f"rehearsal_cluster_name={CLUSTER}", *arguments], empty, **given)


def installed() -> None:
    """The installed collection finds the deployment of the checkout as it would have made it, and proves it again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = play_installed("site", "-e", f"wide_ep_artifacts_dir={folder / 'artifacts'}", folder=folder)
        require(run.code == 0, f"exit code {run.code}")
        require(run.recap.get("changed") == 0, f"it would have made something else: {run.recap}")
        require(
            "prefilled remotely" in run.output, "the summary does not say how many requests were prefilled remotely"
        )
        require(list((folder / "artifacts" / RELEASE).glob("*/verify.json")), "verify wrote no result")
