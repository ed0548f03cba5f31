# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The account is judged before there is a cluster, and compared with the inventory afterwards."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from _harness import FAMILY, POOL, RAILS, TOKEN, ZONE, Bench, Json

ROOT = HERE.parents[2]
#: As a whole run makes them: with the inventory's own names and sizes.
PLAY = """
- hosts: wide_ep
  gather_facts: false
  vars: {__wide_ep_offline: true}
  module_defaults:
    group/llmd.wide_ep.gcp:
      project: "{{ node_pools_project }}"
      access_token_file: "{{ node_pools_access_token_file }}"
      api_endpoint: "{{ node_pools_api_endpoint }}"
  tasks:
    - name: Compare
      ansible.builtin.include_role: {name: llmd.wide_ep.operate, tasks_from: drift_cloud}
      loop: [network, cluster, cpu_pool, gpu_pool]
      loop_control: {loop_var: __operate_part}
    - name: Tell
      ansible.builtin.copy:
        content: "{{ __operate_cloud | to_json }}"
        dest: "{{ told }}"
        mode: "0600"
"""


def run(site: Bench, playbook: str, **given: t.Any) -> subprocess.CompletedProcess[str]:
    values = {
        "node_pools_project": "demo",
        "node_pools_zone": ZONE,
        "node_pools_capacity": "on_demand",
        "node_pools_authorized_networks": [],
        "node_pools_api_endpoint": site.stand_in.url,
        "node_pools_access_token_file": str(site.token_file),
        "wide_ep_artifacts_dir": str(site.folder / "artifacts"),
        **given,
    }
    tool = str(pathlib.Path(sys.executable).with_name("ansible-playbook"))
    environment = {key: value for key, value in os.environ.items() if key != "HF_TOKEN"}
    return subprocess.run(
        [tool, playbook, "-i", "inventories/gke", "-e", json.dumps(values)],
        cwd=ROOT,
        env={**environment, "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def judge(site: Bench, **given: t.Any) -> subprocess.CompletedProcess[str]:
    return run(site, "playbooks/preflight.yml", preflight_parts=["cloud"], **given)


def test_an_account_that_does_is_accepted_and_left_alone(site: Bench) -> None:
    done = judge(site)
    assert done.returncode == 0, done.stdout
    assert site.stand_in.requests
    assert site.stand_in.writes() == []


@pytest.mark.parametrize(
    ("quotas", "given", "words"),
    [
        ({}, {"node_pools_zone": "europe-west1-c"}, ("has no network profile", "europe-west1-b, us-central1-a")),
        # Every part is asked, whatever another one has refused.
        (
            {"": {"GPUS_ALL_REGIONS": (8.0, 0.0)}, "europe-west1": {"N2_CPUS": (16.0, 0.0)}},
            {},
            ("GPUS_ALL_REGIONS: 32 needed", "N2_CPUS: 32 needed"),
        ),
        ({"": {"GPUS_ALL_REGIONS": (8.0, 0.0)}}, {}, ("GPUS_ALL_REGIONS: 32 needed, 8 of 8 left",)),
        ({"europe-west1": {"N2_CPUS": (16.0, 0.0)}}, {}, ("N2_CPUS: 32 needed, 16 of 16 left",)),
        ({}, {"node_pools_project": "dmeo"}, ("project dmeo", "node_pools_project")),
    ],
    ids=["zone", "both", "GPUs", "CPUs", "project"],
)
def test_what_is_wrong_with_an_account_is_told_before_anything_is_made(
    site: Bench, quotas: Json, given: Json, words: tuple[str, ...]
) -> None:
    site.cloud.quotas.update(quotas)
    done = judge(site, **given)
    assert done.returncode != 0
    assert [word for word in words if word not in done.stdout] == [], done.stdout
    assert site.stand_in.writes() == []


def drift(site: Bench) -> list[Json]:
    """What the role operate is told by the provider."""
    play, told = site.folder / "compare.yml", site.folder / "told.json"
    play.write_text(PLAY, encoding="utf-8")
    done = run(site, str(play), told=str(told))
    assert done.returncode == 0, done.stdout
    found: list[Json] = json.loads(told.read_text(encoding="utf-8"))
    return [item for part in found for item in (*part.get("actions", ()), *part.get("findings", ()))]


def test_what_differs_at_the_provider_is_told_and_left_alone(site: Bench) -> None:
    site.build()
    site.good("gke_node_pool", {**POOL, "networks": RAILS})
    site.stand_in.requests.clear()
    before = drift(site)
    # The CPU pool was never made.
    assert "node pool cpu" in [item.get("object") for item in before]
    site.cloud.objects[f"{FAMILY}/nodePools/gpu"]["management"]["autoRepair"] = False
    now = [item for item in drift(site) if item not in before]
    assert [item.get("object") for item in now] == ["node pool gpu"], now
    assert "autoRepair" in json.dumps(now)
    assert site.stand_in.writes() == []
    assert TOKEN not in json.dumps(now)
