# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the probers, follows them, brings their one result, and leaves nothing. Private to the collection."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_frames as frames
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client, ClientError
from ansible_collections.llmd.wide_ep.plugins.module_utils._troubles import pod_troubles
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._mesh_job import (
    COMPONENT,
    COMPONENT_LABEL,
    DEPLOYMENT_LABEL,
    ROLE_LABEL,
    Settings,
    completion_index,
    manifests,
)

POLL_SECONDS = 0.5
PLURAL = {"Job": "jobs", "Service": "services", "ConfigMap": "configmaps", "Secret": "secrets"}

JsonObject = dict[str, t.Any]
Show = t.Callable[[str], t.Any]


class RunError(Exception):
    """The check could not be carried out; str() is the evidence."""


def path_of(namespace: str, kind: str, name: str = "") -> str:
    group = "/apis/batch/v1" if kind == "Job" else "/api/v1"
    return f"{group}/namespaces/{namespace}/{PLURAL[kind]}" + (f"/{name}" if name else "")


def probe(
    client: Client, settings: Settings, files: t.Mapping[str, str], show: Show, start_timeout: float
) -> tuple[str, dict[int, tuple[str, str]]]:
    """The result's text, and of hosts that did not join their names and reasons. Everything created is removed."""
    clear(client, settings.namespace, settings.release)
    try:
        create(client, settings, files)
        log = follow(client, settings, show, start_timeout)
        absent = absent_hosts(pods_of(client, settings))
        return frames.read(log, settings.run_id, settings.key), absent
    finally:
        remove(client, settings.namespace, settings.name)


def create(client: Client, settings: Settings, files: t.Mapping[str, str]) -> None:
    """The Job owns the rest, so that it goes with it even where this process cannot remove it."""
    first, *others = manifests(settings, files)
    owner = client.create(path_of(settings.namespace, "Job"), first)
    yield_to_others(client, settings)
    reference = {"apiVersion": "batch/v1", "kind": "Job", "name": settings.name, "uid": owner["metadata"]["uid"]}
    for item in others:
        metadata = {**item["metadata"], "ownerReferences": [reference]}
        client.create(path_of(settings.namespace, item["kind"]), {**item, "metadata": metadata})


def jobs_of(client: Client, namespace: str, release: str) -> list[JsonObject]:
    selector = {"labelSelector": f"{DEPLOYMENT_LABEL}={release},{COMPONENT_LABEL}={COMPONENT}"}
    return list(client.list(path_of(namespace, "Job"), selector))


def yield_to_others(client: Client, settings: Settings) -> None:
    """Two checks that start at the same moment both saw no other before. Whoever sees one now ends, be it both."""
    found = jobs_of(client, settings.namespace, settings.release)
    others = [job["metadata"]["name"] for job in found if not ended(job) and job["metadata"]["name"] != settings.name]
    if others:
        raise RunError(
            f"Job {settings.namespace}/{others[0]} of another check started at the same moment; run this again when it "
            "has ended"
        )


def clear(client: Client, namespace: str, release: str, *, everything: bool = False) -> list[str]:
    """Remove Jobs of earlier runs that have ended. One that runs is another check, and two would lie to each other."""
    removed = []
    for found in jobs_of(client, namespace, release):
        name = found["metadata"]["name"]
        if not everything and not ended(found):
            since = found["metadata"].get("creationTimestamp", "unknown")
            raise RunError(
                f"Job {namespace}/{name} of another check runs since {since}; wait for its end, or remove it with "
                "`ansible-playbook playbooks/rdma_mesh.yml -t rdma_mesh_remove`"
            )
        remove(client, namespace, name)
        removed.append(name)
    return removed


def servers(client: Client, namespace: str, release: str) -> list[JsonObject]:
    """The running pods of the deployment's model servers: the NICs of their nodes are theirs."""
    selector = {"labelSelector": f"{DEPLOYMENT_LABEL}={release},{ROLE_LABEL} in (prefill,decode)"}
    found = client.list(f"/api/v1/namespaces/{namespace}/pods", selector)
    return [
        pod
        for pod in found
        if (pod.get("status") or {}).get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")
    ]


def ended(job: t.Mapping[str, t.Any]) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(one.get("type") in ("Complete", "Failed") and one.get("status") == "True" for one in conditions)


def remove(client: Client, namespace: str, name: str) -> None:
    for kind in PLURAL:
        try:
            client.delete(path_of(namespace, kind, name), params={"propagationPolicy": "Background"})
        except ClientError as error:
            if not getattr(error, "not_found", False):
                client.warnings.append(f"{kind} {namespace}/{name} of the check could not be removed: {error}")


def pods_of(client: Client, settings: Settings) -> list[JsonObject]:
    selector = {"labelSelector": f"batch.kubernetes.io/job-name={settings.name}"}
    return list(client.list(f"/api/v1/namespaces/{settings.namespace}/pods", selector))


def follow(client: Client, settings: Settings, show: Show, start_timeout: float) -> str:
    """The coordinator's log once the result is in it, or the pod has ended; progress is shown meanwhile."""
    started, told = time.monotonic(), Progress(show, settings.run_id)
    while True:
        pods = pods_of(client, settings)
        lead = next((pod for pod in pods if completion_index(pod) == 0), None)
        phase = ((lead or {}).get("status") or {}).get("phase", "absent")
        waited = time.monotonic() - started
        if lead is not None and phase in ("Running", "Succeeded", "Failed"):
            log = _log(client, settings, lead)
            told.update(log)
            # The kubelet tells the end of a pod a second or two after it.
            if phase != "Running" or frames.ended(log, settings.run_id):
                return log
        elif waited > start_timeout:
            raise RunError(f"the coordinator's pod is {phase} after {waited:.0f} s; {_reasons(client, settings, pods)}")
        if waited > start_timeout + settings.deadline_seconds:
            raise RunError(f"no result after {waited:.0f} s; {_reasons(client, settings, pods)}")
        time.sleep(POLL_SECONDS)


def _log(client: Client, settings: Settings, pod: t.Mapping[str, t.Any]) -> str:
    """By the pod's name: a Job's log is that of any of its pods. A container that just starts has none yet."""
    try:
        return client.logs(settings.namespace, pod["metadata"]["name"], "prober", tail=None)
    except ApiError as error:
        if error.denied:
            raise
        return ""


def _reasons(client: Client, settings: Settings, pods: t.Sequence[JsonObject]) -> str:
    found = client.get_or_none(path_of(settings.namespace, "Job", settings.name)) or {}
    if (found.get("spec") or {}).get("suspend"):
        return "a queue holds the Job: it is suspended until Kueue admits it"
    reasons = [f"{pod['metadata']['name']}: {reason}" for pod in pods if (reason := reason_of(pod))]
    events = [] if reasons else _events(client, settings)
    return "; ".join([*reasons[:4], *events]) or f"{len(pods)} of {settings.hosts} pods exist, none tells why"


def _events(client: Client, settings: Settings) -> list[str]:
    """Why the Job's controller creates no pods; its absence is no error."""
    try:
        found = client.events(settings.namespace, f"involvedObject.name={settings.name}")
    except ClientError:
        return []
    warnings = [event for event in found if event.get("type") == "Warning"]
    return [f"{event.get('reason')}: {event.get('message')}" for event in warnings[-2:]]


def reason_of(pod: JsonObject) -> str:
    troubles = pod_troubles(pod)
    phase = (pod.get("status") or {}).get("phase", "")
    if troubles:
        return f"{troubles[0].reason}: {troubles[0].message}"
    return "" if phase in ("Running", "Succeeded") else phase or "no status"


def absent_hosts(pods: t.Iterable[JsonObject]) -> dict[int, tuple[str, str]]:
    """Name and reason by completion index, of pods that may not have joined."""
    found = {}
    for pod in pods:
        index = completion_index(pod)
        if index is not None:
            name = (pod.get("spec") or {}).get("nodeName") or pod["metadata"]["name"]
            reason = reason_of(pod)
            found[index] = (name, f"pod {pod['metadata']['name']}: {reason}" if reason else "")
    return found


class Progress:
    """Shows each new step of the coordinator once."""

    def __init__(self, show: Show, run_id: str) -> None:
        self._show, self._run_id, self._count = show, run_id, 0

    def update(self, log: str) -> None:
        steps = frames.read_progress(log, self._run_id)
        for step in steps[self._count :]:
            self._show(line(step))
        self._count = max(self._count, len(steps))


def line(step: t.Mapping[str, t.Any]) -> str:
    """A progress step in words."""
    phase = step.get("phase")
    if phase == "join":
        return f"RDMA mesh: {step.get('joined')} of {step.get('hosts')} probers joined"
    if phase == "plan":
        return f"RDMA mesh: {step.get('pairs')} directed pairs in {step.get('rounds')} rounds"
    if "same" in step and "cross" in step:
        same, cross = step["same"], step["cross"]
        return (
            f"RDMA mesh: after two rounds {same[0]} of {same[1]} paths of the same rail and {cross[0]} of {cross[1]} "
            "across rails answer"
        )
    if phase == "measure":
        return f"RDMA mesh: rates of round {step.get('round')} of {step.get('rounds')}"
    return f"RDMA mesh: {step.get('step')}, {step.get('failures')} of {step.get('pairs')} pairs failed so far"
