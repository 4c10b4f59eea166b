"""Reject uncertain images: does calibration help to choose them?

A model that may reject samples keeps its most confident predictions. Which ones it
keeps depends only on the order of the confidences, and calibration need not change it.
An MLP learns scikit-learn's digits with some of the labels redrawn at random, once as
ten classes and once as odd or even with one sigmoid. `calibrate` then corrects it on
clean held-out images by several methods. The script prints means over seeds ± the
half-width of their 95 % t-interval, on clean test images: accuracy, AURC (area under
the risk-coverage curve), the accuracy on the most confident 80 %, and the ECE. The
figure shows the curves.

    python -m examples.selective_prediction
    python -m examples.selective_prediction --quick   # one seed
"""

import argparse
from collections import defaultdict
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from matplotlib import pyplot as plt

from examples.arguments import at_least_one
from examples.noisy_digits import digits, noisy
from examples.styles import style
from examples.tables import interval, markdown, write
from keras_calib import calibrate, evaluate

NOISE, COVERAGE = 0.3, 0.8
TASKS = TEN, PARITY = "ten digits", "odd or even"
METHODS = "as trained", "temperature", "vector", "isotonic"
COLUMNS = {
    "accuracy": "accuracy ↑",
    "aurc": "AURC ↓",
    "accuracy_at_coverage": f"accuracy at {COVERAGE:.0%} coverage ↑",
    "ece": "ECE ↓",
}


def network(outputs, activation, loss):
    """Returns a compiled MLP."""
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(outputs, activation=activation),
        ]
    )
    model.compile(keras.optimizers.Adam(2e-3), loss, steps_per_execution=16)
    return model


def predictions(task, seed, epochs):
    """Returns test labels and, by method, test probabilities."""
    x, x_test, y, y_test = digits(seed)
    held_out, y_held_out = x[:297].astype("float32"), y[:297]
    data = noisy((x[297:], x_test, y[297:], y_test), NOISE, seed)
    keras.utils.set_random_seed(seed)
    if task == TEN:
        model = network(10, "softmax", "sparse_categorical_crossentropy")
        y_train, y_test = data.y_train, data.y_test
    else:
        model = network(1, "sigmoid", "binary_crossentropy")
        y_train, y_held_out, y_test = (
            part % 2 for part in (data.y_train, y_held_out, data.y_test)
        )
    train_set = tf.data.Dataset.from_tensor_slices((data.x_train, y_train))
    train_set = train_set.shuffle(1000).batch(64)
    model.fit(train_set, epochs=epochs, verbose=0, shuffle=False)
    found = {"as trained": model.predict_on_batch(data.x_test)}
    for method in METHODS[1:]:
        calibrated = calibrate(model, held_out, y_held_out, method, verbose=0)
        found[method] = calibrated.predict_on_batch(data.x_test)
    return y_test, found


def risk_coverage(y, p):
    """Returns the error rate on the n most confident samples, n = 1 to N."""
    if p.shape[-1] == 1:
        p = np.concatenate([1 - p, p], axis=-1)
    order = np.argsort(-p.max(-1), kind="stable")
    wrong = (p.argmax(-1) != y)[order]
    return wrong.cumsum() / np.arange(1, len(y) + 1)


def draw(curves):
    """Draws the error rate over coverage, the mean over seeds."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    for ax, task in zip(axes, TASKS, strict=True):
        for method in METHODS:
            mean = np.mean(curves[task, method], axis=0)
            coverage = np.arange(1, len(mean) + 1) / len(mean)
            look = {"linewidth": 2, **style(method)}
            ax.plot(coverage[24:], mean[24:], label=method, **look)
        ax.set(title=task, xlabel="Coverage: fraction of images kept")
        ax.xaxis.set_major_formatter("{x:.0%}")
        ax.yaxis.set_major_formatter("{x:.0%}")
        ax.set_ylim(0, None)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("Risk: error rate on the images kept")
    axes[0].legend(frameon=False)
    return figure


def main(argv=None):
    """Prints and writes the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=at_least_one, default=5)
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument(
        "--output", type=Path, default=Path("demo_output/selective_prediction")
    )
    chosen = parser.parse_args(argv)
    tf.get_logger().setLevel("ERROR")  # each model is retraced
    curves, figures = defaultdict(list), defaultdict(list)
    for task in TASKS:
        for seed in range(1 if chosen.quick else chosen.seeds):
            y, found = predictions(task, seed, epochs=40)
            for method, p in found.items():
                curves[task, method].append(risk_coverage(y, p))
                figures[task, method].append(evaluate(y, p, coverage=COVERAGE))
    rows = [["task, calibrated by", *COLUMNS.values()]]
    for (task, method), seeds in figures.items():
        cells = (
            interval([figure[key] for figure in seeds], "{:.4f}") for key in COLUMNS
        )
        rows.append([f"{task}, {method}", *cells])
    results = markdown(rows)
    print(results)
    write(chosen.output, results, risk_coverage=draw(curves))


if __name__ == "__main__":
    main()
