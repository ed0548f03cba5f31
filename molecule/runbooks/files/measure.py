# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches how many ranks are Ready, and tells what a runbook cost.

measure.py watch KUBECONFIG NAMESPACE FILE: write a line for each change, until the file is removed.
measure.py between FILE ARTIFACTS BEGAN ENDED < LOG: sum up an interval of that file and of the log of load.py.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import queue
import sys
import threading
import time
import typing as t
from pathlib import Path

from kubernetes import client, config, watch

TIERS = ("prefill", "decode")
ROLE, SET = "llm-d.ai/role", "leaderworkerset.sigs.k8s.io/name"
GPU = "nvidia.com/gpu"
AGAIN_SECONDS = 0.2
Json = t.Mapping[str, t.Any]


# --- What was seen --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Change:
    """Ranks that are Ready and that the tiers ask for, from a time on."""

    at: float
    ready: t.Mapping[str, int]
    wanted: t.Mapping[str, int]

    @property
    def whole(self) -> bool:
        return all(self.ready[role] >= self.wanted[role] for role in TIERS)


def ranks(spec: Json) -> int:
    """A rank per GPU: tensor parallelism of wide expert parallelism is 1."""
    limits = [container.get("resources", {}).get("limits", {}) for container in spec["containers"]]
    return sum(int(limit.get(GPU, 0)) for limit in limits)


def is_ready(pod: Json) -> bool:
    """A pod that goes keeps its condition for a while, but is asked no more."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    going = bool(pod["metadata"].get("deletionTimestamp"))
    return not going and any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def count(at: float, pods: t.Iterable[Json], sets: t.Iterable[Json], before: Change | None) -> Change:
    """A set that is deleted to be made anew asks for what it asked for before."""
    ready: collections.Counter[str] = collections.Counter()
    for pod in pods:
        if is_ready(pod):
            ready[pod["metadata"]["labels"][ROLE]] += ranks(pod["spec"])
    wanted = dict(before.wanted) if before else dict.fromkeys(TIERS, 0)
    for item in sets:
        template = item["spec"]["leaderWorkerTemplate"]
        size = int(template.get("size", 1)) * ranks(template["workerTemplate"]["spec"])
        wanted[item["metadata"]["labels"][ROLE]] = int(item["spec"].get("replicas", 1)) * size
    return Change(at, {role: ready[role] for role in TIERS}, wanted)


def reduced(changes: t.Sequence[Change], began: float, ended: float) -> tuple[float, str]:
    """Seconds with a rank that is not Ready, and the fewest ranks of each tier that lost some."""
    inside = [change for change in changes if began < change.at < ended]
    first = [change for change in changes if change.at <= began][-1:]
    spans = [*first, *inside]
    seconds = 0.0
    for change, following in zip(spans, [*spans[1:], None], strict=True):
        until = following.at if following else ended
        seconds += 0.0 if change.whole else until - max(change.at, began)
    lowest = {role: min(spans, key=lambda change: change.ready[role] - change.wanted[role]) for role in TIERS}
    told = [
        f"{role} {change.ready[role]} of {change.wanted[role]}"
        for role, change in lowest.items()
        if change.ready[role] < change.wanted[role]
    ]
    return seconds, ", ".join(told) or "all ranks"


def requests(log: str, began: float, ended: float) -> dict[str, t.Any]:
    """What the client sent in an interval, what failed of it and why, and the seconds in which something did."""
    rows = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    mine = [row for row in rows if began <= row["second"] < ended]
    reasons: collections.Counter[str] = collections.Counter()
    for row in mine:
        reasons.update(row["reasons"])
    return {
        "until": max((row["second"] for row in rows), default=0),
        "sent": sum(row["sent"] for row in mine),
        "failed": sum(row["failed"] for row in mine),
        "bad_seconds": sum(row["failed"] > 0 for row in mine),
        "reasons": dict(reasons),
    }


def proof(folder: Path, began: float) -> str:
    """The result of the last proof since then."""
    found = [path for path in folder.glob("*/verify.json") if path.stat().st_mtime > began]
    if not found:
        return "none"
    newest = max(found, key=lambda path: path.stat().st_mtime)
    passed = json.loads(newest.read_text(encoding="utf-8"))["data"].get("passed")
    return "passed" if passed else "FAILED"


def between(file: Path, artifacts: Path, began: float, ended: float, log: str) -> dict[str, t.Any]:
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    seconds, lowest = reduced([Change(**line) for line in lines], began, ended)
    return {
        **requests(log, began, ended),
        "reduced_seconds": round(seconds, 1),
        "lowest": lowest,
        "seconds": round(ended - began),
        "proof": proof(artifacts, began),
    }


# --- Watching -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class News:
    """All objects of a kind, or one that changed or went."""

    kind: str
    everything: tuple[Json, ...] | None = None
    one: Json | None = None
    gone: bool = False

    def apply(self, known: dict[str, Json]) -> None:
        if self.everything is not None:
            known.clear()
            known.update({item["metadata"]["uid"]: item for item in self.everything})
        elif self.one is not None and self.gone:
            known.pop(self.one["metadata"]["uid"], None)
        elif self.one is not None:
            known[self.one["metadata"]["uid"]] = self.one


def follow(kind: str, listing: t.Callable[..., t.Any], options: Json, news: queue.Queue[News]) -> None:
    """Pass on each change of a kind; after a fault all of it is listed anew."""
    serialize = client.ApiClient().sanitize_for_serialization
    while True:
        try:
            found = serialize(listing(**options))
            news.put(News(kind, everything=tuple(found["items"])))
            since = found["metadata"]["resourceVersion"]
            for event in watch.Watch().stream(listing, resource_version=since, **options):
                news.put(News(kind, one=serialize(event["object"]), gone=event["type"] == "DELETED"))
        except Exception as error:
            print(f"{kind}: {error}", file=sys.stderr, flush=True)
        time.sleep(AGAIN_SECONDS)


def watch_ranks(kubeconfig: str, namespace: str, file: Path) -> None:
    config.load_kube_config(kubeconfig)
    news: queue.Queue[News] = queue.Queue()
    where = {"group": "leaderworkerset.x-k8s.io", "version": "v1", "plural": "leaderworkersets"}
    kinds: tuple[tuple[str, t.Callable[..., t.Any], Json], ...] = (
        ("sets", client.CustomObjectsApi().list_namespaced_custom_object, {**where, "namespace": namespace}),
        ("pods", client.CoreV1Api().list_namespaced_pod, {"namespace": namespace, "label_selector": SET}),
    )
    for kind, listing, options in kinds:
        threading.Thread(target=follow, args=(kind, listing, options, news), daemon=True).start()
    known: dict[str, dict[str, Json]] = {"sets": {}, "pods": {}}
    last: Change | None = None
    file.write_text("", encoding="utf-8")
    while file.exists():
        try:
            item = news.get(timeout=1)
        except queue.Empty:
            continue
        item.apply(known[item.kind])
        now = count(time.time(), known["pods"].values(), known["sets"].values(), last)
        if last is None or (now.ready, now.wanted) != (last.ready, last.wanted):
            last = now
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(dataclasses.asdict(now)) + "\n")
    os._exit(0)


def main(arguments: list[str]) -> None:
    if arguments[0] == "watch":
        watch_ranks(arguments[1], arguments[2], Path(arguments[3]))
    else:
        file, artifacts, began, ended = arguments[1:]
        print(json.dumps(between(Path(file), Path(artifacts), float(began), float(ended), sys.stdin.read())))


if __name__ == "__main__":
    main(sys.argv[1:])
