# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import fractions
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils._quantity import pod_requests, quantity, written

Object = dict[str, t.Any]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("50m", fractions.Fraction(1, 20)),
        ("512Gi", 512 << 30),
        ("1Ti", 1 << 40),
        ("16G", 16_000_000_000),
        ("1.5", fractions.Fraction(3, 2)),
        ("2e3", 2000),
        (".5Gi", 1 << 29),
        (8, 8),
    ],
)
def test_quantities(text: str, value: t.Any) -> None:
    assert quantity(text) == value


@pytest.mark.parametrize("text", ["", "GiB", "1 Gi", "--1", "1.2.3", "."])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity(text)


@pytest.mark.parametrize(
    ("resource", "value", "text"),
    [
        ("cpu", fractions.Fraction(1, 10), "100m"),
        ("cpu", fractions.Fraction(128), "128"),
        ("memory", fractions.Fraction(2 * 2**40), "2Ti"),
        ("memory", fractions.Fraction(3 * 2**39), "1536Gi"),
        ("ephemeral-storage", fractions.Fraction(10**9 + 1), "1000000001"),
        ("rdma/ib", fractions.Fraction(4), "4"),
    ],
)
def test_written(resource: str, value: fractions.Fraction, text: str) -> None:
    assert written(resource, value) == text


@given(
    st.sampled_from(["cpu", "memory", "nvidia.com/gpu"]),
    st.fractions(min_value=0, max_value=2**60, max_denominator=10**6),
)
def test_a_written_quantity_is_never_less(resource: str, value: fractions.Fraction) -> None:
    again = quantity(written(resource, value))
    assert value <= again < value + 1


def pod(
    containers: list[dict[str, t.Any]], init: list[dict[str, t.Any]] | None = None, **spec: t.Any
) -> dict[str, t.Any]:
    return {"containers": containers, "initContainers": init or [], **spec}


def asks(restart: str = "", **requests: str) -> Object:
    return {"resources": {"requests": requests}, **({"restartPolicy": restart} if restart else {})}


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        (pod([asks(cpu="1"), asks(cpu="500m")]), "1500m"),
        (pod([{"resources": {"limits": {"cpu": "2"}}}]), "2"),
        (pod([{"resources": {"limits": {"cpu": "2"}, "requests": {"cpu": "1"}}}]), "1"),
        (pod([asks(cpu="1")], [asks("Always", cpu="1")]), "2"),
        (pod([asks(cpu="1")], [asks(cpu="8")]), "8"),
        # The init container runs beside the sidecar that was started before it.
        (pod([asks(cpu="1")], [asks("Always", cpu="1"), asks(cpu="8")]), "9"),
        (pod([asks(cpu="1")], [asks(cpu="8"), asks("Always", cpu="1")]), "8"),
        (pod([asks(cpu="1")], overhead={"cpu": "250m"}), "1250m"),
    ],
)
def test_pod_requests_are_those_of_the_scheduler(spec: Object, cpu: str) -> None:
    assert written("cpu", pod_requests(spec)["cpu"]) == cpu
