"""One training script for a TPU, several GPUs, one GPU and the CPU.

It does everything that XLA and bfloat16 require: static shapes (`drop_remainder=True`,
which omits 5 of the 517 test digits), a model in mixed_bfloat16 with a float32 output
layer, loss and metrics in float32, and a gamma that changes without retracing.

    python examples/tpu.py --strategy one        # one GPU, else the CPU
    python examples/tpu.py --strategy mirrored   # all GPUs, else two logical CPUs
    python examples/tpu.py --strategy tpu

`one` compiles its step with XLA, unless you give `--no-jit`. This is what a TPU does
to a step, except for its speed and its rounding. `mirrored` does not use XLA, because
Keras 3.15 fails to trace `jit_compile=True` under MirroredStrategy. `tpu` has never
been run: `make tpu-check` only compiles similar steps for TPUs.
"""

import argparse
import contextlib

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

from keras_calib import BrierScore, ExpectedCalibrationError, GammaCE
from keras_calib.callbacks import GammaScheduler, linear

TRAINING, BATCH = 1280, 128  # of 1797 digits; total over all replicas, at most
GAMMA = 0.1


def strategy(name):
    """Returns a strategy, or None for one device."""
    if name == "tpu":
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect()
        return tf.distribute.TPUStrategy(resolver)
    if name == "mirrored":
        if not tf.config.list_physical_devices("GPU"):
            cpu = tf.config.list_physical_devices("CPU")[0]
            halves = [tf.config.LogicalDeviceConfiguration()] * 2
            tf.config.set_logical_device_configuration(cpu, halves)
            return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        return tf.distribute.MirroredStrategy()
    return None


def data(batch):
    """Returns batches of equal size for training and for testing."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32").reshape(-1, 8, 8, 1)
    y = y.astype("int32")
    train = tf.data.Dataset.from_tensor_slices((x[:TRAINING], y[:TRAINING]))
    test = tf.data.Dataset.from_tensor_slices((x[TRAINING:], y[TRAINING:]))
    train = train.shuffle(TRAINING, seed=0)
    return [d.batch(batch, drop_remainder=True).prefetch(2) for d in (train, test)]


def network():
    """Returns a small convolutional network."""
    layers = keras.layers
    half = {"dtype": "mixed_bfloat16"}
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(32, 3, padding="same", use_bias=False, **half),
            layers.BatchNormalization(momentum=0.9, **half),
            layers.Activation("relu", **half),
            layers.MaxPooling2D(**half),
            layers.Flatten(**half),
            layers.Dense(128, activation="relu", **half),
            layers.Dense(10, dtype="float32"),  # bfloat16 has less than 3 digits
        ]
    )


def main(arguments=None):
    """Trains, and prints a row per epoch and one for the test set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strategy", choices=("tpu", "mirrored", "one"), default="one")
    parser.add_argument(
        "--jit",
        action=argparse.BooleanOptionalAction,
        help="XLA; on for one device, off for mirrored, and always on for a TPU",
    )
    parser.add_argument("--quick", action="store_true", help="three epochs, not twenty")
    given = parser.parse_args(arguments)
    if given.strategy != "one" and given.jit is not None:
        parser.error("--jit and --no-jit are for --strategy one")

    keras.utils.set_random_seed(0)
    engine = strategy(given.strategy)
    with engine.scope() if engine else contextlib.nullcontext():
        model = network()
        loss = GammaCE(0.0, from_logits=True)
        model.compile(
            keras.optimizers.Adam(3e-3),
            loss,
            metrics=[
                keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
                ExpectedCalibrationError(from_logits=True),
                BrierScore(from_logits=True),
                loss.gamma,
            ],
            # TPUStrategy compiles the step by itself.
            jit_compile=given.strategy == "one" and given.jit is not False,
        )
    replicas = engine.num_replicas_in_sync if engine else 1
    train, test = data(BATCH // replicas * replicas)  # Keras requires equal parts
    history = model.fit(
        train,
        epochs=3 if given.quick else 20,
        shuffle=False,
        verbose=0,
        callbacks=[GammaScheduler(linear(0.0, GAMMA), unit="step")],
    ).history
    table(history, model.evaluate(test, verbose=0, return_dict=True))


def table(history, test):
    """Prints a row per epoch and one for the test set."""
    names = ["gamma", "loss", "accuracy", "ece", "brier_score"]
    print(" " * 5 + "".join(f"{name:>12}" for name in names))
    epochs = np.transpose([history[name] for name in names])
    rows = {str(i): row for i, row in enumerate(epochs, 1)}
    rows["test"] = [test[name] for name in names]
    for name, row in rows.items():
        print(f"{name:<5}" + "".join(f"{figure:>12.4f}" for figure in row))


if __name__ == "__main__":
    main()
