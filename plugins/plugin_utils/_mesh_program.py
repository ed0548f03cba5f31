# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The prober's files as its pod has them. Private to the collection; it may change at any time."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_frames, _mesh_matrix, _mesh_schedule

#: Modules of the collection that the prober imports without its underscore.
SHARED = (_mesh_schedule, _mesh_matrix, _mesh_frames)
ENTRY = "mesh_prober.py"


def program_files(folder: Path) -> dict[str, str]:
    """File name to text, flat: the keys of a ConfigMap have no folders."""
    files = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))}
    if ENTRY not in files:
        raise FileNotFoundError(f"{folder} holds no {ENTRY}")
    for module in SHARED:
        path = Path(str(module.__file__))
        files[path.name.lstrip("_")] = path.read_text(encoding="utf-8")
    return files


def version_of(files: dict[str, str]) -> str:
    """Changes with any of the files."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:12]
