# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of ansible-playbook with the callback: only they show how events arrive."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]

FIRST = """
- name: First
  hosts: localhost
  gather_facts: false
  vars: {wide_ep_release: wide-ep-lws, wide_ep_artifacts_dir: "{{ playbook_dir }}/artifacts"}
  tasks:
    - name: Change something
      ansible.builtin.debug: {msg: x}
      changed_when: not ansible_check_mode
    - name: Record
      llmd.wide_ep.phase_result:
        phase: first
        summary: [[answer, "{{ answer }}"]]
        data: {run: "{{ lookup('ansible.builtin.env', 'LLMD_WIDE_EP_RUN_ID') }}"}
- name: Import the second
  import_playbook: second.yml
- name: Import the third
  import_playbook: third.yml
"""
SECOND = """
- name: Second
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Try
      block:
        - name: Fail
          ansible.builtin.fail: {msg: rescued}
      rescue:
        - name: Go on
          ansible.builtin.debug: {msg: y}
    - name: Decide
      ansible.builtin.fail: {msg: the cause}
      when: broken | bool
    - name: Wait
      ansible.builtin.command:
        argv: ["{{ ansible_python_interpreter }}", -c, "open('waiting', 'w'); import time; time.sleep(60)"]
        chdir: "{{ playbook_dir }}"
      when: slow | bool
"""
THIRD = """
- name: Third
  hosts: localhost
  gather_facts: false
  tasks:
    - name: End
      ansible.builtin.debug: {msg: z}
"""


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    for name, text in (("first", FIRST), ("second", SECOND), ("third", THIRD)):
        (tmp_path / f"{name}.yml").write_text(text)
    return tmp_path / "first.yml"


def command(playbook: Path, *arguments: str) -> list[str]:
    inputs = {"answer": 42, "broken": False, "slow": False, "ansible_python_interpreter": sys.executable}
    program = Path(sys.executable).parent / "ansible-playbook"
    return [str(program), "-i", "localhost,", "-c", "local", "-e", json.dumps(inputs), *arguments, str(playbook)]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "LLMD_WIDE_EP_RUN_ID"}
    collections = str(ROOT / ".ansible" / "collections")
    enabled = {"ANSIBLE_COLLECTIONS_PATH": collections, "ANSIBLE_CALLBACKS_ENABLED": "llmd.wide_ep.phases"}
    return {**kept, **enabled, "ANSIBLE_NOCOLOR": "1"}


def play(playbook: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(playbook, *arguments),
        cwd=playbook.parent,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_run(playbook: Path) -> None:
    done = play(playbook)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^  first +[0-9.]+ +1  changed$", done.stdout, re.MULTILINE)
    assert re.search(r"^  second +[0-9.]+ +0  ok$", done.stdout, re.MULTILINE)
    assert re.search(r"^  third +[0-9.]+ +0  ok$", done.stdout, re.MULTILINE)
    assert "  answer  42" in done.stdout
    (folder,) = (playbook.parent / "artifacts" / "wide-ep-lws").iterdir()
    assert f"Results in artifacts/wide-ep-lws/{folder.name}" in done.stdout
    result, run = (json.loads((folder / name).read_text()) for name in ("first.json", "run.json"))
    assert result["data"] == {"run": folder.name}
    assert run["run_id"] == folder.name
    assert [phase["outcome"] for phase in run["phases"]] == ["changed", "ok", "ok"]


def test_check_mode_writes_nothing(playbook: Path) -> None:
    done = play(playbook, "--check")
    assert done.returncode == 0
    assert "check mode: nothing was changed" in done.stdout
    assert "  answer  42" in done.stdout
    assert not (playbook.parent / "artifacts").exists()


def test_failure(playbook: Path) -> None:
    done = play(playbook, "-e", "broken=true")
    assert done.returncode != 0
    assert re.search(r"^  second +[0-9.]+ +0  failed$", done.stdout, re.MULTILINE)
    assert re.search(r"^  third +-  +-  not reached$", done.stdout, re.MULTILINE)
    assert "FAILED in phase second on localhost, task: Decide\n  the cause\n" in done.stdout
    (run,) = (playbook.parent / "artifacts" / "wide-ep-lws").glob("*/run.json")
    assert json.loads(run.read_text())["failure"] == {"host": "localhost", "task": "Decide", "message": "the cause"}


def test_a_defect_of_the_callback_does_not_break_the_run(playbook: Path) -> None:
    (playbook.parent / "artifacts").mkdir()
    done = play(playbook, "-e", "wide_ep_artifacts_dir=artifacts", "-e", "wide_ep_release=x")
    (folder,) = (playbook.parent / "artifacts" / "x").iterdir()
    assert done.returncode == 0
    (folder / "run.json").unlink()
    # A folder where the file belongs makes writing it fail, also for root.
    blocked = {**environment(), "LLMD_WIDE_EP_RUN_ID": folder.name}
    (folder / "run.json").mkdir()
    arguments = ("-e", "wide_ep_artifacts_dir=artifacts", "-e", "wide_ep_release=x")
    again = subprocess.run(
        command(playbook, *arguments), cwd=playbook.parent, env=blocked, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0
    assert "the run's summary is incomplete" in again.stderr


def test_interrupt_says_how_to_go_on(playbook: Path) -> None:
    process = subprocess.Popen(
        command(playbook, "-e", "slow=true"),
        cwd=playbook.parent,
        env={**environment(), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    # Not before the module runs: core hangs when a worker is interrupted while it holds their queue.
    deadline = time.monotonic() + 60
    while not (playbook.parent / "waiting").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    try:
        output = process.communicate(timeout=60)[0]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0
    assert re.search(r"The run \S+ stopped in phase second\. Run the same command again", output), output
