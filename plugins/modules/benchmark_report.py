# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_report
short_description: Read, judge, compare and show the results of a benchmark
version_added: 1.0.0
author:
  - llmd.wide_ep contributors (!UNKNOWN)
description:
  - Reads what inference-perf 0.5 to 0.7 leaves in a folder, its log, or a benchmark report 0.1, 0.2 or 0.2.1. Nothing
    is concluded from exit codes, since the tool ends with 0 when every request failed.
  - Checks that the figures can be true. Counts, token sums and rates must fit each other, percentiles must ascend, and
    the client's token counts must be those of the server.
  - Derives output tokens per second and decode GPU (TPSG), the same over all GPUs, goodput, the balance of prefill and
    decode, and the concurrency per decode rank.
  - Compares repeats with those of a base or with published figures. Healthy repeats scatter by about one percent, and
    some are in a slow mode a tenth to a third below. Slow repeats are set apart, the others are compared by Student's t
    on logarithms with a prior variance. A change counts where its whole interval is beyond the tolerance, 5 % of rates
    and of the median TPOT, 10 % of the median request latency, 15 % of the median TTFT.
  - Writes reports 0.2 and 0.2.1, the outcome as JSON, and a summary as Markdown, JUnit and one HTML page that needs no
    network.
  - It runs on the controller, in the process of the run. Per-request files of any size are streamed.
attributes:
  action:
    description: It runs on the controller, in the process of the run.
    support: full
  check_mode:
    description: Everything is read and judged, no file is written.
    support: full
  diff_mode:
    description: It shows the differences of the reports and of the Markdown summary.
    support: full
requirements:
  - llmd-benchmark-report >= 0.2.1, < 0.3 (checks reports against their schema)
  - ijson (reads per-request files)
  - matplotlib (draws the charts of the page)
options:
  results:
    description:
      - Result folders, stage files, reports or logs, one for each repeat of the benchmark.
    type: list
    elements: path
    required: true
  stage:
    description: Stage of the load, where a folder holds several.
    type: int
  base:
    description: What to compare with, one path for each repeat, of the same kinds as O(results).
    type: list
    elements: path
    default: []
  baseline:
    description:
      - Published figures to compare with. V(guide-cks-h200) is the guide's report.
      - They were measured by older load generators that count tokens on the client, so a newer run is comparable only
        with V(tool_version) and V(token_side) in O(allow_differences), by requests per second.
    type: str
    choices:
      - guide-cks-h200
      - guide-cks-h200-dp-supervisor
      - guide-gke-h200
      - guide-cks-h200-2026-08
      - guide-gke-b200-1k1k
  title:
    description: Title of the page and of the summaries.
    type: str
    default: Benchmark
  run:
    description: What the load generator cannot know of its run. It replaces placeholders in the reports.
    type: dict
    suboptions:
      experiment:
        description: Name of the experiment. Its id in the report is made of it.
        type: str
        default: ''
      cluster:
        description: Name or address of the cluster. Its id in the report is made of it.
        type: str
        default: ''
      pod:
        description: Unique id of the pod that made the load.
        type: str
        default: ''
      user:
        description: Who ran it, such as C(namespace=llm-d-wide-ep).
        type: str
        default: ''
      description:
        description: Free text.
        type: str
        default: ''
      start:
        description: Time at which the load began, in ISO 8601.
        type: str
        default: ''
      end:
        description: Time at which the load ended, in ISO 8601.
        type: str
        default: ''
      tool_version:
        description: Release of the load generator.
        type: str
        default: ''
      keywords:
        description: Words to find the report by.
        type: list
        elements: str
        default: []
  stack:
    description: The parts that served the load. One with a role is an inference engine.
    type: list
    elements: dict
    default: []
    suboptions:
      label:
        description: Name of the part, unique.
        type: str
        required: true
      tool:
        description: Program that runs, such as V(vllm).
        type: str
        required: true
      tool_version:
        description: Its release and digest.
        type: str
      role:
        description: V(prefill), V(decode) or V(replica) of an inference engine. Other parts have none.
        type: str
      model:
        description: Model that an inference engine serves.
        type: str
      gpu:
        description: Model of its GPUs.
        type: str
      image:
        description: Its image, by digest.
        type: str
      replicas:
        description: How many of it run.
        type: int
      gpus:
        description: GPUs of all its replicas.
        type: int
      tp:
        description: Tensor parallelism.
        type: int
      dp:
        description: Data parallelism.
        type: int
      dp_local:
        description: Data parallelism within a pod.
        type: int
      ep:
        description: Expert parallelism.
        type: int
      pp:
        description: Pipeline parallelism.
        type: int
      args:
        description: Its arguments.
        type: dict
      envars:
        description: Its environment variables, without secrets.
        type: dict
  topology:
    description: GPUs by role, where O(stack) or the report does not tell them. TPSG needs them.
    type: dict
    suboptions:
      prefill_gpus:
        description: GPUs of the prefill tier.
        type: int
      decode_gpus:
        description: GPUs of the decode tier.
        type: int
      total_gpus:
        description: All GPUs. The sum of both tiers if not given.
        type: int
      decode_ranks:
        description: Data-parallel ranks of the decode tier. One per GPU if not given.
        type: int
      gpu:
        description: Model of the GPUs.
        type: str
      precision:
        description: Precision of the weights.
        type: str
  ranks:
    description: Per rank C(role), C(pod), C(rank) and C(requests), for the balance on the page.
    type: list
    elements: dict
    default: []
  notes:
    description:
      - Findings of the run beside its files, such as RV(llmd.wide_ep.benchmark_run#module:findings). They are judged
        and shown with the others.
    type: list
    elements: dict
    default: []
    suboptions:
      code:
        description: Code of the finding.
        type: str
        required: true
      severity:
        description: V(error), V(warning) or V(info).
        type: str
        required: true
      subject:
        description: What it is about.
        type: str
        required: true
      evidence:
        description: What was seen.
        type: str
        required: true
      fix:
        description: What to do.
        type: str
        required: true
  slo:
    description: Limits in seconds for goodput. Names are C(ttft), C(tpot), C(itl), C(ntpot) and C(request_latency).
    type: dict
    default: {}
  max_failure_share:
    description: Share of failed requests above which a run is invalid.
    type: float
    default: 0.01
  require_token_latency:
    description: Whether a run without TTFT, TPOT and ITL is invalid.
    type: bool
    default: false
  strict:
    description: Whether keys that the schema of reports does not know are errors.
    type: bool
    default: false
  per_request:
    description: Whether to read the per-request file where there is one.
    type: bool
    default: true
  allow_differences:
    description:
      - Fields that may differ between the sides of a comparison, such as the one that is under test.
      - Where V(tool_version) or V(token_side) differ, only what does not count tokens is compared.
    type: list
    elements: str
    default: []
  confidence:
    description: Confidence of the intervals.
    type: float
    default: 0.95
  destination:
    description: Folder for the reports and summaries. Without it nothing is written.
    type: path
  fail_on:
    description: Verdicts that fail the task.
    type: list
    elements: str
    choices: [better, same, worse, not comparable, invalid]
    default: [worse, not comparable, invalid]
"""

EXAMPLES = r"""
- name: Judge a run and compare it with the guide's report
  llmd.wide_ep.benchmark_report:
    results: [results/run-0, results/run-1, results/run-2]
    baseline: guide-cks-h200
    allow_differences: [tool_version, token_side]
    topology:
      prefill_gpus: 16
      decode_gpus: 16
      gpu: NVIDIA-H200
    slo:
      ttft: 26
      tpot: 0.1
    destination: report

- name: Read the report that someone else has published
  llmd.wide_ep.benchmark_report:
    results: [benchmark_report_v0.2.yaml]
    topology:
      prefill_gpus: 16
      decode_gpus: 16
"""

RETURN = r"""
verdict:
  description:
    - Without a comparison V(valid) or V(invalid), else V(better), V(same), V(worse), V(not comparable) or V(invalid).
    - V(not comparable) says that the sides measured different things, or that the repeats are too few or too unlike to
      tell. RV(reason) says which.
  type: str
  returned: always
reason:
  description: Why.
  type: str
  returned: always
confidence:
  description: Probability of V(better), V(same) or V(worse) under the noise model.
  type: float
  returned: always
exit_code:
  description: For programs that end with the verdict. 0 valid, better or same, 3 worse, 4 not comparable, 5 invalid.
  type: int
  returned: always
valid:
  description: Whether the run itself can be trusted.
  type: bool
  returned: always
requests:
  description: How many requests were sent and how many failed.
  type: dict
  returned: always
rates:
  description: Requests, output, input and total tokens per second.
  type: dict
  returned: always
latency:
  description: Statistics of each latency, in seconds.
  type: dict
  returned: always
figures:
  description: Derived figures by name, such as C(tpsg_decode) and C(tpsg_total).
  type: dict
  returned: always
goodput:
  description: Share of requests within all limits, as least and most where only percentiles are known.
  type: dict
  returned: always
comparison:
  description: Each metric of both sides, its change, interval and verdict.
  type: list
  elements: dict
  returned: always
findings:
  description: What is wrong or to be known, each with its code, severity, subject, evidence and fix.
  type: list
  elements: dict
  returned: always
files:
  description: What was written, or would be.
  type: list
  elements: str
  returned: when O(destination) is given
summary:
  description: Label and value pairs for the summary of the run.
  type: list
  elements: list
  returned: always
"""
