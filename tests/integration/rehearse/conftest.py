# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One rehearsal cluster, dressed anew for each module of tests that asks for another provider."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from rehearsal import Rehearsal

# At most 11 characters.
NAME = os.environ.get("LLMD_WIDE_EP_TEST_REHEARSAL") or "rehearse"


@pytest.fixture(scope="module")
def rehearsal(request: pytest.FixtureRequest) -> Iterator[Rehearsal]:
    """The cluster as the module's INVENTORY wants it."""
    made = Rehearsal(request.module.INVENTORY, NAME)
    made.up()
    try:
        yield made
    finally:
        if not os.environ.get("LLMD_WIDE_EP_TEST_KEEP"):
            made.down()
