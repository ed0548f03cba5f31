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

NAME = os.environ.get("LLMD_WIDE_EP_TEST_REHEARSAL") or "rehearse"


@pytest.fixture(scope="module", params=["inventories/gke", "inventories/gke-a4", "inventories/coreweave"])
def rehearsal(request: pytest.FixtureRequest) -> Iterator[Rehearsal]:
    made = Rehearsal(request.param, NAME)
    made.up()
    yield made
    if not os.environ.get("LLMD_WIDE_EP_TEST_KEEP"):
        made.down()


def test_from_nothing_to_a_verified_endpoint_and_back(rehearsal: Rehearsal) -> None:
    """A second run changes nothing, a second teardown neither."""
    with rehearsal.cloud() as cloud:
        first = rehearsal.site()
        assert "requests prefilled remotely" in first.output
        assert rehearsal.ours()
        again = rehearsal.site(quiet=True)
        assert again.recap["changed"] == 0, again.output[-6000:]
        gone = rehearsal.teardown()
        assert gone.recap["failed"] == 0
        if rehearsal.cluster_stays:
            until(lambda: not rehearsal.ours(), "nothing of ours in the cluster", 30)
        if cloud is not None:
            assert cloud.left() == []
            made = cloud.state()["created"]
            assert len(made) == len(set(made)), "created twice"
            cloud.check()
        assert rehearsal.teardown(quiet=True).recap["changed"] == 0
