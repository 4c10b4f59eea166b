"""Every calibrator on published outputs of five networks, with many samples and few.

The script splits the probabilities of each network for 10000 test images at random. It
fits each calibrator to 300, 1000 and 5000 of them, and measures it on 5000 others. It
prints the negative log-likelihood and the expected calibration error of the top label
(15 bins): means over five splits ± the half-width of the 95 % t-interval. Where
probmetrics is installed, its structured scaling is measured, too.

`--data` names a folder that contains these files, at any depth:

    wideresnet-16-4-cifar-10.npz, lenet-5-cifar-10.npz,
    wideresnet-16-4-cifar-100.npz, densenet-bc-100-cifar-100.npz
                                   of github.com/EFS-OpenSource/calibration-framework,
                                   examples/classification/records
    cifar10_vgg16.npz              data/cifar_probs.dat of
                                   github.com/p-lambda/verified_calibration, its pickled
                                   pair saved as `probs` and `label`

    python -m examples.calibrators --data FOLDER
    python -m examples.calibrators --data FOLDER --quick    # one split
"""

import argparse
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from examples.tables import interval, markdown, write
from keras_calib import ExpectedCalibrationError, NegativeLogLikelihood
from keras_calib.calibrators.methods import METHODS

RECORD = "predictions", "ground_truth"
NETS = {
    "WideResNet-16-4": ("wideresnet-16-4-cifar-10.npz", *RECORD),
    "LeNet-5": ("lenet-5-cifar-10.npz", *RECORD),
    "VGG16": ("cifar10_vgg16.npz", "probs", "label"),
    "WideResNet, 100 classes": ("wideresnet-16-4-cifar-100.npz", *RECORD),
    "DenseNet, 100 classes": ("densenet-bc-100-cifar-100.npz", *RECORD),
}
SIZES = (300, 1000, 5000)
PEERS = {"svs": "probmetrics, vector", "sms": "probmetrics, matrix"}


class Peer:
    """A calibrator of probmetrics."""

    def __init__(self, name):
        from probmetrics.calibrators import get_calibrator

        self.calibrator = get_calibrator(name)

    def fit(self, p, y):
        """Fits it to probabilities and labels."""
        self.calibrator.fit(p, y)
        return self.calibrator.predict_proba


def calibrators():
    """Returns what makes each calibrator, by its name."""
    arguments = {"from_logits": False, "dtype": "float64"}
    found = {name: partial(make, **arguments) for name, make in METHODS.items()}
    if find_spec("probmetrics"):
        found |= {title: partial(Peer, name) for name, title in PEERS.items()}
    return found


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
    makers = calibrators()
    found = {name: [] for name in ("uncalibrated", *makers)}
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(y))
        half, test = order[: len(y) // 2], order[len(y) // 2 :]
        found["uncalibrated"].append(measured(p[test], y[test]) * len(SIZES))
        for name, make in makers.items():
            row = []
            for size in SIZES:
                fit = half[:size]
                layer = make().fit(p[fit], y[fit])
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
