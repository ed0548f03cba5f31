# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How GKE judges GKENetworkParamSet and Network objects: conditions with the reasons of gke-networking-api.

The order of the rules is that of the controller in cloud-provider-gcp. One of them differs: it refuses a second param
set in a VPC, while the RDMA subnets of one VPC are used with eight (cluster-toolkit, gpu-recipes, llm-d).
"""

from __future__ import annotations

import typing as t

GROUP = "networking.gke.io"
FINALIZER = f"{GROUP}/gnp-controller"
IN_USE = f"{GROUP}/in-use"
SHARED_VPC_MODE = "RDMA"

Data = dict[str, t.Any]
Verdict = tuple[bool, str, str]


class Cloud(t.NamedTuple):
    """What of the provider's networks is known. ``subnetworks`` leads from a name to its network."""

    subnetworks: t.Mapping[str, str]
    cluster_network: str = ""


def last(link: str) -> str:
    return link.rpartition("/")[2]


def judge_params(params: Data, others: t.Sequence[Data], cloud: Cloud | None) -> Verdict:
    """Whether a GKENetworkParamSet is ready, the reason and a message."""
    spec = params["spec"]
    vpc, subnet, mode = last(spec["vpc"]), last(spec["vpcSubnet"]), spec.get("deviceMode", "")
    ranges = spec.get("podIPv4Ranges", {}).get("rangeNames", [])
    subnetworks = {subnet: vpc} if cloud is None else cloud.subnetworks
    own = "" if cloud is None else last(cloud.cluster_network)
    rules = (
        (vpc not in subnetworks.values(), "VPCNotFound", f"VPC: {vpc} not found"),
        (subnetworks.get(subnet) != vpc, "SubnetNotFound", f"subnet: {subnet} not found in VPC: {vpc}"),
        (not mode and not ranges, "SecondaryRangeAndDeviceModeUnspecified", "neither podIPv4Ranges nor deviceMode"),
        (bool(mode and ranges), "DeviceModeCantBeUsedWithSecondaryRange", "deviceMode excludes podIPv4Ranges"),
        (bool(mode) and vpc == own, "DeviceModeCantUseDefaultVPC", "deviceMode can't reference the default VPC"),
    )
    refused = next(((False, reason, message) for hit, reason, message in rules if hit), None)
    return refused or in_use(params, others) or (True, "GNPReady", "")


def in_use(params: Data, others: t.Sequence[Data]) -> Verdict | None:
    """Of two param sets with a device mode the newer one is refused."""
    mine = params["spec"]
    vpc, subnet, mode = last(mine["vpc"]), last(mine["vpcSubnet"]), mine.get("deviceMode", "")
    for other in others if mode else ():
        older = other["metadata"]["creationTimestamp"] < params["metadata"]["creationTimestamp"]
        if not older or other["metadata"]["name"] == params["metadata"]["name"]:
            continue
        name, spec = other["metadata"]["name"], other["spec"]
        if last(spec["vpcSubnet"]) == subnet:
            return False, "DeviceModeSubnetAlreadyInUse", f"subnet {subnet!r} is already in use by {name!r}"
        shared = {mode, spec.get("deviceMode", "")} == {SHARED_VPC_MODE}
        if last(spec["vpc"]) == vpc and not shared:
            return False, "DeviceModeVPCAlreadyInUse", f"VPC {vpc!r} is already in use by {name!r}"
    return None


def judge_network(network: Data, params: Data | None) -> Verdict:
    """Whether the parameters of a Network are ready. The Network itself is ready when they are."""
    reference = network["spec"].get("parametersRef")
    if reference is None:
        return True, "GNPParamsReady", ""
    if params is None or params["metadata"].get("deletionTimestamp"):
        return False, "GNPDeleted", f"GKENetworkParamSet {reference['name']} is not there"
    if network["spec"]["type"] == "Device" and not params["spec"].get("deviceMode"):
        return False, "DeviceModeMissing", "a Network of type Device needs a GKENetworkParamSet with deviceMode"
    ready = next((item for item in params.get("status", {}).get("conditions", []) if item["type"] == "Ready"), None)
    if ready is None or ready["status"] != "True":
        return False, "GNPParamsNotReady", f"GKENetworkParamSet {reference['name']} is not ready"
    return True, "GNPParamsReady", ""


def conditions(found: t.Sequence[Data], verdicts: t.Mapping[str, Verdict], generation: int, now: str) -> list[Data]:
    """The conditions of a status; the time changes with the status alone."""
    before = {item["type"]: item for item in found}
    result = []
    for kind, (good, reason, message) in verdicts.items():
        status = "True" if good else "False"
        old = before.get(kind, {})
        since = old["lastTransitionTime"] if old.get("status") == status else now
        result.append({"type": kind, "status": status, "reason": reason, "message": message,
                       "observedGeneration": generation, "lastTransitionTime": since})  # fmt: skip
    return result


def users_of(params: Data, networks: t.Sequence[Data]) -> list[str]:
    """The Networks that refer to a param set."""
    return sorted(
        network["metadata"]["name"]
        for network in networks
        if network["spec"].get("parametersRef", {}).get("name") == params["metadata"]["name"]
    )


def finalizers(params: Data, users: t.Sequence[str]) -> list[str]:
    """A param set stays while a Network refers to it (cloud-provider-gcp pull request 788)."""
    found = [item for item in params["metadata"].get("finalizers", []) if item != FINALIZER]
    leaving = params["metadata"].get("deletionTimestamp") and not users
    return found if leaving else [*found, FINALIZER]
