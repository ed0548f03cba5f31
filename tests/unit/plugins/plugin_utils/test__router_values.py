# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _router_values

ROLE = pathlib.Path(__file__).parents[4] / "roles" / "router"
FORMS = [(generation, mode) for generation in _router_values.GENERATIONS for mode in _router_values.MODES]


def nested(path: str, value: t.Any) -> dict[str, t.Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    return t.cast("dict[str, t.Any]", value)


def judge(path: str, value: t.Any, generation: str, mode: str = "standalone") -> list[str]:
    return [one.text() for one in _router_values.judge(nested(path, value), generation, mode)]


def keys_of(generation: str) -> frozenset[str]:
    return frozenset().union(*(_router_values.KEYS[generation, mode] for mode in _router_values.MODES))


def one_line(texts: list[str]) -> str:
    return " ".join(" ".join(texts).split())


@pytest.mark.parametrize(
    ("path", "value", "generation", "mode"),
    [
        ("inferenceExtension.affinity", {"nodeAffinity": {}}, "gaie", "standalone"),
        ("inferenceExtension.flags", {"kv-cache": 1}, "gaie", "gateway"),
        ("inferenceExtension.replicas", 1, "gaie", "standalone"),
        ("inferenceExtension.image.pullPolicy", "Always", "gaie", "standalone"),
        ("inferenceExtension.sidecar", {}, "gaie", "standalone"),
        ("inferenceExtension.sidecar.configMap.data", {"envoy.yaml": "x"}, "gaie", "standalone"),
        ("inferenceExtension.monitoring.prometheus.auth.secretName", "x", "gaie", "standalone"),
        ("inferenceObjectives", [], "gaie", "gateway"),
        ("router.epp.podAnnotations", {"a": "b"}, "llm_d_router", "standalone"),
        ("router.epp.flags", {"secure-serving": False}, "llm_d_router", "gateway"),
        ("router.epp.env", [{"name": "OTHER", "value": "x"}], "llm_d_router", "gateway"),
        ("router.proxy.failOpen", False, "llm_d_router", "standalone"),
        ("router.proxy.mode", "sidecar", "llm_d_router", "standalone"),
        ("router.inferencePool.create", True, "llm_d_router", "gateway"),
    ],
)
def test_accepted(path: str, value: t.Any, generation: str, mode: str) -> None:
    assert judge(path, value, generation, mode) == []


@pytest.mark.parametrize(
    ("path", "value", "generation", "mode", "words"),
    [
        # Of the other generation.
        ("inferenceExtension.affinity", {}, "llm_d_router", "standalone", "Use router.epp.affinity instead"),
        ("inferencePool.modelServerType", "vllm", "llm_d_router", "standalone", "generation gaie"),
        ("experimentalHttpRoute.enabled", True, "llm_d_router", "gateway", "role gateway"),
        ("inferencePool.targetPorts", [], "llm_d_router", "gateway", "Set wide_ep_load_balancing instead"),
        ("router.clusterDomain", "x", "gaie", "gateway", "set router_generation to llm_d_router"),
        ("router.epp.affinity", {}, "gaie", "standalone", "generation llm_d_router"),
        ("router.proxy.failOpen", True, "gaie", "standalone", "generation llm_d_router"),
        # Of the other mode.
        ("router.proxy.args", [], "llm_d_router", "gateway", "it belongs to mode standalone"),
        ("inferenceExtension.sidecar.args", [], "gaie", "gateway", "it belongs to mode standalone"),
        ("httpRoute.create", True, "llm_d_router", "standalone", "it belongs to mode gateway"),
        ("inferenceExtension.failureMode", "FailOpen", "gaie", "standalone", "it belongs to mode gateway"),
        # Of none.
        ("inferenceExtension.image.hub", "x", "gaie", "standalone", "do not know it"),
        ("router.epp.afinity", {}, "llm_d_router", "standalone", "Did you mean router.epp.affinity?"),
        ("router.epp", "text", "llm_d_router", "standalone", "Give the keys"),
        # With a variable of its own, or made by another role.
        ("inferenceExtension.image.tag", "main", "gaie", "standalone", "wide_ep_image_overrides.epp"),
        ("router.epp.image.tag", "main", "llm_d_router", "gateway", "wide_ep_image_overrides.epp"),
        ("router.proxy.image", "x", "llm_d_router", "standalone", "wide_ep_image_overrides.envoy"),
        ("router.epp.pluginsCustomConfig", {"x": "y"}, "llm_d_router", "standalone", "router_epp_profiles"),
        ("router.epp.pluginsConfigFile", "default-plugins.yaml", "llm_d_router", "standalone", "holds the hash"),
        ("router.proxy.configMap.name", "envoy", "llm_d_router", "standalone", "two of them fit one namespace"),
        ("router.proxy.volumes", [], "llm_d_router", "standalone", "configMap.data"),
        ("router.modelServers.targetPorts", [], "llm_d_router", "standalone", "wide_ep_load_balancing"),
        ("router.modelServers.matchLabels", {}, "llm_d_router", "standalone", "Leave it out"),
        ("router.inferencePool.failureMode", "FailClosed", "llm_d_router", "standalone", "router_failure_mode"),
        ("httpRoute.create", True, "llm_d_router", "gateway", "role gateway"),
        ("provider.name", "gke", "gaie", "gateway", "role gateway"),
        # What breaks the release.
        ("router.epp.replicas", 2, "llm_d_router", "standalone", "never become ready"),
        ("router.epp.extProcPort", 9102, "llm_d_router", "standalone", "Leave it at 9002"),
        ("router.epp.env", [{"name": "POD_NAME", "value": "x"}], "llm_d_router", "standalone", "there twice"),
        ("inferenceExtension.flags", {"secure-serving": False}, "gaie", "standalone", "kaito #1983"),
        ("inferenceExtension.flags", {"secure-serving": "false"}, "gaie", "standalone", "kaito #1983"),
        ("inferenceObjectives", [{"name": "x"}], "gaie", "gateway", "nil pointer"),
        ("inferenceExtension.endpointsServer.createInferencePool", False, "gaie", "standalone", "Leave it true"),
        ("router.inferencePool.create", False, "llm_d_router", "gateway", "Leave it true"),
        ("router.modelServers.type", "sglang", "llm_d_router", "standalone", "Leave it at vllm"),
        ("router.proxy.mode", "service", "llm_d_router", "standalone", "Leave it at sidecar"),
        ("router.proxy.proxyType", "agentgateway", "llm_d_router", "standalone", "Leave it at envoy"),
    ],
)
def test_refused(path: str, value: t.Any, generation: str, mode: str, words: str) -> None:
    texts = judge(path, value, generation, mode)
    assert len(texts) == 1
    assert words in one_line(texts)


def test_all_are_told_at_once() -> None:
    values = {"router": {"epp": {"replicas": 2, "afinity": {}}}, "inferencePool": {"targetPorts": [], "parser": ""}}
    assert [one.code for one in _router_values.judge(values, "llm_d_router", "standalone")] == ["ROUTER_VALUE"] * 4


@pytest.mark.parametrize(("old", "new"), _router_values.COUNTERPARTS)
def test_counterparts_exist_on_both_sides(old: str, new: str) -> None:
    for generation, path in (("gaie", old), ("llm_d_router", new)):
        assert any(
            path == key or key.startswith(f"{path}.") or path.startswith(f"{key}.") for key in keys_of(generation)
        )


@pytest.mark.parametrize(
    ("path", "generation", "expected"),
    [
        ("inferenceExtension.monitoring.prometheus.enabled", "llm_d_router", "router.monitoring.prometheus.enabled"),
        ("inferenceExtension.tolerations", "llm_d_router", "router.epp.tolerations"),
        ("router.proxy.args", "gaie", "inferenceExtension.sidecar.args"),
        ("router.epp.image.tag", "gaie", "inferenceExtension.image.tag"),
        ("httpRoute.create", "gaie", "experimentalHttpRoute.enabled"),
        ("router.clusterDomain", "gaie", ""),
    ],
)
def test_counterpart(path: str, generation: str, expected: str) -> None:
    assert _router_values.counterpart(path, generation) == expected


@pytest.mark.parametrize("rule", _router_values.RULES, ids=lambda rule: "|".join(rule.paths.values()))
def test_rules_are_about_keys_that_the_charts_know(rule: _router_values.Rule) -> None:
    for generation, path in rule.paths.items():
        assert any(path == key or key.startswith(f"{path}.") for key in keys_of(generation))


def own_values(generation: str, mode: str) -> list[dict[str, t.Any]]:
    variables = yaml.safe_load((ROLE / "vars" / f"{generation}.yml").read_text(encoding="utf-8"))
    return [variables["_router_common_values"], variables["_router_mode_values"][mode]]


@pytest.mark.parametrize(("generation", "mode"), FORMS)
def test_charts_know_every_value_of_the_role(generation: str, mode: str) -> None:
    known = _router_values.KEYS[generation, mode]
    assert [_router_values.unknown_paths(values, known) for values in own_values(generation, mode)] == [[], []]


@pytest.mark.parametrize("mode", _router_values.MODES)
def test_both_generations_are_given_the_same(mode: str) -> None:
    """Each value of one has its counterpart in the other, except where a generation lacks the key."""

    def leaves(values: dict[str, t.Any], prefix: str = "") -> set[str]:
        found: set[str] = set()
        for key, value in values.items():
            path = f"{prefix}{key}"
            found |= {path} if path in known or not isinstance(value, dict) else leaves(value, f"{path}.")
        return found

    paths = {}
    for generation in _router_values.GENERATIONS:
        known = _router_values.KEYS[generation, mode] - {"httpRoute", "experimentalHttpRoute", "provider"}
        paths[generation] = set().union(*(leaves(values) for values in own_values(generation, mode)))
    translated = {_router_values.counterpart(path, "llm_d_router") or path for path in paths["gaie"]}
    # The standalone chart of gaie sets no failure mode.
    lacking = {"router.inferencePool.failureMode"} if mode == "standalone" else set()
    assert paths["llm_d_router"] - translated == lacking
    # The standalone chart of gaie does not set these.
    assert {path for path in translated - paths["llm_d_router"] if not path.startswith("router.tracing.")} == set()
