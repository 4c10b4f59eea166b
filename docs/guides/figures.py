"""Draw the figures of the guides: `python docs/guides/figures.py`."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

import keras_calib
from keras_calib.viz import loss_curves


def main(folder=Path(__file__).parent):
    """Writes losses.svg: losses and their weights; and calibration.svg: a diagram."""
    losses = {
        "cross-entropy": keras_calib.GammaCE(0.0),
        "GammaCE(0.1)": keras_calib.GammaCE(0.1),
        "FocalCE(2)": keras_calib.FocalCE(2.0),
        "GeneralizedCE(0.7)": keras_calib.GeneralizedCE(0.7),
        "PolyLoss(1)": keras_calib.PolyLoss(1.0),
    }
    curves = loss_curves(losses, np.linspace(0.002, 0.998, 250)).figure_
    curves.set_size_inches(9, 3.6)

    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(2000, 5))
    labels = (logits / 2 + rng.gumbel(size=logits.shape)).argmax(-1)
    diagram = keras_calib.evaluate(labels, logits, from_logits=True).plot().figure_

    for name, figure in {"losses": curves, "calibration": diagram}.items():
        # Without a date and a random salt, the same figure is the same file.
        with plt.rc_context({"svg.hashsalt": name}):
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
