# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in says no where Google would, and notices what the documents do not know."""

from __future__ import annotations

import json
import pathlib
import sys
import typing as t
import urllib.error
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from _harness import TOKEN, ZONE, Json
from gke_standin.cloud import Cloud
from gke_standin.documents import Documents
from gke_standin.server import StandIn

COMPUTE = "/compute/v1/projects/demo"
FAMILY = "/v1/projects/demo/locations/europe-west1/clusters"
VPC = {"name": "a", "autoCreateSubnetworks": False}
SUBNET = {"name": "s", "network": "global/networks/a", "ipCidrRange": "10.0.0.0/16"}


class Caller:
    """Calls a stand-in as anything else than our client would."""

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in

    def __call__(self, verb: str, path: str, body: t.Any = None, token: str = TOKEN) -> tuple[int, Json]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.stand_in.url + path, data, method=verb)
        request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def done(self, verb: str, path: str, body: t.Any = None) -> None:
        """A call whose operation is followed to its end."""
        status, operation = self(verb, path, body)
        assert status == 200, operation
        link = operation["selfLink"].partition("googleapis.com")[2]
        seen = [operation["status"]]
        while seen[-1] != "DONE":
            seen.append(self("GET", link)[1]["status"])
        assert list(dict.fromkeys(seen)) == ["PENDING", "RUNNING", "DONE"]


@pytest.fixture
def call() -> t.Iterator[Caller]:
    with StandIn(Cloud(), TOKEN) as stand_in:
        yield Caller(stand_in)
        assert [text for text in stand_in.violations if text.startswith("answer")] == []


def build(call: Caller) -> None:
    call.done("POST", f"{COMPUTE}/global/networks", VPC)
    call.done("POST", f"{COMPUTE}/regions/europe-west1/subnetworks", SUBNET)
    cluster = {"name": "c", "network": "a", "subnetwork": "s", "initialNodeCount": 1, "locations": [ZONE]}
    call.done("POST", FAMILY, {"cluster": cluster})


def pool(name: str = "n", **more: t.Any) -> Json:
    return {"nodePool": {"name": name, "config": {"machineType": "e2-standard-4"}, "initialNodeCount": 1, **more}}


# Calls that the documents do not know: each leaves a violation, which fails a test of the modules.
UNKNOWN: list[tuple[str, str, t.Any, str]] = [
    ("GET", f"{COMPUTE}/global/addresses", None, "not in the documents"),
    ("GET", "/v1/projects/demo/zones/z/clusters", None, "not in the documents"),
    ("GET", f"{COMPUTE}/global/networks?bogus=1", None, "unknown query parameter"),
    ("GET", f"{COMPUTE}/global/networks?maxResults=many", None, "is no integer"),
    ("GET", f"{FAMILY}?access_token=x", None, "does not belong in a URL"),
    ("POST", f"{COMPUTE}/global/networks", {**VPC, "colour": "red"}, "colour: unknown field"),
    ("POST", f"{COMPUTE}/global/networks", {**VPC, "mtu": "8896"}, "mtu: str where integer"),
    ("POST", f"{COMPUTE}/global/networks", {**VPC, "creationTimestamp": "now"}, "output only"),
    ("POST", f"{FAMILY}/c/nodePools", pool(config={"workloadMetaConfig": {}}), "workloadMetaConfig: unknown field"),
    ("POST", f"{FAMILY}/c/nodePools", pool(maxPodsConstraint={"maxPodsPerNode": 32}), "int where string int64"),
    ("POST", f"{FAMILY}/c/nodePools", pool(maxPodsConstraint={"maxPodsPerNode": "x"}), "is no int64"),
    ("POST", f"{FAMILY}/c/nodePools", pool(placementPolicy={"type": "TIGHT"}), "'TIGHT' is none of"),
    ("POST", f"{FAMILY}/c/nodePools", pool(status="RUNNING"), "output only"),
    ("PUT", f"{FAMILY}/c", {"update": {"desiredNetwork": "b"}}, "desiredNetwork: unknown field"),
    ("PUT", f"{FAMILY}/c/nodePools/n", {"maxRunDuration": "1h"}, "is no google-duration"),
    ("DELETE", f"{COMPUTE}/global/networks/a", {}, "a body where none belongs"),
]


@pytest.mark.parametrize(("verb", "path", "body", "text"), UNKNOWN)
def test_unknown_to_the_documents(call: Caller, verb: str, path: str, body: t.Any, text: str) -> None:
    status, answer = call(verb, path, body)
    assert status in (400, 501)
    assert text in answer["error"]["message"]
    assert any(text in violation for violation in call.stand_in.violations)


# After `build`: what Google refuses, and why.
REFUSED: list[tuple[str, str, t.Any, int, str]] = [
    ("POST", f"{COMPUTE}/global/networks", VPC, 409, "already exists"),
    ("POST", f"{COMPUTE}/global/networks", {**VPC, "name": "A"}, 400, "resource.name"),
    ("POST", f"{COMPUTE}/global/networks", {**VPC, "name": "b", "networkProfile": "x"}, 400, "networkProfile"),
    ("GET", f"{COMPUTE}/global/networks/b", None, 404, "not found"),
    ("DELETE", f"{COMPUTE}/global/networks/a", None, 400, "already being used by"),
    ("DELETE", f"{COMPUTE}/regions/europe-west1/subnetworks/s", None, 400, "already being used by"),
    ("PATCH", f"{COMPUTE}/global/networks/a", {"mtu": 1500}, 400, "cannot be changed"),
    ("PATCH", f"{COMPUTE}/regions/europe-west1/subnetworks/s", {"secondaryIpRanges": []}, 412, "fingerprint"),
    ("POST", f"{COMPUTE}/regions/europe-west1/subnetworks", {**SUBNET, "name": "t"}, 400, "conflicts"),
    (
        "POST",
        f"{COMPUTE}/regions/europe-west1/subnetworks",
        {**SUBNET, "name": "t", "network": "global/networks/b"},
        404,
        "not found",
    ),
    ("POST", f"{FAMILY}", {"cluster": {"name": "c", "initialNodeCount": 1}}, 409, "Already exists"),
    ("POST", f"{FAMILY}", {"cluster": {"name": "d", "network": "a", "subnetwork": "s"}}, 400, "initialNodeCount"),
    (
        "POST",
        f"{FAMILY}",
        {"cluster": {"name": "d", "initialNodeCount": 1, "networkConfig": {"enableMultiNetworking": True}}},
        400,
        "Dataplane V2",
    ),
    ("PUT", f"{FAMILY}/c", {"update": {"desiredLocations": [ZONE], "desiredReleaseChannel": {}}}, 400, "Exactly one"),
    ("PUT", f"{FAMILY}/c", {"update": {"desiredLocations": [ZONE], "etag": "old"}}, 409, "etag"),
    ("POST", f"{FAMILY}/c:setResourceLabels", {"resourceLabels": {}, "labelFingerprint": "old"}, 412, "fingerprint"),
    ("POST", f"{FAMILY}/c:setMaintenancePolicy", {"maintenancePolicy": {"resourceVersion": "old"}}, 409, "changed"),
    ("POST", f"{FAMILY}/d/nodePools", pool(), 404, "not found"),
    ("POST", f"{FAMILY}/c/nodePools", pool(locations=["europe-west1-z"]), 400, "does not exist in zone"),
    (
        "POST",
        f"{FAMILY}/c/nodePools",
        pool(networkConfig={"additionalNodeNetworkConfigs": [{"network": "a", "subnetwork": "s"}]}),
        400,
        "multi-networking",
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[0]}-{case[4]}")
def test_refused_as_google_does(call: Caller, case: tuple[str, str, t.Any, int, str]) -> None:
    verb, path, body, status, text = case
    build(call)
    seen, answer = call(verb, path, body)
    assert (seen, text in answer["error"]["message"]) == (status, True), answer
    assert call.stand_in.violations == []


def test_one_operation_at_a_time_on_a_cluster(call: Caller) -> None:
    build(call)
    assert call("POST", f"{FAMILY}/c/nodePools", pool("one"))[0] == 200
    status, answer = call("POST", f"{FAMILY}/c/nodePools", pool("two"))
    assert (status, answer["error"]["status"]) == (400, "FAILED_PRECONDITION")
    assert call("GET", f"{FAMILY}/c/nodePools/two")[0] == 404


def test_concerns_of_a_node_pool_go_one_by_one(call: Caller) -> None:
    build(call)
    call.done("POST", f"{FAMILY}/c/nodePools", pool())
    assert call("PUT", f"{FAMILY}/c/nodePools/n", {"imageType": "X", "diskType": "Y"})[0] == 400
    assert call("PUT", f"{FAMILY}/c/nodePools/n", {"imageType": "X", "etag": "old"})[0] == 409
    networks = {"nodeNetworkConfig": {"additionalNodeNetworkConfigs": []}}
    assert call("PUT", f"{FAMILY}/c/nodePools/n", networks)[0] == 400
    call.done("PUT", f"{FAMILY}/c/nodePools/n", {"labels": {"labels": {"a": "b"}}})
    call.done("PUT", f"{FAMILY}/c/nodePools/n", {"labels": {"labels": {"c": "d"}}})
    assert call("GET", f"{FAMILY}/c/nodePools/n")[1]["config"]["labels"] == {"c": "d"}


def test_repeated_request_id_is_the_same_operation(call: Caller) -> None:
    path = f"{COMPUTE}/global/networks?requestId=5b2c7d0e-0000-4000-8000-000000000001"
    first, second = call("POST", path, VPC)[1], call("POST", path, VPC)[1]
    assert first["name"] == second["name"]


@pytest.mark.parametrize("token", ["", "other"])
def test_token_is_needed(call: Caller, token: str) -> None:
    assert call("GET", f"{COMPUTE}/global/networks", token=token)[0] == 401


def test_rdma_network_takes_neither_rules_nor_routers(call: Caller) -> None:
    profile = f"projects/demo/global/networkProfiles/{ZONE}-vpc-roce"
    call.done("POST", f"{COMPUTE}/global/networks", {**VPC, "networkProfile": profile})
    wall = {"name": "f", "network": "global/networks/a", "allowed": [{"IPProtocol": "tcp"}]}
    router = {"name": "r", "network": "global/networks/a"}
    ranged = {**SUBNET, "secondaryIpRanges": [{"rangeName": "x", "ipCidrRange": "10.1.0.0/16"}]}
    for path, body in (("global/firewalls", wall), ("regions/europe-west1/routers", router)):
        assert call("POST", f"{COMPUTE}/{path}", body)[0] == 400
    assert call("POST", f"{COMPUTE}/regions/europe-west1/subnetworks", ranged)[0] == 400
    assert call("GET", f"{COMPUTE}/global/networks/a")[1]["mtu"] == 8896


def test_documents_are_the_ones_that_are_named() -> None:
    """The note beside them says their revisions."""
    note = (pathlib.Path(__file__).resolve().parents[2] / "data" / "gke" / "README.md").read_text()
    for name, document in Documents().by_name.items():
        assert f"| `{name}.v1.json` | {document.revision} |" in note
