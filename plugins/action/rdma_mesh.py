# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove which backends the fabric between the nodes carries, and name what breaks it."""

from __future__ import annotations

import dataclasses
import json
import secrets
import typing as t
from pathlib import Path

from ansible.errors import AnsibleActionFail

from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_result as results
from ansible_collections.llmd.wide_ep.plugins.module_utils import _mesh_schedule as schedule
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client, ClientError
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding, report
from ansible_collections.llmd.wide_ep.plugins.module_utils._mesh_frames import FrameError
from ansible_collections.llmd.wide_ep.plugins.module_utils._mesh_picture import page
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _mesh_job as jobs
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _mesh_kept as kept
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _mesh_run as runs
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _mesh_situ as situ
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import ACCESS_ARGUMENTS, InProcessAction, display
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._mesh_program import program_files, version_of

#: A round in the pods, from one order to the next; without rates all rounds run into each other.
SECONDS_PER_ROUND = 0.02


def settings_of(arguments: t.Mapping[str, t.Any], run_id: str, key: str) -> jobs.Settings:
    """Everything about the Job, from the inputs and the rendered model servers."""
    templates = jobs.templates(arguments["objects"])
    # Decode before prefill: it is the one that needs most of the fabric.
    role = "decode" if "decode" in templates else next(iter(templates), "")
    nodes = tuple(arguments["nodes"])
    plan = dict(arguments["plan"])
    check(arguments, nodes, plan)
    return jobs.Settings(
        namespace=arguments["namespace"],
        release=arguments["release"],
        run_id=run_id,
        key=key,
        image=arguments["image"] or jobs.image_of(templates.get(role, {})),
        hosts=len(nodes) or arguments["hosts"],
        transport=arguments["transport"],
        nics=tuple(arguments["nics"]),
        template=templates.get(role, {}),
        nodes=nodes,
        host_network=arguments["host_network"],
        port=arguments["port"],
        join_seconds=arguments["join_timeout"],
        phase_seconds=arguments["phase_timeout"],
        deadline_seconds=int(arguments["join_timeout"] + 6 * arguments["phase_timeout"]),
        plan=plan,
        options=arguments["options"],
        resources=arguments["resources"],
        tolerations=tuple(arguments["tolerations"]),
    )


def check(arguments: t.Mapping[str, t.Any], nodes: t.Sequence[str], plan: t.Mapping[str, t.Any]) -> None:
    """Refuse inputs that contradict each other before anything is created."""
    twice = sorted({name for name in nodes if nodes.count(name) > 1})
    problem = ""
    if twice:
        problem = f"nodes: {', '.join(twice)} occurs twice"
    elif (len(nodes) or arguments["hosts"]) < 2:
        problem = f"a mesh needs at least 2 distinct hosts, {len(nodes) or arguments['hosts']} are asked for"
    elif plan.get("mode", "full") not in ("full", "sampled"):
        problem = f"plan.mode is {plan['mode']!r}, known are full and sampled"
    elif plan.get("mode") == "sampled" and int(plan.get("rounds", 0)) < 2:
        problem = "plan.rounds: a sample needs at least 2 rounds"
    elif plan.get("mode") == "sampled" and arguments["require"] == "full_mesh" and not arguments["accept_sampled"]:
        problem = "require: full_mesh contradicts a sample; set accept_sampled, or take plan.mode full"
    elif arguments["transport"] == "udp" and arguments["gate"] == "enforce" and not arguments["accept_ip_only"]:
        problem = "transport udp tells nothing about RDMA and may not gate a deployment that needs it"
    else:
        problem = _options_problem(arguments["transport"], arguments["options"])
    if problem:
        raise AnsibleActionFail(problem)


#: Option of the transport rdma -> lowest and highest value.
RANGES = {
    "timeout": (1, 31),
    # 7 means "for ever" to some adapters.
    "retry_cnt": (0, 6),
    "traffic_class": (0, 255),
    "sl": (0, 15),
    "flow_label": (0, 0xFFFFF),
    "pkey_index": (0, 0xFFFF),
    "gid_index": (0, 255),
    "window": (1, 4096),
}
KNOWN_OPTIONS = {
    "rdma": {*RANGES, "ud", "again", "rate_seconds", "family", "force_grh", "gpu", "passes", "settle"},
    "udp": {"port", "passes", "settle"},
}


def _options_problem(transport: str, options: t.Mapping[str, t.Any]) -> str:
    unknown = sorted(set(options) - KNOWN_OPTIONS[transport])
    if unknown:
        return f"options: {unknown[0]!r} is unknown to transport {transport}; known: {sorted(KNOWN_OPTIONS[transport])}"
    for name, (low, high) in RANGES.items():
        if name in options and not low <= int(options[name]) <= high:
            return f"options.{name} is {options[name]}, possible are {low} to {high}"
    return ""


def planned(settings: jobs.Settings, nics: int) -> dict[str, t.Any]:
    """What a run would do, as far as it is known without the hosts' NICs."""
    counts = (nics,) * settings.hosts
    plan = schedule.full(counts)
    if settings.plan.get("mode") == "sampled":
        plan = schedule.sampled(counts, int(settings.plan["rounds"]), int(settings.plan.get("seed", 0)))
    total, rate = schedule.directed_pairs(counts), float(settings.options.get("rate_seconds") or 0)
    return {
        "hosts": settings.hosts,
        "nics_per_host": nics,
        "directed_pairs": plan.size(),
        "coverage": round(plan.size() / total, 4) if total else 0.0,
        "rounds": len(plan.rounds),
        "least_rounds": schedule.least_rounds(counts),
        "seconds": round(len(plan.rounds) * (SECONDS_PER_ROUND + rate), 1),
    }


def write_artifacts(
    folder: Path, analysis: results.Analysis, data: t.Mapping[str, t.Any], title: str
) -> dict[str, str]:
    """The result for programs, the matrix for people, the picture for both."""
    folder.mkdir(parents=True, exist_ok=True)
    reach = analysis.result.case.matrix
    texts = {
        "json": json.dumps({**data, "raw": analysis.result.raw}, indent=1, sort_keys=True) + "\n",
        "txt": results.text_matrix(reach) + "\n",
        "html": page(reach, data, title),
    }
    paths = {}
    for kind, text in texts.items():
        path = folder / f"rdma_mesh_matrix.{kind}"
        path.write_text(text, encoding="utf-8")
        paths[kind] = str(path)
    return paths


def absent_of(text: str) -> list[str]:
    """The hosts of a result that did not take part to the end."""
    return [host["name"] for host in json.loads(text)["hosts"] if host.get("gone")]


def summary(data: t.Mapping[str, t.Any], reused: bool) -> list[list[str]]:
    carried = [name for name, entry in data["usable_by"].items() if entry["state"] == "ok"]
    coverage = data["coverage"]
    verdict = f"{data['verdict']} ({data['basis']})" + (", kept from an earlier run" if reused else "")
    return [
        ["Fabric", verdict],
        ["Pairs", f"{coverage['directed_pairs_tested']} of {coverage['total']} tested"],
        ["Carries", ", ".join(carried) or "none of the known backends"],
    ]


def verdict_of(data: t.Mapping[str, t.Any], passed: bool) -> dict[str, t.Any]:
    """What is told to who looks at the kept result by hand."""
    names = ("verdict", "qualifiers", "basis", "requirement", "coverage", "hosts", "nics")
    return {
        **{name: data[name] for name in names},
        "passed": passed,
        "usable_by": {name: entry["state"] for name, entry in data["usable_by"].items()},
    }


@dataclasses.dataclass(frozen=True)
class Known:
    """What the cluster tells before anything is probed."""

    nodes: list[dict[str, t.Any]]
    result: kept.Kept | None
    choice: kept.Choice
    servers: list[dict[str, t.Any]]


@dataclasses.dataclass(frozen=True)
class Measured:
    analysis: results.Analysis
    text: str
    reused: bool

    @property
    def passed(self) -> bool:
        return not self.analysis.failed and self.analysis.shape.verdict != "NOT_MEASURED"


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        **ACCESS_ARGUMENTS,
        "namespace": {"type": "str", "required": True},
        "release": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["proven", "absent"], "default": "proven"},
        "image": {"type": "str", "default": ""},
        "program": {"type": "path", "default": ""},
        "objects": {"type": "list", "elements": "dict", "default": []},
        "hosts": {"type": "int", "default": 0},
        "nodes": {"type": "list", "elements": "str", "default": []},
        "nics": {"type": "list", "elements": "str", "default": ["mlx5_*"]},
        "nics_per_host": {"type": "int", "default": 8},
        "transport": {"type": "str", "choices": list(results.TRANSPORTS), "default": "rdma"},
        "options": {"type": "dict", "default": {}},
        "plan": {"type": "dict", "default": {}},
        "require": {"type": "str", "choices": list(results.REQUIRE), "default": "auto"},
        "kv": {"type": "str", "choices": ["required", "observe"], "default": "observe"},
        "gate": {"type": "str", "choices": ["enforce", "warn", "off"], "default": "enforce"},
        "accept_sampled": {"type": "bool", "default": False},
        "accept_ip_only": {"type": "bool", "default": False},
        "placement": {"type": "dict", "default": {}},
        "host_network": {"type": "bool", "default": False},
        "port": {"type": "int", "default": 18515},
        "resources": {"type": "dict"},
        "tolerations": {"type": "list", "elements": "dict", "default": []},
        "start_timeout": {"type": "float", "default": 120},
        "join_timeout": {"type": "float", "default": 60},
        "phase_timeout": {"type": "float", "default": 120},
        "reuse": {"type": "bool", "default": True},
        "in_situ": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
        "dest": {"type": "path"},
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        if arguments["state"] == "absent":
            return self._absent(arguments)
        settings = settings_of(arguments, secrets.token_hex(8), secrets.token_hex(16))
        files = program_files(Path(arguments["program"]))
        if self.check_mode:
            return self._foreseen(arguments, settings, files)
        client = self.client(arguments)
        try:
            return self._prove(client, arguments, settings, files)
        except (runs.RunError, FrameError, results.ResultError, jobs.JobError) as error:
            code = "RDMA_RESULT_INCOMPLETE" if isinstance(error, FrameError | results.ResultError) else (
                "RDMA_CHECK_FAILED")  # fmt: skip
            fix = "Mend what the evidence names, then run the same command again; nothing of the check is left behind."
            return self._refused(arguments, Finding(code, "error", "RDMA mesh check", str(error), fix))

    def _foreseen(
        self, arguments: t.Mapping[str, t.Any], settings: jobs.Settings, files: t.Mapping[str, str]
    ) -> dict[str, t.Any]:
        """The kept verdict where it holds, and what would be probed where it does not; nothing is created."""
        try:
            client = self.client(arguments)
            known = self._known(client, arguments, settings, version_of(dict(files)))
            if known.result is not None and known.choice.whole:
                found = self._judged(
                    arguments, results.restrict(known.result.text, known.choice.nodes), {}, reused=True
                )
                if found.passed:
                    return self._result(arguments, found, client, changed=False, artifacts={})
            where = f" on {', '.join(known.choice.new[:4])} alone" if known.choice.part else ""
        except ClientError as error:
            where = f"; the cluster cannot be asked what is known already ({error})"
        plan = planned(settings, arguments["nics_per_host"])
        shown = f"{plan['directed_pairs']} pairs in {plan['rounds']} rounds between {plan['hosts']} hosts{where}"
        return {"changed": True, "plan": plan, "msg": f"Nothing is probed in check mode; a run tests {shown}."}

    def _refused(self, arguments: t.Mapping[str, t.Any], finding: Finding) -> dict[str, t.Any]:
        """A check that could not be carried out is an unmet requirement: what is not known is not carried."""
        found = self.refusal([finding])
        shown = [found["msg"]] if arguments["gate"] == "warn" else []
        return {**found, "failed": arguments["gate"] == "enforce", "passed": False, "warnings": shown}

    def _absent(self, arguments: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        if self.check_mode:
            return {"changed": False, "msg": "What checks have left behind is looked for only when it is removed."}
        client = self.client(arguments)
        removed = runs.clear(client, arguments["namespace"], arguments["release"], everything=True)
        forgotten = kept.forget(client, arguments["namespace"], arguments["release"])
        return {"changed": bool(removed or forgotten), "removed": removed, "warnings": list(client.warnings)}

    def _prove(
        self,
        client: Client,
        arguments: t.Mapping[str, t.Any],
        settings: jobs.Settings,
        files: t.Mapping[str, str],
    ) -> dict[str, t.Any]:
        version = version_of(dict(files))
        known = self._known(client, arguments, settings, version)
        found = self._measured(client, arguments, settings, files, known)
        data = results.as_dict(found.analysis)
        case = found.analysis.result.case
        changed = False
        # A result with absent hosts is not kept: they are what the next run wants to know of.
        if not found.reused and case.complete and not found.analysis.result.facts.absent:
            verdict = verdict_of(data, found.passed)
            changed = kept.keep(client, settings, found.text, version, nodes=known.nodes, verdict=verdict)
        title = f"RDMA mesh of {arguments['release']}, run {found.analysis.result.raw['run_id']}"
        artifacts: dict[str, str] = {}
        if arguments["dest"]:
            artifacts = write_artifacts(Path(arguments["dest"]), found.analysis, data, title)
        return self._result(arguments, found, client, changed=changed, artifacts=artifacts)

    @staticmethod
    def _known(client: Client, arguments: t.Mapping[str, t.Any], settings: jobs.Settings, version: str) -> Known:
        nodes = client.list("/api/v1/nodes")
        found = kept.read(client, settings, version) if arguments["reuse"] else None
        choice = kept.choose(found, settings, nodes)
        return Known(nodes, found, choice, runs.servers(client, settings.namespace, settings.release))

    def _measured(
        self,
        client: Client,
        arguments: t.Mapping[str, t.Any],
        settings: jobs.Settings,
        files: t.Mapping[str, str],
        known: Known,
    ) -> Measured:
        """What is kept where it is the whole answer and a good one: a fabric that failed may have been mended since."""
        if known.result is not None and known.choice.whole:
            found = self._judged(arguments, results.restrict(known.result.text, known.choice.nodes), {}, reused=True)
            held = bool(known.servers) and settings.transport == "rdma" and arguments["in_situ"] == "never"
            if found.passed or held:
                return found
        if known.result is not None and known.choice.part:
            new, nodes = known.choice.new, known.choice.nodes
            left = f"{len(nodes) - len(new)} nodes are known, {len(new)} are new: {', '.join(new[:4])}"
            display.display(f"RDMA mesh: {left}")
            plan = {"mode": "increment", "names": list(new)}
            grown = dataclasses.replace(settings, nodes=nodes, hosts=len(nodes), plan=plan)
            text, absent = self._probed(client, arguments, grown, files, known)
            whole = results.extend(known.result.text, text) if not absent_of(text) else None
            if whole is not None:
                return self._judged(arguments, whole, absent)
        text, absent = self._probed(client, arguments, settings, files, known)
        return self._judged(arguments, text, absent)

    @staticmethod
    def _probed(
        client: Client,
        arguments: t.Mapping[str, t.Any],
        settings: jobs.Settings,
        files: t.Mapping[str, str],
        known: Known,
    ) -> tuple[str, dict[int, tuple[str, str]]]:
        """Beside model servers nothing asks for what is theirs: datagrams need no device, verbs go into their pods."""
        show, how = display.display, arguments["in_situ"]
        wanted = how == "always" or (how == "auto" and settings.transport == "rdma")
        found = situ.places(known.servers, settings) if wanted else []
        if found:
            why = jobs.reasons(settings, known.nodes)
            free = sorted(name for name, reason in why.items() if not reason and name not in {at.node for at in found})
            show(f"RDMA mesh: {len(found)} nodes serve, their probers run beside the model servers")
            return situ.probe(client, situ.divide(settings, found, free), files, show)
        if known.servers and settings.transport == "rdma":
            raise runs.RunError(
                f"{len(known.servers)} model servers run, among them {known.servers[0]['metadata']['name']}, and hold "
                "the NICs; no kept result fits these nodes, and in_situ is never"
            )
        settings = dataclasses.replace(settings, take_devices=not known.servers)
        return runs.probe(client, jobs.on_nodes(settings, known.nodes), files, show, arguments["start_timeout"])

    def _judged(
        self,
        arguments: t.Mapping[str, t.Any],
        text: str,
        absent: t.Mapping[int, tuple[str, str]],
        *,
        reused: bool = False,
    ) -> Measured:
        result = results.read(text, absent)
        groups = self._groups(arguments, result)
        analysis = results.analyze(result, groups, arguments["require"], kv=arguments["kv"] == "required")
        return Measured(analysis, text, reused)

    @staticmethod
    def _groups(arguments: t.Mapping[str, t.Any], result: results.Result) -> list[t.Any]:
        listed: list[list[dict[str, t.Any]]] = [host["nics"] for host in result.raw["hosts"] if host.get("nics")]
        names = [nic["name"] for nic in listed[0]] if listed else []
        return jobs.groups(arguments["objects"], result.case.matrix.hosts, names, arguments["placement"])

    def _result(
        self,
        arguments: t.Mapping[str, t.Any],
        found: Measured,
        client: Client,
        *,
        changed: bool,
        artifacts: t.Mapping[str, str],
    ) -> dict[str, t.Any]:
        data = results.as_dict(found.analysis)
        shown = report(found.analysis.findings) if found.analysis.findings else "no findings"
        unmet = not found.passed
        return {
            **data,
            "changed": changed,
            "failed": unmet and arguments["gate"] == "enforce",
            "msg": f"{data['verdict']} ({data['basis']})\n{shown}",
            "passed": found.passed,
            "reused": found.reused,
            "matrix": results.text_matrix(found.analysis.result.case.matrix),
            "artifacts": dict(artifacts),
            "summary": summary(data, found.reused),
            "api_requests": client.request_count,
            "warnings": [*client.warnings, *([shown] if unmet and arguments["gate"] == "warn" else [])],
        }
