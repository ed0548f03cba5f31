# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: phase_result
short_description: Record what a phase found
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Writes C(<artifacts_dir>/<release>/<run id>/<phase>.json), which later phases and reports read.
  - The callback P(llmd.wide_ep.phases#callback) gives the run its id and prints O(summary) and O(tables) at the end.
  - A second result of the same phase and run replaces the first.
  - Never reports a change, because it changes nothing in the cluster. Do not give it secrets.
attributes:
  check_mode:
    description: The result is printed at the end; no file is written.
    support: full
  diff_mode:
    description: There is nothing to compare with.
    support: none
options:
  phase:
    description: The name of the phase, which is the stem of its playbook's file.
    type: str
    required: true
  summary:
    description: What the reader wants to know first, as pairs of label and value.
    type: list
    elements: list
  tables:
    description: Tables, each with C(title), C(columns) and C(rows).
    type: list
    elements: dict
  data:
    description: Everything else, for programs.
    type: dict
  artifacts_dir:
    description: The folder for results. The default is the variable C(wide_ep_artifacts_dir).
    type: path
  release:
    description: The name of the deployment. The default is the variable C(wide_ep_release).
    type: str
"""

EXAMPLES = r"""
- name: Record the proof
  llmd.wide_ep.phase_result:
    phase: verify
    summary:
      - [endpoint, http://wide-ep-lws-epp.llm-d-wide-ep]
      - [prefilled remotely, 16 of 16 requests]
    tables:
      - title: Requests per pod
        columns: [pod, role, requests]
        rows:
          - [wide-ep-lws-nvidia-gpu-vllm-decode-0, decode, 8]
    data: "{{ __verify_proof }}"
"""

RETURN = r"""
phase_result:
  description: What was recorded, without O(data).
  type: dict
  returned: success
  contains:
    phase:
      description: The phase.
      type: str
      returned: success
    release:
      description: The deployment.
      type: str
      returned: success
    host:
      description: The host of the inventory that stands for the deployment.
      type: str
      returned: success
    summary:
      description: The pairs of label and value.
      type: list
      elements: list
      returned: success
    tables:
      description: The tables.
      type: list
      elements: dict
      returned: success
    path:
      description: The file; none in check mode.
      type: str
      returned: success
"""
