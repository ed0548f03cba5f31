# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the stand-in by itself: ``python tests/integration/gke/gke_standin --port 8900 --token-file FILE``."""

from __future__ import annotations

import argparse
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from gke_standin.cloud import Cloud
from gke_standin.server import StandIn


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--project", default="demo")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long an operation takes")
    parser.add_argument("--token-file", type=pathlib.Path, help="a file with the token that is accepted")
    parser.add_argument("--token-seconds", type=float, default=3600.0, help="how long an issued token is valid")
    arguments = parser.parse_args()
    token = arguments.token_file.read_text(encoding="utf-8").strip() if arguments.token_file else None
    stand_in = StandIn(Cloud(arguments.project, polls=1, seconds=arguments.seconds), token, arguments.port)
    stand_in.token_seconds = arguments.token_seconds
    with stand_in:
        print(stand_in.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
