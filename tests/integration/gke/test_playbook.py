# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules as a user runs them: from a playbook, against a stand-in in a process of its own."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from _harness import CLUSTER, NETWORK, POOL, TOKEN, Json

ROOT = HERE.parents[2]


@pytest.fixture
def endpoint(tmp_path: pathlib.Path) -> Iterator[str]:
    (tmp_path / "token").write_text(TOKEN, encoding="utf-8")
    command = [sys.executable, str(HERE / "gke_standin"), "--seconds", "0.2", "--token-file", str(tmp_path / "token")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.kill()
    process.wait()


def play(folder: pathlib.Path, endpoint: str, *arguments: str, state: str = "present") -> str:
    """The output of a run with all three modules, as verbose as Ansible can be."""
    common = {
        "project": "demo",
        "api_endpoint": endpoint,
        "access_token_file": str(folder / "token"),
        "poll_interval": 0.5,
        "progress_file": str(folder / "progress"),
        "state": state,
    }
    pool = {**POOL, "networks": "{{ networks.node_pool_networks }}"}
    tasks: list[Json] = [
        {"name": "Keep networks", "llmd.wide_ep.gke_network": {**NETWORK, **common}, "register": "networks"},
        {"name": "Keep a cluster", "llmd.wide_ep.gke_cluster": {**CLUSTER, **common}},
        {"name": "Keep a node pool", "llmd.wide_ep.gke_node_pool": {**pool, **common}},
    ]
    if state == "absent":
        tasks = [task | {"llmd.wide_ep.gke_node_pool": {**POOL, **common}} for task in tasks[2:]] + tasks[1::-1]
    hosts = [{"name": "Try it", "hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    (folder / "play.yml").write_text(json.dumps(hosts), encoding="utf-8")
    command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), str(folder / "play.yml"), *arguments]
    command += ["-i", "localhost,", "-c", "local", "-vvvv", "-e", f"ansible_python_interpreter={sys.executable}"]
    (folder / "ansible.cfg").touch()
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections")}
    environment |= {"ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORKS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def test_playbook(tmp_path: pathlib.Path, endpoint: str) -> None:
    """Created, predicted as nothing to do, removed; no token in any of the output."""
    runs = [
        play(tmp_path, endpoint, "--diff"),
        play(tmp_path, endpoint, "--check"),
        play(tmp_path, endpoint, state="absent"),
    ]
    assert [f"changed={count}" in output for count, output in zip((3, 0, 3), runs, strict=True)] == [True] * 3
    assert "network wide-ep-rdma-net" in runs[0]
    progress = (tmp_path / "progress").read_text(encoding="utf-8")
    assert "create node pool gpu" in progress
    assert not any(TOKEN in text for text in (*runs, progress))
