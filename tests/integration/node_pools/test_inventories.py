# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees who runs the site with an inventory as it is shipped."""

from __future__ import annotations

import os
import pathlib
import re
import resource
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
ASKED = {
    "gke": {"node_pools_authorized_networks", "node_pools_capacity", "node_pools_project", "node_pools_zone"},
    "gke-a4": {"node_pools_authorized_networks", "node_pools_capacity", "node_pools_project", "node_pools_zone"},
    "coreweave": {"node_pools_instance_type", "wide_ep_kubeconfig"},
}
# Seconds of processor time, so that a busy machine does not fail it.
LIMIT = 5.0


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("name", ASKED)
def test_all_missing_values_in_one_message(tmp_path: pathlib.Path, name: str) -> None:
    """Offline: neither a cluster nor credentials are asked for, because there are none."""
    program = pathlib.Path(sys.executable).with_name("ansible-playbook")
    command = [str(program), "site.yml", "-i", f"inventories/{name}", "-e", f"wide_ep_artifacts_dir={tmp_path}"]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "none")}
    before = processor_seconds()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    used = processor_seconds() - before
    assert done.returncode != 0
    # The message of the one task that failed, before the run's summary repeats it.
    message = done.stdout.partition("PLAY RECAP")[0]
    assert set(re.findall(r"ERROR INPUT_MISSING: (\S+)", message)) == ASKED[name]
    assert message.count("fatal: ") == 1
    assert "API_UNREACHABLE" not in done.stdout + done.stderr
    assert used < LIMIT, f"{used:.1f} s"
