# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoint picker's plugin configuration. Private to the collection; it may change at any time.

Format: https://github.com/llm-d/llm-d-router/blob/v0.10.0/docs/operations.md (EndpointPickerConfig). Plugins, their
stability and parameters: what cmd/epp/runner/runner.go registers at v0.9.0 and v0.10.0, pkg/plugins/register.go at
v0.7.1 and v0.8.0 together with the runner of gateway-api-inference-extension v1.4.0 and v1.5.0, which those wrap.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import re
import typing as t

import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

Version = tuple[int, int, int]
Json = dict[str, t.Any]

ALWAYS: Version = (0, 0, 0)
V8: Version = (0, 8, 0)
V9: Version = (0, 9, 0)
V10: Version = (0, 10, 0)
V11: Version = (0, 11, 0)

#: From this version the configuration has an API group of its own; the older group is deprecated there.
OWN_API_GROUP = V9
#: The profile handler writes the prefill header itself since llm-d-router PR 905; the separate handler is needed up to
#: v0.7.1, harmless up to v0.10.0 and gone after (PR 2815).
HEADERS_HANDLER_UNTIL = V9
#: From this version on a plugin parameter that the plugin does not know ends the endpoint picker at start.
STRICT_PARAMETERS = V9


@dataclasses.dataclass(frozen=True)
class Plugin:
    kind: str
    since: Version = ALWAYS
    #: The first version without it.
    until: Version | None = None
    #: The first version that starts with it only under --allow-experimental-plugins.
    experimental: Version | None = None
    #: Parameter -> the first strict version that knows it; None where they are not checked.
    parameters: t.Mapping[str, Version] | None = dataclasses.field(default_factory=dict)


def _experimental(kind: str, since: Version = V10) -> Plugin:
    return Plugin(kind, since, experimental=V10, parameters=None)


_SELECTOR = {"matchLabels": V9, "matchExpressions": V9}
_PICKER = {"maxNumOfEndpoints": V9}
_PREFIX_PRODUCER = {"prefixMatchInfoProducerName": V9}
_LOAD_PRODUCER = {"inFlightLoadProducerName": V9}

#: What a profile may name, and the deciders. The endpoint picker knows more kinds, which no profile of ours uses.
PLUGINS: dict[str, Plugin] = {
    "prefill-filter": Plugin("filter"),
    "decode-filter": Plugin("filter"),
    "encode-filter": Plugin("filter"),
    "by-label": Plugin("filter", until=V11, parameters={"label": V9, "validValues": V9, "allowsNoLabel": V9}),
    "by-label-selector": Plugin("filter", until=V11, parameters=_SELECTOR),
    "label-selector-filter": Plugin("filter", V9, parameters=_SELECTOR),
    "prefix-cache-affinity-filter": Plugin("filter", V8, parameters=None),
    "slo-headroom-tier-filter": Plugin("filter", V8, parameters=None),
    "session-affinity-filter": _experimental("filter", V9),
    "endpoint-attribute-filter": _experimental("filter"),
    "topology-affinity-filter": _experimental("filter"),
    "utilization-filter": _experimental("filter"),
    "prefix-cache-scorer": Plugin(
        "scorer", parameters={**_PREFIX_PRODUCER, "matchLengthWeight": V10, "matchLengthScaleTokens": V10}
    ),
    "queue-scorer": Plugin("scorer"),
    "kv-cache-utilization-scorer": Plugin("scorer"),
    "running-requests-size-scorer": Plugin("scorer"),
    "lora-affinity-scorer": Plugin("scorer"),
    "active-request-scorer": Plugin(
        "scorer", parameters={**_LOAD_PRODUCER, "requestTimeout": V9, "idleThreshold": V9, "maxBusyScore": V9}
    ),
    "load-aware-scorer": Plugin("scorer", parameters={"threshold": V9}),
    "no-hit-lru-scorer": Plugin(
        "scorer", parameters={**_PREFIX_PRODUCER, "prefixPluginType": V9, "prefixPluginName": V9, "lruSize": V9}
    ),
    "token-load-scorer": Plugin("scorer", V8, parameters={**_LOAD_PRODUCER, "queueThresholdTokens": V9}),
    "context-length-aware": Plugin("scorer", parameters={"label": V9, "enableFiltering": V9}),
    "precise-prefix-cache-scorer": Plugin("scorer", parameters=None),
    "latency-scorer": Plugin("scorer", V8, parameters=None),
    "mm-embeddings-cache-scorer": Plugin("scorer", V9, parameters=None),
    "session-affinity-scorer": _experimental("scorer", ALWAYS),
    "endpoint-attribute-scorer": _experimental("scorer"),
    "header-label-affinity-scorer": _experimental("scorer"),
    "topology-affinity-scorer": _experimental("scorer"),
    "max-score-picker": Plugin("picker", parameters=_PICKER),
    "random-picker": Plugin("picker", parameters=_PICKER),
    "weighted-random-picker": Plugin("picker", parameters=_PICKER),
    "always-disagg-pd-decider": Plugin("decider"),
    "prefix-based-pd-decider": Plugin("decider", parameters={"nonCachedTokens": V9, "promptTokens": V10}),
}
TIERS = ("prefill", "decode")


class EppConfigError(ValueError):
    """The parameters make no configuration that the endpoint picker would accept."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One plugin in a scheduling profile; only scorers carry a weight."""

    plugin: str
    weight: float | None = None

    def as_dict(self) -> Json:
        reference: Json = {"pluginRef": self.plugin}
        return reference if self.weight is None else {**reference, "weight": self.weight}


@dataclasses.dataclass(frozen=True)
class Profile:
    name: str
    steps: tuple[Step, ...]


@dataclasses.dataclass(frozen=True)
class Parameters:
    version: Version
    decider: str
    profiles: tuple[Profile, ...]
    plugin_parameters: t.Mapping[str, Json]


def parse_version(text: str) -> Version:
    """The version in an image tag such as ``v0.7.1``."""
    match = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)(?:[-+].*)?", text)
    if match is None:
        raise EppConfigError(
            f"{text!r} tells no version of the endpoint picker; set router_epp_version, for example to v0.10.0"
        )
    major, minor, patch = (int(part) for part in match.groups())
    return major, minor, patch


def shown(version: Version) -> str:
    return "v" + ".".join(str(part) for part in version)


def findings(*arguments: t.Any) -> list[Finding]:
    """Why the endpoint picker would not start with these arguments of ``parse``; empty where it would."""
    try:
        parse(*arguments)
    except EppConfigError as error:
        fix = "Correct router_epp_profiles, router_epp_decider or router_epp_plugin_parameters as the text says."
        return [Finding("EPP_CONFIG", "error", "configuration of the endpoint picker", str(error), fix)]
    return []


def parse(
    version: str,
    decider: str,
    profiles: t.Iterable[t.Mapping[str, t.Any]],
    plugin_parameters: t.Mapping[str, Json] | None = None,
) -> Parameters:
    """Check the parameters against what the endpoint picker of this version knows."""
    number = parse_version(version)
    parsed = tuple(_profile(profile, number) for profile in profiles)
    names = [profile.name for profile in parsed]
    if sorted(names) != sorted(TIERS):
        raise EppConfigError(f"router_epp_profiles has the profiles {names}; it needs exactly {list(TIERS)}")
    _known(decider, ("decider",), number, "router_epp_decider")
    parameters = {name: dict(value) for name, value in (plugin_parameters or {}).items()}
    for name in sorted(set(parameters) - {decider} - _used(parsed)):
        raise EppConfigError(f"router_epp_plugin_parameters names {name}, which no profile uses")
    for name, value in sorted(parameters.items()):
        _known_parameters(name, value, number)
    if decider == "prefix-based-pd-decider" and not parameters.get(decider, {}).get("nonCachedTokens"):
        raise EppConfigError(
            "prefix-based-pd-decider without nonCachedTokens never disaggregates; "
            "set router_epp_plugin_parameters['prefix-based-pd-decider'].nonCachedTokens above 0"
        )
    return Parameters(number, decider, parsed, parameters)


def _used(profiles: t.Iterable[Profile]) -> set[str]:
    return {step.plugin for profile in profiles for step in profile.steps}


def _profile(profile: t.Mapping[str, t.Any], version: Version) -> Profile:
    name = str(profile["name"])
    steps = []
    for entry in profile["plugins"]:
        where = f"profile {name}"
        kind = _known(str(entry["plugin"]), ("filter", "scorer", "picker"), version, where)
        weight = entry.get("weight")
        if (weight is not None) != (kind == "scorer"):
            raise EppConfigError(f"{where}: {entry['plugin']} is a {kind}; scorers carry a weight and nothing else")
        steps.append(Step(str(entry["plugin"]), weight))
    kinds = [PLUGINS[step.plugin].kind for step in steps]
    if kinds.count("picker") != 1:
        raise EppConfigError(f"profile {name} has {kinds.count('picker')} pickers; it needs exactly one")
    return Profile(name, tuple(steps))


def _exists(plugin: Plugin, version: Version) -> bool:
    return plugin.since <= version and (plugin.until is None or version < plugin.until)


def _is_experimental(plugin: Plugin, version: Version) -> bool:
    return plugin.experimental is not None and plugin.experimental <= version


def _known(name: str, kinds: tuple[str, ...], version: Version, where: str) -> str:
    """The plugin's kind. An unknown or experimental plugin would end the endpoint picker at start."""
    there = {key: row for key, row in PLUGINS.items() if row.kind in kinds and _exists(row, version)}
    fitting = [key for key, row in there.items() if not _is_experimental(row, version)]
    if name in fitting:
        return there[name].kind
    hint = " or ".join(difflib.get_close_matches(name, fitting, n=1) or sorted(fitting))
    if name in there:
        raise EppConfigError(
            f"{where}: {name} is experimental in the endpoint picker {shown(version)}, which ends at start without "
            f"--allow-experimental-plugins; use {hint}"
        )
    raise EppConfigError(
        f"{where}: the endpoint picker {shown(version)} has no {' or '.join(kinds)} {name!r}; use {hint}"
    )


def _known_parameters(name: str, given: t.Mapping[str, t.Any], version: Version) -> None:
    known = PLUGINS[name].parameters
    if version < STRICT_PARAMETERS or known is None:
        return
    fitting = sorted(key for key, since in known.items() if since <= version)
    for key in sorted(set(given) - set(fitting)):
        nearest = difflib.get_close_matches(key, fitting, n=1) or fitting
        hint = f"use {' or '.join(nearest)}" if nearest else "it has none"
        raise EppConfigError(
            f"router_epp_plugin_parameters: {name} of the endpoint picker {shown(version)} has no parameter {key!r}; "
            f"{hint}"
        )


def build(parameters: Parameters) -> Json:
    """The configuration as an object. Deciders come before the handler that looks them up when it is constructed."""
    order = [parameters.decider, "disagg-profile-handler"]
    if parameters.version < HEADERS_HANDLER_UNTIL:
        order.insert(0, "disagg-headers-handler")
    order += [step.plugin for profile in parameters.profiles for step in profile.steps]
    given = {
        **parameters.plugin_parameters,
        # The flat deciderPluginName is a legacy form, and a mix of both is refused (llm-d #2320).
        "disagg-profile-handler": {"deciders": {"prefill": parameters.decider}},
    }
    own_group = parameters.version >= OWN_API_GROUP
    return {
        "apiVersion": "llm-d.ai/v1alpha1" if own_group else "inference.networking.x-k8s.io/v1alpha1",
        "kind": "EndpointPickerConfig",
        "plugins": [
            {"type": plugin, **({"parameters": given[plugin]} if given.get(plugin) else {})}
            for plugin in dict.fromkeys(order)
        ],
        "schedulingProfiles": [
            {"name": profile.name, "plugins": [step.as_dict() for step in profile.steps]}
            for profile in parameters.profiles
        ],
    }


def render(config: t.Mapping[str, t.Any]) -> str:
    """The configuration as text, the same for the same parameters."""
    return str(yaml.safe_dump(dict(config), sort_keys=False, default_flow_style=False))


def file_name(text: str) -> str:
    """A name that changes with the text and so rolls the Deployment (llm-d-router #2459).

    The chart passes the name to the endpoint picker, which reads its configuration only at start.
    """
    return f"wide-ep-{hashlib.sha256(text.encode()).hexdigest()[:10]}.yaml"
