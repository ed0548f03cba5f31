# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What breaks a benchmark while it runs on a cluster: the load, its pod, its node, the connection.

The load is that of the real inference-perf, through router, sidecar and simulator. The cluster's name is in
``LLMD_WIDE_EP_TEST_CLUSTER``, its scenario one with the load generator's image. The deployment is made where there is
none.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import socket
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import pytest
import yaml
from loading import load_file

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_launch import CONTAINER, POD, frames
from ansible_collections.llmd.wide_ep.plugins.module_utils._client import ApiError, Client, ClientError, load_client
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._benchmark_collect import pod_exec

ROOT = Path(__file__).parents[3]
CACHE = Path(os.environ.get("LLMD_WIDE_EP_CACHE") or Path.home() / ".cache" / "llmd-wide-ep")
CLUSTER = os.environ.get("LLMD_WIDE_EP_TEST_CLUSTER") or "test"
KUBECONFIG = CACHE / "clusters" / CLUSTER / "deployer.kubeconfig"
NAMESPACE = "llm-d-wide-ep"
PATH = f"/api/v1/namespaces/{NAMESPACE}/pods/{POD}"
#: Longer than what a test does to it.
LONG = {"concurrency": 8, "requests": 800, "input_tokens": 50, "output_tokens": 500, "max_workers": 2}
SHORT = {"concurrency": 8, "requests": 32, "input_tokens": 50, "output_tokens": 20, "max_workers": 2}

pytestmark = [
    pytest.mark.skipif(not KUBECONFIG.exists(), reason=f"cluster {CLUSTER} is not up"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the cluster's network belongs to root"),
]


def command(playbook: str, **variables: t.Any) -> list[str]:
    given = {"rehearsal_cluster_name": CLUSTER, **variables}
    tool = Path(sys.executable).with_name("ansible-playbook")
    inventories = ["-i", "inventories/local", "-i", "tests/inventory"]
    return [str(tool), f"playbooks/{playbook}.yml", *inventories, "-e", json.dumps(given)]


class Bench:
    """Benchmarks of one deployment, each test with a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client: Client = load_client(str(KUBECONFIG))

    def variables(self, profile: t.Mapping[str, t.Any], **changes: t.Any) -> dict[str, t.Any]:
        return {
            "benchmark_custom_profiles": {"test": dict(profile)},
            "benchmark_profiles": ["test"],
            "benchmark_repeats": 1,
            "benchmark_destination": str(self.folder / "benchmark"),
            "wide_ep_artifacts_dir": str(self.folder / "artifacts"),
            "benchmark_silence_timeout": 20,
            **changes,
        }

    def start(self, profile: t.Mapping[str, t.Any] | None = None, **changes: t.Any) -> subprocess.Popen[str]:
        """Start a benchmark, of the long load where none is given."""
        return subprocess.Popen(
            command("benchmark", **self.variables(profile or LONG, **changes)),
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def finish(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        try:
            output, _nothing = process.communicate(timeout=400)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return process.returncode, re.sub(r"\s+", " ", output)

    def run(self, profile: t.Mapping[str, t.Any] | None = None, **changes: t.Any) -> tuple[int, str]:
        """Run a benchmark to its end, of the short load where none is given."""
        return self.finish(self.start(profile or SHORT, **changes))

    def under_load(self, done: int = 20) -> None:
        """Until the load has come so far."""
        deadline, seen = time.monotonic() + 180, 0
        while time.monotonic() < deadline:
            with contextlib.suppress(ClientError):
                said = frames(self.client.logs(NAMESPACE, POD, CONTAINER, tail=20))
                seen = max([frame.get("done", 0) for frame in said], default=0)
                if seen >= done:
                    return
            time.sleep(0.5)
        raise AssertionError(f"the load has come to {seen} of {done}")

    def complete(self) -> list[Path]:
        return sorted((self.folder / "benchmark").glob("*/complete.json"))

    def results(self) -> list[Path]:
        return sorted((self.folder / "benchmark").glob("*/results"))

    def nothing_left(self) -> None:
        selector = {"labelSelector": "wide-ep.llm-d.ai/component=benchmark"}
        for plural in ("pods", "configmaps", "serviceaccounts"):
            found = self.client.list(f"/api/v1/namespaces/{NAMESPACE}/{plural}", selector)
            assert [item["metadata"]["name"] for item in found] == []

    def a_following_run_works(self) -> None:
        code, output = self.run(SHORT, benchmark_reuse=False)
        assert code == 0, output[-3000:]
        assert len(self.complete()) == 1
        self.nothing_left()


def deploy(**mode: str) -> None:
    made = subprocess.run(command("site", **mode), cwd=ROOT, text=True, capture_output=True, check=False, timeout=900)
    assert made.returncode == 0, made.stdout[-3000:]


@pytest.fixture(scope="module", autouse=True)
def deployment() -> None:
    deploy()


@pytest.fixture
def bench(tmp_path: Path) -> t.Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    with contextlib.suppress(ApiError):
        made.client.delete(PATH, params={"gracePeriodSeconds": 0})


def measured(bench: Bench, **mode: str) -> dict[str, dict[str, t.Any]]:
    """A load whose report agrees with the servers' counters; the parts of the stack by their labels."""
    code, output = bench.run({**SHORT, "requests": 64}, **mode)
    assert code == 0, output[-3000:]
    (complete,) = bench.complete()
    outcome = json.loads((complete.parent / "report" / "test" / "outcome.json").read_text())
    found = {finding["code"]: finding for finding in outcome["findings"]}
    assert (outcome["verdict"], outcome["requests"]) == ("valid", {"total": 64, "failures": 0})
    assert found["BENCHMARK_COUNTERS"]["severity"] == "info"
    assert (
        "agree on 64 requests and 1280 output tokens; prefill servers counted 64"
        in (found["BENCHMARK_COUNTERS"]["evidence"])
    )
    assert "the server 20" in found["BENCHMARK_TOKEN_RECOUNT"]["evidence"], "the client's own count is another"
    report = yaml.safe_load((complete.parent / "report/test/benchmark_report_v0.2.1.yaml").read_text())
    assert report["run"]["time"]["start"] < report["run"]["time"]["end"]
    assert (report["run"]["pid"], report["scenario"]["load"]["standardized"]["tool_version"]) != ("", "")
    bench.nothing_left()
    parts = {part["metadata"]["label"]: part["standardized"] for part in report["scenario"]["stack"]}
    assert sorted(parts) == ["inference-scheduler", "proxy", "vllm-decode", "vllm-prefill"]
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", part["tool_version"]) for part in parts.values())
    assert parts["vllm-decode"]["accelerator"]["count"] == 16
    return parts


def test_a_load_is_measured_and_its_figures_are_the_servers(bench: Bench) -> None:
    parts = measured(bench)
    assert "envoy" in parts["proxy"]["tool_version"]
    code, output = bench.run({**SHORT, "requests": 64})
    assert (code, "a complete report of this deployment exists" in output) == (0, True)
    assert len(bench.complete()) == 1


def kill_the_load(bench: Bench) -> None:
    """Every process with the tool's configuration on its command line, which the launcher and this one have not."""
    script = """
import os, signal
for entry in filter(str.isdigit, os.listdir("/proc")):
    try:
        words = open(f"/proc/{entry}/cmdline", "rb").read().split(b"\\0")
    except OSError:
        continue
    if b"--config_file" in words:
        os.kill(int(entry), signal.SIGKILL)
"""
    pod_exec(bench.client, NAMESPACE)(["python3", "-c", script], 30)


def kill_the_pod(bench: Bench) -> None:
    bench.client.delete(PATH, params={"gracePeriodSeconds": 0})


FAULTS: dict[str, tuple[t.Callable[[Bench], None], str, str]] = {
    "load": (kill_the_load, "BENCHMARK_LOAD_ENDED", "signal 9"),
    "pod": (kill_the_pod, "BENCHMARK_POD", "it was removed while it made the load"),
}


@pytest.mark.parametrize(("fault", "code", "words"), FAULTS.values(), ids=FAULTS)
def test_what_is_killed_is_said_and_a_following_run_works(
    bench: Bench, fault: t.Callable[[Bench], None], code: str, words: str
) -> None:
    process = bench.start()
    bench.under_load()
    fault(bench)
    rc, output = bench.finish(process)
    assert rc == 2
    assert code in output
    assert words in output
    assert (bench.complete(), bench.results()) == ([], [])
    bench.nothing_left()
    bench.a_following_run_works()


def test_a_load_over_its_deadline_is_killed(bench: Bench) -> None:
    rc, output = bench.run(LONG, benchmark_deadline=15)
    assert rc == 2
    assert "BENCHMARK_DEADLINE" in output
    assert "it was killed after 15 s" in output
    assert (bench.complete(), bench.results()) == ([], [])
    (left,) = (bench.folder / "benchmark").glob("*/incomplete")
    assert json.loads((left / "test/run-0/run.json").read_text())["state"] == "deadline"
    bench.nothing_left()


@contextlib.contextmanager
def lost_node(name: str) -> t.Iterator[None]:
    """No packet of the node goes anywhere, its own processes go on."""
    cluster = load_file(ROOT / "tests/integration/rehearsal_cluster/_cluster.py", "rehearsal_cluster_handle")
    handle = cluster.Cluster(CLUSTER)
    assert handle.inside("ip", "rule", "add", "pref", "1", "blackhole", node=name).returncode == 0
    try:
        yield
    finally:
        assert handle.inside("ip", "rule", "del", "pref", "1", node=name).returncode == 0


def ready(bench: Bench, node: str) -> bool:
    with contextlib.suppress(ClientError):
        conditions = bench.client.get(f"/api/v1/nodes/{node}")["status"]["conditions"]
        return next(one["status"] for one in conditions if one["type"] == "Ready") == "True"
    return False


def test_a_lost_node_is_said_and_a_following_run_works(bench: Bench) -> None:
    """The pod goes to a GPU node of the prefill tier: the router stays."""
    pods = bench.client.list(f"/api/v1/namespaces/{NAMESPACE}/pods", {"labelSelector": "llm-d.ai/role=prefill"})
    node = sorted(pod["spec"]["nodeName"] for pod in pods)[0]
    place = {
        "benchmark_node_selector": {"kubernetes.io/hostname": node},
        "benchmark_tolerations": [{"operator": "Exists"}],
    }
    process = bench.start(LONG, **place)
    bench.under_load()
    with lost_node(node):
        rc, output = bench.finish(process)
    assert rc == 2
    assert "BENCHMARK_POD" in output
    assert f"its node {node} is Ready:" in output
    assert (bench.complete(), bench.results()) == ([], [])
    deadline = time.monotonic() + 120
    while not ready(bench, node) and time.monotonic() < deadline:
        time.sleep(1)
    wait = subprocess.run(command("wait"), cwd=ROOT, text=True, capture_output=True, check=False, timeout=400)
    assert wait.returncode == 0, wait.stdout[-2000:]
    bench.a_following_run_works()


class Wire:
    """A connection to the API server that a test can cut."""

    def __init__(self, host: str, port: int) -> None:
        self.target, self.cut = (host, port), False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                inner, _address = self.listener.accept()
                if self.cut:
                    inner.close()
                    continue
                pair = (inner, socket.create_connection(self.target))
                self.pairs.append(pair)
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        ways = {one: other, other: one}
        with contextlib.suppress(OSError, ValueError):
            while True:
                for source in select.select(list(ways), [], [])[0]:
                    data = source.recv(1 << 16)
                    if not data:
                        return
                    ways[source].sendall(data)
        one.close()
        other.close()

    def fail(self) -> None:
        self.cut = True
        for pair in self.pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def heal(self) -> None:
        self.cut = False

    def kubeconfig(self, folder: Path) -> str:
        content = yaml.safe_load(KUBECONFIG.read_text())
        cluster = content["clusters"][0]["cluster"]
        cluster |= {"server": f"https://127.0.0.1:{self.port}", "tls-server-name": "kubernetes"}
        path = folder / "wire.kubeconfig"
        path.write_text(yaml.safe_dump(content))
        path.chmod(0o600)
        return str(path)


@pytest.fixture
def wire(bench: Bench) -> t.Iterator[Wire]:
    host, port = re.findall(r"https://([\d.]+):(\d+)", bench.client.server)[0]
    made = Wire(host, int(port))
    yield made
    made.listener.close()


def through(wire: Wire, bench: Bench) -> dict[str, t.Any]:
    """The registry's address is taken from the kubeconfig of the cluster, which is another here."""
    host = re.findall(r"https://([\d.]+):", bench.client.server)[0]
    return {"wide_ep_kubeconfig": wire.kubeconfig(bench.folder), "wide_ep_mirror": f"{host}:5000"}


def test_a_connection_that_comes_back_loses_nothing(bench: Bench, wire: Wire) -> None:
    process = bench.start({**LONG, "requests": 300}, **through(wire, bench))
    bench.under_load()
    wire.fail()
    time.sleep(15)
    wire.heal()
    rc, output = bench.finish(process)
    assert rc == 0, output[-3000:]
    assert len(bench.complete()) == 1
    bench.nothing_left()


def test_a_connection_that_stays_away_ends_the_run_and_the_next_one_goes_on(bench: Bench, wire: Wire) -> None:
    process = bench.start({**LONG, "requests": 300}, benchmark_api_patience=5, **through(wire, bench))
    bench.under_load()
    wire.fail()
    rc, output = bench.finish(process)
    assert rc == 2
    assert "API_UNREACHABLE" in output
    assert (bench.complete(), bench.results()) == ([], [])
    uid = bench.client.get(PATH)["metadata"]["uid"]
    wire.heal()
    rc, output = bench.run({**LONG, "requests": 300}, benchmark_api_patience=5, **through(wire, bench))
    assert rc == 0, output[-3000:]
    assert "going on with pod" in output
    (complete,) = bench.complete()
    report = yaml.safe_load((complete.parent / "report/test/benchmark_report_v0.2.1.yaml").read_text())
    assert report["run"]["pid"] == uid, "it is the load of the first run"
    bench.nothing_left()


BAD: dict[str, tuple[dict[str, t.Any], str, str]] = {
    "nothing listens": (
        {"benchmark_base_url": "http://127.0.0.1:9", "benchmark_connect_timeout": 3},
        "BENCHMARK_ENDPOINT",
        "Connection refused",
    ),
    "another model": (
        {"wide_ep_model": "deepseek-ai/DeepSeek-V0"},
        "BENCHMARK_MODEL",
        "not deepseek-ai/DeepSeek-V0",
    ),
    "a tokenizer that needs the network": (
        {"benchmark_tokenizer": "deepseek-ai/DeepSeek-R1-0528", "benchmark_env": {"HF_HUB_OFFLINE": "1"}},
        "BENCHMARK_TOKENIZER",
        "benchmark_volumes",
    ),
    "an image with another release": (
        {"benchmark_tool_release": "0.6.1"},
        "BENCHMARK_TOOL",
        "holds inference-perf 0.7.0",
    ),
    "an image without the tool": (
        {"benchmark_image": "docker.io/library/python:3.13-slim"},
        "BENCHMARK_TOOL",
        "no program inference-perf",
    ),
    "an image that is none": (
        {"benchmark_image": "example.invalid/none:1", "benchmark_start_timeout": 60},
        "BENCHMARK_POD",
        "ImagePullBackOff",
    ),
}


@pytest.mark.parametrize(("changes", "code", "words"), BAD.values(), ids=BAD)
def test_what_cannot_work_fails_with_its_cause(bench: Bench, changes: dict[str, t.Any], code: str, words: str) -> None:
    rc, output = bench.run(SHORT, **changes)
    assert rc == 2
    assert code in output
    assert words in output
    assert (bench.complete(), bench.results()) == ([], [])
    bench.nothing_left()


def test_through_a_gateway_the_figures_are_the_servers_too(bench: Bench) -> None:
    """The last test: it leaves the deployment in gateway mode."""
    mode = {"wide_ep_router_mode": "gateway", "wide_ep_gateway_provider": "istio"}
    deploy(**mode)
    parts = measured(bench, **mode)
    assert "istio" in parts["proxy"]["tool_version"]
