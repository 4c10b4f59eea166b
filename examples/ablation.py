"""Which gamma is best under how much label noise: an ablation of the choices.

The script trains an MLP with gamma-cross-entropy for every combination of

    gamma   0 (cross-entropy), 0.01, 0.1, 0.5, and 0 to 0.5 over the run
    noise   0, 10, 30, 50 % of the training labels redrawn at random
    start   from scratch; fine-tuned: first trained with cross-entropy on other, clean
            images (300 of the digits, 10000 of Fashion-MNIST)
    extra   none; label smoothing 0.1 (GammaCE's own); mixup, with uniform weights

and tests it on clean labels, before and after temperature scaling on clean held-out
images. Epochs, learning rate and noisy images are the same for all. The tables give
means over seeds ± the half-width of their 95 % t-interval, and the same for paired
differences (same seed, so same split, noise and initial weights). The output files are

    results.md           a table for each start and extra, and the differences
    runs.csv             the figures of each run
    measures.svg         four metrics over noise, a line for each gamma
    calibration.svg      ECE by extra, before and after temperature scaling
    gradient_norms.svg   gradient norms of right and wrong labels, 30 % noise
    loss_curves.svg      NLL on noisy training and clean test labels, 30 % noise
    reliability.svg      reliability diagrams, 30 % noise, the seeds pooled

The script rewrites them after each start and extra, so you may stop it early.

    python -m examples.ablation                        # digits
    python -m examples.ablation --data fashion-mnist
    python -m examples.ablation --quick                # takes seconds
"""

import argparse
import csv
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from matplotlib import pyplot as plt
from tqdm import tqdm

from examples import tables
from examples.arguments import at_least_one
from examples.noisy_digits import (
    NUM_CLASSES,
    RIGHT,
    WRONG,
    GradientNorms,
    Run,
    digits,
    draw_diagrams,
    draw_gradient_norms,
    draw_loss_curves,
    fashion_mnist,
    noisy,
)
from examples.styles import style
from examples.tables import interval, markdown
from keras_calib import CalibrationMetrics, GammaCE, TemperatureScaling
from keras_calib.callbacks import GammaScheduler, linear

GAMMAS = {"0": 0.0, "0.01": 0.01, "0.1": 0.1, "0.5": 0.5, "0 to 0.5": None}
NOISES = (0.0, 0.1, 0.3, 0.5)
STARTS = SCRATCH, TUNED = "from scratch", "fine-tuned"
EXTRAS = PLAIN, SMOOTHED, MIXED = "no extra", "label smoothing", "mixup"
SHOWN_NOISE = 0.3  # for the figures over epochs


@dataclass(frozen=True)
class Recipe:
    """Settings for one data set."""

    load: object
    held_out: int  # clean images for the temperature
    clean: int  # clean images for the first training
    epochs: int
    batch_size: int


RECIPES = {
    "digits": Recipe(digits, 297, 300, epochs=30, batch_size=64),
    "fashion-mnist": Recipe(fashion_mnist, 10000, 10000, epochs=15, batch_size=256),
}


# Training ----------------------------------------------------------------------------


class Learner:
    """A network whose training step is compiled once, for all fits of one extra."""

    def __init__(self, extra, features, recipe, rows):
        self.extra, self.recipe = extra, recipe
        smoothing = 0.1 if extra == SMOOTHED else 0.0
        # `fit` sets gamma.
        self.loss = GammaCE(0.0, label_smoothing=smoothing, from_logits=True)
        self.make = lambda: keras.Sequential(
            [
                keras.Input((features,)),
                keras.layers.Dense(128, activation="relu"),
                keras.layers.Dense(128, activation="relu"),
                keras.layers.Dense(NUM_CLASSES),
            ]
        )
        self.model = self.make()
        optimizer = keras.optimizers.Adam(2e-3)
        optimizer.build(self.model.trainable_variables)
        steps = min(-(-rows // recipe.batch_size), 20)
        self.model.compile(optimizer, self.loss, steps_per_execution=steps)
        self.fresh = self.model.get_state_tree(value_format="numpy_array")
        self.watch = None

    def fit(self, data, gamma, weights, epochs, seed, watched=False):
        """Trains from the given weights, and returns the history."""
        keras.utils.set_random_seed(seed)
        self.model.set_state_tree(self.fresh)  # resets the optimizer, too
        self.model.set_weights(weights)
        value = GAMMAS[gamma]
        self.loss.gamma.assign(value or 0.0)
        callbacks = [] if value is not None else [GammaScheduler(linear(0.0, 0.5))]
        train_set = tf.data.Dataset.from_tensor_slices((data.x_train, data.y_train))
        train_set = train_set.shuffle(len(data.x_train)).batch(self.recipe.batch_size)
        if self.extra == MIXED:
            train_set = train_set.map(mixup)
        if watched:
            if self.watch is None:
                self.watch = Watch(data)
            self.watch.look_at(data)
            callbacks.append(self.watch)
        return self.model.fit(
            train_set, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=0
        ).history


def mixup(x, y):
    """Mixes a shuffled batch with itself, shifted by one."""
    weight = tf.random.uniform([])  # Beta(1, 1), the default of Zhang et al., ICLR 2018
    y = tf.one_hot(y, NUM_CLASSES)
    return tuple(weight * a + (1 - weight) * tf.roll(a, 1, axis=0) for a in (x, y))


class Watch(GradientNorms):
    """Logs gradient norms, and the NLL of up to 1000 images, after each epoch."""

    def __init__(self, data):
        super().__init__(data)
        self.nll = tf.function(self._nll, reduce_retracing=True)

    def look_at(self, data):
        super().look_at(data)
        self.sets = {
            "nll": (data.x_train[:1000], data.y_train[:1000]),
            "val_nll": (data.x_test[:1000], data.y_test[:1000]),
        }

    def on_epoch_end(self, epoch, logs):
        super().on_epoch_end(epoch, logs)
        for name, (x, y) in self.sets.items():
            logs[name] = float(self.nll(x, y))

    def _nll(self, x, y):
        logits = self.model(x)
        nll = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
        return tf.reduce_mean(nll)


def measure(y, predictions, from_logits):
    """Returns the scores and the bins of the predictions."""
    metrics = CalibrationMetrics(from_logits=from_logits)
    metrics.update_state(y, predictions)
    scores = {name: float(score) for name, score in metrics.result().items()}
    scores["accuracy"] = float(np.mean(np.argmax(predictions, -1) == y))
    return scores, metrics.metrics[0].statistics()


def runs_of_block(recipe, start, extra, seeds, epochs):
    """Yields the key and the run for each gamma, noise and seed."""
    learner = None
    for seed in range(seeds):
        x, x_test, y, y_test = recipe.load(seed)
        order = np.random.default_rng(seed).permutation(len(x))
        ends = np.cumsum([recipe.held_out, recipe.clean])
        held_out, clean, rest = np.split(order, ends)
        x_held_out = x[held_out].astype("float32")
        learner = learner or Learner(extra, x.shape[1], recipe, len(rest))
        keras.utils.set_random_seed(seed)
        weights = learner.make().get_weights()
        if start == TUNED:
            first = noisy((x[clean], x_test, y[clean], y_test), 0.0, seed)
            weights = pretrained(first, weights, recipe, seed)
        for noise, gamma in product(NOISES, GAMMAS):
            data = noisy((x[rest], x_test, y[rest], y_test), noise, seed)
            history = learner.fit(
                data, gamma, weights, epochs, seed, watched=extra == PLAIN
            )
            logits = learner.model.predict_on_batch(data.x_test)
            scores, statistics = measure(y_test, logits, from_logits=True)
            scaling = TemperatureScaling().fit(
                learner.model.predict_on_batch(x_held_out), y[held_out]
            )
            after, _ = measure(y_test, np.asarray(scaling(logits)), from_logits=False)
            scores |= {f"{name} after": score for name, score in after.items()}
            scores["temperature"] = scaling.temperature
            for name in (RIGHT, WRONG):
                if name in history:
                    scores[name] = np.mean(history[name])
            yield (start, extra, gamma, noise), Run(scores, statistics, history)


@lru_cache
def plain_learner(recipe, features, rows):
    """Returns the learner that all first trainings share."""
    return Learner(PLAIN, features, recipe, rows)


def pretrained(data, weights, recipe, seed):
    """Returns the weights after training with cross-entropy on clean labels."""
    plain = plain_learner(recipe, data.x_train.shape[1], len(data.x_train))
    plain.fit(data, "0", weights, recipe.epochs, seed)
    return plain.model.get_weights()


# The tables --------------------------------------------------------------------------

COLUMNS = {
    "accuracy": ("accuracy ↑", "{:.3f}"),
    "negative_log_likelihood": ("NLL ↓", "{:.3f}"),
    "brier_score": ("Brier ↓", "{:.3f}"),
    "ece": ("ECE ↓", "{:.3f}"),
    "calibration_gap": ("gap → 0", "{:+.3f}"),
    "temperature": ("T", "{:.2f}"),
    "negative_log_likelihood after": ("NLL after T", "{:.3f}"),
    "ece after": ("ECE after T", "{:.3f}"),
    RIGHT: ("gradient norm, right labels", "{:.3f}"),
    WRONG: ("gradient norm, wrong labels", "{:.3f}"),
}


class Difference(NamedTuple):
    """A gamma's score minus another's, or minus its own without the extra."""

    score: str
    gamma: str
    other: str  # a gamma, or PLAIN
    start: str = SCRATCH
    extra: str = PLAIN


NLL = "negative_log_likelihood"

# The claims made for gamma-cross-entropy, and the difference that tests each.
CLAIMS = {
    "gamma 0.1 improves calibration: ECE": Difference("ece", "0.1", "0"),
    "gamma 0.5 improves calibration: ECE": Difference("ece", "0.5", "0"),
    "gamma 0.1 lowers confidence: gap": Difference("calibration_gap", "0.1", "0"),
    "gamma 0.1 improves accuracy: accuracy": Difference("accuracy", "0.1", "0"),
    "gamma 0.5 improves accuracy: accuracy": Difference("accuracy", "0.5", "0"),
    "from scratch, 0.01 suffices: accuracy, 0.1 minus 0.01": Difference(
        "accuracy", "0.1", "0.01"
    ),
    "fine-tuned, larger is better: accuracy, 0.1 minus 0.01": Difference(
        "accuracy", "0.1", "0.01", TUNED
    ),
    "from scratch, noise needs 0.5: accuracy, 0.5 minus 0.1": Difference(
        "accuracy", "0.5", "0.1"
    ),
    "fine-tuned, noise needs 0.5: accuracy, 0.5 minus 0.1": Difference(
        "accuracy", "0.5", "0.1", TUNED
    ),
    "from scratch, noise needs 0.5: NLL, 0.5 minus 0.1": Difference(NLL, "0.5", "0.1"),
    "annealing beats a constant: accuracy, annealed minus 0.5": Difference(
        "accuracy", "0 to 0.5", "0.5"
    ),
    "0.01 with label smoothing: ECE, with minus without": Difference(
        "ece", "0.01", PLAIN, extra=SMOOTHED
    ),
    "0.5 with label smoothing: accuracy, with minus without": Difference(
        "accuracy", "0.5", PLAIN, extra=SMOOTHED
    ),
    "cross-entropy with mixup: accuracy, with minus without": Difference(
        "accuracy", "0", PLAIN, extra=MIXED
    ),
    "0.1 with mixup: accuracy, with minus without": Difference(
        "accuracy", "0.1", PLAIN, extra=MIXED
    ),
    "fine-tuned, 0 to 0.5 with mixup: NLL, with minus without": Difference(
        NLL, "0 to 0.5", PLAIN, TUNED, MIXED
    ),
    "0.1 after a temperature: NLL, 0.1 minus cross-entropy": Difference(
        f"{NLL} after", "0.1", "0"
    ),
}


def blocks(runs):
    """Returns the starts and extras that were run."""
    return list(dict.fromkeys(key[:2] for key in runs))


def results(runs):
    """Returns a table for each start and extra."""
    parts = []
    for start, extra in blocks(runs):
        rows = [["noise, gamma", *(title for title, _ in COLUMNS.values())]]
        for noise, gamma in product(NOISES, GAMMAS):
            seeds = runs[start, extra, gamma, noise]
            row = [f"{noise:.0%}, {gamma}"]
            for key, (_, form) in COLUMNS.items():
                values = [run.scores[key] for run in seeds if key in run.scores]
                row.append(interval(values, form) if values else "")
            rows.append(row)
        parts.append(f"{start}, {extra}\n\n{markdown(rows)}")
    return "\n\n".join(parts)


def differences(runs):
    """Returns a table of the paired differences for all claims that were run."""
    rows = [["claim", *(f"{noise:.0%} noise" for noise in NOISES)]]
    for claim, (score, gamma, other, start, extra) in CLAIMS.items():
        against = (start, other, gamma) if other == PLAIN else (start, extra, other)
        if not {(start, extra), against[:2]} <= set(blocks(runs)):
            continue
        row = [claim]
        for noise in NOISES:
            pairs = zip(
                runs[start, extra, gamma, noise], runs[*against, noise], strict=True
            )
            row.append(
                interval(
                    [a.scores[score] - b.scores[score] for a, b in pairs], "{:+.3f}"
                )
            )
        rows.append(row)
    return markdown(rows)


# The figures -------------------------------------------------------------------------


def draw_measures(runs):
    """Draws four metrics over noise, a line for each gamma."""
    columns = list(COLUMNS.items())[:4]
    starts = [start for start, extra in blocks(runs) if extra == PLAIN]
    figure, axes = plt.subplots(
        len(starts),
        4,
        figsize=(15, 1 + 3.4 * len(starts)),
        squeeze=False,
        sharey="col",
        layout="constrained",
    )
    for row, start in zip(axes, starts, strict=True):
        for ax, (key, (title, _)) in zip(row, columns, strict=True):
            for gamma in GAMMAS:
                means = [
                    np.mean(
                        [run.scores[key] for run in runs[start, PLAIN, gamma, noise]]
                    )
                    for noise in NOISES
                ]
                name = f"gamma {gamma}"
                ax.plot(NOISES, means, "o", label=name, **style(name), ms=4)
            ax.set(title=f"{title}  {start}", xticks=NOISES)
            ax.xaxis.set_major_formatter("{x:.0%}")
            ax.grid(alpha=0.3)
    figure.supxlabel("Training labels redrawn at random")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center")
    return figure


def draw_calibration(runs):
    """Draws the ECE of training from scratch by gamma and noise, for each extra."""
    extras = [extra for start, extra in blocks(runs) if start == SCRATCH]
    scores = {"ece": "ECE", "ece after": "ECE after T"}
    figure, axes = plt.subplots(
        2,
        len(extras),
        figsize=(1.5 + 4.2 * len(extras), 7.5),
        squeeze=False,
        layout="constrained",
    )
    for row, (key, title) in zip(axes, scores.items(), strict=True):
        for ax, extra in zip(row, extras, strict=True):
            values = [
                [
                    np.mean([r.scores[key] for r in runs[SCRATCH, extra, gamma, noise]])
                    for noise in NOISES
                ]
                for gamma in GAMMAS
            ]
            image = ax.imshow(values, cmap="cividis_r", vmin=0, vmax=0.3)
            for (i, j), value in np.ndenumerate(values):
                color = "white" if value > 0.15 else "black"
                ax.text(j, i, f"{value:.3f}", ha="center", va="center", color=color)
            ax.set_title(f"{title}, {extra}")
            ax.set_xticks(range(len(NOISES)), [f"{noise:.0%}" for noise in NOISES])
            ax.set_yticks(range(len(GAMMAS)), GAMMAS)
            ax.set(xlabel="Labels redrawn", ylabel="Gamma")
    figure.colorbar(image, ax=axes, shrink=0.6)
    return figure


def write(runs, output):
    """Writes tables and figures, and returns the tables."""
    output.mkdir(parents=True, exist_ok=True)
    with (output / "runs.csv").open("w", newline="", encoding="utf-8") as file:
        names = ["start", "extra", "gamma", "noise", "seed", *COLUMNS]
        table = csv.DictWriter(file, names, extrasaction="ignore")
        table.writeheader()
        for key, seeds in runs.items():
            for seed, run in enumerate(seeds):
                table.writerow(
                    {**dict(zip(names, [*key, seed], strict=False)), **run.scores}
                )
    shown = {
        f"gamma {gamma}": runs[SCRATCH, PLAIN, gamma, SHOWN_NOISE] for gamma in GAMMAS
    }
    pooled = {
        name: sum((run.statistics for run in seeds[1:]), seeds[0].statistics)
        for name, seeds in shown.items()
    }
    text = f"{results(runs)}\n\ndifferences\n\n{differences(runs)}"
    tables.write(
        output,
        text,
        measures=draw_measures(runs),
        calibration=draw_calibration(runs),
        gradient_norms=draw_gradient_norms(shown),
        loss_curves=draw_loss_curves(shown),
        reliability=draw_diagrams(pooled, len(pooled)),
    )
    return text


def main(argv=None):
    """Trains all combinations, and prints and writes the tables and figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=RECIPES, default="digits")
    parser.add_argument("--seeds", type=at_least_one)
    parser.add_argument("--quick", action="store_true", help="one seed, two epochs")
    parser.add_argument("--output", type=Path, default=Path("demo_output/ablation"))
    chosen = parser.parse_args(argv)
    recipe = RECIPES[chosen.data]
    kinds = [(PLAIN, SCRATCH)] if chosen.quick else list(product(EXTRAS, STARTS))
    seeds = chosen.seeds or (1 if chosen.quick else 5)
    epochs = 2 if chosen.quick else recipe.epochs
    runs = defaultdict(list)
    with tqdm(total=len(kinds) * len(GAMMAS) * len(NOISES) * seeds, unit="fit") as bar:
        for extra, start in kinds:
            for key, run in runs_of_block(recipe, start, extra, seeds, epochs):
                runs[key].append(run)
                bar.update()
            text = write(runs, chosen.output)
    print(f"\n{chosen.data}, {epochs} epochs, seeds: {seeds}\n\n{text}")


if __name__ == "__main__":
    main()
