"""Which figure should stop a fit, if the model is calibrated afterwards?

A network is trained for a fixed number of epochs, and its logits of validation and test
samples are kept after each. Three rules, each with the same patience, choose the epoch:
the lowest validation loss, the highest validation accuracy, and the lowest refinement
loss of the validation samples, which is their loss after the best temperature. Then a
temperature is fitted to the same samples, and the test samples measured. The last epoch
is there for comparison.

    python -m examples.when_to_stop                          # digits, Fashion-MNIST
    python -m examples.when_to_stop --texts FOLDER           # BANKING77, too
    python -m examples.when_to_stop --quick                  # digits, one seed

FOLDER holds the texts as `examples/text_intents.py` reads them. The table gives means
over seeds ± the half-width of their 95 % t-interval, and is rewritten after each seed.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import keras
import numpy as np

from examples import text_intents
from examples.arguments import at_least_one
from examples.noisy_digits import digits, fashion_mnist
from examples.tables import interval, markdown, write
from keras_calib import TemperatureScaling, evaluate

PATIENCE = 5
NLL = "negative_log_likelihood"
EPOCHS = {"digits": 60, "Fashion-MNIST": 30, "BANKING77": 30}


def images(load, rows, held_out):
    """Returns a function from a seed to the layers and the three parts of the data."""

    def make(seed):
        x, x_test, y, y_test = load(seed)
        order = np.random.default_rng(seed).permutation(len(x))
        val, train = order[:held_out], order[held_out : held_out + rows]
        hidden = [keras.layers.Dense(256, activation="relu") for _ in range(2)]
        return hidden, [(x[train], y[train]), (x[val], y[val]), (x_test, y_test)]

    return make


def texts(folder):
    """Returns the same of the intents of short texts."""

    def make(seed):
        data = text_intents.load(folder, seed)
        words = keras.layers.TextVectorization(
            output_sequence_length=text_intents.WORDS
        )
        words.adapt(data.train[0])
        hidden = [
            keras.layers.Embedding(words.vocabulary_size(), 64, mask_zero=True),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dropout(0.5),
        ]
        parts = (data.train, data.held_out, data.test)
        return hidden, [(np.asarray(words(x)), y) for x, y in parts]

    return make


class Logits(keras.callbacks.Callback):
    """Keeps the logits of validation and test samples after each epoch."""

    def __init__(self, *inputs):
        super().__init__()
        self.inputs, self.found = inputs, []

    def on_epoch_end(self, epoch, logs=None):
        predict = self.model.predict
        self.found.append([predict(x, batch_size=1000, verbose=0) for x in self.inputs])


def chosen(figures):
    """Returns the epoch of the lowest figure when the patience is at its end."""
    best = 0
    for epoch, figure in enumerate(figures):
        if figure < figures[best]:
            best = epoch
        elif epoch - best >= PATIENCE:
            break
    return best


def epochs_of(logits, y):
    """Returns by rule the epoch at which it stops."""
    rules = {"validation loss": [], "validation accuracy": [], "refinement loss": []}
    for z in logits:
        temperature = TemperatureScaling(dtype="float64", from_logits=True).fit(z, y)
        before = evaluate(y, z, from_logits=True, verbose=False)
        after = evaluate(y, temperature.probabilities(z), verbose=False)
        figures = before[NLL], -before["accuracy"], after[NLL]
        for rule, figure in zip(rules.values(), figures, strict=True):
            rule.append(figure)
    found = {rule: chosen(figures) for rule, figures in rules.items()}
    return {**found, "none, the last epoch": len(logits) - 1}


def run(make, epochs, seed):
    """Trains a model, and returns the test figures of each rule."""
    keras.utils.set_random_seed(seed)
    hidden, (train, (x_val, y_val), (x_test, y_test)) = make(seed)
    output = keras.layers.Dense(int(train[1].max()) + 1)
    model = keras.Sequential([keras.Input(train[0].shape[1:]), *hidden, output])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=False)
    kept = Logits(x_val, x_test)
    model.fit(*train, batch_size=64, epochs=epochs, verbose=0, callbacks=[kept])
    scores = {}
    for rule, epoch in epochs_of([z for z, _ in kept.found], y_val).items():
        z_val, z_test = kept.found[epoch]
        scaling = TemperatureScaling(dtype="float64", from_logits=True)
        scaling.fit(z_val, y_val)
        found = evaluate(y_test, scaling.probabilities(z_test), verbose=False)
        scores[rule] = {
            "epoch": epoch + 1,
            "T": scaling.temperature,
            "NLL ↓": found[NLL],
            "accuracy ↑": found["accuracy"],
            "ECE ↓": found["ece"],
        }
    return scores


FORMS = {"epoch": "{:.1f}", "T": "{:.2f}"}


def table(name, runs):
    """Returns the figures of each rule as Markdown."""
    titles = list(next(iter(runs[0].values())))
    rows = [[f"{name}: stopped by", *titles]]
    for rule in runs[0]:
        values = ([found[rule][title] for found in runs] for title in titles)
        forms = (FORMS.get(title, "{:.4f}") for title in titles)
        rows.append([rule, *map(interval, values, forms)])
    return markdown(rows)


def main(argv=None):
    """Trains, and prints and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=Path, help="the folder of BANKING77")
    parser.add_argument("--seeds", type=at_least_one, default=5)
    parser.add_argument("--quick", action="store_true", help="digits, one seed")
    parser.add_argument("--output", type=Path, default=Path("demo_output/when_to_stop"))
    arguments = parser.parse_args(argv)
    tasks = {"digits": images(digits, 1000, 297)}
    if arguments.quick:
        arguments.seeds = 1
    else:
        tasks["Fashion-MNIST"] = images(fashion_mnist, 20000, 5000)
    if arguments.texts:
        tasks["BANKING77"] = texts(arguments.texts)
    runs = defaultdict(list)
    for seed in range(arguments.seeds):
        for name, make in tasks.items():
            epochs = 8 if arguments.quick else EPOCHS[name]
            runs[name].append(run(make, epochs, seed))
        results = "\n\n".join(table(name, found) for name, found in runs.items())
        write(arguments.output, results)
    print(results)


if __name__ == "__main__":
    main()
