"""Time to fit a temperature to 50000 x 1000 logits, compared with scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sklearn.calibration import _TemperatureScaling

from benchmarks.timing import Row, interleaved, ratios
from keras_calib.activations import softmax
from keras_calib.calibrators import TemperatureScaling
from keras_calib.calibrators.objectives import nll
from keras_calib.calibrators.samples import Samples

BACKENDS = ("tensorflow",)


def rows() -> Iterator[Row]:
    """Yields the ratio of the times, and the difference in likelihood."""
    rng = np.random.default_rng(0)
    z = 2 * rng.standard_normal((50000, 1000), dtype="float32")
    gumbel = -np.log(rng.exponential(size=z.shape))
    y = (z / 1.7 + gumbel).argmax(-1)
    ours = TemperatureScaling()
    # The class behind CalibratedClassifierCV(method="temperature").
    theirs = _TemperatureScaling()
    times = interleaved(
        {"ours": lambda: ours.fit(z, y), "theirs": lambda: theirs.fit(z, y)},
        rounds=20,
        warm_up=1,
    )
    samples = Samples.read(z, y)

    def loss(beta):
        return nll(samples, lambda logits: softmax(beta * logits))

    fitted = loss(1 / ours.temperature)
    worse = fitted - loss(float(theirs.beta_))
    yield Row(
        "temperature fit, 50000 x 1000, against scikit-learn",
        ratios(times, "theirs")["ours"],
        0.1,
        f"NLL minus theirs: {worse:+.1e} nats; minus that of T = 1, which netcal 1.4.0 "
        f"returns here: {fitted - loss(1.0):+.4f}",
    )
