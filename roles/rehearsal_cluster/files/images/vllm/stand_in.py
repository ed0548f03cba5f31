# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal image's `vllm`: judges its command line as the pinned vLLM does, then becomes llm-d-inference-sim.

What it plays and what it does not: README.md beside this file. The arguments it knows are data (arguments.json),
generated from the sources in the published vLLM package by tools/generate_vllm_arguments.py.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import dp_supervisor

# An image of a later release names its own data.
DATA = Path(__file__).resolve().with_name(os.environ.get("STAND_IN_ARGUMENTS", "arguments.json"))
SIMULATOR = os.environ.get("STAND_IN_SIMULATOR", "llm-d-inference-sim")
SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
# vLLM reads these two from the model's configuration; the rehearsal has no model.
DEFAULT_CONTEXT = 163840
DEFAULT_SEQUENCES_PER_RANK = 256
# vllm/config/parallel.py, data_parallel_rpc_port
DEFAULT_RPC_PORT = 29550
# vllm/entrypoints/openai/cli_args.py, port and data_parallel_supervisor_port
DEFAULT_PORT = 8000
DEFAULT_SUPERVISOR_PORT = 9256
RETRY_SECONDS = 0.2
# Every scrape of its metrics makes the simulator grow, to 280 MB in minutes; under a limit it collects its garbage.
MEMORY_LIMIT = "128MiB"
# Of a server that plays one rank of several in its pod.
RANK_MEMORY_LIMIT = "40MiB"

TRUE_WORDS = {"1", "true", "t", "yes", "y", "on"}
FALSE_WORDS = {"0", "false", "f", "no", "n", "off"}
MULTIPLIERS = {
    **{suffix: 1000**power for power, suffix in enumerate("kmgt", 1)},
    **{suffix: 1024**power for power, suffix in enumerate("KMGT", 1)},
}


def log(level: str, message: str) -> None:
    print(f"{level} {time.strftime('%m-%d %H:%M:%S')} [vllm stand-in] {message}", file=sys.stderr, flush=True)


# --- JSON values, as pydantic judges them in its lax mode -----------------------------------------------------------


def judge(spec: list[Any], value: Any, path: str, configs: dict[str, Any]) -> list[str]:
    """What is wrong with a JSON value; empty if one alternative of its type accepts it."""
    problems: list[str] = []
    if value is None and "none" in spec:
        return []
    for alternative in (item for item in spec if item != "none"):
        found = judge_alternative(alternative, value, path, configs)
        if not found:
            return []
        problems += found
    return problems


def judge_alternative(kind: Any, value: Any, path: str, configs: dict[str, Any]) -> list[str]:
    if isinstance(kind, str):
        return [] if SCALARS[kind](value) else [f"{path}\n  Input should be a valid {kind} [input_value={value!r}]"]
    if "literal" in kind:
        expected = " or ".join(repr(item) for item in kind["literal"])
        return [] if value in kind["literal"] else [f"{path}\n  Input should be {expected} [input_value={value!r}]"]
    if "config" in kind:
        return judge_config(kind["config"], value, path, configs)
    return judge_collection(kind, value, path, configs)


def judge_collection(kind: dict[str, Any], value: Any, path: str, configs: dict[str, Any]) -> list[str]:
    name, container = ("list", list) if "list" in kind else ("dictionary", dict)
    if not isinstance(value, container):
        return [f"{path}\n  Input should be a valid {name} [input_value={value!r}]"]
    item_spec = kind["list"] if "list" in kind else kind["dict"][1]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [problem for key, item in items for problem in judge(item_spec, item, f"{path}.{key}", configs)]


def judge_config(name: str, value: Any, path: str, configs: dict[str, Any]) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path or name}\n  Input should be an object [input_value={value!r}]"]
    problems = []
    for key, item in value.items():
        where = f"{path}.{key}" if path else key
        field = configs[name].get(key)
        if field is None:
            problems.append(f"{where}\n  Unexpected keyword argument [type=unexpected_keyword_argument]")
            continue
        found = judge(field["type"], item, where, configs)
        problems += found or out_of_bounds(where, item, field.get("bounds", {}))
    return problems


def is_integer(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"\s*[+-]?\d+\s*", value) is not None
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def is_boolean(value: Any) -> bool:
    return str(value).lower() in TRUE_WORDS | FALSE_WORDS if not isinstance(value, (dict, list)) else False


SCALARS: dict[str, Callable[[Any], bool]] = {
    "any": lambda value: True,
    "none": lambda value: value is None,
    "str": lambda value: isinstance(value, str),
    "int": is_integer,
    "float": is_number,
    "bool": is_boolean,
}
COMPARISONS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "ge": ("greater than or equal to", lambda value, limit: value >= limit),
    "gt": ("greater than", lambda value, limit: value > limit),
    "le": ("less than or equal to", lambda value, limit: value <= limit),
    "lt": ("less than", lambda value, limit: value < limit),
}


def out_of_bounds(path: str, value: Any, bounds: dict[str, float]) -> list[str]:
    if value is None or not is_number(value):
        return []
    failed = [
        (words, bounds[key])
        for key, (words, holds) in COMPARISONS.items()
        if key in bounds and not holds(float(value), bounds[key])
    ]
    return [f"{path}\n  Input should be {words} {limit} [input_value={value!r}]" for words, limit in failed]


# --- Converters of command-line values ------------------------------------------------------------------------------


def human_int(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgGtT])", text.strip())
    if match is None:
        return int(text)
    number, suffix = match.groups()
    if suffix.isupper() and "." in number:
        raise argparse.ArgumentTypeError(f"Decimals are not allowed with binary suffixes like {suffix}.")
    return int(float(number) * MULTIPLIERS[suffix])


def human_int_or_auto(text: str) -> int:
    return -1 if text.strip().lower() in ("-1", "auto") else human_int(text)


def dict_or_text(text: str) -> Any:
    return json.loads(text) if re.match(r"(?s)^\s*{.*}\s*$", text) else text


CONVERTERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "json": json.loads,
    "human_int": human_int,
    "human_int_or_auto": human_int_or_auto,
    "dict_or_str": dict_or_text,
    "lower_underscore": lambda text: text.lower().replace("-", "_"),
}


def converter(argument: dict[str, Any], configs: dict[str, Any]) -> Callable[[str], Any]:
    kind = argument["kind"]

    def convert(text: str) -> Any:
        if argument.get("optional") and text in ("", "None"):
            return None
        if kind != "config":
            return CONVERTERS[kind](text)
        name = argument["config"]
        try:
            value = json.loads(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"1 validation error for {name}\n  Invalid JSON: {error}") from error
        if problems := judge_config(name, value, "", configs):
            raise argparse.ArgumentTypeError(f"{len(problems)} validation error for {name}\n" + "\n".join(problems))
        return value

    # argparse names the converter in "invalid int value: 'x'".
    convert.__name__ = kind
    return convert


# --- The command line -----------------------------------------------------------------------------------------------


def with_dashes(argument: str) -> str:
    """Underscores become dashes between the leading dashes and the first dot; values stay as they are."""
    name, equals, value = argument.partition("=")
    head, dot, keys = name.partition(".")
    return head.replace("_", "-") + dot + keys + equals + value


def nested(keys: list[str], value: Any) -> Any:
    for key in reversed(keys):
        value = {key: value}
    return value


def merge(target: dict[str, Any], update: dict[str, Any]) -> None:
    for key, value in update.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            merge(target[key], value)
        elif isinstance(value, list) and isinstance(target.get(key), list):
            target[key] += value
        else:
            target[key] = value


def fold_json_keys(arguments: list[str]) -> list[str]:
    """`--eplb-config.window_size 1000` is `--eplb-config '{"window_size": 1000}'`; a trailing + makes a list."""
    plain: list[str] = []
    folded: dict[str, dict[str, Any]] = {}
    queue = list(arguments)
    while queue:
        argument = queue.pop(0)
        name, equals, value = argument.partition("=")
        if not argument.startswith("-") or "." not in name:
            plain.append(argument)
            continue
        if not equals:
            if not queue:
                raise SystemExit(f"vllm: error: argument {name}: expected one argument")
            value = queue.pop(0)
        if name.endswith("+"):
            name, value = name[:-1], json.dumps(value.split(","))
        key, *keys = name.split(".")
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = value
        merge(folded.setdefault(key, {}), nested(keys, parsed))
    return plain + [part for key, value in folded.items() for part in (key, json.dumps(value))]


def normalized(arguments: list[str]) -> list[str]:
    result = []
    for argument in arguments:
        if argument.startswith("--"):
            result.append(with_dashes(argument))
        elif argument.startswith("-O") and argument != "-O":
            result += ["--optimization-level", argument[2:].removeprefix("=")]
        else:
            result.append("--optimization-level" if argument == "-O" else argument)
    return fold_json_keys(result)


def build_parser(data: dict[str, Any]) -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="vllm", description="vLLM CLI")
    top.add_argument("-v", "--version", action="version", version=data["source"]["version"])
    commands = top.add_subparsers(required=True, dest="subparser", metavar="{serve}")
    serve = commands.add_parser("serve", usage="vllm serve [model_tag] [options]")
    for argument in data["arguments"].values():
        add_argument(serve, argument, data["configs"])
    return top


def add_argument(parser: argparse.ArgumentParser, argument: dict[str, Any], configs: dict[str, Any]) -> None:
    action = argument.get("action")
    if action == "boolean":
        parser.add_argument(*argument["flags"], action=argparse.BooleanOptionalAction, default=None)
        return
    if action == "store_true":
        parser.add_argument(*argument["flags"], action="store_true")
        return
    options: dict[str, Any] = {key: argument[key] for key in ("choices", "nargs", "const") if key in argument}
    if action == "append":
        options["action"] = "append"
    parser.add_argument(*argument["flags"], type=converter(argument, configs), **options)


def cross_checks(given: argparse.Namespace) -> list[str]:
    """Rules over several arguments that the pinned vLLM enforces before it loads a model, with its words."""
    external = given.data_parallel_external_lb or given.data_parallel_rank is not None
    hybrid = given.data_parallel_hybrid_lb or given.data_parallel_start_rank is not None
    kv = given.kv_transfer_config or {}
    size = given.data_parallel_size or 1
    start = given.data_parallel_start_rank or 0
    if getattr(given, "data_parallel_multi_port_external_lb", False):
        return multi_port_checks(given)
    rules = {
        # entrypoints/cli/serve.py
        "Cannot use both external and hybrid data parallel load balancing modes.": external and hybrid,
        f"--api-server-count={given.api_server_count} cannot be used with --headless": (
            given.headless and bool(given.api_server_count)
        ),
        # engine/arg_utils.py, create_engine_config
        "data_parallel_size_local must be set to use data_parallel_hybrid_lb.": (
            bool(given.data_parallel_hybrid_lb) and given.data_parallel_size_local is None
        ),
        # config/parallel.py
        f"data_parallel_rank ({start}) must be in the range [0, {size})": size > 1 and not 0 <= start < size,
        # config/kv_transfer.py
        "Please specify kv_role when kv_connector is set": bool(kv.get("kv_connector")) and not kv.get("kv_role"),
    }
    return [message for message, broken in rules.items() if broken]


def multi_port_checks(given: argparse.Namespace) -> list[str]:
    """The rules of entrypoints/openai/dp_supervisor.py, validate_multi_port_external_lb_args."""
    flag = "Error: --data-parallel-multi-port-external-lb"
    size, local = given.data_parallel_size or 1, given.data_parallel_size_local or 0
    start, first = given.data_parallel_start_rank or 0, given.port or DEFAULT_PORT
    own = given.data_parallel_supervisor_port or DEFAULT_SUPERVISOR_PORT
    last = first + local - 1
    rules = {
        f"{flag} currently requires --api-server-count=1": given.api_server_count not in (None, 1),
        f"{flag} manages child --data-parallel-rank values internally": given.data_parallel_rank is not None,
        f"{flag} cannot be combined with --data-parallel-external-lb or --data-parallel-hybrid-lb": (
            bool(given.data_parallel_external_lb or given.data_parallel_hybrid_lb)
        ),
        f"{flag} requires --data-parallel-size > 1": size < 2,
        f"{flag} requires --data-parallel-size-local >= 2": local < 2,
        "Error: --data-parallel-size must be divisible by --data-parallel-size-local": bool(local and size % local),
        "Error: multi-port supervised ranks would exceed --data-parallel-size": start + local > size,
        f"Error: --data-parallel-supervisor-port {own} overlaps with child rank ports {first}-{last}": (
            first <= own <= last
        ),
    }
    return [message for message, broken in rules.items() if broken]


def range_checks(given: argparse.Namespace, arguments: dict[str, Any]) -> list[str]:
    problems: list[str] = []
    for name, argument in arguments.items():
        value = getattr(given, name.lstrip("-").replace("-", "_"), None)
        problems += out_of_bounds(name, value, argument.get("bounds", {}))
    return problems


def check_environment(known: dict[str, Any], fail: bool) -> None:
    """vLLM warns about variables it does not know and fails when it reads a value it cannot use."""
    for name, value in sorted(os.environ.items()):
        if name.startswith("VLLM_") and name not in known:
            if fail:
                raise SystemExit(f"ValueError: Unknown vLLM environment variable detected: {name}")
            log("WARNING", f"Unknown vLLM environment variable detected: {name}")
        rule = known.get(name, {})
        if rule.get("kind") == "int" and not is_integer(value):
            raise SystemExit(f"ValueError: invalid literal for int() with base 10: {value!r} ({name})")
        if rule.get("kind") == "float" and not is_number(value):
            raise SystemExit(f"ValueError: could not convert string to float: {value!r} ({name})")
        check_choice(name, value, rule)


def check_choice(name: str, value: str, rule: dict[str, Any]) -> None:
    if not rule.get("choices"):
        return
    fold: Callable[[str], str] = str if rule["case_sensitive"] else str.lower
    values = [part.strip() for part in value.split(",")] if rule["many"] else [value]
    for part in values:
        if fold(part) not in [fold(choice) for choice in rule["choices"]]:
            raise SystemExit(f"ValueError: Invalid value {part!r} for {name}. Valid options: {rule['choices']}.")


def parse(arguments: list[str], data: dict[str, Any]) -> argparse.Namespace:
    given = build_parser(data).parse_args(normalized(arguments))
    problems = range_checks(given, data["arguments"]) + cross_checks(given)
    if problems:
        raise SystemExit("ValueError: " + "\n".join(problems))
    check_environment(data["environment"], bool(given.fail_on_environ_validation))
    return given


# --- The data-parallel group ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ranks:
    """The ranks of one pod in its group."""

    start: int
    local: int
    size: int

    def __str__(self) -> str:
        return f"ranks {self.start}-{self.start + self.local - 1} of {self.size}"

    @property
    def numbers(self) -> set[int]:
        return set(range(self.start, self.start + self.local))


def lead_group(port: int, own: Ranks, deadline: float) -> None:
    """Wait until every rank of the group has joined exactly once, then let all go."""
    joined = own.numbers
    members: list[socket.socket] = []
    with socket.create_server(("", port)) as server:
        while len(joined) < own.size:
            server.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                member, _address = server.accept()
            except TimeoutError:
                missing = sorted(set(range(own.size)) - joined)
                raise SystemExit(f"RuntimeError: data-parallel ranks {missing} did not join in time") from None
            other = receive_ranks(member)
            if other is None:
                continue
            if other.size != own.size or joined & other.numbers or not other.numbers <= set(range(own.size)):
                member.sendall(b"refused\n")
                raise SystemExit(f"RuntimeError: {other} do not fit a group of {own.size} with {sorted(joined)}")
            joined |= other.numbers
            members.append(member)
        for member in members:
            member.sendall(b"go\n")
            member.close()


def receive_ranks(member: socket.socket) -> Ranks | None:
    member.settimeout(5)
    try:
        with member.makefile("r", encoding="utf-8") as stream:
            return Ranks(**json.loads(stream.readline()))
    except (OSError, ValueError, TypeError):
        return None


def follow_group(address: str, port: int, own: Ranks, deadline: float) -> None:
    answer = ""
    while answer != "go":
        left = deadline - time.monotonic()
        if left <= 0:
            raise SystemExit(f"RuntimeError: the data-parallel group at {address}:{port} did not start in time")
        try:
            with socket.create_connection((address, port), timeout=5) as leader:
                leader.sendall((json.dumps(asdict(own)) + "\n").encode())
                leader.settimeout(left)
                answer = leader.makefile("r", encoding="utf-8").readline().strip()
        except OSError:
            # The leader has no address yet, or does not listen yet: ask again until it does.
            time.sleep(RETRY_SECONDS)
        if answer == "refused":
            raise SystemExit(f"RuntimeError: the data-parallel group at {address}:{port} refused {own}")


def join_group(given: argparse.Namespace) -> None:
    """Like vLLM, a pod serves when all ranks of its group are there: those of the leader and those that join it."""
    own = Ranks(given.data_parallel_start_rank or 0, given.data_parallel_size_local or 1, given.data_parallel_size or 1)
    if own.size <= own.local or not given.data_parallel_address:
        return
    port = given.data_parallel_rpc_port or DEFAULT_RPC_PORT
    deadline = time.monotonic() + float(os.environ.get("STAND_IN_GROUP_TIMEOUT_SECONDS", "600"))
    log("INFO", f"{own}: group at {given.data_parallel_address}:{port}")
    if own.start == 0:
        lead_group(port, own, deadline)
    else:
        follow_group(given.data_parallel_address, port, own, deadline)
    log("INFO", f"all {own.size} ranks have joined")


# --- Becoming the simulator -----------------------------------------------------------------------------------------


def simulator_arguments(given: argparse.Namespace, environment: dict[str, str], rank: int | None = None) -> list[str]:
    """The simulator's command line: it plays all local ranks, as one API server in hybrid load balancing, or one."""
    model = given.model_tag or given.model
    if not model:
        raise SystemExit("ValueError: No model specified! Please specify model as a positional argument.")
    ranks = (given.data_parallel_size_local or 1) if rank is None else 1
    sequences = (given.max_num_seqs or DEFAULT_SEQUENCES_PER_RANK) * ranks
    context = given.max_model_len if (given.max_model_len or 0) > 0 else DEFAULT_CONTEXT
    arguments = [
        "--model", model,
        "--port", str((given.port or DEFAULT_PORT) + (rank or 0)),
        "--max-model-len", str(context),
        "--max-num-seqs", str(sequences),
        "--max-waiting-queue-length", str(max(1000, sequences)),
        # A real model name makes the simulator ask huggingface.co for a tokenizer.
        "--force-dummy-tokenizer",
        "--time-to-first-token", environment.get("STAND_IN_TIME_TO_FIRST_TOKEN", "20ms"),
        "--inter-token-latency", environment.get("STAND_IN_INTER_TOKEN_LATENCY", "1ms"),
        "--kv-cache-transfer-latency", environment.get("STAND_IN_KV_TRANSFER_LATENCY", "5ms"),
    ]  # fmt: skip
    if given.served_model_name:
        arguments += ["--served-model-name", *given.served_model_name]
    if given.seed is not None:
        arguments += ["--seed", str(given.seed)]
    return arguments


def supervise_ranks(given: argparse.Namespace) -> NoReturn:
    """Multi-port load balancing: this process supervises, and each local rank is a simulator with a port of its own."""
    settings = dp_supervisor.Settings(
        given.data_parallel_supervisor_port or DEFAULT_SUPERVISOR_PORT,
        given.dp_supervisor_probe_interval_s or dp_supervisor.Settings.interval,
        given.dp_supervisor_probe_timeout_s or dp_supervisor.Settings.timeout,
        given.dp_supervisor_probe_failure_threshold or dp_supervisor.Settings.threshold,
    )
    own = {"GOMEMLIMIT": RANK_MEMORY_LIMIT, **os.environ, **pod_identity(dict(os.environ))}
    ranks = [
        dp_supervisor.Rank(
            (given.data_parallel_start_rank or 0) + rank,
            (given.port or DEFAULT_PORT) + rank,
            [SIMULATOR, *simulator_arguments(given, dict(os.environ), rank)],
            own,
        )
        for rank in range(given.data_parallel_size_local)
    ]
    sys.exit(dp_supervisor.supervise(settings, ranks, lambda: join_group(given), log))


def pod_identity(environment: dict[str, str]) -> dict[str, str]:
    """The simulator names the answering pod in a header when it knows its name and namespace."""
    identity = {"POD_NAME": environment.get("POD_NAME") or socket.gethostname()}
    namespace = environment.get("POD_NAMESPACE", "")
    if not namespace and SERVICE_ACCOUNT_NAMESPACE.exists():
        namespace = SERVICE_ACCOUNT_NAMESPACE.read_text(encoding="utf-8").strip()
    return {**identity, **({"POD_NAMESPACE": namespace} if namespace else {})}


def main() -> NoReturn:
    data = json.loads(DATA.read_text(encoding="utf-8"))
    given = parse(sys.argv[1:], data)
    arguments = simulator_arguments(given, dict(os.environ))
    log(
        "INFO", f"vLLM {data['source']['version']} accepts these arguments; to start: {SIMULATOR} {' '.join(arguments)}"
    )
    # Process 1 of a container has no default action for a signal: without this a pod waits for its grace period to end.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(143))
    time.sleep(float(os.environ.get("STAND_IN_START_DELAY_SECONDS", "0")))
    if getattr(given, "data_parallel_multi_port_external_lb", False):
        supervise_ranks(given)
    join_group(given)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    environment = {"GOMEMLIMIT": MEMORY_LIMIT, **os.environ, **pod_identity(dict(os.environ))}
    os.execvpe(SIMULATOR, [SIMULATOR, *arguments], environment)


if __name__ == "__main__":
    main()
