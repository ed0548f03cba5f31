# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from loading import load_file

TOOLS = Path(__file__).resolve().parents[3] / "tools"


def load(name: str) -> types.ModuleType:
    """A script of tools/ as a module, under a name that hides none of the standard library's."""
    if str(TOOLS) not in sys.path:
        sys.path.append(str(TOOLS))
    return load_file(TOOLS / f"{name}.py", f"wide_ep_tool_{name}")


@pytest.fixture(scope="session")
def load_tool() -> Callable[[str], types.ModuleType]:
    return load
