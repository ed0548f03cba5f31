# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: lock
short_description: Take or release the Lease that says who changes a deployment
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - The Lease lives in the deployment's namespace only while a run that may change something goes on. Taking and
    releasing it reports no change.
  - A Lease that has expired, or whose run on this machine has ended, is taken over with a notice.
extends_documentation_fragment:
  - llmd.wide_ep._access
attributes:
  check_mode:
    description: In check mode it does nothing.
    support: full
  diff_mode:
    description: It reports no change.
    support: none
options:
  state:
    description: Whether to take or to release the lock.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: Name of the Lease.
    type: str
    required: true
  namespace:
    description: Namespace of the Lease.
    type: str
    required: true
  take_over:
    description: Take the lock from a run that still holds it.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Take the lock of the deployment
  llmd.wide_ep.lock:
    name: wide-ep-lws
    namespace: llm-d-wide-ep
"""

RETURN = r"""
holder:
  description: This run, as the Lease names it.
  type: str
  returned: when the lock was taken
"""
