# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: group_restart
short_description: Restart groups of LeaderWorkerSets
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Deletes the leader of each group by its uid, so that a group that was restarted meanwhile is left alone.
  - Returns when none of the old pods is left. Waiting for the new ones is the matter of M(llmd.wide_ep.wait_ready).
extends_documentation_fragment:
  - llmd.wide_ep._access
attributes:
  check_mode:
    description: It tells that it would change something.
    support: full
  diff_mode:
    description: It shows no difference.
    support: none
options:
  namespace:
    description: The namespace of the group.
    type: str
    required: true
  groups:
    description:
      - Groups as M(llmd.wide_ep.runbook_gate) returns them, each with C(role), C(set), C(index), C(leader) and C(pods).
    type: list
    elements: dict
    required: true
  timeout:
    description: Seconds until the old pods have to be gone.
    type: float
    default: 300
"""

EXAMPLES = r"""
- name: Restart the first group of decode
  llmd.wide_ep.group_restart:
    namespace: llm-d-wide-ep
    groups: "{{ __example_gate.intent.groups }}"
"""

RETURN = r"""
seconds:
  description: How long the old pods took to go.
  type: float
  returned: when pods were deleted
  sample: 3.2
findings:
  description: What was found, each with code, severity, subject, evidence and fix.
  type: list
  elements: dict
  returned: always
  sample: []
"""
