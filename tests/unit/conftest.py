# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be set before any test: Ansible reads where collections are when it is first imported."""

from __future__ import annotations

import os
import signal
from pathlib import Path

os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(Path(__file__).parents[2] / ".ansible" / "collections")

# A shell that starts a job in the background without job control has it ignore SIGINT, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
