# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _platform

CRD = "roles/gateway/files/crds/inference.networking.k8s.io_inferencepools.yaml"
ANNOTATION = "inference.networking.k8s.io/bundle-version"
INSTALL = {"action": "install", "reason": "it is not installed", "installed_version": ""}


def controller(image: str, release: str = "", namespace: str = "lws-system", **labels: str) -> dict[str, t.Any]:
    notes = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace} if release else {}
    return {
        "metadata": {"name": "lws-controller-manager", "namespace": namespace, "annotations": notes, "labels": labels},
        "spec": {"template": {"spec": {"containers": [{"image": image}]}}},
    }


def decide(
    release: dict[str, str], *deployments: t.Any, crds: t.Sequence[t.Any] = (), **given: bool
) -> _platform.Decision:
    return _platform.decide_lws(
        release,
        deployments,
        crds,
        namespace="lws-system",
        release_name="lws",
        version="0.9.0",
        minimum="0.7.0",
        **given,
    )


def own(action: str, version: str) -> dict[str, str]:
    return {"action": action, "reason": "because", "installed_version": version}


@pytest.mark.parametrize(
    ("release", "deployments", "action"),
    [
        (INSTALL, [], "install"),
        (INSTALL, [controller("registry.k8s.io/lws/lws:v0.9.0")], "adopt"),
        (INSTALL, [controller("registry.k8s.io/lws/lws:v0.7.0", "other")], "adopt"),
        (INSTALL, [controller("registry.k8s.io/lws/lws:v0.6.1")], "refuse"),
        (INSTALL, [controller("registry.example.com:5000/lws:main")], "refuse"),
        (INSTALL, [controller("lws@sha256:00", **{"app.kubernetes.io/version": "v0.8.0"})], "adopt"),
        # Helm lost its record, the objects are ours: an installation takes them over.
        (INSTALL, [controller("registry.k8s.io/lws/lws:v0.9.0", "lws")], "install"),
        (own("unchanged", "0.9.0"), [controller("registry.k8s.io/lws/lws:v0.9.0", "lws")], "unchanged"),
        (own("upgrade", "0.9.0"), [], "upgrade"),
        (own("recover", "0.9.0"), [], "recover"),
        (own("upgrade", "0.10.0"), [], "adopt"),
        (own("upgrade", "0.8.0"), [], "refuse"),
        (own("upgrade", "0.7.0"), [], "refuse"),
        (own("recover", "0.7.0"), [], "refuse"),
    ],
)
def test_lws(release: dict[str, str], deployments: list[t.Any], action: str) -> None:
    decision = decide(release, *deployments)
    assert decision.action == action
    assert bool(decision.as_dict()["text"]) is (action == "refuse")


def test_upgrade_of_a_chart_that_owns_the_crd_tells_the_safe_way() -> None:
    finding = decide(own("upgrade", "0.7.0")).finding
    assert finding
    assert "deletes every LeaderWorkerSet" in finding.evidence
    assert "-e lws_upgrade=true" in finding.fix
    assert "helm.sh/resource-policy=keep" in finding.fix


@pytest.mark.parametrize(
    ("release", "given", "action"),
    [
        (own("upgrade", "0.7.0"), {"upgrade": True, "crds_applied": True}, "upgrade"),
        (own("upgrade", "0.8.0"), {"upgrade": True, "crds_applied": True}, "upgrade"),
        (own("recover", "0.8.0"), {"upgrade": True, "crds_applied": True}, "recover"),
        # Without the controller nobody knows whose CRDs they are.
        (own("recover", "0.7.0"), {"upgrade": True, "crds_applied": False}, "refuse"),
        (own("upgrade", "0.7.0"), {"upgrade": False, "crds_applied": True}, "refuse"),
        (own("upgrade", "0.10.0"), {"upgrade": True, "crds_applied": True}, "adopt"),
    ],
)
def test_upgrade_that_was_asked_for(release: dict[str, str], given: dict[str, bool], action: str) -> None:
    assert decide(release, **given).action == action


OURS = {"meta.helm.sh/release-name": "lws", "meta.helm.sh/release-namespace": "lws-system"}
LEFT = {"metadata": {"name": "leaderworkersets.leaderworkerset.x-k8s.io"}}
LEFT_BY_US = {"metadata": {**LEFT["metadata"], "annotations": OURS}}
LEFT_BY_OTHERS = {"metadata": {**LEFT["metadata"], "annotations": {**OURS, "meta.helm.sh/release-name": "other"}}}


@pytest.mark.parametrize(
    ("deployments", "crds", "upgrade", "due"),
    [
        ([controller("lws:v0.7.0", "lws")], [LEFT_BY_US], True, "LWS 0.7.0 becomes 0.9.0"),
        ([controller("lws:v0.7.0", "lws")], [LEFT_BY_US], False, ""),
        ([controller("lws:v0.9.0", "lws")], [LEFT], True, ""),
        ([controller("lws:v0.10.0", "lws")], [LEFT], True, ""),
        ([controller("lws:v0.9.0", "lws")], [], False, "the CRD of LWS v0.9.0 is gone"),
        ([controller("lws:v0.10.0", "lws")], [], True, ""),
        ([controller("lws:v0.9.0", "other")], [], True, ""),
        # The chart's label counts, not what somebody set the image to.
        ([controller("lws:v0.9.0", "lws", **{"helm.sh/chart": "lws-0.8.0"})], [LEFT], True, "LWS 0.8.0 becomes 0.9.0"),
        ([controller("lws:v0.7.0", "other")], [LEFT_BY_OTHERS], True, ""),
        ([controller("lws:v0.7.0")], [LEFT], True, ""),
        ([], [], True, ""),
        ([], [LEFT], False, "earlier installation"),
        ([], [LEFT_BY_US], False, "earlier installation"),
        ([], [LEFT_BY_OTHERS], False, ""),
    ],
)
def test_crds_due(deployments: list[t.Any], crds: list[t.Any], upgrade: bool, due: str) -> None:
    found = _platform.lws_crds_due(
        deployments, crds, namespace="lws-system", release_name="lws", version="0.9.0", upgrade=upgrade
    )
    assert due.removeprefix("LWS ") in found
    assert bool(found) is bool(due)


@pytest.mark.parametrize(
    ("chart", "version", "owns"),
    [("lws-0.7.0", "0.7.0", True), ("lws-0.6.1", "0.6.1", True), ("lws-0.8.0", "0.8.0", False), ("", "v0.7.0", True)],
)
def test_chart(chart: str, version: str, owns: bool) -> None:
    labels = {"helm.sh/chart": chart} if chart else {}
    found = [controller("lws:v0.7.0", "other"), controller("lws:v0.7.0", "lws", **labels)]
    told = _platform.lws_chart(found, namespace="lws-system", release_name="lws")
    assert told == {"version": version, "owns_crd": owns}
    assert _platform.lws_chart(found[:1], namespace="lws-system", release_name="lws")["owns_crd"] is False


def changed(spec: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    return [{"metadata": {"name": "sets"}, "spec": spec}]


WANTED = changed({"group": "g", "versions": [{"name": "v1", "schema": {"a": {"type": "string"}}}]})


@pytest.mark.parametrize(
    ("found", "difference"),
    [
        (WANTED, ""),
        # The API server fills in defaults.
        (changed({**WANTED[0]["spec"], "preserveUnknownFields": False}), ""),
        ([], "sets is not there"),
        (
            changed({"group": "g", "versions": [{"name": "v1", "schema": {}}]}),
            "sets differs at spec.versions[0].schema.a",
        ),
        (changed({"group": "g", "versions": []}), "sets differs at spec.versions"),
        (changed({"group": "h", "versions": WANTED[0]["spec"]["versions"]}), "sets differs at spec.group"),
        ([{"metadata": {"name": "sets"}}], "sets differs at spec"),
    ],
)
def test_crd_difference(found: list[t.Any], difference: str) -> None:
    assert _platform.crd_difference(found, WANTED) == difference


def test_crd_of_a_release_without_controller_is_not_built_upon() -> None:
    notes = {"meta.helm.sh/release-name": "other", "meta.helm.sh/release-namespace": "elsewhere"}
    crd = {"metadata": {"name": "leaderworkersets.leaderworkerset.x-k8s.io", "annotations": notes}}
    assert decide(INSTALL, crds=[crd]).action == "refuse"
    assert decide(INSTALL, crds=[{"metadata": {"name": "x"}}]).action == "install"


@pytest.fixture(scope="module")
def wanted() -> dict[str, t.Any]:
    path = pathlib.Path(__file__).parents[4] / CRD
    return t.cast("dict[str, t.Any]", yaml.safe_load(path.read_text(encoding="utf-8")))


def crd(version: str, *, ours: bool = False, serves: tuple[str, ...] = ("v1",)) -> dict[str, t.Any]:
    labels = {"wide-ep.llm-d.ai/platform": "true"} if ours else {}
    return {
        "metadata": {"annotations": {ANNOTATION: version} if version else {}, "labels": labels},
        "spec": {"versions": [{"name": name, "served": True} for name in serves]},
    }


@pytest.mark.parametrize(
    ("existing", "action"),
    [
        (None, "apply"),
        (crd("v1.5.0"), "keep"),
        (crd("v1.0.0"), "keep"),
        (crd(""), "keep"),
        (crd("v1.4.0", ours=True), "apply"),
        (crd("v1.5.0", ours=True), "keep"),
        (crd("v1.10.0", ours=True), "keep"),
        (crd("v0.5.1", serves=("v1alpha2",)), "refuse"),
    ],
)
def test_crd(wanted: dict[str, t.Any], existing: t.Any, action: str) -> None:
    assert _platform.decide_crd(existing, wanted, ANNOTATION).action == action


def test_vendored_crd_is_what_its_file_says(wanted: dict[str, t.Any]) -> None:
    assert wanted["metadata"]["name"] == "inferencepools.inference.networking.k8s.io"
    assert wanted["metadata"]["annotations"][ANNOTATION] == "v1.5.0"
