"""A model has one color, in all figures of the pages."""

import re
from pathlib import Path

import pytest
from matplotlib.colors import to_hex

from examples.styles import STYLES, style

DOCS = Path(__file__).parents[2] / "docs"
FIGURES = [path for path in DOCS.rglob("*.svg") if "_build" not in path.parts]


def known(names):
    """Returns those of the names that are of a model with a style."""
    return [name for name in names if name in STYLES or name.endswith(", matched")]


def in_legend(text):
    """Yields the names of the models in a legend, each with its style."""
    legend = text.partition('<g id="legend_1">')[2]
    parts = re.split("<!-- (.+?) -->", legend)
    for before, name in zip(parts[::2], parts[1::2], strict=False):
        for found in known([name]):
            yield found, re.findall('style="([^"]+)"', before)[-1]


def in_histograms(text):
    """Yields the names of the models above diagrams, each with a histogram's style."""
    axes = re.split(r'<g id="axes_\d+">', text)[1:]
    for above, below in zip(
        axes[: len(axes) // 2], axes[len(axes) // 2 :], strict=False
    ):
        titles = re.findall("<!-- (.+?) -->", above)
        names = [re.sub(", (before|after)$", "", title) for title in titles]
        bars = re.findall('style="([^"]*stroke: #ffffff[^"]*)"', below)
        for found in known(names) if bars else ():
            yield found, bars[0]


def color_of(found):
    """Returns the color in the style of a line or a bar; SVG fills are black."""
    bar = "stroke: #ffffff" in found
    match = re.search(rf"{'fill' if bar else 'stroke'}: (#\w+)", found)
    return match[1] if match else "#000000"


def shown():
    """Returns the name and the color of each model in each figure."""
    found = {}
    for path in FIGURES:
        text = path.read_text(encoding="utf-8")
        models = [*in_legend(text), *in_histograms(text)]
        if models:
            name = path.relative_to(DOCS).as_posix()
            found[name] = [(model, color_of(look)) for model, look in models]
    return found


SHOWN = shown()


def test_the_models_are_read():
    assert len(SHOWN) > 10
    assert len(SHOWN["experiments/oracle_captions/tradeoff.svg"]) == 10
    assert len(SHOWN["experiments/language_model/loss_curves.svg"]) == 8
    assert len(SHOWN["experiments/text_intents/banking77.svg"]) == 8
    assert len(SHOWN["demo/reliability.svg"]) == len(SHOWN["demo/loss_curves.svg"]) == 8
    assert ("GammaCE(0.1)", "#0072b2") in SHOWN["guides/losses.svg"]


@pytest.mark.parametrize("figure", SHOWN)
def test_a_model_has_its_color(figure):
    for name, color in SHOWN[figure]:
        assert color == to_hex(style(name)["color"]), name


@pytest.mark.parametrize("figure", SHOWN)
def test_no_two_models_of_a_figure_look_alike(figure):
    names = {name for name, _ in SHOWN[figure]}
    assert len({tuple(style(name).items()) for name in names}) == len(names)
