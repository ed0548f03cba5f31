# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gke_network_info
short_description: What there is of networks at Google, and whose it is
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Lists networks, subnets, firewall rules, routers and resource policies with the mark of their owner.
  - With O(owner) it is the inventory that has to be empty after a removal.
extends_documentation_fragment:
  - llmd.wide_ep._gke
attributes:
  check_mode:
    description: It changes nothing.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
options:
  name:
    description: Only objects whose names begin with it and a dash.
    type: str
  owner:
    description: Only objects with this mark.
    type: str
  region:
    description: The region of subnets, routers and policies.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: See what is left of the deployment's networks
  llmd.wide_ep.gke_network_info:
    project: my-project
    region: europe-west1
    owner: wide-ep-lws
  register: left
  failed_when: left.objects | length > 0
"""

RETURN = r"""
elapsed:
  description: Seconds that it took.
  type: float
  returned: always
findings:
  description: Reasons to stop or to warn, each with C(code), C(severity), C(subject), C(evidence) and C(fix).
  type: list
  elements: dict
  returned: always
objects:
  description: The objects, each with C(kind), C(name), C(owner), which is empty without a mark, and C(resource).
  type: list
  elements: dict
  returned: on success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_module as gke
from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_network as network
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_rest import Target

ARGUMENTS: dict[str, t.Any] = {
    **gke.ACCESS,
    "name": {"type": "str"},
    "owner": {"type": "str"},
    "region": {"type": "str", "required": True},
}


def work(runner: gke.Runner) -> dict[str, t.Any]:
    params = runner.params
    objects = []
    for kind, scope in network.scopes(params["region"]):
        target = Target("compute", f"projects/{params['project']}/{scope}/{kind}")
        objects += [network.described(kind, live) for live in runner.client.pages(target, "items")]
    return {"changed": False, "objects": [found for found in objects if wanted(found, params)]}


def wanted(found: dict[str, t.Any], params: dict[str, t.Any]) -> bool:
    named = not params["name"] or found["name"].startswith(f"{params['name']}-")
    return named and params["owner"] in (None, "", found["owner"])


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    gke.Runner(module).run(work)


if __name__ == "__main__":
    main()
