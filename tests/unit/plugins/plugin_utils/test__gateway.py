# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _gateway

ROOT = pathlib.Path(__file__).resolve().parents[4]
ROLE = ROOT / "roles" / "gateway"
VARS = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
PROVIDERS = VARS["_gateway_providers"]
API_ROWS = VARS["_gateway_api_rows"]
POOL_ROWS = VARS["_gateway_pool_rows"]
OURS = {"wide-ep.llm-d.ai/platform": "true"}
POOL, API = "inference.networking.k8s.io/bundle-version", "gateway.networking.k8s.io/bundle-version"


def asked(**given: t.Any) -> _gateway.Asked:
    provider = given.pop("provider", "istio")
    base = _gateway.Asked(provider, "internal", "", PROVIDERS[provider]["classes"], 600)
    return dataclasses.replace(base, **given)


@pytest.mark.parametrize(
    ("given", "codes"),
    [
        ({}, []),
        ({"provider": "gke"}, []),
        ({"provider": "gke", "gateway_class": "gke-l7-rilb"}, []),
        ({"provider": "gke", "exposure": "external", "gateway_class": "gke-l7-regional-external-managed"}, []),
        ({"provider": "gke", "gateway_class": "gke-l7-regional-external-managed"}, ["GATEWAY_CLASS"]),
        ({"provider": "gke", "exposure": "external", "gateway_class": "gke-l7-rilb"}, ["GATEWAY_CLASS"]),
        ({"provider": "gke", "gateway_class": "istio"}, ["GATEWAY_CLASS"]),
        ({"gateway_class": "gke-l7-rilb"}, ["GATEWAY_CLASS"]),
        ({"gateway_class": "istio-internal"}, []),
        ({"provider": "agentgateway", "gateway_class": "gke-l7-gxlb"}, ["GATEWAY_CLASS"]),
        ({"request_timeout": 0}, ["GATEWAY_TIMEOUT"]),
        ({"request_timeout": 86400}, []),
        ({"request_timeout": 86401}, ["GATEWAY_TIMEOUT"]),
    ],
)
def test_inputs(given: dict[str, t.Any], codes: list[str]) -> None:
    assert [finding.code for finding in _gateway.input_findings(asked(**given))] == codes


def test_an_external_gateway_is_announced() -> None:
    assert _gateway.exposure_notice(asked()) == []
    (notice,) = _gateway.exposure_notice(asked(exposure="external"))
    assert (notice.code, notice.severity) == ("GATEWAY_EXPOSED", "warning")
    assert "neither TLS nor authentication" in notice.text()


def crd(row: t.Mapping[str, t.Any], bundle: str = "", served: bool = True, ours: bool = False) -> dict[str, t.Any]:
    return {
        "kind": "CustomResourceDefinition",
        "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {
            "name": row["name"],
            "annotations": {row["annotation"]: bundle or row["bundle"]},
            "labels": OURS if ours else {},
        },
        "spec": {"versions": [{"name": "v1", "served": served}]},
    }


GATEWAYS = next(row for row in API_ROWS if row["name"].startswith("gateways."))
OPTIONAL = next(row for row in API_ROWS if not row["required"])


@pytest.mark.parametrize(
    ("existing", "applied", "codes"),
    [
        pytest.param([], len(API_ROWS) + 1, [], id="empty cluster"),
        pytest.param([crd(row, ours=True) for row in API_ROWS + POOL_ROWS], 0, [], id="ours, up to date"),
        pytest.param([crd(row, "v1.4.0", ours=True) for row in API_ROWS + POOL_ROWS], 9, [], id="ours, older"),
        pytest.param([crd(row, "v9.0.0", ours=True) for row in API_ROWS + POOL_ROWS], 0, [], id="ours, newer"),
        pytest.param([crd(row, ours=True) for row in API_ROWS if row is not OPTIONAL], 2, [], id="ours, one is gone"),
        pytest.param([crd(row) for row in API_ROWS], 1, [], id="the owner's, whole: only the pool"),
        pytest.param([crd(row, "v1.2.1") for row in API_ROWS if row is not OPTIONAL], 1, [], id="bundles stay unmixed"),
        pytest.param(
            [crd(row) for row in API_ROWS if row is not GATEWAYS], 1, ["CRD_TOO_OLD"], id="required one lacks"
        ),
        pytest.param([crd(row, served=row is not GATEWAYS) for row in API_ROWS], 1, ["CRD_TOO_OLD"], id="v1 unserved"),
        pytest.param([crd(POOL_ROWS[0], "v1.0.0")], len(API_ROWS), [], id="the owner's pool is left alone"),
    ],
)
def test_crds(existing: list[dict[str, t.Any]], applied: int, codes: list[str]) -> None:
    plan = _gateway.plan_crds(existing, [*POOL_ROWS, *API_ROWS])
    assert len(plan.apply) == applied, plan
    assert [finding.code for finding in plan.findings] == codes


@pytest.mark.parametrize("row", API_ROWS + POOL_ROWS, ids=lambda row: row["name"])
def test_shipped_crds_are_what_the_table_says(row: dict[str, t.Any]) -> None:
    plural, _dot, group = row["name"].partition(".")
    shipped = yaml.safe_load((ROLE / "files" / "crds" / f"{group}_{plural}.yaml").read_text())
    assert shipped["metadata"]["name"] == row["name"]
    assert shipped["metadata"]["annotations"][row["annotation"]] == row["bundle"]
    assert {"name": "v1", "served": True}.items() <= shipped["spec"]["versions"][0].items()


def test_every_shipped_crd_has_a_row() -> None:
    names = {yaml.safe_load(path.read_text())["metadata"]["name"] for path in (ROLE / "files" / "crds").iterdir()}
    assert names == {row["name"] for row in API_ROWS + POOL_ROWS}


def test_gke_on_another_cluster_names_what_is_lacking() -> None:
    gke = PROVIDERS["gke"]
    have = [{"metadata": {"name": query["name"]}} for query in gke["crds"].values()]
    assert _gateway.provider_findings(have, gke) == []
    (finding,) = _gateway.provider_findings(have[:3], gke)
    assert finding.code == "GATEWAY_PROVIDER"
    assert "healthcheckpolicies.networking.gke.io, gcpbackendpolicies.networking.gke.io" in finding.evidence
    assert "--gateway-api=standard" in finding.fix


FLAG = PROVIDERS["istio"]["flag"]
WANTED = _gateway.Controller("istio", FLAG, "pilot.env", "1.29.2")
INSTALL = {"action": "install", "reason": "it is not installed", "installed_version": ""}


def controller(image: str = "docker.io/istio/pilot:1.29.2", ours: bool = False, **env: str) -> dict[str, t.Any]:
    container = {"image": image, "env": [{"name": name, "value": value} for name, value in env.items()]}
    return {
        "kind": "Deployment",
        "metadata": {"name": "istiod", "namespace": "istio-system"},
        "spec": {"template": {"metadata": {"annotations": OURS if ours else {}}, "spec": {"containers": [container]}}},
    }


@pytest.mark.parametrize(
    ("release", "found", "action"),
    [
        (INSTALL, [], "install"),
        (INSTALL, [controller(**{FLAG: "true"})], "adopt"),
        (INSTALL, [controller(**{FLAG: "false"})], "refuse"),
        (INSTALL, [controller()], "refuse"),
        (INSTALL, [controller("docker.io/istio/pilot:1.27.9", **{FLAG: "true"})], "refuse"),
        (INSTALL, [controller("mirror:5000/istio/pilot@sha256:00", **{FLAG: "true"})], "adopt"),
        # The name of the release says nothing: this one is somebody's mesh.
        ({"action": "upgrade", "reason": "", "installed_version": "1.28.0"}, [controller(**{FLAG: "true"})], "adopt"),
        ({"action": "upgrade", "reason": "", "installed_version": "1.28.0"}, [controller(ours=True)], "upgrade"),
        ({"action": "upgrade", "reason": "", "installed_version": "1.30.0"}, [controller(ours=True)], "adopt"),
        ({"action": "unchanged", "reason": "", "installed_version": "1.29.2"}, [controller(ours=True)], "unchanged"),
        ({"action": "recover", "reason": "", "installed_version": "1.29.2"}, [], "recover"),
    ],
)
def test_controller(release: dict[str, str], found: list[t.Any], action: str) -> None:
    decision = _gateway.decide_controller(release, found, WANTED)
    assert decision.action == action, decision
    assert (decision.finding is not None) is (action == "refuse")


def test_a_controller_without_the_flag_is_refused_with_the_setting() -> None:
    text = _gateway.decide_controller(INSTALL, [controller()], WANTED).as_dict()["text"]
    assert "GATEWAY_CONTROLLER" in text
    assert f"without {FLAG}=true" in " ".join(text.split())


CLASSES = [
    {"metadata": {"name": "istio"}, "spec": {"controllerName": "istio.io/gateway-controller"}},
    {"metadata": {"name": "gke-l7-rilb"}, "spec": {"controllerName": "networking.gke.io/gateway"}},
]


@pytest.mark.parametrize(
    ("name", "provider", "words"),
    [
        ("istio", "istio", None),
        ("gke-l7-rilb", "gke", None),
        ("agentgateway", "agentgateway", "gke-l7-rilb, istio"),
        ("gke-l7-regional-external-managed", "gke", "--gateway-api=standard"),
        ("istio", "agentgateway", "istio.io/gateway-controller"),
    ],
)
def test_class(name: str, provider: str, words: str | None) -> None:
    found = _gateway.class_findings(CLASSES, name, provider, PROVIDERS[provider]["controller"])
    assert [finding.code for finding in found] == (["GATEWAY_CLASS"] if words else [])
    assert not words or words in found[0].text(1000)


def obj(kind: str, name: str = "r", release: str = "r", **spec: t.Any) -> dict[str, t.Any]:
    labels = {"wide-ep.llm-d.ai/deployment": release} if release else {}
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "n", "labels": labels, "uid": "u"},
        "spec": spec,
    }


GATEWAY, ROUTE = obj("Gateway", "g", gatewayClassName="istio"), obj("HTTPRoute", parentRefs=[{"name": "g"}])
TIMED = obj("HTTPRoute", parentRefs=[{"name": "g"}], rules=[{"timeouts": {"request": "300s"}}])


@pytest.mark.parametrize(
    ("found", "provider", "codes"),
    [
        ([], "istio", []),
        ([GATEWAY, ROUTE], "istio", []),
        ([obj("Gateway", "g", release="other"), ROUTE], "istio", ["GATEWAY_OBJECT_FOREIGN"]),
        ([GATEWAY, obj("HTTPRoute", release="")], "istio", ["GATEWAY_OBJECT_FOREIGN"]),
        ([obj("Gateway", "another", release="")], "istio", []),
        ([TIMED], "istio", []),
        ([TIMED], "gke", ["GATEWAY_TIMEOUT"]),
        ([obj("HTTPRoute", "x", release="", parentRefs=[{"name": "g"}], rules=[{"timeouts": {}}])], "gke", []),
        ([obj("HTTPRoute", "x", "", parentRefs=[{"name": "h"}], rules=[{"timeouts": {"request": "1s"}}])], "gke", []),
    ],
)
def test_objects(found: list[t.Any], provider: str, codes: list[str]) -> None:
    findings = _gateway.object_findings(found, [GATEWAY, ROUTE], "r", provider)
    assert [finding.code for finding in findings] == codes


@pytest.mark.parametrize(
    ("found", "wanted", "gone"),
    [
        ([], [GATEWAY, ROUTE], []),
        ([GATEWAY, ROUTE], [GATEWAY, ROUTE], []),
        # The Gateway goes last: what refers to it goes before.
        ([GATEWAY, ROUTE, obj("DestinationRule", "r-epp")], [], ["DestinationRule r-epp", "HTTPRoute r", "Gateway g"]),
        ([GATEWAY, obj("Gateway", "mine", release=""), obj("HTTPRoute", "x", release="other")], [], ["Gateway g"]),
        ([GATEWAY, ROUTE], [obj("Gateway", "g", gatewayClassName="agentgateway"), ROUTE], ["Gateway g"]),
    ],
)
def test_unwanted(found: list[t.Any], wanted: list[t.Any], gone: list[str]) -> None:
    left = _gateway.unwanted(found, wanted, "r")
    assert [f"{item['kind']} {item['metadata']['name']}" for item in left] == gone
    assert all(item["metadata"].keys() == {"name", "namespace"} for item in left)


def platform(**given: t.Any) -> dict[str, t.Any]:
    queries = {**VARS["_gateway_pool_crds"], **VARS["_gateway_api_crds"], **VARS["_gateway_platform_queries"]}
    return {name: {"served": True, "resources": given.get(name, [])} for name in queries}


def istio_crd(release: str) -> dict[str, t.Any]:
    notes = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "istio-system"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{release}.networking.istio.io", "annotations": notes},
        "spec": {
            "group": "networking.istio.io",
            "names": {"kind": "DestinationRule"},
            "versions": [{"name": "v1alpha3", "served": False}, {"name": "v1", "served": True}],
        },
    }


NAMESPACE = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "istio-system", "labels": OURS}}
FOREIGN_NAMESPACE = {**NAMESPACE, "metadata": {"name": "istio-system"}}


@pytest.mark.parametrize(
    ("found", "providers", "namespaces", "crds"),
    [
        ({}, (), (), []),
        ({"istio_controllers": [controller(ours=True)], "istio_namespace": [NAMESPACE]}, ("istio",), ("istio",), []),
        # A removal that was interrupted: the controller is gone, its namespace is not.
        (
            {"istio_namespace": [NAMESPACE], "istio_crds": [istio_crd("istio-base"), istio_crd("base")]},
            ("istio",),
            ("istio",),
            ["istio-base.networking.istio.io"],
        ),
        ({"istio_controllers": [controller(ours=True)], "istio_namespace": [FOREIGN_NAMESPACE]}, ("istio",), (), []),
        (
            {
                "istio_controllers": [controller()],
                "istio_namespace": [NAMESPACE],
                "istio_crds": [istio_crd("istio-base")],
            },
            (),
            (),
            [],
        ),
        (
            {"gateways": [crd(GATEWAYS)], "inferencepools": [crd(POOL_ROWS[0], ours=True)]},
            (),
            (),
            [POOL_ROWS[0]["name"]],
        ),
    ],
)
def test_what_goes_with_the_platform(
    found: dict[str, t.Any], providers: tuple[str, ...], namespaces: tuple[str, ...], crds: list[str]
) -> None:
    removal = _gateway.plan_removal(platform(**found), PROVIDERS)
    assert (removal.providers, removal.namespaces) == (providers, namespaces)
    assert [item["metadata"]["name"] for item in removal.crds] == crds


def test_queries_ask_for_a_served_version() -> None:
    assert _gateway.crd_queries([istio_crd("istio-base")]) == {
        "istio-base.networking.istio.io": {"api_version": "networking.istio.io/v1", "kind": "DestinationRule"}
    }


@pytest.mark.parametrize(
    ("found", "codes"),
    [
        ({}, []),
        ({"gateways.x": {"resources": []}}, []),
        ({"gateways.x": {"resources": [GATEWAY]}}, ["GATEWAY_IN_USE"]),
        ({"others.x": {"resources": [GATEWAY]}}, []),
        ({"gatewayclasses.gateway.networking.k8s.io": {"resources": [obj("GatewayClass", "istio")]}}, []),
    ],
)
def test_removal_of_what_is_in_use(found: dict[str, t.Any], codes: list[str]) -> None:
    ours = ["gateways.x", "gatewayclasses.gateway.networking.k8s.io"]
    findings = _gateway.removal_findings(found, ours)
    assert [finding.code for finding in findings] == codes
    assert not findings or "Gateway n/g" in findings[0].evidence


def test_leftovers_are_the_controller_s_own() -> None:
    certificate = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "istio-ca-root-cert", "namespace": "x"},
    }
    classes = [{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", **item} for item in CLASSES]
    found = {"classes": {"resources": classes}, "certificates": {"resources": [certificate]}}
    assert [_gateway.title(item) for item in _gateway.leftovers(found, "istio", "istio.io/")] == [
        "GatewayClass istio",
        "ConfigMap x/istio-ca-root-cert",
    ]
    assert _gateway.leftovers(found, "agentgateway", "agentgateway.dev/") == []
