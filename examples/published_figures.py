"""Published figures of calibration, computed again from the data they are about.

Each row names a figure that somebody printed, in a paper or beside their code, or that
other software gives, and computes it from the same predictions with keras_calib. A
second table does the same for figures computed from their definition.

    python -m examples.published_figures --data FOLDER

The folder has the predictions under the names of `FILES`, which says where each file is
from and how it was converted. Rows whose file is missing are left out of the tables.
"""

import argparse
import csv
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from examples.tables import markdown
from keras_calib import BinStatistics, evaluate
from keras_calib.calibrators import IsotonicCalibration, TemperatureScaling
from keras_calib.metrics import BrierScore

HEADER = "figure", "printed", "here", "difference", "source"
DEFINED = "figure", "definition", "here", "difference", "predictions"


class Figure(NamedTuple):
    """A figure that was printed, or computed from its definition.

    Attributes:
        name: what it is, and of which predictions.
        printed: its digits.
        source: who printed it, or the repository of the predictions.
        file: where the predictions are, in the folder of the data.
        compute: the figure of the path of that file.
    """

    name: str
    printed: str
    source: str
    file: str
    compute: Callable[[Path], float]

    def row(self, folder):
        """Returns the row of the table, with two digits more than were printed."""
        found = self.compute(folder / self.file)
        digits = min(decimals(self.printed) + 2, 16)
        difference = found - float(self.printed)
        return (
            self.name,
            self.printed,
            f"{found:.{digits}f}",
            "0" if round(difference, digits) == 0 else f"{difference:+.0e}",
            self.source,
        )


def decimals(number):
    """Returns how many decimals are printed."""
    return len(number.partition(".")[2])


# Confidences of the predicted class, or of an event, and what happened ----------------


@cache
def columns(path):
    with open(path, encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return {name: [row[name] for row in rows] for name in rows[0]}


def imagenet(path):
    found = columns(path)
    hit = np.array(found["true_label"]) == np.array(found["pred_label"])
    return np.array(found["confidence"], "float64"), hit.astype("float64")


def event(forecast, outcome, path):
    found = columns(path)
    return [np.array(found[name], "float64") for name in (forecast, outcome)]


flares = partial(event, "DAFFS", "rlz.C1")


def game(path):
    """Returns forecasts of wins; a tie, given as 0.5, counts as not won."""
    found = columns(path)
    played = [i for i, won in enumerate(found["prob1_outcome"]) if won]
    p, won = ([float(found[c][i]) for i in played] for c in ("prob1", "prob1_outcome"))
    return np.array(p), np.equal(won, 1).astype("float64")


def ece(read, bins, path, norm="l1"):
    return BinStatistics.from_predictions(*read(path), bins).ece(norm)


def smooth(read, path):
    confidence, hit = read(path)
    return evaluate(hit.astype("int64"), confidence)["binary_smooth_ece"]


def of_imagenet(figure, path):
    confidence, hit = imagenet(path)
    last = confidence > 0.95
    return {
        "accuracy": hit.mean(),
        "mean confidence": confidence.mean(),
        "accuracy of the last bin": hit[last].mean(),
        "confidence of the last bin": confidence[last].mean(),
    }[figure]


def brier(read, path):
    p, y = read(path)
    return BinStatistics.from_predictions(p, y, 1).brier_score()


def three_ways(path):
    found = columns(path)
    names = ("prob1", "probtie", "prob2")
    played = [i for i, won in enumerate(found["prob1_outcome"]) if won]
    p, y = (
        np.array([[float(found[name + end][i]) for name in names] for i in played])
        for end in ("", "_outcome")
    )
    score = BrierScore(dtype="float64")
    score.update_state(y, p)
    return float(score.result())


def corp(part, forecast, path):
    """Returns a part of the Brier score, by isotonic regression on the same samples."""
    p, y = event(forecast, "obs", path)
    fitted = IsotonicCalibration(from_logits=False, dtype="float64")
    fitted.fit(p[:, None], y.astype("int64"))
    score = brier(lambda _: (p, y), path)
    recalibrated = brier(lambda _: (np.ravel(fitted(p[:, None])), y), path)
    uncertainty = y.mean() * (1 - y.mean())
    return {
        "Brier score": score,
        "miscalibration": score - recalibrated,
        "discrimination": uncertainty - recalibrated,
        "uncertainty": uncertainty,
    }[part]


# Probabilities of all classes ---------------------------------------------------------


def arrays(path):
    with np.load(path) as found:
        names = ("predictions", "ground_truth")
        names = names if names[0] in found else ("probs", "label")
        p, y = (found[name] for name in names)
    return p.astype("float64"), y.ravel().astype("int64")


def of_classes(figure, path):
    p, y = arrays(path)
    return evaluate(y, p)[figure]


@cache
def fitted(path, smallest=None):
    """Returns the fitted temperature, and the calibrated probabilities."""
    p, y = arrays(path)
    given = {} if smallest is None else {"min_probability": smallest}
    layer = TemperatureScaling(from_logits=False, dtype="float64", **given).fit(p, y)
    return layer.temperature, np.asarray(layer(p))


def temperature(path, smallest=None):
    return fitted(path, smallest)[0]


def after(path, smallest=None):
    return evaluate(arrays(path)[1], fitted(path, smallest)[1])["ece"]


# Where the predictions are from -------------------------------------------------------

RESNEXT = "imagenet_confidences/resnext101_32x8d.csv"
RESNEXT_50 = "imagenet_confidences/resnext50_32x4d.csv"
RESNET = "imagenet_confidences/resnet34.csv"
FLARES = "solar_flares/sf_c1.csv"
RAIN = "precip_niamey/precip_niamey_2016.csv"
VGG = "verified_calibration_vgg/cifar10_vgg16.npz"
DENSENET = "netcal_probs/densenet-bc-100-cifar-100.npz"
WIDERESNET = "netcal_probs/wideresnet-16-4-cifar-10.npz"
NEWS = "label_errors_outputs/20news_test_set.npz"
GAMES = "nba", "mlb", "nfl", "nhl", "wnba"
CUPS = "men", "women"


def forecasts(name):
    return f"fivethirtyeight_forecasts/{name}.csv"


RESULTS, RECORDS = "results/ImageNet_", "examples/classification/records"
# By repository on GitHub: each file, and what it is there.
FILES = {
    "hollance/reliability-diagrams": {
        RESNEXT: f"`{RESULTS}torchvision/resnext101_32x8d.csv`",
        RESNEXT_50: f"`{RESULTS}pytorch-image-models/resnext50_32x4d.csv`",
        RESNET: f"`{RESULTS}pytorch-image-models/resnet34.csv`",
    },
    "TimoDimi/replication_DGJ20": {FLARES: "`data/SF.FC.C1.csv`"},
    "aijordan/reliabilitydiag": {
        RAIN: "the data frame of `data/precip_Niamey_2016.rda`, written by `write.csv` "
        "of R with `row.names = FALSE`"
    },
    "p-lambda/verified_calibration": {
        VGG: "the two arrays of the pickle `data/cifar_probs.dat`, saved by `np.savez` "
        "as `probs` and `label`"
    },
    "EFS-OpenSource/calibration-framework": {
        DENSENET: f"`{RECORDS}/cifar100/densenet-bc-100-cifar-100.npz`",
        WIDERESNET: f"`{RECORDS}/cifar10/wideresnet-16-4-cifar-10.npz`",
    },
    "cleanlab/label-errors": {
        NEWS: "`cross_validated_predicted_probabilities/20news_test_set_pyx.npy` and "
        "`original_test_labels/20news_test_set_original_labels.npy`, saved by "
        "`np.savez` as `probs` and `label`"
    },
    "fivethirtyeight/checking-our-work-data": {
        forecasts(name): f"`{name}.csv`"
        for name in (
            *(f"{league}_games" for league in GAMES),
            *(f"world_cup_matches_{who}" for who in CUPS),
        )
    },
}

# What was printed ---------------------------------------------------------------------

NOTEBOOK, RELPLOT, CORP = "reliability-diagrams", "smooth ECE paper", "reliabilitydiag"
KUMAR = "uncertainty-calibration"
PRINTED = [
    *(
        Figure(f"ResNeXt-101, {name}", printed, NOTEBOOK, RESNEXT, compute)
        for name, printed, compute in (
            ("ECE-20", "0.08073629151433703", partial(ece, imagenet, 20)),
            (
                "largest gap",
                "0.1919470946617725",
                partial(ece, imagenet, 20, norm="max"),
            ),
            ("accuracy", "0.79312", partial(of_imagenet, "accuracy")),
            (
                "mean confidence",
                "0.8737401799026132",
                partial(of_imagenet, "mean confidence"),
            ),
            (
                "accuracy of the last bin",
                "0.94486407",
                partial(of_imagenet, "accuracy of the last bin"),
            ),
            (
                "confidence of the last bin",
                "0.99363996",
                partial(of_imagenet, "confidence of the last bin"),
            ),
        )
    ),
    *(
        Figure(f"{name}, {kind}", printed, RELPLOT, file, compute)
        for name, file, read, bins, figures in (
            ("ResNet-34", RESNET, imagenet, 15, ("0.078", "0.078")),
            ("ResNeXt-50", RESNEXT_50, imagenet, 19, ("0.058", "0.058")),
            ("solar flares, DAFFS", FLARES, flares, 15, ("0.075", "0.067")),
        )
        for kind, printed, compute in (
            (f"ECE-{bins}", figures[0], partial(ece, read, bins)),
            ("smooth ECE", figures[1], partial(smooth, read)),
        )
    ),
    *(
        Figure(
            f"rain in Niamey, EMOS, {part}", p, CORP, RAIN, partial(corp, part, "EMOS")
        )
        for part, p in (
            ("Brier score", "0.232"),
            ("miscalibration", "0.0183"),
            ("discrimination", "0.0305"),
            ("uncertainty", "0.244"),
        )
    ),
    Figure(
        "VGG16, CIFAR-10, ECE-15", "0.0397801", KUMAR, VGG, partial(of_classes, "ece")
    ),
    Figure(
        "VGG16, CIFAR-10, l2 error, debiased",
        "0.0630982",
        KUMAR,
        VGG,
        partial(of_classes, "ece_l2_debiased"),
    ),
]

# What follows from the definition -----------------------------------------------------

# The repository of the predictions, their file, what they are clipped to before the
# logarithm, and the digits of the ECE before and after the temperature, and of that.
TEMPERATURES = {
    "DenseNet, CIFAR-100": (
        "calibration-framework",
        DENSENET,
        None,
        ("0.1422", "0.0120", "2.1176095"),
    ),
    "WideResNet, CIFAR-10": (
        "calibration-framework",
        WIDERESNET,
        None,
        ("0.0537", "0.0062", "2.0525488"),
    ),
    "VGG16, CIFAR-10": ("verified_calibration", VGG, None, (None, "0.0141", "1.686")),
    "20 Newsgroups": ("label-errors", NEWS, 1e-7, ("0.2011", "0.0810", "0.627")),
}
COMPUTED = [
    *(
        Figure(f"{name}, {kind}", digits, source, file, compute)
        for name, (source, file, smallest, printed) in TEMPERATURES.items()
        for (kind, compute), digits in zip(
            (
                ("ECE-15", partial(of_classes, "ece")),
                ("ECE-15 at the best T", partial(after, smallest=smallest)),
                ("best T", partial(temperature, smallest=smallest)),
            ),
            printed,
            strict=True,
        )
        if digits
    ),
    *(
        Figure(
            f"{league.upper()}, Brier score",
            digits,
            "checking-our-work-data",
            forecasts(f"{league}_games"),
            partial(brier, game),
        )
        for league, digits in zip(
            GAMES,
            ("0.21465", "0.23988", "0.22106", "0.23126", "0.21793"),
            strict=True,
        )
    ),
    *(
        Figure(
            f"World Cup of {who}, Brier score",
            digits,
            "checking-our-work-data",
            forecasts(f"world_cup_matches_{who}"),
            three_ways,
        )
        for who, digits in zip(CUPS, ("0.5375", "0.4020"), strict=True)
    ),
]


def table(header, figures, folder):
    """Returns the figures whose file is in the folder, as Markdown."""
    found = [f.row(folder) for f in figures if (folder / f.file).exists()]
    return markdown([header, *found])


def origins():
    """Returns where the files are from, as Markdown."""
    return "\n".join(
        f"- From [{repository}](https://github.com/{repository}):\n"
        + "\n".join(f"  - `{name}`: {origin}" for name, origin in files.items())
        for repository, files in FILES.items()
    )


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--output", type=Path, help="write results.md into this folder")
    given = parser.parse_args(arguments)
    parts = (HEADER, PRINTED), (DEFINED, COMPUTED)
    results = "\n\n".join(table(*part, given.data) for part in parts)
    print(results)
    names = [name for files in FILES.values() for name in files]
    if missing := [name for name in names if not (given.data / name).exists()]:
        print("left out, for want of", ", ".join(missing), file=sys.stderr)
    if given.output:
        given.output.mkdir(parents=True, exist_ok=True)
        (given.output / "results.md").write_text(results + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
