# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleActionFail

from ansible_collections.llmd.wide_ep.plugins.action import rdma_mesh as action
from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_result as results
from ansible_collections.llmd.wide_ep.plugins.modules import rdma_mesh as documented

ROOT = Path(__file__).parents[4]
OBJECTS = yaml.safe_load((ROOT / "tests/data/rendered/gke.yaml").read_text(encoding="utf-8"))["items"]
ARGUMENTS: dict[str, t.Any] = {
    **{name: option.get("default") for name, option in action.ActionModule.ARGUMENTS.items()},
    "namespace": "n",
    "release": "wide-ep-lws",
    "objects": OBJECTS,
    "hosts": 4,
}


def settings(**changes: t.Any) -> t.Any:
    return action.settings_of({**ARGUMENTS, **changes}, "run", "key")


def test_documentation_and_arguments_agree() -> None:
    options = yaml.safe_load(documented.DOCUMENTATION)["options"]
    shared = {"kubeconfig", "context"}
    assert set(options) == set(action.ActionModule.ARGUMENTS) - shared
    for name, option in options.items():
        mine = action.ActionModule.ARGUMENTS[name]
        for key in ("type", "elements", "choices", "default", "required"):
            assert option.get(key) == mine.get(key), f"{name}: {key}"


def test_settings() -> None:
    made = settings()
    assert (made.hosts, made.image, made.transport) == (4, "ghcr.io/llm-d/llm-d-cuda:v0.7.0", "rdma")
    assert settings(nodes=["a", "b"]).hosts == 2
    assert settings(image="mine:1").image == "mine:1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hosts": 1}, "at least 2 distinct hosts, 1 are asked for"),
        ({"hosts": 0}, "at least 2 distinct hosts"),
        ({"nodes": ["a"]}, "at least 2 distinct hosts"),
        ({"nodes": ["a", "b", "a"]}, "nodes: a occurs twice"),
        ({"plan": {"mode": "ring"}}, "plan.mode is 'ring', known are full and sampled"),
        ({"plan": {"mode": "sampled"}}, "a sample needs at least 2 rounds"),
        ({"plan": {"mode": "sampled", "rounds": 8}, "require": "full_mesh"}, "contradicts a sample"),
        ({"transport": "udp"}, "tells nothing about RDMA"),
        ({"options": {"retry_cnt": 7}}, "options.retry_cnt is 7, possible are 0 to 6"),
        ({"options": {"timeout": 0}}, "options.timeout is 0"),
        ({"options": {"timeout": 32}}, "options.timeout is 32"),
        ({"options": {"traffic_class": 256}}, "options.traffic_class is 256"),
        ({"options": {"sl": 16}}, "options.sl is 16"),
        ({"options": {"flow_label": 0x100000}}, "options.flow_label"),
        ({"options": {"speed": 1}}, "'speed' is unknown to transport rdma"),
        ({"transport": "udp", "accept_ip_only": True, "options": {"sl": 1}}, "'sl' is unknown to transport udp"),
    ],
)
def test_inputs_that_contradict_each_other(changes: dict[str, t.Any], message: str) -> None:
    with pytest.raises(AnsibleActionFail, match=message):
        settings(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"transport": "udp", "accept_ip_only": True},
        {"transport": "udp", "gate": "warn"},
        {"plan": {"mode": "sampled", "rounds": 8}, "require": "full_mesh", "accept_sampled": True},
        {"options": {"sl": 3, "traffic_class": 104, "retry_cnt": 6}},
    ],
)
def test_inputs_that_fit(changes: dict[str, t.Any]) -> None:
    assert settings(**changes).hosts == 4


@pytest.mark.parametrize(
    ("plan", "options", "expected"),
    [
        ({}, {}, (768, 24, 24, 1.0, 0.5)),
        ({}, {"rate_seconds": 0.5}, (768, 24, 24, 1.0, 12.5)),
        ({"mode": "sampled", "rounds": 6}, {}, (192, 6, 24, 0.25, 0.1)),
    ],
)
def test_the_plan(plan: dict[str, t.Any], options: dict[str, t.Any], expected: tuple[t.Any, ...]) -> None:
    found = action.planned(settings(plan=plan, options=options), 8)
    names = ("directed_pairs", "rounds", "least_rounds", "coverage", "seconds")
    assert tuple(found[name] for name in names) == expected


def test_artifacts(tmp_path: Path) -> None:
    hosts = [{"name": name, "gone": "", "nics": [{"name": "x", "state": "ACTIVE"}]} for name in "ab"]
    text = {"schema": 1, "run_id": "r", "transport": "rdma", "hosts": hosts}
    encoded = results.matrix.as_dict(results.matrix.build(["a", "b"], [results.matrix.Nic(0, 0, "x"),
                                     results.matrix.Nic(1, 0, "x")], {"OK": [2, 1]}))  # fmt: skip
    analysis = results.analyze(results.read(json.dumps({**text, "matrix": encoded})))
    data = results.as_dict(analysis)
    paths = action.write_artifacts(tmp_path / "new", analysis, data, "title")
    assert json.loads(Path(paths["json"]).read_text())["verdict"] == "FULL_MESH"
    assert Path(paths["txt"]).read_text() == "a/x  .\nb/x . \n. OK\n"
    assert "<svg" in Path(paths["html"]).read_text()
    shown = dict(action.summary(data, reused=True))
    assert shown["Fabric"] == "FULL_MESH (RDMA), kept from an earlier run"
    assert "deepep_low_latency" in shown["Carries"]


# --- beside model servers ---


def serving(node: str) -> dict[str, t.Any]:
    return {
        "metadata": {"name": f"decode-{node}"},
        "spec": {"nodeName": node, "containers": [{"name": "vllm"}]},
        "status": {"podIP": "10.0.0.1", "phase": "Running"},
    }


def free(name: str) -> dict[str, t.Any]:
    resources = {"nvidia.com/gpu": "8"}
    conditions = [{"type": "Ready", "status": "True"}]
    return {"metadata": {"name": name}, "status": {"conditions": conditions, "allocatable": resources}}


@pytest.mark.parametrize(
    ("changes", "servers", "expected"),
    [
        ({"transport": "rdma"}, "", "pods with devices on 3"),
        ({"transport": "rdma"}, "ab", "processes on a,b and pods on c"),
        ({"transport": "rdma", "in_situ": "always"}, "abc", "processes on a,b,c"),
        ({"transport": "rdma", "in_situ": "never"}, "a", "1 model servers run, among them decode-a"),
        ({"transport": "udp"}, "", "pods with devices on 3"),
        ({"transport": "udp"}, "a", "pods without devices on 3"),
        ({"transport": "udp", "in_situ": "always"}, "abc", "processes on a,b,c"),
    ],
)
def test_nothing_is_taken_from_servers(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, t.Any], servers: str, expected: str
) -> None:
    def pods(_client: t.Any, made: t.Any, *_rest: t.Any) -> tuple[str, dict[int, t.Any]]:
        return f"pods {'with' if made.take_devices else 'without'} devices on {made.hosts}", {}

    def processes(_client: t.Any, parts: t.Any, *_rest: t.Any) -> tuple[str, dict[int, t.Any]]:
        beside = ",".join(place.node for place in parts.places)
        return f"processes on {beside}" + (f" and pods on {','.join(parts.job.nodes)}" if parts.job else ""), {}

    monkeypatch.setattr(action.runs, "probe", pods)
    monkeypatch.setattr(action.situ, "probe", processes)
    asked = {**ARGUMENTS, "hosts": 3, "accept_ip_only": True, **changes}
    nodes = [free(name) for name in "abc"]
    known = action.Known(nodes, None, action.kept.Choice(), [serving(name) for name in servers])
    made = action.settings_of(asked, "run", "key")
    try:
        found, _absent = action.ActionModule._probed(t.cast(t.Any, None), asked, made, {}, known)
    except action.runs.RunError as error:
        found = str(error)
    assert found.startswith(expected)
