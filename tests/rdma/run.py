# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the mesh check on real verbs: soft-RoCE guests under QEMU, 4 hosts with 8 NICs, without KVM.

Kernel, QEMU and libraries are Debian packages, downloaded once into the cache and unpacked there, never installed. The
figures are printed: seconds in the pods' place, and beside them what one perftest process per pair would take.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTS = "tests/integration/rdma_mesh/test_soft_roce.py"
#: Four guests of 512 MiB, QEMU's own share, and room for others.
LEAST_MIB = 4096
FIGURES = re.compile(r"^(\d+x\d+: |one perftest )")


def cache() -> pathlib.Path:
    own = os.environ.get("LLMD_WIDE_EP_CACHE")
    base = pathlib.Path(own) if own else pathlib.Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "llmd-wide-ep")
    return base.expanduser() / "soft-roce"


def missing() -> str:
    """Why it cannot run here; empty where it can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    absent = [name for name in ("apt-get", "dpkg-deb", "ip", "unshare", "setpriv") if not shutil.which(name)]
    if absent:
        return f"there is no {', '.join(absent)}: the guests are made from Debian packages"
    found = re.search(r"MemAvailable:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text(encoding="ascii"))
    free = int(found.group(1)) >> 10 if found else 0
    return f"{free} MiB of memory are free, {LEAST_MIB} are needed" if free < LEAST_MIB else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=pathlib.Path, default=cache(), help="folder of the packages (%(default)s)")
    parser.add_argument("-k", metavar="EXPRESSION", help="the tests to run, as pytest takes it")
    asked = parser.parse_args()
    if why := missing():
        print(f"NOT RUN: {why}", file=sys.stderr)
        return 1
    asked.cache.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-s", "-v", TESTS, *(["-k", asked.k] if asked.k else [])]
    environment = {**os.environ, "LLMD_WIDE_EP_SOFT_ROCE": str(asked.cache)}
    figures = []
    with subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE) as running:
        for line in running.stdout or ():
            print(line, end="", flush=True)
            figures += [line.strip()] if FIGURES.match(line) else []
    print("\n".join(["", *figures, f"{time.monotonic() - started:.0f} s in all"]))
    return running.returncode


if __name__ == "__main__":
    sys.exit(main())
