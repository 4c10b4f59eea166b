"""Fits losses of a batch on two logical CPUs and prints what came out, as JSON.

Run by test_batch_losses.py in a process of its own.
"""

import json
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

from keras_calib import GradientHarmonizedBCE, HardNegativeCE, PairwiseAUCLoss
from tests.distribution.launch import mirrored


def main(made: str) -> None:
    """Prints the first batch's loss, and that of each replica's half by itself."""
    strategy = mirrored(2)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 4)).astype("float32")
    y = (x[:, :1] + rng.normal(size=(64, 1)) > 0).astype("float32")
    y[:32] = 0.0  # no pair, no positive in the first replica's batch
    makers = {
        "auc": PairwiseAUCLoss,
        "hard_negatives": lambda: HardNegativeCE(1.0, from_logits=True),
        "ghm": lambda: GradientHarmonizedBCE(10, from_logits=True),
        "ghm_momentum": lambda: GradientHarmonizedBCE(10, 0.75, from_logits=True),
    }
    found = {}
    for name, make in makers.items():
        outside = make() if made == "outside" else None
        with strategy.scope():
            keras.utils.set_random_seed(0)
            loss = outside or make()
            units = 2 if name == "hard_negatives" else 1
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])
            model.compile(keras.optimizers.SGD(0.1), loss)
        z = keras.ops.convert_to_numpy(model(x))
        history = model.fit(x, y, batch_size=64, epochs=3, shuffle=False, verbose=0)
        found[name] = {
            "loss": history.history["loss"],
            "halves": [float(make()(y[h], z[h])) for h in (slice(32), slice(32, 64))],
            "finite": all(np.isfinite(w).all() for w in model.get_weights()),
        }
        if name == "ghm_momentum":
            path = Path(tempfile.mkdtemp()) / "m.keras"
            model.save(path)
            loaded = keras.models.load_model(path)
            with strategy.scope():  # where its variable is one of several replicas
                found[name] |= {"counts": loss.counts, "loaded": loaded.loss.counts}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
