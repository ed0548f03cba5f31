# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every overlay, plain and topology-aware: rendered, admitted by the real webhooks, placed at full size.

Needs the rehearsal cluster $LLMD_WIDE_EP_TEST_CLUSTER of scenario full (playbooks/rehearsal_cluster.yml), and root. The
nodes are KWOK's: they have the providers' shapes, and pods on them run nothing.
"""

from __future__ import annotations

import copy
import typing as t
from collections.abc import Iterator

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client, load_client

from ._placement import CLUSTER, KUBECONFIG, SHAPES, case, play, sweep, wait

VARIANTS = ("plain", "topology_aware")
COLUMNS = ("rendered", "admitted", "placed")
GROUP_NAME = "kueue.x-k8s.io/podset-group-name"
Matrix = dict[tuple[str, str], dict[str, str]]

pytestmark = pytest.mark.skipif(not KUBECONFIG.is_file(), reason=f"the rehearsal cluster {CLUSTER} does not exist")


@pytest.fixture(scope="module")
def client() -> Client:
    play("lws")
    play("kueue", wide_ep_components=["rehearsal", "topology_aware"])
    found = load_client(str(KUBECONFIG))
    sweep(found)
    return found


def table(matrix: Matrix) -> list[str]:
    rows = [("overlay", "variant", *COLUMNS)]
    rows += [(*key, *(found.get(column, "no") for column in COLUMNS)) for key, found in matrix.items()]
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


@pytest.fixture(scope="module")
def matrix(request: pytest.FixtureRequest) -> Iterator[Matrix]:
    found: Matrix = {}
    yield found
    plugins: t.Any = request.config.pluginmanager
    with plugins.getplugin("capturemanager").global_and_fixture_disabled():
        for line in ("", *table(found)):
            plugins.getplugin("terminalreporter").write_line(line)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("overlay", SHAPES)
def test_deployment_is_rendered_admitted_and_placed(client: Client, matrix: Matrix, overlay: str, variant: str) -> None:
    row = matrix.setdefault((overlay, variant), {})
    with case(client, overlay, variant) as one:
        assert len(one.sets) == 2
        row["rendered"] = "yes"
        # Each block has room for one group and no more.
        one.prepare(per_block=one.group_size, blocks=one.groups)
        one.apply(one.objects, dry_run=True)
        row["admitted"] = "yes"
        one.apply(one.objects)
        wait(lambda: len(one.bound()) == one.pods_wanted, 120, one.state)
        assert set(one.bound().values()) == {node["metadata"]["name"] for node in one.nodes}
        if variant == "topology_aware":
            blocks = one.blocks_of_groups()
            assert len(blocks) == one.groups
            assert all(len(domains) == 1 for domains in blocks.values()), blocks
        row["placed"] = "yes"


def test_matrix_is_all_yes(matrix: Matrix) -> None:
    assert matrix == {
        (overlay, variant): dict.fromkeys(COLUMNS, "yes") for overlay in SHAPES for variant in VARIANTS
    }, "\n".join(table(matrix))


@pytest.mark.parametrize("overlay", SHAPES)
def test_group_that_no_block_has_room_for_is_told_so(client: Client, overlay: str) -> None:
    with case(client, overlay, "topology_aware") as one:
        # Enough nodes for all pods, each in a block of its own.
        one.prepare(per_block=1, blocks=one.pods_wanted)
        one.apply(one.objects)
        reasons = wait(one.reasons, 60, one.state)
        assert all("topology" in reason and "fit" in reason for reason in reasons), reasons
        assert one.bound() == {}


def test_group_name_without_leader_template_is_refused(client: Client) -> None:
    with case(client, "gke", "topology_aware") as one:
        item = copy.deepcopy(one.sets[0])
        template = item["spec"]["leaderWorkerTemplate"]["workerTemplate"]
        template["metadata"]["annotations"][GROUP_NAME] = "group"
        one.prepare(per_block=1, blocks=1)
        with pytest.raises(ApiError, match="podset-group-name"):
            one.apply([item], dry_run=True)
