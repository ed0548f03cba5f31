# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The prober's modules, with those of the collection that its pod has beside them."""

from __future__ import annotations

import importlib
import sys
import typing as t
from pathlib import Path
from types import ModuleType

import pytest

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._mesh_program import SHARED

PROGRAM = Path(__file__).parents[4] / "roles" / "rdma_mesh" / "files" / "prober"


@pytest.fixture(scope="module")
def prober() -> t.Iterator[t.Callable[[str], ModuleType]]:
    """Import a module of the prober by its name."""
    before = set(sys.modules)
    sys.path.insert(0, str(PROGRAM))
    for module in SHARED:
        sys.modules[Path(str(module.__file__)).stem.lstrip("_")] = module
    yield importlib.import_module
    sys.path.remove(str(PROGRAM))
    for name in set(sys.modules) - before:
        if name.startswith("mesh_"):
            del sys.modules[name]
