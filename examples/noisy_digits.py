"""Train on wrong labels, and see what each loss does.

An MLP learns scikit-learn's digits from training labels of which a fraction is redrawn
at random, once with each loss, and is tested on clean labels. Cross-entropy memorizes
the wrong labels; gamma-cross-entropy gives up on them. The script prints a table (mean
± standard deviation over seeds) and writes it, with three figures, into
`demo_output/`:

    results.md           accuracy, NLL, Brier score, ECE and gap on clean test labels
    reliability.svg      accuracy against confidence, the test sets of all seeds pooled
    loss_curves.svg      NLL per epoch on noisy training and on clean test labels
    gradient_norms.svg   gradient norms of right and wrong labels

Nothing is tuned on the test labels: they are only monitored, and the scores are those
of the last epoch.

    python -m examples.noisy_digits                        # digits
    python -m examples.noisy_digits --data fashion-mnist   # 60000 images
    python -m examples.noisy_digits --quick                # takes seconds
"""

import argparse
import gzip
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

from examples.arguments import at_least_one
from examples.styles import style
from examples.tables import markdown, over_seeds, write
from keras_calib import (
    BrierScore,
    CalibrationGap,
    ExpectedCalibrationError,
    FocalCE,
    GammaCE,
    LabelSmoothingCE,
    noise_matched_gamma,
)
from keras_calib.callbacks import GammaScheduler, linear
from keras_calib.metrics import BinStatistics
from keras_calib.viz import reliability_diagram

NUM_CLASSES = 10
RIGHT, WRONG = "right labels", "wrong labels"


# The losses --------------------------------------------------------------------------


def methods(noise):
    """Returns by name functions that create a loss and its callbacks for each run."""
    matched = noise_matched_gamma(noise, NUM_CLASSES)

    def gamma_ce(gamma):
        return lambda: (GammaCE(gamma, from_logits=True), [])

    return {
        "cross-entropy": lambda: (
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            [],
        ),
        "GammaCE(0.01)": gamma_ce(0.01),
        f"GammaCE({matched:.4f}), matched": gamma_ce(matched),
        "GammaCE(0.1)": gamma_ce(0.1),
        "GammaCE(0.5)": gamma_ce(0.5),
        "GammaCE, 0 to 0.5": lambda: (
            GammaCE(0.0, from_logits=True),
            [GammaScheduler(linear(0.0, 0.5))],
        ),
        "LabelSmoothingCE(0.1)": lambda: (LabelSmoothingCE(0.1, from_logits=True), []),
        "FocalCE(2)": lambda: (FocalCE(2.0, from_logits=True), []),
    }


# The data ----------------------------------------------------------------------------


@dataclass
class Data:
    """Flat images in [0, 1], with noisy training labels and clean test labels."""

    x_train: np.ndarray
    y_train: np.ndarray
    is_wrong: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def digits(seed):
    """Returns 1297 training and 500 test images of 8 x 8, split by the seed."""
    x, y = load_digits(return_X_y=True)
    return train_test_split(x / 16, y, test_size=500, stratify=y, random_state=seed)


FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def fashion_mnist(seed):
    """Returns 60000 training and 10000 test images of 28 x 28, whatever the seed."""
    if FASHION_MNIST.exists():
        x, x_test = (read_idx(f"{part}-images-idx3", 16) for part in ("train", "t10k"))
        y, y_test = (read_idx(f"{part}-labels-idx1", 8) for part in ("train", "t10k"))
    else:
        try:
            (x, y), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
        except Exception as error:
            sys.exit(
                f"Fashion-MNIST is not in {FASHION_MNIST} and cannot be downloaded "
                f"({error}).\nInstall the Debian package: apt-get install "
                "dataset-fashion-mnist\nor connect to the network, so that "
                "keras.datasets can fetch it."
            )
    x, x_test = (part.reshape(-1, 28 * 28) / 255 for part in (x, x_test))
    return x, x_test, y, y_test


def read_idx(name, header):
    """Returns the bytes of a gzipped IDX file as a flat array, without the header."""
    with gzip.open(FASHION_MNIST / f"{name}-ubyte.gz") as file:
        return np.frombuffer(file.read(), "uint8", offset=header)


def noisy(split, noise, seed):
    """Returns the data with a fraction `noise` of the training labels redrawn."""
    x, x_test, y, y_test = split
    random = np.random.default_rng(seed)
    redrawn = random.random(len(y)) < noise
    y_noisy = np.where(redrawn, random.integers(NUM_CLASSES, size=len(y)), y)
    return Data(
        x_train=x.astype("float32"),
        y_train=y_noisy.astype("int32"),
        is_wrong=y_noisy != y,  # a redrawn label may be right by chance
        x_test=x_test.astype("float32"),
        y_test=y_test.astype("int32"),
    )


# Training ----------------------------------------------------------------------------


@dataclass
class Run:
    """The results of training one model."""

    scores: dict[str, float]  # on the clean test labels, at the end
    statistics: BinStatistics  # on the same labels
    history: dict[str, list[float]]  # per epoch


def train(data, loss, callbacks, epochs, batch_size, seed):
    """Trains an MLP on the noisy labels and tests it on the clean ones."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input(data.x_train.shape[1:]),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(NUM_CLASSES),  # logits: no softmax, from_logits=True
        ]
    )
    ece = ExpectedCalibrationError(from_logits=True)
    metrics = [
        "accuracy",
        keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nll"),
        BrierScore(from_logits=True),
        ece,
        CalibrationGap(from_logits=True),
    ]
    if isinstance(loss, GammaCE):
        metrics.append(loss.gamma)  # shows gamma in the logs
    model.compile(
        keras.optimizers.Adam(2e-3),
        loss=loss,
        metrics=metrics,
        steps_per_execution=20,  # fewer switches between Python and TensorFlow
    )

    train_set = tf.data.Dataset.from_tensor_slices((data.x_train, data.y_train))
    train_set = train_set.shuffle(len(data.x_train)).batch(batch_size)
    test_set = tf.data.Dataset.from_tensor_slices((data.x_test, data.y_test))
    test_set = test_set.batch(1000)
    history = model.fit(
        train_set,
        validation_data=test_set,  # monitored, but not used for selection
        epochs=epochs,
        callbacks=[*callbacks, GradientNorms(data)],
        shuffle=False,  # the dataset shuffles
        verbose=0,
    ).history
    scores = model.evaluate(test_set, return_dict=True, verbose=0)
    return Run(scores, ece.statistics(), history)


class GradientNorms(keras.callbacks.Callback):
    """Logs the gradient norm of the loss with respect to the weights after each epoch.

    It is logged separately for images with right and wrong labels, up to 1000 of each.
    """

    def __init__(self, data):
        super().__init__()
        self.gradient_norm = tf.function(self._gradient_norm, reduce_retracing=True)
        self.look_at(data)

    def look_at(self, data):
        """Switches to other data, without retracing the function."""
        self.groups = {
            name: (data.x_train[group][:1000], data.y_train[group][:1000])
            for name, group in ((RIGHT, ~data.is_wrong), (WRONG, data.is_wrong))
            if group.any()
        }

    def on_epoch_end(self, epoch, logs):
        for name, (x, y) in self.groups.items():
            logs[name] = float(self.gradient_norm(x, y))

    def _gradient_norm(self, x, y):
        with tf.GradientTape() as tape:
            loss = self.model.loss(y, self.model(x))
        weights = [w.value for w in self.model.trainable_weights]
        return tf.linalg.global_norm(tape.gradient(loss, weights))


def train_all(load, noise, seeds, epochs, batch_size):
    """Returns the runs of each method, one per seed, with a progress bar."""
    runs = defaultdict(list)
    makers = methods(noise)
    with tqdm(total=seeds * len(makers) * epochs, unit="epoch") as bar:
        progress = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: bar.update())
        for seed in range(seeds):
            data = noisy(load(seed), noise, seed)
            for name, make in makers.items():
                bar.set_description(f"seed {seed}, {name}")
                loss, callbacks = make()
                callbacks = [*callbacks, progress]
                run = train(data, loss, callbacks, epochs, batch_size, seed)
                runs[name].append(run)
    return runs


# The table ---------------------------------------------------------------------------

COLUMNS = {
    "accuracy": ("accuracy ↑", "{:.3f}"),
    "nll": ("NLL ↓", "{:.3f}"),
    "brier_score": ("Brier ↓", "{:.3f}"),
    "ece": ("ECE ↓", "{:.3f}"),
    "calibration_gap": ("gap → 0", "{:+.3f}"),
}


def table(runs):
    """Returns the scores as a Markdown table, mean ± standard deviation over seeds."""
    number = len(next(iter(runs.values())))
    rows = [[over_seeds("loss", number), *(title for title, _ in COLUMNS.values())]]
    for name, seeds in runs.items():
        row = [name]
        for key, (_, form) in COLUMNS.items():
            values = [run.scores[key] for run in seeds]
            cell = form.format(np.mean(values))
            if len(values) > 1:
                # No-break spaces hold the two together in a narrow column.
                cell += f"\u00a0±\u00a0{np.std(values, ddof=1):.3f}"
            row.append(cell)
        rows.append(row)
    return markdown(rows)


# The figures -------------------------------------------------------------------------


def draw_reliability(runs):
    """Draws accuracy against confidence, the test sets of all seeds pooled."""
    return draw_diagrams(
        {
            name: sum((run.statistics for run in seeds[1:]), seeds[0].statistics)
            for name, seeds in runs.items()
        }
    )


def draw_diagrams(statistics, columns=4):
    """Draws reliability diagrams, with their figures above and one shared legend.

    A name may end with when it was measured.
    """
    rows = len(statistics) // columns
    size = (2.5 * columns, 3.3 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="tight")
    reliability_diagram(statistics, ax=axes)
    key = {}
    for ax, (name, of) in zip(axes.flat, statistics.items(), strict=True):
        ax.get_legend().remove()  # a panel is too small for a legend
        title = f"{name}\nECE {of.ece():.3f}, gap {of.gap():+.3f}"
        ax.set_title(title, fontsize=10, color="black")
        bars, labels = ax.get_legend_handles_labels()
        key |= zip(labels, bars, strict=True)
    # The histograms have the colors of the models' curves.
    histograms = figure.axes[axes.size :]
    for name, histogram in zip(statistics, histograms, strict=True):
        model = name.removesuffix(", before").removesuffix(", after")
        for bar in histogram.patches:
            bar.set_facecolor(style(model)["color"])
    figure.get_layout_engine().set(rect=(0, 0.08 / rows, 1, 1))
    figure.legend(key.values(), key, loc="lower center", ncols=2)
    return figure


def draw_loss_curves(runs):
    """Draws the NLL, because losses with different gammas cannot be compared."""
    return draw_curves(
        runs,
        {
            "nll": "Negative log-likelihood on noisy training labels",
            "val_nll": "Negative log-likelihood on clean test labels",
        },
    )


def draw_gradient_norms(runs):
    """Draws the gradient norms of right and wrong labels."""
    return draw_curves(
        runs,
        {
            RIGHT: "Gradient norm, images with right labels",
            WRONG: "Gradient norm, images with wrong labels",
        },
    )


def draw_curves(runs, panels):
    """Draws two logged values by epoch, a line per method: the median over seeds."""
    figure, axes = plt.subplots(
        1, 2, figsize=(12, 4.5), sharey=True, layout="constrained"
    )
    for ax, (log, title) in zip(axes, panels.items(), strict=True):
        for name, seeds in runs.items():
            if log in seeds[0].history:
                median = np.median([run.history[log] for run in seeds], axis=0)
                epochs = np.arange(1, len(median) + 1)
                ax.plot(epochs, median, label=name, **style(name))
        ax.set(title=title, xlabel="Epoch", yscale="log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    return figure


# The script --------------------------------------------------------------------------


@dataclass
class Recipe:
    """Settings for one data set."""

    load: object
    seeds: int
    epochs: int
    batch_size: int


RECIPES = {
    "digits": Recipe(digits, seeds=5, epochs=50, batch_size=64),
    "fashion-mnist": Recipe(fashion_mnist, seeds=1, epochs=15, batch_size=256),
}


def arguments(argv):
    """Returns the parsed arguments and the recipe."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=RECIPES, default="digits")
    parser.add_argument(
        "--noise", type=float, default=0.2, help="fraction of labels redrawn"
    )
    parser.add_argument(
        "--seeds", type=at_least_one, help="number of runs of each loss"
    )
    parser.add_argument("--epochs", type=at_least_one)
    parser.add_argument("--quick", action="store_true", help="one seed, two epochs")
    parser.add_argument("--output", type=Path, default=Path("demo_output"))
    chosen = parser.parse_args(argv)
    recipe = RECIPES[chosen.data]
    if chosen.seeds is None:
        chosen.seeds = 1 if chosen.quick else recipe.seeds
    if chosen.epochs is None:
        chosen.epochs = 2 if chosen.quick else recipe.epochs
    if not 0 <= chosen.noise < 1:
        parser.error(f"--noise must be in [0, 1). Received: {chosen.noise}")
    return chosen, recipe


def main(argv=None):
    """Trains, and prints and writes the table and the figures."""
    # TensorFlow would warn that each new model is retraced.
    tf.get_logger().setLevel("ERROR")
    chosen, recipe = arguments(argv)
    runs = train_all(
        recipe.load, chosen.noise, chosen.seeds, chosen.epochs, recipe.batch_size
    )
    results = table(runs)
    print(
        f"\n{chosen.data}, {chosen.noise:.0%} of the training labels redrawn, "
        f"{chosen.epochs} epochs, seeds: {chosen.seeds}; clean test labels\n\n{results}"
    )

    write(
        chosen.output,
        results,
        reliability=draw_reliability(runs),
        loss_curves=draw_loss_curves(runs),
        gradient_norms=draw_gradient_norms(runs),
    )
    print(f"\nresults.md and three figures are in {chosen.output}/")


if __name__ == "__main__":
    main()
