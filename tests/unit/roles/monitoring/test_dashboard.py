# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dashboard is one that Grafana can show."""

from __future__ import annotations

import itertools
import typing as t

import pytest

from ._rendered import dashboard

PANELS = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def test_ids_are_unique() -> None:
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))
    titles = [panel["title"] for panel in PANELS]
    assert len(titles) == len(set(titles))


def test_panels_do_not_overlap_and_stay_in_the_grid() -> None:
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in dashboard()["panels"]):
        cells = set(
            itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"]))
        )
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panels_ask_the_chosen_deployment(panel: dict[str, t.Any]) -> None:
    assert panel["targets"]
    refs = [target["refId"] for target in panel["targets"]]
    assert len(refs) == len(set(refs))
    for target in panel["targets"]:
        assert 'namespace="$namespace"' in target["expr"]
        assert "$release" in target["expr"] or "${release}" in target["expr"]
        assert "@" not in target["expr"]
        assert target["datasource"]["uid"] == "${datasource}"


def test_variables() -> None:
    names = [variable["name"] for variable in dashboard()["templating"]["list"]]
    assert names == ["datasource", "namespace", "release"]


@pytest.mark.parametrize(
    "title",
    [
        "Time to first token",
        "Inter-token latency",
        "Time per output token",
        "Tokens per second by tier",
        "Decode tokens per second and rank",
        "Running requests per rank",
        "Waiting requests per rank",
        "KV cache in use per rank",
        "Requests prefilled for each request decoded",
        "Prompt tokens in decode by source",
        "Restarts of groups",
    ],
)
def test_what_an_operator_looks_for_is_there(title: str) -> None:
    assert title in [panel["title"] for panel in PANELS]
