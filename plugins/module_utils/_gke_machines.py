# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPU machines of Google Cloud with RDMA interfaces, and the ways to get them, as data. Private to the collection."""

from __future__ import annotations

import dataclasses
import typing as t

JsonObject = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Machine:
    """A machine profile.

    ``boot_disk`` is the type where the machine takes no other than it, ``proven`` whether a public deployment of wide
    expert parallelism on it is known.
    """

    machine_type: str
    accelerator_type: str
    gpus: int
    rdma_nics: int
    architecture: str = "amd64"
    gvnics: int = 1
    boot_disk: str = ""
    compact_placement: bool = True
    proven: bool = True

    @property
    def interfaces(self) -> int:
        """Additional interfaces of a node pool: further gVNICs, then the RDMA ones."""
        return self.gvnics + self.rdma_nics


MACHINES: dict[str, Machine] = {
    "a3_ultra": Machine("a3-ultragpu-8g", "nvidia-h200-141gb", gpus=8, rdma_nics=8),
    "a4": Machine("a4-highgpu-8g", "nvidia-b200", gpus=8, rdma_nics=8, boot_disk="hyperdisk-balanced"),
    # GKE rejects a group placement for it: the topology of its NVL72 comes from a workload policy.
    "a4x": Machine(
        "a4x-highgpu-4g",
        "nvidia-gb200",
        gpus=4,
        rdma_nics=4,
        architecture="arm64",
        boot_disk="hyperdisk-balanced",
        compact_placement=False,
        proven=False,
    ),
}
BY_MACHINE_TYPE = {machine.machine_type: name for name, machine in MACHINES.items()}


@dataclasses.dataclass(frozen=True)
class Capacity:
    """A way to get machines: what it sets, and what it does not go with."""

    config: JsonObject
    pool: JsonObject
    static: bool = True
    compact: bool = True
    auto_repair: bool = True
    auto_upgrade: bool = True
    max_surge: int | None = None
    max_unavailable: int | None = None


NO_RESERVATION: JsonObject = {"reservationAffinity": {"consumeReservationType": "NO_RESERVATION"}}
CAPACITY: dict[str, Capacity] = {
    # There is no spare host for a surge; a dense reservation is close together by itself.
    "reservation": Capacity({}, {}, compact=False, max_surge=0, max_unavailable=1),
    "spot": Capacity({"spot": True}, {}),
    "flex_start": Capacity(
        {"flexStart": True, **NO_RESERVATION},
        {"autoscaling": {"enabled": True, "locationPolicy": "ANY"}},
        static=False,
        compact=False,
        auto_repair=False,
    ),
    "queued": Capacity(
        NO_RESERVATION,
        {"queuedProvisioning": {"enabled": True}, "autoscaling": {"enabled": True, "locationPolicy": "ANY"}},
        static=False,
        compact=False,
        auto_upgrade=False,
    ),
    "on_demand": Capacity({}, {}),
}
DRIVERS = {"default": "DEFAULT", "latest": "LATEST", "disabled": "INSTALLATION_DISABLED", "specific": "SPECIFIC"}
#: The label by which GKE's DRA network driver runs on the nodes of a pool.
DRANET_LABEL = {"cloud.google.com/gke-networking-dra-driver": "true"}
