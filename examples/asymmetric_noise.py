"""Noise that depends on the class: a matrix, a gamma, or a robust loss.

Clothes of Fashion-MNIST are taken for what they resemble: a fraction of the ankle boots
is labeled sneaker, of the sneakers sandal, of the pullovers shirt, and of the coats
dress and the other way around. An MLP is trained on 20000 such images with each loss,
and tested on clean labels in the last epoch, before and after a temperature fitted to
5000 clean images.

The losses get what is known of the noise: `ForwardCorrectedCE` its matrix, or the
estimate of cleanlab from cross-validated probabilities (left out where cleanlab is not
installed), the matched gamma the fraction of wrong labels, the others nothing. Once
the fit with the matrix stops at `noise_floor`.

    python -m examples.asymmetric_noise
    python -m examples.asymmetric_noise --quick     # digits, one seed, two epochs

The tables give means over seeds ± the half-width of their 95 % t-interval. They are
rewritten after each seed.
"""

import argparse
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
from scipy.special import softmax

from examples.arguments import at_least_one
from examples.noisy_digits import NUM_CLASSES, digits, fashion_mnist
from examples.tables import interval, markdown
from keras_calib import (
    ForwardCorrectedCE,
    GammaCE,
    GeneralizedCE,
    GradientWeightedCE,
    TemperatureScaling,
    evaluate,
    noise_floor,
    noise_matched_gamma,
)
from keras_calib.callbacks import NoiseFloor

NOISES = 0.2, 0.4
# Ankle boot to sneaker, sneaker to sandal, pullover to shirt, coat and dress.
CONFUSED = {9: 7, 7: 5, 2: 6, 4: 3, 3: 4}
NLL = "negative_log_likelihood"


def transition(noise):
    """Returns the matrix of P(label | true class)."""
    matrix = np.eye(NUM_CLASSES)
    for true, label in CONFUSED.items():
        matrix[true, [true, label]] = 1 - noise, noise
    return matrix


def data(load, seed, noise, sizes):
    """Returns noisy training, clean held-out and clean test images with labels."""
    x, x_test, y, y_test = load(seed)
    random = np.random.default_rng(seed)
    train, held_out = np.split(random.permutation(len(x))[: sum(sizes)], sizes[:1])
    chances = transition(noise)[y[train]].cumsum(-1)
    noisy = (chances < random.random((len(train), 1))).sum(-1)
    x, x_test = x.astype("float32"), x_test.astype("float32")
    return (x[train], noisy), (x[held_out], y[held_out]), (x_test, y_test)


def trained(x, y, loss, epochs, seed, callbacks=()):
    """Returns a function from images to logits."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(NUM_CLASSES),
        ]
    )
    model.compile(
        keras.optimizers.Adam(1e-3), loss, jit_compile=False, steps_per_execution=20
    )
    model.fit(x, y, batch_size=128, epochs=epochs, verbose=0, callbacks=list(callbacks))
    return lambda x: model.predict(x, batch_size=1000, verbose=0)


def estimated(x, y, epochs, seed):
    """Returns cleanlab's estimate, from probabilities of the other half's model."""
    from cleanlab.count import compute_confident_joint, estimate_latent

    probabilities = np.empty((len(y), NUM_CLASSES))
    half = np.arange(len(y)) % 2 == 0
    for part in (half, ~half):
        loss = GammaCE(0.0, from_logits=True)
        predict = trained(x[~part], y[~part], loss, epochs, seed)
        probabilities[part] = softmax(predict(x[part]).astype("float64"), -1)
    joint = compute_confident_joint(y, probabilities)
    return estimate_latent(joint, y)[1].T


def methods(noise, estimate):
    """Returns by name a loss and its callbacks."""
    matrix = transition(noise)
    # The losses below know at most how many labels are wrong.
    wrong = 1 - np.diag(matrix).mean()
    matched = noise_matched_gamma(wrong * NUM_CLASSES / (NUM_CLASSES - 1), NUM_CLASSES)

    def of_matrix(matrix):
        return ForwardCorrectedCE(matrix, from_logits=True)

    stop = NoiseFloor(noise_floor(matrix), stop=True)
    found = {
        "cross-entropy": (GammaCE(0.0, from_logits=True), []),
        "matrix": (of_matrix(matrix), []),
        "matrix, to the floor": (of_matrix(matrix), [stop]),
        "estimated matrix": (of_matrix(estimate), []) if estimate is not None else None,
        "matched gamma": (GammaCE(matched, from_logits=True), []),
        "GammaCE(0.1)": (GammaCE(0.1, from_logits=True), []),
        "GeneralizedCE(0.7)": (GeneralizedCE(0.7, from_logits=True), []),
        "PHuber(10)": (GradientWeightedCE("phuber", from_logits=True), []),
    }
    return {name: made for name, made in found.items() if made}


def scores(predict, held_out, test):
    """Returns the figures on clean test labels, before and after a temperature."""
    z, y = predict(test[0]).astype("float64"), test[1]
    scaling = TemperatureScaling(dtype="float64", from_logits=True)
    scaling.fit(predict(held_out[0]), held_out[1])
    before = evaluate(y, z, from_logits=True, verbose=False)
    after = evaluate(y, scaling.probabilities(z), verbose=False)
    return {
        "accuracy ↑": before["accuracy"],
        "NLL ↓": before[NLL],
        "ECE ↓": before["ece"],
        "gap → 0": before["calibration_gap"],
        "T": scaling.temperature,
        "NLL after T ↓": after[NLL],
        "ECE after T ↓": after["ece"],
    }


def table(runs):
    """Returns the figures of each method as Markdown."""
    titles = list(next(iter(runs.values()))[0])
    rows = [["loss", *titles]]
    for name, seeds in runs.items():
        form = {title: "{:+.3f}" if "gap" in title else "{:.3f}" for title in titles}
        rows.append([name, *(interval([s[t] for s in seeds], form[t]) for t in titles)])
    return markdown(rows)


def main(argv=None):
    """Trains, and prints and writes the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=at_least_one, default=5)
    parser.add_argument("--epochs", type=at_least_one, default=20)
    parser.add_argument("--quick", action="store_true", help="digits, one seed")
    parser.add_argument("--output", type=Path, default=Path("demo_output/label_noise"))
    chosen = parser.parse_args(argv)
    load, sizes, noises = fashion_mnist, (20000, 5000), NOISES
    if chosen.quick:
        chosen.seeds, chosen.epochs = 1, 2
        load, sizes, noises = digits, (900, 300), NOISES[:1]
    runs = {noise: defaultdict(list) for noise in noises}
    for seed in range(chosen.seeds):
        for noise in noises:
            train, held_out, test = data(load, seed, noise, sizes)
            estimate = None
            if find_spec("cleanlab"):
                estimate = estimated(*train, chosen.epochs, seed)
            for name, (loss, callbacks) in methods(noise, estimate).items():
                predict = trained(*train, loss, chosen.epochs, seed, callbacks)
                runs[noise][name].append(scores(predict, held_out, test))
        results = "\n\n".join(
            f"{noise:.0%} of the labels of five classes wrong, {chosen.epochs} epochs, "
            f"seeds: {seed + 1}\n\n{table(runs[noise])}"
            for noise in noises
        )
        chosen.output.mkdir(parents=True, exist_ok=True)
        (chosen.output / "asymmetric.md").write_text(results + "\n", encoding="utf-8")
    print(results)


if __name__ == "__main__":
    main()
