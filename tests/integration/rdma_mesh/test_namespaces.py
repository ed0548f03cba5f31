# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real prober on faulty fabrics: the right verdict, and the right culprit each time."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from loading import load_file

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_frames as frames
from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_result as results
from ansible_collections.llmd.wide_ep.plugins.module_utils._mesh_verdict import Group
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._mesh_program import program_files

ROOT = Path(__file__).parents[3]
lab = load_file(Path(__file__).with_name("lab.py"), "mesh_lab")

HOSTS, NICS = 4, 4
RUN, KEY = "lab-1", "a key"
CONFIG = {
    "run_id": RUN,
    "key": KEY,
    "hosts": HOSTS,
    "transport": "udp",
    "nics": ["nic*"],
    "coordinator": "172.31.0.10",
    "port": 18515,
    "join_seconds": 15,
    "phase_seconds": 10,
    "deadline_seconds": 60,
}
GROUPS = (
    Group("prefill", ("node-0", "node-1"), "deepep_high_throughput"),
    Group("decode", ("node-2", "node-3"), "deepep_low_latency"),
)
Pair = tuple[int, int, int, int]

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0, reason="network namespaces need Linux and root"
)


def pairs(holds: t.Callable[[int, int, int, int], bool]) -> list[Pair]:
    return [
        (h, i, g, j)
        for h in range(HOSTS)
        for g in range(HOSTS)
        if h != g
        for i in range(NICS)
        for j in range(NICS)
        if holds(h, i, g, j)
    ]


@dataclasses.dataclass(frozen=True)
class Fabric:
    """``findings`` are codes with the start of their subject, in the order in which they are shown."""

    verdict: str
    findings: tuple[tuple[str, str], ...] = ()
    setup: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    lost: t.Callable[[int, int, int, int], bool] = lambda *_pair: False
    qualifiers: tuple[str, ...] = ()
    usable: int = HOSTS * (HOSTS - 1) * NICS * NICS


def across(_h: int, i: int, _g: int, j: int) -> bool:
    return i != j


def swapped(h: int, i: int, g: int, j: int) -> bool:
    """Host 2 has the cables of NIC 0 and 3 swapped, on rails that do not meet."""

    def rail(host: int, nic: int) -> int:
        return {0: 3, 3: 0}.get(nic, nic) if host == 2 else nic

    return rail(h, i) != rail(g, j)


def is_end(h: int, i: int, g: int, j: int) -> bool:
    return (1, 2) in ((h, i), (g, j))


SAME_RAIL = HOSTS * (HOSTS - 1) * NICS
FABRICS: dict[str, Fabric] = {
    "full mesh": Fabric("FULL_MESH"),
    "rail-only": Fabric("RAIL_ONLY", (("RDMA_RAIL_ONLY", "fabric"),), lost=across, usable=SAME_RAIL),
    "rail groups": Fabric(
        "RAIL_GROUPS", (("RDMA_RAIL_GROUPS", "fabric"),), lost=lambda _h, i, _g, j: i // 2 != j // 2, usable=96
    ),
    "one way": Fabric(
        "ONE_WAY",
        (("RDMA_ONE_WAY", "path node-0/nic1 -> node-2/nic3"),),
        lost=lambda *pair: pair == (0, 1, 2, 3),
        usable=190,
    ),
    "one way between hosts": Fabric(
        "ONE_WAY", (("RDMA_ONE_WAY", "host node-1 -> host node-0"),), lost=lambda h, _i, g, _j: (h, g) == (1, 0),
        usable=160,
    ),
    "partial": Fabric(
        "PARTIAL",
        (("RDMA_PATH_BROKEN", "path node-0/nic1 <-> node-2/nic3"),),
        lost=lambda *pair: pair in ((0, 1, 2, 3), (2, 3, 0, 1)),
        usable=190,
    ),
    "NIC without a link": Fabric(
        "FULL_MESH_MINUS_DOWN", (("RDMA_NIC_DOWN", "NIC node-1/nic2"),), {"down": {"1": [2]}}, usable=168,
        qualifiers=("NIC_DOWN",),
    ),
    "NIC with a link and nothing behind it": Fabric(
        "FULL_MESH_MINUS_DOWN", (("RDMA_LINK_SILENT", "NIC node-1/nic2"),), lost=is_end, usable=168
    ),
    "deaf NIC": Fabric(
        "ONE_WAY", (("RDMA_RX_DEAD", "NIC node-1/nic2"),), lost=lambda _h, _i, g, j: (g, j) == (1, 2), usable=168
    ),
    "host cut off": Fabric(
        "FULL_MESH_MINUS_DOWN", (("RDMA_HOST_DOWN", "host node-3"),), lost=lambda h, _i, g, _j: 3 in (h, g), usable=96,
        qualifiers=("HOST_DOWN",),
    ),
    "host that does not start": Fabric(
        "FULL_MESH_MINUS_DOWN", (("RDMA_HOST_DOWN", "host index-3"),), {"absent": [3], "join": 3}, usable=96
    ),
    "prober that dies": Fabric(
        "RAIL_ONLY",
        (("RDMA_HOST_DOWN", "host node-2"), ("RDMA_RAIL_ONLY", "fabric")),
        {"kill": [2], "kill_at": "first rounds"},
        lost=across,
        usable=24,
        qualifiers=("HOST_DOWN",),
    ),
    "partition": Fabric(
        "HOST_PARTITION", (("RDMA_HOST_PARTITION", "fabric"),), lost=lambda h, _i, g, _j: h // 2 != g // 2, usable=64
    ),
    "rails in a partition": Fabric(
        "HOST_PARTITION",
        (("RDMA_HOST_PARTITION", "fabric"),),
        lost=lambda h, i, g, j: h // 2 != g // 2 or i != j,
        usable=16,
        qualifiers=("RAIL_ONLY",),
    ),
    "small MTU": Fabric(
        "PARTIAL", (("RDMA_MTU_MISMATCH", "NIC node-1/nic2"),), {"small_mtu": {"1/nic2": 700}}, usable=168,
        qualifiers=("MTU",),
    ),
    "swapped cables": Fabric(
        "RAIL_ONLY",
        (("RDMA_MISCABLED", "NIC node-2/nic0"), ("RDMA_MISCABLED", "NIC node-2/nic3"), ("RDMA_RAIL_ONLY", "fabric")),
        {"rail_of": {"2": [3, 1, 2, 0]}},
        lost=swapped,
        usable=SAME_RAIL,
        qualifiers=("MISCABLED",),
    ),
    "uneven": Fabric(
        "FULL_MESH", (("RDMA_UNEVEN_NICS", "host node-3"),), {"counts": [4, 4, 4, 2]}, usable=144,
        qualifiers=("UNEVEN",),
    ),
}  # fmt: skip


def run(fabric: Fabric, **config: t.Any) -> dict[str, t.Any]:
    known = {name: value for name, value in fabric.setup.items() if name != "join"}
    told = {**CONFIG, "join_seconds": fabric.setup.get("join", 15), **config}
    files = program_files(ROOT / "roles/rdma_mesh/files/prober")
    counts = fabric.setup.get("counts", [NICS] * HOSTS)
    lost = [pair for pair in pairs(fabric.lost) if pair[1] < counts[pair[0]] and pair[3] < counts[pair[2]]]
    setup = {"hosts": HOSTS, "nics": NICS, "lost": lost, "config": told, "files": files, **known}
    return t.cast("dict[str, t.Any]", lab.isolated(setup))


def analyzed(printed: dict[str, t.Any]) -> results.Analysis:
    return results.analyze(results.read(frames.read(printed["log"], RUN, KEY)), GROUPS)


@pytest.mark.parametrize("name", FABRICS)
def test_verdict_and_culprit(name: str) -> None:
    fabric = FABRICS[name]
    printed = run(fabric)
    found = analyzed(printed)
    seen = results.text_matrix(found.result.case.matrix) + json.dumps(printed["errors"])
    assert found.shape.verdict == fabric.verdict, seen
    shown = [(finding.code, finding.subject) for finding in found.findings if finding.code != "RDMA_REQUIREMENT"]
    assert shown == list(fabric.findings), seen
    assert set(found.shape.qualifiers) >= {"IP_ONLY", *fabric.qualifiers}
    assert sum(bin(row).count("1") for row in found.result.case.usable) == fabric.usable, seen
    ended = {host: code for host, code in printed["codes"].items() if int(host) not in fabric.setup.get("kill", ())}
    assert set(ended.values()) == {0}, printed["errors"]


def test_rails_show_after_two_rounds_and_fail_low_latency_alone() -> None:
    printed = run(FABRICS["rail-only"])
    told = frames.read_progress(printed["log"], RUN)
    first = next(line for line in told if line.get("step") == "first rounds")
    assert (first["same"], first["cross"], first["rounds"]) == ([16, 16], [0, 16], 2)
    assert next(line for line in told if line["phase"] == "plan")["rounds"] == (HOSTS - 1) * NICS
    states = analyzed(printed).requirement.states
    assert states == {
        "prefill: deepep_high_throughput": "ok",
        "decode: deepep_low_latency": "fail",
        "kv_nixl": "fail",
    }


def test_a_new_host_is_probed_alone() -> None:
    known = run(FABRICS["rail-only"])
    printed = run(FABRICS["rail-only"], plan={"mode": "increment", "names": ["node-3"]})
    found = analyzed(printed)
    assert found.result.raw["plan"]["rounds"] == (HOSTS - 1) * NICS
    assert found.result.case.coverage == (2 * NICS * (HOSTS - 1) * NICS, 192)
    texts = [frames.read(one["log"], RUN, KEY) for one in (known, printed)]
    whole = results.extend(*texts)
    assert whole is not None
    assert results.analyze(results.read(whole)).shape.verdict == "RAIL_ONLY"


def test_a_sample_says_its_coverage() -> None:
    found = analyzed(run(FABRICS["full mesh"], plan={"mode": "sampled", "rounds": 6, "seed": 1}))
    assert found.result.case.coverage == (6 * HOSTS * NICS, 192)
    assert found.shape.verdict == "FULL_MESH_SAMPLED"


#: Loaded by Python before the prober, whose clocks are those of a host that is off by so many seconds.
OTHER_CLOCKS = """
import os, time
off = float(os.environ["OFF"])
for name in ("time", "monotonic"):
    setattr(time, name, lambda read=getattr(time, name): read() + off)
"""


def test_clocks_of_hosts_may_differ_by_days(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(OTHER_CLOCKS)
    offsets = {"0": -86400, "1": 172800, "3": -3600}
    clocks = {host: {"PYTHONPATH": str(tmp_path), "OFF": str(off)} for host, off in offsets.items()}
    began = time.time()
    found = analyzed(run(Fabric("RAIL_ONLY", setup={"environment": clocks}, lost=across)))
    assert found.shape.verdict == "RAIL_ONLY"
    assert found.result.raw["started"] < began - 80000, "the coordinator's clock is a day late"
    assert found.result.raw["duration_s"] < 60


def test_two_probers_on_one_node_are_refused() -> None:
    fabric = Fabric("NOT_MEASURED", setup={"environment": {"2": {"NODE_NAME": "node-1"}}})
    found = analyzed(run(fabric))
    assert found.shape.verdict == "NOT_MEASURED"
    assert "several probers run on node node-1" in found.findings[0].evidence + found.findings[1].evidence


def test_nothing_matches_the_pattern() -> None:
    found = analyzed(run(FABRICS["full mesh"], nics=["mlx5_*"]))
    assert found.shape.verdict == "SINGLE_HOST"
    assert {finding.code for finding in found.findings} == {"RDMA_REQUIREMENT", "RDMA_NO_NICS"}
    assert "there are lo, mgmt, nic0" in next(f.evidence for f in found.findings if f.code == "RDMA_NO_NICS")


@pytest.mark.parametrize("victim", ["the test", "its child"])
def test_a_lab_that_is_killed_leaves_nothing(tmp_path: Path, victim: str) -> None:
    before = _namespaces()
    # One host more than there are: the coordinator waits.
    setup = {"hosts": HOSTS, "nics": NICS, "lost": [], "config": {**CONFIG, "hosts": HOSTS + 1},
             "files": program_files(ROOT / "roles/rdma_mesh/files/prober")}  # fmt: skip
    (tmp_path / "setup.json").write_text(json.dumps(setup))
    (tmp_path / "go.py").write_text(
        f"import json, sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import lab\n"
        f"lab.isolated(json.load(open({str(tmp_path / 'setup.json')!r})))\n"
    )
    with subprocess.Popen([sys.executable, str(tmp_path / "go.py")], stderr=subprocess.DEVNULL) as going:
        _until(lambda: len(_namespaces() - before) > HOSTS)
        children = Path(f"/proc/{going.pid}/task/{going.pid}/children").read_text().split()
        for pid in [going.pid] if victim == "the test" else map(int, children):
            os.kill(pid, 9)
        going.wait(timeout=10)
    _until(lambda: not _namespaces() - before)


def _until(holds: t.Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def _namespaces() -> set[str]:
    """The network namespaces that processes are in. A named one without a process goes with the mount that holds it."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.add(os.readlink(process / "ns/net"))
        except OSError:
            continue
    return found
