# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A probers' result becomes verdict, requirement and findings; anything else is refused."""

from __future__ import annotations

import json
import typing as t
import xml.etree.ElementTree as ET

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_matrix as matrix
from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_picture as picture
from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_result as results
from ansible_collections.llmd.wide_ep.plugins.module_utils._mesh_verdict import Group

from .mesh_fabric import Rule, build, but, full, rails, touches

Json = dict[str, t.Any]


def raw(counts: t.Sequence[int] = (2, 2), rule: Rule = full, **changes: t.Any) -> Json:
    reach = build(counts, rule)
    nics = [[{"name": nic.name, "state": "ACTIVE", "rate_gbps": 400.0} for nic in reach.nics if nic.host == host]
            for host in range(len(counts))]  # fmt: skip
    hosts = [{"name": name, "index": at, "gone": "", "nics": nics[at]} for at, name in enumerate(reach.hosts)]
    return {"schema": 1, "run_id": "r", "transport": "rdma", "hosts": hosts, "matrix": matrix.as_dict(reach),
            "errors": [], "problems": [], "refused": "", "plan": {"mode": "full"}, "duration_s": 1.5,
            **changes}  # fmt: skip


def read(found: Json, **kwargs: t.Any) -> results.Result:
    return results.read(json.dumps(found), **kwargs)


def test_a_full_mesh() -> None:
    data = results.as_dict(results.analyze(read(raw())))
    assert (data["verdict"], data["qualifiers"], data["basis"], data["findings"]) == ("FULL_MESH", [], "RDMA", [])
    assert data["coverage"] == {"directed_pairs_tested": 8, "total": 8, "method": "full"}
    assert data["rail_matrix"] == [[1.0, 1.0], [1.0, 1.0]]
    json.dumps(data)


@pytest.mark.parametrize(
    ("require", "satisfied", "code"),
    [("none", False, None), ("full_mesh", False, "RDMA_REQUIREMENT"), ("rail", True, None), ("auto", False, None)],
)
def test_explicit_requirements_on_rails(require: str, satisfied: bool, code: str | None) -> None:
    analysis = results.analyze(read(raw((4, 4, 4), rails)), (), require)
    assert analysis.requirement.satisfied is satisfied
    assert analysis.failed is (code is not None)
    assert ("RDMA_REQUIREMENT" in [finding.code for finding in analysis.findings]) is (code is not None)


def test_rails_pass_high_throughput_alone_and_fail_low_latency() -> None:
    result = read(raw((4, 4, 4, 4), rails))
    hosts = result.case.matrix.hosts
    throughput = [Group(role, hosts, "deepep_high_throughput") for role in ("prefill", "decode")]
    assert not results.analyze(result, throughput, kv=False).failed
    latency = [throughput[0], Group("decode", hosts, "deepep_low_latency")]
    analysis = results.analyze(result, latency, kv=False)
    assert analysis.failed
    assert analysis.findings[0].code == "RDMA_REQUIREMENT"
    assert "decode: deepep_low_latency (fail)" in analysis.findings[0].evidence
    assert "routes between the rails' subnets" in analysis.findings[0].fix
    assert results.analyze(result, throughput, kv=True).requirement.states["kv_nixl"] == "fail"


def test_ip_only_says_so() -> None:
    analysis = results.analyze(read(raw((2, 2), rails, transport="udp")), (), "full_mesh")
    assert "(IP reachability only)" in analysis.findings[0].evidence
    assert results.as_dict(analysis)["basis"] == "IP only"


def test_slow_pairs_go_by_their_own_link() -> None:
    analysis = results.analyze(read(raw(rates=[[0, 2, 299.0], [0, 3, 301.0], [2, 0, 390.0]])))
    reach = analysis.result.case.matrix
    assert [reach.code(*pair) for pair in ((0, 2), (0, 3), (2, 0), (3, 0))] == ["SLOW", "OK", "OK", "OK"]
    assert analysis.shape.verdict == "FULL_MESH_DEGRADED"


@pytest.mark.parametrize(("moved", "verdict"), [(9, "FULL_MESH"), (10, "FULL_MESH_DEGRADED")])
def test_losses(moved: int, verdict: str) -> None:
    found = raw()
    found["hosts"][0]["nics"][0]["counters"] = {"out_of_sequence": moved}
    assert results.analyze(read(found)).shape.verdict == verdict


def test_hosts_that_did_not_join_get_their_names_and_reasons() -> None:
    found = raw((2, 2, 0))
    found["hosts"][2] |= {"gone": "its prober did not join", "nics": []}
    analysis = results.analyze(read(found, absent={2: ("gpu-node-9", "pod mesh-2: Unschedulable: no node fits"),
                                                   0: ("other", "unused")}))  # fmt: skip
    assert analysis.shape.verdict == "FULL_MESH_MINUS_DOWN"
    finding = analysis.findings[0]
    assert (finding.code, finding.subject) == ("RDMA_HOST_DOWN", "host gpu-node-9")
    assert "Unschedulable" in finding.evidence
    assert analysis.result.case.matrix.hosts == ("h0", "h1", "gpu-node-9")
    assert read(analysis.result.raw).case == analysis.result.case, "what is written of it can be read again"


def test_a_refused_run_is_not_measured() -> None:
    analysis = results.analyze(read(raw(refused="several probers run on node n1: a, b")), (), "full_mesh")
    assert analysis.shape.verdict == "NOT_MEASURED"
    assert "several probers run on node n1" in "".join(finding.evidence for finding in analysis.findings)


def test_flaps_and_strangers_are_told() -> None:
    found = raw(flaps=[[0, 2]], problems=[{"kind": "stranger", "seen": "a prober of another run"}])
    codes = {finding.code: finding.evidence for finding in results.analyze(read(found)).findings}
    assert "h0/mlx5_0 -> h1/mlx5_0" in codes["RDMA_FLAP"]
    assert "another run" in codes["RDMA_CHECK_FAILED"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 9}, "schema is '9'"),
        ({"transport": "tcp"}, "transport 'tcp' is not one of rdma, udp"),
        ({"hosts": 5}, "hosts: not a list"),
        ({"hosts": [{"name": "x"}]}, "not the names in hosts"),
        ({"hosts": [{"name": "h0", "nics": []}, {"name": "h1", "nics": []}]}, r"matrix.nics\[0\]: h0/mlx5_0 is not in"),
        ({"matrix": None}, "matrix: field"),
    ],
)
def test_anything_else_is_refused(change: Json, message: str) -> None:
    with pytest.raises(results.ResultError, match=message):
        read(raw(**change))


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("[]", "schema is"), ("null", "schema is")])
def test_text_that_is_no_result(text: str, message: str) -> None:
    with pytest.raises(results.ResultError, match=message):
        results.read(text)


def test_text_matrix() -> None:
    shown = results.text_matrix(build([2, 1], but(rails, (touches(1), "NO_ACK"))))
    assert shown.splitlines() == ["h0/mlx5_0   a", "h0/mlx5_1   a", "h1/mlx5_0 aa ", "a NO_ACK"]
    assert "are too many for a text" in results.text_matrix(build([40, 40], full))
    assert results.text_matrix(build([1, 1], lambda *_pair: "NOT_MEASURED")).endswith("? NOT_MEASURED")


# --- new hosts beside known ones ---


def grown(new: int, order: t.Sequence[int] = (2, 0, 1)) -> tuple[str, str]:
    """A result of hosts h0 and h1, and one of all three in another order that probed the pairs of one host alone."""
    old = raw((2, 2), rails)
    after = raw((2, 2, 2), lambda h, i, g, j: rails(h, i, g, j) if new in (order[h], order[g]) else "NOT_MEASURED")
    for at, host in enumerate(after["hosts"]):
        host["name"] = f"h{order[at]}"
    after["matrix"]["hosts"] = [f"h{number}" for number in order]
    for found in (old, after):
        for host in found["hosts"]:
            for nic in host["nics"]:
                nic |= {"guid": f"{host['name']}-{nic['name']}", "driver": "mlx5_core"}
    return json.dumps(old), json.dumps(after)


def test_a_new_host_completes_the_known_mesh() -> None:
    old, new = grown(2)
    assert results.analyze(results.read(new)).shape.qualifiers == ("SAMPLED",)
    whole = results.extend(old, new)
    assert whole is not None
    analysis = results.analyze(results.read(whole))
    assert (analysis.shape.verdict, analysis.result.case.coverage) == ("RAIL_ONLY", (24, 24))
    assert analysis.result.case.matrix.hosts == ("h2", "h0", "h1")


def test_another_nic_makes_the_known_mesh_void() -> None:
    old, new = grown(2)
    assert results.extend(old, new.replace("h1-mlx5_1", "another")) is None


def test_what_is_measured_anew_counts() -> None:
    old, _new = grown(2)
    found = json.loads(old)
    found["matrix"] = matrix.as_dict(build((2, 2), full))
    whole = results.extend(old, json.dumps(found))
    assert whole is not None
    assert results.analyze(results.read(whole)).shape.verdict == "FULL_MESH"


def test_a_host_that_is_gone_is_left_out() -> None:
    """Of h0, h1 and h2, known before, h1 was replaced by h3."""
    old = raw((2, 2, 2), rails)
    new = raw((2, 2, 2), lambda h, i, g, j: rails(h, i, g, j) if 1 in (h, g) else "NOT_MEASURED")
    new["hosts"][1]["name"] = new["matrix"]["hosts"][1] = "h3"
    old["rates"], new["rates"] = [[0, 4, 1.5], [0, 2, 7.0]], [[2, 4, 3.5]]
    whole = results.extend(json.dumps(old), json.dumps(new))
    assert whole is not None
    analysis = results.analyze(results.read(whole))
    assert (analysis.shape.verdict, analysis.result.case.coverage) == ("RAIL_ONLY", (24, 24))
    assert json.loads(whole)["rates"] == [[2, 4, 3.5], [0, 4, 1.5]]


def test_a_part_of_the_hosts() -> None:
    found = raw((2, 1, 2), but(full, (touches(1), "RETRY_EXC")))
    found["errors"], found["flaps"] = [[0, 2, "rts", 5], [1, 4, "rts", 6]], [[4, 0], [2, 0]]
    text = json.dumps(found)
    assert results.restrict(text, ["h0", "h1", "h2", "x"]) == text
    part = json.loads(results.restrict(text, ["h2", "h0"]))
    analysis = results.analyze(results.read(json.dumps(part)))
    assert (analysis.shape.verdict, analysis.result.case.matrix.hosts) == ("FULL_MESH", ("h0", "h2"))
    assert (part["errors"], part["flaps"]) == ([[1, 3, "rts", 6]], [[3, 0]])
    assert [host["index"] for host in part["hosts"]] == [0, 1]


# --- the picture ---


def drawing(reach: matrix.Matrix) -> ET.Element:
    return ET.fromstring(picture.svg(reach))


def cells(reach: matrix.Matrix) -> dict[str, int]:
    """Color to how many unit cells its path covers."""
    found: dict[str, int] = {}
    for path in drawing(reach).iter("{http://www.w3.org/2000/svg}path"):
        color, text = path.get("fill", ""), path.get("d", "")
        if color != "none":
            widths = [int(part.split("h")[1].split("v")[0]) for part in text.split("M")[1:]]
            found[color] = sum(widths) // picture.SIDE
    return found


def test_the_picture_has_every_pair() -> None:
    shown = cells(build([4, 4, 4], rails))
    assert shown == {
        picture.COLORS["OK"]: 4 * 6,
        picture.COLORS["RETRY_EXC"]: 12 * 8 - 4 * 6,
        picture.SAME_HOST: 3 * 16,
    }


def test_blocks_show_the_fault_in_them() -> None:
    reach = build([150, 150], but(full, (touches(0, 7), "NO_DELIVERY")))
    shown = cells(reach)
    assert shown[picture.COLORS["NO_DELIVERY"]] == 2 * 75
    assert sum(shown.values()) == 150 * 150, "300 NICs are 150 blocks of two"


def test_every_code_has_a_color() -> None:
    assert set(picture.COLORS) == set(matrix.CODES)
    assert len(set(picture.COLORS.values())) == len(matrix.CODES)


def test_the_page_is_whole_and_quotes_what_it_shows() -> None:
    found = raw((2, 2), rails)
    found["hosts"][0]["name"] = found["matrix"]["hosts"][0] = "<b>&"
    analysis = results.analyze(read(found), (), "full_mesh")
    page = picture.page(analysis.result.case.matrix, results.as_dict(analysis), "run <1>")
    assert "<b>" not in page
    assert "run &lt;1&gt;" in page
    assert "RAIL_ONLY (RDMA)" in page
    assert "RDMA_REQUIREMENT" in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", ""), "nothing is loaded from elsewhere"
