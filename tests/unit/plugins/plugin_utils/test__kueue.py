# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._quantity import quantity
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _kueue

ROOT = pathlib.Path(__file__).parents[4]
RENDERED = ROOT / "tests" / "data" / "rendered"
NAMES = _kueue.Names("topology", "flavor", "queue")
LABELS = {"wide-ep.llm-d.ai/platform": "true"}
INSTALL = {"action": "install", "reason": "it is not installed", "installed_version": ""}
LWS_FRAMEWORK = "leaderworkerset.x-k8s.io/leaderworkerset"
Object = dict[str, t.Any]


def pod(**requests: str) -> Object:
    return {"containers": [{"resources": {"requests": requests}}]}


def worker_set(size: int = 2, replicas: int = 1, leader: Object | None = None, **requests: str) -> Object:
    template: Object = {"size": size, "workerTemplate": {"spec": pod(**requests)}}
    if leader:
        template["leaderTemplate"] = {"spec": leader}
    metadata = {"name": "decode"}
    spec = {"replicas": replicas, "leaderWorkerTemplate": template}
    return {"kind": "LeaderWorkerSet", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    ("item", "quota"),
    [
        (worker_set(cpu="4", memory="1Gi"), {"cpu": "8", "memory": "2Gi"}),
        (worker_set(size=4, replicas=3, cpu="1"), {"cpu": "12"}),
        (worker_set(size=3, replicas=2, leader=pod(cpu="5"), cpu="1"), {"cpu": "14"}),
        (worker_set(**{"cpu": "1", "networking.gke.io.networks/rdma-0": "0"}), {"cpu": "2"}),
        ({"kind": "ServiceAccount", "metadata": {"name": "x"}}, {}),
    ],
)
def test_quotas(item: Object, quota: Object) -> None:
    assert _kueue.quotas([item], {}) == quota


def test_given_quotas_win() -> None:
    assert _kueue.quotas([worker_set(cpu="1")], {"cpu": 256, "example.com/nic": "4"}) == {
        "cpu": "256",
        "example.com/nic": "4",
    }


def test_the_guide_needs_what_its_documents_say() -> None:
    """32 GPUs, 128 CPUs, 2 TiB of memory, 4 TiB of disk; the zeroed RDMA names of GKE need no quota."""
    items = yaml.safe_load((RENDERED / "gke.yaml").read_text())["items"]
    found = _kueue.quotas(items, {})
    assert {name: found[name] for name in ("nvidia.com/gpu", "ephemeral-storage")} == {
        "nvidia.com/gpu": "32",
        "ephemeral-storage": "4Ti",
    }
    assert quantity(found["cpu"]) >= 128
    assert quantity(found["memory"]) >= 2 * 2**40
    assert not [name for name in found if name.startswith("networking.gke.io")]


SHAPE = {
    "topology_levels": ["example.com/block", "kubernetes.io/hostname"],
    "labels": {"gpu": "true"},
    "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}],
}


def wanted(shape: Object | None = None) -> list[Object]:
    return _kueue.platform_objects(NAMES, shape or SHAPE, {"memory": "2Ti", "cpu": "128"}, "ns", LABELS)


def test_objects_refer_to_each_other_and_cover_every_resource() -> None:
    topology, flavor, queue = wanted()
    assert [level["nodeLabel"] for level in topology["spec"]["levels"]] == SHAPE["topology_levels"]
    assert flavor["spec"]["topologyName"] == topology["metadata"]["name"]
    assert flavor["spec"]["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    (group,) = queue["spec"]["resourceGroups"]
    (used,) = group["flavors"]
    assert used["name"] == flavor["metadata"]["name"]
    assert group["coveredResources"] == [entry["name"] for entry in used["resources"]] == ["cpu", "memory"]
    assert queue["spec"]["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "ns"}}


def test_no_taints_no_tolerations() -> None:
    _topology, flavor, _queue = wanted({**SHAPE, "taints": []})
    assert "tolerations" not in flavor["spec"]


def stored(item: Object, **spec: t.Any) -> Object:
    """As the API server returns it: with more labels and defaults."""
    labels = {**item["metadata"]["labels"], "other": "label"}
    return {**item, "metadata": {**item["metadata"], "labels": labels}, "spec": {**item["spec"], **spec}}


@pytest.mark.parametrize(
    ("index", "spec", "codes"),
    [
        (0, {}, []),
        (0, {"levels": [{"nodeLabel": "kubernetes.io/hostname"}]}, ["KUEUE_OBJECT_IMMUTABLE"]),
        (1, {"nodeTaints": []}, []),
        (1, {"nodeLabels": {"gpu": "false"}}, ["KUEUE_OBJECT_IMMUTABLE"]),
        (1, {"topologyName": "other", "tolerations": []}, ["KUEUE_OBJECT_IMMUTABLE"] * 2),
        (2, {"resourceGroups": []}, []),
    ],
)
def test_immutable_fields_are_findings(index: int, spec: Object, codes: list[str]) -> None:
    old = stored(wanted()[index], **spec)
    assert [finding.code for finding in _kueue.object_findings([old], wanted())] == codes


def test_levels_are_compared_in_their_order() -> None:
    old = stored(wanted()[0], levels=list(reversed(wanted()[0]["spec"]["levels"])))
    (finding,) = _kueue.object_findings([old], wanted())
    assert "levels is kubernetes.io/hostname > example.com/block" in finding.evidence
    assert "kueue_topology and kueue_flavor" in finding.fix


def test_objects_of_others_are_findings() -> None:
    old = {**wanted()[2], "metadata": {"name": "queue"}}
    (finding,) = _kueue.object_findings([old], wanted())
    assert (finding.code, finding.fix) == ("KUEUE_OBJECT_FOREIGN", "Set kueue_cluster_queue to another name.")


def local_queue(target: str) -> Object:
    metadata = {"name": "wide-ep", "namespace": "ns", "labels": {"a": "b"}}
    return {"kind": "LocalQueue", "metadata": metadata, "spec": {"clusterQueue": target}}


def test_local_queue_cannot_change_its_cluster_queue() -> None:
    new, old = local_queue("new"), local_queue("old")
    (finding,) = _kueue.object_findings([old], [new])
    assert finding.code == "KUEUE_OBJECT_IMMUTABLE"
    assert "clusterQueue is old, wanted is new" in finding.evidence


@pytest.mark.parametrize(
    ("name", "level", "codes"),
    [
        ("wide-ep", "example.com/block", []),
        ("default", "example.com/block", ["KUEUE_QUEUE_NAME"]),
        ("wide-ep", "example.com/rack", ["INPUT_COMBINATION"]),
    ],
)
def test_queue_inputs(name: str, level: str, codes: list[str]) -> None:
    assert [finding.code for finding in _kueue.queue_findings(name, SHAPE["topology_levels"], level)] == codes


def controller(
    image: str, release: str = "", *arguments: str, namespace: str = "kueue-system", marked: bool = False
) -> Object:
    notes = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace} if release else {}
    marks = {"wide-ep.llm-d.ai/platform": "true"} if marked else {}
    containers = [{"image": image, "args": list(arguments)}]
    return {
        "metadata": {"name": "controller", "namespace": namespace, "annotations": notes},
        "spec": {"template": {"metadata": {"annotations": marks}, "spec": {"containers": containers}}},
    }


def kueue(version: str, *rest: str, **more: t.Any) -> Object:
    return controller(f"registry.k8s.io/kueue/kueue:v{version}", *rest, **more)


def decide(
    release: Object,
    *deployments: Object,
    crds: t.Sequence[Object] = (),
    configs: t.Sequence[Object] = (),
    **more: t.Any,
) -> t.Any:
    wanted_release = _kueue.Wanted("kueue-system", "kueue", "0.19.2", **more)
    return _kueue.decide(release, deployments, crds, configs, wanted_release)


def own(action: str, version: str) -> Object:
    return {"action": action, "reason": "because", "installed_version": version}


@pytest.mark.parametrize(
    ("release", "deployments", "action"),
    [
        (INSTALL, [], "install"),
        (INSTALL, [controller("registry.k8s.io/lws/lws:v0.9.0")], "install"),
        (INSTALL, [kueue("0.19.2")], "adopt"),
        (INSTALL, [kueue("0.15.0", "cks-kueue")], "adopt"),
        (INSTALL, [kueue("0.20.0")], "adopt"),
        (INSTALL, [kueue("0.14.8")], "refuse"),
        (INSTALL, [kueue("0.13.1")], "refuse"),
        (INSTALL, [controller("registry.example.com/kueue:main")], "refuse"),
        (INSTALL, [kueue("0.19.2", "", "--feature-gates=TopologyAwareScheduling=false")], "refuse"),
        # Helm lost its record, the objects are ours: an installation takes them over.
        (INSTALL, [kueue("0.19.2", "kueue", marked=True)], "install"),
        (own("unchanged", "0.19.2"), [kueue("0.19.2", "kueue", marked=True)], "unchanged"),
        (own("upgrade", "0.19.2"), [kueue("0.19.2", "kueue", marked=True)], "upgrade"),
        # Someone else's release of the same name and chart, as Kueue's documents install it.
        (own("upgrade", "0.19.2"), [kueue("0.19.2", "kueue")], "adopt"),
        (own("upgrade", "0.14.0"), [kueue("0.14.0", "kueue")], "refuse"),
        (own("refuse", "1.3.0"), [kueue("0.16.1", "kueue")], "adopt"),
        (own("upgrade", "0.18.6"), [], "upgrade"),
        (own("recover", "0.19.2"), [], "recover"),
        (own("upgrade", "0.20.1"), [], "adopt"),
    ],
)
def test_decision(release: Object, deployments: list[Object], action: str) -> None:
    decision = decide(release, *deployments)
    assert decision.action == action
    assert bool(decision.as_dict()["text"]) is (action == "refuse")


@pytest.mark.parametrize(
    ("version", "words"),
    [("0.13.9", "Kueue below 0.14: topology-aware scheduling is off"), ("0.14.8", "Kueue 0.14: v1beta2 is not served")],
)
def test_a_refused_version_is_told_with_its_range(version: str, words: str) -> None:
    finding = decide(INSTALL, kueue(version)).finding
    assert words in finding.evidence
    assert finding.fix == "Ask its owner to upgrade it to 0.19.2."


@pytest.mark.parametrize(
    ("version", "length", "groups", "action"),
    [
        ("0.17.8", 39, 1, "adopt"),
        ("0.17.8", 40, 1, "refuse"),
        ("0.17.8", 39, 10, "adopt"),
        ("0.17.8", 39, 11, "refuse"),
        ("0.18.0", 46, 1, "adopt"),
    ],
)
def test_long_names_need_a_newer_version(version: str, length: int, groups: int, action: str) -> None:
    assert decide(INSTALL, kueue(version), names=("x" * length,), groups=groups).action == action


def config(*frameworks: str, namespace: str = "kueue-system") -> Object:
    text = yaml.safe_dump({"integrations": {"frameworks": list(frameworks)}})
    return {"metadata": {"namespace": namespace}, "data": {"controller_manager_config.yaml": text}}


@pytest.mark.parametrize(
    ("configs", "action"),
    [
        ([config("batch/job", LWS_FRAMEWORK)], "adopt"),
        ([config("batch/job")], "refuse"),
        ([config()], "refuse"),
        # Of another controller, or unreadable: nothing is known.
        ([config("batch/job", namespace="other")], "adopt"),
        ([{"metadata": {"namespace": "kueue-system"}, "data": {"other.yaml": ""}}], "adopt"),
    ],
)
def test_a_kueue_that_does_not_manage_the_sets_is_refused(configs: list[Object], action: str) -> None:
    assert decide(INSTALL, kueue("0.19.2"), configs=configs).action == action


def test_crds_without_a_controller_are_not_built_upon() -> None:
    crd = {"metadata": {"name": "clusterqueues.kueue.x-k8s.io"}}
    decision = decide(INSTALL, crds=[crd])
    assert decision.action == "refuse"
    assert "no Kueue controller was found" in decision.reason


OUR_CRD = {"metadata": controller("", "kueue")["metadata"]}


@pytest.mark.parametrize(
    ("deployments", "crds", "ours"),
    [
        ([], [], False),
        ([kueue("0.19.2", "kueue", marked=True)], [OUR_CRD], True),
        ([kueue("0.19.2", "kueue")], [OUR_CRD], False),
        ([kueue("0.19.2", "other", marked=True)], [], False),
        # An uninstallation that was interrupted.
        ([], [OUR_CRD], True),
        ([controller("registry.k8s.io/lws/lws:v0.9.0")], [], False),
    ],
)
def test_whose_kueue_it_is(deployments: list[Object], crds: list[Object], ours: bool) -> None:
    assert _kueue.is_ours(deployments, crds, "kueue-system", "kueue") is ours


def removable(**found: t.Any) -> Object:
    topology, flavor, queue = (stored(item) for item in wanted())
    return {"Topology": [topology], "ResourceFlavor": [flavor], "ClusterQueue": [queue], **found}


def workload(queue: str = "") -> Object:
    status = {"admission": {"clusterQueue": queue}} if queue else {}
    return {"kind": "Workload", "metadata": {"name": "w", "namespace": "ns"}, "status": status}


@pytest.mark.parametrize(
    ("found", "narrow", "whole"),
    [
        ({}, True, True),
        ({"LocalQueue": [local_queue("queue")]}, False, False),
        ({"LocalQueue": [local_queue("other")]}, True, False),
        ({"Workload": [workload("queue")]}, False, False),
        ({"Workload": [workload()]}, True, False),
        ({"Cohort": [{"kind": "Cohort", "metadata": {"name": "theirs"}}]}, True, False),
    ],
)
def test_removal_is_guarded(found: Object, narrow: bool, whole: bool) -> None:
    have = removable(**found)
    assert (not _kueue.removal_findings(have, NAMES, whole=False)) is narrow
    assert (not _kueue.removal_findings(have, NAMES, whole=True)) is whole


def test_objects_go_in_the_order_in_which_their_finalizers_let_them() -> None:
    assert [item["kind"] for item in _kueue.unused(removable(), NAMES, LABELS)] == [
        "ClusterQueue",
        "ResourceFlavor",
        "Topology",
    ]


def test_what_another_queue_uses_stays() -> None:
    _topology, flavor, queue = wanted()
    other = {**queue, "metadata": {"name": "other", "labels": {}}}
    have = removable(ClusterQueue=[stored(queue), other])
    assert [item["kind"] for item in _kueue.unused(have, NAMES, LABELS)] == ["ClusterQueue"]
    sharing = {**flavor, "metadata": {"name": "theirs", "labels": {}}}
    have = removable(ResourceFlavor=[stored(flavor), sharing])
    assert [item["kind"] for item in _kueue.unused(have, NAMES, LABELS)] == ["ClusterQueue", "ResourceFlavor"]


def test_what_is_not_ours_stays() -> None:
    bare = [{**item, "metadata": {"name": item["metadata"]["name"]}} for item in wanted()]
    assert _kueue.unused({item["kind"]: [item] for item in bare}, NAMES, LABELS) == []


@pytest.mark.parametrize(("profile", "overlay"), [("gke", "gke"), ("coreweave", "coreweave")])
def test_nodes_of_the_rehearsal_have_what_the_flavor_asks_for(profile: str, overlay: str) -> None:
    shape = yaml.safe_load((ROOT / "roles/wide_ep/vars/main.yml").read_text())["_wide_ep_node_shapes"][overlay]
    nodes = yaml.safe_load((ROOT / f"roles/rehearsal_cluster/vars/{profile}.yml").read_text())
    node = nodes["_rehearsal_cluster_profile"]["gpu_node"]
    # The kubelet sets its own label.
    levels = set(shape["topology_levels"]) - {"kubernetes.io/hostname"}
    assert levels <= set(node["labels"])
    assert shape["labels"].items() <= node["labels"].items()
    tolerated = {(taint["key"], taint["effect"]) for taint in shape["taints"]}
    assert {(taint["key"], taint["effect"]) for taint in node["taints"]} <= tolerated
