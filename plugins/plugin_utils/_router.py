# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the router must not be asked for, and what its release must have made. Private to the collection; may change."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

Json = t.Mapping[str, t.Any]

#: Deleted from their registry with every tag; only a mirror may still have them (kserve #6215).
DELETED_IMAGES = ("ghcr.io/llm-d/llm-d-inference-scheduler",)
SUPPORTED_MODES = ("standalone",)


@dataclasses.dataclass(frozen=True)
class Wanted:
    release: str
    namespace: str
    port: int
    target_ports: tuple[int, ...]
    match_labels: Json
    config_file: str
    #: Container name -> image.
    images: Json


def refusals(image: str, mode: str, mirror: str) -> list[Finding]:
    findings = []
    if mode not in SUPPORTED_MODES:
        fix = "Set wide_ep_router_mode to standalone and wide_ep_gateway_provider to none."
        seen = f"the router has no mode {mode}"
        findings.append(Finding("INPUT_COMBINATION", "error", "wide_ep_router_mode", seen, fix))
    if not mirror and image.startswith(DELETED_IMAGES):
        fix = (
            "Use ghcr.io/llm-d/llm-d-router-endpoint-picker in wide_ep_image_overrides.epp, or set wide_ep_mirror to a "
            "mirror that still has it."
        )
        findings.append(Finding("IMAGE_GONE", "error", image, "it was deleted from its registry with all tags", fix))
    return findings


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
    return [] if wanted.port in ports else [f"the Service has ports {ports}, not {wanted.port}"]


def _pool(item: Json, wanted: Wanted) -> list[str]:
    spec = item["spec"]
    ports = tuple(port["number"] for port in spec["targetPorts"])
    labels = spec["selector"]["matchLabels"]
    problems = []
    if ports != wanted.target_ports:
        problems.append(f"the pool has target ports {list(ports)}, not {list(wanted.target_ports)}")
    if labels != dict(wanted.match_labels):
        problems.append(f"the pool selects {labels}, not {dict(wanted.match_labels)}")
    return problems
