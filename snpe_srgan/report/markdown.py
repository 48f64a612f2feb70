"""Tables as Markdown, for `report.md` and for docs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from snpe_srgan.streams import printable


def plain(text: str) -> str:
    """Text of any origin as Markdown that shows it: no HTML element, no line end of its own."""
    return escape(printable(text), quote=False)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    lines = [_row(header), "|" + "|".join([" --- "] + [" ---: "] * (len(header) - 1)) + "|"]
    return "\n".join([*lines, *(_row(row) for row in rows)])


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(plain(str(cell)).replace("|", "\\|") for cell in cells) + " |"
