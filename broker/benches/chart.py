#!/usr/bin/env python3
"""Draws the CPU cost of brokers as an SVG: one panel of bars per row of a CSV file.

    chart.py > docs/pictures/cost.svg

It reads cost.csv next to this script, or the file given as argument. The first two columns name the row of
table.py and the load; the others are brokers, with CPU microseconds per delivery. Each panel has its own linear
scale that starts at zero.
"""

from __future__ import annotations

import csv
import sys
from html import escape
from pathlib import Path

WIDTH, MARGIN, COLUMNS = 860, 20, 2
HEADER, TITLE, BAR, GAP = 46, 30, 18, 7
LABEL, VALUE = 96, 56

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .load { font-weight: 600 }
  .ours { fill: #0a7d55 }
  .other { fill: #8c959f }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .ours { fill: #3fb950 }
    .other { fill: #6e7681 }
  }
"""


def main() -> int:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("cost.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        print(f"chart.py: {path} has no rows", file=sys.stderr)
        return 2
    print(svg(rows))
    return 0


def svg(rows: list[dict[str, str]]) -> str:
    brokers = list(rows[0])[2:]
    panel_width = (WIDTH - MARGIN) // COLUMNS
    panel_height = TITLE + len(brokers) * (BAR + GAP) + MARGIN
    height = HEADER + -(-len(rows) // COLUMNS) * panel_height
    title = "CPU time of the broker per delivery, in microseconds (less is better)"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">',
        f"<style>{STYLE}</style>",
        text(MARGIN, 26, title, "title"),
    ]
    for number, row in enumerate(rows):
        left = MARGIN + number % COLUMNS * panel_width
        top = HEADER + number // COLUMNS * panel_height
        parts += panel(row, brokers, left, top, panel_width - MARGIN)
    return "\n".join([*parts, "</svg>"])


def panel(row: dict[str, str], brokers: list[str], left: int, top: int, width: int) -> list[str]:
    parts = [text(left, top + 16, row["load"], "load")]
    scale = (width - LABEL - VALUE) / max(float(row[broker]) for broker in brokers)
    for number, broker in enumerate(brokers):
        y = top + TITLE + number * (BAR + GAP)
        length = max(float(row[broker]) * scale, 1)
        kind = "other" if number else "ours"
        x = left + LABEL
        parts.append(text(left, y + 13, broker))
        parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>')
        parts.append(text(x + length + 6, y + 13, row[broker]))
    return parts


def text(x: float, y: float, content: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text{attribute} x="{x:.1f}" y="{y:.1f}">{escape(content)}</text>'


if __name__ == "__main__":
    sys.exit(main())
