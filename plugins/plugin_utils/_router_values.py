# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's values for the router's chart, judged before Helm sees them. Private to the collection; it may change.

The charts have no schema: a key that they do not know is dropped in silence, and some keys that they know break the
release. The keys are those of the charts' values files and templates: gateway-api-inference-extension v1.5.0
(standalone, inferencepool) and llm-d-router v0.10.0 (llm-d-router-standalone, llm-d-router-gateway).
"""

from __future__ import annotations

import dataclasses
import difflib
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

Json = t.Mapping[str, t.Any]

GENERATIONS = ("gaie", "llm_d_router")
MODES = ("standalone", "gateway")


def _under(prefix: str, names: str) -> frozenset[str]:
    return frozenset(f"{prefix}.{name}" for name in names.split())


#: What follows a path in these sets is a free map, a list or a single value, and is not looked into.
_IMAGE = "image.registry image.repository image.tag image.pullPolicy"
_METRICS_SOURCE = "metricsDataSource.scheme metricsDataSource.path metricsDataSource.insecureSkipVerify"
_MONITORING = (
    "monitoring.interval monitoring.prometheus.enabled monitoring.prometheus.extraLabels "
    "monitoring.prometheus.auth.enabled monitoring.prometheus.auth.secretName"
)
_TRACING = "tracing.enabled tracing.otelExporterEndpoint tracing.sampling.sampler tracing.sampling.samplerArg"
_PROXY = (
    "enabled name image imagePullPolicy command args env ports livenessProbe readinessProbe resources volumeMounts "
    "volumes configMap.name configMap.data"
)

_GAIE = _under(
    "inferenceExtension",
    f"replicas extProcPort metricsPort extraServicePorts extraContainerPorts env flags pluginsConfigFile "
    f"pluginsCustomConfig affinity tolerations resources volumes volumeMounts latencyPredictor "
    f"{_IMAGE} {_METRICS_SOURCE} {_MONITORING} {_TRACING}",
) | _under("inferencePool", "targetPorts modelServerType modelServerProtocol parser modelServers.matchLabels")
_LLM_D_ROUTER = _under(
    "router.epp",
    f"replicas extProcPort grpcHealthPort parsers extraContainerPorts env flags pluginsConfigFile "
    f"pluginsCustomConfig affinity tolerations resources volumes volumeMounts podAnnotations "
    f"{_IMAGE} {_METRICS_SOURCE}",
) | _under(
    "router",
    f"extraServicePorts clusterDomain metricsPort tokenizer latencyPredictor inferenceObjectives "
    f"modelServers.type modelServers.protocol modelServers.targetPorts modelServers.matchLabels "
    f"inferencePool.create inferencePool.failureMode monitoring.provider.name monitoring.provider.gmp.autopilot "
    f"{_MONITORING} {_TRACING}",
)
KEYS: dict[tuple[str, str], frozenset[str]] = {
    ("gaie", "standalone"): _GAIE
    | _under("inferenceExtension.sidecar", _PROXY)
    | _under(
        "inferenceExtension.endpointsServer",
        "createInferencePool endpointSelector targetPorts modelServerType modelServerProtocol",
    ),
    ("gaie", "gateway"): _GAIE
    | {"inferenceExtension.failureMode", "inferenceObjectives", "experimentalHttpRoute", "provider"},
    ("llm_d_router", "standalone"): _LLM_D_ROUTER
    | _under("router.proxy", f"{_PROXY} proxyType mode replicas failOpen securityContext startupProbe presets"),
    ("llm_d_router", "gateway"): _LLM_D_ROUTER | {"httpRoute", "provider"},
}
EVERY_KEY = frozenset().union(*KEYS.values())

#: The same thing in both generations, the longest path first where one holds another.
COUNTERPARTS: tuple[tuple[str, str], ...] = (
    ("inferenceExtension.endpointsServer.createInferencePool", "router.inferencePool.create"),
    ("inferenceExtension.endpointsServer.endpointSelector", "router.modelServers.matchLabels"),
    ("inferenceExtension.endpointsServer.targetPorts", "router.modelServers.targetPorts"),
    ("inferenceExtension.endpointsServer.modelServerType", "router.modelServers.type"),
    ("inferenceExtension.endpointsServer.modelServerProtocol", "router.modelServers.protocol"),
    ("inferenceExtension.failureMode", "router.inferencePool.failureMode"),
    ("inferenceExtension.extraServicePorts", "router.extraServicePorts"),
    ("inferenceExtension.latencyPredictor", "router.latencyPredictor"),
    ("inferenceExtension.metricsPort", "router.metricsPort"),
    ("inferenceExtension.monitoring", "router.monitoring"),
    ("inferenceExtension.tracing", "router.tracing"),
    ("inferenceExtension.sidecar", "router.proxy"),
    ("inferenceExtension", "router.epp"),
    ("inferencePool.modelServers.matchLabels", "router.modelServers.matchLabels"),
    ("inferencePool.modelServerProtocol", "router.modelServers.protocol"),
    ("inferencePool.modelServerType", "router.modelServers.type"),
    ("inferencePool.targetPorts", "router.modelServers.targetPorts"),
    ("inferencePool.parser", "router.epp.parsers"),
    ("experimentalHttpRoute.enabled", "httpRoute.create"),
    ("experimentalHttpRoute", "httpRoute"),
    ("inferenceObjectives", "router.inferenceObjectives"),
)


def _always(value: t.Any) -> bool:
    return True


@dataclasses.dataclass(frozen=True)
class Rule:
    """A value that the chart takes and that must not be given: by its path in each generation."""

    paths: t.Mapping[str, str]
    seen: str
    fix: str
    wrong: t.Callable[[t.Any], bool] = _always


def _both(gaie: str, llm_d_router: str) -> dict[str, str]:
    return {"gaie": gaie, "llm_d_router": llm_d_router}


def _has_boolean(flags: t.Any) -> bool:
    values = flags.values() if isinstance(flags, t.Mapping) else ()
    return any(str(value).lower() in ("true", "false") for value in values)


def _names_an_image(image: t.Any) -> bool:
    return isinstance(image, t.Mapping) and any(key in image for key in ("registry", "repository", "tag"))


def _repeats_own_names(entries: t.Any) -> bool:
    return any(isinstance(entry, t.Mapping) and entry.get("name") in ("NAMESPACE", "POD_NAME") for entry in entries)


_IMAGES = "Set wide_ep_image_overrides.{} instead."
_CONFIGURATION = "Set router_epp_profiles, router_epp_decider and router_epp_plugin_parameters instead."
_GATEWAY = "Leave it out: Gateway, HTTPRoute and the provider's policies are made by role gateway."
_ONE_ROUTE = "the chart would make a second HTTPRoute or policy beside those of role gateway"

RULES: tuple[Rule, ...] = (
    Rule(
        _both("inferenceExtension.image", "router.epp.image"),
        "the image is checked after install",
        _IMAGES.format("epp"),
        _names_an_image,
    ),
    Rule(
        _both("inferenceExtension.sidecar.image", "router.proxy.image"),
        "the image is checked after install",
        _IMAGES.format("envoy"),
    ),
    Rule(
        _both("inferenceExtension.pluginsConfigFile", "router.epp.pluginsConfigFile"),
        "the name holds the hash of the configuration, so that a changed one restarts the endpoint picker",
        _CONFIGURATION,
    ),
    Rule(
        _both("inferenceExtension.pluginsCustomConfig", "router.epp.pluginsCustomConfig"),
        "the configuration is rendered and checked by the role",
        _CONFIGURATION,
    ),
    Rule(
        _both("inferenceExtension.sidecar.configMap.name", "router.proxy.configMap.name"),
        "the name holds the release, so that two of them fit one namespace, and a hash that restarts Envoy",
        "Leave it out; give the content in configMap.data.",
    ),
    Rule(
        _both("inferenceExtension.sidecar.volumes", "router.proxy.volumes"),
        "the volume carries the name of Envoy's ConfigMap, which the role chooses",
        "Leave it out; give the content in configMap.data.",
    ),
    Rule(
        _both("inferencePool.targetPorts", "router.modelServers.targetPorts"),
        "the ports follow the mode of load balancing; one that no model server serves answers with 502",
        "Set wide_ep_load_balancing instead.",
    ),
    Rule(
        _both("inferencePool.modelServers.matchLabels", "router.modelServers.matchLabels"),
        "the selector is what the model servers of the deployment carry",
        "Leave it out.",
    ),
    Rule(
        _both("inferenceExtension.failureMode", "router.inferencePool.failureMode"),
        "it is a variable of the role",
        "Set router_failure_mode instead.",
    ),
    Rule(
        _both("inferenceExtension.replicas", "router.epp.replicas"),
        "stand-bys of the endpoint picker never become ready, so that the Deployment never is",
        "Leave it at 1.",
        lambda value: value != 1,
    ),
    Rule(
        _both("inferenceExtension.extProcPort", "router.epp.extProcPort"),
        "Envoy's configuration in the chart and the endpoint picker's own port stay at 9002",
        "Leave it at 9002.",
        lambda value: value != 9002,
    ),
    Rule(
        _both("inferenceExtension.env", "router.epp.env"),
        "the chart sets NAMESPACE and POD_NAME itself, and Helm 4 fails on a name that is there twice",
        "Leave both names out.",
        _repeats_own_names,
    ),
    Rule(
        _both("inferenceExtension.endpointsServer.createInferencePool", "router.inferencePool.create"),
        "without the pool the Deployment has another selector, and clients of the pool find nothing",
        "Leave it true.",
        lambda value: value is not True,
    ),
    Rule(
        _both("inferencePool.modelServerType", "router.modelServers.type"),
        "the model servers are vLLM; for others the chart hands over arguments that the endpoint picker refuses",
        "Leave it at vllm.",
        lambda value: value != "vllm",
    ),
    Rule(
        {"gaie": "inferenceExtension.flags"},
        "the chart hands a boolean over as a stray argument and the flag counts as set (kaito #1983)",
        "Leave booleans out, or use router_generation llm_d_router.",
        _has_boolean,
    ),
    Rule(
        {"gaie": "inferenceObjectives"},
        "the chart fails on it with a nil pointer",
        "Make the InferenceObjectives with playbooks of your own.",
        bool,
    ),
    Rule({"gaie": "experimentalHttpRoute", "llm_d_router": "httpRoute"}, _ONE_ROUTE, _GATEWAY),
    Rule(_both("provider", "provider"), _ONE_ROUTE, _GATEWAY),
    Rule(
        {"llm_d_router": "router.proxy.mode"},
        "in mode service clients would have to use another Service than the guide's",
        "Leave it at sidecar.",
        lambda value: value != "sidecar",
    ),
    Rule(
        {"llm_d_router": "router.proxy.proxyType"},
        "agentgateway beside the endpoint picker takes no port 80 and no pool",
        "Leave it at envoy; for agentgateway use wide_ep_router_mode gateway.",
        lambda value: value != "envoy",
    ),
)


def judge(values: Json, generation: str, mode: str) -> list[Finding]:
    """What is wrong with the user's values for this generation of the charts in this router mode."""
    known = KEYS[generation, mode]
    found = [_unknown(path, generation, mode) for path in unknown_paths(values, known)]
    rules = [(rule, rule.paths[generation]) for rule in RULES if generation in rule.paths]
    for rule, path in rules:
        value = _value(values, path)
        if value is not None and _knows(known, path) and rule.wrong(value):
            found.append(_refused(rule, path, value))
    return found


def unknown_paths(values: Json, known: t.Collection[str], prefix: str = "") -> list[str]:
    """The paths of the values that the chart does not know, as deep as any of the charts knows them."""
    found: list[str] = []
    for key, value in values.items():
        path = f"{prefix}{key}"
        if path in known:
            continue
        if isinstance(value, t.Mapping) and value and any(one.startswith(f"{path}.") for one in EVERY_KEY):
            found += unknown_paths(value, known, f"{path}.")
        elif not (value == {} and any(one.startswith(f"{path}.") for one in known)):
            found.append(path)
    return found


def counterpart(path: str, generation: str) -> str:
    """What ``path`` of the other generation is called in this one; empty where nothing of this one does the same."""
    own = 1 if generation == "llm_d_router" else 0
    for pair in COUNTERPARTS:
        old, new = pair[1 - own], pair[own]
        if path == old or path.startswith(f"{old}."):
            return new + path[len(old) :]
    return ""


def _knows(keys: t.Collection[str], path: str) -> bool:
    return any(path == key or path.startswith(f"{key}.") or key.startswith(f"{path}.") for key in keys)


def _unknown(path: str, generation: str, mode: str) -> Finding:
    other_generation = next(name for name in GENERATIONS if name != generation)
    other_mode = next(name for name in MODES if name != mode)
    if any(one.startswith(f"{path}.") for one in KEYS[generation, mode]):
        seen = "the chart knows keys below it, and a single value would replace them all"
        fix = "Give the keys."
    elif any(_knows(KEYS[other_generation, one], path) for one in MODES):
        seen = f"it belongs to the charts of generation {other_generation}; those of {generation} ignore or refuse it"
        fix = _instead(counterpart(path, generation), generation, other_generation)
    elif _knows(KEYS[generation, other_mode], path):
        seen = f"the chart of router mode {mode} ignores it; it belongs to mode {other_mode}"
        fix = f"Leave it out, or set wide_ep_router_mode to {other_mode}."
    else:
        seen = f"the charts of generation {generation} do not know it and would ignore it"
        nearest = difflib.get_close_matches(path, KEYS[generation, mode], n=1)
        fix = f"Did you mean {nearest[0]}?" if nearest else "Leave it out."
    return Finding("ROUTER_VALUE", "error", f"router_values: {path}", seen, fix)


def _instead(name: str, generation: str, other_generation: str) -> str:
    if not name:
        return f"Leave it out, or set router_generation to {other_generation}."
    own = (rule for rule in RULES if generation in rule.paths and rule.wrong is _always)
    fixes = (rule.fix for rule in own if f"{name}.".startswith(f"{rule.paths[generation]}."))
    return next(fixes, f"Use {name} instead.")


def _value(values: Json, path: str) -> t.Any:
    value: t.Any = values
    for key in path.split("."):
        value = value.get(key) if isinstance(value, t.Mapping) else None
    return value


def _refused(rule: Rule, path: str, value: t.Any) -> Finding:
    shown = "" if isinstance(value, (t.Mapping, list)) else f" is {value!r}"
    return Finding("ROUTER_VALUE", "error", f"router_values: {path}{shown}", rule.seen, rule.fix)
