# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gke_cluster
short_description: A GKE cluster that can have RDMA node pools
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Keeps a cluster with Dataplane V2, multi-networking and workload identity, with one small node pool C(system) for
    GKE's own pods. Node pools are kept by M(llmd.wide_ep.gke_node_pool).
  - Only what is wanted is compared with what is there. What cannot be changed in place is refused with the fields that
    differ, unless O(allow_replace) names the cluster.
  - The version and the node pool C(system) are set at creation and not compared later.
  - The cluster carries O(owner) in its resource labels. One with another mark or none is left alone.
extends_documentation_fragment:
  - llmd.wide_ep._gke
  - llmd.wide_ep._gke.work
attributes:
  check_mode:
    description: Reads and decides, and sends nothing that changes anything.
    support: full
  diff_mode:
    description: Shows the fields that differ.
    support: full
options:
  allow_disruptive:
    description: Allows a change of O(node_locations), which adds and removes nodes of every pool.
    type: bool
    default: false
  authorized_networks:
    description:
      - Ranges from which the control plane can be reached; the control host must be in one. All if it is not set.
    type: list
    elements: str
    default: []
  extra:
    description:
      - Fields of the API's Cluster that have no option here, merged into the request and compared like the others.
    type: dict
    default: {}
  gateway_api:
    description: Whether GKE serves Gateways, for the gateway provider V(gke).
    type: bool
    default: false
  labels:
    description: Further resource labels. Labels of others are kept.
    type: dict
    default: {}
  location:
    description: A region, or a zone for a zonal cluster.
    type: str
    required: true
  maintenance_exclusion:
    description: A time without upgrades of minor versions and nodes.
    type: dict
    suboptions:
      end_time:
        description: When it ends, such as V(2027-01-31T00:00:00Z).
        type: str
      name:
        description: Its name.
        type: str
        default: llmd-wide-ep
      start_time:
        description: When it begins.
        type: str
        required: true
      until_end_of_support:
        description: Ends with the support of the version instead of at a time.
        type: bool
        default: false
  monitoring:
    description: Components that send metrics to Cloud Monitoring, such as V(SYSTEM_COMPONENTS) and V(DCGM).
    type: list
    elements: str
    default: []
  name:
    description: The cluster's name, at most 15 characters for names that are not cut.
    type: str
    required: true
  network:
    description: The network, by name or path.
    type: str
    required: true
  node_locations:
    description: Zones of the nodes; GKE chooses three of a region if it is not set.
    type: list
    elements: str
    default: []
  pods_range_name:
    description: Name of the pods' range in O(subnetwork).
    type: str
    default: pods
  private_nodes:
    description: Whether nodes have internal addresses alone.
    type: bool
    default: true
  release_channel:
    description: The release channel.
    type: str
    choices: [RAPID, REGULAR, STABLE, EXTENDED]
    default: REGULAR
  services_range_name:
    description: Name of the Services' range in O(subnetwork).
    type: str
    default: services
  subnetwork:
    description: The subnet, by name or path.
    type: str
    required: true
  system_machine_type:
    description: Machine type of the node pool C(system).
    type: str
    default: e2-standard-4
  system_nodes:
    description: Nodes of the node pool C(system), per zone.
    type: int
    default: 1
  version:
    description: Version of the new cluster, such as V(1.34). The channel's default if not set.
    type: str
"""

EXAMPLES = r"""
- name: Keep the cluster
  llmd.wide_ep.gke_cluster:
    project: my-project
    location: europe-west1
    name: wide-ep
    owner: wide-ep-lws
    network: "{{ networks.network }}"
    subnetwork: "{{ networks.subnetwork }}"
    node_locations: [europe-west1-b]
    authorized_networks: [203.0.113.7/32]
    maintenance_exclusion:
      start_time: "2026-12-01T00:00:00Z"
      until_end_of_support: true
"""

RETURN = r"""
actions:
  description: What was or would be done, with C(object), C(action) and C(fields).
  type: list
  elements: dict
  returned: always
ca_certificate:
  description: The control plane's certificate authority, in base64.
  type: str
  returned: when the cluster exists
cluster:
  description: The cluster as Google describes it, without its node pools and without keys.
  type: dict
  returned: when the cluster exists
elapsed:
  description: Seconds that it took.
  type: float
  returned: always
endpoint:
  description: The control plane's address.
  type: str
  returned: when the cluster exists
findings:
  description: Reasons to stop or to warn, each with C(code), C(severity), C(subject), C(evidence) and C(fix).
  type: list
  elements: dict
  returned: always
operations:
  description: Names of the operations that this run started or took up.
  type: list
  elements: str
  returned: always
replace_required:
  description: If the cluster would have to be replaced, the fields with what is there and what is wanted.
  type: dict
  returned: when something would have to be replaced
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_cluster as cluster
from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_module as gke
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_objects import Allowed, Keeper, owner_findings
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_rest import Target

EXCLUSION = {
    "end_time": {"type": "str"},
    "name": {"type": "str", "default": "llmd-wide-ep"},
    "start_time": {"type": "str", "required": True},
    "until_end_of_support": {"type": "bool", "default": False},
}
ARGUMENTS: dict[str, t.Any] = {
    **gke.ACCESS,
    **gke.WORK,
    "allow_disruptive": {"type": "bool", "default": False},
    "authorized_networks": {"type": "list", "elements": "str", "default": []},
    "extra": {"type": "dict", "default": {}},
    "gateway_api": {"type": "bool", "default": False},
    "labels": {"type": "dict", "default": {}},
    "location": {"type": "str", "required": True},
    "maintenance_exclusion": {"type": "dict", "options": EXCLUSION},
    "monitoring": {"type": "list", "elements": "str", "default": []},
    "name": {"type": "str", "required": True},
    "network": {"type": "str", "required": True},
    "node_locations": {"type": "list", "elements": "str", "default": []},
    "pods_range_name": {"type": "str", "default": "pods"},
    "private_nodes": {"type": "bool", "default": True},
    "release_channel": {
        "type": "str",
        "choices": ["RAPID", "REGULAR", "STABLE", "EXTENDED"],
        "default": "REGULAR",
    },
    "services_range_name": {"type": "str", "default": "services"},
    "subnetwork": {"type": "str", "required": True},
    "system_machine_type": {"type": "str", "default": "e2-standard-4"},
    "system_nodes": {"type": "int", "default": 1},
    "version": {"type": "str"},
}


def work(runner: gke.Runner) -> dict[str, t.Any]:
    options = gke.options_of(cluster.Options, runner.params)
    runner.require([*owner_findings(options.owner), *cluster.judge(options)])
    items = [cluster.item(options)]
    keeper = Keeper(runner.client, runner.module.check_mode, runner.client.get)
    keeper.settle(items)
    if runner.params["state"] == "absent":
        decisions = keeper.absent(items)
    else:
        allowed = Allowed(frozenset(runner.params["allow_replace"]), runner.params["allow_disruptive"])
        decisions = keeper.present(items, allowed)
        if decisions[0].action == "create":
            where = Target("container", f"projects/{options.project}/locations/{options.location}/serverConfig")
            runner.require(cluster.channel_findings(options, runner.client.get(where) or {}))
        if decisions[0].action in ("none", "update"):
            runner.require(cluster.state_findings(decisions[0].live or {}))
    runner.require(gke.refusals(decisions), **gke.refused(decisions))
    if not runner.module.check_mode:
        keeper.carry_out(decisions)
    return {**gke.result_of(decisions), **facts(options, runner)}


def facts(options: cluster.Options, runner: gke.Runner) -> dict[str, t.Any]:
    """How the cluster is reached, once it is there."""
    live = runner.client.get(options.target)
    if live is None:
        return {}
    runner.require(cluster.state_findings(live))
    shown = {key: value for key, value in gke.public(live).items() if key != "nodePools"}
    authority = live.get("masterAuth", {}).get("clusterCaCertificate", "")
    return {"cluster": shown, "endpoint": live.get("endpoint", ""), "ca_certificate": authority}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    gke.Runner(module).run(work)


if __name__ == "__main__":
    main()
