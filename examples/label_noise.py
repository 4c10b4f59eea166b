"""Which gamma recovers the clean probabilities, and what real label noise is like.

Synthetic noise. Points of three classes with known true probabilities (a linear
softmax) get labels of which 40 % are redrawn at random. A linear softmax, which can
represent the truth exactly, is trained on them with several gammas; the matched one,
`noise_matched_gamma(0.4, 3)`, makes the loss forward-corrected cross-entropy. The
script prints the mean total variation distance to the true probabilities on new points,
as the mean over seeds ± the half-width of its 95 % t-interval. It also prints those of
two corrections of cross-entropy: the inverse of `NoiseCorrection`, and a temperature
fitted to clean labels.

Real noise. `--data` names a folder with the files `mnist_test_set.npz` and
`mnist_mturk.json`, and those of `cifar10`, from github.com/cleanlab/label-errors:
cross-validated probabilities, the given labels, and the answers of five people about
labels that looked wrong. `NoiseCorrection` estimates the fraction of wrong labels from
the probabilities, to compare with the fraction that the people found.

    python -m examples.label_noise
    python -m examples.label_noise --data FOLDER
    python -m examples.label_noise --quick     # one seed, fewer points
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
from matplotlib import pyplot as plt
from scipy.special import softmax

from examples.styles import style
from examples.tables import interval, markdown, write
from keras_calib import (
    GammaCE,
    TemperatureScaling,
    gamma_matched_noise,
    noise_matched_gamma,
)
from keras_calib.calibrators import NoiseCorrection

NUM_CLASSES, NOISE = 3, 0.4
MATCHED = noise_matched_gamma(NOISE, NUM_CLASSES)
# The article recommends 0.2, 0.5 and 0.7 for low, medium and high noise.
GAMMAS = sorted({0.0, 0.01, 0.1, MATCHED, 0.2, 0.5, 0.7})
MATCHED_NAME = f"gamma {MATCHED:.4g}, matched"


# Synthetic noise ---------------------------------------------------------------------


def sample(random, rows, noise):
    """Returns points, their true probabilities, and labels with noise."""
    x = random.normal(size=(rows, 2))
    truth = softmax(x @ np.array([[2.0, -1.0, -1.0], [0.0, 1.7, -1.7]]), axis=-1)
    clean = (truth.cumsum(-1) < random.random((rows, 1))).sum(-1)
    redrawn = random.random(rows) < noise
    y = np.where(redrawn, random.integers(NUM_CLASSES, size=rows), clean)
    return x.astype("float32"), truth, y


def distance(p, truth):
    """Returns the mean total variation distance of rows of probabilities."""
    return float(np.abs(np.asarray(p) - truth).sum(-1).mean() / 2)


def errors(seeds, rows):
    """Returns distances to the true probabilities by method, one per seed."""
    loss = GammaCE(0.0, from_logits=True)
    # It starts from equal probabilities, whatever the seed.
    layer = keras.layers.Dense(NUM_CLASSES, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((2,)), layer])
    optimizer = keras.optimizers.Adam(0.05)
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, loss, steps_per_execution=10)
    fresh = model.get_state_tree(value_format="numpy_array")
    names = {gamma: f"gamma {gamma:.4g}" for gamma in GAMMAS}
    names |= {0.0: "cross-entropy", MATCHED: MATCHED_NAME}
    inverse = "cross-entropy, inverse correction"
    scaled = "cross-entropy, temperature from clean labels"
    found = {name: [] for name in [*names.values(), inverse, scaled]}
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        x, _, y = sample(random, rows, NOISE)
        x_clean, _, y_clean = sample(random, 2000, 0.0)
        x_new, truth, _ = sample(random, 5000, 0.0)
        for gamma, name in names.items():
            keras.utils.set_random_seed(seed)
            model.set_state_tree(fresh)
            loss.gamma.assign(gamma)
            for rate in (0.05, 0.005):  # coarse, then fine
                optimizer.learning_rate.assign(rate)
                model.fit(x, y, batch_size=max(rows // 10, 1), epochs=15, verbose=0)
            logits = model.predict_on_batch(x_new)
            found[name].append(distance(softmax(logits, axis=-1), truth))
            if not gamma:
                corrected = NoiseCorrection(MATCHED, inverse=True)(logits)
                found[inverse].append(distance(corrected, truth))
                held_out = model.predict_on_batch(x_clean)
                temperature = TemperatureScaling().fit(held_out, y_clean)
                found[scaled].append(distance(temperature(logits), truth))
    return found


def identity_error(random):
    """Returns the error of gamma-CE as rescaled forward-corrected cross-entropy."""
    p = random.dirichlet(np.ones(NUM_CLASSES), size=1000)
    y = random.integers(NUM_CLASSES, size=1000)
    loss = GammaCE(MATCHED, reduction=None, dtype="float64")
    forward = NoiseCorrection(MATCHED, from_logits=False, dtype="float64")
    q = np.asarray(forward(p))[np.arange(1000), y]
    constant = np.log(1 + (NUM_CLASSES - 1) * MATCHED)
    rescaled = (-np.log(q) - constant) / (1 - MATCHED)
    return float(np.abs(np.asarray(loss(y, p)) - rescaled).max())


# Real noise --------------------------------------------------------------------------


def real(folder, name):
    """Returns logits, given labels, and labels corrected by most of five people."""
    with np.load(folder / f"{name}_test_set.npz") as file:
        logits = np.log(np.maximum(file["probs"], 1e-12))
        given = file["label"].astype(int)
    people = json.loads((folder / f"{name}_mturk.json").read_text(encoding="utf-8"))
    better = given.copy()
    for image in people:
        if image["mturk"]["guessed"] >= 3:
            better[image["id"]] = image["our_guessed_label"]
    return logits, given, better


def real_row(folder, name):
    """Returns the estimates and the people's findings for one data set."""
    logits, given, better = real(folder, name)
    k = logits.shape[-1]
    row = [name, f"{np.mean(given != better):.2%}"]
    for scale in (1.0, TemperatureScaling().fit(logits, given).temperature):
        correction = NoiseCorrection().fit(logits / scale, given)
        gamma = float(np.ravel(correction.get_weights()[0])[0])
        # Of the redrawn labels, a fraction (K - 1) / K is wrong.
        row.append(f"{gamma_matched_noise(gamma, k) * (k - 1) / k:.2%}")
    return row


# The script --------------------------------------------------------------------------


def draw(found):
    """Draws the distance to the true probabilities by method."""
    figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
    means = {name: np.mean(values) for name, values in found.items()}
    color = style(MATCHED_NAME)["color"]
    colors = [color if name == MATCHED_NAME else "#bbbbbb" for name in means]
    bars = ax.barh(list(means), list(means.values()), color=colors)
    ax.bar_label(bars, fmt="{:.3f}", padding=3)
    ax.invert_yaxis()
    ax.set(xlabel="Mean total variation distance to the true probabilities")
    ax.set_title(f"{NOISE:.0%} of the labels redrawn at random")
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def main(argv=None):
    """Prints the tables, and writes them and the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of real label errors")
    parser.add_argument("--quick", action="store_true", help="one seed, fewer points")
    parser.add_argument("--output", type=Path, default=Path("demo_output/label_noise"))
    chosen = parser.parse_args(argv)
    found = errors(*((1, 4000) if chosen.quick else (5, 20000)))
    rows = [["method", "distance to the true probabilities"]]
    rows += [[name, interval(values, "{:.4f}")] for name, values in found.items()]
    results = markdown(rows)
    print(results)
    error = identity_error(np.random.default_rng(0))
    print(f"\ngamma-CE minus rescaled forward-corrected cross-entropy: {error:.1e}")
    write(chosen.output, results, label_noise=draw(found))
    if chosen.data:
        rows = [
            ["labels", "wrong, found by people", "estimated", "after a temperature"]
        ]
        rows += [real_row(chosen.data, name) for name in ("mnist", "cifar10")]
        results = markdown(rows)
        print(f"\n{results}")
        (chosen.output / "real.md").write_text(results + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
