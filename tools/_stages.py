# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of ``make test``, as data. Private to tools/."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from _paths import cache_root

# Folders whose Python is typed.
TYPED = ("plugins", "tools", "roles/rehearsal_cluster/files/builder")
OLDEST_SECOND_LANE = (3, 12)


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command of the test run.

    ``name`` is group/what. ``after`` names stages that must have passed. ``missing`` tells why the stage cannot run on
    this machine. ``minutes`` is its usual time, from which the budget decides, ``limit`` when it is ended.
    """

    name: str
    command: tuple[str, ...]
    after: tuple[str, ...] = ()
    parallel: bool = False
    minutes: float = 1.0
    limit: float = 30.0
    missing: Callable[[], str | None] = lambda: None
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def group(self) -> str:
        return self.name.partition("/")[0]


def program(name: str) -> str:
    """Return a program of the environment that runs this."""
    return str(Path(sys.executable).parent / name)


def no_cluster_here() -> str | None:
    """Tell why the rehearsal cluster cannot run on this machine."""
    if not sys.platform.startswith("linux"):
        return f"the rehearsal cluster needs Linux, this is {sys.platform}"
    if os.geteuid() != 0 and not passwordless_sudo():
        return "the rehearsal cluster needs root, or sudo that asks for no password"
    return None


def passwordless_sudo() -> bool:
    sudo = shutil.which("sudo")
    return bool(sudo) and subprocess.run([str(sudo), "-n", "true"], capture_output=True, check=False).returncode == 0


def no_test_cluster() -> str | None:
    """Tell why a test that skips itself without the tests' cluster would prove nothing."""
    name = os.environ.get("LLMD_WIDE_EP_TEST_CLUSTER") or "test"
    kubeconfig = cache_root() / "clusters" / name / "deployer.kubeconfig"
    return no_cluster_here() or (None if kubeconfig.exists() else f"cluster {name} is not up: run site/cluster first")


def no_router_parts() -> str | None:
    """Tell why generation llm_d_router of the router cannot be installed: none of its parts builds from Go modules."""
    name = "LLMD_WIDE_EP_ROUTER_PARTS"
    folder = Path(os.environ.get(name, ""))
    wanted = ("charts/llm-d-router-standalone", "charts/llm-d-router-gateway", "images/epp.tar", "images/sidecar.tar")
    lacking = [part for part in wanted if not os.environ.get(name) or not (folder / part).exists()]
    if not lacking:
        return no_test_cluster()
    seen = f"{folder} lacks {', '.join(lacking)}" if os.environ.get(name) else f"{name} names no folder with its parts"
    return f"llm_d_router: rendered only ({seen})"


def no_programs() -> str | None:
    manifest = cache_root() / "manifests" / "full.json"
    return None if manifest.exists() else "nothing is built: run site/binaries first"


def second_lane_python() -> str | None:
    """Return an interpreter of the lane that does not run this, if there is one.

    Version managers keep theirs outside of PATH; pyenv's are looked for because its shims refuse inactive versions.
    """
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for minor in (11,) if sys.version_info >= OLDEST_SECOND_LANE else (14, 13, 12):
        managed = sorted(root.glob(f"versions/3.{minor}.*/bin/python3"))
        for candidate in (shutil.which(f"python3.{minor}"), *map(str, managed)):
            if candidate and works(candidate):
                return candidate
    return None


def works(python: str) -> bool:
    return subprocess.run([python, "-c", "import venv"], capture_output=True, check=False).returncode == 0


def no_second_lane() -> str | None:
    other = "3.11" if sys.version_info >= OLDEST_SECOND_LANE else "3.12 or newer"
    return None if second_lane_python() else f"no Python {other} on this machine"


STATIC = (
    Stage("static/format", (program("ruff"), "format", "--check", "."), parallel=True, minutes=0.1),
    Stage("static/ruff", (program("ruff"), "check", "."), parallel=True, minutes=0.1),
    Stage("static/mypy", (program("mypy"), *TYPED), parallel=True, minutes=1),
    Stage(
        "static/ansible-lint",
        (program("ansible-lint"), "--offline", "--strict", "--profile", "production"),
        parallel=True,
        minutes=1,
    ),
    Stage("static/changelog", (program("antsibull-changelog"), "lint"), parallel=True, minutes=0.1),
)

CODE = (
    Stage("unit/pytest", (sys.executable, "-m", "pytest"), parallel=True, minutes=1),
    Stage("sanity/ansible-test", (sys.executable, "tools/sanity.py"), parallel=True, minutes=2),
    Stage(
        "lane/unit",
        (sys.executable, "tools/lane.py", "--", "python", "-m", "pytest"),
        parallel=True,
        minutes=2,
        missing=no_second_lane,
    ),
)


def playbook_step(name: str, step: str, **kwargs: Any) -> Stage:
    """Return a stage of the deployment on the tests' own rehearsal cluster."""
    command = (sys.executable, "tests/integration/site", step)
    return Stage(name, command, missing=no_cluster_here, **kwargs)


SITE = (
    playbook_step("site/binaries", "binaries", minutes=1, limit=45),
    playbook_step("site/cluster", "cluster", after=("site/binaries",), minutes=2),
    playbook_step("site/check-empty", "check_empty", after=("site/cluster",)),
    playbook_step("site/first", "first", after=("site/cluster",), minutes=2),
    playbook_step("site/again", "again", after=("site/first",)),
    playbook_step("site/check-converged", "check_converged", after=("site/first",)),
    playbook_step("site/installed", "installed", after=("site/first",), minutes=2),
    playbook_step("faults/inputs", "bad_inputs", after=("site/cluster",)),
    playbook_step("faults/canary", "canary", after=("site/first",)),
    playbook_step("faults/verify", "verify_faults", after=("site/first",), minutes=2),
    playbook_step("faults/restart", "restart", after=("site/first",), minutes=2),
    playbook_step("faults/interrupt", "interrupt", after=("site/first",), minutes=3),
    playbook_step("cleanup/twice", "cleanup", after=("site/cluster",), minutes=2),
    playbook_step("site/rights", "rights", after=("site/first", "cleanup/twice"), minutes=4),
)


def integration(name: str, missing: Callable[[], str | None], **kwargs: Any) -> Stage:
    """Return a stage of pytest's integration tests, which need what ``missing`` asks for."""
    folder, _dash, module = name.partition("/")[2].partition("-")
    path = f"tests/integration/{folder}" + (f"/test_{module}.py" if module else "")
    return Stage(name, (sys.executable, "-m", "pytest", path), missing=missing, **kwargs)


INTEGRATION = (
    integration("integration/verify", no_programs, after=("site/binaries",)),
    integration("integration/router-chart_keys", no_programs, after=("site/binaries",)),
    integration("integration/router-generations", no_router_parts, after=("site/cluster", "cleanup/twice"), minutes=8),
    integration("integration/wait_ready", no_test_cluster, after=("site/cluster", "cleanup/twice"), minutes=2),
    integration("integration/admission", no_test_cluster, after=("site/cluster", "cleanup/twice"), minutes=4),
    integration("integration/prefetch-prefetch", lambda: None, minutes=2),
    integration("integration/gke", lambda: None, minutes=3),
    integration("integration/node_pools-inventories", lambda: None, minutes=0.5),
    integration("integration/preflight", lambda: None, minutes=1),
    integration("integration/rdma_mesh-namespaces", no_cluster_here, minutes=2),
    integration("integration/rehearse-gke_parts", no_programs, after=("site/binaries",), minutes=3),
    integration("integration/rehearse-coreweave_parts", no_programs, after=("site/binaries",), minutes=3),
)
# Each makes and breaks clusters or releases of its own. A machine carries two clusters: one beside the user's.
EXTENDED = (
    integration("extended/router-recovery", no_test_cluster, after=("site/cluster", "cleanup/twice"), minutes=5),
    integration("extended/topology", no_test_cluster, after=("site/cluster", "cleanup/twice"), minutes=8),
    integration("extended/monitoring", no_test_cluster, after=("site/cluster", "cleanup/twice"), minutes=6),
    integration("extended/prefetch-on_cluster", no_test_cluster, after=("site/cluster", "cleanup/twice"), minutes=4),
    integration("extended/rdma_mesh-module", no_cluster_here, minutes=2),
    integration("extended/operate", no_test_cluster, after=("site/cluster", "cleanup/twice"), minutes=5),
    # The last of them: it replaces the controller of everything above.
    integration("extended/lws_upgrade", no_test_cluster, after=("site/cluster", "cleanup/twice"), minutes=4),
)
EXTENDED_CLUSTERS = (
    integration("extended/rehearse-site", no_programs, after=("site/binaries",), minutes=25, limit=90),
    integration("extended/rehearse-money", no_programs, after=("site/binaries",), minutes=15, limit=60),
    integration("extended/node_pools-interrupted", no_programs, after=("site/binaries",), minutes=15, limit=30),
    integration("extended/rehearsal_cluster-lifecycle", no_programs, after=("site/binaries",), minutes=4),
    integration("extended/rehearsal_cluster-interruption", no_programs, after=("site/binaries",), minutes=6),
)
OWN_CLUSTER_SCENARIO = "rehearsal_cluster"
# Scenarios that `make test` has no time for.
LONG_SCENARIOS = frozenset(
    {
        "benchmark",
        "gateway_status",
        "node_pools_coreweave",
        "node_pools_existing",
        "node_pools_gke",
        "preflight",
        "rdma_mesh",
        "router_gateway_istio",
        "runbooks",
        "verify_multi_port",
    }
)
# Nothing of the tests stays on the machine, whatever failed before.
END = (playbook_step("cleanup/cluster", "remove_cluster", minutes=0),)
# One scenario runs with the other lane's versions: that of Helm, whose module differs most between them.
OTHER_LANE_SCENARIO = "router_standalone"


def molecule_stages(root: Path, long: bool = False) -> tuple[Stage, ...]:
    """Return one stage per scenario folder; each begins and ends on a cluster without a deployment."""
    return tuple(
        Stage(
            f"{'extended-molecule' if long else 'molecule'}/{name}",
            (program("molecule"), "test", "--scenario-name", name),
            after=("site/cluster", "cleanup/twice"),
            minutes=6 if long else 2,
            missing=no_cluster_here,
        )
        for name in scenario_names(root)
        if name != OWN_CLUSTER_SCENARIO and (name in LONG_SCENARIOS) is long
    )


def own_cluster_stages(root: Path) -> tuple[Stage, ...]:
    """Return the scenario that makes a cluster of its own; it comes when the tests' cluster is gone."""
    if OWN_CLUSTER_SCENARIO not in scenario_names(root):
        return ()
    command = (program("molecule"), "test", "--scenario-name", OWN_CLUSTER_SCENARIO)
    needs = ("site/binaries", "cleanup/cluster")
    return (Stage(f"molecule/{OWN_CLUSTER_SCENARIO}", command, after=needs, minutes=2, missing=no_cluster_here),)


def scenario_names(root: Path) -> list[str]:
    return sorted(path.parent.name for path in root.glob("molecule/*/molecule.yml"))


def other_lane_stages(root: Path) -> tuple[Stage, ...]:
    """Return the stage of the scenario that runs in the other lane, once it exists."""
    if OTHER_LANE_SCENARIO not in scenario_names(root):
        return ()
    command = (sys.executable, "tools/lane.py", "--", "molecule", "test", "--scenario-name", OTHER_LANE_SCENARIO)
    return (
        Stage(
            f"lane/{OTHER_LANE_SCENARIO}",
            command,
            after=("site/cluster", "cleanup/twice"),
            minutes=2,
            missing=lambda: no_cluster_here() or no_second_lane(),
        ),
    )


def all_stages(root: Path) -> tuple[Stage, ...]:
    """Return the stages of ``make test`` in their order."""
    on_the_cluster = (*SITE, *INTEGRATION, *molecule_stages(root), *other_lane_stages(root), *END)
    return (*STATIC, *CODE, *on_the_cluster, *own_cluster_stages(root))


def extended_stages(root: Path) -> tuple[Stage, ...]:
    """Return the stages of ``make test-all`` in their order."""
    core = all_stages(root)
    end = core.index(END[0])
    return (*core[:end], *molecule_stages(root, long=True), *EXTENDED, *core[end:], *EXTENDED_CLUSTERS)
