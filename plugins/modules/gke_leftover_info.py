# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gke_leftover_info
short_description: Cloud objects that a GKE cluster's controllers have made
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Lists forwarding rules, network endpoint groups, health checks, firewalls, addresses and disks that Services,
    Gateways and claims in a cluster have led to. A removal waits until they are gone before it deletes the cluster,
    because nothing removes them afterwards.
  - An object counts by its network, by GKE's label with the cluster's name, or by what its description says.
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
  cluster:
    description: The cluster's name.
    type: str
    required: true
  network:
    description: The name of the cluster's network.
    type: str
    required: true
  own:
    description: Names of objects in the network that are no leftovers, such as its own firewall.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Wait until the load balancers and disks are gone
  llmd.wide_ep.gke_leftover_info:
    project: my-project
    cluster: wide-ep
    network: wide-ep-net-0
  register: found
  until: found.objects | rejectattr('with_cluster') | length == 0
  retries: 60
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
  description:
    - What is there, each with C(kind), C(name), C(scope), C(reason), which tells what made it, and C(with_cluster),
      which says that it is deleted together with the cluster.
  type: list
  elements: dict
  returned: on success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_leftovers as leftovers
from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_module as gke
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_rest import Target

ARGUMENTS: dict[str, t.Any] = {
    **gke.ACCESS,
    "cluster": {"type": "str", "required": True},
    "network": {"type": "str", "required": True},
    "own": {"type": "list", "elements": "str", "default": []},
}


def work(runner: gke.Runner) -> dict[str, t.Any]:
    params = runner.params
    project = f"projects/{params['project']}"
    found: dict[str, list[dict[str, t.Any]]] = {
        kind: leftovers.flattened(kind, runner.client.pages(Target("compute", f"{project}/aggregated/{kind}"), "items"))
        for kind in leftovers.AGGREGATED
    }
    found["firewalls"] = runner.client.pages(Target("compute", f"{project}/global/firewalls"), "items")
    left = leftovers.leftovers(found, params["network"], params["cluster"], params["own"])
    return {"changed": False, "objects": [item.as_dict() for item in left]}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    gke.Runner(module).run(work)


if __name__ == "__main__":
    main()
