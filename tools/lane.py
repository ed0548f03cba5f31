# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a program of the other lane's environment, which is set up if needed, without touching .venv."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from _paths import ROOT
from _stages import second_lane_python


def main() -> int:
    """Set the lane up and run the command in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", nargs="+", help="a program of the environment and its arguments, after --")
    arguments = parser.parse_args()
    python = second_lane_python()
    if python is None:
        print("lane: there is no interpreter of the other lane on this machine", file=sys.stderr)
        return 1
    setup = [python, str(ROOT / "tools" / "setup.py"), "--for", "test", "--print"]
    venv = subprocess.run(setup, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
    program, *rest = arguments.command
    environment = {**os.environ, "PATH": os.pathsep.join((f"{venv}/bin", os.environ.get("PATH", os.defpath)))}
    return subprocess.run([f"{venv}/bin/{program}", *rest], cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
