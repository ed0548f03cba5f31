# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole guide on each provider, from an empty account to an empty account."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from rehearsal import Rehearsal
from watching import until

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import load_client

NAME = os.environ.get("LLMD_WIDE_EP_TEST_REHEARSAL") or "rehearse"
OURS = ("wide-ep.llm-d.ai/deployment", "wide-ep.llm-d.ai/platform")
# Which of the cluster's kinds hold what we make, in its order of making.
KINDS = (
    "/apis/leaderworkerset.x-k8s.io/v1/leaderworkersets",
    "/apis/networking.gke.io/v1/networks",
    "/apis/networking.gke.io/v1/gkenetworkparamsets",
    "/apis/compute.coreweave.com/v1alpha1/nodepools",
    "/apis/inference.networking.k8s.io/v1/inferencepools",
    "/apis/apps/v1/deployments",
    "/api/v1/services",
    "/api/v1/configmaps",
    "/api/v1/namespaces",
)


@pytest.fixture(scope="module", params=["inventories/gke", "inventories/gke-a4", "inventories/coreweave"])
def rehearsal(request: pytest.FixtureRequest) -> Iterator[Rehearsal]:
    made = Rehearsal(request.param, NAME)
    made.up()
    yield made
    if not os.environ.get("LLMD_WIDE_EP_TEST_KEEP"):
        made.down()


def ours(rehearsal: Rehearsal) -> list[str]:
    """What the cluster has with a label of ours, as the cluster's administrator sees it."""
    client = load_client(f"/var/lib/llmd-wide-ep/{rehearsal.name}/admin.kubeconfig")
    found = []
    for path in KINDS:
        for label in OURS:
            answer = client.get_or_none(path, {"labelSelector": label})
            found += [f"{path} {item['metadata']['name']}" for item in (answer or {}).get("items", [])]
    return found


def test_from_nothing_to_a_verified_endpoint_and_back(rehearsal: Rehearsal) -> None:
    """A second run changes nothing, a second teardown neither."""
    with rehearsal.cloud() as cloud:
        first = rehearsal.site()
        assert "requests prefilled remotely" in first.output
        assert ours(rehearsal)
        again = rehearsal.site(quiet=True)
        assert again.recap["changed"] == 0, again.output[-6000:]
        gone = rehearsal.teardown()
        assert gone.recap["failed"] == 0
        until(lambda: not ours(rehearsal), "nothing of ours in the cluster", 30)
        if cloud is not None:
            assert cloud.left() == []
            made = cloud.state()["created"]
            assert len(made) == len(set(made)), "created twice"
            cloud.check()
        assert rehearsal.teardown(quiet=True).recap["changed"] == 0
