# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a GPU driver, an image's CUDA and a prefill backend go together. Private to the collection.

Two limits pull in opposite directions: drivers of R580 and newer crash DeepEP's high-throughput kernels on GKE
(cudaErrorIllegalAddress, llm-d PR 2379), while images on CUDA 13 have R580 as their native floor. So the three are
judged together, by one table.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding

Word = t.Literal["ok", "fallback", "refuse"]

#: The first driver branch with which DeepEP's high-throughput kernels crash (llm-d PR 2379, seen on GKE 1.36).
CRASHING = 580
#: CUDA major -> the oldest driver branch that runs it without the forward-compatibility libraries (CUDA's release
#: notes, minor-version compatibility).
FLOORS = {11: 450, 12: 525, 13: 580}
#: What GKE installs by itself where no version is named: R580 in both modes since 1.36; older ones age out.
MANAGED = {"default": CRASHING, "latest": CRASHING}
HIGH_THROUGHPUT = "deepep_high_throughput"
LOW_LATENCY = "deepep_low_latency"

_LOW = f"Set wide_ep_prefill_all2all_backend to {LOW_LATENCY}: it prefills slower and runs on every driver."
_PIN = "Or install a driver older than R580 (node_pools_driver: specific, or disabled with an installer of your own)."
_OLD = "Use a newer driver with deepep_low_latency, or an image that is built on CUDA 12."


Branch = t.Literal["old", "new", "unknown"]


@dataclasses.dataclass(frozen=True)
class Row:
    """What is true of one combination; None matches anything."""

    branch: Branch | None
    high_throughput: bool | None
    below_floor: bool | None
    word: Word
    why: str
    fix: str = ""


#: The first row that matches counts.
TABLE: tuple[Row, ...] = (
    Row(
        "new",
        True,
        None,
        "refuse",
        "the driver is R580 or newer, with which DeepEP's high-throughput kernels crash (cudaErrorIllegalAddress)",
        f"{_LOW} {_PIN}",
    ),
    Row(
        "old",
        None,
        True,
        "fallback",
        "the driver is older than what the image's CUDA is made for, so it runs on the image's forward-compatibility "
        "libraries, if it has them",
        f"{_OLD} The check with one pod of the image tells whether a CUDA context opens.",
    ),
    Row(
        "unknown",
        True,
        None,
        "fallback",
        "the driver is not known before nodes exist, and with R580 or newer the high-throughput kernels crash",
        f"{_LOW} Or name the driver's version, so that it can be judged.",
    ),
    Row(None, None, None, "ok", "driver, image and prefill backend go together"),
)


@dataclasses.dataclass(frozen=True)
class Combination:
    """``driver`` is a version, a branch such as R570, or a mode of GKE: default | latest | disabled."""

    driver: str
    cuda: str
    backend: str

    @property
    def number(self) -> int | None:
        return MANAGED.get(self.driver) or number(self.driver)

    @property
    def branch(self) -> Branch:
        if self.number is None:
            return "unknown"
        return "new" if self.number >= CRASHING else "old"

    @property
    def below_floor(self) -> bool | None:
        floor = FLOORS.get(number(self.cuda) or 0)
        return None if self.number is None or floor is None else self.number < floor

    def judge(self) -> Row:
        seen = (self.branch, self.backend == HIGH_THROUGHPUT, self.below_floor)
        for row in TABLE:
            wanted = (row.branch, row.high_throughput, row.below_floor)
            if all(want is None or want == have for want, have in zip(wanted, seen, strict=True)):
                return row
        raise AssertionError("the last row matches everything")


def number(version: str) -> int | None:
    """The branch or major version: R570, 570.133.20 and 13.0.2 begin with it."""
    match = re.match(r"[Rr]?(\d+)(\.|$)", version)
    return int(match[1]) if match else None


def judged(driver: str, cuda: str, backend: str) -> dict[str, str]:
    row = Combination(driver, cuda, backend).judge()
    return {"word": row.word, "why": row.why, "fix": row.fix}


SEVERITY: dict[Word, t.Literal["error", "warning"]] = {"refuse": "error", "fallback": "warning"}


def findings(driver: str, cuda: str, backend: str, subject: str = "") -> list[Finding]:
    """What to say about a combination; nothing about one that is ok."""
    row = Combination(driver, cuda, backend).judge()
    if row.word == "ok":
        return []
    seen = f"driver {driver or 'unknown'}, CUDA {cuda or 'unknown'}, prefill {backend}: {row.why}"
    where = subject or "driver, image and prefill backend"
    return [Finding("DRIVER_COMBINATION", SEVERITY[row.word], where, seen, row.fix)]
