# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the router must not be asked for, and what its release must have made. Private to the collection; may change."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _epp_config, _router_values

Json = t.Mapping[str, t.Any]

#: Deleted from their registry with every tag; only a mirror may still have them (kserve #6215).
DELETED_IMAGES = ("ghcr.io/llm-d/llm-d-inference-scheduler",)
#: The oldest endpoint picker that the charts of a generation are made for.
OLDEST_EPP: dict[str, _epp_config.Version] = {"gaie": _epp_config.ALWAYS, "llm_d_router": _epp_config.V9}
#: The route timeout in the charts' Envoy configuration.
ENVOY_SECONDS = 86400
EXT_PROC_PORT = 9002
LWS_NAME_LABEL = "leaderworkerset.sigs.k8s.io/name"


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the router is asked for, as far as it can be wrong."""

    image: str
    version: str
    generation: str
    mode: str
    request_timeout: int
    values: Json
    #: The arguments of ``_epp_config.parse`` after the version.
    config: tuple[t.Any, ...]
    mirror: str = ""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What the release must have made."""

    release: str
    namespace: str
    ports: tuple[int, ...]
    target_ports: tuple[int, ...]
    match_labels: Json
    config_file: str
    #: Container name -> image.
    images: Json
    failure_mode: str
    #: The LeaderWorkerSets whose pods the pool selects.
    sets: tuple[str, ...] = ()


def refusals(asked: Asked) -> list[Finding]:
    """Why the router cannot be installed like this, all at once."""
    return [
        *_image(asked),
        *_version(asked),
        *_timeout(asked),
        *_epp_config.findings(asked.version, *asked.config),
        *_router_values.judge(asked.values, asked.generation, asked.mode),
    ]


def _image(asked: Asked) -> list[Finding]:
    if asked.mirror or not asked.image.startswith(DELETED_IMAGES):
        return []
    fix = (
        "Use ghcr.io/llm-d/llm-d-router-endpoint-picker in wide_ep_image_overrides.epp, or set wide_ep_mirror to a "
        "mirror that still has it."
    )
    return [Finding("IMAGE_GONE", "error", asked.image, "it was deleted from its registry with all tags", fix)]


def _version(asked: Asked) -> list[Finding]:
    oldest = OLDEST_EPP[asked.generation]
    try:
        version = _epp_config.parse_version(asked.version)
    except _epp_config.EppConfigError:
        # The judge of the configuration says so.
        return []
    if version >= oldest:
        return []
    seen = (
        f"the charts of generation {asked.generation} start an endpoint picker of {_epp_config.shown(oldest)} or newer"
    )
    fix = "Set wide_ep_image_overrides.epp to a newer one, or router_generation to gaie."
    return [Finding("IMAGE_UNFIT", "error", f"endpoint picker {asked.version}", seen, fix)]


def _timeout(asked: Asked) -> list[Finding]:
    if asked.mode != "standalone" or 0 < asked.request_timeout <= ENVOY_SECONDS:
        return []
    seen = f"Envoy beside the endpoint picker ends a request after {ENVOY_SECONDS} s"
    fix = f"Set it between 1 and {ENVOY_SECONDS}."
    return [Finding("INPUT_TYPE", "error", f"wide_ep_request_timeout is {asked.request_timeout}", seen, fix)]


def replacement(deployments: t.Sequence[Json], selector: Json) -> str:
    """Why the release must be uninstalled before it is installed anew; empty where an upgrade does.

    The selector of a Deployment cannot be changed, and it differs between the generations of the charts and between
    releases with and without a pool. Between the router modes of one generation it is the same.
    """
    for item in deployments:
        have = item["spec"]["selector"]["matchLabels"]
        if dict(have) != dict(selector):
            return f"the Deployment selects its pods by {_labels(have)}, and would have to by {_labels(selector)}"
    return ""


def _labels(labels: Json) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def differences(found: t.Mapping[str, Json], wanted: Wanted) -> list[Finding]:
    """Where Deployment, Service and InferencePool of the release are absent or not as asked."""
    checks = {"deployment": _deployment, "service": _service, "pool": _pool}
    seen = []
    for kind, check in checks.items():
        objects = found[kind]["resources"]
        seen += check(objects[0], wanted) if objects else [f"{kind} does not exist"]
    fix = (
        "Helm calls the release deployed and would change nothing. Uninstall it, then run the same command again: "
        f"helm uninstall {wanted.release} -n {wanted.namespace} --wait"
    )
    subject = f"router {wanted.namespace}/{wanted.release}"
    return [Finding("ROUTER_DIFFERS", "error", subject, text, fix) for text in seen]


def _deployment(item: Json, wanted: Wanted) -> list[str]:
    containers = {container["name"]: container for container in item["spec"]["template"]["spec"]["containers"]}
    problems = [
        f"container {name} runs {containers[name]['image'] if name in containers else 'nowhere'}, not {image}"
        for name, image in wanted.images.items()
        if name not in containers or containers[name]["image"] != image
    ]
    arguments = containers.get("epp", {}).get("args") or []
    if f"/config/{wanted.config_file}" not in arguments:
        problems.append(f"the endpoint picker does not read {wanted.config_file}")
    return problems


def _service(item: Json, wanted: Wanted) -> list[str]:
    ports = [port["port"] for port in item["spec"]["ports"]]
    return [f"the Service has ports {ports}, not {port}" for port in wanted.ports if port not in ports]


def _pool(item: Json, wanted: Wanted) -> list[str]:
    spec = item["spec"]
    ports = tuple(port["number"] for port in spec["targetPorts"])
    labels = dict(spec["selector"]["matchLabels"])
    picker = spec.get("endpointPickerRef") or {}
    asked_picker = {"name": f"{wanted.release}-epp", "port": EXT_PROC_PORT, "failureMode": wanted.failure_mode}
    has_picker = {**picker, "port": (picker.get("port") or {}).get("number")}
    rows = (
        ("target ports", list(ports), list(wanted.target_ports)),
        ("the selector", labels, dict(wanted.match_labels)),
        *((f"as {key} of its endpoint picker", has_picker.get(key), value) for key, value in asked_picker.items()),
    )
    return [f"the pool has {what} {have}, not {want}" for what, have, want in rows if have != want]


def selection(pods: t.Sequence[Json], wanted: Wanted) -> list[Finding]:
    """Whether the pool's labels select the model-server pods that exist, and nothing else."""
    live = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    servers = [pod for pod in live if _label(pod, LWS_NAME_LABEL) in wanted.sets]
    selected = [pod for pod in live if _selected(pod, wanted.match_labels)]
    unselected = [pod for pod in servers if pod not in selected]
    strangers = [pod for pod in selected if pod not in servers and not _ended(pod)]
    pool = f"InferencePool {wanted.namespace}/{wanted.release}"
    by = _labels(wanted.match_labels)
    found = []
    if servers and len(unselected) == len(servers):
        seen = f"it selects by {by}, which none of the {len(servers)} model-server pods carries"
        fix = "Apply the model servers again (playbooks/model_server.yml); their labels were changed."
        found.append(Finding("POOL_SELECTS_NOTHING", "error", pool, seen, fix))
    else:
        fix = f"Give the pod the labels {by} again, or delete it: its LeaderWorkerSet makes a new one."
        found += [_about_pod("POD_NOT_IN_POOL", pod, f"{pool} selects by {by}", fix) for pod in unselected]
    seen = f"it carries {by} and belongs to no model server of the deployment, yet gets decode requests"
    fix = "Take one of the labels off the pod, or remove what made it."
    return found + [_about_pod("POOL_STRANGER", pod, seen, fix) for pod in strangers]


def _about_pod(code: str, pod: Json, seen: str, fix: str) -> Finding:
    return Finding(code, "error", f"Pod {pod['metadata']['namespace']}/{pod['metadata']['name']}", seen, fix)


def _label(pod: Json, key: str) -> str:
    return str((pod["metadata"].get("labels") or {}).get(key, ""))


def _selected(pod: Json, labels: Json) -> bool:
    return all(_label(pod, key) == value for key, value in labels.items())


def _ended(pod: Json) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
