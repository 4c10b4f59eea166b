"""Gamma moves against the gap on held-out data."""

import keras
import numpy as np
import pytest

from keras_calib import GammaCE
from keras_calib.callbacks import AdaptiveGamma
from tests.callbacks.tools import X, Y, compiled


def gamma_after(gap, start=0.5, **kwargs):
    model = compiled(GammaCE(start, from_logits=True))
    model.evaluate(X, Y, verbose=0)  # makes the metrics, as `fit` does
    callback = AdaptiveGamma(**kwargs)
    callback.set_model(model)
    callback.on_epoch_end(0, {"val_calibration_gap": gap})
    return float(model.loss.gamma)


@pytest.mark.parametrize(
    ("gap", "expected"), [(0.2, 0.48), (-0.2, 0.52), (0.004, 0.5), (-0.004, 0.5)]
)
def test_the_rule(gap, expected):
    """Overconfident: less gamma, which sharpens. A small gap is left alone."""
    assert gamma_after(gap, rate=0.1) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("gap", "expected"), [(0.9, 0.0), (-0.9, 0.6)])
def test_it_is_clipped(gap, expected):
    got = gamma_after(gap, rate=5.0, max_gamma=0.6)
    assert got == pytest.approx(expected, abs=1e-7)


def test_in_fit():
    model = compiled(GammaCE(0.5, from_logits=True))
    history = model.fit(
        X,
        Y,
        epochs=4,
        verbose=0,
        validation_data=(X, Y),
        callbacks=[AdaptiveGamma(rate=0.1)],
    ).history
    gap = np.array(history["val_calibration_gap"])
    assert np.all(np.abs(gap) > 0.005)
    np.testing.assert_allclose(np.diff(history["gamma"]), -0.1 * gap[:-1], atol=1e-6)
    assert float(model.loss.gamma) == pytest.approx(
        history["gamma"][-1] - 0.1 * gap[-1], abs=1e-6
    )


def test_a_missing_gap_is_said():
    model = compiled()
    with pytest.warns(UserWarning, match="'val_calibration_gap'.*validation_data"):
        model.fit(X, Y, verbose=0, callbacks=[AdaptiveGamma()])
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    loss = GammaCE(0.1, from_logits=True)
    model.compile("sgd", loss, metrics=[loss.gamma])
    with pytest.raises(ValueError, match="compile with metrics=.CalibrationGap"):
        model.fit(X, Y, verbose=0, validation_data=(X, Y), callbacks=[AdaptiveGamma()])


@pytest.mark.parametrize(
    "kwargs", [{"rate": -1.0}, {"max_gamma": 2.0}, {"dead_band": -0.1}]
)
def test_bad_arguments(kwargs):
    with pytest.raises(ValueError, match=f"`{next(iter(kwargs))}` must be a number"):
        AdaptiveGamma(**kwargs)
