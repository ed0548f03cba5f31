# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible reads where collections are when it is first imported, so this comes before any test."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(Path(__file__).parents[2] / ".ansible" / "collections")
