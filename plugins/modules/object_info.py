# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: object_info
short_description: Read Kubernetes objects, several queries in one task
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Reads in the controller's process over one connection, in a tenth of the time of a module that starts a process.
  - A kind that the API server does not serve is no error; its query finds nothing and says so.
  - Of a Secret only the keys are returned, never the values.
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
  queries:
    description:
      - The queries, by a name of your choice.
      - Each has C(api_version) and C(kind), and may have C(namespace), C(name) or C(label_selector).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Read the namespace and the endpoint picker
  llmd.wide_ep.object_info:
    queries:
      namespace: {api_version: v1, kind: Namespace, name: llm-d-wide-ep}
      epp: {api_version: apps/v1, kind: Deployment, namespace: llm-d-wide-ep, name: wide-ep-lws-epp}
  register: __example_objects
"""

RETURN = r"""
found:
  description: For each query whether the kind is served (C(served)) and the matching objects (C(resources)).
  type: dict
  returned: success
  sample:
    namespace:
      served: true
      resources: []
"""
