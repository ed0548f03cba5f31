# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: confirm
short_description: Show what is about to happen, and go on with a yes alone
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Prints O(lines), then asks O(question). Any answer but C(yes) ends the run before anything was changed.
  - Where nobody can answer, as in a pipeline, the run ends too, and the message names O(variable).
attributes:
  check_mode:
    description: The lines are printed; nothing is asked.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
options:
  lines:
    description: What is about to happen.
    type: list
    elements: str
    required: true
  question:
    description: The question.
    type: str
    required: true
  variable:
    description: The variable by which a yes is given beforehand.
    type: str
    required: true
  confirmed:
    description: Whether it was given.
    type: bool
    required: true
"""

EXAMPLES = r"""
- name: Ask before the first write that costs money
  llmd.wide_ep.confirm:
    lines: ["node pool gpu: 4 x a3-ultragpu-8g, 32 GPUs"]
    question: Create this?
    variable: wide_ep_confirm_spend
    confirmed: "{{ wide_ep_confirm_spend }}"
"""

RETURN = r"""
by:
  description: What the yes came from, V(answer), V(check mode) or the name of O(variable).
  type: str
  returned: success
"""
