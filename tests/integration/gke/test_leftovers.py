# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What controllers inside a cluster leave in the cloud, as the module finds it."""

from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from _harness import NETWORK, Bench, Json
from gke_standin.cloud import COMPUTE_BASE

LEFT: Json = {"cluster": "wide-ep", "network": "wide-ep-net-0", "own": ["wide-ep-net-0-internal"]}
PROJECT = "projects/demo"
VPC = f"{COMPUTE_BASE}{PROJECT}/global/networks/wide-ep-net-0"
RULE: Json = {"network": VPC, "description": '{"kubernetes.io/service-name": "llm-d/gateway"}'}


def put(site: Bench, where: str, kind: str, name: str, body: Json) -> None:
    path = f"{PROJECT}/{where}/{kind}/{name}"
    site.cloud.objects[path] = {"name": name, "selfLink": COMPUTE_BASE + path, **body}


def found(site: Bench) -> list[tuple[str, str, str, bool]]:
    objects = site.good("gke_leftover_info", LEFT)["objects"]
    return [(item["kind"], item["name"], item["scope"], item["with_cluster"]) for item in objects]


def test_nothing_is_left_of_networks_alone(site: Bench) -> None:
    """The networks' own firewalls are no leftovers, those of the other networks neither."""
    assert found(site) == []
    site.good("gke_network", NETWORK)
    assert found(site) == []


def test_what_is_left(site: Bench) -> None:
    site.good("gke_network", NETWORK)
    put(site, "regions/europe-west1", "forwardingRules", "a1b2", RULE)
    put(site, "global", "firewalls", "k8s-fw-a1b2", {"network": VPC})
    put(site, "global", "firewalls", "gke-wide-ep-0a1b2c3d-all", {"network": VPC})
    put(site, "zones/europe-west1-b", "disks", "pvc-1", {"labels": {"goog-k8s-cluster-name": "wide-ep"}})
    put(site, "zones/europe-west1-b", "disks", "pvc-2", {"labels": {"goog-k8s-cluster-name": "someone-else"}})
    put(site, "global", "healthChecks", "k8s1-x", {"description": '{"cluster": "wide-ep"}'})
    assert found(site) == [
        ("disks", "pvc-1", "zones/europe-west1-b", False),
        ("firewalls", "gke-wide-ep-0a1b2c3d-all", "global", True),
        ("firewalls", "k8s-fw-a1b2", "global", False),
        ("forwardingRules", "a1b2", "regions/europe-west1", False),
        ("healthChecks", "k8s1-x", "global", False),
    ]
    reasons = {item["name"]: item["reason"] for item in site.good("gke_leftover_info", LEFT)["objects"]}
    assert "llm-d/gateway" in reasons["a1b2"]
    assert "PersistentVolumeClaim" in reasons["pvc-1"]


def test_it_only_reads(site: Bench) -> None:
    site.good("gke_leftover_info", LEFT)
    site.good("gke_leftover_info", LEFT, check=True)
    assert site.stand_in.writes() == []
