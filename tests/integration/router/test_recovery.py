# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Helm release whose helm was killed at any point: the next run of the router repairs it, and removal removes it.

Needs the rehearsal cluster `local` with the shared parts (playbooks/rehearsal_cluster.yml, playbooks/lws.yml).
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import pathlib
import re
import secrets
import subprocess
import sys
import typing as t
from collections.abc import Iterator

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client, load_client

ROOT = pathlib.Path(__file__).resolve().parents[3]
CACHE = pathlib.Path(
    os.environ.get("LLMD_WIDE_EP_CACHE")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "llmd-wide-ep"
)
KUBECONFIG = CACHE / "clusters" / "local" / "deployer.kubeconfig"
RELEASE = "wide-ep-lws"
REMOVE = """
- hosts: wide_ep
  gather_facts: false
  module_defaults:
    group/kubernetes.core.k8s: &access {kubeconfig: "{{ wide_ep_kubeconfig }}"}
    group/llmd.wide_ep.k8s: *access
    group/kubernetes.core.helm: {kubeconfig: "{{ wide_ep_kubeconfig }}", binary_path: "{{ wide_ep_helm_binary }}"}
  tasks:
    - ansible.builtin.include_role: {name: "llmd.wide_ep.{{ item }}", tasks_from: remove}
      loop: "{{ what }}"
"""

pytestmark = pytest.mark.skipif(not KUBECONFIG.is_file(), reason="the rehearsal cluster local does not exist")


class Site:
    """A deployment's namespace of its own, and the playbooks run on it."""

    def __init__(self, client: Client, namespace: str, folder: pathlib.Path) -> None:
        self.client, self.namespace, self.folder = client, namespace, folder

    def play(self, playbook: str, **variables: t.Any) -> str:
        """Run it and return its output; a failure fails the test."""
        given = {"wide_ep_namespace": self.namespace, "wide_ep_artifacts_dir": str(self.folder), **variables}
        interpreter = pathlib.Path(sys.executable)
        command = [str(interpreter.with_name("ansible-playbook")), "-i", "inventories/local", playbook]
        run = subprocess.run(
            [*command, "-e", json.dumps(given)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    def changed(self, playbook: str) -> int:
        found = re.search(r"changed=(\d+)", self.play(playbook))
        assert found
        return int(found[1])

    def remove(self, *roles: str) -> None:
        playbook = self.folder / "remove.yml"
        playbook.write_text(REMOVE, encoding="utf-8")
        self.play(str(playbook), what=roles)

    @property
    def secrets(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/secrets"

    def records(self) -> dict[int, str]:
        """Helm's revisions and their states."""
        items = self.client.list(self.secrets, {"labelSelector": f"owner=helm,name={RELEASE}"})
        return {int(item["metadata"]["labels"]["version"]): item["metadata"]["labels"]["status"] for item in items}

    def leave(self, status: str, *, revision: int) -> None:
        """What a helm that was killed leaves behind: a record in this state, as the newest revision."""
        newest = max(self.records())
        record = self.client.get(f"{self.secrets}/sh.helm.release.v1.{RELEASE}.v{newest}")
        payload = gzip.decompress(base64.b64decode(base64.b64decode(record["data"]["release"])))
        release = json.loads(payload)
        release["info"]["status"], release["version"] = status, revision
        packed = base64.b64encode(gzip.compress(json.dumps(release).encode()))
        record["data"]["release"] = base64.b64encode(packed).decode()
        name = f"sh.helm.release.v1.{RELEASE}.v{revision}"
        labels = {**record["metadata"]["labels"], "status": status, "version": str(revision)}
        record["metadata"] = {"name": name, "namespace": self.namespace, "labels": labels}
        if revision == newest:
            self.client.delete(f"{self.secrets}/{name}")
        self.client.create(self.secrets, record)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    client = load_client(str(KUBECONFIG))
    made = Site(client, f"router-{secrets.token_hex(3)}", tmp_path_factory.mktemp("router"))
    made.play("playbooks/workspace.yml")
    yield made
    made.remove("router", "workspace")
    assert client.get_or_none(f"/api/v1/namespaces/{made.namespace}") is None


@pytest.mark.parametrize(
    ("status", "revision"),
    [("pending-install", 1), ("failed", 1), ("pending-upgrade", 2), ("failed", 2), ("uninstalling", 1)],
)
def test_next_run_repairs(site: Site, status: str, revision: int) -> None:
    site.remove("router")
    site.play("playbooks/router.yml")
    site.leave(status, revision=revision)
    service = f"/api/v1/namespaces/{site.namespace}/services/{RELEASE}-epp"
    if revision == 1:
        site.client.delete(service)

    assert site.changed("playbooks/router.yml") > 0

    assert set(site.records().values()) == {"deployed"}
    assert site.client.get_or_none(service) is not None
    evidence = json.loads(next(site.folder.glob(f"**/helm-{RELEASE}-{revision}.json")).read_text(encoding="utf-8"))
    assert evidence["status"]
    assert evidence["manifest"]
    assert site.changed("playbooks/router.yml") == 0


@pytest.mark.parametrize("status", ["pending-install", "failed", "uninstalling"])
def test_removal_finishes(site: Site, status: str) -> None:
    site.play("playbooks/router.yml")
    site.leave(status, revision=1)

    site.remove("router")

    assert site.records() == {}
    for path in ("v1/namespaces/{}/services", "v1/namespaces/{}/serviceaccounts"):
        names = [item["metadata"]["name"] for item in site.client.list(f"/api/{path.format(site.namespace)}")]
        assert f"{RELEASE}-epp" not in names
    site.remove("router")
