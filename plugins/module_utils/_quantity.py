# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes quantities, and what a pod asks for. Private to the collection; it may change at any time."""

from __future__ import annotations

import collections
import fractions
import functools
import re
import typing as t

Json = t.Mapping[str, t.Any]
Amounts = dict[str, fractions.Fraction]

BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
DECIMAL = {"n": -3, "u": -2, "m": -1, "": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([eE][+-]?[0-9]+)|(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]?))")
IN_BYTES = ("memory", "ephemeral-storage", "hugepages-")


def quantity(text: t.Any) -> fractions.Fraction:
    """A Kubernetes quantity as a number."""
    return _parsed(str(text))


@functools.lru_cache(maxsize=4096)
def _parsed(text: str) -> fractions.Fraction:
    """The nodes of a cluster say the same few things a thousand times."""
    match = QUANTITY.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a quantity")
    number, exponent, suffix = match.groups()
    value = fractions.Fraction(number)
    if exponent:
        return value * fractions.Fraction(10) ** int(exponent[1:])
    if suffix in BINARY:
        return value * fractions.Fraction(1024) ** BINARY[suffix]
    return value * fractions.Fraction(1000) ** DECIMAL[suffix or ""]


def written(resource: str, value: fractions.Fraction) -> str:
    """A number as the quantity that people write for this resource, never less than it."""
    if resource.startswith(IN_BYTES):
        for suffix, power in reversed(BINARY.items()):
            unit = fractions.Fraction(1024) ** power
            if value >= unit and value % unit == 0:
                return f"{value // unit}{suffix}"
        return str(-(-value // 1))
    milli = -(-value * 1000 // 1)
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"


def container_requests(container: Json) -> Amounts:
    """What a container asks for; a limit without a request is one, as the API server defaults it."""
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: quantity(value) for name, value in asked.items()}


def pod_requests(spec: Json) -> Amounts:
    """What the scheduler counts for a pod: containers and native sidecars together, or a larger init container."""
    total: Amounts = collections.defaultdict(fractions.Fraction)
    sidecars: Amounts = collections.defaultdict(fractions.Fraction)
    peak: Amounts = collections.defaultdict(fractions.Fraction)
    for container in spec.get("initContainers") or ():
        asked = container_requests(container)
        if container.get("restartPolicy") == "Always":
            for name, value in asked.items():
                sidecars[name] += value
            asked = {}
        for name in {*asked, *sidecars}:
            peak[name] = max(peak[name], sidecars[name] + asked.get(name, 0))
    for part in (*map(container_requests, spec.get("containers") or ()), sidecars):
        for name, value in part.items():
            total[name] += value
    overhead = {name: quantity(value) for name, value in (spec.get("overhead") or {}).items()}
    names = sorted({*total, *peak, *overhead})
    return {name: max(total[name], peak[name]) + overhead.get(name, fractions.Fraction()) for name in names}
