# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads what is no package: programs of roles, scripts of tools/, modules beside a test."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path


def load_file(path: Path, name: str) -> types.ModuleType:
    """The file as a module under a name that hides nothing else."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
