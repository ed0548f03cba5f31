# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fabrics by rule: which code a pair of NICs has, for matrices of any shape."""

from __future__ import annotations

import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_matrix as matrix
from ansible_collections.llmd.wide_ep.plugins.module_utils._mesh_verdict import Case

#: Source host and NIC, destination host and NIC -> code.
Rule = t.Callable[[int, int, int, int], str]


def full(_h: int, _i: int, _g: int, _j: int) -> str:
    return "OK"


def rails(_h: int, i: int, _g: int, j: int) -> str:
    return "OK" if i == j else "RETRY_EXC"


def but(rule: Rule, *exceptions: tuple[t.Callable[[int, int, int, int], bool], str]) -> Rule:
    """The rule, with a code of its own where a condition holds."""

    def code(h: int, i: int, g: int, j: int) -> str:
        return next((other for holds, other in exceptions if holds(h, i, g, j)), rule(h, i, g, j))

    return code


def touches(host: int, nic: int | None = None) -> t.Callable[[int, int, int, int], bool]:
    """Whether the host, or one NIC of it, is an end of the pair."""
    return lambda h, i, g, j: (h == host and nic in (None, i)) or (g == host and nic in (None, j))


def build(counts: t.Sequence[int], rule: Rule) -> matrix.Matrix:
    nics = [matrix.Nic(host, i, f"mlx5_{i}") for host, count in enumerate(counts) for i in range(count)]
    planes: dict[str, list[int]] = {}
    for source, one in enumerate(nics):
        for target, other in enumerate(nics):
            if one.host != other.host:
                code = rule(one.host, one.index, other.host, other.index)
                planes.setdefault(code, [0] * len(nics))[source] |= 1 << target
    return matrix.build([f"h{host}" for host in range(len(counts))], nics, planes)


def case(counts: t.Sequence[int], rule: Rule = full, joined: t.Iterable[int] | None = None, **known: t.Any) -> Case:
    present = range(len(counts)) if joined is None else joined
    return Case(build(counts, rule), frozenset(present), **known)
