# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a program once what it needs is there: ``wait_for.py [--limit SECONDS] tcp:HOST:PORT|unix:PATH -- PROGRAM``.

A supervisor starts everything at once; programs that give up early would only add restarts to the log.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time


def is_open(target: str) -> bool:
    kind, _colon, rest = target.partition(":")
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    host, _colon, port = rest.rpartition(":")
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(rest if kind == "unix" else (host, int(port)))
        except OSError:
            return False
    return True


def main(arguments: list[str]) -> int:
    split = arguments.index("--")
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=float, default=60)
    parser.add_argument("targets", nargs="*")
    options = parser.parse_args(arguments[:split])
    program = arguments[split + 1 :]
    deadline = time.monotonic() + options.limit
    for target in options.targets:
        while not is_open(target):
            if time.monotonic() > deadline:
                print(f"{program[0]}: {target} did not answer within {options.limit:g} s", file=sys.stderr)
                return 1
            time.sleep(0.1)
    return os.execvp(program[0], program)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
