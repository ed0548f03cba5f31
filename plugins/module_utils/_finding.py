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
    "HF_TOKEN_MISSING": "There is no token to download the model with.",
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
    "PROOF_INCOMPLETE": "The proof ended without its evidence, for no reason that it can name.",
    # Removal
    "LEFT_OVER": "An object of the deployment still exists after its removal.",
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
    "ROUTE_NOT_ACCEPTED": "A Gateway, HTTPRoute or InferencePool is not accepted by what should serve it.",
    "WORKLOAD_NOT_ADMITTED": "Kueue does not admit a workload, or has evicted it.",
    "NODE_POOL_INVALID": "The provider refuses a node pool.",
    "OBJECT_MISSING": "An object that is waited for does not exist.",
    "NOT_READY_IN_TIME": "An object did not become ready in time.",
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
