"""One small fit on any engine: prints what came out of each case, as JSON.

    python -m tests.distribution.engines ENGINE CASE...

Run by test_engines.py, each engine in a process of its own or in several: a backend,
its devices and its cluster are made once, and a failed collective leaves a process
unusable.
"""

import contextlib
import json
import os
import sys
from typing import NamedTuple

import keras
import numpy as np

from keras_calib import (
    BrierScore,
    CalibrationGap,
    ExpectedCalibrationError,
    GammaCE,
)
from keras_calib.callbacks import GammaScheduler, linear

CLASSES, BATCH, EPOCHS, HELD_OUT = 8, 64, 3, 100
RNG = np.random.default_rng(0)
X = RNG.normal(size=(263, 8)).astype("float32")
Y = RNG.integers(0, CLASSES, 263)
WEIGHTS = [
    RNG.normal(0, 0.4, shape).astype("float32")
    for shape in ((8, 16), (16,), (16, CLASSES), (CLASSES,))
]


class Case(NamedTuple):
    """What is fitted. The weights after SGD are the sum of the gradients."""

    samples: int = 256
    rate: float = 0.1
    made: str = "inside"  # loss and metrics: in the engine's scope, or before it
    policy: str = "float32"


CASES = {
    "trained": Case(),
    "made_outside": Case(made="outside"),
    # A last batch of 7. A replica's mean is over its own samples, so that training
    # differs; a model that stands still shows loss and metrics alone.
    "ragged": Case(samples=263, rate=0.0),
    # Gradients are sums of bfloat16 products, whose rounding (1e-3) depends on how a
    # batch is cut: this model stands still, too. The reference has the same policy.
    "mixed_bfloat16": Case(rate=0.0, policy="mixed_bfloat16"),
}


def objects():
    """Returns a loss and the metrics that watch it."""
    loss = GammaCE(0.0, from_logits=True)
    metrics = [
        ExpectedCalibrationError(from_logits=True),
        ExpectedCalibrationError(norm="max", from_logits=True, name="mce"),
        CalibrationGap(from_logits=True),
        BrierScore(from_logits=True),
        loss.gamma,
    ]
    return loss, metrics


def network(policy="float32"):
    """Returns the model, the same on every backend."""
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, activation="relu", dtype=policy),
            keras.layers.Dense(CLASSES, dtype=policy, name="head"),
        ]
    )
    model.set_weights(WEIGHTS)
    return model


def fit(case, scope=contextlib.nullcontext, share=(0, 1), **options):
    """Fits on an engine that Keras's own `fit` knows.

    Args:
        case: a `Case`.
        scope: makes the context in which the model is built and fitted.
        share: rank and number of processes, each of which brings its own part of
            every batch.
        **options: of `compile`.
    """
    before = objects() if case.made == "outside" else None
    with scope():
        model = network(case.policy)
        loss, metrics = before or objects()
        optimizer = keras.optimizers.SGD(case.rate)
        model.compile(optimizer, loss, metrics=metrics, **options)
        rank, processes = share
        part = slice(rank, None, processes)
        history = model.fit(
            X[: case.samples][part],
            Y[: case.samples][part],
            batch_size=BATCH // processes,
            epochs=EPOCHS,
            shuffle=False,
            verbose=0,
            validation_data=(X[:HELD_OUT][part], Y[:HELD_OUT][part]),
            callbacks=[GammaScheduler(linear(0.0, 0.5), unit="step")],
        ).history
    return history, model


def loop(case, strategy):
    """Trains by `strategy.run`, since Keras's own `fit` knows no worker."""
    import tensorflow as tf

    before = objects() if case.made == "outside" else None
    with strategy.scope():
        model = network(case.policy)
        loss, metrics = before or objects()
        mean_loss = keras.metrics.Mean(name="loss")
        optimizer = keras.optimizers.SGD(case.rate)
        optimizer.build(model.trainable_variables)
    metrics = [mean_loss, *metrics]

    def watch(y, z):
        # A loss of Keras is divided by the replicas: their sum is the mean.
        mean_loss.update_state(loss(y, z) * strategy.num_replicas_in_sync, len(y))
        for metric in metrics[1:]:
            metric.update_state(y, z)

    def train(x, y):
        with tf.GradientTape() as tape:
            z = model(x, training=True)
            value = loss(y, z)
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        watch(y, z)

    def test(x, y):
        watch(y, model(x, training=False))

    train_step = tf.function(lambda x, y: strategy.run(train, (x, y)))
    test_step = tf.function(lambda x, y: strategy.run(test, (x, y)))

    def batches(n):
        data = tf.data.Dataset.from_tensor_slices((X[:n], Y[:n])).batch(BATCH)
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.DATA
        )
        return strategy.experimental_distribute_dataset(data.with_options(options))

    history = {}

    def note(prefix):
        for metric in metrics:
            history.setdefault(prefix + metric.name, []).append(float(metric.result()))
            metric.reset_state()

    steps = -(-case.samples // BATCH)
    model.compile(loss=loss)  # where the scheduler looks for gamma
    callbacks = keras.callbacks.CallbackList(
        [GammaScheduler(linear(0.0, 0.5), unit="step")], model=model
    )
    callbacks.set_params({"epochs": EPOCHS, "steps": steps})
    callbacks.on_train_begin()
    for epoch in range(EPOCHS):
        callbacks.on_epoch_begin(epoch)
        for step, (x, y) in enumerate(batches(case.samples)):
            callbacks.on_train_batch_begin(step)
            train_step(x, y)
            callbacks.on_train_batch_end(step)
        note("")
        for x, y in batches(HELD_OUT):
            test_step(x, y)
        note("val_")
    return history, model


# The engines: each returns the function that runs a case.


def one():
    """One device: what the others are held against."""
    return fit


def jit():
    """One device, through XLA."""
    return lambda case: fit(case, jit_compile=True)


def mirrored(replicas):
    """MirroredStrategy on logical CPUs."""
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * replicas,
    )
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
    return lambda case: fit(case, strategy.scope)


def workers():
    """MultiWorkerMirroredStrategy, of the cluster in TF_CONFIG."""
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return lambda case: loop(case, strategy)


def data_parallel():
    """Every device of JAX has its part of a batch."""
    return of_distribution(keras.distribution.DataParallel())


def model_parallel():
    """Two devices along the batch, two along the classes."""
    mesh = keras.distribution.DeviceMesh((2, 2), ["batch", "model"])
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*head/kernel"] = (None, "model")
    layout[".*head/bias"] = ("model",)
    return of_distribution(keras.distribution.ModelParallel(layout_map=layout))


def processes():
    """DataParallel over the JAX processes named in JAX_JOB: address, number, rank."""
    address, number, rank = json.loads(os.environ["JAX_JOB"])
    keras.distribution.initialize(address, number, rank)
    distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
    return of_distribution(distribution, (rank, number))


def of_distribution(distribution, share=(0, 1)):
    """Returns the function that fits under a `keras.distribution`."""

    def run(case):
        history, model = fit(case, distribution.scope, share)
        spec = model.layers[-1].kernel.value.sharding.spec
        return {**history, "sharding": str(tuple(spec))}, model

    return run


ENGINES = {
    "one": one,
    "one_jax": one,
    "jit": jit,
    "mirrored2": lambda: mirrored(2),
    "mirrored4": lambda: mirrored(4),
    "workers": workers,
    "data_parallel": data_parallel,
    "model_parallel": model_parallel,
    "processes": processes,
}


def main(engine, *cases):
    """Prints history and weights of each case."""
    run = ENGINES[engine]()
    found = {}
    for name in cases:
        history, model = run(CASES[name])
        weights = [w.tolist() for w in model.get_weights()]
        found[name] = {"history": history, "weights": weights}
    print(json.dumps(found, default=float))


if __name__ == "__main__":
    main(*sys.argv[1:])
