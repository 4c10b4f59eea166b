"""Classify short texts into many imbalanced intents: losses for imbalance.

A small network (the mean of word embeddings, one hidden layer) is trained on the
imbalanced training split of BANKING77 or CLINC150, once with each loss. Both test sets
have the same number of texts in each class. The script prints two tables and writes
them, with reliability diagrams, into `demo_output/text_intents/`:

    results.md        test scores, before and after temperature scaling
    reliability.svg   the same as diagrams, the seeds pooled

The tables give means over seeds ± the half-width of their 95 % t-interval. The
temperature is fitted to held-out texts: for BANKING77 to 15 % of the training texts,
which are as imbalanced as the rest, for CLINC150 to its own, balanced validation split.

The folder holds the data as published: `*train.csv`, `*test.csv` and
`*categories.json` (github.com/PolyAI-LDN/task-specific-datasets) or
`*imbalanced.json` (github.com/clinc/oos-eval). The script detects which one it is.

    python -m examples.text_intents --data FOLDER
    python -m examples.text_intents --data FOLDER --quick   # takes seconds
"""

import argparse
import csv
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from scipy.special import log_expit
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import keras_calib
from examples.arguments import at_least_one
from examples.noisy_digits import draw_diagrams
from examples.tables import interval, markdown, over_seeds, write
from keras_calib import (
    AlphaBalancedCE,
    FocalCE,
    GammaCE,
    GradientHarmonizedBCE,
    LabelSmoothingCE,
    LogitAdjustedCE,
    TemperatureScaling,
)
from keras_calib.metrics import BinStatistics

WORDS = 24  # per text; longer texts are cut

# The data ----------------------------------------------------------------------------


@dataclass
class Intents:
    """Texts with their labels, 0 to K - 1."""

    name: str
    train: tuple[list[str], np.ndarray]
    held_out: tuple[list[str], np.ndarray]
    test: tuple[list[str], np.ndarray]
    out_of_scope: list[str]  # test texts of no class, only in CLINC150

    @property
    def counts(self):
        """The number of training texts of each class."""
        return np.bincount(self.train[1])


def load(folder, seed):
    """Reads the data set in the folder."""
    for pattern, read in (("*train.csv", banking77), ("*imbalanced.json", clinc150)):
        for path in sorted(folder.glob(pattern)):
            return read(path, seed)
    sys.exit(f"{folder} has neither *train.csv (BANKING77) nor *imbalanced.json")


def banking77(path, seed):
    """Reads two CSV files, and holds out 15 % of the training texts."""

    def read(path):
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        labels = [classes.index(row["category"]) for row in rows]
        return [row["text"] for row in rows], np.array(labels)

    (categories,) = path.parent.glob("*categories.json")
    classes = json.loads(categories.read_text(encoding="utf-8"))
    texts, labels = read(path)
    x, x_held_out, y, y_held_out = train_test_split(
        texts, labels, test_size=0.15, stratify=labels, random_state=seed
    )
    test = read(path.with_name(path.name.replace("train.csv", "test.csv")))
    return Intents("BANKING77", (x, y), (x_held_out, y_held_out), test, [])


def clinc150(path, seed):
    """Reads one JSON file, whose split is the same for every seed."""
    parts = json.loads(path.read_text(encoding="utf-8"))
    classes = sorted({label for _, label in parts["train"]})

    def read(part):
        texts, labels = zip(*parts[part], strict=True)
        return list(texts), np.array([classes.index(label) for label in labels])

    outside = [text for text, _ in parts["oos_test"]]
    return Intents("CLINC150", read("train"), read("val"), read("test"), outside)


# The losses --------------------------------------------------------------------------


def methods(counts):
    """Returns by name a function that creates a loss, and whether it is one-vs-rest.

    One-vs-rest means one sigmoid per class, which separates it from all the others.
    """

    def gamma_ce(gamma):
        return lambda: GammaCE(gamma, from_logits=True), False

    balance = (counts.mean() / counts).tolist()
    return {
        "cross-entropy": gamma_ce(0.0),
        "GammaCE(0.001)": gamma_ce(0.001),
        "GammaCE(0.01)": gamma_ce(0.01),
        "GammaCE(0.1)": gamma_ce(0.1),
        "FocalCE(2)": (lambda: FocalCE(2.0, from_logits=True), False),
        "AlphaBalancedCE(1 / count)": (
            lambda: AlphaBalancedCE(balance, from_logits=True),
            False,
        ),
        "LogitAdjustedCE(count)": (
            lambda: LogitAdjustedCE(counts.tolist()),
            False,
        ),
        "LabelSmoothingCE(0.1)": (
            lambda: LabelSmoothingCE(0.1, from_logits=True),
            False,
        ),
        "one-vs-rest BCE": (
            lambda: keras.losses.BinaryCrossentropy(from_logits=True),
            True,
        ),
        "one-vs-rest GHM": (lambda: GradientHarmonizedBCE(from_logits=True), True),
    }


DRAWN = "cross-entropy", "GammaCE(0.1)", "FocalCE(2)", "LabelSmoothingCE(0.1)"

# Training ----------------------------------------------------------------------------


@dataclass
class Run:
    """Results of one model: test scores and bins, before and after the temperature."""

    before: dict[str, float]
    after: dict[str, float]
    bins_before: BinStatistics
    bins_after: BinStatistics


def train(data, make_loss, one_vs_rest, epochs, seed):
    """Trains a model, and tests it before and after temperature scaling."""
    keras.utils.set_random_seed(seed)
    words = keras.layers.TextVectorization(output_sequence_length=WORDS)
    words.adapt(data.train[0])
    num_classes = len(data.counts)
    model = keras.Sequential(
        [
            keras.Input((WORDS,)),
            keras.layers.Embedding(words.vocabulary_size(), 64, mask_zero=True),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(num_classes),
        ]
    )
    model.compile(keras.optimizers.Adam(3e-3), make_loss(), steps_per_execution=20)
    labels = np.eye(num_classes)[data.train[1]] if one_vs_rest else data.train[1]
    model.fit(words(data.train[0]), labels, batch_size=64, epochs=epochs, verbose=0)

    def logits(texts):
        z = model.predict(words(texts), batch_size=1024, verbose=0).astype("float64")
        # The K probabilities need not sum to 1, so they are divided by their sum.
        return log_expit(z) if one_vs_rest else z

    scaling = TemperatureScaling(dtype="float64")
    scaling.fit(logits(data.held_out[0]), data.held_out[1])
    z, y = logits(data.test[0]), data.test[1]
    before = keras_calib.evaluate(y, z, from_logits=True, verbose=False)
    after = keras_calib.evaluate(y, scaling.probabilities(z), verbose=False)
    found = z.argmax(-1)
    rarest = np.argsort(data.counts, kind="stable")[: num_classes // 4]
    before["macro_f1"] = f1_score(y, found, average="macro")
    before["rare_accuracy"] = (found == y)[np.isin(y, rarest)].mean()
    if data.out_of_scope:
        confidence = keras.ops.softmax(np.concatenate([z, logits(data.out_of_scope)]))
        in_scope = np.arange(len(confidence)) < len(y)
        before["in_scope_auroc"] = roc_auc_score(in_scope, np.max(confidence, -1))
    after["temperature"] = scaling.temperature
    return Run(before, after, before.statistics, after.statistics)


def train_all(folder, seeds, epochs):
    """Returns the data set and the runs of each method, one per seed."""
    runs = defaultdict(list)
    names = list(methods(np.ones(2)))
    with tqdm(total=seeds * len(names), unit="run") as bar:
        for seed in range(seeds):
            data = load(folder, seed)
            for name, (make_loss, one_vs_rest) in methods(data.counts).items():
                bar.set_description(f"seed {seed}, {name}")
                run = train(data, make_loss, one_vs_rest, epochs, seed)
                runs[name].append(run)
                bar.update()
    return data, runs


# The tables and the figure -----------------------------------------------------------

BEFORE = {
    "accuracy": ("accuracy ↑", "{:.3f}"),
    "rare_accuracy": ("rare-class accuracy ↑", "{:.3f}"),
    "macro_f1": ("macro F1 ↑", "{:.3f}"),
    "negative_log_likelihood": ("NLL ↓", "{:.3f}"),
    "ece": ("ECE ↓", "{:.3f}"),
    "calibration_gap": ("gap → 0", "{:+.3f}"),
    "classwise_ece": ("classwise ECE ↓", "{:.4f}"),
    "in_scope_auroc": ("in-scope AUROC ↑", "{:.3f}"),
}
AFTER = {
    "temperature": ("T", "{:.3f}"),
    **{
        name: BEFORE[name]
        for name in (
            "negative_log_likelihood",
            "ece",
            "calibration_gap",
            "classwise_ece",
        )
    },
}


def table(scores, columns):
    """Returns mean ± half-width of the 95 % t-interval as a Markdown table.

    `scores` maps the name of each method to a dict of figures for each seed.
    """
    first = next(iter(scores.values()))[0]
    columns = {key: column for key, column in columns.items() if key in first}
    number = len(next(iter(scores.values())))
    rows = [[over_seeds("loss", number), *(title for title, _ in columns.values())]]
    for name, seeds in scores.items():
        cells = (
            interval([seed[key] for seed in seeds], form)
            for key, (_, form) in columns.items()
        )
        rows.append([name, *cells])
    return markdown(rows)


def draw_reliability(runs):
    """Draws diagrams before (above) and after (below), the seeds pooled."""
    pooled = {}
    for when in ("before", "after"):
        for name in DRAWN:
            first, *rest = (getattr(run, f"bins_{when}") for run in runs[name])
            pooled[f"{name}, {when}"] = sum(rest, first)
    return draw_diagrams(pooled)


def main(argv=None):
    """Trains, and prints and writes the tables and the figure."""
    tf.get_logger().setLevel("ERROR")  # each new model is retraced
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder")
    parser.add_argument("--seeds", type=at_least_one)
    parser.add_argument("--epochs", type=at_least_one)
    parser.add_argument("--quick", action="store_true", help="one seed, three epochs")
    parser.add_argument("--output", type=Path, default=Path("demo_output/text_intents"))
    chosen = parser.parse_args(argv)
    seeds = chosen.seeds or (1 if chosen.quick else 3)
    epochs = chosen.epochs or (3 if chosen.quick else 12)

    data, runs = train_all(chosen.data, seeds, epochs)
    before = {name: [run.before for run in seeds] for name, seeds in runs.items()}
    after = {name: [run.after for run in seeds] for name, seeds in runs.items()}
    results = (
        f"{data.name}: {len(data.counts)} classes of {data.counts.min()} to "
        f"{data.counts.max()} training texts, {len(data.train[1])} in all; "
        f"{len(data.test[1])} test texts; {epochs} epochs; seeds: {seeds}\n\n"
        f"{table(before, BEFORE)}\n\nAfter temperature scaling:\n\n"
        f"{table(after, AFTER)}"
    )
    print(f"\n{results}\n")
    write(chosen.output, results, reliability=draw_reliability(runs))
    print(f"results.md and reliability.svg are in {chosen.output}/")


if __name__ == "__main__":
    main()
