# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.llmd.wide_ep.plugins.filter import router

PROFILES = [
    {"name": name, "plugins": [{"plugin": f"{name}-filter"}, {"plugin": "max-score-picker"}]}
    for name in ("prefill", "decode")
]
ASKED: dict[str, t.Any] = {
    "version": "v0.10.0",
    "generation": "llm_d_router",
    "mode": "standalone",
    "values": {},
    "profiles": PROFILES,
    "decider": "always-disagg-pd-decider",
}


@pytest.mark.parametrize(("timeout", "count"), [(600, 0), ("600", 0), ("86401", 1)])
def test_refusals_take_numbers_as_text(timeout: t.Any, count: int) -> None:
    assert len(router.router_refusals("ghcr.io/llm-d/epp:v0.10.0", request_timeout=timeout, **ASKED)) == count


@pytest.mark.parametrize("change", [{"request_timeout": "soon"}, {"profiles": [{"name": "prefill"}]}, {"unknown": 1}])
def test_what_cannot_be_judged_is_an_error_of_the_filter(change: dict[str, t.Any]) -> None:
    with pytest.raises(AnsibleFilterError, match="router_refusals"):
        router.router_refusals("ghcr.io/llm-d/epp:v0.10.0", **{"request_timeout": 600, **ASKED, **change})


def test_differences_join_objects_and_pods() -> None:
    labels = {"llm-d.ai/guide": "wide-ep-lws"}
    pod = {"metadata": {"name": "job", "namespace": "n", "labels": labels}, "status": {"phase": "Running"}}
    found = {name: {"resources": []} for name in ("deployment", "service", "pool")} | {"pods": {"resources": [pod]}}
    texts = router.router_differences(
        found,
        release="r",
        namespace="n",
        ports=[80],
        target_ports=[8000],
        match_labels=labels,
        config_file="c.yaml",
        images={},
        failure_mode="FailOpen",
    )
    assert [text.split()[1] for text in texts] == ["ROUTER_DIFFERS:"] * 3 + ["POOL_STRANGER:"]
