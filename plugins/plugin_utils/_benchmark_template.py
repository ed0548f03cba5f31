# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a benchmark. Private to the collection; it may change at any time."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #14181f; --muted: #576071; --line: #dfe3e9;
  --now: #1f5fd0; --base: #b3530c; --good: #0b7a45; --bad: #b3202c; --warn: #8a5a00; }
@media (prefers-color-scheme: dark) {
  :root { --page: #11141a; --card: #1a1f28; --ink: #e8ebf0; --muted: #9aa5b6; --line: #313947;
    --now: #7fb0ff; --base: #ffb074; --good: #5fd39a; --bad: #ff8b93; --warn: #f0c264; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1.25rem; }
h1 { font-size: 1.35rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 2rem 0 .6rem; overflow-wrap: anywhere; }
p { margin: .25rem 0; overflow-wrap: anywhere; }
.muted { color: var(--muted); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .9rem 1rem; }
.card + .card { margin-top: .6rem; }
.verdict { border-left: .4rem solid var(--tone); margin: 1rem 0; }
.verdict b { color: var(--tone); font-size: 1.15rem; }
.verdict b, .finding b { display: inline-block; }
.verdict b::first-letter, .finding b::first-letter { text-transform: uppercase; }
.good { --tone: var(--good); }
.bad { --tone: var(--bad); }
.warn { --tone: var(--warn); }
.plain { --tone: var(--muted); }
.grid { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--least)), 1fr)); }
.grid > .card { margin: 0; }
.grid + .card { margin-top: .8rem; }
.tiles { --least: 10.5rem; }
.charts { --least: 24rem; }
.tile span { color: var(--muted); font-size: .8rem; display: block; }
.tile strong { font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.tile small { color: var(--muted); }
svg { display: block; width: 100%; height: auto; }
svg text { font-family: system-ui, sans-serif !important; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
th { color: var(--muted); font-weight: 600; font-size: .8rem; }
.stack td:nth-child(3), .facts td:nth-child(2) { overflow-wrap: anywhere; }
td.number, th.number { text-align: right; white-space: nowrap; }
code { font: .85em ui-monospace, monospace; overflow-wrap: anywhere; }
.finding { border-left: .3rem solid var(--tone); }
.finding b { color: var(--tone); }
.bar { display: grid; grid-template-columns: minmax(6rem, 12rem) 1fr 4rem; gap: .6rem; align-items: center; }
.bar { margin: .2rem 0; }
.bar i { display: block; height: .8rem; border-radius: .2rem; background: var(--now); }
.bar span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.bar em { font-style: normal; text-align: right; }
@media (max-width: 34rem) {
  main { padding: .8rem; }
  .tiles { --least: 8.5rem; }
  .tile strong { font-size: 1.1rem; }
  .card { padding: .7rem; }
  th, td { padding: .35rem .2rem; font-size: .75rem; }
  td.number, th.number { padding: .35rem .15rem; font-size: .68rem; }
  .stack td:nth-child(3) { min-width: 13rem; }
  .how tr { display: grid; grid-template-columns: 1fr auto; border-bottom: 1px solid var(--line); }
  .how thead { display: none; }
  .how td { border: 0; }
  .how td:nth-child(3) { grid-column: 1 / -1; color: var(--muted); padding-top: 0; }
  .bar { grid-template-columns: 1fr 3rem; }
  .bar span { grid-column: 1 / -1; }
}
@media print { body { background: #fff; } .card { break-inside: avoid; } }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{ outcome.title }}</title>
<style>{{ style }}</style>
</head>
<body><main>
{% macro table(head, rows, numbers, kind="") %}
<div class="scroll card"><table{% if kind %} class="{{ kind }}"{% endif %}>
{% if head | select | list %}<thead><tr>
{% for cell in head %}<th{% if loop.index0 in numbers %} class="number"{% endif %}>{{ cell }}</th>
{% endfor %}</tr></thead>{% endif %}
<tbody>
{% for row in rows %}<tr>
{% for cell in row %}<td{% if loop.index0 in numbers %} class="number"{% endif %}>{{ cell }}</td>
{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{% endmacro %}
{% macro drawn(shown) %}
{% if shown %}<div class="grid charts">
{% for chart in shown %}<div class="card">{{ chart }}</div>
{% endfor %}</div>{% endif %}
{% endmacro %}
<h1>{{ outcome.title }}</h1>
{% if load %}<p class="muted">{{ load }}</p>{% endif %}
{% if hardware %}<p class="muted">{{ hardware }}</p>{% endif %}
<div class="card verdict {{ tone }}"><b>{{ outcome.verdict }}</b>
{% if outcome.confidence is not none %}
<span class="muted">confidence {{ confidence }}</span>
{% endif %}<p>{{ outcome.reason }}</p></div>
{% if tiles %}<div class="grid tiles">
{% for tile in tiles %}
<div class="card tile"><span>{{ tile.label }}</span><strong>{{ tile.value }}</strong> <small>{{ tile.unit }}</small>
</div>
{% endfor %}</div>{% endif %}
{% if comparison_rows %}<h2>Compared with {{ outcome.base_label }}</h2>
{{ drawn(charts.comparison) }}
{{ table(["", outcome.base_label, "now", "change", "interval", "verdict"], comparison_rows, [1, 2, 3, 4]) }}
{% endif %}
{% if latency_rows %}<h2>Latency</h2>
{{ drawn(charts.latency) }}
{{ table([""] + columns, latency_rows, [1, 2, 3, 4, 5]) }}
{% endif %}
{% if figure_rows %}<h2>Throughput and balance</h2>
{{ drawn(charts.load) }}
{{ table(["", "", "how"], figure_rows, [1], "how") }}
{% endif %}
{% if ranks %}<h2>Requests per rank</h2><div class="card">
{% for rank in ranks %}<div class="bar">
<span title="{{ rank.title }}">{{ rank.label }}</span>
<div><i style="width: {{ rank.percent }}%"></i></div><em>{{ rank.requests }}</em></div>
{% endfor %}<p class="muted">{{ spread }}</p></div>{% endif %}
<h2>Findings</h2>
{% for finding in findings %}
<div class="card finding {{ finding.tone }}"><b>{{ finding.severity }}</b> <code>{{ finding.code }}</code>
<p>{{ finding.subject }}: {{ finding.evidence }}</p><p class="muted">{{ finding.fix }}</p></div>
{% else %}<p class="card">None.</p>
{% endfor %}
{% if stack_rows or run_rows %}<h2>What ran on what</h2>
{% if stack_rows %}
{{ table(["part", "tool", "release", "role", "GPUs", "parallelism"], stack_rows, [4], "stack") }}{% endif %}
{{ table(["", ""], run_rows, [], "facts") }}{% endif %}
</main></body></html>
"""
