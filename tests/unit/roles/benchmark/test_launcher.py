# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program of the benchmark's pod, as a process of its own, against a server and load generators of the tests.

The load generators here do what the real one is known to do: end with 0 where it failed, leave workers, write no file.
The real one is run by tests/integration/benchmark.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import typing as t
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from loading import load_file

PROGRAM = Path(__file__).parents[4] / "roles" / "benchmark" / "files" / "launcher.py"
MARK = "@benchmark "
launcher = load_file(PROGRAM, "benchmark_launcher")

GOOD = """
print("\\x1b[2KStage 0 Requests --- 10% 0/64 0:00:01")
for done in (16, 64):
    time.sleep(0.3)
    print(f"\\x1b[1A\\x1b[2KOverall Progress --- 0% 0/1\\rStage 0 Requests --- 50% {done}/64 0:00:01", flush=True)
print("2026-01-01 00:00:00,000 - inference_perf.client.modelserver.openai_client - ERROR - Request timed out:")
(here / "stage_0_lifecycle_metrics.json").write_text("{}")
"""


class Server:
    """An endpoint; ``models`` is what it lists, ``status`` what it answers with."""

    def __init__(self) -> None:
        self.models = ["m"]
        self.status = 200
        self.cold = 0
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/metrics":
                    outer._answer(self, f"vllm:request_success_total{{}} {len(outer.asked)}\nother 1\n")
                else:
                    outer._answer(self, json.dumps({"data": [{"id": name} for name in outer.models]}))

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.asked.append(self.path)
                outer._answer(self, "{}", 503 if len(outer.asked) <= outer.cold else outer.status)

            def log_message(self, *_args: t.Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @staticmethod
    def _answer(handler: BaseHTTPRequestHandler, text: str, status: int = 200) -> None:
        handler.send_response(status)
        handler.end_headers()
        handler.wfile.write(text.encode())

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])


@pytest.fixture
def server() -> t.Iterator[Server]:
    made = Server()
    yield made
    made.server.shutdown()
    made.server.server_close()


class Pod:
    """What the pod has: profiles, a load generator, the input, a volume."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.root = folder, folder / "requests" / "e1"
        (folder / "profiles").mkdir()
        (folder / "profiles" / "p.yaml").write_text("path: '@results@'\nload:\n  base_seed: 100\n")
        self.plan: dict[str, t.Any] = {
            "base_url": f"http://127.0.0.1:{server.port}",
            "model": "m",
            "command": [str(folder / "tool")],
            "release": "0.7.0",
            "connect_timeout": 1.5,
            "first_answer_timeout": 5,
            "deadline": 20,
            "keep": 0,
            "report_every": 0.1,
            "profiles": str(folder / "profiles"),
            "results": str(folder / "requests"),
            "experiment": "e1",
            "targets": [{"pod": "d-0", "role": "decode", "host": "127.0.0.1", "port": server.port}],
            "runs": [
                {"number": n, "profile": "p", "repeat": n, "requests": 64, "folder": f"p/run-{n}"} for n in (0, 1)
            ],
        }

    def tool(self, body: str) -> None:
        imports = "import os, signal, subprocess, sys, time\nfrom pathlib import Path\nhere = Path.cwd()\n"
        (self.folder / "tool").write_text(f"#!{sys.executable}\n{imports}{body}")
        (self.folder / "tool").chmod(0o755)

    def start(self) -> subprocess.Popen[str]:
        (self.folder / "input.json").write_text(json.dumps(self.plan))
        command = [sys.executable, str(PROGRAM), str(self.folder / "input.json")]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def run(self) -> tuple[int, list[dict[str, t.Any]]]:
        process = self.start()
        output, _nothing = process.communicate(timeout=60)
        lines = output.splitlines()
        return process.returncode, [json.loads(line.removeprefix(MARK)) for line in lines if line.startswith(MARK)]

    def marker(self, run: int = 0) -> dict[str, t.Any]:
        found: dict[str, t.Any] = json.loads((self.root / f"p/run-{run}" / "run.json").read_text())
        return found


@pytest.fixture
def pod(tmp_path: Path, server: Server) -> Pod:
    return Pod(tmp_path, server)


def test_a_load_leaves_its_files_its_counts_and_sums_of_all_of_it(pod: Pod) -> None:
    pod.tool(GOOD)
    code, frames = pod.run()
    last = frames[-1]
    assert (code, last["state"], last["outcome"]) == (0, "ended", "complete")
    assert [run["state"] for run in last["runs"]] == ["complete", "complete"]
    marker = pod.marker()
    assert (marker["done"], marker["failed_lines"], marker["exit_code"]) == (64, 1, 0)
    index = json.loads((pod.root / "index.json").read_text())["files"]
    assert set(index) == {
        f"p/run-{n}/{name}"
        for n in (0, 1)
        for name in ("p.yaml", "run.json", "stage_0_lifecycle_metrics.json", "stdout.log")
    }
    for name, entry in index.items():
        assert hashlib.sha256((pod.root / name).read_bytes()).hexdigest() == entry["sha256"]
    assert last["index"] == hashlib.sha256((pod.root / "index.json").read_bytes()).hexdigest()


def test_progress_tells_done_rate_failures_and_time_left(pod: Pod) -> None:
    pod.tool(GOOD)
    running = [frame for frame in pod.run()[1] if frame["state"] == "running"]
    half = next(frame for frame in running if frame["done"] == 16)
    assert (half["total"], half["failures"], half["run"], half["runs"]) == (64, 0, 0, 2)
    assert half["rate"] > 0
    assert half["left"] == pytest.approx(48 / half["rate"], abs=1)
    assert half["deadline_left"] <= 20
    assert running[-1]["failures"] == 1


def test_repeats_have_prompts_and_folders_of_their_own(pod: Pod) -> None:
    pod.tool(GOOD)
    pod.run()
    pod.plan["experiment"], root = "e2", pod.root.parent / "e2"
    pod.run()
    paths = [base / f"p/run-{n}" / "p.yaml" for base in (pod.root, root) for n in (0, 1)]
    texts = [path.read_text() for path in paths]
    seeds = [int(text.rpartition("base_seed: ")[2]) for text in texts]
    assert len(set(seeds)) == 4
    assert all(100 <= seed < 2**31 for seed in seeds)
    assert all(f"path: '{path.parent}'" in text for path, text in zip(paths, texts, strict=True))


def test_the_log_keeps_what_is_no_drawing(pod: Pod) -> None:
    pod.tool(GOOD + "print('the end')\n")
    pod.run()
    log = (pod.root / "p/run-0" / "stdout.log").read_text()
    assert log.splitlines()[-1] == "the end"
    assert "Stage 0 Requests" not in log
    assert "\x1b" not in log


def test_counters_are_read_before_and_after(pod: Pod, server: Server) -> None:
    pod.tool(GOOD)
    pod.run()
    before, after = (pod.marker()["counters"][when][0] for when in ("before", "after"))
    assert before["lines"] == after["lines"] == ["vllm:request_success_total{} 1"]
    assert (before["pod"], before["role"]) == ("d-0", "decode")


BAD = {
    "ends with an error": (
        "print('ValueError: bad key'); sys.exit(1)",
        "failed",
        "it ended with 1: ValueError: bad key",
    ),
    "writes nothing and ends with 0": ("print('all workers died')", "empty", "wrote no stage file: all workers died"),
    "is killed": ("os.kill(os.getpid(), signal.SIGKILL)", "killed", "signal 9 (SIGKILL)"),
    "runs over its time": ("time.sleep(60)", "deadline", "it was killed after 1 s"),
}


@pytest.mark.parametrize(("body", "state", "words"), BAD.values(), ids=BAD)
def test_a_load_that_goes_wrong_says_how_and_ends_the_rest(pod: Pod, body: str, state: str, words: str) -> None:
    pod.tool(body)
    pod.plan["deadline"] = 1
    code, frames = pod.run()
    assert code == 1
    assert (frames[-1]["outcome"], len(frames[-1]["runs"])) == (state, 1)
    assert words in frames[-1]["evidence"]
    assert pod.marker()["state"] == state
    assert not (pod.root / "p/run-1").exists()
    assert "index" in frames[-1], "what there is can be collected as evidence"


def test_at_the_deadline_every_process_of_the_load_ends(pod: Pod) -> None:
    """Workers outlive a parent that is killed, and some do not listen to SIGTERM."""
    child = "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(120)"
    pod.tool(
        f"child = subprocess.Popen([sys.executable, '-c', 'import signal, time; {child}'])\n"
        "(here / 'child').write_text(str(child.pid)); time.sleep(120)\n"
    )
    pod.plan["deadline"] = 1.5
    launcher_file = PROGRAM.read_text().replace("GRACE = 10.0", "GRACE = 1.0")
    program = pod.folder / "launcher.py"
    program.write_text(launcher_file)
    (pod.folder / "input.json").write_text(json.dumps(pod.plan))
    subprocess.run([sys.executable, program, pod.folder / "input.json"], timeout=60, check=False, capture_output=True)
    child_pid = int((pod.root / "p/run-0" / "child").read_text())
    assert not alive(child_pid)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_served_model_is_wanted_before_any_load(pod: Pod, server: Server) -> None:
    server.models = ["other", "another"]
    pod.tool(GOOD)
    code, frames = pod.run()
    assert (code, frames[-1]["outcome"]) == (1, "model")
    assert "another, other, not m" in frames[-1]["evidence"]
    assert server.asked == []
    assert not pod.root.joinpath("p").exists()


def test_an_endpoint_without_an_answer_is_said_in_time(pod: Pod, server: Server) -> None:
    pod.tool(GOOD)
    pod.plan["base_url"] = "http://127.0.0.1:9"
    started = time.monotonic()
    code, frames = pod.run()
    assert time.monotonic() - started < 10
    assert (code, frames[-1]["outcome"]) == (1, "endpoint")
    assert "Connection refused" in frames[-1]["evidence"]


def test_the_first_answer_may_take_a_while(pod: Pod, server: Server) -> None:
    server.cold = 2
    pod.tool(GOOD)
    code, frames = pod.run()
    assert (code, frames[-1]["outcome"], server.asked) == (0, "complete", ["/v1/completions"] * 3)


def test_a_refusal_is_not_tried_again(pod: Pod, server: Server) -> None:
    server.status = 400
    pod.tool(GOOD)
    code, frames = pod.run()
    assert (code, frames[-1]["outcome"], len(server.asked)) == (1, "endpoint", 1)
    assert "status 400" in frames[-1]["evidence"]


def test_results_of_another_run_are_not_mixed_with(pod: Pod) -> None:
    pod.tool(GOOD)
    pod.root.mkdir(parents=True)
    (pod.root / "old").write_text("")
    code, frames = pod.run()
    assert (code, frames[-1]["outcome"]) == (1, "folder")
    assert "is not empty" in frames[-1]["evidence"]


def test_an_image_without_the_tool_is_said(pod: Pod) -> None:
    code, frames = pod.run()
    assert (code, frames[-1]["outcome"]) == (1, "tool")


def test_another_release_is_said(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.tool(GOOD)
    monkeypatch.setattr(launcher, "tool_version", lambda: "0.6.1")
    with pytest.raises(launcher.StopError, match=r"holds inference-perf 0\.6\.1, the configuration is for 0\.7\.0"):
        launcher.check_tool(pod.plan)
    launcher.check_tool({**pod.plan, "release": "v0.6.9"})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small file system")
def test_a_full_disk_is_said(pod: Pod) -> None:
    pod.tool("print('x' * 3000000, flush=True); time.sleep(30)")
    volume = Path(pod.plan["results"])
    volume.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", volume], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        code, frames = pod.run()
    finally:
        subprocess.run(["umount", volume], check=True)
    assert (code, frames[-1]["outcome"]) == (1, "disk")
    assert "No space left" in frames[-1]["evidence"]


def test_a_pod_that_ends_takes_its_load_along(pod: Pod) -> None:
    pod.tool("(here / 'child').write_text(str(os.getpid())); time.sleep(120)")
    process = pod.start()
    path = pod.root / "p/run-0" / "child"
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert not alive(int(path.read_text()))
    assert not (pod.root / "p/run-0" / "run.json").exists(), "a marker says that a run has ended"


def test_results_are_kept_until_they_are_collected(pod: Pod) -> None:
    pod.tool(GOOD)
    pod.plan["keep"] = 1.5
    started = time.monotonic()
    _code, frames = pod.run()
    assert [frame["state"] for frame in frames][-2:] == ["ended", "ended"], "the last word is said again"
    assert time.monotonic() - started > 2


def test_a_part_of_a_file_comes_as_text(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(range(256)) * 10)
    command = [sys.executable, PROGRAM, "send", tmp_path / "f", "250", "20"]
    said = subprocess.run(command, check=True, capture_output=True).stdout
    assert zlib.decompress(base64.b64decode(said)) == bytes([*range(250, 256), *range(14)])
