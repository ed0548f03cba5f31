# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import html.parser
import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_baselines import BASELINES
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_compare import Comparison
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_derive import Topology, derive
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_folder import read
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_outcome import Outcome
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_requests import Histogram, Requests
from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_run import E2E, ITL, TPOT, TTFT, Run
from ansible_collections.llmd.wide_ep.plugins.module_utils._finding import Finding
from ansible_collections.llmd.wide_ep.plugins.plugin_utils import _benchmark_charts as charts
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._benchmark_page import (
    missing_package,
    page,
    rank_bars,
    rank_label,
)

DATA = Path(__file__).parents[3] / "data" / "benchmark"
TOPOLOGY = Topology(16, 16, 32, 16, "NVIDIA-H200")
VOID = {"meta", "br", "use", "path", "rect", "line", "circle", "img", "link"}
needs_matplotlib = pytest.mark.skipif(not charts.HAS_MATPLOTLIB, reason="charts are drawn by matplotlib")


class Checker(html.parser.HTMLParser):
    """Nesting of the elements, what the page refers to, its ids and its words."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.scripts += tag == "script"
        for name, value in attrs:
            if name in ("src", "href", "xlink:href"):
                self.references.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def guide() -> Run:
    run = read(DATA / "guide-cks-h200.report-v0.2.yaml").run
    assert run is not None
    return run


def outcome(**changes: t.Any) -> Outcome:
    run = guide()
    values: dict[str, t.Any] = {"topology": TOPOLOGY, "figures": tuple(derive(run, TOPOLOGY)), **changes}
    return Outcome("Guide", run, (), **values)


def checked(shown: Outcome) -> Checker:
    checker = Checker()
    checker.feed(page(shown))
    checker.close()
    assert checker.open == []
    return checker


def requests() -> Requests:
    histogram = Histogram()
    histogram.add([0.05, 0.06, 0.07])
    latency = dict.fromkeys((TTFT, TPOT, E2E, ITL), histogram)
    found = Requests(total=3, intervals=3, latency=latency)
    found.started.update([0, 0, 1])
    found.ended.update([2, 2, 3])
    return found


def test_the_page_needs_no_network_and_no_script() -> None:
    checker = checked(outcome(requests=requests(), base_run=BASELINES["guide-cks-h200"].run, base_label="base"))
    assert all(reference.startswith("#") for reference in checker.references)
    assert checker.scripts == 0
    text = page(outcome())
    assert "default-src 'none'" in text
    assert re.findall(r"url\((?!#)", text) == []
    assert [address for address in re.findall(r"https?://[^\s\"'<]+", text) if "www.w3.org" not in address] == []


def test_the_page_says_first_what_a_reader_looks_for() -> None:
    words = " ".join(" ".join(checked(outcome()).words).split())
    assert words.index("valid") < words.index("TPSG, per decode GPU") < words.index("Latency") < words.index("Findings")
    for text in ("1,383", "691.4", "32 GPUs (NVIDIA-H200): 16 prefill, 16 decode in 16 ranks", "2048 at once"):
        assert text in words


@needs_matplotlib
def test_colors_follow_the_page_and_ids_are_unique() -> None:
    shown = outcome(requests=requests(), base_run=BASELINES["guide-cks-h200"].run, base_label="base")
    text = page(shown)
    assert not re.search(r"#0[1-9]0[1-9]0[1-9]", text)
    assert "var(--now)" in text
    ids = checked(shown).ids
    assert len(ids) == len(set(ids))
    assert len(re.findall(r'<svg viewBox="[^"]+" role="img" aria-label="[^"]+">', text)) == text.count("<svg") == 5
    assert len(text) < 400_000


@needs_matplotlib
def test_the_same_outcome_gives_the_same_page() -> None:
    assert page(outcome(requests=requests())) == page(outcome(requests=requests()))


def test_evidence_is_text_and_no_markup() -> None:
    finding = Finding("BENCHMARK_ALL_FAILED", "error", "x", "<script>alert(1)</script>", "fix")
    text = page(Outcome("<b>Title</b>", guide(), (finding,), base_label="<i>"))
    assert "<script>" not in text
    assert "<b>Title</b>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_without_a_result_the_page_says_why() -> None:
    finding = Finding("BENCHMARK_NO_RESULT", "error", "folder", "it holds nothing", "fix")
    words = " ".join(checked(Outcome("Guide", None, (finding,))).words)
    assert "invalid" in words
    assert "it holds nothing" in words
    assert "Latency" not in words


@pytest.mark.parametrize(("verdict", "tone"), [("worse", "bad"), ("same", "good"), ("not comparable", "warn")])
def test_the_verdict_has_its_color(verdict: t.Any, tone: str) -> None:
    assert f'class="card verdict {tone}"' in page(outcome(comparison=Comparison(verdict, "why", 0.97, (), ())))


def test_ranks_have_bars_and_a_spread() -> None:
    rows = tuple(
        {"role": "decode", "pod": "wide-ep-lws-nvidia-gpu-vllm-decode-0-1", "rank": rank, "requests": count}
        for rank, count in enumerate((30, 10))
    )
    bars, spread = rank_bars(outcome(ranks=rows))
    assert [(one["label"], one["percent"], one["requests"]) for one in bars] == [
        ("decode-0-1, 0", 100.0, "30"),
        ("decode-0-1, 1", 33.3, "10"),
    ]
    assert bars[0]["title"] == "decode wide-ep-lws-nvidia-gpu-vllm-decode-0-1 0"
    assert "1.50 times the mean of 20.0" in spread
    assert rank_bars(outcome()) == ([], "")


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ({"role": "prefill", "pod": "x-vllm-prefill-0", "rank": "8000"}, "prefill-0, 8000"),
        ({"role": "decode", "pod": "d-0", "rank": 0}, "decode d-0, 0"),
        ({"pod": "d-0"}, "d-0"),
    ],
)
def test_the_label_of_a_rank_begins_with_what_tells_it_apart(row: dict[str, t.Any], label: str) -> None:
    assert rank_label(row) == label


def test_an_image_is_shown_with_the_head_of_its_digest() -> None:
    entry = {"label": "vllm-decode", "tool": "vllm", "tool_version": f"r/v:1@sha256:{'ab' * 32}", "gpus": 16, "dp": 16}
    text = page(outcome(stack=(entry,)))
    assert "r/v:1@sha256:abababababab<" in text
    assert "dp 16" in text


def test_without_matplotlib_the_page_has_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "HAS_MATPLOTLIB", False)
    text = page(outcome())
    assert "<svg" not in text
    assert "86.97 s" in text


def test_the_missing_package_is_a_finding() -> None:
    assert (missing_package() is None) == charts.HAS_MATPLOTLIB
