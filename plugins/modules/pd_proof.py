# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: pd_proof
short_description: Prove that requests are answered, and disaggregated for real
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Finds the endpoint as the guide does and sends completion, chat, streaming and long requests with distinct prompts
    to it, from a pod inside the cluster. What the routing sidecar answers by itself is no proof of anything.
  - The same pod reads the counters of every model-server pod before and after. The verdict rests on their differences.
    Every decode pod must have served, every prefill pod must have prefilled, and as many requests must have been
    prefilled remotely as were decoded. An answer with status 200 alone proves none of that.
  - With several O(target_ports) each rank is an endpoint of the pool, and every one of them must have served.
  - A pod or rank that only affinity or chance has left without requests gets further distinct prompts, up to
    O(max_requests).
  - The client pod and its ConfigMap are removed whatever happens, so that they are no change.
extends_documentation_fragment:
  - llmd.wide_ep._access
attributes:
  check_mode:
    description: In check mode nothing is sent and nothing is proven.
    support: full
  diff_mode:
    description: It reports no change.
    support: none
options:
  namespace:
    description: Namespace of the deployment.
    type: str
    required: true
  release:
    description: Name of the deployment. Its router is the Service with C(-epp) at the end.
    type: str
    required: true
  model:
    description: The model that requests ask for, as it is served.
    type: str
    required: true
  router_mode:
    description: V(standalone) asks the Service of the endpoint picker, V(gateway) the first address of the Gateway.
    type: str
    choices: [standalone, gateway]
    default: standalone
  pool_labels:
    description: Labels by which the router selects model-server pods.
    type: dict
    default: {llm-d.ai/guide: wide-ep-lws}
  prefill:
    description: What the prefill tier must consist of.
    type: dict
    required: true
    suboptions:
      lws_name:
        description: Name of its LeaderWorkerSet.
        type: str
        required: true
      pods:
        description: Names of its pods.
        type: list
        elements: str
        required: true
      pods_per_group:
        description: How many pods one group has.
        type: int
        default: 1
      ranks_per_pod:
        description: How many ranks one pod has.
        type: int
        default: 1
  decode:
    description: What the decode tier must consist of.
    type: dict
    required: true
    suboptions:
      lws_name:
        description: Name of its LeaderWorkerSet.
        type: str
        required: true
      pods:
        description: Names of its pods.
        type: list
        elements: str
        required: true
      pods_per_group:
        description: How many pods one group has.
        type: int
        default: 1
      ranks_per_pod:
        description: How many ranks one pod has.
        type: int
        default: 1
  target_ports:
    description: Ports of a pod that the router knows. The decode server's own port is 8200 for the first of them.
    type: list
    elements: int
    default: [8000]
  kv_transport:
    description:
      - Tell over which network the KV cache of each prefill pod travels. Its byte counters are read in the pod around
        prompts of known length, which are sent through that pod by name.
      - At half of the expected bytes on the pod network it travels over TCP. Below a tenth there, with as much sent by
        the HCAs as was expected, it is RDMA. Everything else is unknown, which is never a pass.
    type: dict
    suboptions:
      enforced:
        description: Whether everything but RDMA is an error. It is a warning otherwise.
        type: bool
        default: false
      bytes_per_token:
        description: Size of the KV cache of one token.
        type: int
        required: true
      tokens:
        description: How many tokens to send through each prefill pod, about.
        type: int
        default: 16384
      prompts:
        description: Over how many prompts they are spread.
        type: int
        default: 8
  image:
    description: Image of the client pod. It needs C(python3).
    type: str
    required: true
  program:
    description: Path of the client program on the controller.
    type: path
    required: true
  requests:
    description: How many requests to send at first, all of them distinct.
    type: int
    default: 16
  max_requests:
    description: How many requests to send at most until every pod has served.
    type: int
    default: 64
  concurrency:
    description: How many requests are under way at once.
    type: int
    default: 8
  max_tokens:
    description: Longest answer, in tokens.
    type: int
    default: 16
  long_prompt_words:
    description: Length of the long prompt. It is kept within a quarter of the served context.
    type: int
    default: 1500
  request_timeout:
    description: Seconds that one request may take. The first ones after a start meet cold compilation caches.
    type: float
    default: 120
  ready_timeout:
    description: Seconds during which the first request is repeated while the router has no server for it.
    type: float
    default: 30
  start_timeout:
    description: Seconds that the client pod may take to start.
    type: float
    default: 120
  timeout:
    description: Seconds that the client pod may run.
    type: float
    default: 600
  tolerations:
    description: Tolerations of the client pod, for clusters whose nodes are all tainted.
    type: list
    elements: dict
    default: []
  node_selector:
    description: Node selector of the client pod.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Prove that the deployment disaggregates
  llmd.wide_ep.pd_proof:
    namespace: llm-d-wide-ep
    release: wide-ep-lws
    model: deepseek-ai/DeepSeek-R1-0528
    image: docker.io/library/python:3.13-slim
    program: client.py
    prefill:
      lws_name: wide-ep-lws-nvidia-gpu-vllm-prefill
      pods: [wide-ep-lws-nvidia-gpu-vllm-prefill-0, wide-ep-lws-nvidia-gpu-vllm-prefill-0-1]
    decode:
      lws_name: wide-ep-lws-nvidia-gpu-vllm-decode
      pods: [wide-ep-lws-nvidia-gpu-vllm-decode-0, wide-ep-lws-nvidia-gpu-vllm-decode-0-1]
"""

RETURN = r"""
passed:
  description: Whether every request was answered and every pod of both tiers did its part.
  type: bool
  returned: when requests could be sent or the cause is known
findings:
  description: Why it did not pass, each with its code, subject, evidence and fix.
  type: list
  elements: dict
  returned: always
endpoint:
  description: The URL that was asked.
  type: str
  returned: when not in check mode
text:
  description: The text of the first completion.
  type: str
  returned: when not in check mode
asked:
  description: How many requests were sent.
  type: int
  returned: when not in check mode
answered:
  description: How many of them were answered with status 200.
  type: int
  returned: when not in check mode
prefilled_remotely:
  description: How many of the answered ones were prefilled by a prefill pod.
  type: int
  returned: when not in check mode
decisions:
  description: What the endpoint picker has decided by its own count, or why it does not tell.
  type: str
  returned: when not in check mode
kv_transport:
  description: V(rdma), V(tcp) or V(unknown), the worst over all prefill pods; empty where it was not looked at.
  type: str
  returned: when not in check mode
transports:
  description: Per prefill pod its verdict, the bytes that were expected and that were sent, and the reason.
  type: list
  elements: dict
  returned: when not in check mode
kinds:
  description: By kind of request how many were sent and answered, and in how many chunks.
  type: dict
  returned: when not in check mode
rows:
  description: Per pod its role, node, state, requests, and requests per rank where the server tells them apart.
  type: list
  elements: dict
  returned: when not in check mode
summary:
  description: Label and value pairs for the summary of the run.
  type: list
  elements: list
  returned: when not in check mode
tables:
  description: The rows, the kinds and the transports as tables for the summary of the run.
  type: list
  elements: dict
  returned: when not in check mode
api_requests:
  description: How many requests the API server was sent.
  type: int
  returned: when not in check mode
seconds:
  description: How long it took.
  type: float
  returned: when not in check mode
"""
