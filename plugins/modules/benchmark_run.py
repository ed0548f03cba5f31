# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_run
short_description: Make the load of a benchmark in a pod of the cluster
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Starts the pod C(llmdbench-harness-launcher), in which inference-perf sends the load, follows it with a line of
    progress every ten seconds, brings the results out and removes the pod.
  - The load is the pod's own process. A lost connection does not end it, and the next run of the same request goes on
    with the pod that it finds.
  - Before any load the pod asks the endpoint for its models, and for one answer, which may wait for kernels to be
    compiled.
  - Every repeat has a deadline of its own, at which all processes of the load are killed. Results count as complete
    where the load generator ended with 0 and left its stage file, and every file has come out with the checksum that
    the pod made of it. Anything else fails the task, and what came out of it is in a folder C(incomplete).
  - Prompts of repeats differ, since a repeated prompt would be served from prefix caches.
  - The servers' own counters are read before and after the load and compared with the client's figures.
extends_documentation_fragment:
  - llmd.wide_ep._access
attributes:
  check_mode:
    description: The request is judged and the endpoint looked up; no pod is made.
    support: full
  diff_mode:
    description: There is nothing to compare with.
    support: none
options:
  mode:
    description: V(plan) judges the request, names its objects and looks for an existing report. V(run) makes the load.
    type: str
    choices: [plan, run]
    default: run
  namespace:
    description: Namespace of the deployment and of the pod.
    type: str
    required: true
  release:
    description: Name of the deployment.
    type: str
    required: true
  plan:
    description: The deployment's plan, C(wide_ep_plan).
    type: dict
    required: true
  router_mode:
    description: How requests come in.
    type: str
    choices: [standalone, gateway]
    default: standalone
  base_url:
    description: Scheme, host and port that the load goes to. Empty is the deployment's router or gateway.
    type: str
    default: ''
  image:
    description: Image with inference-perf and Python.
    type: str
    required: true
  tool_release:
    description: Release of inference-perf in the image. It decides the form of the configuration.
    type: str
    required: true
  command:
    description: The load generator's command.
    type: list
    elements: str
    default: [inference-perf]
  program:
    description: Program that runs the load in the pod.
    type: path
    required: true
  profiles:
    description:
      - Names of workloads, V(2048_concurrent_2k_isl_2k_osl), V(sweep), V(rehearsal) or one of O(custom_profiles).
    type: list
    elements: str
    required: true
  custom_profiles:
    description:
      - Workloads by name, each with C(concurrency), C(requests), C(input_tokens), C(output_tokens), and if wanted
        C(streaming) and C(max_workers).
    type: dict
    default: {}
  repeats:
    description: How often each workload runs. Fewer than three do not tell a change from noise.
    type: int
    default: 3
  tokenizer:
    description: Folder in the pod, which needs no network, or id of a model on its hub.
    type: str
    required: true
  request_timeout:
    description: Seconds that a request may take.
    type: float
    default: 1800
  per_request:
    description: Whether to keep figures of every request.
    type: bool
    default: false
  slo:
    description: Limits in seconds for goodput, in place of the workload's.
    type: dict
    default: {}
  seed:
    description: Seed of the prompts of the first repeat.
    type: int
  pod:
    description: What the pod is like.
    type: dict
    default: {}
    suboptions:
      service_account:
        description: Its service account.
        type: str
      resources:
        description: Requests and limits.
        type: dict
      node_selector:
        description: Labels of the nodes that it may run on.
        type: dict
      tolerations:
        description: Taints that it tolerates.
        type: list
        elements: dict
      affinity:
        description: Its affinity.
        type: dict
      pull_secrets:
        description: Secrets by which its image is pulled.
        type: list
        elements: str
      security_context:
        description: Security contexts, C(pod) and C(container).
        type: dict
      env:
        description: Environment variables, without secrets.
        type: dict
      volumes:
        description: Volumes beside its own, for example with a tokenizer.
        type: list
        elements: dict
      volume_mounts:
        description: Where they are mounted.
        type: list
        elements: dict
      token_secret:
        description: Secret with a token for the model hub. It may be absent.
        type: str
      token_key:
        description: Key of the token in it.
        type: str
      results_size:
        description: Size limit of the volume for results, such as V(20Gi).
        type: str
  deadline:
    description: Seconds that one repeat may take.
    type: float
    default: 3600
  keep:
    description: Seconds that the pod keeps its results when nobody collects them.
    type: float
    default: 3600
  connect_timeout:
    description: Seconds until the endpoint must list its models.
    type: float
    default: 60
  first_answer_timeout:
    description: Seconds that the first answer may take.
    type: float
    default: 600
  start_timeout:
    description: Seconds that the pod may take to start; its image has several GB.
    type: float
    default: 900
  silence_timeout:
    description: Seconds without a word of the pod after which it is given up.
    type: float
    default: 120
  api_patience:
    description: Seconds that the API server may be away.
    type: float
    default: 300
  collect_patience:
    description: Seconds that a part of a file is asked for again and again.
    type: float
    default: 300
  destination:
    description: Folder for the results. Each experiment has a folder of its own in it.
    type: path
    required: true
  reuse:
    description: Whether V(plan) looks for a complete report of the same load on the same deployment.
    type: bool
    default: true
  keep_pod:
    description: Whether to leave the pod.
    type: bool
    default: false
  replace_pod:
    description: Whether to remove a pod that makes another load.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Send the guide's load three times
  llmd.wide_ep.benchmark_run:
    namespace: llm-d-wide-ep
    release: wide-ep-lws
    plan: "{{ wide_ep_plan }}"
    image: ghcr.io/llm-d/llm-d-benchmark:v0.7.8
    tool_release: 0.6.1
    program: launcher.py
    profiles: [2048_concurrent_2k_isl_2k_osl]
    tokenizer: deepseek-ai/DeepSeek-R1-0528
    destination: artifacts/benchmark
  register: run
"""

RETURN = r"""
fingerprint:
  description: The same for the same load on the same servers and router.
  type: str
  returned: success
base_url:
  description: Where the load goes.
  type: str
  returned: success
objects:
  description: What has to exist before the pod, to be applied.
  type: list
  elements: dict
  returned: success
runs:
  description: The repeats of the workloads, in order.
  type: list
  elements: dict
  returned: success
existing:
  description: Folder of a complete report of the same load on the same deployment, or empty.
  type: str
  returned: success
complete:
  description: Whether every repeat ended well and its results are here whole.
  type: bool
  returned: when O(mode=run)
pod_left:
  description: Whether the pod is still there, because it has results, makes another load, or was to be kept.
  type: bool
  returned: when O(mode=run)
folder:
  description: Folder of the experiment.
  type: str
  returned: when there are results
results:
  description: Per workload its C(profile), the C(folders) of its repeats, the C(run) for the report, and C(ranks).
  type: list
  elements: dict
  returned: when O(mode=run)
stack:
  description: What served the load, by the live cluster.
  type: list
  elements: dict
  returned: when there are results
topology:
  description: GPUs per role.
  type: dict
  returned: when there are results
findings:
  description: What is wrong or to be known, each with its code, severity, subject, evidence and fix.
  type: list
  elements: dict
  returned: always
"""
