# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_auth import endpoint_findings
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_compare import Difference, Rule
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_errors import (
    ApiError,
    CredentialsError,
    GoogleError,
    NoAnswer,
    OperationFailed,
    OperationOpen,
    finding_of,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_objects import (
    Allowed,
    Item,
    decide,
    decide_absent,
    description_mark,
    difference_of,
    levels,
    owner_findings,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._gke_rest import Call, Target, operation_of, worth_repeating

TARGET = Target("compute", "projects/p/global/networks/net")
RULES = {"labels": Rule("update", "owned"), "disk": Rule("disruptive"), "driver": Rule("alarm")}


def item(name: str = "net", level: int = 0, **compare: t.Any) -> Item:
    target = Target("compute", f"projects/p/global/networks/{name}")
    create = Call("POST", target.parent, target, "create", {}, "exists")
    return Item(target, create, compare, RULES, "description", description_mark("o"), lambda _found: [], level)


def live(**body: t.Any) -> dict[str, t.Any]:
    return {"description": description_mark("o"), **body}


NOTHING = Allowed()
ALL = Allowed(frozenset({"net"}), disruptive=True)

# Wanted, live, allowed -> action and finding codes.
DECISIONS: list[tuple[dict[str, t.Any], dict[str, t.Any] | None, Allowed, str, list[str]]] = [
    ({"x": 1}, None, NOTHING, "create", []),
    ({"x": 1}, live(x="1"), NOTHING, "none", []),
    ({"x": 1}, {"x": "1"}, ALL, "refuse", ["GCP_FOREIGN"]),
    ({"x": 1}, {"x": "1", "description": description_mark("other")}, ALL, "refuse", ["GCP_FOREIGN"]),
    ({"labels": {"a": "b"}}, live(), NOTHING, "update", []),
    ({"x": 1}, live(x=2), NOTHING, "refuse", ["GCP_REPLACE_REQUIRED"]),
    ({"x": 1}, live(x=2), Allowed(frozenset({"other"}), True), "refuse", ["GCP_REPLACE_REQUIRED"]),
    ({"x": 1}, live(x=2), ALL, "replace", []),
    ({"x": 1, "labels": {"a": "b"}}, live(x=2), NOTHING, "refuse", ["GCP_REPLACE_REQUIRED"]),
    ({"disk": 1}, live(disk=2), NOTHING, "refuse", ["GCP_ROLLS_NODES"]),
    ({"disk": 1}, live(disk=2), Allowed(frozenset(), True), "update", []),
    ({"driver": "a"}, live(driver="b"), NOTHING, "none", ["GCP_DRIVER"]),
    ({"driver": "a", "x": 1}, live(driver="b", x=2), NOTHING, "refuse", ["GCP_DRIVER", "GCP_REPLACE_REQUIRED"]),
]


@pytest.mark.parametrize(("compare", "have", "allowed", "action", "codes"), DECISIONS)
def test_decide(
    compare: dict[str, t.Any], have: dict[str, t.Any] | None, allowed: Allowed, action: str, codes: list[str]
) -> None:
    decision = decide(item(**compare), have, allowed)
    assert (decision.action, [finding.code for finding in decision.findings]) == (action, codes)


@pytest.mark.parametrize(
    ("have", "action"), [(None, "none"), (live(), "delete"), ({}, "refuse"), ({"description": "x"}, "refuse")]
)
def test_decide_absent(have: dict[str, t.Any] | None, action: str) -> None:
    assert decide_absent(item(), have).action == action


def test_refusal_names_fields_and_the_way_out() -> None:
    (finding,) = decide(item(x=1, y={"z": "a"}), live(x=2), NOTHING).findings
    assert "x: 2 -> 1; y.z: (not set) -> a" in finding.evidence
    assert "add net to allow_replace" in finding.fix


def test_levels_and_diff() -> None:
    decisions = [decide(item("b", 1, x=1), None, NOTHING), decide(item("a", 0, x=1), None, NOTHING)]
    assert [[decision.name for decision in group] for group in levels(decisions)] == [["a"], ["b"]]
    assert [[decision.name for decision in group] for group in levels(decisions, reverse=True)] == [["b"], ["a"]]
    update = decide(item(labels={"a": "b"}, driver="x"), live(labels={"c": "d"}, driver="y"), NOTHING)
    assert difference_of([update]) == {
        "before": {"network net": {"labels": {"c": "d"}}},
        "after": {"network net": {"labels": {"a": "b"}}},
    }


# Operations name their target in forms of their own.

CONCERNS: list[tuple[Target, str, bool]] = [
    (TARGET, "https://www.googleapis.com/compute/v1/projects/p/global/networks/net", True),
    (TARGET, "https://www.googleapis.com/compute/v1/projects/p/global/networks/net-2", False),
    (TARGET, "https://www.googleapis.com/compute/v1/projects/p/global/firewalls/net", False),
    (
        Target("container", "projects/p/locations/eu-b/clusters/c"),
        "https://container.googleapis.com/v1/projects/123/zones/eu-b/clusters/c",
        True,
    ),
    (
        Target("container", "projects/p/locations/eu-b/clusters/c"),
        "https://container.googleapis.com/v1/projects/123/zones/eu-b/clusters/c/nodePools/n",
        True,
    ),
    (
        Target("container", "projects/p/locations/eu/clusters/c/nodePools/n"),
        "https://container.googleapis.com/v1/projects/123/locations/eu/clusters/c",
        False,
    ),
    (
        Target("container", "projects/p/locations/eu/clusters/c"),
        "https://container.googleapis.com/v1/projects/123/locations/us/clusters/c",
        False,
    ),
    (TARGET, "", False),
]


@pytest.mark.parametrize(("target", "link", "expected"), CONCERNS)
def test_concerns(target: Target, link: str, expected: bool) -> None:
    assert target.concerns(link) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("projects/p/global/networks/n", "projects/p/global/operations"),
        ("projects/p/regions/r/subnetworks/s", "projects/p/regions/r/operations"),
        ("projects/p/locations/l/clusters/c/nodePools/n", "projects/p/locations/l/operations"),
    ],
)
def test_where_operations_are(path: str, expected: str) -> None:
    assert Target("compute", path).operations.path == expected


def test_errors_of_operations() -> None:
    scope = Target("compute", "projects/p/global/operations")
    compute = operation_of(scope, {"name": "o", "status": "DONE", "error": {"errors": [{"code": "X", "message": "m"}]}})
    container = operation_of(scope, {"name": "o", "status": "RUNNING", "error": {"code": 8, "message": "m"}})
    assert (compute.code, compute.message, compute.open) == ("X", "m", False)
    assert (container.code, container.message, container.open) == ("8", "m", True)
    assert not operation_of(scope, {"name": "o", "status": "DONE"}).message


# Errors


def answer(status: int, message: str = "", reason: str = "", code: str = "", detail: str = "") -> ApiError:
    error: dict[str, t.Any] = {"message": message, "status": code}
    if reason:
        error["errors"] = [{"reason": reason}]
    if detail:
        error["details"] = [{"reason": detail}]
    return ApiError("POST", "projects/p/x", status, {"error": error})


BUSY = "Cluster is running incompatible operation operation-1."
# Error -> its code and a part of its text, and whether it is worth repeating.
ERRORS: list[tuple[GoogleError, str, str, bool]] = [
    (NoAnswer("GET", "https://x", "HTTP status 503"), "GCP_UNREACHABLE", "503", True),
    (CredentialsError("nothing found"), "GCP_CREDENTIALS", "gcloud auth", False),
    (OperationOpen([("op", "clusters/c")], 60), "GCP_OPERATION_OPEN", "op on clusters/c", False),
    (OperationFailed("op", "x", "8", "GCE_STOCKOUT"), "GCP_NO_CAPACITY", "another zone", False),
    (
        OperationFailed("op", "x", "3", "is incorrect for the requested resources"),
        "GCP_RESERVATION",
        "machine type",
        False,
    ),
    (OperationFailed("op", "x", "8", "RESOURCE_EXHAUSTED: reservation r"), "GCP_RESERVATION", "shared", False),
    (OperationFailed("op", "x", "8", "Quota 'GPUS' exceeded"), "GCP_QUOTA", "Quotas", False),
    (OperationFailed("op", "x", "7", "GKE_SERVICE_ACCOUNT_DELETED"), "GCP_PERMISSION", "logging.logWriter", False),
    (OperationFailed("op", "x", "13", "boom"), "GCP_OPERATION_FAILED", "boom", False),
    (answer(401, "bad token"), "GCP_CREDENTIALS", "log in", False),
    (answer(403, "x", detail="ACCESS_TOKEN_SCOPE_INSUFFICIENT"), "GCP_CREDENTIALS", "auth/cloud-platform", False),
    (answer(403, "x", detail="SERVICE_DISABLED"), "GCP_PERMISSION", "Enable the APIs", False),
    (answer(403, "x", reason="accessNotConfigured"), "GCP_PERMISSION", "Enable the APIs", False),
    (
        answer(403, 'Required "container.clusters.create" permission(s) for "p".'),
        "GCP_PERMISSION",
        "container.clusters.create",
        False,
    ),
    (
        answer(403, "Required 'compute.networks.get' permission for 'x'"),
        "GCP_PERMISSION",
        "compute.networks.get",
        False,
    ),
    (answer(403, "no"), "GCP_PERMISSION", "container.admin", False),
    (answer(403, "slow down", reason="rateLimitExceeded"), "GCP_PERMISSION", "", True),
    (answer(429, "Quota exceeded for quota metric 'Q'", detail="RATE_LIMIT_EXCEEDED"), "GCP_QUOTA", "", True),
    (answer(429, "too many"), "GCP_QUOTA", "wait a few minutes", True),
    (answer(429, "Insufficient regional quota"), "GCP_QUOTA", "Ask for more", False),
    (answer(429, "the reservation r is used up"), "GCP_RESERVATION", "full", False),
    (answer(400, "used by x", reason="resourceInUseByAnotherResource"), "GCP_IN_USE", "used by x", False),
    (answer(400, BUSY, code="FAILED_PRECONDITION"), "GCP_REFUSED", "operation-1", True),
    (answer(400, "The resource 'n' is not ready", reason="resourceNotReady"), "GCP_REFUSED", "not ready", True),
    (answer(400, "must be in a region", code="FAILED_PRECONDITION"), "GCP_REFUSED", "region", False),
    (answer(409, "Already exists", code="ALREADY_EXISTS"), "GCP_REFUSED", "exists", True),
    (answer(409, "exists", reason="alreadyExists"), "GCP_REFUSED", "exists", True),
    (answer(409, "etag", code="ABORTED"), "GCP_REFUSED", "etag", False),
    (answer(404, "gone"), "GCP_REFUSED", "gone", False),
]


@pytest.mark.parametrize(("error", "code", "text", "repeated"), ERRORS, ids=lambda value: str(value)[:40])
def test_errors(error: GoogleError, code: str, text: str, repeated: bool) -> None:
    finding = finding_of(error)
    assert finding.code == code
    assert text in f"{finding.subject} {finding.evidence} {finding.fix}"
    assert worth_repeating(error) is repeated


@pytest.mark.parametrize(
    "body", [None, [], "text", {}, {"error": "text"}, {"error": {"details": ["x"], "errors": [1]}}]
)
def test_answers_of_another_form(body: t.Any) -> None:
    """A proxy in between answers what it likes."""
    assert ApiError("GET", "p", 404, body).not_found
    assert ApiError("GET", "p", 502, body).message


def test_difference_is_hashable_text() -> None:
    assert Difference("a", "replace", ["x"], True).text() == 'a: ["x"] -> true'


@pytest.mark.parametrize(
    ("owner", "good"), [("wide-ep-lws", True), ("a_1", True), ("", False), ("A", False), ("x" * 64, False)]
)
def test_owner(owner: str, good: bool) -> None:
    assert (owner_findings(owner) == []) is good


@pytest.mark.parametrize(
    ("endpoint", "good"),
    [
        (None, True),
        ("https://container.example.com", True),
        ("http://127.0.0.1:8900", True),
        ("http://localhost/", True),
        ("http://container.googleapis.com", False),
        ("https://host/path", False),
        ("host", False),
    ],
)
def test_endpoint(endpoint: str | None, good: bool) -> None:
    assert (endpoint_findings(endpoint) == []) is good
