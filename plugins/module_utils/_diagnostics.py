# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written down of a deployment that fails, without its secrets. Private to the collection."""

from __future__ import annotations

import base64
import binascii
import collections
import dataclasses
import re
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._evidence import redacted

Json = t.Mapping[str, t.Any]
JsonObject = dict[str, t.Any]

HIDDEN = "<hidden>"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
#: Shorter values are words like "true"; hiding them everywhere would make the rest unreadable.
SHORTEST_SECRET = 6
SECRET_NAME = re.compile(r"token|password|passwd|secret|api[-_]?key|access[-_]?key|credential|authorization", re.I)
#: Names that hold such a word and no secret: references and switches.
NOT_SECRET = re.compile(
    r"secretKeyRef|secretName|secretRef|imagePullSecrets|automountServiceAccountToken|max.?tokens?", re.I
)
ASSIGNMENT = re.compile(
    r"(?P<name>[\w.-]*(?:token|password|passwd|api[-_]?key|secret)[\w.-]*)(?P<sign>\s*[=:]\s*)(?P<value>[^\s,;\"']{6,})",
    re.I,
)


@dataclasses.dataclass(frozen=True)
class Pattern:
    """A piece of a log line that has a known meaning."""

    name: str
    fragment: re.Pattern[str]
    meaning: str


def _pattern(name: str, fragment: str, meaning: str) -> Pattern:
    return Pattern(name, re.compile(fragment, re.IGNORECASE), meaning)


#: What the logs of vLLM, NVSHMEM, NCCL, UCX and NIXL say when wide expert parallelism breaks (llm-d #412, #1730, #2379;
#: DeepEP #38, #139, #221; vLLM #25597, #44548).
CLASSES: tuple[Pattern, ...] = (
    _pattern(
        "roce-address",
        r"Unable to create ah|ibgda_rc_init2rtr failed|INIT2RTR_QP with syndrome",
        "RoCE: GID or route of a NIC is unresolved, or the image's NVSHMEM lacks the patch: use an llm-d image",
    ),
    _pattern(
        "rdma-path",
        r"ibv_modify_qp failed",
        "no way for a queue pair: 101 unreachable, 110 timeout, 113 no route, 22 bad GID or MTU; playbooks/rdma_mesh",
    ),
    _pattern(
        "ibgda",
        r"nvshmem setup connections failed|init failed for transport: IBGDA|no active IB device",
        "IBGDA: privilege, device or driver of the NIC is missing",
    ),
    _pattern(
        "deepep-low-latency",
        r"DeepEP timeout for .*rank \d+",
        "the low-latency path lost a peer; rank and src_rank name the pair of NICs: playbooks/rdma_mesh.yml",
    ),
    _pattern(
        "deepep-high-throughput",
        r"DeepEP dispatch RDMA sender timeout|forwarder timeout",
        "a rail of the high-throughput path lost packets: playbooks/rdma_mesh.yml",
    ),
    _pattern(
        "driver-r580",
        r"cudaErrorIllegalAddress",
        "GPU driver R580 or newer with deepep_high_throughput: pin an older driver or change the prefill backend",
    ),
    _pattern("shared-memory", r"No available shared memory broadcast block", "/dev/shm is full: model_server_shm_size"),
    _pattern(
        "kv-transfer",
        r"NIXL_ERR_BACKEND|Destination is unreachable",
        "UCX chose a device that does not reach the peer: UCX_NET_DEVICES, or the fabric",
    ),
    _pattern(
        "gpu-memory", r"CUDA out of memory|torch\.OutOfMemoryError", "KV cache and weights exceed the GPU's memory"
    ),
    _pattern("hub-limit", r"HTTP Error 429|Too Many Requests", "the model hub limits the rate: playbooks/prefetch.yml"),
    _pattern("sidecar-flag", r"unknown flag: --connector", "the sidecar is v0.10.0 or newer: --kv-connector"),
    _pattern(
        "user-name", r"getpwuid\(\): uid not found|No username set in the environment", "vLLM 0.20+: set env USER"
    ),
    _pattern("gateway-route", r"fault filter abort", "the HTTPRoute does not match or is not reconciled yet"),
    _pattern("memlock", r"ibv_reg_mr.*(?:failed|ENOMEM)|RLIMIT_MEMLOCK", "the pod may not lock enough memory"),
)
#: Lines worth a file of their own whatever they say.
TRANSPORT = re.compile(r"\b(NCCL|NVSHMEM|UCX|NIXL|DeepEP|IBGDA|ibv_\w+|GDRCopy)\b")


def secret_values(secrets: t.Iterable[Json]) -> tuple[str, ...]:
    """The values that may appear nowhere, the longest first so that parts of others do not break them up."""
    found: set[str] = set()
    for item in secrets:
        if item.get("type") == "helm.sh/release.v1":
            continue
        for key, text in (item.get("data") or {}).items():
            # A service account's Secret tells its namespace, which is everywhere.
            if key == "namespace":
                continue
            found.add(str(text))
            try:
                found.add(base64.b64decode(text).decode().strip())
            except (binascii.Error, ValueError):
                continue
    return tuple(sorted((value for value in found if len(value) >= SHORTEST_SECRET), key=len, reverse=True))


def clean(text: str, values: t.Iterable[str] = ()) -> str:
    """Text without known secrets, without what looks like one, and without what is named like one."""
    for value in values:
        text = text.replace(value, HIDDEN)
    text = redacted(text)
    return ASSIGNMENT.sub(_hide_assignment, text)


def _hide_assignment(match: re.Match[str]) -> str:
    kept = NOT_SECRET.search(match["name"]) or match["value"].startswith(("<hidden>", "{", "["))
    # A number is a size or a count: max_tokens=256000.
    if kept or match["value"].replace(".", "").isdigit():
        return match[0]
    return f"{match['name']}{match['sign']}{HIDDEN}"


def clean_object(value: t.Any, name: str = "") -> t.Any:
    """An object to write down: without the data of a Secret and values that are named like one."""
    if isinstance(value, t.Mapping):
        kept = {key: item for key, item in value.items() if key not in ("managedFields", LAST_APPLIED)}
        if value.get("kind") == "Secret":
            kept = {key: _keys_only(item) if key in ("data", "stringData") else item for key, item in kept.items()}
        if _is_secret_variable(value):
            kept = {**kept, "value": HIDDEN}
        return {key: clean_object(item, str(key)) for key, item in kept.items()}
    if isinstance(value, list):
        return [clean_object(item, name) for item in value]
    if isinstance(value, str) and _is_secret_name(name):
        return HIDDEN
    return value


def _keys_only(value: t.Any) -> t.Any:
    return dict.fromkeys(value, HIDDEN) if isinstance(value, t.Mapping) else HIDDEN


def _is_secret_variable(value: Json) -> bool:
    return isinstance(value.get("name"), str) and "value" in value and _is_secret_name(value["name"])


def _is_secret_name(name: str) -> bool:
    return bool(SECRET_NAME.search(name)) and not NOT_SECRET.search(name) and name not in ("secret", "tokens")


@dataclasses.dataclass(frozen=True)
class Hit:
    """A known meaning with the first line that showed it."""

    name: str
    meaning: str
    count: int
    source: str
    line: str


def classify(logs: t.Mapping[str, str]) -> list[Hit]:
    """Known causes in logs by their file names, the most frequent first."""
    counts: collections.Counter[str] = collections.Counter()
    first: dict[str, tuple[str, str]] = {}
    for source, text in logs.items():
        for line in text.splitlines():
            for pattern in CLASSES:
                if pattern.fragment.search(line):
                    counts[pattern.name] += 1
                    first.setdefault(pattern.name, (source, line.strip()[:300]))
    meanings = {pattern.name: pattern.meaning for pattern in CLASSES}
    return [Hit(name, meanings[name], count, *first[name]) for name, count in counts.most_common()]


def transport_lines(logs: t.Mapping[str, str], limit: int = 400) -> str:
    """The lines about transports, by log, the last ones of each."""
    found = []
    for source, text in logs.items():
        lines = [line for line in text.splitlines() if TRANSPORT.search(line)]
        if lines:
            found += [f"== {source}: {len(lines)} lines", *lines[-limit:], ""]
    return "\n".join(found)


def containers(pod: Json) -> list[tuple[str, bool]]:
    """Containers whose log exists now, each with whether an earlier one of it has left a log."""
    status = pod.get("status") or {}
    found = []
    for entry in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        state = entry.get("state") or {}
        if {"running", "terminated"} & set(state) or int(entry.get("restartCount", 0)):
            found.append((str(entry["name"]), int(entry.get("restartCount", 0)) > 0))
    return found


def event_line(event: Json) -> str:
    target = event.get("involvedObject") or event.get("regarding") or {}
    stamp = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    what = f"{target.get('kind')}/{target.get('name')}"
    return f"{stamp} {event.get('type')} {event.get('reason')} {what}: {event.get('message') or event.get('note')}"
