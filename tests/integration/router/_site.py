# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment in a namespace of its own on the tests' rehearsal cluster, and the playbooks run on it."""

from __future__ import annotations

import json
import os
import pathlib
import re
import secrets
import subprocess
import sys
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import load_client

ROOT = pathlib.Path(__file__).resolve().parents[3]
CACHE = pathlib.Path(
    os.environ.get("LLMD_WIDE_EP_CACHE")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "llmd-wide-ep"
)
CLUSTER = os.environ.get("LLMD_WIDE_EP_TEST_CLUSTER") or "test"
KUBECONFIG = CACHE / "clusters" / CLUSTER / "deployer.kubeconfig"
RELEASE = "wide-ep-lws"
INVENTORIES = ("inventories/local", "tests/inventory")
REMOVE = """
- hosts: wide_ep
  gather_facts: false
  module_defaults:
    group/kubernetes.core.k8s: &access {kubeconfig: "{{ who }}"}
    group/llmd.wide_ep.k8s: *access
    group/kubernetes.core.helm: {kubeconfig: "{{ who }}", binary_path: "{{ wide_ep_helm_binary }}"}
  tasks:
    - ansible.builtin.include_role: {name: "llmd.wide_ep.{{ item }}", tasks_from: "{{ how }}"}
      loop: "{{ what }}"
"""


class Site:
    """``variables`` are given to every run."""

    def __init__(self, folder: pathlib.Path, **variables: t.Any) -> None:
        self.client = load_client(str(KUBECONFIG))
        self.namespace = f"router-{secrets.token_hex(3)}"
        self.folder, self.variables = folder, variables

    def play(self, playbook: str, **variables: t.Any) -> str:
        """Run it and return its output; a failure fails the test."""
        given = {"wide_ep_namespace": self.namespace, "wide_ep_artifacts_dir": str(self.folder)}
        given |= {**self.variables, **variables}
        command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), playbook, "-e", json.dumps(given)]
        command += [f"--inventory={inventory}" for inventory in INVENTORIES]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=420, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    def plays(self, *names: str, **variables: t.Any) -> None:
        for name in names:
            self.play(f"playbooks/{name}.yml", **variables)

    def changed(self, playbook: str, **variables: t.Any) -> int:
        found = re.search(r"changed=(\d+)", self.play(playbook, **variables))
        assert found
        return int(found[1])

    def remove(self, *roles: str) -> None:
        self._remove(what=roles, how="remove", who="{{ wide_ep_kubeconfig }}")

    def remove_platform(self) -> None:
        """Take away what the role gateway has installed for the whole cluster."""
        self._remove(what=["gateway"], how="remove_platform", who="{{ wide_ep_platform_kubeconfig }}")

    def _remove(self, **variables: t.Any) -> None:
        playbook = self.folder / "remove.yml"
        playbook.write_text(REMOVE, encoding="utf-8")
        self.play(str(playbook), **variables)

    def path(self, resource: str, name: str = "") -> str:
        prefix = "/apis/apps/v1" if resource == "deployments" else "/api/v1"
        return f"{prefix}/namespaces/{self.namespace}/{resource}" + (f"/{name}" if name else "")
