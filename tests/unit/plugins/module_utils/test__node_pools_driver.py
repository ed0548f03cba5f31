# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils import _node_pools_driver as driver

from ..._collection import ROOT

HIGH, LOW = driver.HIGH_THROUGHPUT, driver.LOW_LATENCY

CASES = [
    # driver, CUDA, prefill backend -> word
    ("580.65.06", "13.0.2", HIGH, "refuse"),
    ("580.65.06", "13.0.2", LOW, "ok"),
    ("580", "12.8", HIGH, "refuse"),
    ("R595", "13.0", HIGH, "refuse"),
    ("default", "13.0.2", HIGH, "refuse"),
    ("latest", "13.0.2", HIGH, "refuse"),
    ("default", "13.0.2", LOW, "ok"),
    ("570.133.20", "12.8", HIGH, "ok"),
    ("570.133.20", "12.8", LOW, "ok"),
    ("570.133.20", "13.0.2", HIGH, "fallback"),
    ("570.133.20", "13.0.2", LOW, "fallback"),
    ("470.82", "12.4", LOW, "fallback"),
    ("disabled", "13.0.2", HIGH, "fallback"),
    ("disabled", "13.0.2", LOW, "ok"),
    ("", "", HIGH, "fallback"),
    ("570", "", HIGH, "ok"),
    ("570", "99.1", HIGH, "ok"),
    ("580", "13", "naive", "ok"),
]


@pytest.mark.parametrize(("version", "cuda", "backend", "word"), CASES)
def test_table(version: str, cuda: str, backend: str, word: str) -> None:
    found = driver.findings(version, cuda, backend)
    severities = [finding.severity for finding in found]
    assert driver.Combination(version, cuda, backend).judge().word == word
    assert severities == {"ok": [], "fallback": ["warning"], "refuse": ["error"]}[word]


def test_a_refusal_names_both_ways_out() -> None:
    (found,) = driver.findings("580.65", "13.0.2", HIGH, "driver of node-1")
    assert found.subject == "driver of node-1"
    assert "580.65" in found.evidence
    assert "cudaErrorIllegalAddress" in found.evidence
    assert LOW in found.fix
    assert "older than R580" in found.fix


@pytest.mark.parametrize("name", ["gke", "gke-a4"])
def test_shipped_inventories_are_ok(name: str) -> None:
    """What a person gets who changes nothing but the values that are theirs."""
    path = ROOT / "inventories" / name / "group_vars" / "wide_ep" / "main.yml"
    given_values = yaml.safe_load(path.read_text())
    defaults = yaml.safe_load((ROOT / "roles" / "node_pools" / "defaults" / "main.yml").read_text())
    row = driver.Combination(
        given_values["node_pools_driver"],
        str(defaults["node_pools_image_cuda"]),
        given_values["wide_ep_prefill_all2all_backend"],
    ).judge()
    assert row.word == "ok"


@given(st.integers(400, 700), st.integers(11, 13), st.sampled_from([HIGH, LOW]))
def test_a_newer_driver_is_never_refused_for_the_floor(branch: int, cuda: int, backend: str) -> None:
    """Below the floor is told for old drivers alone, and a crash for new ones alone."""
    row = driver.Combination(str(branch), str(cuda), backend).judge()
    assert (row.word == "refuse") == (branch >= driver.CRASHING and backend == HIGH)
    assert (row.word == "fallback") == (branch < min(driver.FLOORS[cuda], driver.CRASHING))


@pytest.mark.parametrize(
    ("text", "number"),
    [("R570", 570), ("570.133.20", 570), ("13", 13), ("13.0", 13), ("default", None), ("", None), ("580-open", None)],
)
def test_number(text: str, number: int | None) -> None:
    assert driver.number(text) == number
