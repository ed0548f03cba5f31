# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the stand-in by itself: ``python tests/integration/gke/gke_standin --port 8900 --state FOLDER``.

The first line of its output is its address. ``--help`` lists the options.
"""

from __future__ import annotations

import pathlib
import signal
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from gke_standin.program import build, options


def main() -> None:
    parser = options()
    given = parser.parse_args()
    try:
        stand_in = build(given)
    except ValueError as error:
        parser.error(str(error))
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_given: ended.set())
    with stand_in:
        print(stand_in.url, flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
