# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
import shlex
import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llmd.wide_ep.plugins.plugin_utils._model_server_command import (
    argument_words,
    proxy_arguments,
    script,
)

WORDS: dict[str, tuple[str, Any, list[str]]] = {
    "number": ("port", 8000, ["--port", "8000"]),
    "flag": ("enable-dbo", True, ["--enable-dbo"]),
    "negated flag": ("enable-dbo", False, ["--no-enable-dbo"]),
    "mapping is JSON": ("eplb-config", {"window_size": "1000"}, ["--eplb-config", '{"window_size":"1000"}']),
    "variable of the pod": ("data-parallel-size", {"env": "DP_SIZE"}, ["--data-parallel-size", "$DP_SIZE"]),
    "several values": ("served-model-name", ["a", "b c"], ["--served-model-name", "a", "b c"]),
    "key of a JSON argument": ("compilation-config.mode", 3, ["--compilation-config.mode", "3"]),
    "command substitution is text": ("seed", "$(reboot)`x`", ["--seed", "$(reboot)`x`"]),
}


@pytest.mark.parametrize(("name", "value", "expected"), WORDS.values(), ids=WORDS.keys())
def test_argument_words(name: str, value: Any, expected: list[str]) -> None:
    assert [word for line in argument_words(name, value) for word in shlex.split(kubelet(line, {}))] == expected


REFUSED = {
    "dashes in the name": ("--port", 1, "without the leading dashes"),
    "underscores in the name": ("kv_transfer_config", {"a": 1}, "not the name of a vLLM argument"),
    "shell in the name": ("port;reboot", 1, "not the name of a vLLM argument"),
    "no value": ("kv-cache-memory-bytes", "", "has no value"),
    "shell in a variable": ("port", {"env": "A$(reboot)"}, "not the name of an environment variable"),
}


@pytest.mark.parametrize(("name", "value", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_argument_is_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        argument_words(name, value)


def kubelet(text: str, environment: dict[str, str]) -> str:
    """What the kubelet makes of a container's args: $(NAME) is a variable, $$ a dollar, all else stays."""

    def replacement(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else environment.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", replacement, text)


def run(text: str, **environment: str) -> list[str]:
    """What `vllm` gets from the script, one argument an item; /dev/shm stays as it is."""
    text = kubelet(text, environment)
    # The first of each is the script's own; a value may be the same.
    text = text.replace("find /dev/shm -type f -delete", "", 1).replace("exec vllm serve", r"printf '%s\0'", 1)
    done = subprocess.run(
        ["bash", "-euc", text], env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True, check=True
    )
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize(("index", "start"), [(None, "0"), ("0", "0"), ("1", "8")])
def test_ranks_follow_from_the_place_in_the_group(index: str | None, start: str) -> None:
    text = script("m", {"data-parallel-size": {"env": "DP_SIZE"}, "data-parallel-start-rank": {"env": "START_RANK"}})
    environment = {"LWS_GROUP_SIZE": "2", "DP_SIZE_LOCAL": "8", **({"LWS_WORKER_INDEX": index} if index else {})}
    expected = ["m", "--data-parallel-size", "16", "--data-parallel-start-rank", start]
    assert run(text, **environment) == expected


@settings(max_examples=25, deadline=None)
@given(value=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_no_value_reaches_the_shell_unquoted(value: str) -> None:
    text = script(value, {"seed": value, "eplb-config": {"x": "'; exit 3"}})
    model, flag, seed, *rest = run(text, LWS_GROUP_SIZE="2", DP_SIZE_LOCAL="8")
    assert (model, flag, seed) == (value, "--seed", value)
    assert rest == ["--eplb-config", '{"x":"\'; exit 3"}']


@pytest.mark.parametrize("value", ["$(HF_TOKEN)", "$$(HF_TOKEN)", "a$b", "$", "$$", "'$(HF_TOKEN)'"])
def test_the_kubelet_puts_no_variable_into_a_value(value: str) -> None:
    environment = {"LWS_GROUP_SIZE": "2", "DP_SIZE_LOCAL": "8", "HF_TOKEN": "'; exit 3; '"}
    assert run(script(value, {"seed": value}), **environment) == [value, "--seed", value]


PROXY: dict[str, tuple[dict[str, Any], list[str]]] = {
    "number": ({"port": 8000}, ["--port=8000"]),
    "flag": ({"enable-prefiller-sampling": True}, ["--enable-prefiller-sampling"]),
    "false": ({"secure-proxy": False}, ["--secure-proxy=false"]),
    "number of the plan": ({"data-parallel-size": {"plan": "ranks_per_host"}}, ["--data-parallel-size=4"]),
    "no variable of the pod": ({"kv-connector": "$(X)"}, ["--kv-connector=$$(X)"]),
}


@pytest.mark.parametrize(("given", "expected"), PROXY.values(), ids=PROXY.keys())
def test_proxy_arguments(given: dict[str, Any], expected: list[str]) -> None:
    assert proxy_arguments(given, {"ranks_per_host": 4}) == expected


def test_a_name_with_dashes_is_no_proxy_argument() -> None:
    with pytest.raises(ValueError, match="write it without dashes in front"):
        proxy_arguments({"--port": 1}, {})
