# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gke_cluster_info
short_description: GKE clusters as they are
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Describes clusters, whose they are, and whether they can have RDMA node pools.
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
  location:
    description: A region or zone.
    type: str
    required: true
  name:
    description: Only this cluster. All of the location if it is not set.
    type: str
"""

EXAMPLES = r"""
- name: Look at a cluster
  llmd.wide_ep.gke_cluster_info:
    project: my-project
    location: europe-west1
    name: wide-ep
  register: found
"""

RETURN = r"""
clusters:
  description:
    - The clusters, each with C(name), C(owner), C(status), C(endpoint), C(version), C(rdma_findings), which says what
      it lacks for RDMA node pools, and C(resource), which is Google's description without keys.
  type: list
  elements: dict
  returned: on success
elapsed:
  description: Seconds that it took.
  type: float
  returned: always
findings:
  description: Reasons to stop or to warn, each with C(code), C(severity), C(subject), C(evidence) and C(fix).
  type: list
  elements: dict
  returned: always
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_cluster as cluster
from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_module as gke
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_objects import OWNER_LABEL
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_rest import Target

ARGUMENTS: dict[str, t.Any] = {
    **gke.ACCESS,
    "location": {"type": "str", "required": True},
    "name": {"type": "str"},
}


def work(runner: gke.Runner) -> dict[str, t.Any]:
    params = runner.params
    everywhere = Target("container", f"projects/{params['project']}/locations/{params['location']}/clusters")
    if params["name"]:
        found = [runner.client.get(Target("container", f"{everywhere.path}/{params['name']}"))]
    else:
        found = runner.client.pages(everywhere, "clusters")
    return {"changed": False, "clusters": [described(live) for live in found if live is not None]}


def described(live: dict[str, t.Any]) -> dict[str, t.Any]:
    return {
        "name": live.get("name", ""),
        "owner": live.get("resourceLabels", {}).get(OWNER_LABEL, ""),
        "status": live.get("status", ""),
        "endpoint": live.get("endpoint", ""),
        "version": live.get("currentMasterVersion", ""),
        "rdma_findings": [finding.as_dict() for finding in cluster.serves_rdma(live, dranet=False)],
        "resource": gke.public(live),
    }


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    gke.Runner(module).run(work)


if __name__ == "__main__":
    main()
