# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gke_network
short_description: The networks of a GKE cluster with RDMA node pools
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Keeps the VPC of a cluster with ranges for pods and services, Cloud Router and NAT, a VPC for the second Ethernet
    interface, a VPC made by the zone's RoCE profile with a subnet per RDMA interface, firewall rules and, where asked
    for, a proxy-only subnet and a workload policy.
  - Only what is wanted is compared with what is there. What cannot be changed in place is refused with the fields that
    differ, unless O(allow_replace) names the object.
  - What an interrupted run began is taken up; nothing is created twice, lost answers included.
  - Each object carries O(owner) in its description. Objects with another mark or none are left alone.
extends_documentation_fragment:
  - llmd.wide_ep._gke
  - llmd.wide_ep._gke.work
attributes:
  check_mode:
    description: Reads and decides, and sends nothing that changes anything.
    support: full
  diff_mode:
    description: Shows the fields that differ, by object.
    support: full
options:
  firewalls:
    description:
      - The networks within which everything is allowed. V(rdma) is refused, because its profile allows no rules.
    type: list
    elements: str
    choices: [primary, gvnic, rdma]
    default: [primary, gvnic]
  gvnic_range:
    description: Range of the second Ethernet interface's subnet.
    type: str
    default: 192.168.64.0/18
  interfaces:
    description:
      - V(explicit) makes the networks of the second Ethernet interface and of the RDMA interfaces.
      - With V(dranet) GKE makes them itself, with V(none) there are none.
    type: str
    choices: [explicit, dranet, none]
    default: explicit
  mtu:
    description: MTU of the networks.
    type: int
    default: 8896
  name:
    description: What the objects' names begin with.
    type: str
    required: true
  nat:
    description: Whether nodes without an external address reach the internet, from where they pull images.
    type: bool
    default: true
  nodes_range:
    description: Range of the nodes.
    type: str
    default: 192.168.0.0/18
  pods_range:
    description: Range of the pods.
    type: str
    default: 10.4.0.0/14
  proxy_range:
    description: Range of a proxy-only subnet, which regional Gateways need. There is none if it is not set.
    type: str
  rdma_profile:
    description: Network profile of the RDMA network, C(<zone>-vpc-roce) if not set.
    type: str
  rdma_range:
    description: Range that is cut into the subnets of the RDMA interfaces.
    type: str
    default: 192.168.128.0/18
  rdma_subnets:
    description: RDMA interfaces of a node, 8 with A3 Ultra and A4, 4 with A4X.
    type: int
    default: 8
  region:
    description: The region.
    type: str
    required: true
  services_range:
    description: Range of the Services.
    type: str
    default: 10.0.32.0/20
  workload_policy_topology:
    description: Topology of a workload policy, such as V(1x72) for A4X. There is none if it is not set.
    type: str
  zone:
    description: The zone of the GPU nodes, for which the RDMA network is made.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Keep the networks
  llmd.wide_ep.gke_network:
    project: my-project
    region: europe-west1
    zone: europe-west1-b
    name: wide-ep
    owner: wide-ep-lws
  register: networks

- name: Remove the networks
  llmd.wide_ep.gke_network:
    project: my-project
    region: europe-west1
    zone: europe-west1-b
    name: wide-ep
    owner: wide-ep-lws
    state: absent
"""

RETURN = r"""
actions:
  description: What was or would be done, with C(object), C(action) and C(fields).
  type: list
  elements: dict
  returned: always
elapsed:
  description: Seconds that it took.
  type: float
  returned: always
findings:
  description: Reasons to stop or to warn, each with C(code), C(severity), C(subject), C(evidence) and C(fix).
  type: list
  elements: dict
  returned: always
network:
  description: Name of the cluster's network.
  type: str
  returned: on success
node_pool_networks:
  description: The additional interfaces of a node pool in their order, each with C(network) and C(subnetwork).
  type: list
  elements: dict
  returned: on success
operations:
  description: Names of the operations that this run started or took up.
  type: list
  elements: str
  returned: always
pods_range_name:
  description: Name of the pods' range in RV(subnetwork).
  type: str
  returned: on success
policy:
  description: Name of the workload policy, empty if there is none.
  type: str
  returned: on success
replace_required:
  description: For each object that would have to be replaced, the fields with what is there and what is wanted.
  type: dict
  returned: when something would have to be replaced
services_range_name:
  description: Name of the Services' range in RV(subnetwork).
  type: str
  returned: on success
subnetwork:
  description: Name of the cluster's subnet.
  type: str
  returned: on success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_module as gke
from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_network as network
from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_network_checks as checks
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_objects import Allowed, Keeper, owner_findings
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_rest import Target

ARGUMENTS: dict[str, t.Any] = {
    **gke.ACCESS,
    **gke.WORK,
    "firewalls": {
        "type": "list",
        "elements": "str",
        "choices": ["primary", "gvnic", "rdma"],
        "default": ["primary", "gvnic"],
    },
    "gvnic_range": {"type": "str", "default": "192.168.64.0/18"},
    "interfaces": {"type": "str", "choices": ["explicit", "dranet", "none"], "default": "explicit"},
    "mtu": {"type": "int", "default": 8896},
    "name": {"type": "str", "required": True},
    "nat": {"type": "bool", "default": True},
    "nodes_range": {"type": "str", "default": "192.168.0.0/18"},
    "pods_range": {"type": "str", "default": "10.4.0.0/14"},
    "proxy_range": {"type": "str"},
    "rdma_profile": {"type": "str"},
    "rdma_range": {"type": "str", "default": "192.168.128.0/18"},
    "rdma_subnets": {"type": "int", "default": 8},
    "region": {"type": "str", "required": True},
    "services_range": {"type": "str", "default": "10.0.32.0/20"},
    "workload_policy_topology": {"type": "str"},
    "zone": {"type": "str", "required": True},
}


def work(runner: gke.Runner) -> dict[str, t.Any]:
    options = gke.options_of(network.Options, runner.params)
    runner.require([*owner_findings(options.owner), *checks.judge(options)])
    items = network.items(options)
    keeper = Keeper(runner.client, runner.module.check_mode, runner.client.get)
    keeper.settle(items)
    if runner.params["state"] == "absent":
        decisions = keeper.absent(items)
    else:
        allowed = Allowed(frozenset(runner.params["allow_replace"]))
        decisions = network.with_members(keeper.present(items, allowed), allowed)
        if any(decision.live is None and decision.name == options.names["rdma"] for decision in decisions):
            runner.require(check_profile(options, runner))
    runner.require(gke.refusals(decisions), **gke.refused(decisions))
    if not runner.module.check_mode:
        keeper.carry_out(decisions)
    return {**gke.result_of(decisions), **facts(options)}


def check_profile(options: network.Options, runner: gke.Runner) -> list[gke.Finding]:
    """A network of a profile that the zone does not have cannot be created."""
    found = runner.client.get(network.profile_target(options))
    if found is not None:
        return checks.profile_findings(options, found, [])
    everywhere = Target("compute", f"projects/{options.project}/global/networkProfiles")
    return checks.profile_findings(options, None, [item["name"] for item in runner.client.pages(everywhere, "items")])


def facts(options: network.Options) -> dict[str, t.Any]:
    return {
        "network": options.names["primary"],
        "subnetwork": options.names["primary_subnet"],
        "pods_range_name": network.PODS_RANGE,
        "services_range_name": network.SERVICES_RANGE,
        "policy": options.names["policy"] if options.workload_policy_topology else "",
        "node_pool_networks": network.for_node_pool(options),
    }


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    gke.Runner(module).run(work)


if __name__ == "__main__":
    main()
