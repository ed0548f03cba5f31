# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gke_node_pool
short_description: A node pool of a GKE cluster, with GPUs and RDMA interfaces or without
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Keeps a node pool. O(machine) is a GPU machine with all that belongs to it; O(machine_type) any other.
  - Before it creates a pool, it looks whether the zone has the machine, the networks are made for it, the cluster can
    take it, and the reservation has room.
  - Only what is wanted is compared with what is there. Labels, taints, size, autoscaling and repair are changed in
    place. What recreates every node needs O(allow_disruptive); what cannot be changed is refused with the fields that
    differ, unless O(allow_replace) names the pool.
  - The driver is compared and reported, and changed only with O(allow_disruptive).
  - The pool carries O(owner) in the resource labels of its nodes. One with another mark or none is left alone.
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
  accelerator_count:
    description: Said only to be compared with O(machine).
    type: int
  accelerator_type:
    description: Said only to be compared with O(machine).
    type: str
  accept_stuck_deletion:
    description: Accepts that a pool with O(interfaces=dranet) may never finish deleting.
    type: bool
    default: false
  allow_disruptive:
    description: Allows changes that recreate every node.
    type: bool
    default: false
  autoscaling:
    description: Limits of the autoscaler, per zone or in total.
    type: dict
    suboptions:
      location_policy:
        description: How nodes are spread over zones.
        type: str
        choices: [ANY, BALANCED]
      max_nodes:
        description: Most nodes per zone.
        type: int
      min_nodes:
        description: Fewest nodes per zone.
        type: int
      total_max_nodes:
        description: Most nodes in all zones.
        type: int
      total_min_nodes:
        description: Fewest nodes in all zones.
        type: int
  capacity:
    description: How the machines are got. V(flex_start) and V(queued) get up to O(max_nodes) when pods ask for them.
    type: str
    choices: [reservation, spot, flex_start, queued, on_demand]
    default: on_demand
  cluster:
    description: The cluster's name.
    type: str
    required: true
  compact:
    description:
      - A compact placement, which gives nodes their topology labels. If it is not set, GPU machines have it with
        O(capacity=spot) and O(capacity=on_demand).
    type: bool
  disk_size_gb:
    description: Size of the boot disk.
    type: int
  disk_type:
    description: Type of the boot disk.
    type: str
  driver:
    description: Which GPU driver GKE installs. V(disabled) leaves that to a DaemonSet.
    type: str
    choices: [default, latest, disabled, specific]
    default: default
  driver_version:
    description: The version with O(driver=specific).
    type: str
  extra:
    description:
      - Fields of the API's NodePool that have no option here, merged into the request and compared like the others.
    type: dict
    default: {}
  interfaces:
    description:
      - V(explicit) attaches O(networks). V(dranet) lets GKE make the networks, V(none) attaches nothing.
    type: str
    choices: [explicit, dranet, none]
    default: explicit
  labels:
    description: Labels of the nodes. Labels of others are kept.
    type: dict
    default: {}
  local_ssd_count:
    description: Local disks for ephemeral storage; the machine's own number if not set.
    type: int
  location:
    description: The cluster's location.
    type: str
    required: true
  machine:
    description: A GPU machine with RDMA interfaces. V(a4x) is not proven.
    type: str
    choices: [a3_ultra, a4, a4x]
  machine_type:
    description: A machine type, for a pool without GPUs.
    type: str
  max_nodes:
    description: Most nodes with O(capacity=flex_start) or O(capacity=queued).
    type: int
  max_pods:
    description: Most pods per node.
    type: int
  max_run_duration:
    description: How long nodes of O(capacity=flex_start) may exist, such as V(604800s).
    type: str
  name:
    description: The node pool's name.
    type: str
    required: true
  networks:
    description:
      - The additional interfaces in their order, the second gVNIC and then the RDMA interfaces from 0 on, as in
        RV(llmd.wide_ep.gke_network#module:node_pool_networks).
    type: list
    elements: dict
    default: []
    suboptions:
      network:
        description: Name or path of the network.
        type: str
        required: true
      subnetwork:
        description: Name or path of the subnet.
        type: str
        required: true
  node_count:
    description: Nodes per zone. The size of autoscaled, flex-start and queued pools is left alone.
    type: int
  on_stockout:
    description: What happens to the new pool when the zone has no machines. With V(keep) it may still fill.
    type: str
    choices: [keep, delete]
    default: keep
  placement_policy:
    description: A placement policy of the same project and region.
    type: str
  reservation:
    description: The reservation's name or path, with blocks if wanted.
    type: str
  resource_labels:
    description: Further labels of the machines in Compute Engine.
    type: dict
    default: {}
  service_account:
    description: The nodes' service account.
    type: str
  taints:
    description: Taints of the nodes. Taints of others are kept.
    type: list
    elements: dict
    default: []
    suboptions:
      effect:
        description: V(NO_SCHEDULE), V(PREFER_NO_SCHEDULE) or V(NO_EXECUTE).
        type: str
        required: true
      key:
        description: The key.
        type: str
        required: true
      value:
        description: The value.
        type: str
        default: ""
  wait:
    description:
      - Whether to wait for the end of a creation or deletion. With V(false) it is only started, and a later run with
        the same options takes it up and waits for its end.
      - Updates, and the deletion of a pool that is replaced, are waited for all the same.
    type: bool
    default: true
  zones:
    description: The zones; one for a GPU machine.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Keep four nodes of a reservation
  llmd.wide_ep.gke_node_pool:
    project: my-project
    location: europe-west1
    cluster: wide-ep
    name: h200
    owner: wide-ep-lws
    zones: [europe-west1-b]
    machine: a3_ultra
    node_count: 4
    capacity: reservation
    reservation: my-reservation
    networks: "{{ networks.node_pool_networks }}"

- name: Start the creation of a pool, to wait for it later by the same task without O(wait)
  llmd.wide_ep.gke_node_pool:
    project: my-project
    location: europe-west1
    cluster: wide-ep
    name: h200
    owner: wide-ep-lws
    zones: [europe-west1-b]
    machine: a3_ultra
    node_count: 4
    networks: "{{ networks.node_pool_networks }}"
    wait: false

- name: Keep a node for the router and the benchmark
  llmd.wide_ep.gke_node_pool:
    project: my-project
    location: europe-west1
    cluster: wide-ep
    name: cpu
    owner: wide-ep-lws
    zones: [europe-west1-b]
    machine_type: n2-standard-32
    node_count: 1
"""

RETURN = r"""
actions:
  description: What was or would be done, with C(object), C(action) and C(fields).
  type: list
  elements: dict
  returned: always
conditions:
  description: The pool's conditions.
  type: list
  elements: dict
  returned: when the pool exists
elapsed:
  description: Seconds that it took.
  type: float
  returned: always
findings:
  description: Reasons to stop or to warn, each with C(code), C(severity), C(subject), C(evidence) and C(fix).
  type: list
  elements: dict
  returned: always
instance_group_urls:
  description: The instance groups of the pool's nodes.
  type: list
  elements: str
  returned: when the pool exists
node_pool:
  description: The pool as Google describes it.
  type: dict
  returned: when the pool exists
operations:
  description: Names of the operations that this run started or took up.
  type: list
  elements: str
  returned: always
replace_required:
  description: If the pool would have to be replaced, the fields with what is there and what is wanted.
  type: dict
  returned: when something would have to be replaced
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_module as gke
from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_node_pool as node_pool
from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_pool_keeper as keeping
from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_pool_options as pool_options
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_machines import CAPACITY, DRIVERS, MACHINES
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_objects import owner_findings

AUTOSCALING = {
    "location_policy": {"type": "str", "choices": ["ANY", "BALANCED"]},
    "max_nodes": {"type": "int"},
    "min_nodes": {"type": "int"},
    "total_max_nodes": {"type": "int"},
    "total_min_nodes": {"type": "int"},
}
NETWORK = {"network": {"type": "str", "required": True}, "subnetwork": {"type": "str", "required": True}}
TAINT = {
    "effect": {"type": "str", "required": True},
    "key": {"type": "str", "required": True, "no_log": False},
    "value": {"type": "str", "default": ""},
}
ARGUMENTS: dict[str, t.Any] = {
    **gke.ACCESS,
    **gke.WORK,
    "accelerator_count": {"type": "int"},
    "accelerator_type": {"type": "str"},
    "accept_stuck_deletion": {"type": "bool", "default": False},
    "allow_disruptive": {"type": "bool", "default": False},
    "autoscaling": {"type": "dict", "options": AUTOSCALING},
    "capacity": {"type": "str", "choices": list(CAPACITY), "default": "on_demand"},
    "cluster": {"type": "str", "required": True},
    "compact": {"type": "bool"},
    "disk_size_gb": {"type": "int"},
    "disk_type": {"type": "str"},
    "driver": {"type": "str", "choices": list(DRIVERS), "default": "default"},
    "driver_version": {"type": "str"},
    "extra": {"type": "dict", "default": {}},
    "interfaces": {"type": "str", "choices": ["explicit", "dranet", "none"], "default": "explicit"},
    "labels": {"type": "dict", "default": {}},
    "local_ssd_count": {"type": "int"},
    "location": {"type": "str", "required": True},
    "machine": {"type": "str", "choices": list(MACHINES)},
    "machine_type": {"type": "str"},
    "max_nodes": {"type": "int"},
    "max_pods": {"type": "int"},
    "max_run_duration": {"type": "str"},
    "name": {"type": "str", "required": True},
    "networks": {"type": "list", "elements": "dict", "default": [], "options": NETWORK},
    "node_count": {"type": "int"},
    "on_stockout": {"type": "str", "choices": ["keep", "delete"], "default": "keep"},
    "placement_policy": {"type": "str"},
    "reservation": {"type": "str"},
    "resource_labels": {"type": "dict", "default": {}},
    "service_account": {"type": "str"},
    "taints": {"type": "list", "elements": "dict", "default": [], "options": TAINT},
    "wait": {"type": "bool", "default": True},
    "zones": {"type": "list", "elements": "str", "required": True},
}


def work(runner: gke.Runner) -> dict[str, t.Any]:
    options = gke.options_of(pool_options.Options, runner.params)
    if runner.params["state"] == "present":
        runner.require(pool_options.judge(options))
    runner.require(owner_findings(options.owner))
    keeper = keeping.PoolKeeper(runner, options)
    decisions = keeper.decide()
    runner.require(gke.refusals(decisions), **gke.refused(decisions))
    if not runner.module.check_mode:
        keeper.carry_out(decisions)
    return {**gke.result_of(decisions), **facts(options, runner)}


def facts(options: pool_options.Options, runner: gke.Runner) -> dict[str, t.Any]:
    live = runner.client.get(options.target)
    if live is None:
        return {}
    runner.require(node_pool.state_findings(live), **keeping.shown(live))
    return keeping.shown(live)


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    gke.Runner(module).run(work)


if __name__ == "__main__":
    main()
