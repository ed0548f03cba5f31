# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builder.errors import BuildError, advice
from builder.process import run

PACKAGE = Path(__file__).resolve().parents[3] / "roles/rehearsal_cluster/files/builder"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_run_returns_what_was_printed() -> None:
    assert run(python("import sys; print(1, flush=True); print(2, file=sys.stderr)")) == "1\n2\n"


def test_failure_shows_the_last_lines_and_advice() -> None:
    code = "print('\\n'.join(f'line {n}' for n in range(99))); print('x: no space left on device'); exit(3)"
    with pytest.raises(BuildError, match=r"failed \(exit 3\)") as caught:
        run(python(code))
    lines = caught.value.evidence.splitlines()
    assert (len(lines), lines[-1]) == (20, "x: no space left on device")
    assert "free disk space" in caught.value.fix
    assert "  | x: no space left on device\n  Fix: free disk space" in str(caught.value)


def test_missing_tool_is_named() -> None:
    with pytest.raises(BuildError, match="no-such-tool is not on this machine"):
        run(["no-such-tool"])


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("write /x: no space left on device", "free disk space"),
        ("dial tcp: lookup proxy.golang.org: no such host", "check the network"),
        ("E: Failed to fetch http://x  Could not connect to x", "check the network"),
        ("verifying x: checksum mismatch\n\nSECURITY ERROR", "clean -modcache"),
        ("link: signal: killed", "ran out of memory"),
        ("open /x: read-only file system\nmkdir /x: permission denied", "writable"),
        ("go: updates to go.mod needed", "generate.py"),
        ("anything else", "read the lines above"),
        ("", "read the lines above"),
    ],
)
def test_advice(output: str, words: str) -> None:
    assert words in advice(output)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: object, limit: float = 20) -> None:
    end = time.monotonic() + limit
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_ends_the_tool_and_its_children(tmp_path: Path, number: signal.Signals) -> None:
    pids = tmp_path / "pids"
    child = (
        "import os, pathlib, subprocess; c = subprocess.Popen(['sleep', '99']);"
        f"pathlib.Path({str(pids)!r}).write_text(f'{{os.getpid()}} {{c.pid}}\\n'); c.wait()"
    )
    code = (
        f"import signal, sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n"
        "from builder import cli, process\n"
        "signal.signal(signal.SIGTERM, cli._interrupt)\n"
        f"process.run([sys.executable, '-c', {child!r}], tick=lambda: None)\n"
    )
    parent = subprocess.Popen(python(code), stderr=subprocess.PIPE)
    wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"))
    family = [int(pid) for pid in pids.read_text().split()]
    parent.send_signal(number)
    _out, errors = parent.communicate(timeout=20)
    assert parent.returncode != 0
    assert b"KeyboardInterrupt" in errors
    wait_until(lambda: not any(alive(pid) for pid in family))


def test_folder_runs_as_a_program_and_writes_nothing_beside_itself(tmp_path: Path) -> None:
    env = {**os.environ, "LLMD_WIDE_EP_CACHE": str(tmp_path / "cache")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    shown = subprocess.run(
        [sys.executable, PACKAGE, "list", "--scenario", "standalone"],
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "kube-apiserver             v1.36.3    build: not built yet" in shown.stdout
    wrong = subprocess.run(
        [sys.executable, PACKAGE, "check", "--scenario", "kind"], env=env, check=False, capture_output=True, text=True
    )
    assert wrong.returncode == 2
    assert (
        wrong.stderr
        == "ERROR: There is no scenario 'kind'.\n  Fix: choose one of: standalone, benchmark, istio, full.\n"
    )
    assert not (tmp_path / "cache").exists()


def test_clean_removes_only_what_is_the_builders(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for name in ("bin/x", "images/x", "manifests", "venv", "clusters/local"):
        (cache / name).mkdir(parents=True)
    env = {**os.environ, "LLMD_WIDE_EP_CACHE": str(cache)}
    for _time in range(2):
        subprocess.run([sys.executable, PACKAGE, "clean"], env=env, check=True, capture_output=True)
        assert sorted(path.name for path in cache.iterdir()) == ["clusters", "venv"]
