# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends requests from inside the cluster until its pod is deleted, and prints every second what became of them.

Usage: load.py URL MODEL REQUESTS_PER_SECOND
"""

from __future__ import annotations

import http.client
import itertools
import json
import sys
import threading
import time
from urllib.parse import urlsplit

TIMEOUT = 20.0


class Counts:
    """Totals since the start; a second with a failure counts as one in which service was not whole."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.sent = 0
        self.failed = 0
        self._bad_seconds: set[int] = set()
        self.reasons: dict[str, int] = {}

    def add(self, reason: str, began: float) -> None:
        with self._lock:
            self.sent += 1
            if reason:
                self.failed += 1
                self._bad_seconds.add(int(began))
                self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def line(self) -> str:
        with self._lock:
            totals = {"sent": self.sent, "failed": self.failed, "bad_seconds": len(self._bad_seconds)}
            return json.dumps({**totals, "reasons": self.reasons})


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
    counts = Counts()

    def one(number: int) -> None:
        began = time.monotonic()
        counts.add(ask(url, model, number), began)

    began, shown = time.monotonic(), 0.0
    for number in itertools.count():
        threading.Thread(target=one, args=(number,), daemon=True).start()
        now = time.monotonic()
        if now - shown >= 1:
            print(counts.line(), flush=True)
            shown = now
        # Open loop: a slow answer holds no other request back.
        time.sleep(max(0.0, began + (number + 1) / rate - now))


main()
