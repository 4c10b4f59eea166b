"""Every calibrator on published outputs of two networks, with many samples and few.

The script splits the probabilities of two networks for the 10000 test images of
CIFAR-10 at random. It fits each calibrator to 5000 of them, or to 300 of those, and
measures it on the other 5000. It prints the negative log-likelihood and the expected
calibration error of the top label (15 bins): means over five splits ± the half-width
of the 95 % t-interval.

`--data` names a folder that contains two files, at any depth:

    wideresnet-16-4-cifar-10.npz   of github.com/EFS-OpenSource/calibration-framework,
                                   examples/classification/records
    cifar10_vgg16.npz              data/cifar_probs.dat of
                                   github.com/p-lambda/verified_calibration, its pickled
                                   pair saved as `probs` and `label`

    python -m examples.calibrators --data FOLDER
    python -m examples.calibrators --data FOLDER --quick    # one split
"""

import argparse
from pathlib import Path

import numpy as np

from examples.tables import interval, markdown, write
from keras_calib import ExpectedCalibrationError, NegativeLogLikelihood
from keras_calib.calibrators.methods import METHODS

NETS = {
    "WideResNet-16-4": ("wideresnet-16-4-cifar-10.npz", "predictions", "ground_truth"),
    "VGG16": ("cifar10_vgg16.npz", "probs", "label"),
}
SIZES = (5000, 300)


def outputs(folder, file, predictions, labels):
    """Returns probabilities and integer labels."""
    with np.load(next(folder.rglob(file))) as found:
        return found[predictions].astype("float64"), found[labels].ravel().astype(int)


def measured(p, y):
    """Returns the negative log-likelihood and the ECE."""
    metrics = (
        NegativeLogLikelihood(dtype="float64"),
        ExpectedCalibrationError(dtype="float64"),
    )
    for metric in metrics:
        metric.update_state(y, p)
    return [float(metric.result()) for metric in metrics]


def compare(p, y, splits):
    """Returns the figures of each calibrator at each size, one row per split."""
    found = {name: [] for name in ("uncalibrated", *METHODS)}
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(y))
        half, test = order[: len(y) // 2], order[len(y) // 2 :]
        found["uncalibrated"].append(measured(p[test], y[test]) * len(SIZES))
        for name, make in METHODS.items():
            row = []
            for size in SIZES:
                fit = half[:size]
                layer = make(from_logits=False, dtype="float64").fit(p[fit], y[fit])
                row += measured(layer(p[test]), y[test])
            found[name].append(row)
    return found


def table(net, found):
    """Returns the figures of a network as a Markdown table."""
    titles = [f"{what} ↓, {size}" for size in SIZES for what in ("NLL", "ECE")]
    rows = [
        [name, *(interval(column, "{:.4f}") for column in zip(*figures, strict=True))]
        for name, figures in found.items()
    ]
    return markdown([[net, *titles], *rows])


def main(argv=None):
    """Prints and writes a table for each network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of outputs")
    parser.add_argument("--quick", action="store_true", help="one split")
    parser.add_argument("--output", type=Path, default=Path("demo_output/calibrators"))
    chosen = parser.parse_args(argv)
    results = "\n\n".join(
        table(net, compare(*outputs(chosen.data, *file), 1 if chosen.quick else 5))
        for net, file in NETS.items()
    )
    print(results)
    write(chosen.output, results)


if __name__ == "__main__":
    main()
