# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._phases import parse_result, result_lines
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._plan_report import build
from ansible_collections.llmd.wide_ep.tests.unit.plugins.module_utils.test__capacity import (
    PLAN,
    RENDERED,
    SHAPES,
    cache,
    objects,
    plan,
)

IMAGES = {"vllm": "ghcr.io/llm-d/llm-d-cuda:v0.7.0", "epp": "ghcr.io/llm-d/llm-d-router-endpoint-picker:v0.9.0"}


def report(
    made: dict[str, t.Any] = PLAN, rendered: list[dict[str, t.Any]] = RENDERED, mirror: str = "", rate: float = 0
) -> dict[str, t.Any]:
    return build(made, SHAPES[made["overlay"]], rendered, mirror=mirror, images=IMAGES, gbit_per_s=rate)


def table(made: dict[str, t.Any], title: str) -> list[list[t.Any]]:
    found = [entry for entry in made["tables"] if entry["title"].startswith(title)]
    rows: list[list[t.Any]] = found[0]["rows"] if found else []
    return rows


def test_the_guide_is_told_in_100_columns() -> None:
    made = report()
    recorded = {"phase": "plan", **{key: made[key] for key in ("summary", "tables", "data")}}
    lines = result_lines([parse_result(recorded, "wide-ep-lws", "gke")])
    assert max(map(len, lines)) <= 100
    assert not [line for line in lines if "..." in line], "something is cut off"
    assert json.loads(json.dumps(made["data"])) == made["data"]


def test_the_figures_of_the_guide() -> None:
    made = report()
    assert dict(map(tuple, made["summary"]))["Pods"] == "4, one per node, with 32 GPUs"
    assert made["data"]["requests"] == {
        "cpu": "128",
        "ephemeral-storage": "4Ti",
        "memory": "2Ti",
        "nvidia.com/gpu": "32",
    }
    assert [row[:8] for row in table(made, "Tiers")] == [
        ["prefill", 1, 2, 8, 2, 16, 16, 18],
        ["decode", 1, 2, 8, 2, 16, 16, 18],
    ]
    assert [row[3:5] for row in table(made, "Memory of one GPU")] == [["65.0", "5.1"], ["65.0", "5.1"]]
    assert ["decode", "routing-proxy", "sidecar", "8000"] in table(made, "Ports")
    assert ["decode", "vllm", "nixl", "5600-5615"] in table(made, "Ports")
    assert made["errors"] == made["text"] == ""


@pytest.mark.parametrize(("hosts", "workers"), [(1, None), (2, "-1"), (8, "-1 to -7")])
def test_every_pod_is_named(hosts: int, workers: str | None) -> None:
    made = plan(decode_groups=2, decode_hosts_per_group=hosts)
    rows = [row for row in table(report(made), "Pods") if row[0] == "decode"]
    assert [row[2:] for row in rows] == [[made["decode"]["pods"][0], workers], [made["decode"]["pods"][hosts], workers]]


def test_images_are_told_behind_the_mirror_and_once() -> None:
    rows = table(report(mirror="registry.example.com/mirror/"), "Images")
    images = [row[0] for row in rows]
    assert "registry.example.com/mirror/ghcr.io/llm-d/llm-d-router-endpoint-picker:v0.9.0" in images
    assert len(images) == len(set(images))


def test_a_download_rate_is_turned_into_minutes() -> None:
    line = dict(map(tuple, report(rate=2.0)["summary"]))["Start budget"]
    assert "45 min" in line
    assert "2.6 Gbit/s per node, 10.5 for all" in line
    assert "at 2 Gbit/s the download takes 46 min" in line


def test_what_does_not_fit_is_told_and_is_an_error() -> None:
    made = report(rendered=objects(cache({"emptyDir": {}}, "100Gi")))
    assert "ERROR CAPACITY_DISK" in made["errors"]
    assert table(made, "Findings") == [["error", "CAPACITY_DISK", "decode: model cache"]]
    assert made["data"]["findings"][0]["code"] == "CAPACITY_DISK"


def test_a_warning_is_told_and_no_error() -> None:
    made = report(rate=2.0)
    assert "WARNING CAPACITY_START_BUDGET" in made["text"]
    assert made["errors"] == ""


def test_an_unknown_model_is_told_as_unchecked() -> None:
    made = report(plan(model="example.com/Other-1T"))
    assert made["data"]["not_checked"] == ["GPU memory", "disk", "start budget"]
    assert "unknown, not checked" in dict(map(tuple, made["summary"]))["GPU memory"]
    assert table(made, "Memory of one GPU") == []


def test_the_rehearsal_is_not_compared_with_hardware() -> None:
    made = report(plan(components=["rehearsal"], decode_ranks_per_host=8))
    assert made["findings"] == []
    assert made["data"]["gpu_memory"] == {}
