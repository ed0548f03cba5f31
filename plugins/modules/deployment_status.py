# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: deployment_status
short_description: Show how a deployment is
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Reads tiers, groups, pods, router, images, lock and the last kept proof in a few requests.
  - Fails where a part is missing or not ready, so that its exit code can be watched.
extends_documentation_fragment:
  - llmd.wide_ep._access
attributes:
  check_mode:
    description: It changes nothing.
    support: full
  diff_mode:
    description: It shows no difference.
    support: none
options:
  plan:
    description: The plan of the deployment, C(wide_ep_plan).
    type: dict
    required: true
  artifacts_dir:
    description: Where runs keep their results.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Look at the deployment
  llmd.wide_ep.deployment_status:
    plan: "{{ wide_ep_plan }}"
    artifacts_dir: "{{ wide_ep_artifacts_dir }}"
"""

RETURN = r"""
state:
  description: One of V(present), V(unhealthy), V(partial), V(absent) and V(foreign).
  type: str
  returned: always
  sample: present
summary:
  description: Pairs for M(llmd.wide_ep.phase_result).
  type: list
  elements: list
  returned: always
  sample: []
tables:
  description: Tables for M(llmd.wide_ep.phase_result).
  type: list
  elements: dict
  returned: always
  sample: []
findings:
  description: What was found, each with code, severity, subject, evidence and fix.
  type: list
  elements: dict
  returned: always
  sample: []
"""
