# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_minutes
short_description: Count the GPU minutes of the nodes, and stop at a budget
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - A GPU counts from the creation of its node on, by the clock of the API server, whether anything runs on it or not.
  - Where no API server answers there is nothing to count yet, and the result says so.
extends_documentation_fragment:
  - llmd.wide_ep._access
attributes:
  check_mode:
    description: It changes nothing.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
options:
  budget:
    description: GPU minutes at which the task fails. V(0) is no limit.
    type: float
    default: 0
  label_selector:
    description: Count only nodes with these labels.
    type: str
"""

EXAMPLES = r"""
- name: Stop before the next phase when the budget is spent
  llmd.wide_ep.gpu_minutes:
    budget: "{{ wide_ep_gpu_minutes_budget }}"
"""

RETURN = r"""
counted:
  description: Whether an API server answered.
  type: bool
  returned: always
findings:
  description: The reason to stop, with C(code), C(severity), C(subject), C(evidence) and C(fix).
  type: list
  elements: dict
  returned: when counted
gpus:
  description: GPUs that exist now.
  type: int
  returned: always
minutes:
  description: GPU minutes so far.
  type: float
  returned: always
spans:
  description: The GPUs of each node, with C(gpus) and C(since), which is in seconds since the epoch.
  type: list
  elements: dict
  returned: always
"""
