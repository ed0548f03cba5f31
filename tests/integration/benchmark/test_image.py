# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real inference-perf as the rehearsal's image has it, run by the pod's program against the real simulator.

No cluster: the image's files in a root of their own, as the image's user, on loopback. Needs root and the builder's
cache of scenario ``benchmark`` or ``full``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
import typing as t
import urllib.request
from pathlib import Path

import pytest
import yaml

from ansible_collections.llmd.wide_ep.plugins.action.benchmark_run import client_counts
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_judge import Request, judge
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_launch import frames
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_profile import REHEARSAL, Profile, Target, config
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_stack import agreement, counted

ROOT = Path(__file__).parents[3]
FILES = ROOT / "roles" / "rehearsal_cluster" / "files"
CACHE = Path(os.environ.get("LLMD_WIDE_EP_CACHE") or Path.home() / ".cache" / "llmd-wide-ep")
USER = 65532
Json = dict[str, t.Any]

sys.path.insert(0, str(FILES))
from builder import tokenizer
from builder.gotool import architecture
from builder.recipes import WHEEL_SETS

WHEELS = WHEEL_SETS["inference-perf"]
PACKAGES = CACHE / "tools" / f"{WHEELS.name}-{WHEELS.key(architecture())[:16]}"
BASES = sorted(CACHE.glob("layers/base-*/base.tar"), key=lambda path: path.stat().st_mtime)
SIMULATORS = sorted(CACHE.glob("bin/simulator-*/llm-d-inference-sim"))

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not PACKAGES.is_dir() or not BASES or not SIMULATORS,
    reason="needs root and `make binaries SCENARIO=benchmark`",
)

#: In a mount namespace of its own; everything mounted goes with it.
ENTER = """
set -e
mount --bind {packages} {root}/usr/local/lib/python3.13/dist-packages
mount --bind /dev {root}/dev
mount -t tmpfs -o mode=1777 tmpfs {root}/dev/shm
mount -t proc proc {root}/proc
exec chroot --userspec={user}:{user} {root} /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/tmp \
  HF_HOME=/tmp/hf HF_HUB_OFFLINE=1 PYTHONPYCACHEPREFIX=/tmp/pycache \
  python3 /opt/llmdbench/launcher.py /opt/llmdbench/input.json
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("image")
    root.chmod(0o755)
    subprocess.run(["tar", "--extract", "--file", BASES[-1], "--directory", root], check=True)
    folders = ("dev", "proc", "opt/tokenizer", "opt/llmdbench", "profiles", "requests", "usr/local/bin")
    for name in (*folders, "usr/local/lib/python3.13/dist-packages"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, text in tokenizer.files().items():
        (root / "opt/tokenizer" / name).write_text(text)
    (root / "opt/llmdbench/launcher.py").write_text((ROOT / "roles/benchmark/files/launcher.py").read_text())
    command = root / "usr/local/bin/inference-perf"
    command.write_text((FILES / "images/inference-perf/inference-perf").read_text())
    command.chmod(0o755)
    os.chown(root / "requests", USER, USER)
    return root


@pytest.fixture(scope="module")
def port() -> t.Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = int(free.getsockname()[1])
    options = ["--model", "m", "--max-num-seqs", "64", "--max-model-len", "4096"]
    options += ["--time-to-first-token", "20ms", "--inter-token-latency", "1ms"]
    command = [SIMULATORS[-1], "--port", str(number), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{number}/v1/models", timeout=5),
            ):
                break
            time.sleep(0.2)
        yield number
    finally:
        process.kill()
        process.wait()


def load(image: Path, port: int, experiment: str, profile: Profile, **changes: t.Any) -> tuple[Json, Path]:
    """The launcher's last word, and the folder of its first repeat."""
    url = f"http://127.0.0.1:{port}"
    target = Target("m", url, "/opt/tokenizer", "@results@", "0.7.0")
    (image / "profiles" / f"{profile.name}.yaml").write_text(yaml.safe_dump(config(profile, target)))
    folder = f"{profile.name}/run-0"
    plan = {
        "base_url": url,
        "model": "m",
        "command": ["inference-perf"],
        "release": "0.7.0",
        "connect_timeout": 20,
        "first_answer_timeout": 60,
        "deadline": 240,
        "keep": 0,
        "report_every": 1,
        "profiles": "/profiles",
        "results": "/requests",
        "experiment": experiment,
        "targets": [{"pod": "d-0", "role": "decode", "host": "127.0.0.1", "port": port}],
        "runs": [{"number": 0, "profile": profile.name, "repeat": 0, "requests": profile.requests, "folder": folder}],
        **changes,
    }
    (image / "opt/llmdbench/input.json").write_text(json.dumps(plan))
    script = ENTER.format(packages=PACKAGES, root=image, user=USER)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], text=True, capture_output=True, timeout=400, check=False
    )
    said = frames(done.stdout)
    assert said, done.stderr[-2000:]
    return said[-1], image / "requests" / experiment / folder


def test_a_load_is_measured_and_the_server_counts_the_same(image: Path, port: int) -> None:
    word, folder = load(image, port, "good", REHEARSAL)
    assert word["outcome"] == "complete", word
    marker = json.loads((folder / "run.json").read_text())
    assert marker["tool_version"] == "0.7.0"
    rows, problems = counted(marker)
    counts = client_counts(folder)
    assert counts == {"requests": 64, "output_tokens": 6400}
    (finding,) = agreement("f", counts, rows, problems)
    assert (finding.severity, problems) == ("info", [])
    outcome = judge(Request((folder,))).outcome
    assert outcome.verdict == "valid"
    assert outcome.run is not None
    assert (outcome.run.total, outcome.run.failures) == (64, 0)
    assert outcome.run.mean("input_length") == 200, "no prompt was dropped"
    recount = next(found for found in outcome.findings if found.code == "BENCHMARK_TOKEN_RECOUNT")
    assert "the server 100" in recount.evidence


@pytest.mark.parametrize(
    ("streaming", "code"),
    [
        # The simulator answers a request that does not fit with status 400, and in a stream with status 200 and an
        # event that holds the error, which inference-perf 0.7.0 takes for an answer without tokens.
        (False, "BENCHMARK_ALL_FAILED"),
        (True, "BENCHMARK_INCONSISTENT"),
    ],
)
def test_a_load_without_one_answer_is_invalid_whatever_its_exit_code(
    image: Path, port: int, streaming: bool, code: str
) -> None:
    size = {"requests": 16, "concurrency": 4, "output_tokens": 9000}
    too_long = dataclasses.replace(REHEARSAL, name="too_long", streaming=streaming, **size)
    word, folder = load(image, port, f"failed-{streaming}", too_long)
    assert json.loads((folder / "run.json").read_text())["exit_code"] == 0
    assert word["outcome"] == "complete", "the tool has done what it was told"
    outcome = judge(Request((folder,))).outcome
    assert (outcome.verdict, outcome.exit_code) == ("invalid", 5)
    assert code in [finding.code for finding in outcome.findings if finding.severity == "error"]


def test_a_load_over_its_time_leaves_no_process(image: Path, port: int) -> None:
    slow = dataclasses.replace(REHEARSAL, name="slow", requests=4000, concurrency=4, output_tokens=2000)
    word, folder = load(image, port, "slow", slow, deadline=25)
    assert word["outcome"] == "deadline"
    assert not list(folder.glob("stage_*"))
    left = subprocess.run(
        ["pgrep", "--full", f"--uid={USER}", "requests/slow"], capture_output=True, text=True, check=False
    )
    assert left.stdout == ""
