# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: api_probe
short_description: Reach the API server, ask for rights, and tell which objects it could take
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Fails within 10 seconds, not minutes, where the API server does not answer.
  - Asks by SelfSubjectAccessReview for each right and names those that are missing.
  - Splits objects into those that a server-side dry run can judge and those whose kind or namespace does not exist yet.
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
  namespace:
    description: The namespace that O(rights) are asked for.
    type: str
  rights:
    description: Rights, each with C(verb), C(group) and C(resource).
    type: list
    elements: dict
    default: []
  objects:
    description: Kubernetes objects.
    type: list
    elements: dict
    default: []
  allow_unreachable:
    description: Warn instead of failing where the API server does not answer.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Ask whether LeaderWorkerSets may be applied
  llmd.wide_ep.api_probe:
    namespace: llm-d-wide-ep
    rights:
      - {verb: patch, group: leaderworkerset.x-k8s.io, resource: leaderworkersets}
"""

RETURN = r"""
reachable:
  description: Whether the API server answered.
  type: bool
  returned: always
server_version:
  description: The version of the API server.
  type: str
  returned: when reachable
  sample: v1.36.3
applicable:
  description: The objects whose kind and namespace exist.
  type: list
  elements: dict
  returned: when reachable
pending:
  description: Kind and name of the objects whose kind or namespace does not exist yet.
  type: list
  elements: str
  returned: when reachable
findings:
  description: The missing rights.
  type: list
  elements: dict
  returned: when reachable
"""
