"""Two replicas, in a process of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import keras, numpy as np
from tests.distribution.launch import mirrored
strategy = mirrored(2)
import keras_calib
from tests.calibrators import data
z, y = data.made(333, 4)
z = z.astype("float32")
expected = keras_calib.TemperatureScaling().fit(z, y).temperature
with strategy.scope():
    net = keras.Sequential([keras.Input((4,)), keras.layers.Softmax()])
    inside = keras_calib.calibrate(net, z, y, verbose=0)
outside = keras_calib.calibrate(net, z, y, verbose=0)
for found in inside, outside:
    assert abs(found.layers[-1].temperature / expected - 1) < 1e-6
    p = found.predict(z, batch_size=50, verbose=0)
    assert np.abs(p.sum(-1) - 1).max() < 1e-6 and p.shape == z.shape

with strategy.scope():
    dense = keras.layers.Dense(4, kernel_initializer="identity")
    net = keras.Sequential([keras.Input((4,)), dense])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile("adam", loss, metrics=[keras_calib.RefinementLoss(from_logits=True)])
callback = keras_calib.callbacks.RefineThenCalibrate((z, y), patience=1, verbose=0)
history = net.fit(
    z[:320], y[:320], batch_size=64, epochs=2, verbose=0, callbacks=[callback],
    validation_data=(z[:320], y[:320]),
).history
metric = keras_calib.RefinementLoss(from_logits=True)
metric.update_state(y, net.predict(z, verbose=0))
assert abs(float(metric.result()) - callback.best) < 1e-4
metric.reset_state()
metric.update_state(y[:320], net.predict(z[:320], verbose=0))
best = history["val_refinement_loss"][callback.best_epoch]
assert abs(float(metric.result()) - best) < 1e-6
"""


@pytest.mark.slow
def test_inside_and_outside_the_scope():
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
