# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does an image know the arguments that it would be given? Decisions on containers that only read their command line.

Each program of the model servers is started with its own command line and one more argument at the end, which nobody
knows. vLLM tells unknown arguments after it has read all of them, and parsers in Go stop at the first: an image that
knows all others refuses that one alone, and none gets as far as to serve. So nothing has to be known about the image.

Private to the collection: it may change at any time, do not import it from elsewhere.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

Json = t.Mapping[str, t.Any]
JsonObject = dict[str, t.Any]

MARK = "--llmd-wide-ep-reads-arguments-only"
ROLE_LABEL = "llm-d.ai/role"
#: What LeaderWorkerSet's webhook gives to the pods of a group, for the first one.
LEADER = {"LWS_LEADER_ADDRESS": "localhost", "LWS_WORKER_INDEX": "0"}
#: The container has no GPU, and NVIDIA's runtime shall not give it all of them.
NO_GPU = {"NVIDIA_VISIBLE_DEVICES": "void"}
#: From the start of a program on; vLLM is imported from a cold disk meanwhile.
READ_SECONDS = 240.0
UNKNOWN = re.compile(
    r"(?:unrecognized arguments?|unknown (?:shorthand )?(?:flag|option|argument)|"
    r"flag provided but not defined|unexpected argument)[:\s]*(?P<names>[^\n]*)",
    re.IGNORECASE,
)
#: How parsers introduce what they refuse: argparse, pflag, flag.
REFUSED = re.compile(r"^\S*: error: (?P<argparse>.*)|(?P<go>(?:invalid argument|invalid value) .*)", re.MULTILINE)
USAGE_EXIT, NOT_STARTED = 2, frozenset({126, 127, 128})


@dataclasses.dataclass(frozen=True)
class Program:
    """A container of a tier, ready to be tried."""

    title: str
    container: JsonObject

    @property
    def name(self) -> str:
        return str(self.container["name"])

    @property
    def image(self) -> str:
        return str(self.container["image"])


@dataclasses.dataclass(frozen=True)
class Trial:
    """What a program said to its arguments on one node."""

    node: str
    title: str
    image: str
    state: t.Literal["known", "refused", "unjudged", "waiting"]
    message: str = ""


def programs(objects: t.Iterable[Json]) -> list[Program]:
    """Every program of the rendered model servers that is given arguments."""
    found = []
    for item in objects:
        if item.get("kind") != "LeaderWorkerSet":
            continue
        template = item["spec"]["leaderWorkerTemplate"]
        role, size = item["metadata"]["labels"][ROLE_LABEL], template.get("size", 1)
        spec = template["workerTemplate"]["spec"]
        containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
        found += [
            Program(
                f"{role} {entry['name']}", _container(f"{role}-{entry['name']}", entry, {"LWS_GROUP_SIZE": str(size)})
            )
            for entry in containers
            if entry.get("args")
        ]
    return found


def _container(name: str, entry: Json, group: Json) -> JsonObject:
    """The container without what it serves with: GPUs, volumes, probes, ports, privileges and secrets."""
    plain = [
        item
        for item in entry.get("env") or ()
        if not {"secretKeyRef", "configMapKeyRef"} & set(item.get("valueFrom") or ())
    ]
    added = [{"name": key, "value": value} for key, value in {**LEADER, **group, **NO_GPU}.items()]
    user = {key: value for key, value in (entry.get("securityContext") or {}).items() if key.startswith("runAs")}
    return {
        "name": name,
        "image": entry["image"],
        "imagePullPolicy": "Always",
        **({"command": list(entry["command"])} if entry.get("command") else {}),
        "args": marked(entry.get("command") or (), entry["args"]),
        "env": [*added, *plain],
        "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": "8Gi"}},
        "securityContext": {**user, "allowPrivilegeEscalation": False},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def marked(command: t.Sequence[str], arguments: t.Sequence[str]) -> list[str]:
    """The arguments with the unknown one at their end: within the script where a shell reads one."""
    if command and command[-1] == "-c":
        script, *rest = arguments
        return [f"{script.rstrip()} {MARK}\n", *rest]
    return [*arguments, MARK]


def trials(item: Json, tried: t.Sequence[Program], now: float) -> list[Trial]:
    """What a pod of trials says, ``now`` by the server's clock."""
    node = item["spec"]["nodeName"]
    statuses = {entry["name"]: entry for entry in (item.get("status") or {}).get("containerStatuses") or ()}
    return [
        Trial(node, program.title, program.image, *judge(statuses.get(program.name) or {}, now)) for program in tried
    ]


def judge(status: Json, now: float) -> tuple[t.Literal["known", "refused", "unjudged", "waiting"], str]:
    state = status.get("state") or {}
    if "terminated" in state:
        return _ended(state["terminated"])
    started = (state.get("running") or {}).get("startedAt")
    if started and now - datetime.datetime.fromisoformat(started.replace("Z", "+00:00")).timestamp() > READ_SECONDS:
        return "unjudged", f"it still runs after {READ_SECONDS:g} s, with an argument that nobody knows"
    return "waiting", "reads its arguments" if started else "not started"


def _ended(ended: Json) -> tuple[t.Literal["known", "refused", "unjudged"], str]:
    text, code = str(ended.get("message") or ""), int(ended.get("exitCode", 0))
    unknown = UNKNOWN.search(text)
    if unknown and MARK.lstrip("-") in unknown["names"]:
        others = re.sub(rf"-*{MARK.lstrip('-')}", "", unknown["names"]).split()
        return ("refused", f"it does not know {' '.join(others)}") if others else ("known", "")
    if unknown:
        return "refused", f"it does not know {unknown['names'].strip()}"
    if code in NOT_STARTED:
        return "refused", f"it cannot be started: {_last_line(text) or ended.get('reason') or code}"
    refused = REFUSED.search(text)
    if refused:
        return "refused", " ".join((refused["argparse"] or refused["go"]).split())
    if code == USAGE_EXIT:
        return "refused", _last_line(text)
    said = _last_line(text) or ended.get("reason") or "nothing"
    return "unjudged", f"it ended with exit code {code} before it had read its arguments: {said}"


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")[:300]


def findings(tried: t.Sequence[Trial]) -> list[Finding]:
    """One per program and answer, with the nodes that gave it."""
    found = []
    answers = dict.fromkeys((trial.title, trial.image, trial.state, trial.message) for trial in tried)
    for title, image, state, message in answers:
        if state == "known":
            continue
        of_title = [trial for trial in tried if trial.title == title]
        nodes = [trial.node for trial in of_title if (trial.state, trial.message) == (state, message)]
        seen = f"{image} on {len(nodes)} of {len(of_title)} nodes ({', '.join(nodes)}): {message}"
        found.append(_finding(title, state, seen))
    return found


def _finding(title: str, state: str, seen: str) -> Finding:
    role, _space, name = title.partition(" ")
    variable = f"model_server_{role}_arguments" if name == "vllm" else "model_server_sidecar_arguments"
    if state == "refused":
        fix = f"Correct {variable} or what else sets the argument (--diff shows it), or name an image that knows it in "
        fix += "wide_ep_image_overrides. Nothing was touched."
        return Finding("ARGUMENTS_REFUSED", "error", title, seen, fix)
    fix = "The image is used all the same; watch the first group start. Its arguments are judged again when it does."
    return Finding("ARGUMENTS_NOT_JUDGED", "warning", title, seen, fix)
