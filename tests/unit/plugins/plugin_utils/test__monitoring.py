# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import itertools
import typing as t

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.module_utils._plan import build_plan
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _monitoring

from ..._collection import ROOT

GUIDE = {"llm-d.ai/guide": "wide-ep-lws"}
OPERATOR = [("monitoring.coreos.com/v1", "PodMonitor"), ("monitoring.coreos.com/v1", "PrometheusRule")]
GKE = [("monitoring.googleapis.com/v1", "PodMonitoring"), ("monitoring.googleapis.com/v1", "Rules")]


def plan(**inputs: t.Any) -> dict[str, t.Any]:
    base: dict[str, t.Any] = dict.fromkeys(("model", "overlay", "router_mode", "gateway_provider"), "x")
    base |= {"release": "wide-ep-lws", "namespace": "ns", "components": [], "redundant_experts": 32}
    base |= {"load_balancing": "hybrid"}
    for role in ("prefill", "decode"):
        base |= {f"{role}_groups": 1, f"{role}_hosts_per_group": 2, f"{role}_ranks_per_host": 8}
        base |= {f"{role}_all2all_backend": "naive"}
    return build_plan({**base, **inputs}).as_dict()


def served(kinds: t.Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"apiVersion": version, "kind": kind} for version, kind in kinds]


@pytest.mark.parametrize(
    ("kinds", "asked", "absent", "action", "kind"),
    [
        (OPERATOR, "auto", "fail", "apply", "prometheus_operator"),
        (GKE, "auto", "fail", "apply", "gke"),
        (OPERATOR + GKE, "auto", "fail", "apply", "prometheus_operator"),
        (OPERATOR + GKE, "gke", "fail", "apply", "gke"),
        # A half of one kind is none of it.
        (OPERATOR[:1], "auto", "fail", "refuse", ""),
        (OPERATOR[:1] + GKE, "auto", "fail", "apply", "gke"),
        (OPERATOR[1:] + GKE[1:], "auto", "skip", "skip", ""),
        (OPERATOR, "gke", "fail", "refuse", ""),
        (OPERATOR, "gke", "skip", "skip", ""),
        ([], "auto", "fail", "refuse", ""),
        ([], "auto", "skip", "skip", ""),
    ],
)
def test_decide(kinds: list[tuple[str, str]], asked: str, absent: str, action: str, kind: str) -> None:
    decision = _monitoring.decide(served(kinds), asked, absent)
    assert (decision.action, decision.kind) == (action, kind)
    assert bool(decision.as_dict()["text"]) == (action == "refuse")


def test_a_refusal_names_what_is_missing_and_both_ways_out() -> None:
    text = _monitoring.decide(served(OPERATOR[:1]), "prometheus_operator", "fail").as_dict()["text"]
    flat = " ".join(text.split())
    assert "does not serve PrometheusRule of monitoring.coreos.com/v1" in flat
    assert "PodMonitor of" not in flat
    assert "kube-prometheus-stack" in flat
    assert "monitoring_absent: skip" in flat


@given(st.sets(st.sampled_from(OPERATOR + GKE)), st.sampled_from(["auto", "prometheus_operator", "gke"]))
def test_what_is_applied_is_served_whole(kinds: set[tuple[str, str]], asked: str) -> None:
    decision = _monitoring.decide(served(kinds), asked, "fail")
    if decision.action == "apply":
        version, *rest = _monitoring.KINDS[decision.kind]
        assert {(version, kind) for kind in rest} <= kinds
        assert asked in ("auto", decision.kind)
    else:
        assert decision.action == "refuse"


def test_the_role_probes_and_removes_every_kind() -> None:
    variables = yaml.safe_load((ROOT / "roles" / "monitoring" / "vars" / "main.yml").read_text(encoding="utf-8"))
    pairs = {(version, kind) for version, *kinds in _monitoring.KINDS.values() for kind in kinds}
    assert {(item["apiVersion"], item["kind"]) for item in variables["_monitoring_probes"]} == pairs
    removed = {(item["apiVersion"], item["kind"]) for item in variables["_monitoring_removed"]}
    assert removed == pairs | {("v1", "ConfigMap")}
    assert set(variables["_monitoring_rights"]) == set(_monitoring.KINDS)


@pytest.mark.parametrize("kind", sorted(_monitoring.KINDS))
def test_the_role_removes_every_object_that_it_makes(kind: str) -> None:
    variables = yaml.safe_load((ROOT / "roles" / "monitoring" / "vars" / "main.yml").read_text(encoding="utf-8"))
    given_names = {"{{ wide_ep_release }}": "wide-ep-lws"}
    removed = set()
    for item in variables["_monitoring_removed"]:
        name = item["metadata"]["name"]
        for expression, value in given_names.items():
            name = name.replace(expression, value)
        removed.add((item["kind"], name))
    scraped = _monitoring.targets(plan(), GUIDE, router="inferencepool")
    made = _monitoring.objects(kind, scraped, [], plan(), interval="30s", labels={})
    made.append(_monitoring.config_map(plan(), {}, {}))
    assert {(item["kind"], item["metadata"]["name"]) for item in made} <= removed


def test_targets_of_hybrid_load_balancing() -> None:
    prefill, decode, router = _monitoring.targets(plan(), GUIDE, router="inferencepool")
    assert (prefill.name, decode.name, router.name) == ("prefill", "decode", "wide-ep-lws-epp")
    assert prefill.ports == decode.ports == ("modelserver",)
    wanted = {**GUIDE, "llm-d.ai/role": "decode", "wide-ep.llm-d.ai/deployment": "wide-ep-lws"}
    assert decode.match == wanted
    assert router.match == {"inferencepool": "wide-ep-lws-epp"}


def test_targets_of_multi_port_load_balancing() -> None:
    several = plan(load_balancing="multi_port", prefill_ranks_per_host=4)
    prefill, decode = _monitoring.targets(several, GUIDE, router="")
    assert prefill.ports == ("rank0", "rank1", "rank2", "rank3")
    # rank0 to rank7 of a decode pod are its sidecar's ports.
    assert decode.ports == tuple(f"vllm-rank{n}" for n in range(8))


def test_pod_monitor() -> None:
    decode = _monitoring.targets(plan(), GUIDE, router="")[1]
    spec = _monitoring.pod_monitor_spec(decode, "15s")
    (endpoint,) = spec["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["interval"]) == ("modelserver", "15s")
    taken = {one["targetLabel"]: one["sourceLabels"] for one in endpoint["relabelings"]}
    assert taken["role"] == ["__meta_kubernetes_pod_label_llm_d_ai_role"]
    assert taken["group"] == ["__meta_kubernetes_pod_label_leaderworkerset_sigs_k8s_io_group_index"]
    assert taken["release"] == ["__meta_kubernetes_pod_label_wide_ep_llm_d_ai_deployment"]


def test_pod_monitoring() -> None:
    decode = _monitoring.targets(plan(load_balancing="multi_port"), GUIDE, router="")[1]
    spec = _monitoring.pod_monitoring_spec(decode, "15s")
    assert [one["port"] for one in spec["endpoints"]] == [f"vllm-rank{n}" for n in range(8)]
    assert {"from": "llm-d.ai/role", "to": "role"} in spec["targetLabels"]["fromPod"]
    assert "pod" in spec["targetLabels"]["metadata"]


@pytest.mark.parametrize("kind", sorted(_monitoring.KINDS))
def test_objects_are_the_deployment_s(kind: str) -> None:
    scraped = _monitoring.targets(plan(), GUIDE, router="inferencepool")
    made = _monitoring.objects(kind, scraped, [{"name": "g"}], plan(), interval="30s", labels={"release": "stack"})
    assert len(made) == 4
    for item in made:
        assert item["metadata"]["namespace"] == "ns"
        assert item["metadata"]["labels"] == {"release": "stack", "wide-ep.llm-d.ai/deployment": "wide-ep-lws"}
        assert item["apiVersion"] == _monitoring.KINDS[kind][0]
    assert made[-1]["spec"] == {"groups": [{"name": "g"}]}


SOURCE: dict[str, t.Any] = {
    "groups": [
        {
            "name": "g",
            "rules": [
                {"record": "r", "expr": "a{@own@}"},
                {
                    "alert": "A",
                    "expr": "b{@router@} < @decode_endpoints@",
                    "labels": {"severity": "warning"},
                    "annotations": {"summary": "{{ $labels.pod }} of @release@"},
                },
            ],
        },
        {"name": "h", "rules": [{"alert": "B", "expr": "c", "labels": {}, "annotations": {}}]},
    ]
}


def test_rule_groups() -> None:
    groups = _monitoring.rule_groups(SOURCE, plan(decode_groups=3), {}, runbook="page.md", off=["B"])
    assert [group["name"] for group in groups] == ["g"]
    record, alert = groups[0]["rules"]
    assert record == {"record": "r", "expr": 'a{namespace="ns",release="wide-ep-lws"}'}
    assert alert["expr"] == 'b{namespace="ns",router="wide-ep-lws-epp"} < 6'
    assert alert["labels"] == {"namespace": "ns", "release": "wide-ep-lws", "severity": "warning"}
    assert alert["annotations"] == {"summary": "{{ $labels.pod }} of wide-ep-lws", "runbook_url": "page.md#a"}


def test_each_rank_is_an_endpoint_with_multi_port_load_balancing() -> None:
    several = plan(load_balancing="multi_port")
    groups = _monitoring.rule_groups(SOURCE, several, {}, runbook="")
    assert groups[0]["rules"][1]["expr"].endswith(" < 16")


def test_an_alert_that_does_not_exist_cannot_be_switched_off() -> None:
    with pytest.raises(ValueError, match=r"no such alert: C; there are A, B"):
        _monitoring.rule_groups(SOURCE, plan(), {}, runbook="", off=["C"])


def test_a_word_without_a_value_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        _monitoring.filled({"a": ["@unknown@"]}, {"known": 1})


def pod(
    name: str, labels: dict[str, str], ports: t.Iterable[str], container: str = "vllm", args: t.Iterable[str] = ()
) -> dict[str, t.Any]:
    named = [{"name": port, "containerPort": 1} for port in ports]
    sidecar = {"name": "routing-proxy", "ports": [{"name": "rank0", "containerPort": 1}]}
    spec = {"initContainers": [sidecar], "containers": [{"name": container, "ports": named, "args": list(args)}]}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


DECODE = {**GUIDE, "llm-d.ai/role": "decode", "wide-ep.llm-d.ai/deployment": "wide-ep-lws"}
ROUTER = {"inferencepool": "wide-ep-lws-epp"}


@pytest.mark.parametrize(
    ("pods", "codes"),
    [
        ([], []),
        ([pod("d-0", DECODE, ["modelserver", "nixl"])], []),
        ([pod("d-0", DECODE, ["rank0", "rank1"])], ["MONITOR_PORT_MISSING"]),
        ([pod("x", {"app": "other"}, [])], []),
        ([pod("epp", ROUTER, ["metrics"], "epp", ["--metrics-endpoint-auth=false"])], []),
        ([pod("epp", ROUTER, ["metrics"], "epp", ["--pool-name"])], ["ROUTER_METRICS_CLOSED"]),
        ([pod("epp", ROUTER, ["grpc"], "epp")], ["MONITOR_PORT_MISSING", "ROUTER_METRICS_CLOSED"]),
    ],
)
def test_problems(pods: list[dict[str, t.Any]], codes: list[str]) -> None:
    scraped = _monitoring.targets(plan(), GUIDE, router="inferencepool")
    assert [finding.code for finding in _monitoring.problems(scraped, pods)] == codes


def test_a_problem_names_pods_and_their_ports() -> None:
    scraped = _monitoring.targets(plan(), GUIDE, router="")
    pods = [pod("d-0", DECODE, ["vllm-rank0"]), pod("d-0-1", DECODE, ["vllm-rank0"])]
    (finding,) = _monitoring.problems(scraped, pods)
    assert "container vllm of d-0, d-0-1 has no port modelserver; its ports: vllm-rank0" in finding.evidence
    assert "wide_ep_load_balancing" in finding.fix


RENDERED = sorted((ROOT / "tests" / "data" / "rendered").glob("*.yaml"))


@pytest.mark.parametrize("path", RENDERED, ids=lambda path: path.stem)
def test_the_rendered_model_servers_have_what_the_monitors_select(path: t.Any) -> None:
    """Each tier's monitor selects its set's pods and finds its ports on them."""
    items = yaml.safe_load(path.read_text(encoding="utf-8"))["items"]
    sets = {item["metadata"]["labels"]["llm-d.ai/role"]: item for item in items if item["kind"] == "LeaderWorkerSet"}
    template = {role: lws["spec"]["leaderWorkerTemplate"]["workerTemplate"] for role, lws in sets.items()}
    pods = [
        {"metadata": {"name": role, **template[role]["metadata"]}, "spec": template[role]["spec"]} for role in template
    ]
    ranks = {
        role: next(
            int(one["value"])
            for container in template[role]["spec"]["containers"]
            for one in container["env"]
            if one["name"] == "DP_SIZE_LOCAL"
        )
        for role in template
    }
    ports = {port["name"] for one in template["decode"]["spec"]["containers"] for port in one["ports"]}
    balancing = "hybrid" if "modelserver" in ports else "multi_port"
    of_file = plan(load_balancing=balancing, **{f"{role}_ranks_per_host": ranks[role] for role in ranks})
    scraped = _monitoring.targets(of_file, GUIDE, router="")
    assert [finding.text() for finding in _monitoring.problems(scraped, pods)] == []
    for target, one in itertools.product(scraped, pods):
        selected = one["metadata"]["labels"].items() >= target.match.items()
        assert selected == (target.name == one["metadata"]["name"])
