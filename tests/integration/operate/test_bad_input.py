# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runbooks that must not start, two at once, and a cluster that goes away under one.

Needs root and the rehearsal cluster $LLMD_WIDE_EP_TEST_CLUSTER (playbooks/rehearsal_cluster.yml).
"""

from __future__ import annotations

import contextlib
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from _deployment import DECODE, KUBECONFIG, LEASE, LWS, STATE, Deployment, deployed, until

from ansible_collections.llmd.wide_ep.plugins.module_utils import _rehearsal_sandbox as sandbox
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ClientError
from ansible_collections.llmd.wide_ep.plugins.module_utils._rehearsal_supervisor import Supervisor

pytestmark = pytest.mark.skipif(not KUBECONFIG.is_file(), reason="the rehearsal cluster does not exist")

LABEL = "wide-ep.llm-d.ai/deployment"
GROUP = {"operate_tier": "decode", "operate_group": 0}
#: What each runbook is pointed at. All that change or read a deployment.
RUNBOOKS: dict[str, dict[str, t.Any]] = {
    "status": {},
    "restart_group": GROUP,
    "scale": {},
    "upgrade": {},
    "rollback": {},
    "drain_node": {"operate_node": f"{STATE.name}-gpu-0"},
    "return_node": {"operate_node": f"{STATE.name}-gpu-0"},
    "rotate_hf_token": {"workspace_hf_token": "a-token-of-the-hub"},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("bad_input"), wide_ep_allow_restart=True) as made:
        yield made


def refused(site: Deployment, name: str, *told: str, **variables: t.Any) -> None:
    before, lease = site.uids(), site.admin.get_or_none(LEASE)
    run = site.play(name, **variables)
    assert run.code != 0, run.output[-3000:]
    for text in told:
        assert text in run.text, (text, run.output[-3000:])
    assert site.uids() == before
    assert site.admin.get_or_none(LEASE) == lease
    print(f"\n{name} {variables}: {', '.join(told)}; {run.seconds:.1f} s")


@pytest.mark.parametrize("name", RUNBOOKS)
def test_a_deployment_that_is_not_there(site: Deployment, name: str) -> None:
    nowhere = {"wide_ep_namespace": "llm-d-nowhere"}
    code = "ROLLBACK_NOTHING" if name == "rollback" else "DEPLOYMENT_ABSENT"
    refused(site, name, code, "llm-d-nowhere", **RUNBOOKS[name], **nowhere)
    assert site.admin.get_or_none("/api/v1/namespaces/llm-d-nowhere") is None


@contextlib.contextmanager
def labelled(site: Deployment, owner: str | None) -> Iterator[None]:
    path = f"{LWS}/{DECODE}"
    before = site.admin.get(path)["metadata"]["labels"][LABEL]
    site.admin.patch(path, {"metadata": {"labels": {LABEL: owner}}})
    try:
        yield
    finally:
        site.admin.patch(path, {"metadata": {"labels": {LABEL: before}}})


@pytest.mark.parametrize("name", ["status", "restart_group", "upgrade", "drain_node"])
def test_a_deployment_of_someone_else(site: Deployment, name: str) -> None:
    with labelled(site, "another"):
        refused(site, name, "DEPLOYMENT_FOREIGN", DECODE, **RUNBOOKS[name])


@pytest.mark.parametrize("name", ["status", "restart_group", "upgrade"])
def test_half_a_deployment(site: Deployment, name: str) -> None:
    """Another release in the namespace has nothing but a router: here the sets of a name that do not exist."""
    path = (
        f"/apis/apps/v1/namespaces/llm-d-wide-ep/deployments/{site.variables.get('wide_ep_release', 'wide-ep-lws')}-epp"
    )
    kept = site.admin.get(path)
    site.admin.delete(path)
    try:
        refused(site, name, "DEPLOYMENT_PARTIAL", "-epp", "site.yml", **RUNBOOKS[name])
    finally:
        metadata = {key: kept["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}
        site.admin.create(path.rpartition("/")[0], {**kept, "metadata": metadata, "status": None})
        site.succeed("wait")


def test_a_size_that_the_nodes_do_not_carry(site: Deployment) -> None:
    refused(site, "scale", "NO_ROOM", "nvidia.com/gpu", wide_ep_decode_groups=9)


def test_a_group_that_does_not_exist(site: Deployment) -> None:
    refused(site, "restart_group", "RUNBOOK_TARGET", "decode group 1", operate_tier="decode", operate_group=7)


def test_the_last_usable_node_is_not_drained(site: Deployment) -> None:
    used = {pod["spec"]["nodeName"] for pod in site.pods()}
    nodes = [node["metadata"]["name"] for node in site.admin.list("/api/v1/nodes") if "gpu" in node["metadata"]["name"]]
    (spare,) = set(nodes) - used
    path = f"/api/v1/nodes/{spare}"
    site.admin.patch(path, {"spec": {"unschedulable": True}})
    try:
        refused(site, "drain_node", "NO_ROOM", "Nothing was changed", operate_node=sorted(used)[0])
        assert not site.admin.get(f"/api/v1/nodes/{sorted(used)[0]}")["spec"].get("unschedulable")
    finally:
        site.admin.patch(path, {"spec": {"unschedulable": None}})


def test_the_second_of_two_runs_is_told_who_is_at_work(site: Deployment) -> None:
    with site.started("restart_group", **GROUP) as (_process, finished):
        until(lambda: site.admin.get_or_none(LEASE), "the first run has the lock", 90)
        holder = site.admin.get(LEASE)["spec"]["holderIdentity"]
        second = site.play("restart_group", operate_tier="prefill", operate_group=0)
        assert second.code != 0
        for text in ("LOCK_HELD", holder, "s ago", "wide_ep_lock_break=true"):
            assert text in second.text, (text, second.output[-3000:])
        first = finished()
    assert first.code == 0, first.output[-3000:]
    assert site.admin.get_or_none(LEASE) is None


@contextlib.contextmanager
def api_server_away() -> Iterator[None]:
    supervisor = Supervisor(sandbox.Paths(STATE).socket)
    (name,) = [item.name for item in supervisor.programs() if "apiserver" in item.name]
    supervisor.rpc.stopProcess(name)
    try:
        yield
    finally:
        supervisor.rpc.startProcess(name)


def answers(site: Deployment) -> bool:
    with contextlib.suppress(ClientError):
        return site.admin.raw("GET", "/readyz/ping").text == "ok"
    return False


def test_a_cluster_that_goes_away_in_mid_run(site: Deployment) -> None:
    """A short absence is waited out; after a long one the run says so, and running it again finishes the work."""
    before = site.uids()
    with site.started("restart_group", **GROUP) as (_process, finished):
        until(lambda: site.uids().get(f"{DECODE}-0") != before[f"{DECODE}-0"], "the group is deleted", 120)
        with api_server_away():
            time.sleep(15)
        first = finished()
    assert first.code == 0, first.output[-3000:]

    with site.started("restart_group", **GROUP) as (_process, finished):
        until(lambda: site.admin.get_or_none(LEASE), "the run has the lock", 90)
        with api_server_away():
            second = finished()
    assert second.code != 0
    assert "API_UNREACHABLE" in second.text, second.output[-3000:]
    until(lambda: answers(site), "the API server is back", 60)
    third = site.succeed("restart_group", **GROUP)
    assert "lock" in third.text.lower()
    assert site.admin.get_or_none(LEASE) is None
    until(site.whole, "everything is ready", 60)


def test_nothing_of_the_runs_is_left(site: Deployment, tmp_path: Path) -> None:
    assert site.status()[0] == 0
