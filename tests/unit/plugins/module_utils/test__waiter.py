# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Unreachable
from ansible_collections.llmd.wide_ep.plugins.module_utils._observer import Target
from ansible_collections.llmd.wide_ep.plugins.module_utils._troubles import POLICY
from ansible_collections.llmd.wide_ep.plugins.module_utils._waiter import Snapshot, Spec, watch

from .kube_fake import (
    FakeClock,
    FakeCluster,
    Object,
    deployment,
    gated,
    lws,
    lws_pod,
    queued,
    unschedulable,
    warning,
    with_waiting,
    workload,
)

LWS = Target("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "ns", "decode")
EPP = Target("apps/v1", "Deployment", "ns", "epp")
Script = dict[float, t.Callable[[], t.Any]]


def run(
    cluster: FakeCluster, script: Script | None = None, targets: tuple[Target, ...] = (LWS,), **spec: t.Any
) -> list[Snapshot]:
    return list(watch(t.cast("t.Any", cluster), Spec(targets, **spec), FakeClock(script)))


def cluster_of(*objects: Object) -> FakeCluster:
    cluster = FakeCluster()
    for obj in objects:
        cluster.put(obj)
    return cluster


def test_ready_at_the_first_look_in_few_requests() -> None:
    cluster = cluster_of(lws(), lws_pod(), lws_pod(worker=1), deployment())
    shots = run(cluster, targets=(LWS, EPP))
    assert [shot.outcome for shot in shots] == ["ready"]
    assert shots[0].line() == "2 of 2 ready; 0:00 of 10:00"
    assert cluster.requests == [
        "GET /apis/leaderworkerset.x-k8s.io/v1/namespaces/ns/leaderworkersets/decode",
        "GET /apis/apps/v1/namespaces/ns/deployments/epp",
        "LIST /api/v1/namespaces/ns/pods",
    ]


def test_objects_of_a_kind_are_read_by_one_list() -> None:
    cluster = cluster_of(
        lws(), lws("prefill"), *(lws_pod(worker=w, lws_name=n) for w in (0, 1) for n in ("decode", "prefill"))
    )
    prefill = Target("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "ns", "prefill")
    assert run(cluster, targets=(LWS, prefill))[-1].outcome == "ready"
    assert [request.split()[0] for request in cluster.requests] == ["LIST", "LIST"]


def test_live_line_counts_groups_pods_and_stages() -> None:
    cluster = cluster_of(
        lws(groups=2, ready=1),
        *(lws_pod(0, worker) for worker in (0, 1)),
        with_waiting(lws_pod(1, 0), "ContainerCreating"),
        unschedulable(lws_pod(1, 1)),
        deployment(),
    )
    pod = cluster.objects[("Pod", "ns")]["decode-1"]
    pod["status"]["conditions"].append({"type": "PodReadyToStartContainers", "status": "True"})
    first = run(cluster, targets=(LWS, EPP), timeout=42)[0]
    assert first.line() == "decode 1/2 groups, 2/4 pods, pulling 1, unschedulable 1; 1 of 2 ready; 0:00 of 0:42"


def test_stable_for_starts_again_after_a_relapse() -> None:
    cluster = cluster_of(deployment())
    script: Script = {3: lambda: cluster.put(deployment(ready=False)), 5: lambda: cluster.put(deployment())}
    last = run(cluster, script, (EPP,), stable_for=4)[-1]
    assert (last.outcome, round(last.elapsed)) == ("ready", 9)


def test_a_container_without_probes_is_ready_only_after_a_while() -> None:
    """It may crash at once: Ready for an instant, then CrashLoopBackOff."""
    pod = lws_pod()
    pod["spec"]["containers"] = [{"name": "vllm"}]
    pod["status"]["containerStatuses"][0]["state"] = {"running": {"startedAt": "1970-01-01T00:16:40Z"}}
    cluster = cluster_of(lws(size=1), pod)
    cluster.server_time = 1001.0

    def later() -> None:
        cluster.server_time = 1006.0

    shots = run(cluster, {3: later})
    assert "1 pods without probes started less than 5 s ago" in shots[0].line()
    assert (shots[-1].outcome, round(shots[-1].elapsed)) == ("ready", 3)


def test_a_sidecar_without_probes_has_settled_when_the_container_behind_it_passes_its_own() -> None:
    pod = lws_pod()
    pod["spec"]["containers"] = [{"name": "vllm", "readinessProbe": {}}]
    pod["spec"]["initContainers"] = [{"name": "routing-proxy", "restartPolicy": "Always"}]
    running = {"running": {"startedAt": "1970-01-01T00:16:40Z"}}
    pod["status"]["initContainerStatuses"] = [{"name": "routing-proxy", "state": running, "ready": True}]
    cluster = cluster_of(lws(size=1), pod)
    cluster.server_time = 1001.0
    assert run(cluster)[-1].elapsed == 0


def test_timeout_is_kept_to_the_second() -> None:
    last = run(cluster_of(deployment(ready=False)), targets=(EPP,), timeout=7.5, interval=2)[-1]
    assert last.outcome == "timeout"
    assert last.elapsed == pytest.approx(7.5, abs=0.01)


def test_interval_grows_in_a_long_wait() -> None:
    shots = run(cluster_of(deployment(ready=False)), targets=(EPP,), timeout=1000)
    assert len(shots) == pytest.approx(300 + 700 / 5, abs=3)


@pytest.mark.parametrize(
    ("reason", "message", "restarts", "seconds"),
    [
        ("ErrImagePull", "failed to resolve reference: x:1: not found", 0, 0),
        ("ImagePullBackOff", "failed to authorize: 401 Unauthorized", 0, 0),
        ("ErrImagePull", "429 Too Many Requests", 0, 600),
        ("InvalidImageName", 'couldn\'t parse image name "X:1"', 0, 0),
        ("CreateContainerConfigError", 'secret "x" not found', 0, 20),
        ("CrashLoopBackOff", "back-off", 2, 0),
    ],
)
def test_policy_in_time(reason: str, message: str, restarts: int, seconds: float) -> None:
    cluster = cluster_of(lws(ready=0), with_waiting(lws_pod(), reason, message, restarts), lws_pod(worker=1))
    last = run(cluster, timeout=3600)[-1]
    assert last.outcome == "failed"
    assert last.elapsed == pytest.approx(seconds, abs=5.1)
    assert last.terminal[0].subject == "Pod ns/decode-0, container vllm"


def test_one_restart_is_borne() -> None:
    cluster = cluster_of(
        lws(ready=0), with_waiting(lws_pod(), "CrashLoopBackOff", restarts=1, exit_code=1), lws_pod(worker=1)
    )
    assert run(cluster, timeout=120)[-1].outcome == "timeout"


def test_grace_can_be_set_per_reason() -> None:
    cluster = cluster_of(lws(ready=0), unschedulable(lws_pod()), lws_pod(worker=1))
    assert run(copy.deepcopy(cluster), grace={"Unschedulable": 10})[-1].elapsed == pytest.approx(10, abs=1.1)
    assert run(copy.deepcopy(cluster), timeout=900)[-1].elapsed == pytest.approx(300, abs=1.1)
    assert run(cluster, timeout=900, grace={"Unschedulable": -1})[-1].outcome == "timeout"


def test_a_trouble_that_heals_starts_anew() -> None:
    cluster = cluster_of(lws(ready=0), unschedulable(lws_pod()), lws_pod(worker=1))
    script: Script = {
        200: lambda: cluster.put(lws_pod(ready=False)),
        250: lambda: cluster.put(unschedulable(lws_pod())),
    }
    assert run(cluster, script, timeout=3600)[-1].elapsed == pytest.approx(550, abs=6)


def recreate(cluster: FakeCluster, uid: str, revision: str = "r1") -> t.Callable[[], None]:
    return lambda: cluster.put(lws_pod(ready=False, uid=uid, revision=revision))


def test_a_group_recreated_twice_ends_the_wait() -> None:
    cluster = cluster_of(lws(ready=0), lws_pod(ready=False, uid="a"), lws_pod(worker=1, ready=False))
    last = run(cluster, {5: recreate(cluster, "b"), 9: recreate(cluster, "c")})[-1]
    assert (last.outcome, round(last.elapsed)) == ("failed", 9)
    assert last.terminal[0].subject == "LeaderWorkerSet ns/decode, group 0"


def test_a_rollout_recreates_groups_on_purpose() -> None:
    cluster = cluster_of(lws(ready=0), lws_pod(ready=False, uid="a"), lws_pod(worker=1, ready=False))
    script = {5: recreate(cluster, "b", "r2"), 9: recreate(cluster, "c", "r3"), 12: recreate(cluster, "d", "r3")}
    assert run(cluster, script, timeout=60)[-1].outcome == "timeout"


QUOTA = 'pods "decode-0" is forbidden: exceeded quota: gpus'


@pytest.mark.parametrize(
    ("at", "bumped", "outcome", "seconds"),
    [
        ("1970-01-01T00:16:38Z", False, "failed", 0),  # 2 s old: caused by what is waited for
        ("1970-01-01T00:15:40Z", False, "timeout", 400),  # a minute old and not repeated: it may be answered since
        ("1970-01-01T00:15:40Z", True, "failed", 30),  # repeated while waiting
    ],
)
def test_quota_denial_counts_when_it_is_fresh(at: str, bumped: bool, outcome: str, seconds: float) -> None:
    cluster = cluster_of(lws(ready=0))
    cluster.server_time = 1000.0
    cluster.warnings_seen = [warning("FailedCreate", QUOTA, "StatefulSet", "decode", at=at)]

    def repeat() -> None:
        cluster.warnings_seen = [
            warning("FailedCreate", QUOTA, "StatefulSet", "decode", at="1970-01-01T00:17:10Z", count=2)
        ]

    def later() -> None:
        cluster.server_time = 1100.0

    last = run(cluster, {30: repeat} if bumped else {100: later}, timeout=400)[-1]
    assert (last.outcome, last.terminal[:1] and last.terminal[0].reason) == (
        outcome,
        "QuotaExceeded" if outcome == "failed" else (),
    )
    assert last.elapsed == pytest.approx(seconds, abs=6)


def test_each_pod_that_is_refused_has_an_event_and_all_are_one_trouble() -> None:
    cluster = cluster_of(deployment(ready=False))
    cluster.server_time = 1000.0
    cluster.warnings_seen = [
        warning("FailedCreate", f'pods "{name}" is forbidden: {QUOTA}', "ReplicaSet", "epp-5d8f", at=at)
        for name, at in (("epp-5d8f-b", "1970-01-01T00:16:39Z"), ("epp-5d8f-a", "1970-01-01T00:16:38Z"))
    ]
    for index, event in enumerate(cluster.warnings_seen):
        event["metadata"]["uid"] = f"event-{index}"
    (trouble,) = run(cluster, targets=(EPP,), timeout=30)[-1].terminal
    assert "epp-5d8f-b" in trouble.message


def test_a_denial_is_history_once_the_pods_exist() -> None:
    cluster = cluster_of(lws(ready=0), lws_pod(ready=False), lws_pod(worker=1, ready=False))
    cluster.server_time = 1000.0
    cluster.warnings_seen = [warning("FailedCreate", QUOTA, "StatefulSet", "decode", at="1970-01-01T00:16:38Z")]
    assert run(cluster, timeout=30)[-1].outcome == "timeout"


def test_an_event_about_another_object_of_similar_name_is_not_ours() -> None:
    cluster = cluster_of(deployment(ready=False))
    cluster.server_time = 1000.0
    cluster.warnings_seen = [warning("FailedCreate", QUOTA, "ReplicaSet", "epp-other-5d8f", at="1970-01-01T00:16:38Z")]
    assert run(cluster, targets=(EPP,), timeout=30)[-1].outcome == "timeout"
    cluster.warnings_seen = [warning("FailedCreate", QUOTA, "ReplicaSet", "epp-5d8f", at="1970-01-01T00:16:38Z")]
    assert run(cluster, targets=(EPP,), timeout=30)[-1].outcome == "failed"


def test_replaced_pods_of_a_replica_set_are_history() -> None:
    old = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "epp-old",
            "namespace": "ns",
            "uid": "old",
            "labels": {"app": "epp"},
            "ownerReferences": [{"kind": "ReplicaSet", "controller": True}],
        },
        "status": {"phase": "Failed", "reason": "Evicted"},
    }
    cluster = cluster_of(deployment(ready=False), old)
    fresh = {**old, "metadata": {**old["metadata"], "name": "epp-new", "uid": "new"}}
    last = run(cluster, {10: lambda: cluster.put(fresh)}, (EPP,), timeout=60)[-1]
    assert (last.outcome, last.terminal[0].pod) == ("failed", "epp-new")


def test_faults_of_the_network_are_waited_out() -> None:
    cluster = cluster_of(deployment())
    cluster.error = Unreachable("https://fake:6443", "connection refused")

    def back() -> None:
        cluster.error = None

    shots = run(cluster, {20: back}, (EPP,))
    assert (
        shots[0].line()
        == "cannot reach https://fake:6443: connection refused; epp not read yet; 0 of 1 ready; 0:00 of 10:00"
    )
    assert shots[-1].outcome == "ready"
    assert len(shots) < 8, "backs off"


def test_a_fault_until_the_end_is_a_timeout_that_says_so() -> None:
    cluster = cluster_of(deployment())
    cluster.error = ApiError(503, "ServiceUnavailable", "etcd is away", "/api")
    last = run(cluster, targets=(EPP,), timeout=30)[-1]
    assert last.outcome == "timeout"
    assert "etcd is away (for 0:30)" in last.note


def test_retry_after_is_respected() -> None:
    cluster = cluster_of(deployment())
    cluster.error = ApiError(429, "TooManyRequests", "slow down", "/api", retry_after=9)
    shots = run(cluster, targets=(EPP,), timeout=20)
    assert [round(shot.elapsed) for shot in shots] == [0, 9, 18, 20]


@pytest.mark.parametrize("status", [401, 403])
def test_a_missing_right_ends_the_wait(status: int) -> None:
    cluster = cluster_of(deployment())
    cluster.error = ApiError(status, "Forbidden", 'cannot list resource "pods"', "/api/v1/namespaces/ns/pods")
    with pytest.raises(ApiError, match="cannot list resource"):
        run(cluster, targets=(EPP,))


def test_events_are_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = cluster_of(deployment(ready=False))

    def refuse(namespace: str, field_selector: str | None = None) -> list[Object]:
        cluster.requests.append("EVENTS")
        raise ApiError(403, "Forbidden", "events is forbidden", "/events")

    monkeypatch.setattr(cluster, "events", refuse)
    assert run(cluster, targets=(EPP,), timeout=30)[-1].outcome == "timeout"
    assert cluster.requests.count("EVENTS") == 1


@pytest.mark.parametrize(("kind", "reason"), [("Deployment", "ObjectMissing"), ("Widget", "KindMissing")])
def test_what_does_not_exist_gets_a_grace(kind: str, reason: str) -> None:
    last = run(cluster_of(), targets=(Target("apps/v1", kind, "ns", "x"),), timeout=900)[-1]
    assert (last.outcome, last.terminal[0].reason, round(last.elapsed)) == ("failed", reason, 300)


def test_a_selector_wants_its_count() -> None:
    nodes = Target("v1", "Node", label_selector="gpu=yes", count=2)
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "a", "uid": "a", "labels": {"gpu": "yes"}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    cluster = cluster_of(node)
    second = {**node, "metadata": {**node["metadata"], "name": "b", "uid": "b"}}
    shots = run(cluster, {10: lambda: cluster.put(second)}, (nodes,))
    assert "1 of 2 exist" in shots[0].line()
    assert (shots[-1].outcome, round(shots[-1].elapsed)) == ("ready", 10)


def test_a_finished_job_is_not_read_again() -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j", "namespace": "ns", "uid": "j"},
        "spec": {},
        "status": {"conditions": [{"type": "Complete", "status": "True"}]},
    }
    cluster = cluster_of(job, deployment(ready=False))
    run(cluster, targets=(Target("batch/v1", "Job", "ns", "j"), EPP), timeout=5)
    assert sum("jobs/j" in request for request in cluster.requests) == 1


def test_nothing_to_wait_for_is_ready() -> None:
    assert run(cluster_of(), targets=())[-1].outcome == "ready"


PODS = st.sampled_from(
    [
        lws_pod(),
        lws_pod(ready=False),
        unschedulable(lws_pod()),
        with_waiting(lws_pod(), "CrashLoopBackOff", restarts=5, exit_code=1),
        with_waiting(lws_pod(), "ErrImagePull", "not found"),
        with_waiting(lws_pod(), "SomethingNew"),
    ]
)


@given(st.lists(PODS, max_size=3), st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_verdict_is_total_and_never_ready_with_a_pod_that_is_not(
    pods: list[Object], groups: int, ready: int, observed: bool
) -> None:
    cluster = cluster_of(lws(groups=groups, size=1, ready=ready))
    if not observed:
        cluster.objects[("LeaderWorkerSet", "ns")]["decode"]["status"]["observedGeneration"] = 0
    for index, pod in enumerate(pods):
        name = f"decode-{index}"
        cluster.put({**pod, "metadata": {**pod["metadata"], "name": name, "uid": name}})
    last = run(cluster, timeout=3)[-1]
    assert last.outcome in ("ready", "failed", "timeout")
    assert all(trouble.reason in POLICY for item in last.items for trouble in item.troubles)
    if last.outcome == "ready":
        assert all(pod["status"]["conditions"][-1] == {"type": "Ready", "status": "True"} for pod in pods)
        assert groups == ready == len(pods)


PLACEMENT = 'couldn\'t assign flavors to pod set main: topology "wide-ep-gke" allows to fit only 1 out of 2 pod(s)'


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (PLACEMENT, "WorkloadUnplaced"),
        ("couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu", "WorkloadWaiting"),
        (
            "couldn't assign flavors to pod set main: resource rdma/ib unavailable in ClusterQueue",
            "WorkloadInadmissible",
        ),
    ],
)
def test_a_set_in_a_queue_is_first_judged_by_its_workloads(message: str, reason: str) -> None:
    cluster = cluster_of(queued(lws(ready=0)), gated(lws_pod()), gated(lws_pod(worker=1)), workload(message))
    last = run(cluster, timeout=900)[-1]
    assert (last.outcome, [trouble.reason for trouble in last.terminal]) == ("failed", [reason])
    assert last.elapsed == pytest.approx(300, abs=6)
    said = message.partition("main: ")[2]
    assert said in last.terminal[0].message
    assert (
        "asks for 2 pods with 8 nvidia.com/gpu each in one cloud.google.com/gce-topology-block" in last.items[0].detail
    )


def test_the_live_line_says_what_kueue_says() -> None:
    cluster = cluster_of(queued(lws(ready=0)), gated(lws_pod()), gated(lws_pod(worker=1)), workload(PLACEMENT))
    first = run(cluster, timeout=10)[0]
    assert (
        'decode 0/1 groups, 0/2 pods, not admitted: topology "wide-ep-gke" allows to fit only 1..., gated 2'
        in first.line()
    )


def test_admitted_workloads_leave_the_judgement_to_the_pods() -> None:
    pods = (lws_pod(), lws_pod(worker=1))
    cluster = cluster_of(queued(lws(ready=0)), *map(gated, pods), workload("topology x allows to fit only 1"))

    def admit() -> None:
        for obj in (queued(lws()), *pods, workload(admitted=True)):
            cluster.put(obj)

    shots = run(cluster, {250: admit}, timeout=900)
    assert (shots[-1].outcome, round(shots[-1].elapsed)) == ("ready", 250)


def test_workloads_of_other_sets_are_not_asked() -> None:
    other = workload(PLACEMENT, owner="uid-prefill", group=1)
    cluster = cluster_of(queued(lws()), lws_pod(), lws_pod(worker=1), workload(admitted=True), other)
    assert run(cluster)[0].outcome == "ready"


def test_of_several_groups_the_one_with_a_reason_is_told() -> None:
    cluster = cluster_of(queued(lws(groups=2, ready=0)), workload(), workload(PLACEMENT, group=1))
    detail = run(cluster, timeout=5)[-1].items[0].detail
    assert "allows to fit only 1 out of 2" in detail
    assert detail.endswith("(Workload w-1); 2 of 2 groups wait")


def test_a_set_that_kueue_does_not_manage_is_not_ready_though_its_pods_are() -> None:
    last = run(cluster_of(queued(lws()), lws_pod(), lws_pod(worker=1)), timeout=900)[-1]
    assert (last.outcome, last.terminal[0].reason, round(last.elapsed)) == ("failed", "WorkloadMissing", 60)


def test_a_set_without_a_queue_asks_for_no_workloads() -> None:
    cluster = cluster_of(lws(), lws_pod(), lws_pod(worker=1), workload(PLACEMENT))
    assert run(cluster)[0].outcome == "ready"
    assert not [request for request in cluster.requests if "workloads" in request]


def test_workloads_are_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to read them, and where Kueue is not installed, the pods alone tell."""
    cluster = cluster_of(queued(lws()), lws_pod(), lws_pod(worker=1), workload(PLACEMENT))
    plain = cluster.list

    def refuse(path: str, params: t.Any = None) -> list[Object]:
        if "workloads" in path:
            raise ApiError(403, "Forbidden", "workloads is forbidden", path)
        return plain(path, params)

    monkeypatch.setattr(cluster, "list", refuse)
    assert run(cluster)[0].outcome == "ready"
    monkeypatch.setattr(cluster, "list", plain)
    cluster.served = {key: value for key, value in cluster.served.items() if key[1] != "Workload"}
    assert run(cluster)[0].outcome == "ready"


POOL = Target("inference.networking.k8s.io/v1", "InferencePool", "ns", "pool")
ROUTE_KIND = ("gateway.networking.k8s.io/v1", "HTTPRoute")


def pool(*gateways: str) -> Object:
    conditions = [{"type": kind, "status": "True"} for kind in ("Accepted", "ResolvedRefs")]
    parents = [{"parentRef": {"name": name}, "conditions": conditions} for name in gateways]
    metadata = {"name": "pool", "namespace": "ns", "uid": "uid-pool"}
    return {"apiVersion": POOL.api_version, "kind": POOL.kind, "metadata": metadata, "status": {"parents": parents}}


def route() -> Object:
    backend = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "pool"}
    spec = {"parentRefs": [{"name": "gateway"}], "rules": [{"backendRefs": [backend]}]}
    metadata = {"name": "route", "namespace": "ns", "uid": "uid-route"}
    return {"apiVersion": ROUTE_KIND[0], "kind": ROUTE_KIND[1], "metadata": metadata, "spec": spec}


def test_a_pool_waits_for_the_gateway_of_its_route() -> None:
    cluster = cluster_of(pool(), route())
    shots = run(cluster, {3.0: lambda: cluster.put(pool("gateway"))}, (POOL,))
    assert shots[0].outcome == "waiting"
    assert "Gateway gateway has not answered yet" in shots[0].line()
    assert shots[-1].outcome == "ready"


def test_a_pool_without_a_route_waits_for_nobody() -> None:
    assert run(cluster_of(pool()), targets=(POOL,))[0].outcome == "ready"
    cluster = cluster_of(pool())
    del cluster.served[ROUTE_KIND]
    assert run(cluster, targets=(POOL,))[0].outcome == "ready"


def test_routes_that_may_not_be_read_are_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = cluster_of(pool(), route(), lws())
    asked: list[str] = []

    def refuse(path: str, params: t.Any = None) -> list[Object]:
        if "httproutes" in path:
            asked.append(path)
            raise ApiError(403, "Forbidden", "no", path)
        return FakeCluster.list(cluster, path, params)

    monkeypatch.setattr(cluster, "list", refuse)
    shots = run(cluster, {2.0: lambda: [cluster.put(pod) for pod in (lws_pod(), lws_pod(worker=1))]}, (POOL, LWS))
    assert shots[-1].outcome == "ready"
    assert len(shots) > 1
    assert len(asked) == 1
