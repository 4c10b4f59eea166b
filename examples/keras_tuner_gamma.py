"""Tune gamma with KerasTuner, and see why not to tune it by `val_loss`.

An MLP learns scikit-learn's digits from training labels of which a fraction is redrawn
at random. KerasTuner searches for the gamma with the lowest negative log-likelihood on
held-out images with clean labels. By default it would minimize `val_loss`, which must
not be used: the loss falls as gamma rises, whatever the model does, so a large gamma
wins without a better model. The script prints the trials by gamma, and the test scores
of either choice, and writes both tables.

    python -m examples.keras_tuner_gamma
    python -m examples.keras_tuner_gamma --quick
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import keras_tuner
import tensorflow as tf
from sklearn.model_selection import train_test_split

from examples.arguments import at_least_one
from examples.noisy_digits import NUM_CLASSES, digits, noisy
from examples.tables import markdown, write
from keras_calib import ExpectedCalibrationError, GammaCE, NegativeLogLikelihood

LEAST, LARGEST = 1e-3, 1.0
FIGURES = "val_loss", "val_nll", "val_accuracy"


def build(hp):
    """Builds a model with the gamma of a trial."""
    gamma = hp.Float("gamma", LEAST, LARGEST, sampling="log")
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(NUM_CLASSES),
        ]
    )
    model.compile(
        keras.optimizers.Adam(2e-3),
        loss=GammaCE(gamma, from_logits=True),
        metrics=[
            "accuracy",
            NegativeLogLikelihood(from_logits=True, name="nll"),
            ExpectedCalibrationError(from_logits=True),
        ],
    )
    return model


@dataclass
class Trial:
    """A gamma, and the figures of its best epoch on the held-out images."""

    id: str
    gamma: float
    val_loss: float
    val_nll: float
    val_accuracy: float


def search(data, trials, epochs, seed, folder):
    """Returns the tuner, and its trials sorted by gamma."""
    keras.utils.set_random_seed(seed)
    tuner = keras_tuner.RandomSearch(
        build,
        # Not "val_loss", which is a different loss in each trial. The direction must
        # be given, because KerasTuner cannot infer it for a metric outside Keras.
        objective=keras_tuner.Objective("val_nll", "min"),
        max_trials=trials,
        seed=seed + 1,  # KerasTuner treats 0 as no seed, and draws its own
        directory=folder,
        overwrite=True,
    )
    tuner.search(
        data.x_train,
        data.y_train,
        validation_data=(data.x_test, data.y_test),
        epochs=epochs,
        batch_size=64,
        verbose=0,
    )
    found = [
        Trial(
            trial.trial_id,
            trial.hyperparameters.get("gamma"),
            # The values are those of the epoch with the lowest val_nll.
            *(trial.metrics.get_history(name)[0].value[0] for name in FIGURES),
        )
        for trial in tuner.oracle.trials.values()
    ]
    return tuner, sorted(found, key=lambda trial: trial.gamma)


def main(argv=None):
    """Tunes gamma, prints the trials and tests the best by NLL and the best by loss."""
    tf.get_logger().setLevel("ERROR")  # each new model is retraced
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--noise", type=float, default=0.2)
    parser.add_argument("--trials", type=at_least_one)
    parser.add_argument("--epochs", type=at_least_one)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="4 trials, 5 epochs")
    parser.add_argument("--output", type=Path, default=Path("demo_output/keras_tuner"))
    chosen = parser.parse_args(argv)
    trials = chosen.trials or (4 if chosen.quick else 12)
    epochs = chosen.epochs or (5 if chosen.quick else 20)

    x, x_test, y, y_test = digits(chosen.seed)
    split = train_test_split(x, y, test_size=300, stratify=y, random_state=chosen.seed)
    # `noisy` keeps the second part, here the tuner's held-out images, clean.
    data = noisy(split, chosen.noise, chosen.seed)
    with TemporaryDirectory() as folder:
        tuner, found = search(data, trials, epochs, chosen.seed, Path(folder))
        by_gamma = [["gamma, one seed", *FIGURES]]
        for trial in found:
            figures = (f"{getattr(trial, name):.3f}" for name in FIGURES)
            by_gamma.append([f"{trial.gamma:.4f}", *figures])
        rows = [["chosen by", "gamma", "test NLL ↓", "test accuracy ↑", "test ECE ↓"]]
        for figure in ("val_nll", "val_loss"):
            best = min(found, key=lambda trial: getattr(trial, figure))
            model = tuner.load_model(tuner.oracle.get_trial(best.id))
            scores = model.evaluate(x_test, y_test, return_dict=True, verbose=0)
            shown = (scores[name] for name in ("nll", "accuracy", "ece"))
            rows.append([figure, f"{best.gamma:.4f}", *(f"{s:.3f}" for s in shown)])
    results = f"{markdown(by_gamma)}\n\n{markdown(rows)}"
    print(results)
    write(chosen.output, results)


if __name__ == "__main__":
    main()
