# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoint picker's plugin configuration. Private to the collection; it may change at any time.

Format: https://github.com/llm-d/llm-d-router/blob/v0.10.0/docs/operations.md (EndpointPickerConfig).
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import re
import typing as t

import yaml

Version = tuple[int, int, int]
Json = dict[str, t.Any]

#: From this version the configuration has an API group of its own; the older group is deprecated there.
OWN_API_GROUP: Version = (0, 9, 0)
#: The profile handler writes the prefill header itself since llm-d-router PR 905; the separate handler is needed up to
#: v0.7.1, harmless up to v0.10.0 and gone after (PR 2815).
HEADERS_HANDLER_UNTIL: Version = (0, 9, 0)
ALWAYS: Version = (0, 0, 0)

#: Plugin type -> the kind of plugin and the first version that has it.
PLUGINS: dict[str, tuple[str, Version]] = {
    "prefill-filter": ("filter", ALWAYS),
    "decode-filter": ("filter", ALWAYS),
    "by-label-selector": ("filter", ALWAYS),
    "label-selector-filter": ("filter", (0, 9, 0)),
    "prefix-cache-scorer": ("scorer", ALWAYS),
    "queue-scorer": ("scorer", ALWAYS),
    "kv-cache-utilization-scorer": ("scorer", ALWAYS),
    "active-request-scorer": ("scorer", ALWAYS),
    "load-aware-scorer": ("scorer", ALWAYS),
    "no-hit-lru-scorer": ("scorer", ALWAYS),
    "precise-prefix-cache-scorer": ("scorer", ALWAYS),
    "running-requests-size-scorer": ("scorer", ALWAYS),
    "session-affinity-scorer": ("scorer", ALWAYS),
    "token-load-scorer": ("scorer", ALWAYS),
    "max-score-picker": ("picker", ALWAYS),
    "random-picker": ("picker", ALWAYS),
    "weighted-random-picker": ("picker", ALWAYS),
    "always-disagg-pd-decider": ("decider", ALWAYS),
    "prefix-based-pd-decider": ("decider", ALWAYS),
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
            f"{text!r} tells no version of the endpoint picker; set router_epp_version, for example to v0.9.0"
        )
    major, minor, patch = (int(part) for part in match.groups())
    return major, minor, patch


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
    kinds = [PLUGINS[step.plugin][0] for step in steps]
    if kinds.count("picker") != 1:
        raise EppConfigError(f"profile {name} has {kinds.count('picker')} pickers; it needs exactly one")
    return Profile(name, tuple(steps))


def _known(plugin: str, kinds: tuple[str, ...], version: Version, where: str) -> str:
    """The plugin's kind. An unknown plugin would crash the endpoint picker at start."""
    fitting = [name for name, (kind, since) in PLUGINS.items() if kind in kinds and since <= version]
    if plugin not in fitting:
        hint = " or ".join(difflib.get_close_matches(plugin, fitting, n=1) or sorted(fitting))
        number = ".".join(str(part) for part in version)
        what = f"{' or '.join(kinds)} {plugin!r}"
        raise EppConfigError(f"{where}: the endpoint picker v{number} has no {what}; use {hint}")
    return PLUGINS[plugin][0]


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
