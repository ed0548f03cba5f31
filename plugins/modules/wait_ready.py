# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: wait_ready
short_description: Wait until many Kubernetes objects are ready, or say why they will not be
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Watches all objects at once and prints a line whenever something changes, and every 30 seconds when nothing does.
  - Knows when a LeaderWorkerSet, Deployment, StatefulSet, DaemonSet, Job, Pod, Service, Node,
    CustomResourceDefinition, Gateway, HTTPRoute, InferencePool, Workload, ClusterQueue or LocalQueue (Kueue),
    NodePool (CoreWeave), Network or GKENetworkParamSet (GKE) is ready.
    Any other kind is ready when its condition Ready, Available or Established holds, or, without one, when it exists.
  - A LeaderWorkerSet in a Kueue queue is judged by its Workloads first; the message says what holds them back (the
    quota of which resource, no topology domain with enough room) and what they ask for.
  - A status that was written for an older generation of an object does not count.
  - Stops at once at what cannot heal, after a grace period at what can, and at the latest after O(timeout). It then
    shows the reason, the last events and the last log lines of the containers concerned.
  - A pod whose containers have no probes counts once it has run for five seconds, because it is
    Ready the moment it starts.
  - Waits out network faults, 429 and 5xx answers. A right that is missing ends the wait at once.
  - Needs the rights to get and list the kinds of O(objects) and pods; for a Service also endpointslices. Without the
    rights to list events and to get pods/log, the evidence says so and does without them.
extends_documentation_fragment:
  - llmd.wide_ep._access
attributes:
  check_mode:
    description: It waits for nothing and is skipped.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
options:
  objects:
    description: What to wait for.
    type: list
    elements: dict
    required: true
    suboptions:
      api_version:
        description: For example V(leaderworkerset.x-k8s.io/v1).
        type: str
        required: true
      kind:
        description: For example V(LeaderWorkerSet).
        type: str
        required: true
      namespace:
        description: The namespace of a namespaced kind.
        type: str
      name:
        description: The object's name.
        type: str
      label_selector:
        description: Wait for all objects with these labels instead of one with a name.
        type: str
      count:
        description: At least so many objects with O(objects[].label_selector), one if not given.
        type: int
  timeout:
    description: Give up after so many seconds.
    type: float
    default: 600
  interval:
    description: Seconds between two looks; five times as long after the first five minutes.
    type: float
    default: 1
  stable_for:
    description: Everything must have been ready for so many seconds.
    type: float
    default: 0
  grace:
    description:
      - Seconds for which a reason is borne, instead of the built-in value. 0 stops at once, a negative number never.
      - At once stop V(ImageDenied), V(ImageNotFound), V(InvalidImageName), V(ErrImageNeverPull), V(AdmissionDenied),
        V(QuotaExceeded), V(PodFailed), V(Evicted), V(JobFailed), V(NamesNotAccepted), V(NodePoolInvalid),
        V(WorkloadEvicted) (and deactivated), V(GroupRecreated) (a group of a LeaderWorkerSet was recreated twice) and
        V(CrashLoopBackOff) (after two restarts).
      - After a grace stop V(CreateContainerConfigError) (20), V(CreateContainerError) (60), V(ContainerRestarting)
        (60, after three restarts), V(ProgressDeadlineExceeded) (60), V(WorkloadMissing) (60, Kueue does not manage the
        set), V(QueueInactive) (60), V(FailedCreate) (120), V(NodeNetworkInvalid) (120),
        V(ImagePullFailed) (180), V(GatewayClassNotAccepted) (180), V(GatewayUnclaimed) (180), V(GatewayNotAccepted)
        (180), V(RouteNotAccepted) (180), V(RefsNotResolved) (180), V(Unschedulable) (300), V(FailedMount) (300),
        V(FailedCreatePodSandBox) (300), V(WorkloadInadmissible) (300), V(WorkloadWaiting) (300, for quota),
        V(WorkloadUnplaced) (300, no topology domain has room), V(GatewayWithoutAddress) (300), V(PolicyNotAttached)
        (300), V(ObjectMissing) (300), V(KindMissing) (300), V(ObjectDeleted) (300), V(ImagePullThrottled) (600),
        V(RegistryUnreachable) (600), V(ReadinessProbeFailed) (600), V(GatewayNotProgrammed) (600),
        V(RouteNotReconciled) (600), V(ParentUnanswered) (600), V(GatewayPending) (900) and V(ReadinessPending) (1800,
        a container without a startup probe).
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Wait for the model servers and the router
  llmd.wide_ep.wait_ready:
    objects:
      - api_version: leaderworkerset.x-k8s.io/v1
        kind: LeaderWorkerSet
        namespace: llm-d-wide-ep
        name: wide-ep-lws-nvidia-gpu-vllm-prefill
      - api_version: leaderworkerset.x-k8s.io/v1
        kind: LeaderWorkerSet
        namespace: llm-d-wide-ep
        name: wide-ep-lws-nvidia-gpu-vllm-decode
      - api_version: apps/v1
        kind: Deployment
        namespace: llm-d-wide-ep
        name: wide-ep-lws-epp
    timeout: 3600
    grace:
      Unschedulable: 900

- name: Wait for four GPU nodes
  llmd.wide_ep.wait_ready:
    objects:
      - api_version: v1
        kind: Node
        label_selector: nvidia.com/gpu.present=true
        count: 4
    stable_for: 5
"""

RETURN = r"""
outcome:
  description: How the wait ended.
  type: str
  returned: when not skipped
  choices: [ready, failed, timeout]
elapsed:
  description: Seconds that the wait took.
  type: float
  returned: when not skipped
requests:
  description: Requests sent to the API server.
  type: int
  returned: when not skipped
objects:
  description: The state of each object.
  type: list
  elements: dict
  returned: always
  contains:
    api_version:
      description: As asked for.
      type: str
      returned: always
    kind:
      description: As asked for.
      type: str
      returned: always
    namespace:
      description: As asked for.
      type: str
      returned: always
    name:
      description: As asked for.
      type: str
      returned: always
    label_selector:
      description: As asked for.
      type: str
      returned: always
    state:
      description: V(ready), V(progressing) or V(failed).
      type: str
      returned: always
    detail:
      description: What is missing.
      type: str
      returned: always
    counts:
      description: For example C(groups_ready), C(groups_desired), C(pods_ready) and C(pods_desired).
      type: dict
      returned: always
    stages:
      description: How many pods are, for example, V(pulling) or V(unschedulable).
      type: dict
      returned: always
findings:
  description: Causes of the failure, each with C(code), C(severity), C(subject), C(evidence) and C(fix).
  type: list
  elements: dict
  returned: on failure
evidence:
  description: The lists C(containers), C(last_events), C(logs) and C(notes).
  type: dict
  returned: on failure
"""
