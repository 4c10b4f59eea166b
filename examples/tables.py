"""Means with their intervals, Markdown tables and output files of the examples."""

import numpy as np
from matplotlib import pyplot as plt
from scipy.stats import t as student


def interval(values, form):
    """Returns the mean ± the half-width of its 95 % t-interval."""
    text = form.format(np.mean(values))
    if len(values) > 1:
        half = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1)
        half = form.replace("+", "").format(half / np.sqrt(len(values)))
        # No-break spaces keep the two together in a narrow column.
        text += f"\u00a0±\u00a0{half}"
    return text


def over_seeds(title, number):
    """Returns the title of a table's first column, which says if there is one seed."""
    return title if number > 1 else f"{title}, one seed"


def markdown(rows):
    """Returns rows of text, starting with the header, as a Markdown table."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
    lines = (
        [row[0].ljust(widths[0])]
        + [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
        for row in [rows[0], rule, *rows[1:]]
    )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(output, results, **figures):
    """Writes results.md and each figure, named after its keyword, into a folder."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "results.md").write_text(results + "\n", encoding="utf-8")
    for name, figure in figures.items():
        # Without a date and a random salt, the same figure is the same file.
        with plt.rc_context({"svg.hashsalt": name}):
            figure.savefig(output / f"{name}.svg", metadata={"Date": None})
        plt.close(figure)
