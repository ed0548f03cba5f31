# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments with charts, endpoint picker and sidecar of llm-d-router v0.10.0: standalone, behind istio, and changed.

None of them builds from published Go modules, so they are given: LLMD_WIDE_EP_ROUTER_PARTS names a folder with the
charts' sources in `charts/` (with their dependencies in place) and the archives `images/epp.tar` and
`images/sidecar.tar`. Without it the generation is rendered only. Needs the rehearsal cluster
$LLMD_WIDE_EP_TEST_CLUSTER.
"""

from __future__ import annotations

import json
import os
import pathlib
import typing as t
from collections.abc import Iterator

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._observer import Target
from ansible_collections.llmd.wide_ep.plugins.module_utils._waiter import Spec, watch

from ._site import CLUSTER, KUBECONFIG, RELEASE, ROOT, Site

PARTS = pathlib.Path(os.environ.get("LLMD_WIDE_EP_ROUTER_PARTS", ""))
IMAGES = {
    "epp": "ghcr.io/llm-d/llm-d-router-endpoint-picker:v0.10.0",
    "sidecar": "ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.10.0",
}
CHARTS = {"llm_d_router_standalone": "llm-d-router-standalone", "llm_d_router_gateway": "llm-d-router-gateway"}
ROUTER = "playbooks/router.yml"
#: What the rehearsal's inventory says; variables of a run replace a dictionary as a whole.
OWN = yaml.safe_load((ROOT / "inventories/local/group_vars/wide_ep/main.yml").read_text(encoding="utf-8"))

pytestmark = [
    pytest.mark.skipif(not KUBECONFIG.is_file(), reason=f"the rehearsal cluster {CLUSTER} does not exist"),
    pytest.mark.skipif(not (PARTS / "images").is_dir(), reason="llm_d_router: rendered only; there are no parts of it"),
]


def chart(name: str) -> dict[str, str]:
    folder = PARTS / "charts" / name
    described = yaml.safe_load((folder / "Chart.yaml").read_text(encoding="utf-8"))
    return {"ref": str(folder), "version": described["version"]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    variables = {
        "router_generation": "llm_d_router",
        "wide_ep_image_overrides": {**OWN["wide_ep_image_overrides"], **IMAGES},
        "wide_ep_chart_overrides": {**OWN["wide_ep_chart_overrides"], **{k: chart(name) for k, name in CHARTS.items()}},
        "rehearsal_cluster_extra_images": [
            {"name": name, "path": str(PARTS / "images" / f"{key}.tar")} for key, name in IMAGES.items()
        ],
    }
    made = Site(tmp_path_factory.mktemp("generations"), **variables)
    try:
        made.plays("rehearsal_cluster", "lws", "gateway", "workspace", "router", "model_server", "wait")
        yield made
    finally:
        made.remove("model_server", "gateway", "router", "workspace")
        # The pool's CRD goes with it, which is refused while there is a pool.
        made.remove_platform()
        # The registry without the images is another folder.
        made.variables = {}
        made.plays("rehearsal_cluster")


def install(site: Site, **variables: t.Any) -> None:
    site.plays("router", **variables)
    target = Target("apps/v1", "Deployment", site.namespace, f"{RELEASE}-epp")
    last = list(watch(site.client, Spec((target,), timeout=180)))[-1]
    assert last.outcome == "ready", last.line()


def model_servers(site: Site) -> set[str]:
    items = site.client.list(site.path("pods"), {"labelSelector": "leaderworkerset.sigs.k8s.io/name"})
    return {item["metadata"]["uid"] for item in items}


def proof(site: Site, **variables: t.Any) -> dict[str, t.Any]:
    """The proof of the deployment, which fails where requests are not disaggregated."""
    site.plays("verify", **variables)
    newest = max(site.folder.glob("**/verify.json"), key=lambda path: path.stat().st_mtime)
    return t.cast("dict[str, t.Any]", json.loads(newest.read_text(encoding="utf-8"))["data"])


def running(site: Site) -> dict[str, str]:
    """The images of the Deployment, by container."""
    item = site.client.get(site.path("deployments", f"{RELEASE}-epp"))
    return {one["name"]: one["image"].split("/", 1)[1] for one in item["spec"]["template"]["spec"]["containers"]}


def test_requests_are_disaggregated(site: Site) -> None:
    assert running(site)["epp"] == IMAGES["epp"]
    assert set(running(site)) == {"epp", "envoy-proxy"}
    proven = proof(site)
    assert proven["passed"]
    assert proven["decisions"] == f"{proven['answered']} prefill-decode"
    assert site.changed(ROUTER) == 0


def test_a_changed_configuration_restarts_the_endpoint_picker(site: Site) -> None:
    pods = {"labelSelector": f"llm-d-router-gateway={RELEASE}-epp"}
    before = {item["metadata"]["uid"] for item in site.client.list(site.path("pods"), pods)}
    decider = {
        "router_epp_decider": "prefix-based-pd-decider",
        "router_epp_plugin_parameters": {"prefix-based-pd-decider": {"nonCachedTokens": 1, "promptTokens": 1}},
    }
    install(site, **decider)
    assert before.isdisjoint({item["metadata"]["uid"] for item in site.client.list(site.path("pods"), pods)})
    install(site)


def back(site: Site, before: set[str]) -> None:
    """The deployment is again as it was, and nothing of the other is left."""
    install(site)
    assert set(running(site)) == {"epp", "envoy-proxy"}
    configs = {item["metadata"]["name"] for item in site.client.list(site.path("configmaps"))}
    assert len([name for name in configs if name.startswith(f"{RELEASE}-envoy")]) == 1
    assert model_servers(site) == before
    assert proof(site)["passed"]


def test_change_of_generation_and_back_leaves_model_servers_alone(site: Site) -> None:
    before, change = model_servers(site), {"router_generation": "gaie"}
    assert before
    install(site, **change)
    assert set(running(site)) == {"epp", "envoy-sidecar"}
    assert site.changed(ROUTER, **change) == 0
    back(site, before)


@pytest.fixture
def istio(site: Site) -> Iterator[dict[str, str]]:
    """Istio in the cluster, and the variables that send requests through its Gateway."""
    variables = {"wide_ep_router_mode": "gateway", "wide_ep_gateway_provider": "istio"}
    site.plays("gateway", **variables)
    yield variables
    site.remove("gateway")


def test_requests_are_disaggregated_behind_istio(site: Site, istio: dict[str, str]) -> None:
    before = model_servers(site)
    assert before
    site.plays("router", "route", "wait", **istio)
    assert running(site) == {"epp": IMAGES["epp"]}
    proven = proof(site, **istio)
    assert proven["passed"]
    assert "llm-d-inference-gateway" in proven["endpoint"]
    assert site.changed(ROUTER, **istio) == 0
    assert site.changed("playbooks/route.yml", **istio) == 0
    assert model_servers(site) == before
    site.plays("router", "route", "wait")
    back(site, before)
