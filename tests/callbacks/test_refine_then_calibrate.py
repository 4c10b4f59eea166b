"""A fit that stops by the refinement loss, and ends calibrated."""

import keras
import numpy as np
import pytest

from keras_calib import RefinementLoss, calibrate
from keras_calib.callbacks import RefineThenCalibrate
from tests.calibrators import data

Z, Y = data.made(900, 3, temperature=0.7)
X = Z.astype("float32")
TRAIN, HELD_OUT = (X[:100], Y[:100]), (X[100:500], Y[100:500])


def model(head=None, metrics=()):
    keras.utils.set_random_seed(3)
    net = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(3, activation=head),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=head is None)
    net.compile(keras.optimizers.Adam(0.02), loss, metrics=list(metrics))
    return net


def fitted(callbacks, net=None, **arguments):
    net = net or model()
    arguments = {"epochs": 30, "batch_size": 25, "shuffle": False} | arguments
    return net, net.fit(*TRAIN, callbacks=callbacks, verbose=0, **arguments)


def refinement(net, x, y):
    metric = RefinementLoss(from_logits=True)
    metric.update_state(y, net.predict(x, verbose=0))
    return float(metric.result())


def test_it_stops_restores_and_calibrates(capsys):
    callback = RefineThenCalibrate(HELD_OUT, patience=3)
    net, history = fitted([callback])
    losses = history.history["val_refinement_loss"]
    best = int(np.argmin(losses))
    assert len(losses) < 30
    assert callback.best_epoch == best == len(losses) - 4
    assert refinement(net, *HELD_OUT) == pytest.approx(losses[best], abs=1e-4)
    # The best model is that which is calibrated.
    expected = calibrate(net, *HELD_OUT, verbose=0)
    assert callback.report == expected.calibration_report
    np.testing.assert_allclose(
        callback.calibrated_model.predict(X, verbose=0),
        expected.predict(X, verbose=0),
        atol=1e-6,
    )
    printed = capsys.readouterr().out
    assert f"epoch {best + 1}." in printed
    assert str(callback.report) in printed


@pytest.mark.parametrize("head", ["softmax", None])
def test_beside_a_metric_and_early_stopping(head):
    """The log keeps what the metric says, which is the same within its bound."""
    metric = RefinementLoss(from_logits=head is None)
    callback = RefineThenCalibrate(HELD_OUT, "structured_vector", verbose=0)
    stop = keras.callbacks.EarlyStopping("val_refinement_loss", patience=2)
    _, history = fitted(
        [callback, stop], model(head, [metric]), validation_data=HELD_OUT, epochs=6
    )
    losses = history.history["val_refinement_loss"]
    assert min(losses) == pytest.approx(callback.best, abs=1e-4)
    assert callback.report.method == "structured_vector"


def test_without_the_metric_early_stopping_may_come_after_it():
    callback = RefineThenCalibrate([HELD_OUT], patience=30, verbose=0)
    stop = keras.callbacks.EarlyStopping("val_refinement_loss", mode="min", patience=2)
    _, history = fitted([callback, stop])
    losses = history.history["val_refinement_loss"]
    assert len(losses) == np.argmin(losses) + 3


class Killed(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("after_the_best", [True, False])
def test_a_fit_that_is_resumed(tmp_path, after_the_best):
    def callbacks():
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        ours = RefineThenCalibrate(
            HELD_OUT, patience=4, backup=tmp_path / "best.npz", verbose=0
        )
        return ours, backup

    whole = RefineThenCalibrate(HELD_OUT, patience=4, verbose=0)
    expected, _ = fitted([whole], batch_size=100)
    with pytest.raises(KeyboardInterrupt):
        epoch = whole.best_epoch + 2 if after_the_best else 2
        fitted([*callbacks(), Killed(epoch)], batch_size=100)
    assert (tmp_path / "best.npz").exists()
    ours, backup = callbacks()
    net, _ = fitted([ours, backup], batch_size=100)
    assert not (tmp_path / "best.npz").exists()
    assert ours.best_epoch == whole.best_epoch > 2
    for a, b in zip(net.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert refinement(net, *HELD_OUT) == pytest.approx(ours.best, abs=1e-4)


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="read after every epoch"):
        RefineThenCalibrate(iter([HELD_OUT]))
    for wrong in ((X,), 5, (X, Y, Y, Y)):
        with pytest.raises(ValueError, match="`data` must be .x, y., .x, y, sample"):
            RefineThenCalibrate(wrong)
    with pytest.raises(ValueError, match="`method` must be one of"):
        RefineThenCalibrate(HELD_OUT, "temprature")
    for argument in ({"patience": 0}, {"min_delta": -1}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=f"`{next(iter(argument))}` must be"):
            RefineThenCalibrate(HELD_OUT, **argument)
    with pytest.raises(ValueError, match="at least two classes"):
        fitted([RefineThenCalibrate((X, 0 * Y))], epochs=1)
