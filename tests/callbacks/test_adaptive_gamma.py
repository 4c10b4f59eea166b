"""Gamma moves against the gap on held-out data."""

import warnings

import keras
import numpy as np
import pytest

from keras_calib import CalibrationGap, GammaCE
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


def test_its_text():
    shown = "AdaptiveGamma(rate=0.1, max_gamma=0.5)"
    assert repr(AdaptiveGamma(max_gamma=0.5)) == shown


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
    ("validation_freq", "validated"), [(2, [1, 3]), ([1, 4], [0, 3])]
)
def test_an_epoch_without_validation_leaves_gamma_alone(validation_freq, validated):
    """It asks for nothing, because validation comes."""
    model = compiled(GammaCE(0.5, from_logits=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        history = model.fit(
            X,
            Y,
            epochs=5,
            verbose=0,
            validation_data=(X, Y),
            validation_freq=validation_freq,
            callbacks=[AdaptiveGamma(rate=0.1)],
        ).history
    moved = np.flatnonzero(np.diff(history["gamma"]))
    assert moved.tolist() == validated
    np.testing.assert_allclose(
        np.diff(history["gamma"])[validated],
        -0.1 * np.array(history["val_calibration_gap"]),
        atol=1e-6,
    )


def test_without_validation_it_warns_once_when_training_ends():
    with pytest.warns(UserWarning) as caught:
        compiled().fit(X, Y, epochs=3, verbose=0, callbacks=[AdaptiveGamma()])
    texts = [str(w.message) for w in caught if "AdaptiveGamma" in str(w.message)]
    assert len(texts) == 1


def test_the_gap_of_an_output_is_named_by_monitor():
    def fit(**kwargs):
        x = keras.Input((4,))
        outputs = {name: keras.layers.Dense(3, name=name)(x) for name in "ab"}
        model = keras.Model(x, outputs)
        losses = {name: GammaCE(0.5, from_logits=True) for name in "ab"}
        metrics = {name: [losses[name].gamma] for name in "ab"}
        metrics["b"].append(CalibrationGap(from_logits=True))
        model.compile("sgd", losses, metrics=metrics)
        data = X, {"a": Y, "b": Y}
        callback = AdaptiveGamma(**kwargs)
        model.fit(*data, verbose=0, validation_data=data, callbacks=[callback])
        return [float(loss.gamma) for loss in losses.values()]

    with pytest.raises(ValueError, match="by `monitor`.*val_b_calibration_gap"):
        fit()
    assert fit(monitor="val_b_calibration_gap") != [0.5, 0.5]


def test_a_gap_of_nan_leaves_gamma_alone_and_is_said():
    with pytest.warns(UserWarning, match="val_calibration_gap is NaN: gamma stays"):
        assert gamma_after(float("nan")) == 0.5


@pytest.mark.parametrize(
    "kwargs", [{"rate": -1.0}, {"max_gamma": 2.0}, {"dead_band": -0.1}]
)
def test_bad_arguments(kwargs):
    with pytest.raises(ValueError, match=f"`{next(iter(kwargs))}` must be a number"):
        AdaptiveGamma(**kwargs)
