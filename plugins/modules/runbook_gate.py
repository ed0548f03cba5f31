# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: runbook_gate
short_description: Judge a runbook before it starts, show what it interrupts, and ask
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Looks at the deployment once and refuses where there is none, half of one, or another owner's.
  - Judges room on the nodes before a group moves or a tier grows.
  - Shows which tiers, pods and GPUs are concerned and what users notice for how long. Where service is
    interrupted it asks for a yes; where nobody can answer it refuses and says how to give the yes beforehand.
extends_documentation_fragment:
  - llmd.wide_ep._access
attributes:
  check_mode:
    description: It shows the impact and asks nothing.
    support: full
  diff_mode:
    description: It shows no difference.
    support: none
options:
  operation:
    description: The runbook. V(look) only judges whether the deployment is there.
    type: str
    required: true
    choices: [drain_node, look, restart_group, return_node, rollback, rotate_hf_token, scale, upgrade]
  plan:
    description: The plan of the deployment, C(wide_ep_plan).
    type: dict
    required: true
  tier:
    description: Of V(restart_group), V(prefill) or V(decode).
    type: str
    default: ""
  group:
    description: Of V(restart_group), the index of the group.
    type: int
    default: 0
  node:
    description: Of V(drain_node) and V(return_node), the name of the node.
    type: str
    default: ""
  wanted:
    description: Of V(upgrade) and V(rollback), the model servers that will be applied.
    type: list
    elements: dict
    default: []
  router_change:
    description: Why the router's release changes; empty where it does not.
    type: str
    default: ""
  start_budget_seconds:
    description: How long a group may take to start.
    type: int
    default: 2700
  allowed:
    description: A yes given beforehand.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Judge the restart of a group and ask
  llmd.wide_ep.runbook_gate:
    operation: restart_group
    plan: "{{ wide_ep_plan }}"
    tier: decode
    group: 0
    allowed: "{{ wide_ep_allow_restart }}"
  register: __example_gate
"""

RETURN = r"""
intent:
  description:
    - What will happen, C(impact), C(interrupts), C(idle) (why there is nothing to do), C(groups), C(nodes),
      C(tiers).
  type: dict
  returned: success
  sample:
    impact: ["decode group 0: 2 pods, 16 GPUs on gpu-0, gpu-1; no other group of the tier is ready"]
    interrupts: true
    idle: ""
    groups: []
    nodes: []
    tiers: [decode]
findings:
  description: What was found, each with code, severity, subject, evidence and fix.
  type: list
  elements: dict
  returned: always
  sample: []
"""
