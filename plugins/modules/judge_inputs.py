# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: judge_inputs
short_description: Judge the shared inputs before anything changes
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Rejects unknown C(wide_ep_*) variables and names the nearest known one, invalid Kubernetes names, experts that do
    not divide over the ranks, more ranks than a node of the overlay has GPUs, and inputs that do not fit each other. It
    reports all findings at once.
attributes:
  action:
    description: It runs on the controller, in the process of the run.
    support: full
  check_mode:
    description: It changes nothing.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
options:
  plan:
    description: The plan of the deployment, as filter P(llmd.wide_ep.plan#filter) makes it.
    type: dict
    required: true
  allow_marked:
    description: Accept variables that still say C(CHANGE_ME). A plan needs none of them.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Judge the inputs
  llmd.wide_ep.judge_inputs:
    plan: "{{ wide_ep_plan }}"
"""

RETURN = r"""
findings:
  description: What is wrong, each with its code, severity, subject, evidence and fix.
  type: list
  elements: dict
  returned: always
"""
