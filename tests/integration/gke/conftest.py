# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import pathlib
import sys
from collections.abc import Iterator

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from _harness import Bench, bench


@pytest.fixture
def site(tmp_path: pathlib.Path) -> Iterator[Bench]:
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(bench(tmp_path))
