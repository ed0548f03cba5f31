# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Helm release whose helm was killed at any point: the next run of the router repairs it, and removal removes it.

Needs the rehearsal cluster $LLMD_WIDE_EP_TEST_CLUSTER.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator

import pytest

from ._site import CLUSTER, KUBECONFIG, RELEASE, Site

pytestmark = pytest.mark.skipif(not KUBECONFIG.is_file(), reason=f"the rehearsal cluster {CLUSTER} does not exist")


class Records(Site):
    """Helm's records of the release, too."""

    def records(self) -> dict[int, str]:
        """Helm's revisions and their states."""
        items = self.client.list(self.path("secrets"), {"labelSelector": f"owner=helm,name={RELEASE}"})
        return {int(item["metadata"]["labels"]["version"]): item["metadata"]["labels"]["status"] for item in items}

    def leave(self, status: str, *, revision: int) -> None:
        """What a helm that was killed leaves behind: a record in this state, as the newest revision."""
        newest = max(self.records())
        record = self.client.get(self.path("secrets", f"sh.helm.release.v1.{RELEASE}.v{newest}"))
        payload = gzip.decompress(base64.b64decode(base64.b64decode(record["data"]["release"])))
        release = json.loads(payload)
        release["info"]["status"], release["version"] = status, revision
        packed = base64.b64encode(gzip.compress(json.dumps(release).encode()))
        record["data"]["release"] = base64.b64encode(packed).decode()
        name = f"sh.helm.release.v1.{RELEASE}.v{revision}"
        labels = {**record["metadata"]["labels"], "status": status, "version": str(revision)}
        record["metadata"] = {"name": name, "namespace": self.namespace, "labels": labels}
        if revision == newest:
            self.client.delete(self.path("secrets", name))
        self.client.create(self.path("secrets"), record)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Records]:
    made = Records(tmp_path_factory.mktemp("router"))
    made.plays("lws", "gateway", "workspace")
    yield made
    made.remove("router", "workspace")
    assert made.client.get_or_none(f"/api/v1/namespaces/{made.namespace}") is None


@pytest.mark.parametrize(
    ("status", "revision"),
    [("pending-install", 1), ("failed", 1), ("pending-upgrade", 2), ("failed", 2), ("uninstalling", 1)],
)
def test_next_run_repairs(site: Records, status: str, revision: int) -> None:
    site.remove("router")
    site.play("playbooks/router.yml")
    site.leave(status, revision=revision)
    service = site.path("services", f"{RELEASE}-epp")
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
def test_removal_finishes(site: Records, status: str) -> None:
    site.play("playbooks/router.yml")
    site.leave(status, revision=1)

    site.remove("router")

    assert site.records() == {}
    for resource in ("services", "serviceaccounts"):
        names = [item["metadata"]["name"] for item in site.client.list(site.path(resource))]
        assert f"{RELEASE}-epp" not in names
    site.remove("router")
