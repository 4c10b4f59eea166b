"""Draw the figure of these pages: `python docs/mathematics/figures.py`."""

from pathlib import Path

import numpy as np
from keras import ops
from matplotlib import pyplot as plt

import keras_calib as kc

LOSSES = {
    "cross-entropy": kc.GammaCE(0.0),
    "GammaCE(0.1)": kc.GammaCE(0.1),
    "FocalCE(2)": kc.FocalCE(2.0),
    "GeneralizedCE(0.7)": kc.GeneralizedCE(0.7),
    "PolyLoss(1)": kc.PolyLoss(1.0),
    "smooth error rate": kc.GammaCE(1.0),
}


def main(folder=Path(__file__).parent):
    """Writes losses.svg: losses, weights, gradients and minima."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 8), layout="constrained")
    p = np.linspace(0.0005, 0.9995, 2000)
    shown = kc.viz.loss_curves(LOSSES, p, axes[0])
    gradient, minimum = axes[1]
    truth = np.linspace(0.501, 0.999, 200)[:, None]
    colors = [line.get_color() for line in axes[0, 0].lines]
    for (name, w), color in zip(shown.weights.items(), colors, strict=True):
        gradient.plot(p, w * p * (1 - p), color=color, label=name)
        value = ops.convert_to_numpy(shown.values[name])
        risk = truth * value + (1 - truth) * value[::-1]
        minimum.plot(truth[:, 0], p[risk.argmin(axis=1)], color=color)
    gradient.set(
        xlabel="Probability of the true class, p", ylabel="Gradient, W (1 − p)"
    )
    minimum.set(xlabel="True probability of two classes", ylabel="p at the minimum")
    # Without a date and a random salt, the same figure is the same file.
    with plt.rc_context({"svg.hashsalt": "losses"}):
        figure.savefig(folder / "losses.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
