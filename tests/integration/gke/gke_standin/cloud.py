# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both services share: objects by path, operations that take time, errors, and what the zones offer."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
import re
import time
import typing as t
import zlib
from collections.abc import Callable, Iterator

Json = dict[str, t.Any]
CREATED = "2026-11-25T00:00:00Z"
COMPUTE_BASE = "https://www.googleapis.com/compute/v1/"
CONTAINER_BASE = "https://container.googleapis.com/v1/"
# The features by which Google describes the RoCE profile (DOC: rdma-network-profiles; DISC: NetworkProfile).
ROCE_FEATURES: Json = {
    "interfaceTypes": ["MRDMA"],
    "allowVpcFirewallRules": "VPC_FIREWALL_RULES_BLOCKED",
    "allowCloudRouter": "CLOUD_ROUTER_BLOCKED",
    "allowCloudNat": "CLOUD_NAT_BLOCKED",
    "allowAliasIpRanges": "ALIAS_IP_RANGES_BLOCKED",
    "allowExternalIpAccess": "EXTERNAL_IP_ACCESS_BLOCKED",
    "allowMultiNicInSameNetwork": "MULTI_NIC_IN_SAME_NETWORK_ALLOWED",
    "firewallPolicyTypes": ["RDMA_ROCE_POLICY"],
    "subnetworkStackTypes": ["IPV4_ONLY"],
}
REASONS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}


class Refused(Exception):  # noqa: N818
    """An answer that is an error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        reason: str = "",
        code: str = "",
        details: tuple[Json, ...] = (),
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        self.code = code or REASONS.get(status, "UNKNOWN")
        self.details = details
        self.headers = headers

    def envelope(self) -> Json:
        """The error as both services answer it; Compute adds `errors`. DISC has no schema of it."""
        error: Json = {"code": self.status, "message": self.message, "status": self.code}
        if self.reason:
            error["errors"] = [{"message": self.message, "domain": "global", "reason": self.reason}]
        if self.details:
            error["details"] = list(self.details)
        return {"error": error}


@dataclasses.dataclass
class Operation:
    """Something that takes time. ``finish`` happens when it is done without an error."""

    name: str
    scope: str
    kind: str
    target: str
    finish: Callable[[], None]
    started: float
    request_id: str = ""
    polls: int = 0
    status: str = "PENDING"
    error: Json | None = None
    fail: Callable[[], None] | None = None
    stuck: bool = False
    seconds: float = 0.0

    @property
    def open(self) -> bool:
        return self.status != "DONE"

    @property
    def path(self) -> str:
        return f"{self.scope}/operations/{self.name}"


@dataclasses.dataclass
class Zone:
    """What a zone offers."""

    machine_types: tuple[str, ...]
    accelerator_types: tuple[str, ...] = ()
    roce: bool = False


def default_zones() -> dict[str, Zone]:
    common = ("e2-standard-4", "e2-standard-16", "e2-standard-32", "n2-standard-32")
    gpus = ("nvidia-h200-141gb", "nvidia-b200", "nvidia-gb200")
    machines = ("a3-ultragpu-8g", "a4-highgpu-8g", "a4x-highgpu-4g")
    return {
        "europe-west1-b": Zone((*common, *machines), gpus, roce=True),
        "europe-west1-c": Zone(common),
        "us-central1-a": Zone((*common, *machines), gpus, roce=True),
    }


def default_quotas() -> dict[str, dict[str, tuple[float, float]]]:
    """Room for the guide's size, some of it used."""
    return {"": {"GPUS_ALL_REGIONS": (64.0, 8.0)}, "europe-west1": {"N2_CPUS": (128.0, 32.0)}}


@dataclasses.dataclass
class Cloud:
    """The whole state. An operation is done after ``polls`` looks at it and ``seconds``, whichever is later."""

    project: str = "demo"
    polls: int = 2
    seconds: float = 0.0
    zones: dict[str, Zone] = dataclasses.field(default_factory=default_zones)
    objects: dict[str, Json] = dataclasses.field(default_factory=dict)
    ready: set[str] = dataclasses.field(default_factory=set)
    operations: dict[str, Operation] = dataclasses.field(default_factory=dict)
    created: list[str] = dataclasses.field(default_factory=list)
    deleted: list[str] = dataclasses.field(default_factory=list)
    master_version: str = "1.34.1-gke.1829001"
    # Where clusters answer, and the certificate of their authority in base64.
    endpoint: str = "192.0.2.10"
    authority: str = base64.b64encode(b"-----BEGIN CERTIFICATE-----\n").decode()
    # How long a pool with accelerators takes, where that differs.
    gpu_pool_seconds: float = 0.0
    # Region ("" is the project itself) -> metric -> limit and usage.
    quotas: dict[str, dict[str, tuple[float, float]]] = dataclasses.field(default_factory=default_quotas)
    # Whether a firewall that a cluster makes is left behind by its deletion.
    leave_firewall: bool = False
    counter: Iterator[int] = dataclasses.field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        for name, zone in self.zones.items():
            if zone.roce:
                self.add_profile(name)

    def add_profile(self, zone: str) -> None:
        path = f"projects/{self.project}/global/networkProfiles/{zone}-vpc-roce"
        location = {"name": zone, "scope": "ZONE"}
        body = {"name": f"{zone}-vpc-roce", "location": location, "features": dict(ROCE_FEATURES)}
        self.objects[path] = {**body, "kind": "compute#networkProfile", "selfLink": COMPUTE_BASE + path}
        self.ready.add(path)

    def add_reservation(self, zone: str, name: str, machine_type: str, count: int, in_use: int = 0) -> None:
        path = f"projects/{self.project}/zones/{zone}/reservations/{name}"
        specific = {
            "count": str(count),
            "inUseCount": str(in_use),
            "instanceProperties": {"machineType": machine_type},
        }
        self.objects[path] = {
            "name": name,
            "status": "READY",
            "deploymentType": "DENSE",
            "specificReservationRequired": True,
            "specificReservation": specific,
            "zone": f"{COMPUTE_BASE}projects/{self.project}/zones/{zone}",
        }
        self.ready.add(path)

    # Objects

    def find(self, path: str) -> Json:
        if path not in self.objects:
            raise Refused(404, f"The resource '{path}' was not found", reason="notFound")
        return self.objects[path]

    def store(self, path: str, body: Json) -> None:
        self.objects[path] = body
        self.created.append(path)

    def drop(self, path: str) -> None:
        self.objects.pop(path, None)
        self.ready.discard(path)
        self.deleted.append(path)

    def under(self, prefix: str) -> list[str]:
        return sorted(path for path in self.objects if path.startswith(prefix))

    def fingerprint(self, value: t.Any) -> str:
        """A hash of the contents, in base64's alphabet."""
        return f"{zlib.crc32(json.dumps(value, sort_keys=True).encode()):08x}"

    # Operations

    def start(self, scope: str, kind: str, target: str, finish: Callable[[], None], request_id: str = "") -> Operation:
        number = next(self.counter)
        operation = Operation(
            f"operation-{number}", scope, kind, target, finish, time.monotonic(), request_id, polls=self.polls
        )
        operation.seconds = self.seconds
        self.operations[operation.name] = operation
        return operation

    def open_on(self, prefix: str) -> Operation | None:
        """The open operation on an object or on what is inside it."""
        return next(
            (
                operation
                for operation in self.operations.values()
                if operation.open and (operation.target == prefix or operation.target.startswith(f"{prefix}/"))
            ),
            None,
        )

    def repeated(self, request_id: str, target: str, kind: str) -> Operation | None:
        """DISC, parameter requestId: a request that was completed is ignored when it comes again."""
        return next(
            (
                operation
                for operation in self.operations.values()
                if request_id and (operation.request_id, operation.target, operation.kind) == (request_id, target, kind)
            ),
            None,
        )

    def look(self, operation: Operation) -> None:
        """PENDING, then RUNNING, then DONE (DISC, Operation.status)."""
        if not operation.open:
            return
        operation.status = "RUNNING"
        operation.polls -= 1
        waited = time.monotonic() - operation.started >= operation.seconds
        if operation.stuck or operation.polls > 0 or not waited:
            return
        operation.status = "DONE"
        if operation.error is None:
            operation.finish()
        elif operation.fail is not None:
            operation.fail()

    def operation(self, path: str) -> Operation:
        name = path.rpartition("/")[2]
        if name not in self.operations or self.operations[name].path != path:
            raise Refused(404, f"The resource '{path}' was not found", reason="notFound")
        return self.operations[name]

    # Names

    def path_of(self, link: str, parent: str) -> str:
        """A full or partial URL, or a bare name below ``parent``, as `projects/...`."""
        tail = re.sub(r"^https?://[^/]+/(compute/)?(v1/)?", "", link)
        return tail if tail.startswith("projects/") else f"{parent}/{tail.rpartition('/')[2]}"

    def profile_of(self, network_path: str) -> Json:
        """The features of a network's profile, empty without one."""
        link = self.objects.get(network_path, {}).get("networkProfile")
        if not link:
            return {}
        profile: Json = self.objects[self.path_of(link, f"projects/{self.project}/global/networkProfiles")]
        return {**profile["features"], "zone": profile["location"]["name"]}
