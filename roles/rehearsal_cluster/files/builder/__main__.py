# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry point: `python3 roles/rehearsal_cluster/files/builder VERB`."""

from __future__ import annotations

import sys
from pathlib import Path

# A build must not write into the checkout.
sys.dont_write_bytecode = True
if __package__ in (None, ""):
    # Run as a folder, Python puts the folder itself on the path; the modules are a package of its parent.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from builder.cli import main

sys.exit(main())
