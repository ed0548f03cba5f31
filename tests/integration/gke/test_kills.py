# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that are killed at each of the operations and run again: the same end, and nothing created twice."""

from __future__ import annotations

import contextlib
import json
import pathlib
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from _harness import CLUSTER, GPU, NETWORK, Bench, Json, bench
from gke_standin.server import Fault

from ansible_collections.llmd.wide_ep.plugins.module_utils import _gke_auth

SITE = {"gke_network": NETWORK, "gke_cluster": CLUSTER, "gke_node_pool": GPU}
# Module -> the number of its creations.
CREATIONS = {"gke_network": 16, "gke_cluster": 1, "gke_node_pool": 1}
RUN = pathlib.Path(__file__).with_name("_run_module.py")


class Killed(BaseException):
    """Ends a run in this process at once, as far as that goes."""


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Json]:
    """Module -> the state after an undisturbed run of it and of what it needs."""
    result = {}
    with bench(tmp_path_factory.mktemp("undisturbed")) as made:
        for name, given in SITE.items():
            made.good(name, given)
            result[name] = made.state()
    return result


def before(site: Bench, name: str) -> None:
    for needed, given in SITE.items():
        if needed == name:
            return
        site.good(needed, given)


def killed_process(site: Bench, name: str, fault: Fault) -> None:
    """The module in a process that the stand-in kills: no handler and no clean-up runs."""
    arguments = {"ANSIBLE_MODULE_ARGS": site.arguments(name, SITE[name])}
    process = subprocess.Popen(
        [sys.executable, str(RUN), name], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    fault.hook = process.kill
    site.stand_in.faults = [fault]
    process.communicate(json.dumps(arguments["ANSIBLE_MODULE_ARGS"]).encode(), timeout=60)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("name", "at"),
    [(name, at) for name, count in CREATIONS.items() for at in range(count)],
    ids=str,
)
def test_killed_at_a_creation(site: Bench, ends: dict[str, Json], name: str, at: int) -> None:
    """The call was carried out, its answer was never read."""
    before(site, name)
    killed_process(site, name, Fault(r".*\.(insert|create)", skip=at))
    assert site.good(name, SITE[name])["changed"] is (at + 1 < CREATIONS[name])
    assert site.state() == ends[name]
    assert len(site.created()) == len(set(site.created()))


@pytest.mark.parametrize(
    ("name", "at"), [("gke_network", 0), ("gke_network", 9), ("gke_cluster", 1), ("gke_node_pool", 1)]
)
def test_killed_while_it_waits(site: Bench, ends: dict[str, Json], name: str, at: int) -> None:
    before(site, name)
    site.stand_in.faults = []
    killed_process(site, name, Fault(r".*[oO]perations\.get", skip=at))
    site.good(name, SITE[name])
    assert site.state() == ends[name]
    assert len(site.created()) == len(set(site.created()))


def end_at(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Raise after the ``count``-th request, whichever it is."""
    send, left = _gke_auth.send, iter(range(count, -1, -1))

    def counted(*args: object) -> object:
        answer = send(*args)  # type: ignore[arg-type]
        if next(left, 0) == 0:
            raise Killed
        return answer

    monkeypatch.setattr(_gke_auth, "send", counted)


@pytest.mark.parametrize("name", SITE)
@pytest.mark.parametrize("state", ["present", "absent"])
def test_ended_at_every_request(tmp_path: pathlib.Path, ends: dict[str, Json], name: str, state: str) -> None:
    """At each request of a creation and of a removal, from the first to the last."""
    total = None
    step = 5 if name == "gke_network" else 1
    at = 0
    while total is None or at < total:
        with bench(tmp_path) as site:
            before(site, name)
            if state == "absent":
                site.good(name, SITE[name])
            given = {**SITE[name], "state": state}
            with pytest.MonkeyPatch.context() as patch:
                end_at(patch, at)
                try:
                    site.run(name, given)
                    total = at
                except Killed:
                    pass
            site.good(name, given)
            if state == "present":
                assert site.state() == ends[name]
            assert len(site.created()) == len(set(site.created()))
            assert len(site.cloud.deleted) == len(set(site.cloud.deleted))
            assert state == "present" or not site.good(name, given, check=True)["changed"]
        at += step
    assert total is not None
    assert total >= 3


@pytest.mark.parametrize("at", range(14))
def test_ended_during_updates(site: Bench, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Several changes of a pool; whatever was done is not done again."""
    site.build(pool=True)
    given = {**GPU, "labels": {"team": "a"}, "node_count": 5}
    with pytest.MonkeyPatch.context() as patch:
        end_at(patch, at)
        with contextlib.suppress(Killed):
            site.run("gke_node_pool", given)
    site.good("gke_node_pool", given)
    assert not site.good("gke_node_pool", given)["changed"]
    assert len(site.stand_in.writes()) == 2
