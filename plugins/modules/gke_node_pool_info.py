# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gke_node_pool_info
short_description: Node pools of a GKE cluster as they are
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Describes node pools with their size, their conditions and whose they are.
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
  location:
    description: The cluster's location.
    type: str
    required: true
  name:
    description: Only this pool. All of the cluster if it is not set.
    type: str
"""

EXAMPLES = r"""
- name: Look at the node pools
  llmd.wide_ep.gke_node_pool_info:
    project: my-project
    location: europe-west1
    cluster: wide-ep
  register: found
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
node_pools:
  description:
    - The pools, each with C(name), C(owner), C(status), C(target_size), which counts the nodes that are asked for in
      all zones, C(findings) about an error state, and C(resource), which is Google's description.
  type: list
  elements: dict
  returned: on success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_module as gke
from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_node_pool as node_pool
from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_pool_keeper as keeping
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_objects import OWNER_LABEL
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_rest import Target

ARGUMENTS: dict[str, t.Any] = {
    **gke.ACCESS,
    "cluster": {"type": "str", "required": True},
    "location": {"type": "str", "required": True},
    "name": {"type": "str"},
}


def work(runner: gke.Runner) -> dict[str, t.Any]:
    params = runner.params
    cluster = f"projects/{params['project']}/locations/{params['location']}/clusters/{params['cluster']}"
    everywhere = Target("container", f"{cluster}/nodePools")
    if params["name"]:
        found = [runner.client.get(Target("container", f"{everywhere.path}/{params['name']}"))]
    else:
        found = runner.client.pages(everywhere, "nodePools")
    return {"changed": False, "node_pools": [described(live, runner) for live in found if live is not None]}


def described(live: dict[str, t.Any], runner: gke.Runner) -> dict[str, t.Any]:
    return {
        "name": live.get("name", ""),
        "owner": live.get("config", {}).get("resourceLabels", {}).get(OWNER_LABEL, ""),
        "status": live.get("status", ""),
        "target_size": keeping.target_size(runner.client, live),
        "findings": [finding.as_dict() for finding in node_pool.state_findings(live)],
        "resource": live,
    }


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    gke.Runner(module).run(work)


if __name__ == "__main__":
    main()
