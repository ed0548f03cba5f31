# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read, judge, compare and show the results of a benchmark."""

from __future__ import annotations

import difflib
import pathlib
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_baselines import BASELINES
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_compare import EXIT
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._action import InProcessAction

FACTS: dict[str, t.Any] = {
    **{
        name: {"type": "str", "default": ""}
        for name in ("experiment", "cluster", "pod", "user", "description", "start", "end", "tool_version")
    },
    "keywords": {"type": "list", "elements": "str", "default": []},
}
TOPOLOGY: dict[str, t.Any] = {
    **{name: {"type": "int"} for name in ("prefill_gpus", "decode_gpus", "total_gpus", "decode_ranks")},
    "gpu": {"type": "str"},
    "precision": {"type": "str"},
}
STACK: dict[str, t.Any] = {
    **{name: {"type": "str", "required": True} for name in ("label", "tool")},
    **{name: {"type": "str"} for name in ("tool_version", "role", "model", "gpu", "image")},
    **{name: {"type": "int"} for name in ("replicas", "gpus", "tp", "dp", "dp_local", "ep", "pp")},
    **{name: {"type": "dict"} for name in ("args", "envars")},
}


class ActionModule(InProcessAction):
    ARGUMENTS: t.ClassVar = {
        "results": {"type": "list", "elements": "path", "required": True},
        "stage": {"type": "int"},
        "base": {"type": "list", "elements": "path", "default": []},
        "baseline": {"type": "str", "choices": list(BASELINES)},
        "title": {"type": "str", "default": "Benchmark"},
        "run": {"type": "dict", "options": FACTS},
        "stack": {"type": "list", "elements": "dict", "options": STACK, "default": []},
        "topology": {"type": "dict", "options": TOPOLOGY},
        "ranks": {"type": "list", "elements": "dict", "default": []},
        "notes": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                name: {"type": "str", "required": True} for name in ("code", "severity", "subject", "evidence", "fix")
            },
        },
        "slo": {"type": "dict", "default": {}},
        "max_failure_share": {"type": "float", "default": 0.01},
        "require_token_latency": {"type": "bool", "default": False},
        "strict": {"type": "bool", "default": False},
        "per_request": {"type": "bool", "default": True},
        "allow_differences": {"type": "list", "elements": "str", "default": []},
        "confidence": {"type": "float", "default": 0.95},
        "destination": {"type": "path"},
        "fail_on": {
            "type": "list",
            "elements": "str",
            "choices": list(EXIT),
            "default": ["worse", "not comparable", "invalid"],
        },
    }

    def act(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        # Ansible loads the action of every task, also of one that it skips, and matplotlib and the schema take seconds.
        from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _benchmark_documents as made  # noqa: PLC0415 - see above

        wrong = refusals(arguments)
        if wrong:
            return self.refusal(wrong)
        result, texts = made.judged(arguments)
        if arguments["destination"]:
            result |= self._write(pathlib.Path(arguments["destination"]), texts())
        return result

    def _write(self, folder: pathlib.Path, texts: t.Mapping[str, str]) -> dict[str, t.Any]:
        """Files whose content differs; in check mode none."""
        changed, diff = [], []
        for name, text in texts.items():
            path = folder / name
            before = path.read_text(encoding="utf-8") if path.is_file() else ""
            if before == text:
                continue
            changed.append(str(path))
            if name.endswith((".yaml", ".md")):
                lines = difflib.unified_diff(before.splitlines(True), text.splitlines(True), str(path), str(path))
                diff.append({"prepared": "".join(lines)})
            if not self.check_mode:
                folder.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        return {"changed": bool(changed), "files": [str(folder / name) for name in texts], "diff": diff}


def refusals(arguments: t.Mapping[str, t.Any]) -> list[Finding]:
    """Options that do not fit each other."""
    found = []
    if arguments["base"] and arguments["baseline"]:
        evidence = "both are given"
        found.append(Finding("INPUT_COMBINATION", "error", "base and baseline", evidence, "Give one of them."))
    if not arguments["results"]:
        found.append(Finding("BENCHMARK_NO_RESULT", "error", "results", "the list is empty", "Give a result folder."))
    if not 0 < arguments["confidence"] < 1:
        evidence = f"found {arguments['confidence']}, expected a value between 0 and 1"
        found.append(Finding("INPUT_TYPE", "error", "confidence", evidence, "Give 0.95 for 95 %."))
    return found
