"""A report as one HTML file: headings, text, tables, pictures and curves, without scripts and without the network."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2em auto; padding: 0 1em; color: #222; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; margin: 1em 0; } caption { text-align: left; font-weight: 600; padding: .3em 0; }
th, td { padding: .3em .8em; border-bottom: 1px solid #e3e3e3; text-align: right; }
th:first-child, td:first-child { text-align: left; } th { background: #f5f5f5; }
.note { color: #555; font-size: .9em; } img { max-width: 100%; height: auto; } figure { margin: 1.5em 0; }
figcaption { color: #555; font-size: .9em; } svg text { font: 11px system-ui, sans-serif; fill: #444; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole document around parts made by the functions below."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1>{''.join(parts)}</body></html>\n"
    )


def heading(text: str) -> str:
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str, *, note: bool = False) -> str:
    return f'<p class="note">{escape(text)}</p>' if note else f"<p>{escape(text)}</p>"


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(str(c))}</th>" for c in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(c))}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def picture(path: Path, caption: str) -> str:
    """A PNG inside the page itself, so that the report is one file that can be sent."""
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def curve(caption: str, series: Sequence[tuple[str, Sequence[tuple[float, float]]]], *, y_label: str) -> str:
    """Lines over steps as inline SVG; `series` are (name, [(x, y), ...]) with at least one point in all."""
    width, height, left, bottom = 660, 260, 56, 36
    points = [p for _, line in series for p in line]
    x0, x1 = min(x for x, _ in points), max(x for x, _ in points)
    y0, y1 = min(y for _, y in points), max(y for _, y in points)
    x1, y1 = x1 if x1 > x0 else x0 + 1, y1 if y1 > y0 else y0 + 1

    def place(x: float, y: float) -> str:
        px = left + (x - x0) / (x1 - x0) * (width - left - 32)
        py = 12 + (y1 - y) / (y1 - y0) * (height - bottom - 12)
        return f"{px:.1f},{py:.1f}"

    colours = ["#1f6fb4", "#d1495b", "#3a7d44", "#8a5a9e"]
    parts = [f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{escape(caption)}">']
    for tick in range(5):
        y = y0 + (y1 - y0) * tick / 4
        px, py = place(x0, y).split(",")
        parts.append(f'<line x1="{px}" x2="{width - 32}" y1="{py}" y2="{py}" stroke="#e3e3e3"/>')
        parts.append(f'<text x="4" y="{float(py) + 4:.1f}">{y:.2f}</text>')
    for tick in range(5):
        x = x0 + (x1 - x0) * tick / 4
        px = place(x, y0).split(",")[0]
        parts.append(f'<text x="{px}" y="{height - 18}" text-anchor="middle">{x:.0f}</text>')
    for i, (name, line) in enumerate(series):
        colour = colours[i % len(colours)]
        coordinates = " ".join(place(x, y) for x, y in line)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.8" points="{coordinates}"/>')
        parts.append(f'<text x="{left + 8 + 150 * i}" y="{height - 4}" style="fill:{colour}">{escape(name)}</text>')
    parts.append("</svg>")
    return f"<figure>{''.join(parts)}<figcaption>{escape(caption)} ({escape(y_label)} over steps)</figcaption></figure>"
