# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: restart_guard
short_description: Compare wanted model servers with those that run, and stop before a restart that is not allowed
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Compares LeaderWorkerSets field by field. Another pod template or group size restarts a tier, other changes do not.
  - A tier that would restart fails the task and is told with its GPUs, the outage and the fields, unless restarts are
    allowed.
  - It runs in the controller's process and changes nothing; what it returns says what to delete and what to apply.
attributes:
  check_mode:
    description: It changes nothing. In check mode a restart is shown and does not fail the task.
    support: full
  diff_mode:
    description: It shows exactly the fields that differ, one a line. Values of Secrets are not among them.
    support: full
options:
  wanted:
    description: The rendered objects. All that are no LeaderWorkerSets are passed on.
    type: list
    elements: dict
    required: true
  live:
    description: The LeaderWorkerSets that exist, with their managed fields.
    type: list
    elements: dict
    required: true
  allow_restart:
    description: Whether tiers may restart.
    type: bool
    required: true
  start_budget_seconds:
    description: How long a pod may take until it answers.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Stop before a restart
  llmd.wide_ep.restart_guard:
    wanted: "{{ __example_objects }}"
    live: "{{ __example_live.found.decode.resources }}"
    allow_restart: "{{ wide_ep_allow_restart }}"
    start_budget_seconds: 2700
  register: __example_guard
"""

RETURN = r"""
actions:
  description: What happens to each tier. One of V(create), V(keep), V(update), V(restart) and V(recreate).
  type: dict
  returned: success
  sample: {prefill: keep, decode: restart}
recreate:
  description: Objects to delete before they are applied, since Kueue's webhook refuses to change them.
  type: list
  elements: dict
  returned: success
apply:
  description: Objects to apply. In check mode without those that are recreated.
  type: list
  elements: dict
  returned: success
findings:
  description: One finding for each tier that restarts.
  type: list
  elements: dict
  returned: always
msg:
  description: The same as text. Empty where no tier restarts.
  type: str
  returned: always
"""
