"""Three points that cross-entropy misclassifies, because its slope is fixed at 1.

The points -1/4 and 0 are in the negative class and 1/4 is in the positive one. The
model f(x) = k (x - b) classifies all three correctly for b in (0, 1/4). With k fixed at
1 the best b of cross-entropy is 0.70, and for the hinge it is anything in [0.75, 1].
This example introduced EXACT (the expected accuracy under Gaussian noise). But EXACT
has a sigma to choose, which is an inverse k. Fixed at 1, it is worse than both, with
b = 3.9. Each of the losses is correct once its slope is free. The script prints the
best b of each loss and draws them in `demo_output/one_dimensional.svg`.

    python -m examples.one_dimensional
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from matplotlib import pyplot as plt

from examples.styles import style
from keras_calib import ExpectedAccuracyLoss, GammaCE, MulticlassHinge

POINTS, LABELS = np.array([-0.25, 0.0, 0.25]), np.array([0, 0, 1])

CROSS_ENTROPY = GammaCE(0.0, from_logits=True, dtype="float64")
HINGE = MulticlassHinge("max", margin=1.0, dtype="float64")
EXACT = ExpectedAccuracyLoss(sigma=1.0, from_logits=True, dtype="float64")


def total_loss(loss, k, b):
    """Returns the total loss of the three points for each k and b, broadcast."""
    k, b = np.broadcast_arrays(k, b)
    f = k[..., None] * (POINTS - b[..., None])
    # Two classes with logits 0 and f: their difference is the logit of the sigmoid.
    losses = loss.call(
        keras.ops.convert_to_tensor(np.broadcast_to(LABELS, f.shape)),
        keras.ops.convert_to_tensor(np.stack([np.zeros_like(f), f], axis=-1)),
    )
    return keras.ops.convert_to_numpy(losses).sum(axis=-1)


def best_b(loss, k, low=-1.0, high=12.0):
    """Returns the ends of the interval of b that minimize the loss."""
    for _ in range(5):
        b = np.linspace(low, high, 2001)
        losses = total_loss(loss, k, b)
        best = np.flatnonzero(losses <= losses.min() + 1e-13)
        outer = b[max(best[0] - 1, 0)], b[min(best[-1] + 1, 2000)]
        if len(best) > 3:  # a flat stretch
            break
        low, high = outer

    def end(inside, outside):
        while abs(outside - inside) > 1e-9:
            middle = (inside + outside) / 2
            if total_loss(loss, k, middle) <= losses.min() + 1e-13:
                inside = middle
            else:
                outside = middle
        return float(inside)

    return end(b[best[0]], outer[0]), end(b[best[-1]], outer[1])


def table():
    """Yields each objective and its best b."""
    for k in (1, 2, 4, 10):
        yield f"cross-entropy, k = {k}", best_b(CROSS_ENTROPY, k)
    for k in (1, 4, 8):
        yield f"hinge, k = {k}", best_b(HINGE, k)
    for sigma in (1.0, 0.5, 0.22, 0.1):
        yield f"EXACT, sigma = {sigma:g}", best_b(EXACT, 1 / sigma)


def draw(path):
    """Draws the loss as a function of b, and the best b as a function of the slope."""
    figure, (left, right) = plt.subplots(ncols=2, figsize=(10, 4), layout="constrained")
    b = np.linspace(-0.75, 4.5, 600)
    losses = {
        "cross-entropy": (CROSS_ENTROPY, "k"),
        "hinge": (HINGE, None),
        "EXACT": (EXACT, "1 / sigma"),
    }
    for name, (loss, _) in losses.items():
        values = total_loss(loss, 1.0, b)
        left.plot(b, values, label=name, **style(name))
        low, high = best_b(loss, 1.0)
        value = values.min()
        left.plot(
            [low, high], [value, value], "o-", color=style(name)["color"], markersize=5
        )
    left.set(xlabel="b", ylabel="loss of the three points", ylim=(0, 4.5))
    left.set_title("Slope fixed at 1")
    slopes = np.geomspace(0.6, 30, 40)
    for name, (loss, slope) in losses.items():
        if slope:
            found = [best_b(loss, k)[0] for k in slopes]
            right.loglog(slopes, found, label=f"{name}, {slope}", **style(name))
    right.axhline(0.125, color="#999999", linewidth=1, linestyle=":")
    right.set(xlabel="slope", ylabel="best b", ylim=(0.04, 12))
    right.set_title("Slope free")
    right.annotate(
        "largest margin, b = 1/8", (0.55, 0.095), color="#666666", fontsize=8
    )
    for span in (left.axvspan, right.axhspan):
        span(0, 0.25, color="#009E73", alpha=0.12, label="all three points correct")
    left.legend(frameon=False, loc="lower right", ncols=2)
    right.legend(frameon=False)
    figure.savefig(path)
    plt.close(figure)


def main(arguments=None):
    """Prints the table and draws the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo_output"))
    output = parser.parse_args(arguments).output
    output.mkdir(parents=True, exist_ok=True)
    print(f"{'objective':<24} {'best b':<18} all correct")
    for name, (low, high) in table():
        one = high - low < 1e-3
        b = f"{low:.4f}" if one else f"[{low + 1e-9:.4f}, {high:.4f}]"
        right = -1e-9 < low and high < 0.25 + 1e-9  # the ends included
        print(f"{name:<24} {b:<18} {'yes' if right else 'no'}")
    draw(output / "one_dimensional.svg")
    print(f"figure: {output / 'one_dimensional.svg'}")


if __name__ == "__main__":
    main()
