# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A matrix as a page of its own: a heat map in SVG, nothing loaded from elsewhere. Private to the collection."""

from __future__ import annotations

import html
import typing as t
from collections import Counter

from ansible_collections.llmd.wide_ep.plugins.module_utils._mesh_matrix import CODES, Matrix, bit_count

#: Beyond this, cells are blocks of NICs and show the most frequent code that is not OK.
MOST_CELLS = 256
SIDE = 14
COLORS = {
    "NOT_MEASURED": "#e4e4e7",
    "OK": "#2a9d5c",
    "SLOW": "#e9c46a",
    "NO_ACK": "#f4a261",
    "NO_DELIVERY": "#c1121f",
    "AH_FAIL": "#7b2cbf",
    "RTR_FAIL": "#9d4edd",
    "RTS_FAIL": "#c77dff",
    "RETRY_EXC": "#d62828",
    "RNR": "#3a86ff",
    "LOC_PROT": "#8d5524",
    "WRONG_PEER": "#ff006e",
    "CORRUPT": "#000000",
    "SMALL_OK_MTU_FAIL": "#fb8500",
    "OTHER": "#6c757d",
}
SAME_HOST = "#fafafa"
STYLE = (
    "body{font:14px/1.5 system-ui,sans-serif;margin:2rem;color:#18181b}table{border-collapse:collapse}"
    "td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}svg text{font:9px system-ui,sans-serif}"
    ".sw{display:inline-block;width:.9em;height:.9em;margin:0 .3em 0 1em;vertical-align:-.1em}"
    ".error{color:#b91c1c}.warning{color:#b45309}h1{margin-bottom:0}"
)


def page(matrix: Matrix, summary: t.Mapping[str, t.Any], title: str) -> str:
    """The whole page; ``summary`` is the module's result."""
    head = f"{summary['verdict']} ({summary['basis']})"
    qualifiers = ", ".join(summary["qualifiers"]) or "none"
    coverage = summary["coverage"]
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title><style>{STYLE}</style></head><body>',
        f"<h1>{_text(head)}</h1><p>{_text(title)}. Qualifiers: {_text(qualifiers)}. "
        f"{coverage['directed_pairs_tested']:,} of {coverage['total']:,} directed pairs tested.</p>",
        _findings(summary["findings"]),
        _usable(summary["usable_by"]),
        "<h2>Senders down, receivers across</h2>",
        _legend(matrix),
        svg(matrix),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _text(value: t.Any) -> str:
    return html.escape(str(value))


def _findings(findings: t.Sequence[t.Mapping[str, str]]) -> str:
    rows = "".join(
        f'<tr><td class="{_text(found["severity"])}">{_text(found["code"])}</td><td>{_text(found["subject"])}</td>'
        f"<td>{_text(found['evidence'])}<br>{_text(found['fix'])}</td></tr>"
        for found in findings
    )
    return f"<h2>Findings</h2><table>{rows}</table>" if rows else "<h2>Findings</h2><p>None.</p>"


def _usable(table: t.Mapping[str, t.Mapping[str, str]]) -> str:
    rows = "".join(
        f"<tr><td>{_text(name)}</td><td>{_text(entry['state'])}</td><td>{_text(entry['needs'])}</td></tr>"
        for name, entry in table.items()
    )
    return f"<h2>Usable by</h2><table><tr><th>backend</th><th>state</th><th>needs</th></tr>{rows}</table>"


def _legend(matrix: Matrix) -> str:
    used = [code for code in CODES if code in matrix.planes] + [CODES[0]]
    swatches = "".join(f'<span class="sw" style="background:{COLORS[code]}"></span>{code}' for code in used)
    return f"<p>{swatches}</p>"


def svg(matrix: Matrix) -> str:
    """One path per color: runs of equal cells are one rectangle each."""
    block = max(1, -(-matrix.size // MOST_CELLS))
    count = -(-matrix.size // block)
    paths: dict[str, list[str]] = {}
    for row, colors in enumerate(_rows(matrix, block, count)):
        start = 0
        for column in range(1, count + 1):
            if column == count or colors[column] != colors[start]:
                paths.setdefault(colors[start], []).append(
                    f"M{start * SIDE} {row * SIDE}h{(column - start) * SIDE}v{SIDE}H{start * SIDE}z"
                )
                start = column
    drawn = "".join(f'<path fill="{color}" d="{"".join(parts)}"/>' for color, parts in paths.items())
    labels, left = _labels(matrix, block, count)
    size = count * SIDE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-left} -4 {size + left + 4} {size + 8}" '
        f'width="{min(1600, size + left)}" role="img" aria-label="heat map">{drawn}{_lines(matrix, block, size)}'
        f"{labels}</svg>"
    )


def _rows(matrix: Matrix, block: int, count: int) -> t.Iterator[list[str]]:
    wanted, small = matrix.wanted(), (1 << block) - 1
    planes = [*matrix.planes.items(), ("", wanted)]
    for row in range(count):
        sources = range(row * block, min(matrix.size, (row + 1) * block))
        # Shifted step by step: whole rows are long numbers, and each step looks at a block of theirs.
        rest = {code: [rows[source] for source in sources if rows[source]] for code, rows in planes}
        colors = []
        for _column in range(count):
            found = Counter(
                {code: sum(bit_count(bits & small) for bits in rows) for code, rows in rest.items() if rows}
            )
            rest = {code: [bits >> block for bits in rows] for code, rows in rest.items() if rows}
            total = found.pop("", 0)
            colors.append(COLORS[_shown(found, total)] if total else SAME_HOST)
        yield colors


def _shown(found: Counter[str], total: int) -> str:
    """The code of a cell: of a block, the most frequent one that is not OK."""
    faults = [(number, code) for code, number in found.items() if number and code != "OK"]
    if faults:
        return max(faults)[1]
    return "OK" if found["OK"] and found["OK"] == total else "NOT_MEASURED" if not found["OK"] else "OK"


def _labels(matrix: Matrix, block: int, count: int) -> tuple[str, int]:
    if block > 1:
        return "", 4
    names = [matrix.label(position) for position in range(count)]
    parts = [
        f'<text x="-4" y="{row * SIDE + SIDE - 4}" text-anchor="end">{_text(name)}</text>'
        for row, name in enumerate(names)
    ]
    return "".join(parts), 8 + 6 * max(map(len, names), default=0)


def _lines(matrix: Matrix, block: int, size: int) -> str:
    """Between hosts."""
    if block > 1:
        return ""
    edges = [at for at in range(1, matrix.size) if matrix.nics[at].host != matrix.nics[at - 1].host]
    drawn = "".join(f"M{edge * SIDE} 0V{size}M0 {edge * SIDE}H{size}" for edge in edges)
    return f'<path d="{drawn}" stroke="#18181b" stroke-width="1" fill="none"/>' if drawn else ""
