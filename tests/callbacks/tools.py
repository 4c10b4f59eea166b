"""A small model to fit, and counting its traces."""

import keras
import numpy as np

from keras_calib import CalibrationGap, GammaCE


def _samples():
    rng = np.random.default_rng(3)
    return eighths(rng.normal(size=(70, 4))), rng.integers(0, 3, 70)


def eighths(x):
    """Rounds so that products are exact on a GPU, which keeps 10 bits of a factor."""
    return np.round(8 * x).astype("float32") / 8


X, Y = _samples()


class CountingGammaCE(GammaCE):
    """Counts how often Python runs through it: once a trace."""

    traces = 0

    def call(self, y_true, y_pred):
        self.traces += 1
        return super().call(y_true, y_pred)


def compiled(loss=None, *, metrics=(), optimizer="sgd", shown=True, **kwargs):
    """Returns a compiled model with the calibration gap, and gamma if it is shown."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.set_weights([eighths(w) for w in model.get_weights()])
    loss = GammaCE(0.1, from_logits=True) if loss is None else loss
    metrics = [CalibrationGap(from_logits=True), *metrics]
    if shown:
        metrics = [loss.gamma, *metrics]
    model.compile(optimizer, loss, metrics=metrics, **kwargs)
    return model


class Tape(keras.callbacks.Callback):
    """Writes down gamma as each step sees it; behind the callback that sets it."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_begin(self, batch, logs=None):
        self.seen = float(self.model.loss.gamma)

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(self.seen)
