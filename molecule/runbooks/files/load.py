# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends requests from inside the cluster until its pod is deleted.

Usage: load.py URL MODEL REQUESTS_PER_SECOND

Prints a line of JSON for each second, in order, as soon as every request sent in it has ended.
"""

from __future__ import annotations

import collections
import http.client
import itertools
import json
import sys
import threading
import time
from urllib.parse import urlsplit

TIMEOUT = 20.0


class Ledger:
    """What became of the requests, by the second in which they were sent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: collections.Counter[int] = collections.Counter()
        self._sent: collections.Counter[int] = collections.Counter()
        self._failed: dict[int, collections.Counter[str]] = collections.defaultdict(collections.Counter)

    def send(self, second: int) -> None:
        with self._lock:
            self._open[second] += 1
            self._sent[second] += 1

    def end(self, second: int, reason: str) -> None:
        with self._lock:
            self._open[second] -= 1
            if reason:
                self._failed[second][reason] += 1

    def over(self, now: int) -> list[str]:
        """The lines of seconds that are over and have no request under way, up to the first that has."""
        with self._lock:
            lines = []
            for second in sorted(self._sent):
                if second >= now or self._open[second]:
                    break
                reasons = self._failed.pop(second, collections.Counter())
                row = {"second": second, "sent": self._sent.pop(second), "failed": reasons.total(), "reasons": reasons}
                lines.append(json.dumps(row))
            return lines


def ask(url: str, model: str, number: int) -> str:
    """One completion over a connection of its own; empty, or why it failed."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=TIMEOUT)
    body = json.dumps({"model": model, "prompt": f"{number} sheep and a lighthouse", "max_tokens": 4})
    try:
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json", "Connection": "close"})
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()
    return "" if answer.status == 200 and b'"choices"' in text else f"HTTP {answer.status}"


def main() -> None:
    url, model, rate = sys.argv[1], sys.argv[2], float(sys.argv[3])
    ledger = Ledger()

    def one(number: int, second: int) -> None:
        ledger.end(second, ask(url, model, number))

    began = time.monotonic()
    for number in itertools.count():
        second = int(time.time())
        ledger.send(second)
        threading.Thread(target=one, args=(number, second), daemon=True).start()
        for line in ledger.over(second):
            print(line, flush=True)
        # Open loop: a slow answer holds no other request back.
        time.sleep(max(0.0, began + (number + 1) / rate - time.monotonic()))


if __name__ == "__main__":
    main()
