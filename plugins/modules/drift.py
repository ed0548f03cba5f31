# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: drift
short_description: Compare what runs with what the inventory asks for
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Asks the API server what each object would become (a dry run of server-side apply) and compares that with
    the object, so that defaults and webhooks never look like a difference.
  - Finds what someone added by hand by its owner in C(managedFields), objects under the deployment's label
    that nobody asked for, and pods whose image is not that of their template.
  - Fails where something differs. It changes nothing.
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
  objects:
    description: The objects that the collection applies.
    type: list
    elements: dict
    required: true
  helm_manifest:
    description: The objects of the router's release, as C(helm_info) returns them.
    type: list
    elements: raw
    default: []
  helm_decision:
    description: What P(llmd.wide_ep.helm_release_decision#filter) says of the release.
    type: dict
    required: true
  cloud:
    description: What the modules of the provider's objects return in check mode.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Compare
  llmd.wide_ep.drift:
    plan: "{{ wide_ep_plan }}"
    objects: "{{ __example_objects }}"
    helm_decision: {action: unchanged}
"""

RETURN = r"""
compared:
  description: How many objects were compared.
  type: int
  returned: always
  sample: 20
unreadable:
  description: Objects that the identity may not compare, because it may not change them.
  type: list
  elements: str
  returned: always
  sample: []
requests:
  description: Requests to the API server.
  type: int
  returned: always
  sample: 90
tables:
  description: A table for M(llmd.wide_ep.phase_result).
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
