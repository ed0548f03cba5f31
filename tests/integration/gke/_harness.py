# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the modules in this process against the stand-in, and what they need to run."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import json
import pathlib
import sys
import typing as t
from collections.abc import Iterator

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from ansible.module_utils.testing import patch_module_args
from gke_standin.cloud import Cloud
from gke_standin.server import StandIn

Json = dict[str, t.Any]
TOKEN = "ya29.canary-0123456789-canary"
ZONE = "europe-west1-b"
NETWORK: Json = {"region": "europe-west1", "zone": ZONE, "name": "wide-ep", "owner": "wide-ep-lws"}
CLUSTER: Json = {
    "location": "europe-west1",
    "name": "wide-ep",
    "owner": "wide-ep-lws",
    "network": "wide-ep-net-0",
    "subnetwork": "wide-ep-sub-0",
    "node_locations": [ZONE],
}
POOL: Json = {
    "location": "europe-west1",
    "cluster": "wide-ep",
    "name": "gpu",
    "owner": "wide-ep-lws",
    "zones": [ZONE],
    "machine": "a3_ultra",
    "node_count": 4,
}
RAILS = [
    {"network": "wide-ep-net-1", "subnetwork": "wide-ep-sub-1"},
    *({"network": "wide-ep-rdma-net", "subnetwork": f"wide-ep-rdma-sub-{index}"} for index in range(8)),
]
GPU: Json = {**POOL, "networks": RAILS}
CPU: Json = {
    **{key: POOL[key] for key in ("location", "cluster", "owner", "zones")},
    "name": "cpu",
    "machine_type": "n2-standard-32",
    "node_count": 1,
}
FAMILY = "projects/demo/locations/europe-west1/clusters/wide-ep"
REGION = "projects/demo/regions/europe-west1"


@dataclasses.dataclass
class Bench:
    """A stand-in and the modules pointed at it."""

    stand_in: StandIn
    folder: pathlib.Path
    results: list[str] = dataclasses.field(default_factory=list)

    @property
    def cloud(self) -> Cloud:
        return self.stand_in.cloud

    @property
    def token_file(self) -> pathlib.Path:
        return self.folder / "token"

    @property
    def progress_file(self) -> pathlib.Path:
        return self.folder / "progress"

    def arguments(self, name: str, given: Json) -> Json:
        common: Json = {
            "project": self.cloud.project,
            "access_token_file": str(self.token_file),
            "api_endpoint": self.stand_in.url,
            "retry_for": 5,
        }
        if not name.endswith("_info"):
            common |= {"poll_interval": 0.05, "timeout": 20, "progress_file": str(self.progress_file)}
        return {**common, **given}

    def run(self, name: str, given: Json, *, check: bool = False) -> Json:
        """The module's result. ``check`` is check mode with diff."""
        module = importlib.import_module(f"ansible_collections.llmd.wide_ep.plugins.modules.{name}")
        arguments = {**self.arguments(name, given), "_ansible_check_mode": check, "_ansible_diff": True}
        output = io.StringIO()
        with patch_module_args(arguments), contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            module.main()
        self.results.append(output.getvalue())
        result: Json = json.loads(output.getvalue())
        return result

    def good(self, name: str, given: Json, *, check: bool = False) -> Json:
        result = self.run(name, given, check=check)
        assert not result.get("failed"), result["msg"]
        return result

    def bad(self, name: str, given: Json, *codes: str, check: bool = False) -> Json:
        """A refusal or failure with these finding codes."""
        result = self.run(name, given, check=check)
        assert result.get("failed"), result
        found = [finding["code"] for finding in result["findings"] if finding["severity"] == "error"]
        assert found == list(codes), result["msg"]
        return result

    def build(self, *, pool: bool = False) -> None:
        """Networks and a cluster, for tests that are about what comes next."""
        self.good("gke_network", NETWORK)
        self.good("gke_cluster", CLUSTER)
        if pool:
            self.good("gke_node_pool", {**POOL, "networks": RAILS})
        self.stand_in.requests.clear()

    def lines(self) -> str:
        return self.progress_file.read_text(encoding="utf-8") if self.progress_file.exists() else ""

    def created(self) -> list[str]:
        return [path.rpartition("/")[2] for path in self.cloud.created]

    def state(self) -> Json:
        """What exists, without what differs between two ways to the same end."""
        volatile = ("id", "fingerprint", "labelFingerprint")
        return {
            path: {key: value for key, value in body.items() if key not in volatile}
            for path, body in sorted(self.cloud.objects.items())
        }


@contextlib.contextmanager
def bench(folder: pathlib.Path, cloud: Cloud | None = None) -> Iterator[Bench]:
    """A stand-in for one test. What left the documents, or a token where none belongs, fails it."""
    with StandIn(cloud, TOKEN) as stand_in:
        made = Bench(stand_in, folder)
        made.token_file.write_text(TOKEN, encoding="utf-8")
        yield made
        assert stand_in.violations == []
        recorded = [json.dumps(dataclasses.asdict(request)) for request in stand_in.requests]
        for line in (*recorded, *made.results, made.lines()):
            assert TOKEN not in line
            assert "SECRET-KEY" not in line
