# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in as a program of its own: what its options mean, its folder, and how to look at it from outside."""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import typing as t

from .bridge import Bridge
from .cloud import Cloud, Json
from .faults import parse
from .identity import Account, Cluster
from .server import StandIn

CONTROL = "/rehearsal"


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gke_standin", description="A stand-in for Google's API, on the loopback.")
    parser.add_argument("--port", type=int, default=0, help="where to listen; 0 takes a free one")
    parser.add_argument("--project", default="demo")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long an operation takes")
    parser.add_argument("--gpu-pool-seconds", type=float, default=0.0, help="how long the creation of a GPU pool takes")
    parser.add_argument("--state", type=pathlib.Path, help="a folder for the state, the calls and the account's key")
    parser.add_argument("--token-file", type=pathlib.Path, help="a file with a token that is always accepted")
    parser.add_argument("--token-seconds", type=float, default=3600.0, help="how long an issued token is valid")
    parser.add_argument("--kubeconfig", type=pathlib.Path, help="of the user cloud of the cluster behind all clusters")
    parser.add_argument("--endpoint", help="where clusters answer, instead of the cluster of --kubeconfig")
    parser.add_argument("--leave-firewall", action="store_true", help="a deleted cluster leaves its firewall behind")
    parser.add_argument("--fault", action="append", default=[], metavar="METHOD=KIND[:TIMES[:SKIP]]")
    return parser


def restore(cloud: Cloud, path: pathlib.Path) -> None:
    """Take up the state of an earlier run. What was going on then has ended meanwhile."""
    if not path.exists():
        return
    saved = json.loads(path.read_text(encoding="utf-8"))
    cloud.objects, cloud.created, cloud.deleted = saved["objects"], saved["created"], saved["deleted"]
    cloud.ready = set(cloud.objects)
    for name, body in list(cloud.objects.items()):
        if body.get("status") == "PROVISIONING":
            body["status"] = "RUNNING"
        elif body.get("status") == "STOPPING":
            cloud.drop(name)


class Folder:
    """Keeps state and calls in files. A token is in none of them."""

    def __init__(self, path: pathlib.Path, stand_in: StandIn) -> None:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = path
        self.stand_in = stand_in
        self.written = 0
        restore(stand_in.cloud, self.state)

    @property
    def state(self) -> pathlib.Path:
        return self.path / "state.json"

    def update(self) -> None:
        requests = self.stand_in.requests
        with (self.path / "requests.jsonl").open("a", encoding="utf-8") as file:
            for request in requests[self.written :]:
                file.write(json.dumps(dataclasses.asdict(request)) + "\n")
        self.written = len(requests)
        cloud = self.stand_in.cloud
        content = {"objects": cloud.objects, "created": cloud.created, "deleted": cloud.deleted}
        fresh = self.state.with_suffix(".new")
        fresh.write_text(json.dumps(content, indent=1), encoding="utf-8")
        fresh.replace(self.state)


def build(given: argparse.Namespace) -> StandIn:
    """A stand-in as the options want it."""
    cloud = Cloud(given.project, polls=1, seconds=given.seconds)
    cloud.gpu_pool_seconds, cloud.leave_firewall = given.gpu_pool_seconds, given.leave_firewall
    token = given.token_file.read_text(encoding="utf-8").strip() if given.token_file else None
    stand_in = StandIn(cloud, token, given.port)
    stand_in.token_seconds = given.token_seconds
    stand_in.faults = [parse(text) for text in given.fault]
    account = Account(given.project, f"{stand_in.url}/token")
    if given.state:
        folder = Folder(given.state, stand_in)
        account.write(given.state / "key.json")
        (given.state / "url").write_text(stand_in.url, encoding="utf-8")
        stand_in.judge_grant = account.judge
        stand_in.listeners.append(folder.update)
    if given.kubeconfig:
        cluster = Cluster.load(given.kubeconfig)
        stand_in.mint = minted(cluster, account.email)
        bridge = Bridge(cloud, given.kubeconfig)
        stand_in.listeners.insert(0, bridge.update)
        stand_in.at_end.append(bridge.forget)
        bridge.update()
    cloud.endpoint = given.endpoint or cloud.endpoint
    stand_in.controls = controls(stand_in)
    return stand_in


def minted(cluster: Cluster, email: str) -> t.Callable[[float], str]:
    def token(seconds: float) -> str:
        return cluster.token(email, seconds)

    return token


def controls(stand_in: StandIn) -> dict[str, t.Callable[[bytes], Json]]:
    """What a test outside of this process sees and sets."""

    def state(_body: bytes) -> Json:
        cloud = stand_in.cloud
        return {
            "objects": cloud.objects,
            "created": cloud.created,
            "deleted": cloud.deleted,
            "violations": stand_in.violations,
            "requests": [dataclasses.asdict(request) for request in stand_in.requests],
            "tokens_issued": stand_in.tokens_issued,
        }

    def faults(body: bytes) -> Json:
        stand_in.faults = [parse(text) for text in json.loads(body)]
        return {"faults": len(stand_in.faults)}

    return {f"{CONTROL}/state": state, f"{CONTROL}/faults": faults}
