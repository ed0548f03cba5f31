# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What breaks under load: what the operator sees meanwhile, and what recovers without a command.

Needs root and the rehearsal cluster $LLMD_WIDE_EP_TEST_CLUSTER (playbooks/rehearsal_cluster.yml). Prints a table.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _deployment import DECODE, KUBECONFIG, STATE, Deployment, deployed, is_ready, until

from ansible_collections.llmd.wide_ep.plugins.module_utils import _rehearsal_sandbox as sandbox
from ansible_collections.llmd.wide_ep.plugins.module_utils._rehearsal_supervisor import Supervisor

#: A start takes its time, as loading a model does, so that there is something to see meanwhile.
START_SECONDS = 20
VICTIM, SPARE = f"{DECODE}-0", f"{DECODE}-1"
SIMULATOR, SIDECAR = "llm-d-inference-sim", "--enable-prefiller-sampling"

pytestmark = [
    pytest.mark.skipif(not KUBECONFIG.is_file(), reason="the rehearsal cluster does not exist"),
    pytest.mark.skipif(os.geteuid() != 0, reason="killing processes of pods needs root"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    delay = {"STAND_IN_START_DELAY_SECONDS": str(START_SECONDS)}
    with deployed(tmp_path_factory.mktemp("recovery"), model_server_environment=delay) as made:
        yield made


def kill_server(site: Deployment) -> None:
    site.kill(VICTIM, SIMULATOR)


def kill_sidecar(site: Deployment) -> None:
    site.kill(VICTIM, SIDECAR)


def delete_pod(site: Deployment) -> None:
    site.client.delete(f"/api/v1/namespaces/llm-d-wide-ep/pods/{VICTIM}")


def told(status: dict[str, t.Any], code: str) -> str:
    found = [f"{item['subject']}: {item['evidence']}" for item in status["findings"] if item["code"] == code]
    assert found, status
    return "; ".join(found)


def report(what: str, seen: str, seconds: float, figures: dict[str, t.Any]) -> None:
    row = {key: figures[key] for key in ("sent", "failed", "bad_seconds", "reduced_seconds", "lowest")}
    print(f"\n{what} | status: {seen} | whole again after {seconds:.1f} s | {row}")


@pytest.mark.parametrize("fault", [kill_server, kill_sidecar, delete_pod])
def test_a_group_comes_back_without_a_command(site: Deployment, fault: Callable[[Deployment], None]) -> None:
    before, began = site.uids(), time.time()
    fault(site)
    until(lambda: not site.whole(), "the group is broken", 30)

    code, status = site.status()
    assert code != 0
    seen = told(status, "DEPLOYMENT_UNHEALTHY")
    assert VICTIM in seen
    assert "decode group 0" in seen
    assert "decode group 1" not in seen

    until(site.whole, "the group is back", 180)
    ended = time.time()
    after = site.uids()
    assert after[VICTIM] != before[VICTIM]
    assert {name: uid for name, uid in after.items() if name != VICTIM} == {
        name: uid for name, uid in before.items() if name != VICTIM
    }
    assert site.status()[0] == 0
    figures = site.figures(began, ended + 2)
    report(fault.__name__, seen, ended - began, figures)
    # Once the endpoint picker knows, the other group serves all. Until then one request in two may meet the dead one.
    assert figures["bad_seconds"] <= 10, figures
    assert figures["lowest"] == "decode 8 of 16", figures
    assert figures["reduced_seconds"] >= START_SECONDS / 2, figures


@contextlib.contextmanager
def node_down(site: Deployment, node: str) -> Iterator[None]:
    """As when its power fails: kubelet and runtime are gone, and so is every process in its pods."""
    supervisor = Supervisor(sandbox.Paths(STATE).socket)
    programs = [item.name for item in supervisor.programs() if node in item.name]
    assert programs
    for name in programs:
        supervisor.rpc.stopProcess(name)
    for pod in site.admin.list("/api/v1/pods", {"fieldSelector": f"spec.nodeName={node}"}):
        end_pod(pod["metadata"]["uid"])
    try:
        yield
    finally:
        for name in programs:
            with contextlib.suppress(Exception):
                supervisor.rpc.startProcess(name)


def end_pod(uid: str) -> None:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if uid in (folder / "cgroup").read_text(encoding="utf-8").replace("_", "-"):
                os.kill(int(folder.name), signal.SIGKILL)


def test_a_group_moves_when_its_node_is_gone(site: Deployment) -> None:
    """The pods of a dead node stay until its Node object goes, which a cloud deletes; then the group moves alone."""
    pod = site.pod(VICTIM)
    assert pod is not None
    node, began = pod["spec"]["nodeName"], time.time()
    with node_down(site, node):

        def broken() -> bool:
            found = site.pod(VICTIM)
            return found is None or not is_ready(found)

        noticed = until(broken, "the cluster notices", 120)
        code, status = site.status()
        assert code != 0
        seen = told(status, "DEPLOYMENT_UNHEALTHY")
        assert f"node {node} is not Ready" in seen, seen

        site.admin.delete(f"/api/v1/nodes/{node}")
        moved = until(site.whole, "the group has moved", 240)
        ended = time.time()
        placed = site.pod(VICTIM)
        assert placed is not None
        assert placed["spec"]["nodeName"] != node
        assert site.status()[0] == 0
        figures = site.figures(began, ended + 2)
        report(
            f"node gone, noticed after {noticed:.1f} s, Node deleted, moved in {moved:.1f} s",
            seen,
            ended - began,
            figures,
        )
    until(lambda: site.admin.get_or_none(f"/api/v1/nodes/{node}"), "the node is back", 120)
