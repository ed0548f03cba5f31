# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A provider's inventory on a rehearsal cluster: dressed as that provider, its cloud played, with the same site.yml."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import typing as t
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
GKE = ROOT / "tests" / "integration" / "gke"
sys.path[:0] = [str(GKE), str(ROOT / "tools"), str(ROOT / ".ansible" / "collections")]

from _paths import cache_root
from gke_standin.bridge import Bridge
from gke_standin.cloud import Cloud
from gke_standin.identity import Cluster

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import load_client

Json = dict[str, t.Any]
SECOND = "inventories/rehearsal"
RECAP = re.compile(r"^\S+ +: (?P<counts>ok=.*)$", re.MULTILINE)
# What a person who is signed in at CoreWeave's console gets.
CONSOLE_TOKEN_SECONDS = 24 * 3600.0
OURS = ("wide-ep.llm-d.ai/deployment", "wide-ep.llm-d.ai/platform")
# Which of the cluster's kinds hold what we make, in its order of making.
KINDS = (
    "/apis/leaderworkerset.x-k8s.io/v1/leaderworkersets",
    "/apis/networking.gke.io/v1/networks",
    "/apis/networking.gke.io/v1/gkenetworkparamsets",
    "/apis/compute.coreweave.com/v1alpha1/nodepools",
    "/apis/inference.networking.k8s.io/v1/inferencepools",
    "/apis/apps/v1/deployments",
    "/api/v1/services",
    "/api/v1/configmaps",
    "/api/v1/namespaces",
)


class RehearsalError(Exception):
    """What a rehearsal found wrong."""


class Run(t.NamedTuple):
    """A finished run of ansible-playbook."""

    code: int
    output: str
    seconds: float

    @property
    def recap(self) -> dict[str, int]:
        totals: dict[str, int] = {}
        for line in RECAP.findall(self.output):
            for name, value in re.findall(r"(\w+)=(\d+)", line):
                totals[name] = totals.get(name, 0) + int(value)
        return totals


def program(name: str) -> str:
    """A program of the environment that runs this."""
    return str(Path(sys.executable).with_name(name))


def require(condition: object, message: str) -> None:
    if not condition:
        raise RehearsalError(message)


def run(command: list[str], *, quiet: bool = False, limit: float = 1800, **environment: str) -> Run:
    """Run a program from the checkout to its end; its output is passed on as it comes."""
    print(f"$ {Path(command[0]).name} {' '.join(command[1:])}", flush=True)
    began, lines = time.monotonic(), []
    settings = {**os.environ, "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1", **environment}
    with subprocess.Popen(
        command, cwd=ROOT, env=settings, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    ) as process:  # fmt: skip
        alarm = threading.Timer(limit, process.kill)
        alarm.start()
        for line in process.stdout or ():
            lines.append(line)
            if not quiet:
                print(line, end="", flush=True)
        process.wait()
        alarm.cancel()
    return Run(process.returncode, "".join(lines), time.monotonic() - began)


@dataclasses.dataclass(frozen=True)
class StandIn:
    """The stand-in's program, while it runs."""

    url: str
    folder: Path

    def control(self, what: str, body: t.Any = None) -> Json:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.url}/rehearsal/{what}", data, timeout=30) as answer:
            result: Json = json.loads(answer.read())
            return result

    def state(self) -> Json:
        return self.control("state")

    def left(self) -> list[str]:
        """What exists of what was made, by path."""
        return sorted(path for path in self.state()["objects"] if "/networkProfiles/" not in path)

    def check(self) -> None:
        """No call left Google's documents."""
        violations = self.state()["violations"]
        require(not violations, f"{len(violations)} calls that Google does not know, the first: {violations[:3]}")


@dataclasses.dataclass
class Rehearsal:
    """One inventory on one rehearsal cluster."""

    inventory: str
    name: str
    # As Google's. The Python client asks anew for each request in the last five minutes of a token.
    token_seconds: float = 3600.0
    seconds: float = 1.0
    gpu_pool_seconds: float = 20.0
    options: tuple[str, ...] = ()
    environment: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment = {"LLMD_WIDE_EP_REHEARSAL": self.name, **self.environment}
        content = run([program("ansible-inventory"), *self.sources, "--list"], quiet=True, **self.environment)
        require(content.code == 0, content.output)
        hosts = json.loads(content.output)["_meta"]["hostvars"]
        self.variables: Json = next(iter(hosts.values()))

    @property
    def sources(self) -> list[str]:
        return ["-i", self.inventory, "-i", SECOND]

    @property
    def provider(self) -> str:
        return str(self.variables["wide_ep_provider"])

    @property
    def folder(self) -> Path:
        return cache_root() / "clusters" / self.name

    @property
    def cloud_folder(self) -> Path:
        return self.folder / "cloud"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "cloud.kubeconfig"

    # The cluster

    def local(self, playbook: str, **variables: t.Any) -> None:
        given = {"rehearsal_cluster_name": self.name, **variables}
        command = [program("ansible-playbook"), f"playbooks/{playbook}.yml", "-i", "inventories/local"]
        done = run([*command, "-e", json.dumps(given)], quiet=True, **self.environment)
        require(done.code == 0, f"{playbook} failed:\n{done.output[-4000:]}")
        print(f"{playbook}: {done.seconds:.0f} s", flush=True)

    def up(self) -> None:
        profile = self.variables["wide_ep_overlay"]
        self.local("rehearsal_cluster", rehearsal_cluster_profile=profile, rehearsal_cluster_provider_parts=True)

    def down(self) -> None:
        self.local("rehearsal_cluster_remove")

    @property
    def cluster_stays(self) -> bool:
        """After a teardown. Google's goes, with all that is on it; here that means that nobody has to tidy it."""
        return self.provider != "gke"

    def ours(self) -> list[str]:
        """What the cluster has with a label of ours, as the cluster's administrator sees it."""
        client = load_client(f"/var/lib/llmd-wide-ep/{self.name}/admin.kubeconfig")
        found = []
        for path in KINDS:
            for label in OURS:
                answer = client.get_or_none(path, {"labelSelector": label})
                found += [f"{path} {item['metadata']['name']}" for item in (answer or {}).get("items", [])]
        return found

    # The cloud

    @contextlib.contextmanager
    def cloud(self) -> Iterator[StandIn | None]:
        """The provider's side, until the end of the block; a program where the provider has an API outside."""
        self.cloud_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.provider == "gke":
            with self.google() as stand_in:
                yield stand_in
        else:
            with self.console():
                yield None

    @contextlib.contextmanager
    def google(self) -> Iterator[StandIn]:
        for stale in ("state.json", "requests.jsonl", "gke.kubeconfig"):
            (self.cloud_folder / stale).unlink(missing_ok=True)
        command = [sys.executable, str(GKE / "gke_standin"), "--state", str(self.cloud_folder)]
        command += ["--kubeconfig", str(self.kubeconfig), "--seconds", str(self.seconds)]
        command += ["--token-seconds", str(self.token_seconds), "--gpu-pool-seconds", str(self.gpu_pool_seconds)]
        with subprocess.Popen([*command, *self.options], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            require(url, "the stand-in for Google's API did not start")
            try:
                yield StandIn(url, self.cloud_folder)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)

    @contextlib.contextmanager
    def console(self) -> Iterator[None]:
        """A kubeconfig as CoreWeave hands it out, and no nodes before there are NodePools."""
        cluster = Cluster.load(self.kubeconfig)
        token = cluster.token("user@example.com", CONSOLE_TOKEN_SECONDS)
        handed_out = self.cloud_folder / f"{self.provider}.kubeconfig"
        handed_out.touch(mode=0o600)
        handed_out.write_text(cluster.kubeconfig(token, self.name), encoding="utf-8")
        bridge = Bridge(Cloud(), self.kubeconfig)
        bridge.tell({})
        try:
            yield
        finally:
            bridge.forget()

    # The site

    def play(self, playbook: str, *arguments: str, quiet: bool = False, **variables: t.Any) -> Run:
        """Run a playbook with both sources, as a user would with the first alone."""
        extra = ["-e", json.dumps(variables)] if variables else []
        command = [program("ansible-playbook"), playbook, *self.sources, *extra, *arguments]
        return run(command, quiet=quiet, **self.environment)

    def site(self, *arguments: str, quiet: bool = False, **variables: t.Any) -> Run:
        done = self.play("site.yml", *arguments, quiet=quiet, **{"wide_ep_confirm_spend": True, **variables})
        shown = done.output[-3000:] if quiet else ""
        require(done.code == 0, f"site.yml failed after {done.seconds:.0f} s:\n{shown}")
        return done

    def teardown(self, *arguments: str, quiet: bool = False, **variables: t.Any) -> Run:
        given = {"wide_ep_confirm_teardown": True, **variables}
        done = self.play("playbooks/teardown.yml", *arguments, quiet=quiet, **given)
        shown = done.output[-3000:] if quiet else ""
        require(done.code == 0, f"teardown.yml failed after {done.seconds:.0f} s:\n{shown}")
        return done
