# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: rdma_mesh
short_description: Prove which all-to-all backends the fabric between the nodes carries
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Starts one prober per node as an Indexed Job, in pods like those of the model servers but for the model, and has
    every NIC send to every NIC of all other hosts. Names one verdict, which backends can use the fabric, and the
    culprit where something is broken.
  - Each directed pair is tested once, in as few rounds as there can be. The first two rounds tell rails from a mesh.
  - With O(transport=rdma) it is real verbs, by the libibverbs of the image. With O(transport=udp) it is IP reachability
    alone, which says nothing about RDMA, and every result says so.
  - What it creates is removed, also after a failure. The result is kept in a ConfigMap and used again for every node
    whose UID, boot id, kernel and driver are the same, while the inputs and the prober are. Other nodes are probed
    alone. The requirement is judged anew each time, and a kept result that does not meet it is probed again.
  - The NICs of nodes that serve are never taken. There the prober runs as a process in the model server's container;
    see O(in_situ).
extends_documentation_fragment:
  - llmd.wide_ep._access
attributes:
  check_mode:
    description:
      - In check mode nothing is created. A kept result that holds and meets the requirement is returned, the plan of
        the run otherwise, also where the cluster cannot be asked.
    support: full
  diff_mode:
    description: It reports a change where another verdict is kept, and none for what it creates and removes.
    support: none
options:
  namespace:
    description: Namespace of the deployment.
    type: str
    required: true
  release:
    description: Name of the deployment.
    type: str
    required: true
  state:
    description: V(absent) removes what interrupted runs have left behind, and the kept result.
    type: str
    choices: [proven, absent]
    default: proven
  image:
    description: Image of the probers. It needs C(python3) 3.9. The default is that of the model servers in O(objects).
    type: str
    default: ''
  program:
    description: Folder of the prober on the controller.
    type: path
    default: ''
  objects:
    description:
      - The rendered LeaderWorkerSets. Pods are made like theirs, and what the fabric has to carry is read from their
        backends, environment and GPU-to-HCA map.
    type: list
    elements: dict
    default: []
  hosts:
    description: How many nodes to probe, where O(nodes) is empty.
    type: int
    default: 0
  nodes:
    description: Names of the nodes to probe.
    type: list
    elements: str
    default: []
  nics:
    description: Patterns of the devices to use, of interfaces with O(transport=udp).
    type: list
    elements: str
    default: ['mlx5_*']
  nics_per_host:
    description: How many NICs a host is expected to have, for the plan in check mode.
    type: int
    default: 8
  transport:
    description: What carries the probes.
    type: str
    choices: [rdma, udp]
    default: rdma
  options:
    description:
      - Options of the transport, among them C(timeout), C(retry_cnt), C(sl), C(traffic_class), C(flow_label),
        C(gid_index), C(pkey_index), C(family), C(window) and C(rate_seconds). Rates are measured where the last is set.
    type: dict
    default: {}
  plan:
    description: With C(mode=sampled) so many C(rounds) are tested. The default is all pairs.
    type: dict
    default: {}
  require:
    description:
      - What the fabric has to carry. V(auto) is what the model servers in O(objects) need, V(none) only tells.
    type: str
    choices: [auto, full_mesh, rail, none]
    default: auto
  kv:
    description:
      - Whether the paths between prefill and decode belong to the requirement of O(require=auto). They are any NIC to
        any NIC; UCX may choose among the NICs of a host.
    type: str
    choices: [required, observe]
    default: observe
  gate:
    description: Whether an unmet requirement fails, warns, or is only returned.
    type: str
    choices: [enforce, warn, 'off']
    default: enforce
  accept_sampled:
    description: Let a sample satisfy O(require=full_mesh).
    type: bool
    default: false
  accept_ip_only:
    description: Let IP reachability gate, as on a cluster that has no RDMA.
    type: bool
    default: false
  placement:
    description: Role to the nodes of its pods, where they are placed. A role without is judged on all nodes.
    type: dict
    default: {}
  host_network:
    description: Run the probers in the network of the node. Annotations that attach networks are left out then.
    type: bool
    default: false
  port:
    description: Port of the coordinator.
    type: int
    default: 18515
  resources:
    description: Resources of a prober, instead of those of the model server with less CPU and memory.
    type: dict
  tolerations:
    description: Further tolerations of the probers.
    type: list
    elements: dict
    default: []
  start_timeout:
    description: Seconds that the coordinator's pod may take to start.
    type: float
    default: 120
  join_timeout:
    description: Seconds that the coordinator waits for the other probers. Who is missing then is counted down.
    type: float
    default: 60
  phase_timeout:
    description: Seconds that a phase may take.
    type: float
    default: 120
  reuse:
    description: Use a kept result while all that it depends on is the same.
    type: bool
    default: true
  in_situ:
    description:
      - Run the prober as a process in the containers of model servers that run, instead of in pods of its own. Nodes
        without one get pods. Rates are not measured and no GPU memory is registered then.
      - V(auto) does so with O(transport=rdma) alone, since datagrams take nothing from a server. With V(never) a check
        is refused beside servers, unless a kept result holds.
    type: str
    choices: [auto, always, never]
    default: auto
  dest:
    description: Folder for the matrix as JSON, as text and as a page with a heat map.
    type: path
"""

EXAMPLES = r"""
- name: Prove that the fabric carries the deployment
  llmd.wide_ep.rdma_mesh:
    namespace: llm-d-wide-ep
    release: wide-ep-lws
    program: roles/rdma_mesh/files/prober
    objects: "{{ rendered_model_servers }}"
    hosts: 4
    dest: artifacts

- name: Look at the fabric of two nodes
  llmd.wide_ep.rdma_mesh:
    namespace: llm-d-wide-ep
    release: wide-ep-lws
    program: roles/rdma_mesh/files/prober
    image: ghcr.io/llm-d/llm-d-cuda:v0.7.0
    nodes: [gpu-node-1, gpu-node-2]
    require: none
    options: {rate_seconds: 0.5}
"""

RETURN = r"""
verdict:
  description:
    - One of V(NOT_MEASURED), V(NO_RDMA), V(SINGLE_HOST), V(NO_CONNECTIVITY), V(FULL_MESH_MINUS_DOWN),
      V(FULL_MESH_DEGRADED), V(FULL_MESH_SAMPLED), V(FULL_MESH), V(RAIL_ONLY), V(RAIL_GROUPS), V(HOST_PARTITION),
      V(ONE_WAY) and V(PARTIAL), the first that holds.
  type: str
  returned: when probed
qualifiers:
  description: What holds beside the verdict, for example V(IP_ONLY), V(NIC_DOWN), V(MISCABLED).
  type: list
  elements: str
  returned: when probed
basis:
  description: V(RDMA), or V(IP only) where the transport tells nothing about RDMA.
  type: str
  returned: when probed
usable_by:
  description: Backend or key-value path to C(state) (ok, fail, unknown), C(needs) and C(basis).
  type: dict
  returned: when probed
requirement:
  description: What the deployment needs, per role, with the number of paths that are missing.
  type: dict
  returned: when probed
coverage:
  description: Directed pairs tested, all of them, and how they were chosen.
  type: dict
  returned: when probed
rail_matrix:
  description: Share of usable pairs from NICs of one position to those of another.
  type: list
  elements: list
  returned: when probed
components:
  description: NICs that reach each other, as lists.
  type: list
  elements: list
  returned: when probed
findings:
  description: What is broken and who is the culprit, each with code, subject, evidence and fix.
  type: list
  elements: dict
  returned: when probed, or when it could not be
passed:
  description: Whether the requirement is met.
  type: bool
  returned: when probed
reused:
  description: Whether the result is a kept one.
  type: bool
  returned: when probed
matrix:
  description: The matrix as text, one letter per pair, with its legend.
  type: str
  returned: when probed
artifacts:
  description: Paths of the files in O(dest).
  type: dict
  returned: when probed
plan:
  description: Hosts, directed pairs, rounds, their least number, seconds and coverage of a run.
  type: dict
  returned: in check mode
removed:
  description: Jobs that were removed.
  type: list
  elements: str
  returned: with O(state=absent)
transport:
  description: What carried the probes.
  type: str
  returned: when probed
hosts:
  description: Names of the hosts.
  type: list
  elements: str
  returned: when probed
nics:
  description: How many NICs took part.
  type: int
  returned: when probed
duration_s:
  description: Seconds of the run in the pods.
  type: float
  returned: when probed
summary:
  description: Label and value pairs for the summary of the run.
  type: list
  elements: list
  returned: when probed
api_requests:
  description: How many requests the API server was sent.
  type: int
  returned: when probed
"""
