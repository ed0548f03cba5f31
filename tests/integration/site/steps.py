# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of the whole deployment's tests. Each is a stage of `make test`; later ones build on earlier ones."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

import identity

# tools/ is on the path since the harness is imported.
import rbac
import yaml
from audit import allowed_for, violations
from harness import (
    AUDIT_LOG,
    CLUSTER,
    NAMESPACE,
    RELEASE,
    ROOT,
    AuditTail,
    Run,
    admin,
    deployer_kubeconfig,
    descendants,
    end,
    kill_tree,
    play,
    require,
    snapshot,
    started,
    until,
)
from installed import installed

from ansible_collections.llmd.wide_ep.plugins.module_utils._client import Client

LWS = f"/apis/leaderworkerset.x-k8s.io/v1/namespaces/{NAMESPACE}/leaderworkersets"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
PREFILL, DECODE = (f"{RELEASE}-nvidia-gpu-vllm-{role}" for role in ("prefill", "decode"))
CANARY = "canary-4be0a7c1d2"


def succeed(run: Run) -> Run:
    require(run.code == 0, f"exit code {run.code}")
    return run


def unchanged(run: Run) -> Run:
    succeed(run)
    require(run.recap.get("changed") == 0, f"a run that has nothing to do reports changes: {run.recap}")
    return run


def untouched(action: Callable[[], t.Any]) -> None:
    """Do something that must leave every object as it is, and look into the audit log whether it did."""
    before, tail = snapshot(), AuditTail()
    action()
    found = violations(tail.mutations(), allowed_for(RELEASE), before, snapshot())
    require(not found, "requests that change something:\n  " + "\n  ".join(map(str, found)))


def binaries() -> None:
    """Build the programs and images, or find them built."""
    builder = [sys.executable, "roles/rehearsal_cluster/files/builder", "ensure", "--scenario", "full"]
    subprocess.run(builder, cwd=ROOT, check=True)


def cluster() -> None:
    """Start the tests' cluster, without a deployment of an earlier run."""
    succeed(play("playbooks/rehearsal_cluster.yml"))
    if admin().get_or_none(f"/api/v1/namespaces/{NAMESPACE}"):
        succeed(play("playbooks/cleanup.yml"))


def check_empty() -> None:
    """Check mode tells the truth on a cluster without a deployment."""
    untouched(lambda: succeed(play("site.yml", "--check", "--diff")))


def first() -> None:
    """Deploy, and find the proof in the summary and in the artifacts."""
    with tempfile.TemporaryDirectory() as folder:
        run = succeed(play("site.yml", "-e", f"wide_ep_artifacts_dir={folder}"))
        (path,) = Path(folder).glob(f"{RELEASE}/*/verify.json")
        result = json.loads(path.read_text())
        summary = json.loads((path.parent / "run.json").read_text())
    require("prefilled remotely" in run.output, "the summary does not say how many requests were prefilled remotely")
    require(result["tables"], "verify recorded no table of requests")
    require(summary["outcome"] == "ok", f"run.json says {summary['outcome']}")


def again() -> None:
    """A second run changes nothing, by its own account and by that of the API server."""
    untouched(lambda: unchanged(play("site.yml")))


def check_converged() -> None:
    """Check mode finds nothing to do on a converged cluster."""
    untouched(lambda: unchanged(play("site.yml", "--check", "--diff")))


def extra(**values: t.Any) -> tuple[str, str]:
    return "-e", json.dumps(values)


def unreachable_kubeconfig(folder: Path, port: int) -> str:
    """The deployer's kubeconfig with a port of this machine at which no API server answers."""
    config = yaml.safe_load(deployer_kubeconfig().read_text())
    for entry in config["clusters"]:
        entry["cluster"]["server"] = f"https://127.0.0.1:{port}"
    path = folder / f"unreachable-{port}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return str(path)


def powerless_kubeconfig(folder: Path) -> str:
    """A kubeconfig of an identity that may do nothing."""
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    token = admin().create(f"{account}/token", request)["status"]["token"]
    config = yaml.safe_load(deployer_kubeconfig().read_text())
    for entry in config["users"]:
        entry["user"] = {"token": token}
    path = folder / "powerless.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return str(path)


def bad_inputs() -> None:
    """Bad input is refused with a message that names it, within seconds, and nothing is changed."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as silent:
        closed = unreachable_kubeconfig(Path(folder), 1)
        unanswered = unreachable_kubeconfig(Path(folder), silent.getsockname()[1])
        powerless = powerless_kubeconfig(Path(folder))
        cases: tuple[tuple[dict[str, t.Any], tuple[str, ...]], ...] = (
            ({"wide_ep_nmespace": "x"}, ("INPUT_UNKNOWN", "wide_ep_nmespace", "wide_ep_namespace")),
            ({"wide_ep_prefill_groups": "many"}, ("wide_ep_prefill_groups", "many")),
            ({"wide_ep_overlay": "moon"}, ("wide_ep_overlay", "moon", "gke")),
            ({"wide_ep_router_mode": "sideways"}, ("wide_ep_router_mode", "sideways", "standalone")),
            ({"wide_ep_decode_ranks_per_host": 7}, ("EXPERTS_NOT_DIVISIBLE",)),
            ({"wide_ep_namespace": "Not_A_Name"}, ("INPUT_NAME", "Not_A_Name")),
            ({"wide_ep_kubeconfig": closed}, ("API_UNREACHABLE", "127.0.0.1:1")),
            ({"wide_ep_kubeconfig": unanswered}, ("API_UNREACHABLE", "no answer in time")),
            ({"wide_ep_kubeconfig": powerless}, ("RIGHT_MISSING", "create")),
            ({"wide_ep_kubeconfig": "/nowhere/kubeconfig"}, ("KUBECONFIG_INVALID", "/nowhere/kubeconfig")),
            ({"wide_ep_namespace": "kube-system"}, ("kube-system",)),
        )

        def all_refused() -> None:
            for values, expected in cases:
                refused(values, expected)

        untouched(all_refused)


def refused(values: dict[str, t.Any], expected: tuple[str, ...]) -> None:
    run = play("playbooks/workspace.yml", *extra(**values))
    require(run.code != 0, f"accepted: {values}")
    for text in expected:
        require(text in run.output, f"the message for {values} does not say {text!r}")
    # An API server that does not answer may cost 10 seconds, beside the start of the play.
    require(run.seconds < 20, f"the refusal of {values} took {run.seconds:.0f} s")


def scale(client: Client, name: str, replicas: int) -> None:
    client.patch(f"{LWS}/{name}", {"spec": {"replicas": replicas}})


def pods_of(client: Client, name: str) -> list[dict[str, t.Any]]:
    return client.list(PODS, {"labelSelector": f"leaderworkerset.sigs.k8s.io/name={name}"})


def verify_faults() -> None:
    """The proof fails, and names the cause, without prefill and with a wrong model name."""
    client = admin()
    scale(client, PREFILL, 0)
    try:
        until(lambda: not pods_of(client, PREFILL), "no prefill pod is left", 120)
        expect_failure("PREFILL_ABSENT")
    finally:
        scale(client, PREFILL, 1)
    succeed(play("playbooks/wait.yml"))
    expect_failure("WRONG_MODEL_NAME", *extra(wide_ep_model="wrong/model"))
    router_restarts_mid_request(client)
    succeed(play("playbooks/verify.yml"))


def router_restarts_mid_request(client: Client) -> None:
    """Long answers are under way when the endpoint picker's pod goes; the proof says so, and not just what failed."""
    asking = f"wide-ep.llm-d.ai/deployment={RELEASE},wide-ep.llm-d.ai/component=verify"
    routers = {"labelSelector": f"inferencepool={RELEASE}-epp"}

    def is_asking() -> bool:
        return any(pod["status"].get("phase") == "Running" for pod in client.list(PODS, {"labelSelector": asking}))

    long = extra(verify_max_tokens=3000, verify_requests=48, verify_request_timeout=30)
    with started("playbooks/verify.yml", *long) as (process, finished):
        until(is_asking, "the proof asks", 120, 0.05)
        time.sleep(1)
        for pod in client.list(PODS, routers):
            client.delete(f"{PODS}/{pod['metadata']['name']}", params={"gracePeriodSeconds": 0})
        process.wait()
    run = finished()
    require(run.code != 0, "verify passes although the endpoint picker was replaced under it")
    for text in ("ROUTER_RESTARTED", "endpoint picker pod", "of 48 requests"):
        require(text in run.output, f"verify fails but does not say {text!r}")
    require("REQUEST_FAILED" not in run.output, "verify names the failed requests beside their cause")
    succeed(play("playbooks/wait.yml"))


def expect_failure(text: str, *arguments: str) -> None:
    run = play("playbooks/verify.yml", *arguments)
    require(run.code != 0, f"verify passes although it should name {text}")
    require(text.lower() in run.output.lower(), f"verify fails but does not name {text}")


def pod_uids(client: Client, name: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods_of(client, name)}


def restart() -> None:
    """A change that restarts decode is shown and refused; with permission decode alone restarts, in place."""
    client = admin()
    change = extra(model_server_decode_max_tokens=512)
    before = {name: pod_uids(client, name) for name in (PREFILL, DECODE)}
    sets = {name: client.get(f"{LWS}/{name}")["metadata"]["uid"] for name in (PREFILL, DECODE)}

    def refused_restart() -> None:
        run = play("site.yml", "--diff", *change)
        require(run.code != 0, "a restart of decode is applied without permission")
        for text in ("RESTART_NEEDED", "decode: 1 group of 2 pods, 16 GPUs", "at most 2700 s", "wide_ep_allow_restart"):
            require(text in run.output, f"the refusal does not say {text!r}")

    untouched(refused_restart)
    try:
        run = succeed(play("site.yml", "--diff", *change, *extra(wide_ep_allow_restart=True)))
        # The revision is a hash over the template.
        shown = [line for line in run.output.splitlines() if re.match(r"[-+][a-z]", line)]
        lines = [line for line in shown if "wide-ep.llm-d.ai/revision" not in line]
        require(lines == ["-vllm.env.MAX_TOKENS: 256", "+vllm.env.MAX_TOKENS: 512"], f"the diff shows {lines}")
        require(pod_uids(client, PREFILL) == before[PREFILL], "pods of prefill were replaced")
        require(not pod_uids(client, DECODE) & before[DECODE], "pods of decode were kept")
        after = {name: client.get(f"{LWS}/{name}")["metadata"]["uid"] for name in sets}
        require(after == sets, "a LeaderWorkerSet was deleted and created again")
    finally:
        succeed(play("site.yml", *extra(wide_ep_allow_restart=True)))


def release_status(client: Client) -> str:
    found = client.list(SECRETS, {"labelSelector": f"owner=helm,name={RELEASE}"})
    return max((item["metadata"]["labels"]["status"] for item in found), default="")


def killed_while_pending(client: Client) -> bool:
    """Kill a run while its Helm release is pending, which is a tenth of a second; tell whether that was in time."""
    secret = f"{SECRETS}/sh.helm.release.v1.{RELEASE}.v1"
    with started("site.yml") as (process, _finished):
        until(lambda: helm_of(process.pid, RELEASE), "Helm runs", 120, 0.01)
        helm = helm_of(process.pid, RELEASE)
        until(lambda: client.get_or_none(secret) or process.poll() is not None, "Helm made its record", 60, 0.001)
        for pid in helm:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        kill_tree(process)
    return release_status(client).startswith("pending-")


def helm_of(pid: int, release: str) -> list[int]:
    """The processes below one that install or upgrade a release with Helm."""
    found = []
    for below in descendants(pid):
        with contextlib.suppress(OSError):
            arguments = Path(f"/proc/{below}/cmdline").read_bytes().decode().split("\0")
            if Path(arguments[0]).name == "helm" and release in arguments and {"install", "upgrade"} & set(arguments):
                found.append(below)
    return found


def interrupt() -> None:
    """An interrupted run, and one that was killed while Helm worked, are continued by the next."""
    client = admin()
    succeed(play("playbooks/cleanup.yml"))
    with started("site.yml") as (process, finished):
        until(lambda: client.get_or_none(f"/api/v1/namespaces/{NAMESPACE}"), "the namespace is made", 120)
        end(process, signal.SIGINT)
        run = finished()
    require(run.code != 0, "an interrupted run ends with success")
    if run.code != -signal.SIGKILL:
        require("Run the same command again" in run.output, "an interrupted run does not say how to go on")
    for _attempt in range(5):
        if killed_while_pending(client):
            break
        succeed(play("playbooks/cleanup.yml"))
    require(release_status(client).startswith("pending-"), "Helm was too fast each time; there is nothing to recover")
    succeed(play("site.yml"))
    unchanged(play("site.yml"))


@contextlib.contextmanager
def watched_process_list(word: str) -> Iterator[set[str]]:
    """The programs on whose command lines a word stands at any time."""
    found: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    arguments = entry.read_bytes()
                    if word.encode() in arguments:
                        found.add(arguments.replace(b"\0", b" ").decode(errors="replace"))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        stop.set()
        watcher.join()


def canary() -> None:
    """A token shows nowhere: not in differences, the most verbose output, artifacts or the machine's process list."""
    with tempfile.TemporaryDirectory() as folder, watched_process_list(CANARY) as processes:
        arguments = ("--diff", "-vvv", "-e", f"wide_ep_artifacts_dir={folder}", *extra(workspace_hf_token_replace=True))
        run = succeed(play("site.yml", *arguments, HF_TOKEN=CANARY))
        written = [path for path in Path(folder).rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    require(CANARY not in run.output, "the token is in the output")
    require(not written, f"the token is in {written}")
    require(not processes, f"the token is an argument of {processes}")
    stored = admin().get(f"{SECRETS}/llm-d-hf-token")
    token = base64.b64decode(stored["data"]["HF_TOKEN"]).decode()
    require(token == CANARY, "the Secret has another token: the test proves nothing")


def cleanup() -> None:
    """Cleanup leaves nothing over, and does not mind being run again."""
    succeed(play("playbooks/cleanup.yml"))
    left = [path for path in snapshot() if f"/namespaces/{NAMESPACE}" in path]
    require(not left, "left over:\n  " + "\n  ".join(left))
    unchanged(play("playbooks/cleanup.yml"))


def rights() -> None:
    """The audit log has no right that the page lacks, and the whole run passes with those of the page alone."""
    require(rbac.main([str(AUDIT_LOG), "--check"]) == 0, "docs/reference/rbac.yaml lacks rights that runs use")
    client = admin()
    with tempfile.TemporaryDirectory() as folder, identity.identities(Path(folder)) as access:
        arguments = extra(**access, workspace_adopt_namespace=True)
        identity.write_roles(client, identity.without(identity.roles(), identity.DEPLOYER, "inferencepools", "delete"))
        run = play("playbooks/preflight.yml", *arguments)
        require(run.code != 0, "preflight misses no right although one was taken away")
        require("RIGHT_MISSING" in run.output, "preflight does not name the missing right")
        require("inferencepools: delete" in run.output, "preflight does not name the right that was taken away")
        identity.write_roles(client, identity.roles())
        succeed(play("site.yml", *arguments))
        unchanged(play("site.yml", *arguments))
        succeed(play("playbooks/cleanup.yml", *arguments))
    path = f"/api/v1/namespaces/{NAMESPACE}"
    until(lambda: client.get_or_none(path) is None, "the namespace is gone", 120)


def remove_cluster() -> None:
    """Take the tests' cluster off the machine."""
    succeed(play("playbooks/rehearsal_cluster_remove.yml"))
    state = Path("/var/lib/llmd-wide-ep", CLUSTER)
    require(not state.exists(), f"{state} is left")


STEPS: dict[str, Callable[[], None]] = {
    step.__name__: step
    for step in (
        binaries,
        cluster,
        check_empty,
        first,
        again,
        check_converged,
        installed,
        bad_inputs,
        canary,
        verify_faults,
        restart,
        interrupt,
        cleanup,
        rights,
        remove_cluster,
    )
}
