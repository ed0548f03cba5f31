# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that say what is wrong and what to do, and the advice for what tools print."""

from __future__ import annotations

import re


class BuildError(Exception):
    """What went wrong, with the lines that show it and how to go on."""

    def __init__(self, message: str, fix: str = "", evidence: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.evidence = evidence

    def __str__(self) -> str:
        """Render message, evidence and fix as a person reads them."""
        parts = [self.message]
        if self.evidence:
            parts.append("\n".join(f"  | {line}" for line in self.evidence.splitlines()))
        if self.fix:
            parts.append(f"  Fix: {self.fix}")
        return "\n".join(parts)


_ADVICE: tuple[tuple[str, str], ...] = (
    (
        r"no space left on device|ENOSPC|disk quota exceeded|You don't have enough free space",
        "free disk space (a first build needs about 8 GB for the Go caches and 2 GB for this cache); "
        "`go clean -cache` empties Go's build cache; LLMD_WIDE_EP_CACHE and GOCACHE move the caches to another disk.",
    ),
    (
        r"SECURITY ERROR|checksum mismatch|Hash Sum mismatch",
        "a download differs from its recorded checksum: empty the module cache with `go clean -modcache` and run "
        "again; if it stays, something between this machine and the server changes files.",
    ),
    (
        r"dial tcp|no such host|i/o timeout|connection refused|TLS handshake|Temporary failure resolving|"
        r"Could not connect|Connection timed out|Could not resolve|Failed to fetch|NewConnectionError|"
        r"502 Bad Gateway|503 Service",
        "check the network: the Go module proxy (`go env GOPROXY`), the Debian mirror of this machine's apt and "
        "PyPI (`pip config list`) must be reachable. Run again: what is done is kept.",
    ),
    (
        r"signal: killed|cannot allocate memory|out of memory",
        "a compiler or linker ran out of memory (a link needs 2 GiB): close other programs and run again.",
    ),
    (
        r"Read-only file system|Permission denied|permission denied",
        "make the named folder writable for this user, or set LLMD_WIDE_EP_CACHE to a folder that is.",
    ),
    (
        r"updates to go\.mod needed|missing go\.sum entry|go\.work\.sum",
        "the committed workspace does not fit its families: run `python3 files/workspace/generate.py`.",
    ),
)


def advice(output: str) -> str:
    """Choose the advice for a tool's output; the last matching line decides."""
    for line in reversed(output.splitlines()):
        for pattern, text in _ADVICE:
            if re.search(pattern, line):
                return text
    return "read the lines above; run again: what is done is kept."
