# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only way this collection says no. Private to the collection; it may change at any time."""

from __future__ import annotations

import dataclasses
import textwrap
import typing as t

Severity = t.Literal["error", "warning", "info"]

#: Code -> what it means, in one sentence. Every code has its section in docs/reference/findings.md.
CODES: dict[str, str] = {
    # Inputs
    "INPUT_UNKNOWN": "A wide_ep_* variable is set that the collection does not know.",
    "INPUT_TYPE": "A variable has the wrong type or a value outside its choices.",
    "INPUT_NAME": "A value is not a valid Kubernetes name.",
    "INPUT_COMBINATION": "Two inputs do not fit each other.",
    "EXPERTS_NOT_DIVISIBLE": "The experts, redundant ones included, do not divide evenly over the ranks of a tier.",
    "API_UNREACHABLE": "The Kubernetes API server did not answer in time.",
    "KUBECONFIG_INVALID": "The kubeconfig is missing, unreadable or lacks the named context.",
    "API_ERROR": "The Kubernetes API server answered a request with an error.",
    "RIGHT_MISSING": "The identity in the kubeconfig lacks a right that the run needs.",
    "LOCK_HELD": "Another run holds the deployment's lock.",
    "FIELD_CONFLICT": "Someone else has changed a field of one of our objects.",
    "FIELD_UNKNOWN": "The API server dropped a field that it does not know.",
    # Platform, namespace and router
    "HELM_VERSION": "Helm and kubernetes.core do not fit each other.",
    "HELM_RELEASE_FOREIGN": "A Helm release of that name exists and is not ours.",
    "HELM_RELEASE_BROKEN": "A Helm release did not become deployed.",
    "LWS_TOO_OLD": "LeaderWorkerSet was installed by someone else in a version that does not suffice.",
    "LWS_UPGRADE_UNSAFE": "Changing the installed LeaderWorkerSet release would delete or break LeaderWorkerSets.",
    "CRD_TOO_OLD": "A CRD was installed by someone else in a version that does not suffice.",
    "ADMISSION_REFUSED": "The API server or a webhook does not accept an object.",
    "NAMESPACE_FOREIGN": "The namespace exists and is not ours.",
    "NAMESPACE_TERMINATING": "The namespace is being deleted.",
    "IMAGE_GONE": "An image was deleted from its registry.",
    "ROUTER_DIFFERS": "Objects of the router's release are absent or not as asked for.",
    "ROUTER_VALUE": "A value for the router's chart has no effect, breaks the release or has a variable of its own.",
    "EPP_CONFIG": "The endpoint picker would not start with this configuration.",
    "POOL_SELECTS_NOTHING": "The pool of the router selects none of the model-server pods.",
    "POOL_STRANGER": "A pod that is no model server carries the labels by which the router selects its endpoints.",
    "HF_TOKEN_MISSING": "There is no token to download the model with.",
    # Capacity
    "CAPACITY_GPUS": "The ranks per host of a tier do not fit the GPUs of the overlay's nodes.",
    "CAPACITY_NODES": "The cluster has too few nodes that fit the pods of the deployment.",
    "CAPACITY_RESOURCE": "A pod asks for more of a resource than a node of the overlay, or its own limit, can give.",
    "CAPACITY_GPU_MEMORY": "Weights, buffers and KV cache do not fit the memory of a GPU.",
    "CAPACITY_DISK": "The weights do not fit the disk that a pod may use.",
    "CAPACITY_START_BUDGET": "A cold start takes longer than the start probe allows.",
    # Prefetch
    "PREFETCH_NO_CACHE": "The model cache of the pods is no host path, so nothing can be put into it beforehand.",
    "PREFETCH_NO_NODE": "No node fits the model-server pods, or a named node does not.",
    "PREFETCH_TOKEN": "The model hub does not accept the token.",
    "PREFETCH_MODEL": "The model hub does not know the model or its revision.",
    "PREFETCH_DISK": "The disk of a node is too small for the model.",
    "PREFETCH_CORRUPT": "A file of the model arrives with another content than the hub announces.",
    "PREFETCH_HUB": "The model hub is unreachable or does not answer any more.",
    "PREFETCH_TIME": "The download was not complete in the time that it was given.",
    "PREFETCH_LIBRARY": "The image cannot download the model.",
    "PREFETCH_POD": "A prefetch pod did not start, or ended without its report.",
    # Model servers
    "IMAGE_UNFIT": "An image's reference is incomplete, or its release does not fit the mode or the hardware.",
    "RDMA_MISSING": "An all2all backend needs RDMA that the pods do not ask for or the nodes do not have.",
    "RESTART_NEEDED": "The change restarts a tier that exists, and restarts are not allowed.",
    # Kueue
    "KUEUE_UNUSABLE": "The Kueue in the cluster would refuse the deployment or place it wrongly.",
    "KUEUE_QUEUE_NAME": "The name of the queue would take pods that are not meant for it.",
    "KUEUE_OBJECT_FOREIGN": "A queue object of that name was made by someone else.",
    "KUEUE_OBJECT_IMMUTABLE": "A queue object differs in a field that cannot be changed.",
    "KUEUE_IN_USE": "Kueue or our queue objects cannot be removed while something uses them.",
    # Proof of the deployment
    "ENDPOINT_MISSING": "The object that tells where clients send requests does not exist.",
    "NO_READY_ENDPOINT": "The endpoint exists and nothing ready stands behind it.",
    "CLIENT_POD_FAILED": "The pod that sends the requests from inside the cluster did not start or left no report.",
    "PREFILL_ABSENT": "Not a single prefill pod exists; requests are answered decode-only.",
    "DECODE_ABSENT": "Not a single decode pod exists.",
    "POD_MISSING": "A model-server pod of the plan does not exist.",
    "POD_NOT_READY": "A model-server pod is not Ready.",
    "POD_NOT_IN_POOL": "A model-server pod lacks the labels by which the router selects it.",
    "POD_RESTARTED": "A model-server pod was replaced or started anew during the proof.",
    "PREFILL_POD_UNREACHABLE": "A prefill pod gives no answer over the pod network.",
    "DECODE_POD_UNREACHABLE": "A decode pod gives no answer over the pod network.",
    "VLLM_DOWN": "The sidecar of a decode pod answers while the model server behind it does not.",
    "WRONG_MODEL_NAME": "The model that was asked for is not the one that is served.",
    "REQUEST_FAILED": "The endpoint answered requests with an error, or not at all.",
    "ANSWER_SHAPE": "An answer is not what the OpenAI API promises.",
    "STREAM_INCOMPLETE": "A streamed answer ended without its closing [DONE].",
    "ANSWERED_ELSEWHERE": "More requests were answered than the decode pods have counted.",
    "PREFILL_UNUSED": "Prefill pods exist and prefilled nothing; requests are answered decode-only.",
    "REQUESTS_NOT_PREFILLED": "Fewer requests were prefilled remotely than were decoded.",
    "PREFILL_POD_SILENT": "A prefill pod prefilled nothing although many distinct prompts were sent.",
    "DECODE_POD_SILENT": "A decode pod answered nothing although many distinct prompts were sent.",
    "ROUTER_RESTARTED": "The endpoint picker was replaced or started anew during the proof.",
    "ROUTE_MISSING": "No HTTPRoute leads from the Gateway to the InferencePool.",
    "RANK_DEAF": "A rank gives no answer while other ranks of its pod do.",
    "RANK_SILENT": "A rank served nothing although many distinct prompts were sent.",
    "RANKS_MISSING": "A pod has fewer ranks than the plan says.",
    "KV_OVER_TCP": "The KV cache travels over TCP instead of RDMA.",
    "KV_TRANSPORT_UNKNOWN": "Nothing tells over which network the KV cache travels.",
    "PROOF_INCOMPLETE": "The proof ended without its evidence, for no reason that it can name.",
    # Benchmark
    "BENCHMARK_PROFILE": "A workload does not fit the load generator, its deadline or itself.",
    "BENCHMARK_NO_RESULT": "A folder or file holds no benchmark result.",
    "BENCHMARK_TRUNCATED": "A file of a benchmark is empty or ends in its middle.",
    "BENCHMARK_SHAPE": "A file of a benchmark is of another kind than expected.",
    "BENCHMARK_AMBIGUOUS": "A folder holds several stages or runs, and none is chosen.",
    "BENCHMARK_MIXED": "Files of one folder come from different runs or releases of the load generator.",
    "BENCHMARK_STAGE_MISSING": "A stage of the load has left no file.",
    "BENCHMARK_VERSION": "A report has a schema version that is not known, or not written as text.",
    "BENCHMARK_KEY_UNKNOWN": "A file of a benchmark has a key that its schema does not know.",
    "BENCHMARK_FIELD": "A report lacks a field that its schema requires, or has one of another type.",
    "BENCHMARK_UNITS": "A field of a report has a unit that does not fit it.",
    "BENCHMARK_VALUE": "A value is not a number, not finite, negative or otherwise impossible.",
    "BENCHMARK_ALL_FAILED": "Every request of a benchmark failed.",
    "BENCHMARK_REQUESTS_FAILED": "Some requests of a benchmark failed.",
    "BENCHMARK_INCOMPLETE": "A benchmark ended before all its requests were sent.",
    "BENCHMARK_INCONSISTENT": "Figures of one report contradict each other.",
    "BENCHMARK_NOT_STREAMED": "A report has no latencies of single tokens.",
    "BENCHMARK_ITL_DEGENERATE": "The inter-token latency is an artifact of how the client reads its socket.",
    "BENCHMARK_TOKEN_RECOUNT": "Client and server count different numbers of output tokens.",
    "BENCHMARK_LENGTH": "Prompts or outputs have another length than asked for.",
    "BENCHMARK_PLACEHOLDER": "A field of a report holds a placeholder.",
    "BENCHMARK_TOPOLOGY": "The GPUs per role are unknown or impossible.",
    "BENCHMARK_TOOL_CHECK": "The load generator's own checks complain about its files.",
    "BENCHMARK_PER_REQUEST": "The per-request file is unreadable or does not fit the aggregates.",
    "BENCHMARK_NOT_COMPARABLE": "Two runs differ in what they measured.",
    "BENCHMARK_UNSTABLE": "Repeats of one side differ too much, or have a slow mode.",
    "BENCHMARK_FEW_RUNS": "There are too few repeats to tell a change from noise.",
    "BENCHMARK_WORSE": "A run is slower than what it is compared with.",
    "BENCHMARK_PACKAGE_MISSING": "A Python package that reads or draws reports is not installed.",
    "BENCHMARK_ENDPOINT": "The endpoint of a benchmark gives no usable answer.",
    "BENCHMARK_MODEL": "The endpoint of a benchmark does not serve the model.",
    "BENCHMARK_TOOL": "The image of a benchmark has no load generator, or another release of it.",
    "BENCHMARK_TOKENIZER": "The load generator could not load its tokenizer.",
    "BENCHMARK_LOAD_ENDED": "The load of a benchmark ended before its time, or without a result.",
    "BENCHMARK_DEADLINE": "The load of a benchmark was killed at its deadline.",
    "BENCHMARK_DISK": "The disk of the benchmark's pod is full.",
    "BENCHMARK_FOLDER": "A folder that results are to be written to is not empty.",
    "BENCHMARK_POD": "The pod of a benchmark did not start, or was lost.",
    "BENCHMARK_POD_IN_USE": "The pod of a benchmark makes another load.",
    "BENCHMARK_COLLECT": "Results of a benchmark could not be brought out of its pod whole.",
    "BENCHMARK_COUNTERS": "The servers counted other requests or tokens than the client of a benchmark.",
    "BENCHMARK_STACK_CHANGED": "Model servers were restarted or replaced while a benchmark ran.",
    # Removal
    "LEFT_OVER": "An object of the deployment still exists after its removal.",
    # Monitoring
    "MONITORING_ABSENT": "The cluster serves none of the kinds of objects that collect metrics.",
    "MONITOR_PORT_MISSING": "A monitor selects pods that lack the port from which it reads metrics.",
    "ROUTER_METRICS_CLOSED": "The endpoint picker gives its metrics only with a token.",
    # Waiting
    "IMAGE_DENIED": "The registry refuses to give an image to the node.",
    "IMAGE_NOT_FOUND": "An image reference is invalid or the registry does not have it.",
    "IMAGE_PULL_FAILED": "An image cannot be pulled: the registry is busy, unreachable or does not answer in time.",
    "CONTAINER_CONFIG": "A container refers to a Secret or ConfigMap, or a key of one, that does not exist.",
    "CONTAINER_CREATE": "The container runtime cannot create or start a container.",
    "CRASH_LOOP": "A container ends again and again.",
    "PROBE_FAILED": "A container runs, but its probe does not pass.",
    "UNSCHEDULABLE": "No node fits a pod.",
    "VOLUME_MOUNT": "A volume of a pod cannot be mounted.",
    "POD_SANDBOX": "The node cannot set up a pod's sandbox or network.",
    "POD_FAILED": "A pod has failed.",
    "POD_EVICTED": "A node has evicted a pod.",
    "ADMISSION_DENIED": "A webhook or policy refuses the pods of an object.",
    "QUOTA_EXCEEDED": "The namespace's quota does not allow the pods of an object.",
    "GROUP_RECREATED": "A group of a LeaderWorkerSet was recreated again and again.",
    "JOB_FAILED": "A Job has failed.",
    "CRD_CONFLICT": "A CustomResourceDefinition's names are taken by another one.",
    "ROUTE_NOT_ACCEPTED": "An HTTPRoute or InferencePool is not accepted by its Gateway.",
    "WORKLOAD_NOT_ADMITTED": "Kueue does not admit a workload, or has evicted it.",
    "NODE_POOL_INVALID": "The provider refuses a node pool.",
    "OBJECT_MISSING": "An object that is waited for does not exist.",
    "NOT_READY_IN_TIME": "An object did not become ready in time.",
    # Gateway
    "GATEWAY_CLASS": "A GatewayClass does not exist, is not the provider's, or is not accepted by a controller.",
    "GATEWAY_PROVIDER": "The cluster lacks what the gateway's provider brings along.",
    "GATEWAY_CONTROLLER": "The controller of the gateway's provider does not serve InferencePools.",
    "GATEWAY_TIMEOUT": "The provider of the gateway cannot carry the timeout of a request as it is set.",
    "GATEWAY_EXPOSED": "The Gateway is reachable from outside of the cluster's network without TLS or authentication.",
    "GATEWAY_OBJECT_FOREIGN": "An object of the gateway's name exists and is not of this deployment.",
    "GATEWAY_IN_USE": "The gateway's provider or its CRDs cannot be removed while something uses them.",
    "GATEWAY_NOT_ACCEPTED": "A Gateway is not accepted, or no controller looks at it.",
    "GATEWAY_NOT_PROGRAMMED": "A Gateway is accepted, but does not serve.",
    "GATEWAY_NO_ADDRESS": "A Gateway has no address.",
    "GATEWAY_POLICY": "A policy of the gateway's provider is not attached to the pool.",
    "ROUTE_REFS_UNRESOLVED": "A route or pool refers to something that does not exist or cannot be used.",
    "ROUTE_UNANSWERED": "The controller of a Gateway says nothing about a route, pool or policy.",
    # RDMA mesh
    "RDMA_REQUIREMENT": "The fabric does not carry what the deployment needs of it.",
    "RDMA_CHECK_FAILED": "The RDMA mesh check could not be carried out.",
    "RDMA_RESULT_INCOMPLETE": "The result of the RDMA mesh check did not arrive whole.",
    "RDMA_HOST_DOWN": "A host takes no part in the RDMA mesh.",
    "RDMA_NIC_DOWN": "The port of a NIC is not ACTIVE.",
    "RDMA_LINK_SILENT": "A NIC has a link and exchanges nothing with any other host.",
    "RDMA_TX_DEAD": "A NIC receives, but nothing that it sends arrives.",
    "RDMA_RX_DEAD": "A NIC sends, but nothing that is sent to it arrives.",
    "RDMA_WRONG_PEER": "What is sent to a NIC reaches another one.",
    "RDMA_MTU_MISMATCH": "Small payloads pass where a full MTU does not.",
    "RDMA_GID_MISMATCH": "A driver refuses the address of a peer NIC.",
    "RDMA_PKEY_MISMATCH": "NICs are not full members of one partition.",
    "RDMA_MISCABLED": "A NIC is on another rail than its position says.",
    "RDMA_RAIL_ONLY": "NICs reach only the NICs of the same rail.",
    "RDMA_RAIL_GROUPS": "NICs reach only the NICs of the same group of rails.",
    "RDMA_HOST_PARTITION": "Groups of hosts do not reach each other.",
    "RDMA_ONE_WAY": "NICs reach each other in one direction only.",
    "RDMA_NEIGHBOR_TABLE": "A node has more RDMA peers than entries in its neighbor table.",
    "RDMA_PATH_BROKEN": "A NIC does not reach another one, and nothing larger explains it.",
    "RDMA_FLAP": "Paths between NICs failed at first and passed when they were tried again.",
    "RDMA_SLOW": "A NIC or path is slower than the others.",
    "RDMA_LOSSY": "Counters of a NIC show lost packets.",
    "RDMA_CONGESTION": "Counters of a NIC show that senders are held back.",
    "RDMA_UNEVEN_NICS": "Hosts have different numbers of NICs.",
    "RDMA_MIXED_LINKS": "The selected NICs have different link layers.",
    "RDMA_NO_ACCESS": "A pod cannot open RDMA devices of its node.",
    "RDMA_MEMLOCK": "A pod may not lock the memory that RDMA needs.",
    "RDMA_NO_GPUDIRECT": "A node has GPUs whose memory its NICs cannot reach.",
    "RDMA_NO_NICS": "A host has no NIC that the check could use.",
    # Rehearsal cluster
    "REHEARSAL_NAME": "The name of a rehearsal cluster does not fit the names that are made of it.",
    "REHEARSAL_PLATFORM": "A rehearsal cluster runs on Linux only.",
    "REHEARSAL_PRIVILEGE": "A rehearsal cluster needs root, by the user or by sudo.",
    "REHEARSAL_KERNEL": "The kernel or a basic command lacks what namespaces, pods or Services need.",
    "REHEARSAL_MEMORY": "There is too little memory for a rehearsal cluster.",
    "REHEARSAL_DISK": "There is too little disk space for a rehearsal cluster.",
    "REHEARSAL_LIMIT": "A kernel limit of the machine does not allow one more rehearsal cluster.",
    "REHEARSAL_ADDRESS": "The addresses of a rehearsal cluster are used by something else on the machine.",
    "REHEARSAL_PROGRAMS": "The programs of a rehearsal cluster are not built or not complete.",
    "REHEARSAL_IMAGE": "A ready-made image for a rehearsal cluster's registry does not exist or has no full name.",
    # Google Cloud
    "GCP_CREDENTIALS": "There are no usable Google credentials, or their token lacks a scope.",
    "GCP_PERMISSION": "The Google identity, or the nodes' service account, lacks a permission or an API.",
    "GCP_UNREACHABLE": "Google's API gives no usable answer.",
    "GCP_REFUSED": "Google's API refuses a request.",
    "GCP_OPERATION_FAILED": "A long-running operation at Google ended with an error.",
    "GCP_OPERATION_OPEN": "A long-running operation at Google was not done when the time was up.",
    "GCP_NO_CAPACITY": "The zone has no machines of that type to give.",
    "GCP_QUOTA": "A quota or rate limit of the Google project is exhausted.",
    "GCP_RESERVATION": "A reservation is absent, full, unhealthy or of another shape.",
    "GCP_ZONE": "The zone does not offer the machine type or an RDMA network profile.",
    "GCP_FOREIGN": "A cloud object of that name exists and is not ours.",
    "GCP_REPLACE_REQUIRED": "A cloud object differs in what cannot be changed in place.",
    "GCP_ROLLS_NODES": "A change would recreate every node of a pool.",
    "GCP_IN_USE": "A cloud object cannot be deleted because another one uses it.",
    "GCP_NETWORK": "A network is not made for what it shall be used for.",
    "GCP_CLUSTER": "A cluster lacks what an RDMA node pool needs.",
    "GCP_NODE_POOL": "A node pool or cluster is in an error state.",
    "GCP_DRIVER": "The GPU driver of a node pool is not the wanted one.",
    "GCP_NEVER_DELETES": "A node pool with automatic RDMA networks may never finish deleting.",
    # Node pools, whoever the provider is
    "INPUT_MISSING": "A value that only the user knows is not in the inventory yet.",
    "NOT_CONFIRMED": "A step that costs money or takes something away was not confirmed.",
    "DRIVER_COMBINATION": "GPU driver, the CUDA of the image and the prefill backend do not go together.",
    "CLUSTER_UNREACHABLE": "The control host cannot reach the control plane of the cluster.",
    "NODE_NETWORK_INVALID": "A Network or GKENetworkParamSet does not become Ready.",
    "NODE_COUNT": "There are fewer GPU nodes than the deployment needs.",
    "NODE_RESOURCE": "Nodes do not announce what the overlay asks for.",
    "NODE_MIX": "GPU nodes differ in what has to be the same on all of them.",
    "NODE_TOPOLOGY": "Nodes lack the labels by which groups are placed close together.",
    "NODE_POOL_REPLACE": "A NodePool differs in what cannot be changed in place.",
    "NODE_POOL_FOREIGN": "A NodePool of that name exists and is not ours.",
    "CKS_TOKEN": "CoreWeave does not accept the token of the kubeconfig.",
    "CUDA_CONTEXT": "No CUDA context opens in a pod of the model servers' image.",
    "GPU_BUDGET_SPENT": "The GPU minutes that the run may use are spent.",
    "CLOUD_LEFT_OVER": "Cloud objects are left after the removal.",
    # Runbooks
    "DEPLOYMENT_ABSENT": "There is no deployment of that release in the namespace.",
    "DEPLOYMENT_PARTIAL": "Parts of the deployment do not exist.",
    "DEPLOYMENT_FOREIGN": "What runs under the names of the deployment was made by someone else.",
    "DEPLOYMENT_UNHEALTHY": "A part of the deployment is not ready, or the last proof of it failed.",
    "RUNBOOK_TARGET": "The tier, group or node that a runbook was pointed at does not exist.",
    "INTERRUPTION_NOT_ALLOWED": "A runbook would interrupt service, and nobody has said yes.",
    "REVISIONS_MIXED": "Pods of one tier run two templates: an upgrade is under way or was cut off.",
    "NO_ROOM": "No node has room for the pods that a runbook would move or add.",
    "GROUP_STUCK": "Pods of a group that was restarted do not go away.",
    "IMAGE_DIGEST_MIXED": "One image reference is another image on another node.",
    "ARGUMENTS_REFUSED": "An image does not know an argument that it would be given, or refuses its value.",
    "ARGUMENTS_NOT_JUDGED": "An image ended or went on without telling whether it knows its arguments.",
    "ROLLBACK_NOTHING": "There is no earlier state of the deployment to go back to.",
    "UPGRADE_ROLLED_BACK": "An upgrade failed, and the deployment was put back to what ran before.",
    # Differences between the inventory and what runs
    "DRIFT_CLOUD": "Networks, cluster or node pools at the provider differ from the inventory.",
    "DRIFT_MISSING": "An object of the inventory does not exist.",
    "DRIFT_FIELD": "An object has other values than the inventory gives it.",
    "DRIFT_HELM": "A Helm release differs from the inventory.",
    "DRIFT_IMAGE": "A pod runs another image than the inventory names.",
    "DRIFT_EXTRA": "An object of the deployment exists that the inventory does not have.",
    # Preflight
    "K8S_TOO_OLD": "The Kubernetes version cannot run the deployment.",
    "CRD_MISSING": "The cluster does not serve a kind of object that the deployment needs.",
    "CLOCK_SKEW": "The clocks of the controller and of the API server differ.",
    "CONTROLLER_DOWN": "A controller that the deployment needs is not running.",
    "DNS_DOWN": "The cluster's DNS has no ready endpoint.",
    "GPUS_TAKEN": "GPUs that the deployment needs are held by other pods.",
    "GPU_UNHEALTHY": "A node offers fewer GPUs than it has.",
    "NODE_PRESSURE": "A node is short of memory, disk or process ids.",
    "CPU_NODE_MISSING": "No node outside the GPU pool has room for the router or the benchmark.",
    "HOST_CACHE": "The disk behind the model cache of a node is not known to be large enough.",
    "POD_SECURITY": "The namespace's pod security level refuses the model servers.",
    "QUOTA_TOO_SMALL": "A quota of the namespace does not allow the deployment.",
    "LIMIT_RANGE": "A limit range of the namespace refuses the model servers or changes them.",
    "PRIORITY_CLASS_MISSING": "A priority class that the pods name does not exist.",
    "STORAGE_CLASS_MISSING": "There is no default storage class for volume claims.",
    "STALE_OBJECT": "An earlier run left something behind that gets in the way.",
    "PREFLIGHT_UNREADABLE": "The identity may not look at something that a check needs.",
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One reason to stop or to warn.

    ``subject`` names the object or variable, ``evidence`` what was seen, ``fix`` what the reader does about it.
    """

    code: str
    severity: Severity
    subject: str
    evidence: str
    fix: str

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"finding code {self.code!r} is not registered in _finding.CODES")

    def as_dict(self) -> dict[str, str]:
        return dataclasses.asdict(self)

    def text(self, width: int = 98) -> str:
        """Three short paragraphs that fit a terminal of ``width`` + 2 columns."""
        head = f"{self.severity.upper()} {self.code}: {self.subject}"
        body = (("seen", self.evidence), ("fix", self.fix))
        # Names and commands stay whole, so that they can be copied.
        wrap = textwrap.TextWrapper(width, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
        lines = wrap.wrap(head)
        wrap.subsequent_indent = " " * 8
        for label, paragraph in body:
            for index, line in enumerate(paragraph.splitlines() or [""]):
                wrap.initial_indent = f"  {label + ':':<6}" if index == 0 else " " * 8
                lines += wrap.wrap(line) or [wrap.initial_indent]
        return "\n".join(lines)


def has_errors(findings: t.Iterable[Finding]) -> bool:
    return any(finding.severity == "error" for finding in findings)


def report(findings: t.Iterable[Finding], width: int = 98) -> str:
    """All findings as text, errors first; order within a severity is kept."""
    rank = {"error": 0, "warning": 1, "info": 2}
    return "\n".join(f.text(width) for f in sorted(findings, key=lambda f: rank[f.severity]))
