# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal image's `vllm`, run as the pod runs it; `echo` stands for the simulator."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from loading import load_file

ROOT = Path(__file__).parents[4]
VLLM = ROOT / "roles/rehearsal_cluster/files/images/vllm/stand_in.py"
load_file(VLLM.with_name("dp_supervisor.py"), "dp_supervisor")
stand_in = load_file(VLLM, "stand_in")
DATA = json.loads(stand_in.DATA.read_text(encoding="utf-8"))
LATER = "arguments-0.23.0.json"
LATER_DATA = json.loads(VLLM.with_name(LATER).read_text(encoding="utf-8"))
RENDERED = sorted((ROOT / "tests/data/rendered").glob("*.yaml"))
# Which release of vLLM an image of llm-d holds, and so which data its stand-in judges with.
ARGUMENTS_OF = {"v0.7.0": stand_in.DATA.name, "v0.8.1": LATER}
IMAGE_RELEASE = re.compile(r"image: \S+/llm-d-cuda(?:-gb200)?:(\S+)$", re.MULTILINE)
TIERS = ("prefill", "decode")


def release_of(path: Path) -> str:
    (release,) = set(IMAGE_RELEASE.findall(path.read_text(encoding="utf-8")))
    return release


def vllm(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(VLLM), *arguments],
        env={"STAND_IN_SIMULATOR": "echo", "PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


ACCEPTED = {
    "dashes": ["--max-num-seqs", "8"],
    "underscores": ["--max_num_seqs", "8"],
    "equals sign": ["--max-num-seqs=8"],
    "short name": ["-dp", "4"],
    "flag": ["--enable-eplb"],
    "negated flag": ["--no-enable-eplb"],
    "empty optional value": ["--kv-cache-memory-bytes="],
    "human number": ["--max-model-len", "4k"],
    "automatic length": ["--max-model-len", "auto"],
    "JSON with underscored name": ["--kv_transfer_config", '{"kv_connector":"NixlConnector","kv_role":"kv_both"}'],
    "numbers in strings": ["--eplb-config", '{"window_size":"1000","log_balancedness":"False"}'],
    "JSON by keys": ["--eplb-config.window_size", "1000", "--eplb-config.log_balancedness=false"],
    "JSON list by keys": ["--compilation-config.cudagraph_capture_sizes+", "1,2"],
    "nested JSON": ["--compilation-config", '{"dynamic_shapes_config":{"type":"backed"}}'],
    "null for an optional key": ["--kv-transfer-config", '{"kv_rank":null}'],
    "optimization level": ["-O3"],
    "choice in another spelling": ["--moe-backend", "Deep-GEMM"],
    "several values": ["--served-model-name", "a", "b"],
}


@pytest.mark.parametrize("arguments", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepts_what_vllm_accepts(arguments: list[str]) -> None:
    assert stand_in.parse(["serve", "org/model", *arguments], DATA).model_tag == "org/model"


REFUSED = {
    "unknown argument": (["--bogus", "1"], 2, "unrecognized arguments: --bogus 1"),
    "argument of a later release": (["--data-parallel-multi-port-external-lb"], 2, "unrecognized arguments"),
    "wrong type": (["--port", "http"], 2, "argument --port: invalid int value: 'http'"),
    "unknown choice": (["--all2all-backend", "deepep"], 2, "invalid choice: 'deepep'"),
    "empty required value": (["--max-num-seqs="], 2, "invalid int value: ''"),
    "unknown JSON key": (["--eplb-config", '{"windw_size":1}'], 2, "windw_size\n  Unexpected keyword argument"),
    "unknown nested JSON key": (
        ["--compilation-config", '{"dynamic_shapes_config":{"kind":"backed"}}'],
        2,
        "dynamic_shapes_config.kind\n  Unexpected keyword argument",
    ),
    "JSON value of the wrong type": (["--eplb-config", '{"window_size":"many"}'], 2, "should be a valid int"),
    "JSON value out of bounds": (["--eplb-config", '{"num_redundant_experts":-1}'], 2, "greater than or equal to 0"),
    "JSON choice": (["--kv-transfer-config", '{"kv_role":"both"}'], 2, "'kv_producer' or 'kv_both'"),
    "broken JSON": (["--kv-transfer-config", "{kv_role"], 2, "Invalid JSON"),
    "JSON that is no object": (["--eplb-config", "[]"], 2, "should be an object"),
    "unknown key by name": (["--eplb-config.windw_size", "1"], 2, "Unexpected keyword argument"),
    "out of bounds": (["--gpu-memory-utilization", "1.2"], 1, "less than or equal to 1"),
    "connector without a role": (["--kv-transfer-config", '{"kv_connector":"N"}'], 1, "Please specify kv_role"),
    "two load-balancing modes": (["-dph", "-dpe", "-dpl", "2"], 1, "both external and hybrid"),
    "hybrid without a local size": (["--data-parallel-hybrid-lb"], 1, "data_parallel_size_local must be set"),
    "rank outside the group": (["-dp", "16", "-dpr", "16", "-dpl", "8"], 1, "must be in the range [0, 16)"),
}


@pytest.mark.parametrize(("arguments", "code", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_fails_where_vllm_fails(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        stand_in.parse(["serve", "org/model", *arguments], DATA)
    # A text is printed and ends the interpreter with 1.
    found = (1, stop.value.code) if isinstance(stop.value.code, str) else (stop.value.code, capsys.readouterr().err)
    assert found[0] == code
    assert message in str(found[1])


def test_needs_a_model_and_a_known_command() -> None:
    no_model, unknown = vllm("serve"), vllm("serve", "org/model", "--bogus")
    assert (no_model.returncode, no_model.stdout, "No model specified" in no_model.stderr) == (1, "", True)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert vllm("server", "org/model").returncode == 2
    assert vllm("--version").stdout.strip() == "0.19.1"


ENVIRONMENTS = {
    "unknown variable is a warning": ({"VLLM_FOO": "1"}, [], 0, "Unknown vLLM environment variable detected: VLLM_FOO"),
    "unless asked for": ({"VLLM_FOO": "1"}, ["--fail-on-environ-validation"], 1, "ValueError: Unknown vLLM"),
    "no number": ({"VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "long"}, [], 1, "invalid literal for int()"),
    "no choice": ({"VLLM_KV_CACHE_LAYOUT": "XYZ"}, [], 1, "Invalid value 'XYZ' for VLLM_KV_CACHE_LAYOUT"),
}


@pytest.mark.parametrize(("environment", "arguments", "code", "message"), ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_environment(environment: dict[str, str], arguments: list[str], code: int, message: str) -> None:
    done = vllm("serve", "org/model", *arguments, **environment)
    assert done.returncode == code
    assert message in done.stderr


def test_the_simulator_has_the_capacity_of_all_local_ranks() -> None:
    arguments = ["--port", "8200", "-dph", "-dp", "16", "-dpl", "8", "--max-num-seqs", "256", "--max-model-len", "4000"]
    words = vllm("serve", "org/model", *arguments).stdout.split()
    options = dict(itertools.pairwise(words))
    assert options["--port"] == "8200"
    assert options["--max-num-seqs"] == "2048"
    assert options["--max-model-len"] == "4000"
    assert "--force-dummy-tokenizer" in words


MULTI_PORT = ["--data-parallel-multi-port-external-lb", "-dp", "16", "-dpl", "8"]
MULTI_PORT_REFUSED = {
    "with hybrid": (["-dph"], "cannot be combined with"),
    "several API servers": (["--api-server-count", "2"], "requires --api-server-count=1"),
    "a rank of its own": (["-dpn", "1"], "manages child --data-parallel-rank"),
    "uneven": (["-dpl", "7"], "must be divisible"),
    "one rank": (["-dp", "1", "-dpl", "1"], "requires --data-parallel-size > 1"),
    "past the end": (["-dpr", "12"], "would exceed"),
    "supervisor among the ranks": (
        ["--data-parallel-supervisor-port", "8007"],
        "overlaps with child rank ports 8000-8007",
    ),
}


def test_multi_port_is_an_argument_of_the_later_release() -> None:
    given = stand_in.parse(["serve", "org/model", *MULTI_PORT, "--data-parallel-supervisor-port", "8008"], LATER_DATA)
    assert given.data_parallel_supervisor_port == 8008
    with pytest.raises(SystemExit):
        stand_in.parse(["serve", "org/model", *MULTI_PORT], DATA)


@pytest.mark.parametrize(("arguments", "message"), MULTI_PORT_REFUSED.values(), ids=MULTI_PORT_REFUSED.keys())
def test_multi_port_fails_where_vllm_fails(arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as stop:
        stand_in.parse(["serve", "org/model", *MULTI_PORT, *arguments], LATER_DATA)
    assert message in str(stop.value.code)


#: A server that is healthy, says its port, and ends or falls silent when it is told to.
ENGINE = """\
import http.server, pathlib, sys
port = sys.argv[sys.argv.index("--port") + 1]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        sick = pathlib.Path(sys.argv[0]).with_name("sick-" + port).exists()
        self.send_response(503 if sick else 200)
        self.end_headers()
        self.wfile.write(" ".join(sys.argv[1:]).encode())
    def log_message(self, *args):
        pass
http.server.HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
"""


class Ranks:
    """A pod of two ranks under the supervisor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.first = self._two_ports()
        self.supervisor = free_port()
        (folder / "engine.py").write_text(ENGINE, encoding="utf-8")
        (folder / "engine").write_text(
            f'#!/bin/sh\nexec "{sys.executable}" "{folder}/engine.py" "$@"\n', encoding="utf-8"
        )
        (folder / "engine").chmod(0o755)
        numbers = ["--port", str(self.first), "--data-parallel-supervisor-port", str(self.supervisor)]
        probes = ["--dp-supervisor-probe-interval-s", "0.2", "--dp-supervisor-probe-timeout-s", "0.3"]
        local = ["--data-parallel-multi-port-external-lb", "-dp", "2", "-dpl", "2", "--max-num-seqs", "16"]
        self.process = subprocess.Popen(
            [sys.executable, str(VLLM), "serve", "org/model", *local, *numbers, *probes],
            env={**os.environ, "STAND_IN_SIMULATOR": str(folder / "engine"), "STAND_IN_ARGUMENTS": LATER},
            stderr=subprocess.PIPE,
            text=True,
        )

    @staticmethod
    def _two_ports() -> int:
        while True:
            first = free_port()
            with socket.socket() as second:
                if second.connect_ex(("127.0.0.1", first + 1)):
                    return first

    def status(self, port: int, path: str) -> int | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def engines(self) -> list[int]:
        folder = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(number) for number in folder.read_text().split()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def ranks(tmp_path: Path) -> Iterator[Ranks]:
    made = Ranks(tmp_path)
    try:
        made.until(lambda: made.status(made.supervisor, "/readyz") == 200)
        yield made
    finally:
        made.process.terminate()
        made.process.communicate(timeout=20)


def test_each_rank_is_a_server_of_its_own(ranks: Ranks) -> None:
    assert [ranks.status(ranks.first + rank, "/") for rank in range(2)] == [200, 200]
    assert ranks.status(ranks.supervisor, "/health") == 200
    assert ranks.status(ranks.supervisor, "/v1/models") == 404
    # One rank's share, not the pod's.
    with urllib.request.urlopen(f"http://127.0.0.1:{ranks.first}/", timeout=2) as answer:
        assert "--max-num-seqs 16 " in answer.read().decode()


def test_a_dead_rank_takes_its_pod_down(ranks: Ranks) -> None:
    os.kill(ranks.engines()[1], signal.SIGKILL)
    assert ranks.process.wait(timeout=20) == 1
    assert ranks.status(ranks.first, "/") is None
    assert ranks.process.stderr
    last = ranks.process.stderr.read().splitlines()[-1]
    assert f"since the servers on ports {ranks.first + 1} (exit code -9) have ended" in last


@pytest.mark.parametrize("how", ["sick", "halted"])
def test_an_unhealthy_rank_takes_its_pod_down(ranks: Ranks, how: str) -> None:
    if how == "sick":
        (ranks.folder / f"sick-{ranks.first}").touch()
    else:
        os.kill(ranks.engines()[0], signal.SIGSTOP)
    assert ranks.process.wait(timeout=20) == 1
    assert ranks.process.stderr
    last = ranks.process.stderr.read().splitlines()[-1]
    assert f"since the servers on ports {ranks.first} are not healthy" in last


def test_ranks_end_when_the_kubelet_says_so(ranks: Ranks) -> None:
    ranks.process.terminate()
    assert ranks.process.wait(timeout=20) == 0
    assert ranks.status(ranks.first + 1, "/") is None


@pytest.fixture
def rpc_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_member(port: int, start: int, size: int = 16, timeout: str = "20") -> subprocess.Popen[str]:
    numbers = ["-dp", str(size), "-dpl", "8", "-dpr", str(start), "-dpa", "127.0.0.1", "-dpp", str(port)]
    return subprocess.Popen(
        [sys.executable, str(VLLM), "serve", "org/model", "--data-parallel-hybrid-lb", *numbers],
        env={"STAND_IN_SIMULATOR": "echo", "PATH": "/usr/bin:/bin", "STAND_IN_GROUP_TIMEOUT_SECONDS": timeout},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


GROUPS = {
    "the worker first": ([(8, 16), (0, 16)], [0, 0]),
    "three pods": ([(0, 24), (16, 24), (8, 24)], [0, 0, 0]),
    "a rank twice": ([(0, 16), (4, 16)], [1, 1]),
    "another size": ([(0, 16), (8, 24)], [1, 1]),
}


@pytest.mark.parametrize(("members", "codes"), GROUPS.values(), ids=GROUPS.keys())
def test_a_group_starts_when_its_ranks_are_whole(
    members: list[tuple[int, int]], codes: list[int], rpc_port: int
) -> None:
    pods = [start_member(rpc_port, start, size) for start, size in members]
    outputs = [pod.communicate(timeout=30) for pod in pods]
    assert [pod.returncode for pod in pods] == codes, outputs
    assert [bool(out) for out, _err in outputs] == [code == 0 for code in codes]


@pytest.mark.parametrize(
    ("start", "message"), [(0, "ranks [8, 9, 10, 11, 12, 13, 14, 15] did not join"), (8, "did not start in time")]
)
def test_a_pod_does_not_serve_without_its_group(start: int, message: str, rpc_port: int) -> None:
    pod = start_member(rpc_port, start, timeout="1")
    out, err = pod.communicate(timeout=30)
    assert (pod.returncode, out) == (1, "")
    assert message in err


def test_a_waiting_pod_ends_when_it_is_told_to(rpc_port: int) -> None:
    pod = start_member(rpc_port, 8)
    assert pod.stderr
    while "group at" not in pod.stderr.readline():
        assert pod.poll() is None
    pod.terminate()
    pod.communicate(timeout=10)
    assert pod.returncode == 143


def script_of(path: Path, tier: str) -> tuple[str, dict[str, str]]:
    objects = yaml.safe_load(path.read_text(encoding="utf-8"))["items"]
    workload = next(item for item in objects if item["metadata"]["name"].endswith(tier))
    container = workload["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"][0]
    return container["args"][0], {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("path", RENDERED, ids=[path.stem for path in RENDERED])
def test_accepts_every_rendered_manifest(path: Path, tier: str, tmp_path: Path) -> None:
    script, environment = script_of(path, tier)
    (tmp_path / "vllm").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{VLLM}" "$@"\n', encoding="utf-8")
    (tmp_path / "vllm").chmod(0o755)
    group = {"LWS_GROUP_SIZE": "1", "LWS_WORKER_INDEX": "0", "LWS_LEADER_ADDRESS": "leader"}
    done = subprocess.run(
        ["bash", "-c", script.replace("find /dev/shm -type f -delete", "")],
        env={
            **environment,
            **group,
            "STAND_IN_SIMULATOR": "echo",
            "STAND_IN_ARGUMENTS": ARGUMENTS_OF[release_of(path)],
            "PATH": f"{tmp_path}:/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    # A simulator that is an echo ends at once, which ends the supervisor of ranks.
    assert done.returncode == int("data-parallel-multi-port" in script), done.stderr
    assert "Unknown vLLM environment variable" not in done.stderr
