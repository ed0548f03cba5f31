# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Judge a cluster before a deployment
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Takes one snapshot of the cluster in a fixed number of requests and runs a list of checks over it.
  - Rights are read from the identity's rules; only those that the rules do not show are asked one by one.
  - Shows every finding at once and fails where one is an error.
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
  shape:
    description: The kind of node of the overlay.
    type: dict
    required: true
  objects:
    description: The rendered model servers.
    type: list
    elements: dict
    required: true
  roles:
    description: Roles with the rights that a whole run needs; each right is checked.
    type: list
    elements: dict
    default: []
  router_requests:
    description: What the router's pod asks for, by container.
    type: list
    elements: dict
    default: []
  harness_requests:
    description: What the benchmark's client asks for; empty where it does not run, by container.
    type: list
    elements: dict
    default: []
  token_secret:
    description: The Secret with the token of the model hub.
    type: str
    default: llm-d-hf-token
  token_key:
    description: Its key.
    type: str
    default: HF_TOKEN
  token_provided:
    description: Whether the run brings a token along.
    type: bool
    default: false
  token_optional:
    description: Whether pods may start without it.
    type: bool
    default: false
  adopt_namespace:
    description: Whether a namespace of someone else may be used.
    type: bool
    default: false
  pod_security:
    description: The pod security level that the model servers need.
    type: str
    default: privileged
  may_grow:
    description: Whether node pools grow when pods wait.
    type: bool
    default: false
  cuda:
    description: The CUDA version of the model servers' image, where it is known.
    type: str
    default: ""
  lws_namespace:
    description: The namespace of the LeaderWorkerSet controller.
    type: str
    default: lws-system
  kueue_namespace:
    description: The namespace of Kueue.
    type: str
    default: kueue-system
  lws_minimum:
    description: The oldest LeaderWorkerSet version that suffices.
    type: str
    default: 0.7.0
  ignore:
    description: Codes of errors that are told as warnings.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Judge the cluster
  llmd.wide_ep.preflight:
    plan: "{{ wide_ep_plan }}"
    shape: "{{ _wide_ep_node_shape }}"
    objects: "{{ __example_objects }}"
"""

RETURN = r"""
requests:
  description: Requests to the API server.
  type: int
  returned: always
  sample: 19
summary:
  description: Pairs for M(llmd.wide_ep.phase_result).
  type: list
  elements: list
  returned: always
  sample: []
tables:
  description: The checks with their results, for M(llmd.wide_ep.phase_result).
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
