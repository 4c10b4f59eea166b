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
from keras.src.utils.python_utils import pythonify_logs

from keras_calib import (
    BrierScore,
    CalibrationGap,
    ExpectedCalibrationError,
    GammaBCE,
    GammaCE,
)
from keras_calib.callbacks import (
    AdaptiveGamma,
    GammaScheduler,
    TrainingChecklist,
    linear,
)
from keras_calib.layers import MultiTaskModel
from keras_calib.metrics import CalibrationMetrics
from tests.distribution.launch import mirrored

CLASSES, BATCH, EPOCHS = 8, 64, 3
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
    held_out: int = 100
    rate: float = 0.1
    made: str = "inside"  # loss and metrics: in the engine's scope, or before it
    policy: str = "float32"
    every: bool = False  # all losses and metrics, not gamma-cross-entropy alone
    adaptive: bool = False  # gamma follows the gap, and a checklist looks on


CASES = {
    "trained": Case(),
    "made_outside": Case(made="outside"),
    # A last batch of 7. A replica's mean is over its own samples, so that training
    # differs; a model that stands still shows loss and metrics alone.
    "ragged": Case(samples=263, rate=0.0),
    # The forward pass in bfloat16, loss and metrics of its logits in float32.
    "mixed_bfloat16": Case(rate=0.0, policy="mixed_bfloat16"),
    # Gradients too, which are rounded to bfloat16 once a replica.
    "trained_bfloat16": Case(policy="mixed_bfloat16"),
    # On TensorFlow Keras weighs a head's batches alike, a ragged one too.
    "every": Case(held_out=128, every=True),
    "adaptive": Case(adaptive=True),
}


def gamma_alone(gamma):
    """Returns a loss and the metrics that watch it."""
    loss = GammaCE(gamma, from_logits=True)
    metrics = [
        ExpectedCalibrationError(from_logits=True),
        ExpectedCalibrationError(norm="max", from_logits=True, name="mce"),
        CalibrationGap(from_logits=True),
        BrierScore(from_logits=True),
        loss.gamma,
    ]
    return loss, metrics


def everything():
    """Returns a loss of each class, by its head, and a metric of each."""
    # The metrics' table makes one of each, and with them the devices that are there.
    from tests.losses.table import ALL, BINARY
    from tests.metrics.reference import TABLE

    losses = {name: make(from_logits=True) for name, make in ALL.items()}
    losses |= {f"labels_{n}": make(from_logits=True) for n, make in BINARY.items()}
    losses = first_of_each_class(losses) | {"column": GammaBCE(from_logits=True)}
    made = {name: row.make(from_logits=True) for name, row in TABLE.items()}
    made = first_of_each_class(made)

    def of(kind):
        return [one for name, one in made.items() if TABLE[name].kind == kind]

    metrics = {
        "gamma": [CalibrationMetrics(of("classes"))],
        "labels_gamma": of("labels"),
        "column": of("binary"),
    }
    for head, of_head in metrics.items():  # JAX sees gamma change only there
        of_head.append(losses[head].gamma)
    return losses, metrics


def first_of_each_class(made):
    """Returns the first object of each class."""
    return {
        name: one
        for i, (name, one) in enumerate(made.items())
        if type(one) not in map(type, list(made.values())[:i])
    }


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


def heads(names):
    """Returns a linear model of a task for each loss, which trains by it alone."""
    inputs = keras.Input((8,))
    dense = {name: keras.layers.Dense(5, name=f"task_{name}") for name in names}
    dense["column"] = keras.layers.Dense(1, name="task_column")
    outputs = {name: layer(inputs) for name, layer in dense.items()}
    model = keras.Model(inputs, outputs)
    for layer in dense.values():
        layer.set_weights([w[..., : layer.units] for w in WEIGHTS[:2]])
    return MultiTaskModel(model, dict.fromkeys(names, "classification"))


def data(case):
    """Returns samples, labels (by head) and weights."""
    if not case.every:
        return X, Y, np.ones(len(X), "float32")
    labels = (X[:, :5] > 0.5).astype("float32")
    binary = {"labels": labels, "column": labels[:, :1]}
    losses, _ = everything()
    y = {name: binary.get(name.partition("_")[0], Y % 5) for name in losses}
    return X, y, (Y // 3).astype("float32")


def compiled(case, scope=contextlib.nullcontext, **options):
    """Returns the compiled model of a case, made in a scope."""

    def make():
        return everything() if case.every else gamma_alone(0.5 * case.adaptive)

    before = make() if case.made == "outside" else None
    with scope():
        loss, metrics = before or make()
        model = heads(list(loss)) if case.every else network(case.policy)
        optimizer = keras.optimizers.SGD(case.rate)
        model.compile(optimizer, loss, weighted_metrics=metrics, **options)
    return model


def movers(case):
    """Returns the callbacks of a case."""
    if not case.adaptive:
        return [GammaScheduler(linear(0.0, 0.5), unit="step")]
    held_out = X[: case.held_out], Y[: case.held_out]
    return [AdaptiveGamma(), TrainingChecklist(held_out, verbose=0)]


class Watch(keras.callbacks.Callback):
    """Writes down what History does not: the ECE in the log of each batch."""

    def __init__(self):
        super().__init__()
        self.eces = []

    def on_train_batch_end(self, batch, logs=None):
        self.eces.append((logs or {}).get("ece"))


def fit(case, scope=contextlib.nullcontext, share=(0, 1), **options):
    """Fits on an engine that Keras's own `fit` knows.

    Args:
        case: a `Case`.
        scope: makes the context in which the model is built and fitted.
        share: rank and number of processes, each of which brings its own part of
            every batch.
        **options: of `compile`.
    """
    model = compiled(case, scope, **options)
    callbacks, watch = movers(case), Watch()
    rank, processes = share

    def part(n):
        rows = slice(rank, n, processes)
        return keras.tree.map_structure(lambda a: a[rows], data(case))

    x, y, w = part(case.samples)
    with scope():
        history = model.fit(
            x,
            y,
            sample_weight=w,
            batch_size=BATCH // processes,
            epochs=EPOCHS,
            shuffle=False,
            verbose=0,
            validation_data=part(case.held_out),
            callbacks=[*callbacks, watch],
        ).history
    kernel = model.trainable_variables[-2]
    layout = getattr(kernel.value, "sharding", None)  # of JAX
    return found(model, history, callbacks, eces=watch.eces, layout=str(layout))


def loop(case, strategy):
    """Trains by Keras's steps in `strategy.run`, since its `fit` knows no worker."""
    import tensorflow as tf

    model = compiled(case, strategy.scope)

    def batches(n):
        part = keras.tree.map_structure(lambda a: a[:n], data(case))
        dataset = tf.data.Dataset.from_tensor_slices(part).batch(BATCH)
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.DATA
        )
        return strategy.experimental_distribute_dataset(dataset.with_options(options))

    with strategy.scope():  # what is made at the first call
        x, y, w = keras.tree.map_structure(lambda a: a[:BATCH], data(case))
        z = model(x)
        model.compute_loss(x, y, z, w)
        model.compute_metrics(x, y, z, w)
        model.optimizer.build(model.trainable_variables)
    train = tf.function(lambda *batch: strategy.run(model.train_step, (batch,)))
    test = tf.function(lambda *batch: strategy.run(model.test_step, (batch,)))

    moving = movers(case)
    callbacks = keras.callbacks.CallbackList(
        moving,
        add_history=True,
        model=model,
        epochs=EPOCHS,
        steps=-(-case.samples // BATCH),
    )
    callbacks.on_train_begin()
    for epoch in range(EPOCHS):
        model.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        for step, batch in enumerate(batches(case.samples)):
            callbacks.on_train_batch_begin(step)
            train(*batch)
            callbacks.on_train_batch_end(step)
        logs = pythonify_logs(model.get_metrics_result())
        model.reset_metrics()
        for batch in batches(case.held_out):
            test(*batch)
        held_out = pythonify_logs(model.get_metrics_result())
        callbacks.on_epoch_end(
            epoch, logs | {f"val_{name}": value for name, value in held_out.items()}
        )
    return found(model, model.history.history, moving)


def found(model, history, callbacks, **more):
    """Returns what is compared, the bins of the last validation's ECE, and more."""
    reports = [c.report() for c in callbacks if isinstance(c, TrainingChecklist)]
    compiled = [metric for m in model.metrics for metric in getattr(m, "metrics", [m])]
    bins = [m.statistics() for m in compiled if isinstance(m, ExpectedCalibrationError)]
    return {
        "history": history,
        "weights": [w.tolist() for w in model.get_weights()],
        "epochs": [row for report in reports for row in report["epochs"]],
        "bins": [each.weight.tolist() for each in bins[:1]],
        **more,
    }


# The engines: each returns the function that runs a case.


def one():
    """One device: what the others are held against."""
    return fit


def jit():
    """One device, through XLA."""
    return lambda case: fit(case, jit_compile=True)


def replicas(number):
    """MirroredStrategy on logical CPUs."""
    strategy = mirrored(number)
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
    """Two devices along the batch, two along the classes (of "every": features)."""
    mesh = keras.distribution.DeviceMesh((2, 2), ["batch", "model"])
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*head/kernel"] = (None, "model")
    layout[".*head/bias"] = ("model",)
    layout["task_.*/kernel"] = ("model", None)  # two do not divide five classes
    return of_distribution(keras.distribution.ModelParallel(layout_map=layout))


def processes():
    """DataParallel over the JAX processes named in JAX_JOB: address, number, rank."""
    address, number, rank = json.loads(os.environ["JAX_JOB"])
    keras.distribution.initialize(address, number, rank)
    distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
    return of_distribution(distribution, (rank, number))


def of_distribution(distribution, share=(0, 1)):
    """Returns the function that fits under a `keras.distribution`."""

    return lambda case: fit(case, distribution.scope, share)


ENGINES = {
    "one": one,
    "jit": jit,
    "mirrored2": lambda: replicas(2),
    "mirrored4": lambda: replicas(4),
    "workers": workers,
    "data_parallel": data_parallel,
    "model_parallel": model_parallel,
    "processes": processes,
}


def main(engine, *cases):
    """Prints what was found in each case."""
    run = ENGINES[engine]()
    print(json.dumps({name: run(CASES[name]) for name in cases}, default=float))


if __name__ == "__main__":
    main(*sys.argv[1:])
