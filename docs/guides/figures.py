"""Draw the figures of the guides: `python docs/guides/figures.py`."""

from pathlib import Path

import numpy as np

import keras_calib
from keras_calib.viz import loss_curves


def main(folder=Path(__file__).parent):
    """Writes losses.png: losses and their weights; and calibration.png: a diagram."""
    losses = {
        "cross-entropy": keras_calib.GammaCE(0.0),
        "GammaCE(0.1)": keras_calib.GammaCE(0.1),
        "GeneralizedCE(0.7)": keras_calib.GeneralizedCE(0.7),
        "PolyLoss(1)": keras_calib.PolyLoss(1.0),
        "FocalCE(2)": keras_calib.FocalCE(2.0),
    }
    figure = loss_curves(losses).figure_
    figure.set_size_inches(9, 3.6)
    figure.savefig(folder / "losses.png", dpi=130, metadata={"Software": None})

    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(2000, 5))
    labels = (logits / 2 + rng.gumbel(size=logits.shape)).argmax(-1)
    figure = keras_calib.evaluate(labels, logits, from_logits=True).plot().figure_
    figure.savefig(folder / "calibration.png", dpi=130, metadata={"Software": None})


if __name__ == "__main__":
    main()
