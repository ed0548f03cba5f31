# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: diagnostics
short_description: Write what explains a deployment's trouble into one archive
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Collects manifests, events, logs (those of crashed containers too), versions, the lines about NCCL,
    NVSHMEM, UCX and NIXL, and what known lines mean.
  - Values of Secrets never leave the process. They are replaced wherever they appear, as is what looks like a
    token or is named like one.
  - The archive can be read by its owner only.
extends_documentation_fragment:
  - llmd.wide_ep._access
attributes:
  check_mode:
    description: It writes nothing and is skipped.
    support: full
  diff_mode:
    description: It shows no difference.
    support: none
options:
  namespaces:
    description: The namespaces to collect, that of the deployment first.
    type: list
    elements: str
    required: true
  release:
    description: The deployment, for the folder.
    type: str
    required: true
  artifacts_dir:
    description: The archive is written to C(<artifacts_dir>/<release>/<run id>/).
    type: path
    required: true
  lines:
    description: At most so many last lines of each log.
    type: int
    default: 5000
  name:
    description: The beginning of the archive's name.
    type: str
    default: diagnostics
"""

EXAMPLES = r"""
- name: Collect what explains the trouble
  llmd.wide_ep.diagnostics:
    namespaces: [llm-d-wide-ep, lws-system]
    release: wide-ep-lws
    artifacts_dir: "{{ wide_ep_artifacts_dir }}"
"""

RETURN = r"""
path:
  description: The archive.
  type: str
  returned: success
  sample: artifacts/wide-ep-lws/20260101T000000Z-ab12/diagnostics-000000.tar.gz
files:
  description: What is in it.
  type: list
  elements: str
  returned: success
  sample: [version.json]
causes:
  description: Known causes that the logs show, with C(name), C(meaning), C(count), C(source) and C(line).
  type: list
  elements: dict
  returned: success
  sample: []
notes:
  description: What could not be read.
  type: list
  elements: str
  returned: success
  sample: []
requests:
  description: Requests to the API server.
  type: int
  returned: success
  sample: 80
"""
