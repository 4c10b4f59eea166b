"""A language model trained with gamma-cross-entropy, token by token, as in TaiLr.

A causal transformer with one layer learns to predict the next word of a text from
scratch: with the settings published for TaiLr (`gamma_presets`), with a gamma of about
1/V, where V is the size of the vocabulary, and with gamma annealed. Words outside the
vocabulary are inputs but not targets (`ignore_class`). The script prints a table and
writes it, with a figure, into `demo_output/language_model/`, again after each seed:

    results.md         test scores, before and after temperature scaling
    loss_curves.svg    perplexity on held-out text, by epoch

`start` is the weight of a token for an untrained model, p = 1/V (`starting_weight`).
With more than one seed the table gives the mean ± the half-width of its 95 %
t-interval.

The data is a text file, or a folder of which all .txt files are read. The last tenth
of each file is the test set, and the tenth before is for the curves and the
temperature. The vocabulary comes from the rest: its V - 1 most frequent words and
punctuation marks.

    python -m examples.language_model --data FILE_OR_FOLDER
    python -m examples.language_model --data FILE_OR_FOLDER --quick
"""

import argparse
import re
import sys
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from matplotlib import pyplot as plt
from tqdm import tqdm

import keras_calib
from examples.arguments import at_least_one
from examples.styles import style
from examples.tables import interval, markdown, over_seeds, write
from keras_calib import (
    CalibrationGap,
    CalibrationMetrics,
    ExpectedCalibrationError,
    GammaCE,
    NegativeLogLikelihood,
    gamma_presets,
    starting_weight,
)
from keras_calib.callbacks import GammaScheduler, exponential

CONTEXT = 32  # words of context, at most
UNKNOWN = 0  # the label of a word outside the vocabulary

# The data ----------------------------------------------------------------------------


@dataclass
class Text:
    """Windows of words, and the same shifted by one: ids of shape (N, 32)."""

    num_words: int
    train: tuple[np.ndarray, np.ndarray]
    held_out: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def load(path, num_words):
    """Reads a file or a folder, with a vocabulary of at most `num_words`."""
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        sys.exit(f"{path} is neither a text file nor a folder with .txt files")
    parts = [[], [], []]
    for file in files:
        # wikitext marks its own unknown words with <unk>.
        words = re.findall(
            r"<unk>|\w+|[^\w\s]|\n", file.read_text(encoding="utf-8").lower()
        )
        tenth = len(words) // 10
        cuts = [0, len(words) - 2 * tenth, len(words) - tenth, len(words)]
        for part, start, stop in zip(parts, cuts, cuts[1:], strict=False):
            part += words[start:stop]
    counts = Counter(parts[0])
    del counts["<unk>"]
    ids = {word: i + 1 for i, (word, _) in enumerate(counts.most_common(num_words - 1))}
    return Text(len(ids) + 1, *(windows(part, ids) for part in parts))


def windows(words, ids):
    """Returns inputs and labels of shape (N, CONTEXT)."""
    found = np.array([ids.get(word, UNKNOWN) for word in words], "int32")
    stop = (len(found) - 1) // CONTEXT * CONTEXT
    return tuple(found[i : stop + i].reshape(-1, CONTEXT) for i in (0, 1))


# The losses --------------------------------------------------------------------------


def methods(num_words):
    """Returns by name functions that create a loss and its callbacks for each run."""
    settings = {"from_logits": True, "ignore_class": UNKNOWN}

    def gamma_ce(gamma, floor=0.0, *callbacks):
        return lambda: (GammaCE(gamma, floor=floor, **settings), list(callbacks))

    def preset(name):
        return lambda: (gamma_presets()[name].loss(**settings), [])

    return {
        "cross-entropy": gamma_ce(0.0),
        "TaiLr, synthetic: 1e-7, floor 0.2": preset("synthetic"),
        "TaiLr, IWSLT14: 0.1, floor 0.3, smoothed": preset("iwslt14"),
        "TaiLr, Gigaword: 0.8, floor 0.2, smoothed": preset("gigaword"),
        "GammaCE(1 / V)": gamma_ce(1 / num_words),
        "GammaCE(0.1)": gamma_ce(0.1),
        "GammaCE(0.1, floor=0.2)": gamma_ce(0.1, 0.2),
        "GammaCE, 1e-7 to 0.1": gamma_ce(
            1e-7, 0.0, GammaScheduler(exponential(1e-7, 0.1), unit="step")
        ),
    }


# Training ----------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="keras_calib_examples")
class Positions(layers.Layer):
    """Adds a learned embedding to each position of a window."""

    def build(self, input_shape):
        self.embedding = self.add_weight(shape=input_shape[1:], name="embedding")

    def call(self, x):
        return x + self.embedding


def transformer(num_words, width=48):
    """Returns a model from CONTEXT words to the logits of each next word."""
    words = keras.Input((CONTEXT,), dtype="int32")
    x = Positions()(layers.Embedding(num_words, width)(words))
    y = layers.LayerNormalization()(x)
    x += layers.MultiHeadAttention(4, width // 4)(y, y, use_causal_mask=True)
    y = layers.Dense(4 * width, activation="gelu")(layers.LayerNormalization()(x))
    x = layers.LayerNormalization()(x + layers.Dense(width)(y))
    return keras.Model(words, layers.Dense(num_words)(x))


def token_metrics(from_logits):
    """Returns the metrics of the tokens, computed in one pass."""
    reading = {"from_logits": from_logits, "ignore_class": UNKNOWN}
    return CalibrationMetrics(
        [
            NegativeLogLikelihood(name="nll", **reading),
            ExpectedCalibrationError(name="ece", **reading),
            CalibrationGap(name="gap", **reading),
        ]
    )


def test_scores(model, text, from_logits):
    """Returns the scores of the test tokens."""
    metrics = token_metrics(from_logits)
    for x, y in zip(*(np.array_split(a, 20) for a in text.test), strict=True):
        metrics.update_state(y, model(x))
    bins = metrics.metrics[1].statistics()
    scores = {name: float(value) for name, value in metrics.result().items()}
    return {
        **scores,
        "accuracy": bins.hits.sum() / bins.total,
        "perplexity": np.exp(scores["nll"]),
    }


def train(text, loss, callbacks, epochs, seed):
    """Returns scores on the test text, and perplexities on the held-out text."""
    start = first_weight(loss, text.num_words)  # before gamma changes
    keras.utils.set_random_seed(seed)
    model = transformer(text.num_words)
    model.compile(
        keras.optimizers.Adam(3e-3),
        loss=loss,
        metrics=[token_metrics(from_logits=True)],
        steps_per_execution=10,
    )
    history = model.fit(
        *text.train,
        batch_size=64,
        epochs=epochs,
        validation_data=text.held_out,  # monitored, but not used for selection
        callbacks=callbacks,
        verbose=0,
    ).history
    calibrated = keras_calib.calibrate(
        model, *text.held_out, from_logits=True, ignore_class=UNKNOWN, verbose=0
    )
    after = test_scores(calibrated, text, from_logits=False)
    return {
        **test_scores(model, text, from_logits=True),
        **{f"{name}_after": score for name, score in after.items()},
        "temperature": calibrated.layers[-1].temperature,
        "start": start,
        "curve": np.exp(history["val_nll"]),
    }


def first_weight(loss, num_words):
    """Returns the weight of a token at p = 1/V; the table replaces the warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return starting_weight(float(loss.gamma), num_words, loss.floor)


# The table and the figure ------------------------------------------------------------

COLUMNS = {
    "start": ("start", "{:.3f}"),
    "accuracy": ("accuracy ↑", "{:.3f}"),
    "perplexity": ("perplexity ↓", "{:.1f}"),
    "nll": ("NLL ↓", "{:.3f}"),
    "ece": ("ECE ↓", "{:.3f}"),
    "gap": ("gap → 0", "{:+.3f}"),
    "temperature": ("T", "{:.2f}"),
    "perplexity_after": ("perplexity at T ↓", "{:.1f}"),
    "ece_after": ("ECE at T ↓", "{:.3f}"),
}


def table(runs):
    """Returns mean ± half-width of the 95 % t-interval as a Markdown table."""
    number = len(next(iter(runs.values())))
    rows = [[over_seeds("loss", number), *(title for title, _ in COLUMNS.values())]]
    for name, seeds in runs.items():
        row = [name]
        for key, (_, form) in COLUMNS.items():
            values = [seed[key] for seed in seeds]
            # The starting weight does not depend on the seed.
            row.append(interval(values[:1] if key == "start" else values, form))
        rows.append(row)
    return markdown(rows)


def draw_loss_curves(runs):
    """Draws the perplexity on held-out text by epoch, the median over seeds."""
    figure, ax = plt.subplots(figsize=(9, 4.5), layout="constrained")
    for name, seeds in runs.items():
        median = np.median([seed["curve"] for seed in seeds], axis=0)
        ax.plot(np.arange(1, len(median) + 1), median, label=name, **style(name))
    ax.set(xlabel="Epoch", title="Perplexity on held-out text", yscale="log")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.grid(alpha=0.3)
    figure.legend(loc="outside right center")
    return figure


def main(argv=None):
    """Trains, and prints and writes the table and the figure."""
    tf.get_logger().setLevel("ERROR")  # each new model is retraced
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="file or folder")
    parser.add_argument("--words", type=int, default=1000, help="V")
    parser.add_argument("--seeds", type=at_least_one)
    parser.add_argument("--epochs", type=at_least_one)
    parser.add_argument("--quick", action="store_true", help="one seed, two epochs")
    parser.add_argument(
        "--output", type=Path, default=Path("demo_output/language_model")
    )
    chosen = parser.parse_args(argv)
    num_seeds = chosen.seeds or (1 if chosen.quick else 3)
    epochs = chosen.epochs or (2 if chosen.quick else 4)

    text = load(chosen.data, chosen.words)
    makers = methods(text.num_words)
    runs = defaultdict(list)
    with tqdm(total=num_seeds * len(makers), unit="run") as bar:
        for seed in range(num_seeds):
            for name, make in makers.items():
                bar.set_description(f"seed {seed}, {name}")
                runs[name].append(train(text, *make(), epochs, seed))
                bar.update()
            known = np.mean(text.test[1] != UNKNOWN)
            results = (
                f"{chosen.data.name}: V = {text.num_words}, {text.train[0].size} "
                f"training and {text.test[0].size} test tokens, of which "
                f"{known:.1%} are in the vocabulary; {epochs} epochs; "
                f"seeds: {seed + 1}\n\n"
                f"{table(runs)}"
            )
            curves = draw_loss_curves(runs)
            write(chosen.output, results, loss_curves=curves)
    print(f"\n{results}\n\nresults.md and loss_curves.svg are in {chosen.output}/")


if __name__ == "__main__":
    main()
