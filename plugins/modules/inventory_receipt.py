# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: inventory_receipt
short_description: Tell what of a deployment exists, and what a removal did about it
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Looks at every kind that the API server lists, by metadata alone, in the deployment's namespace and outside of
    namespaces. Ours are objects with the label of the deployment, objects of its Helm release, and what controllers
    made for either of them.
  - Given what existed before a removal, it writes a receipt in three lists. Removed is what is gone. Kept on purpose is
    what others may use, each with the command that removes it. Left over is the rest; the task fails where it is not
    empty.
  - It removes nothing itself and strips no finalizer.
extends_documentation_fragment:
  - llmd.wide_ep._access
attributes:
  check_mode:
    description: In check mode it lists what would be removed.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
options:
  release:
    description: Name of the deployment, which is also its Helm release.
    type: str
    required: true
  namespace:
    description: Namespace of the deployment.
    type: str
    required: true
  platform_kubeconfig:
    description: The kubeconfig that reads what is outside of namespaces. Without it O(kubeconfig) does.
    type: str
  known:
    description: Names of objects in the namespace that go with it although they carry no label of ours.
    type: list
    elements: str
    default: []
  before:
    description: RV(objects) of an earlier run of this module. Given, it writes a receipt.
    type: list
    elements: dict
  timeout:
    description: Seconds to wait until nothing is left over.
    type: float
    default: 60
"""

EXAMPLES = r"""
- name: Take stock before the removal
  llmd.wide_ep.inventory_receipt:
    release: wide-ep-lws
    namespace: llm-d-wide-ep
  register: __example_before

- name: Write the receipt
  llmd.wide_ep.inventory_receipt:
    release: wide-ep-lws
    namespace: llm-d-wide-ep
    before: "{{ __example_before.objects }}"
"""

RETURN = r"""
objects:
  description: What of the deployment exists now.
  type: list
  elements: dict
  returned: success
  sample:
    - {kind: Deployment, namespace: llm-d-wide-ep, name: wide-ep-lws-epp, uid: 6f1c}
removed:
  description: What existed before and is gone. In check mode what would be removed.
  type: list
  elements: dict
  returned: when O(before) is given
kept:
  description: What stays on purpose, with the reason and the command that removes it.
  type: list
  elements: dict
  returned: when O(before) is given
left_over:
  description: What still exists and should not.
  type: list
  elements: dict
  returned: when O(before) is given
findings:
  description: One finding per object that is left over.
  type: list
  elements: dict
  returned: when O(before) is given
unreadable:
  description: Kinds that the identity may not list.
  type: list
  elements: str
  returned: success
summary:
  description: Label and value pairs for the summary of the run.
  type: list
  elements: list
  returned: when O(before) is given
tables:
  description: The three lists as tables for the summary of the run.
  type: list
  elements: dict
  returned: when O(before) is given
api_requests:
  description: How many requests the API server was sent.
  type: int
  returned: success
"""
