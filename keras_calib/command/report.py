"""A report of figures, tables and diagrams, as one self-contained HTML file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from keras_calib import viz
from keras_calib.evaluation import Comparison, Evaluation

# Nobody reads a table of more classes.
_MOST_CLASSES = 50

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Calibration of {{ title }}</title>
<style>
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --line: #ccc; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --paper: #161616; --line: #444; }
}
body { color: var(--ink); background: var(--paper); font: 16px/1.5 sans-serif;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: left;
  white-space: nowrap; }
figure { margin: 1rem 0; overflow-x: auto; }
figure svg { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
/* A picture that is scaled to a narrow screen is illegible. */
@media (max-width: 40rem) { figure svg { max-width: none; } }
.failed { border-left: 4px solid #d55e00; padding-left: .8rem; }
footer { margin-top: 3rem; color: #888; font-size: .85rem; }
</style>
</head>
<body>
<h1>Calibration of {{ title }}</h1>
{% if failures %}
<div class="failed"><strong>Failed</strong>
{% for failure in failures %}<div>{{ failure }}</div>{% endfor %}</div>
{% endif %}
{% for picture in pictures %}
<figure>{{ picture }}</figure>
{% endfor %}
{% for heading, table in tables %}
<h2>{{ heading }}</h2>
<div class="wide">{{ table }}</div>
{% endfor %}
<footer>Made by keras_calib</footer>
</body>
</html>
"""


def html_report(
    title: str,
    found: Evaluation,
    comparison: Comparison | None = None,
    failures: tuple[str, ...] = (),
    classes: Sequence[str] = (),
) -> str:
    """Returns a page with the figures, the diagrams and the tables.

    Args:
        title: what was measured.
        found: its figures.
        comparison: its figures next to those of another model.
        failures: the thresholds that the figures break.
        classes: the names of the classes or labels.
    """
    from jinja2 import Environment
    from markupsafe import Markup

    drawn: Any = found if comparison is None else comparison.evaluations
    of = "" if comparison is None else f" of {comparison.names[0]}"
    tables = [(f"Figures{of}", found.html_table())]
    if comparison is not None:
        tables.insert(0, ("Comparison", comparison._repr_html_()))
    if found.slices is not None:
        tables.append((f"Slices{of}", found.slices._repr_html_()))
    if 1 < len(found.per_class) <= _MOST_CLASSES:
        heading = "Labels" if found.num_labels else "Classes"
        tables.append((heading + of, found.html_table_of_classes(classes)))
    tables.append((f"Bins{of}", found.statistics._repr_html_()))
    template = Environment(autoescape=True).from_string(_TEMPLATE)
    page: str = template.render(
        title=title,
        failures=failures,
        pictures=[
            Markup(_svg(display))
            for display in (viz.reliability_diagram(drawn), viz.risk_coverage(drawn))
        ],
        tables=[(heading, Markup(table)) for heading, table in tables],
    )
    return page


def _svg(display: viz.ReliabilityDisplay | viz.RiskCoverageDisplay) -> str:
    """Returns a figure as an element of a page."""
    from matplotlib import pyplot

    buffer = io.StringIO()
    display.figure_.savefig(buffer, format="svg", metadata={"Date": None})
    pyplot.close(display.figure_)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
