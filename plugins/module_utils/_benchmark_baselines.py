# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Published figures, each with its source and date, as something to compare a run with.

Private to the collection: it may change at any time, do not import it from elsewhere.

Only ``guide-cks-h200`` has latencies per percentile; of the others rates are all that was published.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_derive import Topology
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import (
    E2E,
    ITL,
    NTPOT,
    TPOT,
    TTFT,
    Load,
    Run,
)

PUBLISHED = "published"
_ORDER = ("mean", "min", "p0p1", "p1", "p5", "p10", "p25", "p50", "p75", "p90", "p95", "p99", "p99p9", "max")


@dataclasses.dataclass(frozen=True)
class Baseline:
    title: str
    source: str
    date: str
    run: Run
    topology: Topology
    comparable: bool = True


def _statistics(rows: t.Mapping[str, tuple[float, ...]]) -> dict[str, dict[str, float]]:
    return {name: dict(zip(_ORDER, values, strict=True)) for name, values in rows.items()}


_CKS_H200_LATENCY: dict[str, tuple[float, ...]] = {
    TTFT: (
        21.2907,
        2.62856,
        2.88433,
        3.41943,
        4.34943,
        5.03398,
        6.51777,
        11.0753,
        25.5273,
        58.6894,
        73.9548,
        86.9731,
        97.3142,
        98.8584,
    ),
    TPOT: (
        0.0797039,
        0.0671412,
        0.0704653,
        0.0741989,
        0.0761458,
        0.0771472,
        0.0788244,
        0.079901,
        0.0807397,
        0.0819986,
        0.0824532,
        0.0834127,
        0.0902886,
        0.0997142,
    ),
    ITL: (
        0.0796959,
        3.80538e-06,
        3.97582e-06,
        4.1062e-06,
        4.32599e-06,
        4.5076e-06,
        5.07757e-06,
        6.3898e-06,
        1.01151e-05,
        3.56548e-05,
        0.890953,
        1.2794,
        1.59895,
        30.3412,
    ),
    NTPOT: (
        0.113802,
        0.0375045,
        0.0385927,
        0.0724263,
        0.0774611,
        0.0780659,
        0.079499,
        0.0834122,
        0.0903768,
        0.110405,
        0.118932,
        0.128046,
        8.6738,
        22.3645,
    ),
    E2E: (
        175.831,
        137.616,
        144.072,
        152.207,
        155.075,
        156.151,
        158.872,
        166.579,
        180.304,
        218.849,
        235.834,
        248.893,
        258.528,
        259.901,
    ),
}
_CKS_H200_LENGTHS: dict[str, tuple[float, ...]] = {
    "input_length": (2046.79, 2016, 2024, 2028, 2033, 2036, 2041, 2046, 2052, 2058, 2061, 2068, 2075, 2081),
    "output_length": (2004.99, 7, 23.573, 1914.82, 1987, 1994, 1999, 2001, 2001, 2001, 2001, 2003, 4056.81, 4065),
}
#: The guide's profile 2048_concurrent_2k_isl_2k_osl.
GUIDE_LOAD = Load(
    model="deepseek-ai/DeepSeek-R1-0528",
    load_type="concurrent",
    data_type="random",
    input_tokens=2000,
    output_tokens=2000,
    concurrency=2048,
    requests=8192,
    streaming=True,
    ignore_eos=True,
    token_side="client",
)
_H200 = Topology(16, 16, 32, 16, "NVIDIA-H200", "fp8")
_B200 = Topology(16, 16, 32, 16, "NVIDIA-B200", None)
_GUIDE = "llm-d guide wide-ep-lws"


def _guide(name: str, generation: str | None, request_rate: float, output: float, taken: float) -> Run:
    """A run of the guide's profile of which only rates are published."""
    rates = {
        "request_rate": request_rate,
        "output_token_rate": output,
        "input_token_rate": taken,
        "total_token_rate": output + taken,
    }
    load = dataclasses.replace(GUIDE_LOAD, generation=generation)
    return Run(source=name, format=PUBLISHED, total=8192, failures=0, load=load, rates=rates)


BASELINES: dict[str, Baseline] = {
    "guide-cks-h200": Baseline(
        "32 x H200 over InfiniBand, CoreWeave",
        f"{_GUIDE}, benchmark report 0.2",
        "2026-05-26",
        dataclasses.replace(
            _guide("guide-cks-h200", "0.4", 11.034890199531286, 22124.879416240507, 22586.143753523893),
            latency=_statistics(_CKS_H200_LATENCY),
            lengths=_statistics(_CKS_H200_LENGTHS),
        ),
        _H200,
    ),
    "guide-cks-h200-dp-supervisor": Baseline(
        "32 x H200 over InfiniBand, CoreWeave, data-parallel supervisor",
        f"{_GUIDE}, second revision",
        "2026-06-12",
        _guide("guide-cks-h200-dp-supervisor", None, 14.33, 27853.0, 29329.0),
        _H200,
    ),
    "guide-gke-h200": Baseline(
        "32 x H200 over RoCE, GKE, data-parallel supervisor",
        f"{_GUIDE}, second revision",
        "2026-06-12",
        _guide("guide-gke-h200", None, 12.27, 23246.0, 25106.0),
        _H200,
    ),
    "guide-cks-h200-2026-08": Baseline(
        "32 x H200 over InfiniBand, CoreWeave, data-parallel supervisor, newer load generator",
        "llm-d guide wide-ep, third revision",
        "2026-08",
        _guide("guide-cks-h200-2026-08", None, 12.56, 25176.0, 25122.0),
        _H200,
    ),
    "guide-gke-b200-1k1k": Baseline(
        "32 x B200 over RoCE, GKE, 1k/1k, at most 250 requests/s offered",
        "llm-d README",
        "2026",
        dataclasses.replace(
            _guide("guide-gke-b200-1k1k", None, 50.0, 49783.6, 51218.8),
            load=Load(model=GUIDE_LOAD.model, input_tokens=1000, output_tokens=1000, data_type="random"),
        ),
        _B200,
    ),
}
