# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the load of a benchmark in a pod of the cluster, and bring its results out whole."""

from __future__ import annotations

import dataclasses
import json
import time
import typing as t
from pathlib import Path

import yaml

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_launch import (
    Launch,
    ending_findings,
    objects,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_profile import (
    Profile,
    ProfileError,
    Target,
    config,
    named,
    profile_findings,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_stack import (
    agreement,
    change_findings,
    counted,
    engine,
    fingerprint,
    rank_rows,
    restarts,
    router,
)
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client, ClientError
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, has_errors, report
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _benchmark_collect as collecting
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import (
    ACCESS_ARGUMENTS,
    InProcessAction,
    display,
    finding_of,
)
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._benchmark_follow import Ended, Follower, Patience, PodError
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._pd_endpoint import GATEWAY, find_endpoint
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._pd_run import LWS_NAME_LABEL, VLLM_PORT_BEHIND_SIDECAR

COMPLETE = "complete.json"
Json = t.Mapping[str, t.Any]
POD_OPTIONS: dict[str, t.Any] = {
    **{name: {"type": "dict"} for name in ("resources", "node_selector", "affinity", "security_context", "env")},
    **{name: {"type": "list", "elements": "dict"} for name in ("tolerations", "volumes", "volume_mounts")},
    "pull_secrets": {"type": "list", "elements": "str"},
    **{name: {"type": "str"} for name in ("service_account", "token_secret", "token_key", "results_size")},
}


#: The label that Gateway API wants on what a provider makes for a Gateway.
GATEWAY_PODS = f"gateway.networking.k8s.io/gateway-name={GATEWAY}"


@dataclasses.dataclass(frozen=True)
class _Where:
    """What ``find_endpoint`` asks of its settings."""

    namespace: str
    release: str
    router_mode: str


@dataclasses.dataclass(frozen=True)
class Live:
    """The deployment as it is now."""

    sets: tuple[dict[str, t.Any], ...]
    routers: tuple[dict[str, t.Any], ...]
    pods: t.Mapping[str, tuple[dict[str, t.Any], ...]]
    router_pods: tuple[dict[str, t.Any], ...]
    gateway_pods: tuple[dict[str, t.Any], ...]
    cluster: str


def look(client: Client, arguments: Json) -> Live:
    namespace, release = arguments["namespace"], arguments["release"]
    tiers = {role: arguments["plan"][role]["lws_name"] for role in ("prefill", "decode")}
    base = f"/apis/leaderworkerset.x-k8s.io/v1/namespaces/{namespace}/leaderworkersets"
    sets = [client.get_or_none(f"{base}/{name}") for name in tiers.values()]
    deployment = client.get_or_none(f"/apis/apps/v1/namespaces/{namespace}/deployments/{release}-epp")
    pods = f"/api/v1/namespaces/{namespace}/pods"
    found = {
        role: tuple(client.list(pods, {"labelSelector": f"{LWS_NAME_LABEL}={name}"})) for role, name in tiers.items()
    }
    labels = ((deployment or {}).get("spec") or {}).get("selector", {}).get("matchLabels") or {}
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    return Live(
        tuple(item for item in sets if item),
        (deployment,) if deployment else (),
        found,
        tuple(client.list(pods, {"labelSelector": selector})) if selector else (),
        # Some providers have their proxies elsewhere.
        tuple(client.list(pods, {"labelSelector": GATEWAY_PODS})) if arguments["router_mode"] == "gateway" else (),
        str((client.get_or_none("/api/v1/namespaces/kube-system") or {}).get("metadata", {}).get("uid", "")),
    )


def stack_of(live: Live, plan: Json, nodes: t.Sequence[Json]) -> list[dict[str, t.Any]]:
    engines = [engine(role, plan[role], live.pods[role], nodes, plan["model"]) for role in ("prefill", "decode")]
    return [*filter(None, engines), *router(live.router_pods, live.gateway_pods)]


def targets(live: Live, ports: t.Sequence[int]) -> list[dict[str, t.Any]]:
    """Every API server of every pod; decode's stand behind their sidecars."""
    found = []
    for role, pods in live.pods.items():
        for pod in pods:
            address = (pod.get("status") or {}).get("podIP")
            host = f"[{address}]" if ":" in str(address) else address
            for index, port in enumerate(ports):
                behind = VLLM_PORT_BEHIND_SIDECAR + index if role == "decode" else port
                found.append({"pod": pod["metadata"]["name"], "role": role, "host": host, "port": behind})
    return [target for target in found if target["host"]]


def profiles_of(arguments: Json) -> tuple[Profile, ...]:
    ranks = int(arguments["plan"]["decode"]["gpus"])
    changes: dict[str, t.Any] = {
        "request_timeout": float(arguments["request_timeout"]),
        "per_request": arguments["per_request"],
        **({"slo": dict(arguments["slo"])} if arguments["slo"] else {}),
        **({"seed": arguments["seed"]} if arguments["seed"] is not None else {}),
    }
    found = named(arguments["profiles"], ranks, arguments["custom_profiles"])
    return tuple(dataclasses.replace(profile, **changes) for profile in found)


def client_counts(folder: Path) -> dict[str, float | None] | None:
    """What the client counted in a collected folder: its good requests, and the server's count of their tokens."""
    requests, tokens = 0.0, 0.0
    known = True
    for path in sorted(folder.glob("stage_*_lifecycle_metrics.json")):
        try:
            successes = json.loads(path.read_text(encoding="utf-8"))["successes"]
            requests += successes["count"]
            counted_tokens = (successes.get("output_tokens") or {}).get("total")
        except (OSError, ValueError, KeyError, TypeError):
            return None
        known = known and isinstance(counted_tokens, (int, float))
        tokens += counted_tokens or 0
    return {"requests": requests, "output_tokens": tokens if known else None}


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "mode": {"type": "str", "choices": ["plan", "run"], "default": "run"},
        "namespace": {"type": "str", "required": True},
        "release": {"type": "str", "required": True},
        "plan": {"type": "dict", "required": True},
        "router_mode": {"type": "str", "choices": ["standalone", "gateway"], "default": "standalone"},
        "base_url": {"type": "str", "default": ""},
        "image": {"type": "str", "required": True},
        "tool_release": {"type": "str", "required": True},
        "command": {"type": "list", "elements": "str", "default": ["inference-perf"]},
        "program": {"type": "path", "required": True},
        "profiles": {"type": "list", "elements": "str", "required": True},
        "custom_profiles": {"type": "dict", "default": {}},
        "repeats": {"type": "int", "default": 3},
        "tokenizer": {"type": "str", "required": True},
        "request_timeout": {"type": "float", "default": 1800},
        "per_request": {"type": "bool", "default": False},
        "slo": {"type": "dict", "default": {}},
        "seed": {"type": "int"},
        "pod": {"type": "dict", "default": {}, "options": POD_OPTIONS},
        "deadline": {"type": "float", "default": 3600},
        "keep": {"type": "float", "default": 3600},
        "connect_timeout": {"type": "float", "default": 60},
        "first_answer_timeout": {"type": "float", "default": 600},
        "start_timeout": {"type": "float", "default": 900},
        "silence_timeout": {"type": "float", "default": 120},
        "api_patience": {"type": "float", "default": 300},
        "collect_patience": {"type": "float", "default": 300},
        "destination": {"type": "path", "required": True},
        "reuse": {"type": "bool", "default": True},
        "keep_pod": {"type": "bool", "default": False},
        "replace_pod": {"type": "bool", "default": False},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        # Values of a play carry tags, which neither YAML nor the API's encoder has a form for.
        arguments = json.loads(json.dumps(arguments))
        try:
            profiles = profiles_of(arguments)
        except ProfileError as error:
            fix = "Correct benchmark_profiles or benchmark_custom_profiles."
            return self.refusal([Finding("BENCHMARK_PROFILE", "error", "benchmark_profiles", str(error), fix)])
        client = self.client(arguments)
        live = look(client, arguments)
        base_url, findings = self._endpoint(client, arguments)
        findings += self._judged(arguments, profiles, base_url)
        if has_errors(findings):
            return self.refusal(findings)
        launch = launch_of(arguments, profiles, base_url, live)
        planned = self._planned(arguments, launch, findings)
        if arguments["mode"] == "plan":
            return planned
        if self.check_mode:
            return {"skipped": True, "msg": f"check mode: would run {len(launch.runs)} loads against {base_url}"}
        return {**planned, **Run(client, arguments, launch, live, display.display).run()}

    def _endpoint(self, client: Client, arguments: Json) -> tuple[str, list[Finding]]:
        if arguments["base_url"]:
            return str(arguments["base_url"]).rstrip("/"), []
        where = _Where(arguments["namespace"], arguments["release"], arguments["router_mode"])
        endpoint = find_endpoint(client, where)
        if endpoint.url and endpoint.ready:
            return endpoint.url, []
        if self.check_mode:
            # What an earlier phase would make is not there yet.
            return f"http://{arguments['release']}-epp.{arguments['namespace']}.svc:80", []
        fix = "Run site.yml, or playbooks/verify.yml for the cause. No load was sent."
        evidence = endpoint.evidence or "nothing behind it is ready"
        return endpoint.url or "", [Finding("BENCHMARK_ENDPOINT", "error", endpoint.subject, evidence, fix)]

    @staticmethod
    def _judged(arguments: Json, profiles: t.Sequence[Profile], base_url: str) -> list[Finding]:
        model = arguments["plan"]["model"]
        target = Target(model, base_url, arguments["tokenizer"], "@results@", arguments["tool_release"])
        found = [one for profile in profiles for one in profile_findings(profile, target, arguments["deadline"])]
        if arguments["repeats"] < 1:
            evidence = f"found {arguments['repeats']}, expected 1 or more"
            found.append(Finding("INPUT_TYPE", "error", "benchmark_repeats", evidence, "Set it to 3 or more."))
        return list(dict.fromkeys(found))

    @staticmethod
    def _planned(arguments: Json, launch: Launch, findings: t.Sequence[Finding]) -> dict[str, t.Any]:
        existing = reusable(Path(arguments["destination"]), launch) if arguments["reuse"] else ""
        return {
            "fingerprint": launch.fingerprint,
            "base_url": launch.base_url,
            "objects": objects(launch),
            "runs": launch.runs,
            "existing": existing,
            "findings": [finding.as_dict() for finding in findings],
            "warnings": [finding.text() for finding in findings if finding.severity == "warning"],
        }


def reusable(root: Path, launch: Launch) -> str:
    """The folder of a complete report of the same load on the same deployment; its files are what they were."""
    for path in sorted(root.glob(f"{launch.fingerprint[:10]}-*/{COMPLETE}"), reverse=True):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        same = found.get("fingerprint") == launch.fingerprint
        if same and not collecting.broken(path.parent / "results"):
            return str(path.parent)
    return ""


def launch_of(arguments: Json, profiles: t.Sequence[Profile], base_url: str, live: Live) -> Launch:
    model = arguments["plan"]["model"]
    target = Target(model, base_url, arguments["tokenizer"], "@results@", arguments["tool_release"])
    texts = {profile.name: yaml.safe_dump(config(profile, target), sort_keys=False) for profile in profiles}
    given = {name: value for name, value in arguments["pod"].items() if value is not None}
    # A tokenizer in a folder needs no hub, and a look-up there would only wait for the network.
    offline = {"HF_HUB_OFFLINE": "1"} if arguments["tokenizer"].startswith("/") else {}
    given["env"] = {**offline, **given.get("env", {})}
    for name in ("tolerations", "volumes", "volume_mounts", "pull_secrets"):
        given[name] = tuple(given.get(name) or ())
    same = ("connect_timeout", "first_answer_timeout", "deadline", "keep", "repeats", "namespace", "release", "image")
    return Launch(
        model=model,
        base_url=base_url,
        tool_release=arguments["tool_release"],
        profiles=texts,
        requests={profile.name: profile.requests for profile in profiles},
        fingerprint=fingerprint(live.sets, live.routers, [texts, arguments["repeats"], arguments["image"]]),
        command=tuple(arguments["command"]),
        **{name: arguments[name] for name in same},
        **given,
    )


class Run:
    """One experiment: its pod from start to end, and its results."""

    def __init__(
        self,
        client: Client,
        arguments: Json,
        launch: Launch,
        live: Live,
        show: t.Callable[[str], t.Any],
    ) -> None:
        self._client, self._arguments, self._launch = client, arguments, launch
        self._live, self._show = live, show
        patience = Patience(arguments["start_timeout"], arguments["silence_timeout"], arguments["api_patience"])
        program = Path(arguments["program"]).read_text(encoding="utf-8")
        self._follower = Follower(client, launch, patience, show, program)
        self._nodes = client.list("/api/v1/nodes")

    def run(self) -> dict[str, t.Any]:
        stamp = time.strftime("%Y%m%dt%H%M%Sz", time.gmtime())
        experiment = f"{self._launch.fingerprint[:10]}-{stamp}"
        told = targets(self._live, self._arguments["plan"]["target_ports"])
        try:
            made = self._follower.start(experiment, told, replace=self._arguments["replace_pod"])
            ended = self._follower.follow(made)
        except PodError as error:
            # A pod that is another's measurement is not ours to remove.
            return self._failed([error.finding], remove=error.finding.code != "BENCHMARK_POD_IN_USE")
        except ClientError as error:
            # The load goes on without us; the next run finds its pod.
            return self._failed([finding_of(error)], remove=False)
        return self._results(ended)

    def _failed(self, findings: t.Sequence[Finding], *, remove: bool) -> dict[str, t.Any]:
        left = self._remove() if remove else []
        found = [*findings, *left]
        kept = not remove or bool(left) or self._arguments["keep_pod"]
        return {
            **InProcessAction.refusal(found),
            "changed": True,
            "complete": False,
            "pod_left": kept,
            "results": [],
        }

    def _remove(self) -> list[Finding]:
        if self._arguments["keep_pod"]:
            return []
        try:
            self._follower.remove()
        except ClientError as error:
            fix = "Remove it by playbooks/benchmark.yml -t benchmark_remove."
            return [Finding("BENCHMARK_POD", "warning", "pod llmdbench-harness-launcher", f"left behind: {error}", fix)]
        return []

    def _results(self, ended: Ended) -> dict[str, t.Any]:
        findings = ending_findings(ended.word)
        complete = not findings
        root = Path(self._arguments["destination"])
        folder = root / ended.experiment / ("results" if complete else "incomplete")
        if ended.word.get("index"):
            try:
                self._collect(ended, root, folder)
            except collecting.CollectError as error:
                fix = "Run the benchmark again: its pod still has the results, and they are collected then."
                kept = error.retryable
                fix = fix if kept else "Move that folder away, or set another benchmark_destination."
                finding = Finding("BENCHMARK_COLLECT", "error", str(folder), str(error), fix)
                return self._failed([*findings, finding], remove=not kept)
        if findings:
            return {**self._failed(findings, remove=True), "folder": str(folder)}
        return self._told(ended, folder)

    def _collect(self, ended: Ended, root: Path, folder: Path) -> None:
        fresh = root / f".{ended.experiment}.part"
        collecting.discard(fresh)
        execute = collecting.pod_exec(self._client, self._launch.namespace)
        patience = self._arguments["collect_patience"]
        collector = collecting.Collector(execute, ended.experiment, patience, lambda text: self._show("  " + text))
        try:
            collector.collect(ended.word["index"], fresh)
            folder.parent.mkdir(parents=True, exist_ok=True)
            collecting.take_place(fresh, folder)
        finally:
            collecting.discard(fresh)

    def _told(self, ended: Ended, folder: Path) -> dict[str, t.Any]:
        """Everything that a report says beside the measured figures."""
        after = look(self._client, self._arguments)
        markers = [json.loads((folder / run["folder"] / "run.json").read_text("utf-8")) for run in self._launch.runs]
        before = restarts([pod for pods in self._live.pods.values() for pod in pods])
        findings = change_findings(before, restarts([pod for pods in after.pods.values() for pod in pods]))
        results = [self._profile(name, folder, markers, ended) for name in self._launch.profiles]
        for entry in results:
            findings += entry.pop("_findings")
        left = self._remove()
        findings += left
        return {
            "changed": True,
            "complete": True,
            "pod_left": bool(left) or self._arguments["keep_pod"],
            "failed": False,
            "experiment": ended.experiment,
            "folder": str(folder.parent),
            "results": results,
            "stack": stack_of(after, self._arguments["plan"], self._nodes),
            "topology": topology(self._arguments["plan"]),
            "findings": [finding.as_dict() for finding in findings],
            "warnings": [finding.text() for finding in findings if finding.severity == "warning"],
            "msg": "\n".join([f"{len(markers)} loads ended, results in {folder.parent}", report(findings)]).strip(),
        }

    def _profile(self, name: str, folder: Path, markers: t.Sequence[Json], ended: Ended) -> dict[str, t.Any]:
        mine = [marker for marker in markers if marker["profile"] == name]
        findings, rows = [], []
        for marker in mine:
            found, problems = counted(marker)
            rows += found
            counts = client_counts(folder / marker["folder"])
            if counts is not None:
                findings += agreement(marker["folder"], counts, found, problems)
        return {
            "profile": name,
            "folders": [str(folder / marker["folder"]) for marker in mine],
            "ranks": merged(rank_rows(rows)),
            "run": {
                "experiment": f"{ended.experiment}/{name}",
                "cluster": self._live.cluster,
                "pod": ended.pod["metadata"]["uid"],
                "user": f"namespace={self._launch.namespace}",
                "start": mine[0]["start"],
                "end": mine[-1]["end"],
                "tool_version": mine[0]["tool_version"],
                "keywords": [self._launch.release, name],
            },
            "_findings": findings,
        }


def merged(rows: t.Sequence[Json]) -> list[dict[str, t.Any]]:
    """The requests of each rank over all repeats."""
    found: dict[tuple[str, str, str], float] = {}
    for row in rows:
        key = (str(row["role"]), str(row["pod"]), str(row["rank"]))
        found[key] = found.get(key, 0.0) + float(row["requests"])
    names = ("role", "pod", "rank", "requests")
    return [dict(zip(names, (*key, requests), strict=True)) for key, requests in sorted(found.items())]


def topology(plan: Json) -> dict[str, int]:
    gpus = {role: int(plan[role]["gpus"]) for role in ("prefill", "decode")}
    return {
        "prefill_gpus": gpus["prefill"],
        "decode_gpus": gpus["decode"],
        "total_gpus": sum(gpus.values()),
        "decode_ranks": gpus["decode"],
    }
