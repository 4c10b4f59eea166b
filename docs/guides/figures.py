"""Draw the figure of the guides: `python docs/guides/figures.py`."""

from pathlib import Path

import keras_calib
from keras_calib.viz import loss_curves


def main(folder=Path(__file__).parent):
    """Writes losses.png: losses and their weights."""
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


if __name__ == "__main__":
    main()
