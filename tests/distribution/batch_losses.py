"""Fits losses of a whole batch on two logical CPUs, and prints the results as JSON.

test_batch_losses.py runs it in a process of its own.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from keras_calib import GradientHarmonizedBCE, HardNegativeCE, PairwiseAUCLoss
from tests.distribution.launch import mirrored


class Case(NamedTuple):
    """A loss, and the model that it trains."""

    make: Callable[[], keras.losses.Loss]
    units: int = 1
    has_counts: bool = False  # a moving average over batches


CASES = {
    "auc": Case(PairwiseAUCLoss),
    "hard_negatives": Case(lambda: HardNegativeCE(1.0, from_logits=True), units=2),
    "ghm": Case(lambda: GradientHarmonizedBCE(10, from_logits=True)),
    "ghm_momentum": Case(
        lambda: GradientHarmonizedBCE(10, 0.75, from_logits=True), has_counts=True
    ),
}


def main(made: str) -> None:
    """Prints each step's loss, and the loss of each replica's half of the batch.

    Args:
        made: whether the losses are created `"inside"` or `"outside"` the strategy's
            scope.
    """
    strategy = mirrored(2)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 4)).astype("float32")
    y = (x[:, :1] + rng.normal(size=(64, 1)) > 0).astype("float32")
    y[:32] = 0.0  # the first replica's half has no pair and no positive
    found = {}
    for name, case in CASES.items():
        outside = case.make() if made == "outside" else None
        with strategy.scope():
            keras.utils.set_random_seed(0)
            loss = outside or case.make()
            dense = keras.layers.Dense(case.units)
            model = keras.Sequential([keras.Input((4,)), dense])
            model.compile(keras.optimizers.SGD(0.1), loss)
        z = keras.ops.convert_to_numpy(model(x))
        history = model.fit(x, y, batch_size=64, epochs=3, shuffle=False, verbose=0)
        halves = slice(32), slice(32, 64)
        found[name] = {
            "loss": history.history["loss"],
            "halves": [float(case.make()(y[half], z[half])) for half in halves],
            "finite": all(np.isfinite(w).all() for w in model.get_weights()),
        }
        if case.has_counts:
            path = Path(tempfile.mkdtemp()) / "m.keras"
            model.save(path)
            loaded = keras.models.load_model(path)
            with strategy.scope():  # each replica has its own copy of the variable
                found[name] |= {"counts": loss.counts, "loaded": loaded.loss.counts}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
