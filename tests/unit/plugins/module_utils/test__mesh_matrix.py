# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Matrices keep what was measured, and nothing else is read as one."""

from __future__ import annotations

import ast
import base64
import typing as t
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_matrix as matrix

from .mesh_fabric import build, full, rails

SHARED = ("_mesh_schedule", "_mesh_matrix")


@st.composite
def matrices(draw: st.DrawFn) -> matrix.Matrix:
    counts = draw(st.lists(st.integers(0, 4), min_size=1, max_size=5))
    codes = draw(st.lists(st.sampled_from(matrix.CODES), min_size=1, max_size=len(matrix.CODES)))
    return build(counts, lambda *_pair: draw(st.sampled_from(codes)))


@settings(max_examples=40, deadline=None)
@given(matrices())
def test_what_is_written_is_read(found: matrix.Matrix) -> None:
    assert matrix.from_dict(matrix.as_dict(found)) == found


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.randoms(use_true_random=False))
def test_transpose(size: int, random: t.Any) -> None:
    rows = tuple(random.getrandbits(size) for _row in range(size))
    turned = matrix.transpose(rows, size)
    assert all(turned[c] >> r & 1 == rows[r] >> c & 1 for r in range(size) for c in range(size))


@settings(max_examples=40)
@given(st.binary(min_size=1, max_size=90).map(lambda line: bytes(value % len(matrix.CODES) for value in line)))
def test_rows_of_bytes(line: bytes) -> None:
    assert matrix.row_bytes(matrix.row_planes(line), len(line)) == line


def test_zeros_are_not_measured() -> None:
    """A matrix of zeros must not read as "all fine"."""
    assert matrix.CODES[0] == "NOT_MEASURED"
    data = base64.b64encode(zlib.compress(bytes(16))).decode()
    assert matrix.decode(data, 4) == {}
    empty = build([2, 2], lambda *_pair: "NOT_MEASURED")
    assert empty.planes == {}
    assert empty.code(0, 2) == "NOT_MEASURED"


def test_pairs_on_one_host_are_none() -> None:
    found = build([2, 2], full)
    assert [sorted(matrix.bits(row)) for row in found.wanted()] == [[2, 3], [2, 3], [0, 1], [0, 1]]
    assert found.counts() == (2, 2)
    assert found.label(3) == "h1/mlx5_1"


def test_a_host_taken_out_is_not_measured() -> None:
    found = build([2, 2, 2], rails).without_hosts([1])
    assert {found.code(a, b) for a in range(6) for b in (2, 3)} == {"NOT_MEASURED"}
    assert found.code(0, 4) == "OK"
    assert found.code(0, 5) == "RETRY_EXC"


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema is 2, this reads 1"),
        ({"schema": None}, "schema is None"),
        ({"hosts": ["a", "a"]}, "host 'a' occurs twice"),
        ({"hosts": "ab"}, "hosts: not a list"),
        ({"nics": [[0, 0, "x"], [0, 0, "x"]]}, r"nics\[1\]: a/x occurs twice"),
        ({"nics": [[0, 0, "x"], [7, 0, "y"]]}, r"nics\[1\]: no host 7"),
        ({"nics": [[0, 0, "x"], [1, True, "y"]]}, r"nics\[1\]: .* is not host, index, name"),
        ({"nics": 5}, r"nics\[0\]: 5 is not host"),
        ({"reach": {"codes": ["OK"], "data": ""}}, "reach.codes"),
        ({"reach": {"codes": list(matrix.CODES), "data": 5}}, "reach.data: not text"),
        ({"reach": {"codes": list(matrix.CODES), "data": "%%%"}}, "reach.data: not base64"),
        ({"reach": {"codes": list(matrix.CODES), "data": "QUJD"}}, "reach.data: not compressed by zlib"),
        ({"reach": {"codes": list(matrix.CODES), "data": packed(bytes(3))}}, "reach.data: ends in row 1 of 2"),
        ({"reach": {"codes": list(matrix.CODES), "data": packed(bytes(5))}}, "longer than 2 x 2 pairs"),
        ({"reach": {"codes": list(matrix.CODES), "data": packed(bytes([0, 200, 0, 0]))}}, "row 0: unknown code 200"),
        (
            {"reach": {"codes": list(matrix.CODES), "data": packed(bytes([1, 0, 0, 0]))}},
            "OK, row 0: a pair on one host",
        ),
        ({"reach": {"codes": list(matrix.CODES), "data": packed(bytes(2**24))}}, "longer than 2 x 2 pairs"),
        ({"reach": {"codes": list(matrix.CODES), "data": packed(bytes(4))[:-6]}}, "reach.data"),
        ({"reach": {}}, "field 'data' is missing"),
    ],
)
def test_what_is_no_matrix_is_refused(change: dict[str, t.Any], message: str) -> None:
    good = {
        "schema": 1,
        "hosts": ["a", "b"],
        "nics": [[0, 0, "x"], [1, 0, "y"]],
        "reach": {"codes": list(matrix.CODES), "data": packed(bytes([0, 1, 1, 0]))},
    }
    assert matrix.from_dict(good).planes == {"OK": (2, 1)}
    with pytest.raises(matrix.MatrixError, match=message):
        matrix.from_dict({**good, **change})


@pytest.mark.parametrize("data", [None, [], {}, 5])
def test_other_things_are_refused(data: t.Any) -> None:
    with pytest.raises(matrix.MatrixError, match="is missing"):
        matrix.from_dict(data)


def test_a_pair_has_one_code() -> None:
    nics = [matrix.Nic(0, 0, "x"), matrix.Nic(1, 0, "y")]
    with pytest.raises(matrix.MatrixError, match="a pair has two codes"):
        matrix.build(["a", "b"], nics, {"OK": [2, 0], "SLOW": [2, 0]})
    with pytest.raises(matrix.MatrixError, match="unknown code 'FINE'"):
        matrix.build(["a", "b"], nics, {"FINE": [2, 0]})
    with pytest.raises(matrix.MatrixError, match="has 1 rows, there are 2 NICs"):
        matrix.build(["a", "b"], nics, {"OK": [2]})


def test_the_fingerprint_is_of_contents() -> None:
    facts = {"nodes": {"n1": ["uid", "boot"]}, "mask": "full", "driver": "28.39"}
    assert matrix.fingerprint(facts) == matrix.fingerprint(dict(reversed(facts.items())))
    assert matrix.fingerprint(facts) != matrix.fingerprint({**facts, "driver": "28.40"})


@pytest.mark.parametrize("name", SHARED)
def test_files_that_are_mounted_in_the_pod_stand_alone(name: str) -> None:
    """They run on Python 3.9 without the collection."""
    path = Path(matrix.__file__).with_name(f"{name}.py")
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [node.module for node in imported if (node.module or "").startswith("ansible")]
    newer = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg in ("strict", "slots")]
    assert not newer
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "bit_count"]
