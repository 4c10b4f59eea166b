"""Small tables of numbers, as text and as HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table whose columns are aligned to the right."""
    table = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table without style, for notebooks; a row of one cell is a heading."""

    def line(cells: Sequence[str], tag: str) -> str:
        if len(cells) == 1 < len(header):
            return f'<tr><th colspan="{len(header)}">{html.escape(cells[0])}</th></tr>'
        row = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
        return f"<tr>{row}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table>{line(header, 'th')}{body}</table>"
