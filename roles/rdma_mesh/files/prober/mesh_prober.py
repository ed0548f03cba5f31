# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program of a pod: prober of its host, and with completion index 0 the coordinator too.

Usage: mesh_prober.py CONFIG.json. The index comes from JOB_COMPLETION_INDEX. The result goes to standard output in
frames. A prober ends with status 0 whatever happened to it: the coordinator counts it down, and a failing pod could
end the Job with the coordinator in it. Only the coordinator fails, where it could not run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
import typing as t
from pathlib import Path

import mesh_wire as wire
from mesh_agent import Agent
from mesh_coordinator import Coordinator


def write(line: str) -> None:
    """One line at once: lines of several writers must not mix."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def lead(config: dict[str, t.Any], path: str) -> int:
    """Coordinate, with the host's own prober beside: its loop must not wait for this one."""
    coordinator = Coordinator(config, write)
    environment = {**os.environ, "JOB_COMPLETION_INDEX": "0", "MESH_COORDINATOR": "127.0.0.1"}
    command = [sys.executable, os.path.abspath(__file__), path, "--agent"]
    with subprocess.Popen(command, env=environment, stdout=sys.stderr) as own:
        try:
            coordinator.run()
            own.wait(timeout=10)
        except subprocess.TimeoutExpired:
            pass
        finally:
            own.kill()
    return 0


def main(arguments: list[str]) -> int:
    path = arguments[0]
    config = json.loads(Path(path).read_text(encoding="utf-8"))
    index = int(os.environ.get("JOB_COMPLETION_INDEX", "0")) + int(config.get("first_index", 0))
    if index == 0 and "--agent" not in arguments:
        return lead(config, path)
    config["coordinator"] = os.environ.get("MESH_COORDINATOR") or config["coordinator"]
    try:
        Agent(config, index).run()
    except wire.WireError as error:
        print(f"mesh_prober: {error}", file=sys.stderr)
    except Exception:
        traceback.print_exc()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
