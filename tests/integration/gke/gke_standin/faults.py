# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults by name, for the command line: ``METHOD=KIND[:TIMES[:SKIP]]``, where METHOD is a pattern of method ids."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

from .cloud import Refused
from .server import Fault


def refusal(status: int, message: str, **more: t.Any) -> dict[str, t.Any]:
    return {"refuse": Refused(status, message, **more)}


RETRY_SOON = (("Retry-After", "0.5"),)
#: What each kind sets of a fault; made anew each time, since an error is raised once.
KINDS: dict[str, Callable[[], dict[str, t.Any]]] = {
    "401": lambda: refusal(401, "Request had invalid authentication credentials."),
    "403": lambda: refusal(403, "Required permission is missing.", reason="forbidden"),
    "409": lambda: refusal(409, "The resource changed in between.", code="ABORTED"),
    "429": lambda: refusal(429, "Quota exceeded for quota metric 'Queries'.", headers=RETRY_SOON),
    "500": lambda: refusal(500, "Internal error."),
    "503": lambda: refusal(503, "The service is currently unavailable."),
    "drop-before": lambda: {"drop": "before"},
    "drop-after": lambda: {"drop": "after"},
    "stuck": lambda: {"stuck": True},
    "fail": lambda: {"operation": {"code": 13, "message": "Internal error."}},
    "stockout": lambda: {
        "operation": {
            "code": 8,
            "message": "Instance creation failed: ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS: not enough resources.",
            "condition": "GCE_STOCKOUT",
        }
    },
    "quota": lambda: {
        "operation": {
            "code": 8,
            "message": "Instance creation failed: Quota 'GPUS_PER_GPU_FAMILY' exceeded. Limit: 16.0.",
            "condition": "GCE_QUOTA_EXCEEDED",
        }
    },
}


def parse(text: str) -> Fault:
    """ValueError says what is wrong with it."""
    method, equals, rest = text.partition("=")
    kind, *numbers = rest.split(":")
    if not equals or kind not in KINDS or len(numbers) > 2 or not all(number.isdigit() for number in numbers):
        raise ValueError(f"{text!r} is not METHOD=KIND[:TIMES[:SKIP]] with a kind of {', '.join(KINDS)}")
    times, skip = ([int(number) for number in numbers] + [1, 0][len(numbers) :])[:2]
    return Fault(method, times=times, skip=skip, **KINDS[kind]())
