# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upgrades under load that cannot succeed: found out before the first group is touched, or taken back.

Needs the rehearsal cluster $LLMD_WIDE_EP_TEST_CLUSTER (playbooks/rehearsal_cluster.yml). Prints a table.
"""

from __future__ import annotations

import re
import time
import typing as t
from collections.abc import Iterator

import pytest
import yaml
from _deployment import KUBECONFIG, PODS, ROOT, Deployment, Run, deployed

pytestmark = pytest.mark.skipif(not KUBECONFIG.is_file(), reason="the rehearsal cluster does not exist")

INVENTORY = ROOT / "inventories" / "local" / "group_vars" / "wide_ep" / "main.yml"
AT_MOST = re.compile(r"answered wrongly for at most (?P<seconds>[\d.]+) s")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("upgrade"), wide_ep_allow_restart=True) as made:
        yield made


def overridden(**images: str) -> dict[str, str]:
    return {**yaml.safe_load(INVENTORY.read_text(encoding="utf-8"))["wide_ep_image_overrides"], **images}


def upgrade(site: Deployment, **variables: t.Any) -> tuple[Run, dict[str, t.Any]]:
    began = time.time()
    run = site.play("upgrade", **variables)
    figures = site.figures(began, time.time())
    shown = {key: figures[key] for key in ("sent", "failed", "bad_seconds", "reduced_seconds", "lowest", "seconds")}
    print(f"\nupgrade with {variables}: exit code {run.code}, {shown}")
    return run, figures


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (
            {"wide_ep_image_overrides": overridden(vllm="ghcr.io/llm-d/llm-d-cuda:v0.7.99")},
            ("IMAGE_NOT_FOUND", "3 of 3"),
        ),
        (
            {"model_server_decode_arguments": {"from-the-future": 7}},
            ("ARGUMENTS_REFUSED", "decode vllm", "3 of 3 nodes", "does not know --from-the-future 7"),
        ),
        (
            {"model_server_prefill_arguments": {"eplb-config": {"window": 1}}},
            ("ARGUMENTS_REFUSED", "prefill vllm", "3 of 3 nodes", "eplb-config"),
        ),
        (
            {"model_server_sidecar_arguments": {"from-the-future": True}},
            ("ARGUMENTS_REFUSED", "decode routing-proxy", "3 of 3 nodes", "from-the-future"),
        ),
    ],
    ids=["image", "argument", "value", "sidecar"],
)
def test_what_cannot_start_is_found_before_a_group_is_touched(
    site: Deployment, variables: dict[str, t.Any], told: tuple[str, ...]
) -> None:
    before = site.uids()
    run, figures = upgrade(site, **variables)
    assert run.code != 0
    for text in told:
        assert text in run.text, (text, run.output[-4000:])
    assert site.uids() == before
    assert (figures["failed"], figures["reduced_seconds"]) == (0, 0), figures
    pods = site.admin.list(PODS, {"labelSelector": "wide-ep.llm-d.ai/component=image-pull"})
    assert all(pod["metadata"].get("deletionTimestamp") for pod in pods)


def test_the_plan_says_whether_a_group_is_to_spare(site: Deployment) -> None:
    changes = {"model_server_decode_max_tokens": 512, "model_server_prefill_max_batched_tokens": 4096}
    before = site.uids()
    run = site.play("upgrade", "--check", **changes)
    assert run.code == 0, run.output[-4000:]
    assert "decode: restart, 16 GPUs; a spare group exists: service is kept" in run.text
    assert "prefill: restart, 8 GPUs; no spare group: the tier is away" in run.text
    assert site.uids() == before


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ({"arguments": {"served-model-name": "another/model"}}, "answers"),
        ({"environment": {"STAND_IN_SIMULATOR": "/not/there"}}, "start"),
    ],
    ids=["answers wrongly", "never starts"],
)
def test_a_bad_upgrade_is_taken_back(site: Deployment, layer: dict[str, t.Any], reason: str) -> None:
    archives = set(site.folder.glob("**/diagnostics-*.tar.gz"))
    run, figures = upgrade(site, model_server_layer={"decode": layer})
    assert run.code != 0
    assert "UPGRADE_ROLLED_BACK" in run.text
    assert "put back to what ran before and proven" in run.text
    # Before anything was put back.
    assert set(site.folder.glob("**/diagnostics-*.tar.gz")) - archives
    at_most = AT_MOST.search(run.text)
    assert at_most, run.output[-4000:]
    assert figures["bad_seconds"] <= float(at_most["seconds"])
    assert figures["proof"] == "passed"
    assert site.whole()
    if reason == "start":
        # The second group of decode has served meanwhile: a group that goes takes what was under way on it.
        assert figures["failed"] <= 12, figures
