# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: image_pull
short_description: Pull images on nodes, compare them and try their arguments
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Runs one pod per node that pulls every image, serves nothing of it, and is removed. A node without free
    GPUs pulls, too.
  - Fails where an image cannot be pulled on a node, and where one reference is not the same image on all nodes.
extends_documentation_fragment:
  - llmd.wide_ep._access
attributes:
  check_mode:
    description: It pulls nothing and is skipped.
    support: full
  diff_mode:
    description: It shows no difference.
    support: none
options:
  namespace:
    description: The namespace of the pods.
    type: str
    required: true
  release:
    description: The deployment whose label the pods carry.
    type: str
    required: true
  images:
    description: The references.
    type: list
    elements: str
    required: true
  nodes:
    description: The names of the nodes.
    type: list
    elements: str
    required: true
  pull_secrets:
    description: References to Secrets with credentials of the registry, as C(imagePullSecrets) has them.
    type: list
    elements: dict
    default: []
  objects:
    description:
      - Rendered model servers. Each of their programs is started with its arguments and one more that nobody knows,
        so that it ends when it has read them. It has no GPU, no volume and no secret.
      - Fails where a program refuses another argument. What cannot be judged so is a warning.
    type: list
    elements: dict
    default: []
  timeout:
    description: Seconds until all pulls and starts have to be over.
    type: float
    default: 1800
"""

EXAMPLES = r"""
- name: Pull the new image on the nodes of the deployment
  llmd.wide_ep.image_pull:
    namespace: llm-d-wide-ep
    release: wide-ep-lws
    images: ["ghcr.io/llm-d/llm-d-cuda:v0.7.0"]
    nodes: [gpu-0, gpu-1]
"""

RETURN = r"""
digests:
  description: The digest of every image that was pulled.
  type: dict
  returned: success
  sample:
    ghcr.io/llm-d/llm-d-cuda:v0.7.0: sha256:0123
tried:
  description: How many starts of a program of O(objects) were judged.
  type: int
  returned: success
  sample: 12
known:
  description: How many starts of a program know all arguments.
  type: int
  returned: success
  sample: 12
seconds:
  description: How long it took.
  type: float
  returned: success
  sample: 42.5
tables:
  description: The images with the number of nodes that have them, for M(llmd.wide_ep.phase_result).
  type: list
  elements: dict
  returned: success
  sample: []
findings:
  description: What was found, each with code, severity, subject, evidence and fix.
  type: list
  elements: dict
  returned: always
  sample: []
"""
