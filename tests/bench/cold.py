# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the way to the first answer: from empty caches, and from no cluster.

``--from caches`` moves all caches to an empty folder, makes the environment, builds everything, starts
a rehearsal cluster of its own name and deploys. ``--from cluster`` keeps the caches. Seconds per phase; the cluster is
removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLUSTER = "bench-cold"


def timed(
    rows: list[tuple[str, float]], label: str, command: t.Sequence[t.Any], environment: dict[str, str], **kwargs: t.Any
) -> str:
    """Run the command and add its seconds to the rows; what it printed where ``stdout`` is a pipe."""
    print(f"{label} ...", flush=True)
    start = time.monotonic()
    finished = subprocess.run(command, cwd=ROOT, env=environment, check=True, text=True, **kwargs)
    rows.append((label, time.monotonic() - start))
    return finished.stdout or ""


def playbook(name: str, environment: dict[str, str], artifacts: str = "") -> list[t.Any]:
    python = pathlib.Path(environment["LLMD_WIDE_EP_BENCH_PYTHON"])
    extra = [
        "-e",
        f"rehearsal_cluster_name={CLUSTER}",
        *(["-e", f"wide_ep_artifacts_dir={artifacts}"] if artifacts else []),
    ]
    return [python.parent / "ansible-playbook", name, "-i", "inventories/local", *extra]


def set_up(rows: list[tuple[str, float]], environment: dict[str, str]) -> dict[str, str]:
    """Make the environment and everything that is built; the environment that names its interpreter."""
    command = [sys.executable, "tools/setup.py", "--quiet", "--print"]
    shown = timed(rows, "Python environment", command, environment, stdout=subprocess.PIPE)
    python = pathlib.Path(shown.split()[-1]) / "bin" / "python"
    builder = [python, "roles/rehearsal_cluster/files/builder", "ensure", "--scenario", "standalone"]
    timed(rows, "programs, images, charts", builder, environment)
    return {**environment, "LLMD_WIDE_EP_BENCH_PYTHON": str(python)}


def deploy(rows: list[tuple[str, float]], environment: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as artifacts:
        timed(rows, "site.yml", playbook("site.yml", environment, artifacts), environment)
        (run,) = pathlib.Path(artifacts).glob("*/*/run.json")
        rows += [(f"  {row['phase']}", row["seconds"]) for row in json.loads(run.read_text())["phases"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="start", choices=("caches", "cluster"), default="caches")
    start = parser.parse_args().start
    rows: list[tuple[str, float]] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = dict(os.environ)
        if start == "caches":
            names = ("LLMD_WIDE_EP_CACHE", "GOCACHE", "GOMODCACHE", "PIP_CACHE_DIR")
            environment |= {name: f"{folder}/{name.lower()}" for name in names}
            # Go keeps its downloaded modules read-only unless told otherwise; the folder has to go afterwards.
            environment["GOFLAGS"] = "-modcacherw"
        environment = set_up(rows, environment)
        remove = playbook("playbooks/rehearsal_cluster_remove.yml", environment)
        subprocess.run(remove, cwd=ROOT, env=environment, check=True, capture_output=True)
        try:
            deploy(rows, environment)
        finally:
            subprocess.run(remove, cwd=ROOT, env=environment, check=True, capture_output=True)
    total = sum(seconds for label, seconds in rows if not label.startswith("  "))
    print(f"\nfrom no {start}:")
    print(
        "\n".join(f"  {label:<28} {seconds:8.1f} s" for label, seconds in [*rows, ("total to the first answer", total)])
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
