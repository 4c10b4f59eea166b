"""Figures are legible at half their size, and vector files hold no pixels."""

import io
import itertools

import keras
import numpy as np
import pytest

import keras_calib
from keras_calib import viz
from keras_calib.viz.display import COLORS
from tests.backends import BACKEND, slow_on_jax

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
pyplot = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


def found(seed=0):
    rng = np.random.default_rng(seed)
    z = 3 * rng.normal(size=(400, 4))
    y = (z / 2 + rng.gumbel(size=z.shape)).argmax(-1)
    return keras_calib.evaluate(y, z, from_logits=True)


FOUND = found()
MODELS = {"a": FOUND, "another model": found(1), "the third": found(2)}
FIGURES = {
    "reliability": lambda: viz.reliability_diagram(FOUND, smooth=True),
    "equal mass": lambda: viz.reliability_diagram(FOUND, binning="equal_mass"),
    "several": lambda: viz.reliability_diagram(MODELS),
    "classes": lambda: viz.reliability_diagram(FOUND.per_class),
    "risk-coverage": lambda: viz.risk_coverage(MODELS),
    "losses": lambda: viz.loss_curves(
        {f"gamma {g}": keras_calib.GammaCE(g) for g in (0.0, 0.1, 1.0)}
    ),
}
draws_alike = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="what matplotlib draws is of no backend"
)
every_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)


def drawn_texts(figure, monkeypatch):
    """The texts that are drawn, with their boxes in pixels."""
    drawn, draw = [], matplotlib.text.Text.draw

    def record(text, renderer):
        if text.get_visible() and text.get_text().strip():
            drawn.append((text, text.get_window_extent(renderer)))
        return draw(text, renderer)

    figure.canvas.draw()  # the layout is found
    monkeypatch.setattr(matplotlib.text.Text, "draw", record)
    figure.canvas.draw()
    return drawn


@draws_alike
@every_figure
def test_no_text_is_small_cut_off_or_over_another(draw, monkeypatch):
    figure = draw().figure_
    width, height = figure.canvas.get_width_height()
    texts = drawn_texts(figure, monkeypatch)
    assert len(texts) > 8
    for text, box in texts:
        assert text.get_fontsize() >= 10, text
        assert box.x0 > -1 and box.y0 > -1, text
        assert box.x1 < width + 1 and box.y1 < height + 1, text
    # The ends of axes may share a corner.
    for (one, a), (other, b) in itertools.combinations(texts, 2):
        inner = (min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0))
        assert min(inner) < 4, (one, other)


@draws_alike
@pytest.mark.parametrize("kind", ["reliability", "risk-coverage", "losses"])
def test_vector_files_hold_no_pixels(kind):
    figure = FIGURES[kind]().figure_
    for form, start in (("svg", b"<?xml"), ("pdf", b"%PDF")):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=form)
        written = buffer.getvalue()
        assert written.startswith(start)
        assert b"<image" not in written and b"/Subtype /Image" not in written


def test_a_model_has_one_color_in_every_figure():
    curves = viz.risk_coverage(MODELS).ax_.lines
    diagrams = viz.reliability_diagram(MODELS)
    colors = [line.get_color() for line in curves]
    assert len(set(colors)) == 3
    assert [ax.title.get_color() for ax in diagrams.ax_] == colors
    histograms = diagrams.figure_.axes[-3:]
    faces = [ax.patches[0].get_facecolor() for ax in histograms]
    assert faces == [matplotlib.colors.to_rgba(color) for color in colors]
    classes = {"a": keras_calib.ClasswiseECE(), "b": keras_calib.ClasswiseECE()}
    for metric in classes.values():
        metric.update_state([0, 1], [[0.8, 0.2], [0.7, 0.3]])
    grid = [ax.title.get_color() for ax in viz.reliability_diagram(classes).ax_]
    assert grid == [colors[0]] * 2 + [colors[1]] * 2


def test_colors_differ_without_red_or_green_light():
    """As dichromats see them (Machado, Oliveira, Fernandes, 2009, severity 1)."""
    colors = np.array([matplotlib.colors.to_rgb(color) for color in COLORS])
    linear = np.where(
        colors > 0.04045, ((colors + 0.055) / 1.055) ** 2.4, colors / 12.92
    )
    for matrix in (
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    ):
        seen = np.cbrt(np.clip(linear @ np.transpose(matrix), 0, 1))
        distance = np.linalg.norm(seen[:, None] - seen, axis=-1)
        assert distance[np.triu_indices(len(COLORS), 1)].min() > 0.15


@slow_on_jax
def test_models_are_drawn_with_their_data():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 3)).astype("float32"), rng.integers(0, 3, 100)
    w = rng.random(100)
    softmax = keras.Sequential([keras.Input((3,)), keras.layers.Softmax()])
    logits = keras.Sequential([keras.Input((3,)), keras.layers.Identity()])
    expected = keras_calib.evaluate(y, x, from_logits=True, sample_weight=w)
    how = {"sample_weight": w, "num_bins": 15}
    for binning in ("equal_width", "equal_mass"):
        display = viz.reliability_diagram(
            {"p": softmax, "z": logits}, x, y, binning=binning, **how
        )
        assert list(display.statistics) == ["p", "z"]
        drawn = viz.reliability_diagram(expected, binning=binning).statistics[""]
        for statistics in display.statistics.values():
            np.testing.assert_allclose(statistics.hits, drawn.hits, atol=1e-3)
    batches = [(x[:60], y[:60]), (x[60:], y[60:])]
    alone = viz.reliability_diagram(softmax, batches)
    assert alone.statistics[""].total == 100
    assert alone.ax_.get_title() == ""
    one = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, "sigmoid")])
    binary = viz.reliability_diagram(one, x, y % 2).statistics[""]
    p = one.predict(x, verbose=0)
    drawn = viz.reliability_diagram(y % 2, p).statistics[""]
    np.testing.assert_allclose(binary.hits, drawn.hits, atol=1e-6)


@slow_on_jax
def test_arrays_are_cut_into_bins_of_equal_mass():
    rng = np.random.default_rng(0)
    p, y = rng.dirichlet(np.ones(3), 300), rng.integers(0, 3, 300)
    display = viz.reliability_diagram(y, p, binning="equal_mass", num_bins=6)
    assert np.allclose(display.statistics[""].weight, 50)
    expected = keras_calib.evaluate(y, p, num_bins=6).plot(binning="equal_mass")
    drawn = display.statistics[""], expected.statistics[""]
    np.testing.assert_allclose(*(s.edges for s in drawn), atol=1e-6)
    metric = keras_calib.ExpectedCalibrationError(6, binning="equal_mass")
    metric.update_state(y, p)
    by_metric = viz.reliability_diagram(metric, binning="equal_mass").statistics[""]
    assert by_metric.num_bins == 6
    of_label_1 = viz.reliability_diagram(y % 2, p[:, 0], binning="equal_mass")
    assert np.allclose(of_label_1.statistics[""].weight, 20)


@pytest.mark.parametrize(
    ("given", "how", "match"),
    [
        (("model",), {}, "a model is drawn with data"),
        (("model", []), {}, "there must be at least one batch"),
        (("y", "p"), {"binning": "quantiles"}, "`binning` must be one of"),
    ],
)
def test_what_cannot_be_drawn_is_refused(given, how, match):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Softmax()])
    known = {"model": model, "y": [0, 1], "p": [[0.8, 0.2], [0.7, 0.3]]}
    given = [known[x] if isinstance(x, str) else x for x in given]
    with pytest.raises(ValueError, match=match):
        viz.reliability_diagram(*given, **how)
    assert not pyplot.get_fignums()
