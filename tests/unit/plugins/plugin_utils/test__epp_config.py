# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _epp_config

PREFILL = {
    "name": "prefill",
    "plugins": [
        {"plugin": "prefill-filter"},
        {"plugin": "prefix-cache-scorer", "weight": 3},
        {"plugin": "queue-scorer", "weight": 2},
        {"plugin": "max-score-picker"},
    ],
}
DECODE = {
    "name": "decode",
    "plugins": [
        {"plugin": "decode-filter"},
        {"plugin": "active-request-scorer", "weight": 2},
        {"plugin": "prefix-cache-scorer", "weight": 3},
        {"plugin": "max-score-picker"},
    ],
}
ALWAYS = "always-disagg-pd-decider"
PREFIX = "prefix-based-pd-decider"


def config(version: str = "v0.7.1", decider: str = ALWAYS, parameters: t.Any = None) -> dict[str, t.Any]:
    return _epp_config.build(_epp_config.parse(version, decider, [PREFILL, DECODE], parameters))


def types(built: dict[str, t.Any]) -> list[str]:
    return [plugin["type"] for plugin in built["plugins"]]


@pytest.mark.parametrize(
    ("version", "api_version", "headers_handler"),
    [
        ("v0.7.1", "inference.networking.x-k8s.io/v1alpha1", True),
        ("v0.8.0", "inference.networking.x-k8s.io/v1alpha1", True),
        ("v0.9.0", "llm-d.ai/v1alpha1", False),
        ("0.10.0", "llm-d.ai/v1alpha1", False),
        ("v0.10.0-rc.1", "llm-d.ai/v1alpha1", False),
    ],
)
def test_form_follows_version(version: str, api_version: str, headers_handler: bool) -> None:
    built = config(version)
    assert built["apiVersion"] == api_version
    assert ("disagg-headers-handler" in types(built)) is headers_handler


def test_decider_comes_before_the_handler_that_looks_it_up() -> None:
    names = types(config(decider=PREFIX, parameters={PREFIX: {"nonCachedTokens": 16}}))
    assert names.index(PREFIX) < names.index("disagg-profile-handler")


def test_decider_is_nested_and_parameters_reach_their_plugin() -> None:
    built = config(decider=PREFIX, parameters={PREFIX: {"nonCachedTokens": 16}})
    parameters = {plugin["type"]: plugin.get("parameters") for plugin in built["plugins"]}
    assert parameters["disagg-profile-handler"] == {"deciders": {"prefill": PREFIX}}
    assert parameters[PREFIX] == {"nonCachedTokens": 16}
    assert parameters["queue-scorer"] is None


def test_each_plugin_is_declared_once_and_profiles_keep_their_order() -> None:
    built = config()
    assert len(types(built)) == len(set(types(built)))
    assert built["schedulingProfiles"][0] == {
        "name": "prefill",
        "plugins": [
            {"pluginRef": "prefill-filter"},
            {"pluginRef": "prefix-cache-scorer", "weight": 3},
            {"pluginRef": "queue-scorer", "weight": 2},
            {"pluginRef": "max-score-picker"},
        ],
    }


def profile(name: str, *plugins: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"name": name, "plugins": list(plugins)}


@pytest.mark.parametrize(
    ("version", "decider", "profiles", "parameters", "words"),
    [
        ("main", ALWAYS, [PREFILL, DECODE], {}, "'main' tells no version"),
        ("v0.7.1", "sometimes", [PREFILL, DECODE], {}, "no decider 'sometimes'"),
        ("v0.7.1", "queue-scorer", [PREFILL, DECODE], {}, "no decider 'queue-scorer'"),
        ("v0.7.1", ALWAYS, [PREFILL], {}, "needs exactly"),
        ("v0.7.1", ALWAYS, [PREFILL, PREFILL], {}, "needs exactly"),
        ("v0.7.1", ALWAYS, [PREFILL, profile("decode", {"plugin": "que-scorer", "weight": 1})], {}, "use queue-scorer"),
        (
            "v0.7.1",
            ALWAYS,
            [PREFILL, profile("decode", {"plugin": "label-selector-filter"})],
            {},
            "use by-label-selector",
        ),
        ("v0.7.1", ALWAYS, [PREFILL, profile("decode", {"plugin": "decode-filter"})], {}, "0 pickers"),
        ("v0.7.1", ALWAYS, [PREFILL, profile("decode", {"plugin": "queue-scorer"})], {}, "scorers carry a weight"),
        (
            "v0.7.1",
            ALWAYS,
            [PREFILL, profile("decode", {"plugin": "max-score-picker", "weight": 1})],
            {},
            "is a picker",
        ),
        ("v0.7.1", ALWAYS, [PREFILL, DECODE], {"load-aware-scorer": {"threshold": 1}}, "which no profile uses"),
        ("v0.7.1", PREFIX, [PREFILL, DECODE], {}, "never disaggregates"),
        ("v0.7.1", PREFIX, [PREFILL, DECODE], {PREFIX: {"nonCachedTokens": 0}}, "never disaggregates"),
        (
            "v0.11.0",
            ALWAYS,
            [PREFILL, profile("decode", {"plugin": "by-label-selector"})],
            {},
            "v0.11.0 has no filter .* use label-selector-filter",
        ),
        (
            "v0.7.1",
            ALWAYS,
            [PREFILL, profile("decode", {"plugin": "token-load-scorer", "weight": 1})],
            {},
            "use load-aware-scorer",
        ),
        (
            "v0.10.0",
            ALWAYS,
            [PREFILL, profile("decode", {"plugin": "session-affinity-scorer", "weight": 1})],
            {},
            "experimental in the endpoint picker v0.10.0",
        ),
        (
            "v0.10.0",
            ALWAYS,
            [PREFILL, DECODE],
            {"prefix-cache-scorer": {"lruCapacityPerServer": 1}},
            "prefix-cache-scorer of the endpoint picker v0.10.0 has no parameter 'lruCapacityPerServer'",
        ),
        (
            "v0.9.0",
            ALWAYS,
            [PREFILL, DECODE],
            {"prefix-cache-scorer": {"matchLengthWeight": 1}},
            "v0.9.0 has no parameter 'matchLengthWeight'",
        ),
        ("v0.9.0", PREFIX, [PREFILL, DECODE], {PREFIX: {"nonCachedToken": 16}}, "use nonCachedTokens"),
        ("v0.10.0", ALWAYS, [PREFILL, DECODE], {"queue-scorer": {"threshold": 1}}, "it has none"),
    ],
)
def test_refusals_name_the_cause(version: str, decider: str, profiles: t.Any, parameters: t.Any, words: str) -> None:
    with pytest.raises(_epp_config.EppConfigError, match=words):
        _epp_config.parse(version, decider, profiles, parameters)


@pytest.mark.parametrize(
    ("version", "decode", "parameters"),
    [
        # What the version does not check, or knows.
        ("v0.8.0", DECODE, {"prefix-cache-scorer": {"lruCapacityPerServer": 1}}),
        ("v0.10.0", DECODE, {"prefix-cache-scorer": {"matchLengthWeight": 1}}),
        ("v0.9.0", DECODE, {"active-request-scorer": {"idleThreshold": 1}}),
        (
            "v0.9.0",
            profile("decode", {"plugin": "session-affinity-scorer", "weight": 1}, {"plugin": "max-score-picker"}),
            {"session-affinity-scorer": {"headerName": "x"}},
        ),
        ("v0.8.0", profile("decode", {"plugin": "token-load-scorer", "weight": 1}, {"plugin": "random-picker"}), {}),
        (
            "v0.10.0",
            profile("decode", {"plugin": "by-label-selector"}, {"plugin": "max-score-picker"}),
            {"by-label-selector": {"matchLabels": {"a": "b"}}},
        ),
    ],
)
def test_known_plugins_and_parameters_pass(version: str, decode: t.Any, parameters: t.Any) -> None:
    built = _epp_config.build(_epp_config.parse(version, ALWAYS, [PREFILL, decode], parameters))
    given = {plugin["type"]: plugin.get("parameters") for plugin in built["plugins"]}
    assert all(given[name] == value for name, value in parameters.items())


@pytest.mark.parametrize(("decider", "codes"), [(ALWAYS, []), ("sometimes", ["EPP_CONFIG"])])
def test_findings(decider: str, codes: list[str]) -> None:
    assert [one.code for one in _epp_config.findings("v0.10.0", decider, [PREFILL, DECODE])] == codes


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 100), st.integers(1, 100))
def test_name_is_the_same_exactly_for_the_same_configuration(first: int, second: int) -> None:
    def name(weight: int) -> str:
        changed = profile("decode", {"plugin": "queue-scorer", "weight": weight}, {"plugin": "max-score-picker"})
        built = _epp_config.build(_epp_config.parse("v0.9.0", ALWAYS, [PREFILL, changed]))
        return _epp_config.file_name(_epp_config.render(built))

    assert (name(first) == name(second)) is (first == second)


def test_text_is_the_configuration() -> None:
    assert yaml.safe_load(_epp_config.render(config())) == config()
