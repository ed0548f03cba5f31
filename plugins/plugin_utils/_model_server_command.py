# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shell script that starts vLLM in a model-server pod. Private to the collection; it may change at any time."""

from __future__ import annotations

import json
import re
import shlex
import typing as t

ENVIRONMENT_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
#: vLLM takes underscores for dashes; one spelling keeps layers from setting an argument twice. A dot leads into JSON.
ARGUMENT_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*(\.[a-z0-9_]+)*")
PROXY_ARGUMENT_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

PREAMBLE = """\
# A crashed vLLM leaves files behind that fill /dev/shm until no start succeeds (llm-d #352).
find /dev/shm -type f -delete

DP_SIZE=$((LWS_GROUP_SIZE * DP_SIZE_LOCAL))
START_RANK=$((${LWS_WORKER_INDEX:-0} * DP_SIZE_LOCAL))
"""


def script(model: str, arguments: t.Mapping[str, t.Any]) -> str:
    """The script for bash: every word that comes from data is quoted."""
    words = [_quoted(model), *(word for name, value in arguments.items() for word in argument_words(name, value))]
    return PREAMBLE + "\n" + " \\\n  ".join(["exec vllm serve", *words]) + "\n"


def argument_words(name: str, value: t.Any) -> list[str]:
    """One argument as words of the script.

    ``True`` is a flag and ``False`` its negation; a mapping becomes JSON unless it is C({env: NAME}), which reads a
    variable of the pod; a list gives several values to one argument.
    """
    if not ARGUMENT_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a vLLM argument; write it without the leading dashes")
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    values = value if isinstance(value, (list, tuple)) else [value]
    return [" ".join([f"--{name}", *(_value_word(name, item) for item in values)])]


def _value_word(name: str, value: t.Any) -> str:
    if isinstance(value, t.Mapping):
        if set(value) == {"env"}:
            return _environment_word(name, str(value["env"]))
        return _quoted(json.dumps(value, separators=(",", ":")))
    if value is None or str(value) == "":
        raise ValueError(f"--{name} has no value; remove the argument instead")
    return _quoted(str(value))


def _quoted(word: str) -> str:
    """A word for bash that the kubelet leaves alone: before the shell starts it replaces ``$(NAME)`` in a container's
    args by that variable, whose value may hold a quote; a doubled dollar is its escape for one."""
    return shlex.quote(word).replace("$", "$$")


def _environment_word(name: str, variable: str) -> str:
    if not ENVIRONMENT_NAME.fullmatch(variable):
        raise ValueError(f"--{name}: {variable!r} is not the name of an environment variable")
    return f'"${variable}"'


def proxy_arguments(arguments: t.Mapping[str, t.Any], tier: t.Mapping[str, t.Any]) -> list[str]:
    """The routing sidecar's arguments, which no shell reads. C({plan: NAME}) is a number of the tier."""
    words = []
    for name, value in arguments.items():
        if not PROXY_ARGUMENT_NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is not the name of an argument of the sidecar; write it without dashes in front"
            )
        if value is True:
            words.append(f"--{name}")
            continue
        text = str(tier[value["plan"]] if isinstance(value, t.Mapping) else value)
        words.append(f"--{name}=" + ("false" if value is False else text.replace("$", "$$")))
    return words
