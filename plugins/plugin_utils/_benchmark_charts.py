# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts of a benchmark as inline SVG. Private to the collection; it may change at any time.

Matplotlib draws with stand-in colors that become CSS variables of the page, so that one drawing serves light and dark.
Text stays text. There is no script: CI systems show artifacts under a policy that forbids it, and paper has none.
"""

from __future__ import annotations

import io
import re
import traceback
import typing as t

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_compare import Comparison, Row
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_requests import Histogram, Requests
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import (
    E2E,
    ITL,
    LATENCIES,
    QUANTILES,
    TPOT,
    TTFT,
    Run,
    Statistics,
)

try:
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
except ImportError:
    HAS_MATPLOTLIB = False
    MATPLOTLIB_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    HAS_MATPLOTLIB = True
    MATPLOTLIB_IMPORT_ERROR = None

#: CSS variable of the page -> the color that stands for it in the drawing.
COLORS = {
    "ink": "#010101",
    "muted": "#020202",
    "line": "#030303",
    "now": "#040404",
    "base": "#050505",
}
STYLE: dict[t.Any, t.Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": COLORS["line"],
    "axes.labelcolor": COLORS["muted"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": COLORS["line"],
    "grid.linewidth": 0.6,
    "text.color": COLORS["ink"],
    "xtick.color": COLORS["muted"],
    "ytick.color": COLORS["muted"],
    "legend.frameon": False,
}
SIZE = (4.4, 2.6)
TITLES = {
    TTFT: "Time to first token",
    TPOT: "Time per output token (TPOT)",
    ITL: "Inter-token latency (ITL)",
    E2E: "Request, end to end",
}
#: Beyond this ratio of extremes a linear axis shows one column.
WIDE = 50.0
POINTS = 400


def svg(name: str, label: str, figure: t.Any) -> str:
    """The figure as an element of the page, with ids of its own."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(
        r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{label}">', text, count=1
    )
    text = text.replace("xlink:href", "href")
    for variable, color in COLORS.items():
        text = text.replace(color, f"var(--{variable})")
    return text


def charts(
    run: Run, base: Run | None, base_label: str, requests: Requests | None, comparison: Comparison | None
) -> dict[str, list[str]]:
    """Section of the page -> its charts."""
    if not HAS_MATPLOTLIB:
        return {}
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "benchmark"}):
        drawn = {
            "latency": [
                latency_chart(name, run.latency[name], (base.latency.get(name) if base else None), base_label, requests)
                for name in TITLES
                if name in run.latency
            ],
            "load": [in_flight_chart(requests, run.load.concurrency)] if requests and requests.started else [],
            "comparison": [comparison_chart(comparison.rows)] if comparison and comparison.rows else [],
        }
    return {section: shown for section, shown in drawn.items() if shown}


def _axes(height: float = SIZE[1], left: float = 0.5) -> tuple[t.Any, t.Any]:
    """Axes with room in inches for their labels. Matplotlib's own layout takes most of the time of a page."""
    figure = Figure(figsize=(SIZE[0], height))
    width = SIZE[0] - left - 0.15
    return figure, figure.add_axes((left / SIZE[0], 0.45 / height, width / SIZE[0], (height - 0.75) / height))


def scale(name: str, values: t.Sequence[float]) -> tuple[float, str]:
    """Factor and unit in which most values have few digits."""
    per = "/token" if LATENCIES[name].endswith("/token") else ""
    middle = sorted(values)[len(values) // 2] if values else 1.0
    return (1.0, f"s{per}") if middle >= 1 else (1e3, f"ms{per}")


def curve(statistics: Statistics, histogram: Histogram | None) -> tuple[list[float], list[float]]:
    """Values and the share of requests at or below each: all of them where known, else the percentiles."""
    if histogram is None or not histogram.count:
        known = [(statistics[name], share) for name, share in QUANTILES.items() if name in statistics]
        return [value for value, _share in known], [share for _value, share in known]
    points, total, seen = histogram.points(), histogram.count, 0
    step = max(1, len(points) // POINTS)
    values, shares = [histogram.least], [0.0]
    for index, (value, number) in enumerate(points):
        seen += number
        if index % step == 0 or index == len(points) - 1:
            values.append(min(max(value, histogram.least), histogram.most))
            shares.append(seen / total)
    return values, shares


def latency_chart(
    name: str, statistics: Statistics, base: Statistics | None, base_label: str, requests: Requests | None
) -> str:
    """Share of requests at or below each time, of this run and of what it is compared with."""
    values, shares = curve(statistics, requests.latency.get(name) if requests else None)
    figure, axes = _axes()
    factor, unit = scale(name, values)
    positive, floor = [value for value in values if value > 0], 0.0
    if positive and max(positive) > WIDE * min(positive):
        axes.set_xscale("log")
        floor = min(positive)

    def draw(points: tuple[list[float], list[float]], **how: t.Any) -> None:
        axes.plot([max(value, floor) * factor for value in points[0]], points[1], **how)

    if base:
        draw(curve(base, None), linestyle="--", color=COLORS["base"], linewidth=1.3, label=base_label)
    marker = "." if len(values) <= len(QUANTILES) else ""
    draw((values, shares), marker=marker, color=COLORS["now"], linewidth=1.8, label="this run")
    axes.set_title(TITLES[name], loc="left", fontsize=10)
    axes.set_xlabel(unit)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:,.4g}"))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(0, 1.02)
    if base:
        axes.legend(fontsize=8, loc="lower right")
    half = statistics.get("p50")
    middle = f"; median {half * factor:.4g} {unit}" if half is not None else ""
    label = f"{TITLES[name]}: share of {'tokens' if name == ITL else 'requests'} at or below a time{middle}"
    return svg(name.replace("_", ""), label, figure)


def in_flight_chart(requests: Requests, concurrency: float | None) -> str:
    points = requests.in_flight()
    figure, axes = _axes()
    axes.fill_between(
        [second for second, _count in points],
        [count for _second, count in points],
        step="mid",
        color=COLORS["now"],
        alpha=0.35,
    )
    axes.step(
        [second for second, _count in points],
        [count for _second, count in points],
        where="mid",
        color=COLORS["now"],
        linewidth=1.4,
    )
    if concurrency:
        axes.axhline(concurrency, linestyle="--", color=COLORS["base"], linewidth=1.2)
    axes.set_title("Requests in flight", loc="left", fontsize=10)
    axes.set_xlabel("s since the first request")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return svg("inflight", "Requests in flight over time", figure)


def comparison_chart(rows: t.Sequence[Row]) -> str:
    """Change of each metric with its interval."""
    figure, axes = _axes(1.05 + 0.32 * len(rows), left=1.1)
    for position, row in enumerate(reversed(rows)):
        color = COLORS["now"] if row.gates else COLORS["muted"]
        axes.plot(
            [row.low, row.high], [position, position], color=color, linewidth=2.5, solid_capstyle="round", alpha=0.5
        )
        axes.plot([row.change], [position], "o", color=color, markersize=5)
    axes.axvline(0, color=COLORS["ink"], linewidth=0.9)
    axes.set_yticks(range(len(rows)), [row.label for row in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(axis="y", visible=False)
    axes.set_title("Change and its 95 % interval", loc="left", fontsize=10)
    return svg("change", "Change of each metric against the base with its interval", figure)
