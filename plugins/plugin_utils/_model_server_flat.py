# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pod template as path and value, one line each, so that two of them can be compared by fields.

Private to the collection; it may change at any time. Items of keyed lists are named by their key, a container by its
name alone (``vllm.env.MAX_TOKENS``), and the words of vLLM's start script become ``vllm.arguments.<name>``.
"""

from __future__ import annotations

import json
import re
import shlex
import typing as t

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._overlay import LIST_KEYS

SIMPLE = re.compile(r"[A-Za-z0-9_-]+")
SERVE = "exec vllm serve"
ASSIGNMENT = re.compile(r"^([A-Z_]+)=(.*)$", re.MULTILINE)
CONTAINERS = ("containers", "initContainers")

Flat = dict[str, str]


def flatten(value: t.Any, path: str = "", list_name: str = "") -> Flat:
    """Path to value as text. Empty mappings and lists are values of their own."""
    if isinstance(value, t.Mapping) and value:
        return _join(_child(path, str(key), item) for key, item in value.items())
    key = LIST_KEYS.get(list_name)
    if isinstance(value, (list, tuple)) and value and key and all(key in item for item in value):
        return _join(_item(path, list_name, str(item[key]), item, key) for item in value)
    return {path: _text(value)}


def flatten_set(workload: t.Mapping[str, t.Any]) -> Flat:
    """A LeaderWorkerSet: its labels, replicas and size under C(set), and the fields of its pods."""
    if not workload:
        return {}
    spec = workload.get("spec", {})
    group = spec.get("leaderWorkerTemplate", {})
    own = {
        "labels": workload.get("metadata", {}).get("labels", {}),
        "replicas": spec.get("replicas"),
        "size": group.get("size"),
    }
    own_flat = flatten({"set": {key: value for key, value in own.items() if value}})
    return {**own_flat, **flatten(group.get("workerTemplate", {}))}


def step(path: str, key: str) -> str:
    """A key behind a path; one with dots or slashes in brackets."""
    if not SIMPLE.fullmatch(key):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def script_arguments(script: str) -> Flat:
    """vLLM's arguments in a start script, by name; the model is the argument ``model``.

    Variables that the script computes are shown as what they are computed from.
    """
    before, _serve, command = script.replace("\\\n", " ").partition(SERVE)
    computed = dict(ASSIGNMENT.findall(before))
    found: dict[str, list[str]] = {"model": []}
    name = "model"
    for word in shlex.split(command):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = name.replace("_", "-")
            found[name] = [value] if equals else []
        else:
            found[name].append(computed.get(word.removeprefix("$"), word) if word.startswith("$") else word)
    return {name: _argument(words) for name, words in found.items()}


def _argument(words: list[str]) -> str:
    text = " ".join(words) if words else "true"
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return json.dumps(value, sort_keys=True, separators=(",", ":")) if isinstance(value, (dict, list)) else text


def _child(path: str, key: str, value: t.Any) -> Flat:
    if key == "args" and isinstance(value, list) and len(value) == 1 and SERVE in str(value[0]):
        return _join({step(f"{path}.arguments", name): text} for name, text in script_arguments(str(value[0])).items())
    if key == "args" and isinstance(value, list):
        words = (str(word).removeprefix("--").partition("=") for word in value)
        return {step(f"{path}.arguments", name): text if equals else "true" for name, equals, text in words}
    return flatten(value, path if key in CONTAINERS else step(path, key), key)


def _item(path: str, list_name: str, name: str, item: t.Mapping[str, t.Any], key: str) -> Flat:
    rest = {other: value for other, value in item.items() if other != key}
    if list_name in CONTAINERS:
        return flatten(rest, name)
    if set(rest) == {"value"}:
        return {step(path, name): _text(rest["value"])}
    return flatten(rest, step(path, name)) if rest else {step(path, name): ""}


def _join(parts: t.Iterable[Flat]) -> Flat:
    joined: Flat = {}
    for part in parts:
        joined.update(part)
    return joined


def _text(value: t.Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True)
