# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._kv_transport import RDMA, TCP, UNKNOWN, ReadingError
from ansible_collections.llmd.wide_ep.plugins.module_utils._pd_observation import Answer, ClientReport, PodState
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _kv_run
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._kv_run import KvSettings, measure, transfers

SETTINGS = KvSettings(bytes_per_token=100, tokens=800, prompts=4, target_ports=(8000, 8001))
NAMES = ("p-0", "p-1", "d-0", "d-1")
PODS = tuple(
    PodState(name, {"p": "prefill", "d": "decode"}[name[0]], {}, f"10.1.0.{n}", "gpu", True, "", (name,))
    for n, name in enumerate(NAMES)
)
EXPECTED = 4 * 200 * 100


class Cluster:
    """Pods with counters that grow with what is asked; ``rate`` is what the pod network carries anyway, a second."""

    def __init__(self) -> None:
        self.clock = 100.0
        self.sent = {name: {"eth0": 5000, "hca": 7000} for name in NAMES}
        self.over: dict[str, dict[str, float]] = {"p-0": {"eth0": 1.0}, "p-1": {"hca": 1.0}}
        self.rate = 0
        self.unreadable: set[str] = set()
        self.asked: list[dict[str, t.Any]] = []
        self.status = 200

    def pass_time(self, seconds: float) -> None:
        self.clock += seconds
        for counters in self.sent.values():
            counters["eth0"] += round(self.rate * seconds)

    def run(self, pod: str) -> str:
        if pod in self.unreadable:
            raise ReadingError("exec: container not found")
        eth0, hca = self.sent[pod]["eth0"], self.sent[pod]["hca"]
        return (
            f"== /proc/uptime\n{self.clock} 1\n== /proc/net/route\nIface\neth0 00000000 0 3 0 0 0 00000000 0 0 0\n"
            f"== /proc/net/dev\n eth0: 1 0 0 0 0 0 0 0 {eth0} 0 0 0 0 0 0 0\n"
            f"== /sys/class/infiniband/mlx5_0/ports/1/counters/port_xmit_data\n{hca}\n"
        )

    def ask(self, jobs: t.Sequence[dict[str, t.Any]]) -> ClientReport:
        self.asked = list(jobs)
        self.pass_time(3)
        answers = []
        for job in jobs:
            for where, share in self.over[job["pod"]].items():
                self.sent[job["pod"]][where] += round(share * 200 * 100 / (4 if where == "hca" else 1))
            answers.append(Answer("completion", self.status, None, "m", 1, "", None, "", None, 0.1, 0, 200, job["pod"]))
        return ClientReport("done", "u", (), None, (), (), tuple(answers), 1.0)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(_kv_run.time, "sleep", made.pass_time)
    return made


def test_each_prefill_pod_is_judged_by_itself(cluster: Cluster) -> None:
    found = measure(PODS, SETTINGS, cluster.run, cluster.ask)
    assert [(one.pod, one.verdict, one.expected) for one in found] == [("p-0", TCP, EXPECTED), ("p-1", RDMA, EXPECTED)]
    assert (found[0].pod_network, found[1].hcas) == (EXPECTED, EXPECTED)


def test_what_the_pod_network_carries_anyway_is_taken_off(cluster: Cluster) -> None:
    cluster.rate = EXPECTED
    assert [one.verdict for one in measure(PODS, SETTINGS, cluster.run, cluster.ask)] == [TCP, RDMA]


def test_a_pod_that_cannot_be_read_is_unknown(cluster: Cluster) -> None:
    cluster.unreadable.add("p-1")
    found = measure(PODS, SETTINGS, cluster.run, cluster.ask)
    assert [(one.verdict, one.reason) for one in found][1] == (UNKNOWN, "exec: container not found")


def test_failed_prompts_carried_nothing(cluster: Cluster) -> None:
    cluster.status = 503
    found = measure(PODS, SETTINGS, cluster.run, cluster.ask)
    assert [(one.verdict, one.expected) for one in found] == [(UNKNOWN, 0)] * 2


@pytest.mark.parametrize("pods", [PODS[:2], PODS[2:], ()])
def test_nothing_is_asked_without_both_tiers(cluster: Cluster, pods: tuple[PodState, ...]) -> None:
    assert measure(pods, SETTINGS, cluster.run, cluster.ask) == ()
    assert cluster.asked == []


def test_transfers_reach_every_prefill_pod_over_all_ports() -> None:
    jobs = transfers(PODS[:2], PODS[2:], SETTINGS)
    assert [(job["pod"], job["prefill"]) for job in jobs[:4]] == [
        ("p-0", f"10.1.0.0:{port}") for port in (8000, 8001, 8000, 8001)
    ]
    assert len({(job["url"], job["pod"]) for job in jobs}) == 4
    assert {job["words"] for job in jobs} == {200}
