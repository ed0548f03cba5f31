# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a benchmark in headless Chromium: light and dark, wide and narrow.

``LLMD_WIDE_EP_CHROMIUM`` names the program where ``chromium`` is not on the path. With
``LLMD_WIDE_EP_SCREENSHOTS`` each case leaves its picture in that folder.
"""

from __future__ import annotations

import functools
import html
import json
import os
import re
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.llmd.wide_ep.plugins.module_utils._benchmark_judge import Request, judge
from ansible_collections.llmd.wide_ep.plugins.plugin_utils._benchmark_page import page

DATA = Path(__file__).parents[2] / "data" / "benchmark"
CHROMIUM = os.environ.get("LLMD_WIDE_EP_CHROMIUM") or shutil.which("chromium")
SCREENSHOTS = os.environ.get("LLMD_WIDE_EP_SCREENSHOTS")
#: Value of Blink's setting for the preferred color scheme.
SCHEMES = {"dark": 0, "light": 1}
#: What WCAG asks of text.
CONTRAST = 4.5
HEIGHT = 3000

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no chromium; apt-get install chromium")

#: Opens the page in a frame of the given width and writes down how it came out. The page itself has no script.
PROBE = """<!doctype html><body style="margin:0">
<iframe id="frame" style="border:0;width:%(width)dpx;height:%(height)dpx"></iframe><script>
const frame = document.getElementById("frame");
const channels = (color) => color.match(/[\\d.]+/g).slice(0, 3).map(Number);
const light = (color) => channels(color).map((value) => value / 255)
  .map((value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
  .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
const contrast = (one, other) => {
  const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
};
frame.onload = () => {
  const inside = frame.contentDocument, view = frame.contentWindow, style = (e) => view.getComputedStyle(e);
  const card = style(inside.querySelector(".card")).backgroundColor;
  const texts = [...inside.querySelectorAll("p, td, th, small, strong, .tile span, b, svg text")];
  const color = (e) => e.tagName === "text" ? style(e).fill : style(e).color;
  const drawn = [...inside.querySelectorAll("svg text")].map((e) => e.getBoundingClientRect().height);
  const found = {
    page: style(inside.body).backgroundColor,
    overflow: inside.documentElement.scrollWidth - %(width)d,
    contrast: Math.min(...texts.filter((e) => e.closest(".card")).map((e) => contrast(color(e), card))),
    charts: inside.querySelectorAll("svg").length,
    letters: drawn.length ? Math.min(...drawn) : 0,
    requests: view.performance.getEntriesByType("resource").length,
  };
  document.body.innerHTML = "<pre>" + JSON.stringify(found) + "</pre>";
};
frame.srcdoc = %(page)s;
</script></body>"""

CASES: dict[str, Request] = {
    "guide": Request(
        (DATA / "guide-cks-h200.report-v0.2.yaml",) * 3,
        title="The guide's report against a later revision",
        topology={"prefill_gpus": 16, "decode_gpus": 16, "gpu": "NVIDIA-H200"},
        slo={"ttft": 26, "tpot": 0.1},
        baseline="guide-cks-h200-dp-supervisor",
    ),
    "rehearsal": Request(
        (DATA / "inference-perf-0.7.0",),
        title="Rehearsal",
        topology={"prefill_gpus": 16, "decode_gpus": 16},
        base=(DATA / "inference-perf-0.7.0-nonstreaming",),
        allow_differences=("streaming",),
        ranks=tuple(
            {"role": "decode", "pod": "wide-ep-lws-nvidia-gpu-vllm-decode-0", "rank": rank, "requests": 4 + rank % 3}
            for rank in range(8)
        ),
    ),
    "failed": Request((DATA / "inference-perf-0.7.0-all-failed",), title="Every request failed"),
}


@functools.cache
def drawn(case: str) -> str:
    return page(judge(CASES[case]).outcome)


def chromium(folder: Path, scheme: str, *arguments: str) -> str:
    command = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={folder / 'profile'}", f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}"]
    return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True, timeout=120).stdout


def shown(folder: Path, case: str, scheme: str, width: int) -> dict[str, t.Any]:
    """How the page came out in a window of that width."""
    text = json.dumps(drawn(case)).replace("</", "<\\/")
    (folder / "probe.html").write_text(PROBE % {"width": width, "height": HEIGHT, "page": text}, encoding="utf-8")
    size = f"--window-size={max(width, 600)},{HEIGHT}"
    url = (folder / "probe.html").as_uri()
    dom = chromium(folder, scheme, size, "--virtual-time-budget=5000", "--dump-dom", url)
    (found,) = re.findall(r"<pre>(.*?)</pre>", dom, re.DOTALL)
    if SCREENSHOTS:
        (folder / "report.html").write_text(drawn(case), encoding="utf-8")
        picture = Path(SCREENSHOTS).resolve() / f"benchmark-{case}-{scheme}-{width}.png"
        frame = f'<body style="margin:0"><iframe src="report.html" style="border:0;width:{width}px;height:{HEIGHT}px">'
        (folder / "frame.html").write_text(frame, encoding="utf-8")
        chromium(folder, scheme, size, f"--screenshot={picture}", (folder / "frame.html").as_uri())
    return t.cast(dict[str, t.Any], json.loads(html.unescape(found)))


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("case", CASES)
def test_the_page_can_be_read(tmp_path: Path, case: str, scheme: str, width: int) -> None:
    found = shown(tmp_path, case, scheme, width)
    assert found["page"] == {"light": "rgb(246, 247, 249)", "dark": "rgb(17, 20, 26)"}[scheme]
    assert found["overflow"] <= 0
    assert found["contrast"] >= CONTRAST
    assert found["requests"] == 0
    assert found["charts"] == {"guide": 5, "rehearsal": 6, "failed": 0}[case]
    assert found["charts"] == 0 or found["letters"] >= 8
