# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storms, lost answers, errors of operations, busy clusters: the same end, nothing created twice, or a finding."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from _harness import CLUSTER, FAMILY, GPU, NETWORK, POOL, ZONE, Bench, Json, bench
from gke_standin.cloud import Refused
from gke_standin.server import Fault

SITE = (("gke_network", NETWORK), ("gke_cluster", CLUSTER), ("gke_node_pool", GPU))
WRITES = r".*\.(insert|create|patch|update|delete|set\w+)"
RATE = ({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "RATE_LIMIT_EXCEEDED"},)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """The end state of a run in which nothing goes wrong."""
    with bench(tmp_path_factory.mktemp("undisturbed")) as made:
        made.build(pool=True)
        return made.state()


def build_all(site: Bench) -> None:
    for name, given in SITE:
        site.good(name, given)


def remove_all(site: Bench) -> None:
    for name, given in reversed(SITE):
        site.good(name, {**given, "state": "absent"})


def rate_limit(status: int) -> Refused:
    """Both services' forms, with the wait that they ask for."""
    message = "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute'."
    header = (("Retry-After", "0.02"),)
    if status == 403:
        return Refused(403, message, reason="rateLimitExceeded", headers=header)
    return Refused(429, message, details=RATE, headers=header)


STORMS: dict[str, Callable[[], list[Fault]]] = {
    "429": lambda: [Fault(".*", refuse=rate_limit(429), times=3, skip=skip) for skip in range(0, 120, 12)],
    "403 of Compute": lambda: [
        Fault("compute.*", refuse=rate_limit(403), times=3, skip=skip) for skip in range(0, 80, 9)
    ],
    "503 of reads": lambda: [
        Fault(r".*\.(get|list)", refuse=Refused(503, "try again"), times=2, skip=n) for n in range(0, 60, 7)
    ],
    "503 of writes": lambda: [Fault(WRITES, refuse=Refused(503, "try again"), times=1, skip=n) for n in range(18)],
    "answers of writes lost": lambda: [Fault(WRITES, drop="after", times=100)],
    "writes lost": lambda: [Fault(WRITES, drop="before", times=1, skip=2 * n) for n in range(9)],
    "reads lost": lambda: [Fault(r".*\.(get|list)", drop="after", times=1, skip=n) for n in range(0, 90, 9)],
    "busy": lambda: [
        Fault(
            "container.*(create|update)",
            refuse=Refused(400, "incompatible operation", code="FAILED_PRECONDITION"),
            times=2,
        )
    ],
}


@pytest.mark.parametrize("storm", STORMS)
def test_storms(site: Bench, undisturbed: Json, storm: str) -> None:
    """The same end state, each object created once, and then everything removed through the same storm."""
    site.stand_in.faults = STORMS[storm]()
    build_all(site)
    assert site.state() == undisturbed
    assert len(site.created()) == len(set(site.created())) == 19
    assert any(fault.times < 100 for fault in site.stand_in.faults)
    site.stand_in.faults = STORMS[storm]()
    remove_all(site)
    assert [path for path in site.cloud.objects if "networkProfiles" not in path] == []
    assert len(site.cloud.deleted) == len(set(site.cloud.deleted))


def test_lost_answer_of_what_is_already_done(site: Bench, undisturbed: Json) -> None:
    """The operation has ended before anyone looks: the object itself shows that the call was carried out."""

    def finish_all() -> None:
        for operation in site.cloud.operations.values():
            operation.polls = 0
            site.cloud.look(operation)

    site.stand_in.faults = [Fault(WRITES, hook=finish_all, drop="after", times=100)]
    build_all(site)
    assert site.state() == undisturbed
    assert len(site.created()) == len(set(site.created()))
    site.stand_in.requests.clear()
    site.good("gke_node_pool", {**GPU, "labels": {"team": "a"}, "node_count": 5})
    site.good("gke_cluster", {**CLUSTER, "gateway_api": True, "labels": {"team": "a"}})
    assert len(site.stand_in.writes()) == 4
    remove_all(site)
    assert len(site.cloud.deleted) == len(set(site.cloud.deleted))


def test_storm_without_end(site: Bench) -> None:
    """It is borne for `retry_for`, then told, and nothing was created."""
    site.stand_in.faults = [Fault("compute.networks.insert", refuse=Refused(503, "x"), times=10_000)]
    result = site.bad("gke_network", {**NETWORK, "retry_for": 1}, "GCP_UNREACHABLE")
    assert 0.9 < result["elapsed"] < 4
    assert site.created() == []


def test_server_says_how_long_to_wait(site: Bench) -> None:
    slow = Refused(429, "slow down", headers=(("Retry-After", "1"),))
    site.stand_in.faults = [Fault("compute.networks.get", refuse=slow)]
    assert 1 <= site.good("gke_network", NETWORK, check=True)["elapsed"] < 20


# Operations that end badly

ERRORS: list[tuple[Json, str, str]] = [
    (
        {"code": 8, "message": "Google Compute Engine: not enough resources", "condition": "GCE_STOCKOUT"},
        "GCP_NO_CAPACITY",
        "keep",
    ),
    ({"code": 8, "message": "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"}, "GCP_NO_CAPACITY", "delete"),
    ({"code": 13, "message": "Not all instances running in IGM after 35m0s"}, "GCP_NO_CAPACITY", "keep"),
    ({"code": 8, "message": "Quota 'GPUS_PER_GPU_FAMILY' exceeded. Limit: 16"}, "GCP_QUOTA", "keep"),
    ({"code": 8, "message": "RESOURCE_EXHAUSTED: reservation dense is full"}, "GCP_RESERVATION", "keep"),
    ({"code": 3, "message": "the machines are incorrect for the requested resources"}, "GCP_RESERVATION", "keep"),
    ({"code": 13, "message": "internal error"}, "GCP_OPERATION_FAILED", "keep"),
]


@pytest.mark.parametrize(("error", "code", "on_stockout"), ERRORS)
def test_node_pool_that_does_not_come(site: Bench, error: Json, code: str, on_stockout: str) -> None:
    """The pool stays, unless asked otherwise, and a second run tells the same without sending anything."""
    site.build()
    site.stand_in.faults = [Fault(".*nodePools.create", operation=error)]
    given = {**GPU, "on_stockout": on_stockout}
    result = site.run("gke_node_pool", given)
    assert result["failed"]
    assert code in [finding["code"] for finding in result["findings"]]
    assert (f"{FAMILY}/nodePools/gpu" in site.cloud.objects) == (on_stockout == "keep") == result["changed"]
    if on_stockout == "delete":
        return
    assert result["conditions"][0]["message"] == error["message"]
    site.stand_in.requests.clear()
    again = site.run("gke_node_pool", given)
    assert again["failed"]
    assert error["message"] in again["msg"].replace("\n          ", " ").replace("\n", " ") or again["findings"]
    assert site.stand_in.writes() == []
    assert site.good("gke_node_pool", {**given, "allow_replace": ["gpu"]})["actions"][0]["action"] == "replace"


def test_pool_that_fills_after_all(site: Bench) -> None:
    """A stocked-out pool goes on asking for machines: it is read again, and a later run finds it complete."""
    site.build()
    error = {"code": 8, "message": "stockout", "condition": "GCE_STOCKOUT", "fills_after": 4}
    site.stand_in.faults = [Fault(".*nodePools.create", operation=error)]
    site.run("gke_node_pool", GPU)
    while site.cloud.objects[f"{FAMILY}/nodePools/gpu"]["status"] == "ERROR":
        site.run("gke_node_pool", GPU)
    assert not site.good("gke_node_pool", GPU)["changed"]


def test_running_with_error_is_a_failure(site: Bench) -> None:
    site.build(pool=True)
    site.cloud.objects[f"{FAMILY}/nodePools/gpu"] |= {
        "status": "RUNNING_WITH_ERROR",
        "conditions": [{"code": "GCE_QUOTA_EXCEEDED", "message": "Insufficient regional quota"}],
    }
    result = site.bad("gke_node_pool", GPU, "GCP_QUOTA")
    assert "Insufficient regional quota" in result["findings"][0]["evidence"]


def test_network_operation_fails_once(site: Bench, undisturbed: Json) -> None:
    site.stand_in.faults = [
        Fault("compute.subnetworks.insert", operation={"code": "RESOURCE_ERROR", "message": "boom"}, skip=3)
    ]
    result = site.bad("gke_network", NETWORK, "GCP_OPERATION_FAILED")
    assert "boom" in result["msg"]
    build_all(site)
    assert site.state() == undisturbed


def test_cluster_operation_fails(site: Bench) -> None:
    """A broken cluster is told on the next run too, and can be removed."""
    site.good("gke_network", NETWORK)
    site.stand_in.faults = [Fault(".*clusters.create", operation={"code": 13, "message": "boom"})]
    site.bad("gke_cluster", CLUSTER, "GCP_OPERATION_FAILED")
    site.bad("gke_cluster", CLUSTER, "GCP_NODE_POOL")
    site.good("gke_cluster", {**CLUSTER, "state": "absent"})


# Operations that do not end in time, or belong to others


def test_operation_is_taken_up_by_the_next_run(site: Bench) -> None:
    """The time is up; the next run waits for the same operation and sends nothing."""
    site.build()
    site.stand_in.faults = [Fault(".*nodePools.create", stuck=True)]
    result = site.bad("gke_node_pool", {**GPU, "timeout": 1}, "GCP_OPERATION_OPEN")
    operation = result["operations"][0]
    assert operation in result["msg"]
    site.cloud.operations[operation].stuck = False
    site.stand_in.requests.clear()
    again = site.good("gke_node_pool", GPU)
    assert (again["changed"], again["operations"]) == (False, [operation])
    assert site.stand_in.writes() == []


def test_pool_that_never_finishes_deleting(site: Bench) -> None:
    site.build()
    given = {**POOL, "interfaces": "dranet", "accept_stuck_deletion": True, "timeout": 1, "networks": []}
    site.good("gke_node_pool", given)
    site.stand_in.requests.clear()
    for _run in range(2):
        site.bad("gke_node_pool", {**given, "state": "absent"}, "GCP_OPERATION_OPEN")
    assert [request.verb for request in site.stand_in.writes()] == ["DELETE"]


def test_pool_that_is_still_coming(site: Bench) -> None:
    """Its operation is no longer known, and the pool itself says that it is not there yet."""
    site.build(pool=True)
    pool = site.cloud.objects[f"{FAMILY}/nodePools/gpu"]
    pool["status"] = "PROVISIONING"
    site.stand_in.faults = [Fault(".*nodePools.get", hook=lambda: pool.update(status="RUNNING"), skip=3)]
    assert site.good("gke_node_pool", GPU)["node_pool"]["status"] == "RUNNING"


def test_cluster_busy_with_something_else(site: Bench) -> None:
    """One operation at a time on a cluster: ours waits for it."""
    site.build()
    upgrade = site.cloud.start("projects/demo/locations/europe-west1", "UPGRADE_MASTER", FAMILY, lambda: None)
    site.good("gke_node_pool", GPU)
    assert not upgrade.open
    assert "has to wait for operation" in site.lines()
    assert site.created().count("gpu") == 1


def test_changed_by_someone_in_between(site: Bench) -> None:
    """The etag no longer fits: the object is read again, and what the other one set stays."""
    site.build(pool=True)
    pool, cluster = site.cloud.objects[f"{FAMILY}/nodePools/gpu"], site.cloud.objects[FAMILY]
    site.stand_in.faults = [
        Fault(".*nodePools.update", hook=lambda: pool["config"].update(labels={"theirs": "1"}), at="before"),
        Fault(".*clusters.update", hook=lambda: cluster.update(description="theirs"), at="before"),
    ]
    site.good("gke_node_pool", {**GPU, "labels": {"ours": "1"}})
    assert pool["config"]["labels"] == {"theirs": "1", "ours": "1"}
    site.good("gke_cluster", {**CLUSTER, "gateway_api": True})
    assert cluster["description"] == "theirs"
    statuses = [request.status for request in site.stand_in.writes()]
    assert statuses == [409, 200, 409, 200]


# Answers that are a no

REFUSALS: list[tuple[Refused, str, str]] = [
    (
        Refused(403, "Required 'compute.networks.create' permission for 'x'", reason="forbidden"),
        "GCP_PERMISSION",
        "compute.networks.create",
    ),
    (
        Refused(403, "scopes", details=({"reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT"},)),
        "GCP_CREDENTIALS",
        "auth/cloud-platform",
    ),
    (
        Refused(403, "Compute Engine API has not been used", details=({"reason": "SERVICE_DISABLED"},)),
        "GCP_PERMISSION",
        "Enable",
    ),
    (Refused(429, "Insufficient regional quota to satisfy request"), "GCP_QUOTA", "quota"),
    (Refused(400, "Invalid value", reason="invalid"), "GCP_REFUSED", "Invalid value"),
]


@pytest.mark.parametrize(("refused", "code", "text"), REFUSALS)
def test_refused(site: Bench, refused: Refused, code: str, text: str) -> None:
    """Told at once, with what to do, and without a second try."""
    site.stand_in.faults = [Fault("compute.networks.insert", refuse=refused, times=100)]
    result = site.bad("gke_network", NETWORK, code)
    assert text in result["findings"][0]["evidence"] + result["findings"][0]["fix"]
    assert len(site.stand_in.writes()) == 1


def test_what_may_not_be_read_is_not_checked(site: Bench) -> None:
    """A check without its right is told as not made, and the rest goes on."""
    site.build()
    site.cloud.add_reservation(ZONE, "dense", "a3-ultragpu-8g", 4)
    denied = Refused(403, "Required 'compute.reservations.get' permission")
    site.stand_in.faults = [Fault("compute.reservations.get", refuse=denied)]
    result = site.good("gke_node_pool", {**GPU, "capacity": "reservation", "reservation": "dense"})
    assert [finding["subject"] for finding in result["findings"]] == ["reservation is not checked"]
