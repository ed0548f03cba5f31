# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's Prometheus on a deployed site: every target gives series, and prefill scaled to 0 raises its alert.

Needs the rehearsal cluster $LLMD_WIDE_EP_TEST_CLUSTER with the scenario full, empty or with the site on it.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client, ClientError, load_client

from ._operator import Definitions, Prometheus, wait

ROOT = pathlib.Path(__file__).resolve().parents[3]
CACHE = pathlib.Path(
    os.environ.get("LLMD_WIDE_EP_CACHE")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "llmd-wide-ep"
)
CLUSTER = os.environ.get("LLMD_WIDE_EP_TEST_CLUSTER", "test")
ACCESS = CACHE / "clusters" / CLUSTER
NAMESPACE, RELEASE = "llm-d-wide-ep", "wide-ep-lws"
PREFILL = f"/apis/leaderworkerset.x-k8s.io/v1/namespaces/{NAMESPACE}/leaderworkersets/{RELEASE}-nvidia-gpu-vllm-prefill"
PROMPTS = f"/api/v1/namespaces/{NAMESPACE}/services/{RELEASE}-epp:80/proxy/v1/completions"
UNUSED, INCOMPLETE = ("WideEPPrefillTierUnused", ""), ("WideEPTierIncomplete", "prefill")
# The rules of the role, with windows that fit a test.
VARIABLES = {
    "wide_ep_components": ["rehearsal", "monitoring"],
    "monitoring_interval": "5s",
    "monitoring_window": "1m",
    "monitoring_for": "15s",
    "monitoring_thresholds": {"incomplete_for": "15s"},
}

pytestmark = pytest.mark.skipif(not ACCESS.is_dir(), reason=f"the rehearsal cluster {CLUSTER} does not exist")


def play(playbook: str) -> None:
    inventories = ["-i", "inventories/local", "-i", "tests/inventory"]
    command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), playbook, *inventories]
    run = subprocess.run(
        [*command, "-e", json.dumps(VARIABLES)],
        cwd=ROOT,
        env={**os.environ, "LLMD_WIDE_EP_TEST_CLUSTER": CLUSTER},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]


@pytest.fixture(scope="module")
def client() -> Client:
    return load_client(str(ACCESS / "deployer.kubeconfig"))


@pytest.fixture(scope="module")
def platform() -> Client:
    return load_client(str(ACCESS / "platform.kubeconfig"))


@pytest.fixture(scope="module")
def site(client: Client, platform: Client) -> Iterator[None]:
    """The guide with its monitoring; what was deployed here is removed again."""
    definitions = Definitions(platform, CACHE / "manifests" / "full.json")
    definitions.install()
    deployed = client.discover("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet") and client.get_or_none(PREFILL)
    play("site.yml")
    yield
    if not deployed:
        play("playbooks/cleanup.yml")
    definitions.remove()


@pytest.fixture(scope="module")
def traffic(site: None, client: Client) -> Iterator[None]:
    """A distinct prompt every half second; what becomes of it is not this test's matter."""
    done = threading.Event()

    def ask() -> None:
        number = 0
        while not done.wait(0.5):
            number += 1
            body = {"model": "deepseek-ai/DeepSeek-R1-0528", "prompt": f"{number} ways to bake bread", "max_tokens": 8}
            try:
                client.raw("POST", PROMPTS, body=body, timeout=10)
            except ClientError:
                continue

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    yield
    done.set()
    thread.join(30)


@pytest.fixture(scope="module")
def prometheus(traffic: None, platform: Client) -> Iterator[Prometheus]:
    """Started when monitors and rules are there: later changes reach its pod only with the kubelet's next look."""
    server = Prometheus(platform)
    server.start()
    yield server
    server.stop()


def test_every_target_gives_series(prometheus: Prometheus) -> None:
    def up() -> bool:
        targets = prometheus.api("targets", state="active")["activeTargets"]
        return len(targets) == 5 and all(target["health"] == "up" for target in targets)

    wait("two decode pods, two prefill pods and the endpoint picker are scraped", up, seconds=90)
    found = prometheus.query('count by (namespace, release, role) (vllm:num_requests_running{pod!="",group="0"})')
    labels = {(one["metric"]["release"], one["metric"]["role"], one["value"][1]) for one in found}
    assert labels == {(RELEASE, "decode", "2"), (RELEASE, "prefill", "2")}
    assert prometheus.query(f'inference_pool_ready_pods{{namespace="{NAMESPACE}",router="{RELEASE}-epp"}}')


def test_rules_evaluate(prometheus: Prometheus) -> None:
    wait(
        "all rules are evaluated",
        lambda: prometheus.rules() and all(rule["health"] != "unknown" for rule in prometheus.rules()),
        seconds=60,
    )
    assert {rule["name"]: rule.get("lastError") for rule in prometheus.rules() if rule["health"] != "ok"} == {}


def test_a_healthy_site_raises_nothing(prometheus: Prometheus) -> None:
    """For longer than a window and the time that an alert must last."""
    evaluations = "count by (role) (count_over_time(wide_ep:rank_requests_started:increase[2m]) >= 18)"

    def long_enough() -> bool:
        return {one["metric"]["role"] for one in prometheus.query(evaluations)} == {"prefill", "decode"}

    wait("both tiers serve for 90 seconds", long_enough, seconds=150)
    assert prometheus.query("sum by (role) (wide_ep:rank_requests_started:increase) == 0") == []
    assert prometheus.query('max by (alertname, role) (max_over_time(ALERTS{alertstate="firing"}[2m]))') == []


def test_prefill_scaled_to_0_raises_its_alert_and_back_ends_it(prometheus: Prometheus, client: Client) -> None:
    groups = client.get(PREFILL)["spec"]["replicas"]
    assert groups > 0
    client.patch(PREFILL, {"spec": {"replicas": 0}})
    try:
        wait("prefill tier unused", lambda: UNUSED in prometheus.firing(), seconds=240)
        assert INCOMPLETE in prometheus.firing()
        fired = next(one for one in prometheus.alerts() if one["labels"]["alertname"] == UNUSED[0])
        assert fired["labels"]["namespace"] == NAMESPACE
        assert "the prefill pods none" in fired["annotations"]["description"]
    finally:
        client.patch(PREFILL, {"spec": {"replicas": groups}})
    wait("the alerts end", lambda: not prometheus.firing() & {UNUSED, INCOMPLETE}, seconds=240)
