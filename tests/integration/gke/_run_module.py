# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module in a process of its own, to be killed: the name is the argument, the module's arguments are on stdin."""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import sys

COLLECTIONS = pathlib.Path(__file__).resolve().parents[3] / ".ansible" / "collections"
os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(COLLECTIONS)
sys.path.insert(0, str(COLLECTIONS))

from ansible.module_utils.testing import patch_module_args

if __name__ == "__main__":
    module = importlib.import_module(f"ansible_collections.llmd.wide_ep.plugins.modules.{sys.argv[1]}")
    with patch_module_args(json.load(sys.stdin)):
        module.main()
