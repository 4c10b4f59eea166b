"""A notebook shows a display as its figure."""

import base64
import re

import numpy as np
import pytest

from keras_calib import GammaCE
from keras_calib.metrics import BinStatistics
from keras_calib.viz import LossCurvesDisplay, ReliabilityDisplay
from keras_calib.viz.display import png

pyplot = pytest.importorskip("matplotlib.pyplot")
pyplot.switch_backend("agg")


def curves():
    return LossCurvesDisplay({"gamma": GammaCE(0.1)})


def drawn():
    return curves().plot()


def reliability():
    return ReliabilityDisplay(BinStatistics(*np.ones((4, 5))))


def test_the_text_names_what_is_drawn():
    assert repr(curves()) == "LossCurvesDisplay(['gamma'])"
    assert repr(reliability()) == "ReliabilityDisplay([''])"


@pytest.mark.parametrize("make", [curves, drawn, reliability])
def test_it_is_an_image_and_leaves_no_figure_open(make):
    pyplot.close("all")  # what other tests left open
    display = make()
    (image,) = re.fullmatch(
        '<img src="data:image/png;base64,(.+)" alt=".+Display">',
        display._repr_html_(),
    ).groups()
    assert not pyplot.get_fignums()
    # The image is that of the same figure, drawn by itself.
    assert base64.b64decode(image) == png(make().plot().figure_)
    pyplot.close("all")
