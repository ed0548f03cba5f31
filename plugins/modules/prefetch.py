# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: prefetch
short_description: Fill the model caches of the nodes before the model servers start
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Runs one Job per node on which the rendered model servers fit, with a pod that has their image, their cache and
    their token and no GPU. So image and model are on the nodes before the start probes begin to count.
  - The pod looks for room first, resumes what an earlier one has left, waits as long as a busy hub asks for, and
    compares sizes and hashes. A complete cache is left alone in seconds.
  - While it runs it shows per node how much is there, GB/s and the time left.
  - Jobs and pods are removed at the end. A run that is interrupted leaves them at work, and the next one finds them.
  - It reports a change where bytes were downloaded or a damaged file was replaced.
extends_documentation_fragment:
  - llmd.wide_ep._access
attributes:
  check_mode:
    description: It tells the nodes and does not look into their caches.
    support: partial
  diff_mode:
    description: It shows no difference.
    support: none
options:
  namespace:
    description: Namespace of the deployment.
    type: str
    required: true
  release:
    description: Name of the deployment, for the names and labels of the Jobs.
    type: str
    required: true
  model:
    description: The model on the hub, owner and name.
    type: str
    required: true
  revision:
    description: Branch, tag or commit of the model.
    type: str
    default: main
  objects:
    description: The rendered LeaderWorkerSets. Image, cache, token, node selector and tolerations come from them.
    type: list
    elements: dict
    required: true
  program:
    description: Path of the program on the controller that the pods run.
    type: path
    required: true
  nodes:
    description: Names of the nodes. Without them every node that fits the pods.
    type: list
    elements: str
    default: []
  workers:
    description: How many files a node downloads at once.
    type: int
    default: 8
  timeout:
    description: Seconds that the download of a node may take.
    type: int
    default: 14400
  patience:
    description: Seconds without a single byte after which a node gives up.
    type: int
    default: 1200
  reserve_percent:
    description: The part of a node's disk that stays free, in percent.
    type: float
    default: 10
  verify:
    description: Whether the hash of every file is compared with the hub's, once.
    type: bool
    default: true
  resources:
    description: Requests and limits of the pods.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Fill the model caches of the GPU nodes
  llmd.wide_ep.prefetch:
    namespace: llm-d-wide-ep
    release: wide-ep-lws
    model: deepseek-ai/DeepSeek-R1-0528
    objects: "{{ rendered_objects }}"
    program: prefetch.py
"""

RETURN = r"""
nodes:
  description: Per node its state, and what the program told last.
  type: list
  elements: dict
  returned: when Jobs were run
findings:
  description: Why a cache is not complete, each with its code, subject, evidence and fix.
  type: list
  elements: dict
  returned: when not in check mode
summary:
  description: Label and value pairs for the summary of the run.
  type: list
  elements: list
  returned: when Jobs were run
tables:
  description: The nodes as a table for the summary of the run.
  type: list
  elements: dict
  returned: when Jobs were run
"""
