# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layouts are the header's, and addresses are those that a routed fabric needs."""

from __future__ import annotations

import ctypes
import json
import typing as t
from pathlib import Path
from types import ModuleType

import pytest

LAYOUT = json.loads(
    (Path(__file__).parents[3] / "data/verbs/layout-rdma-core-44-x86_64.json").read_text(encoding="utf-8")
)
#: Structures of the library that the prober reads the start of.
CUT = {"Context", "Qp"}
ROCE = {"port": 1, "link_layer": "Ethernet", "gid": "0000:0000:0000:0000:0000:ffff:0a64:000a", "gid_index": 3, "lid": 0}
IB = {"port": 1, "link_layer": "InfiniBand", "gid": "fe80:0000:0000:0000:0000:0000:0000:0001", "gid_index": 0, "lid": 7}


@pytest.fixture(scope="module")
def verbs(prober: t.Callable[[str], ModuleType]) -> ModuleType:
    return prober("mesh_verbs")


def mine(verbs: ModuleType, name: str) -> int:
    """What the prober has for a name of the recorded layout: =CONSTANT, Structure, or Structure.field."""
    if name.startswith("="):
        return int(getattr(verbs, name[1:]))
    structure, _dot, field = name.partition(".")
    if structure == "GRH":
        return int(verbs.GRH)
    kind = getattr(verbs, structure)
    if not field:
        return ctypes.sizeof(kind)
    if field.startswith("wr."):
        _wr, part, inner = field.split(".")
        return int(kind.wr.offset + getattr(dict(verbs.WrUnion._fields_)[part], inner).offset)
    return int(getattr(kind, field).offset)


@pytest.mark.parametrize("name", LAYOUT)
def test_layout(verbs: ModuleType, name: str) -> None:
    if name in CUT:
        assert mine(verbs, name) <= LAYOUT[name]
    else:
        assert mine(verbs, name) == LAYOUT[name]


def test_every_structure_is_compared(verbs: ModuleType) -> None:
    structures = {
        name for name, value in vars(verbs).items()
        if isinstance(value, type) and issubclass(value, ctypes.Structure) and not name.startswith("Wr")
    } - {"Structure"}  # fmt: skip
    assert structures == {name.partition(".")[0] for name in LAYOUT if not name.startswith(("=", "GRH"))}


def test_trap_the_hop_limit_is_not_one(verbs: ModuleType) -> None:
    """mlx5 sends it in UD headers as it is: with 1 a healthy routed fabric would look rail-only."""
    attr = verbs.route(ROCE, {**ROCE, "gid": "0000:0000:0000:0000:0000:ffff:0a65:000b"}, {})
    assert attr.grh.hop_limit == 255
    assert (attr.is_global, attr.grh.sgid_index, attr.port_num, attr.static_rate) == (1, 3, 1, 0)
    assert bytes(attr.grh.dgid) == bytes(10) + b"\xff\xff\x0a\x65\x00\x0b"


@pytest.mark.parametrize(
    ("peer", "options", "expected"),
    [
        ({}, {}, (0, 9)),
        ({}, {"force_grh": True}, (1, 9)),
        ({"gid": "fe80:0000:0000:0001:0000:0000:0000:0001"}, {}, (1, 9)),
    ],
)
def test_infiniband_goes_by_lid(
    verbs: ModuleType, peer: dict[str, t.Any], options: dict[str, t.Any], expected: tuple[int, int]
) -> None:
    attr = verbs.route(IB, {**IB, "lid": 9, **peer}, options)
    assert (attr.is_global, attr.dlid) == expected


def test_service_level_and_class(verbs: ModuleType) -> None:
    attr = verbs.route(ROCE, ROCE, {"sl": 3, "traffic_class": 104, "flow_label": 0x4001})
    assert (attr.sl, attr.grh.traffic_class, attr.grh.flow_label) == (3, 104, 0x4001)


@pytest.mark.parametrize("text", ["", "fe80::1", "zz", "0000:0000"])
def test_what_is_no_gid_is_refused(verbs: ModuleType, text: str) -> None:
    with pytest.raises(ValueError, match=r"GID|hex"):
        verbs.gid_bytes(text)


@pytest.mark.parametrize(("timeout", "retries", "good"), [(14, 3, True), (18, 6, True), (14, 7, False), (0, 3, False),
                                                          (32, 3, False)])  # fmt: skip
def test_trap_seven_retries_never_end_on_soft_roce(
    prober: t.Callable[[str], ModuleType], timeout: int, retries: int, good: bool
) -> None:
    rdma = prober("mesh_rdma")
    options = {"timeout": timeout, "retry_cnt": retries}
    if good:
        assert rdma.checked_timers(options) == (timeout, retries)
    else:
        with pytest.raises(ValueError, match="retry_cnt"):
            rdma.checked_timers(options)


def test_nominal_times(prober: t.Callable[[str], ModuleType]) -> None:
    rdma = prober("mesh_rdma")
    assert rdma.nominal(14, 3) == pytest.approx(0.268, abs=0.001)
    assert rdma.nominal(18, 6) == pytest.approx(7.52, abs=0.01)
