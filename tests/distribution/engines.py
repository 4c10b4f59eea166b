"""Fits a small model on an engine, and prints what it found in each case as JSON.

    python -m tests.distribution.engines ENGINE CASE...

test_engines.py runs each engine in one or several new processes, because a process
can create a backend, its devices and its cluster only once, and a failed collective
operation leaves it unusable.
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
    FusedHeadModel,
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
TASK_CLASSES = 5  # of the case with every loss


def arrays():
    """Returns the samples, their labels and the first weights of the model."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(263, 8)).astype("float32")
    y = rng.integers(0, CLASSES, 263)
    shapes = [(8, 16), (16,), (16, CLASSES), (CLASSES,)]
    return x, y, [rng.normal(0, 0.4, shape).astype("float32") for shape in shapes]


X, Y, WEIGHTS = arrays()


class Case(NamedTuple):
    """What is fitted. With SGD, the weights show the sum of the gradients."""

    samples: int = 256
    held_out: int = 100
    rate: float = 0.1
    made_inside: bool = True  # loss and metrics: in the engine's scope or before it
    policy: str = "float32"
    every: bool = False  # all losses and metrics, not gamma-cross-entropy alone
    adaptive: bool = False  # AdaptiveGamma moves gamma, and TrainingChecklist watches
    scheduled: bool = False  # the loss has a schedule, which no callback knows
    fused: bool = False  # without the logits of all samples
    gamma: str = "gamma"  # the name of a gamma in the history

    @property
    def rounds_outputs(self) -> bool:
        """Whether the outputs of the model are rounded to less than float32."""
        return self.policy != "float32"

    @property
    def rounds_gradients(self) -> bool:
        """Whether rounded gradients move the weights."""
        return self.rounds_outputs and self.rate > 0

    @property
    def divides(self) -> bool:
        """Whether every batch of training is full, so that devices can share it."""
        return self.samples % BATCH == 0


CASES = {
    "trained": Case(),
    "made_outside": Case(made_inside=False),
    # The last batch has 7 samples. A replica takes the mean over its own samples, so
    # training differs; with fixed weights, loss and metrics can still be compared.
    "ragged": Case(samples=263, rate=0.0),
    # The forward pass is in bfloat16, loss and metrics of its logits in float32.
    "mixed_bfloat16": Case(rate=0.0, policy="mixed_bfloat16"),
    # Each replica rounds its gradients to bfloat16 too.
    "trained_bfloat16": Case(policy="mixed_bfloat16"),
    # On TensorFlow, Keras gives all batches of a head the same weight, even a smaller
    # last one; 128 held-out samples make full batches.
    "every": Case(held_out=128, every=True, gamma="gamma_gamma"),
    "adaptive": Case(adaptive=True),
    "fused": Case(fused=True),
    "scheduled": Case(scheduled=True),
    "scheduled_outside": Case(scheduled=True, made_inside=False),
}


class Task(NamedTuple):
    """What an output of the model is trained and measured by."""

    kind: str  # "classes", "labels" or "binary", as in the table of metrics
    loss: keras.losses.Loss
    metrics: list


def gamma_task(gamma):
    """Returns a task with gamma-cross-entropy and the metrics of calibration."""
    loss = GammaCE(gamma, from_logits=True)
    metrics = [
        ExpectedCalibrationError(from_logits=True),
        ExpectedCalibrationError(norm="max", from_logits=True, name="mce"),
        CalibrationGap(from_logits=True),
        BrierScore(from_logits=True),
        loss.gamma,
    ]
    return Task("classes", loss, metrics)


def every_task():
    """Returns a task for each class of loss; three of them have all metrics."""
    # Importing the table of metrics creates some, and with them the devices.
    from tests.losses.table import ALL, BINARY
    from tests.metrics.reference import TABLE

    of_classes = {name: row(from_logits=True) for name, row in ALL.items()}
    of_labels = {f"labels_{n}": row(from_logits=True) for n, row in BINARY.items()}
    losses = {
        "classes": first_of_each_class(of_classes),
        "labels": first_of_each_class(of_labels),
        "binary": {"column": GammaBCE(0.0, from_logits=True)},
    }
    tasks = {
        name: Task(kind, loss, [])
        for kind, of_kind in losses.items()
        for name, loss in of_kind.items()
    }
    made = {name: row.make(from_logits=True) for name, row in TABLE.items()}
    metrics = {kind: [] for kind in losses}
    for name, metric in first_of_each_class(made).items():
        metrics[TABLE[name].kind].append(metric)
    metrics["classes"] = [CalibrationMetrics(metrics["classes"])]
    for name in ("gamma", "labels_gamma", "column"):
        task = tasks[name]
        # JAX updates gamma only where it is also a metric.
        task.metrics.extend([*metrics[task.kind], task.loss.gamma])
    return tasks


def first_of_each_class(made):
    """Returns the first object of each class."""
    first = {}
    for name, one in made.items():
        first.setdefault(type(one), (name, one))
    return dict(first.values())


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


def heads(tasks):
    """Returns a model with a linear head for each task, which its loss alone trains."""
    units = {"classes": TASK_CLASSES, "labels": TASK_CLASSES, "binary": 1}
    dense = {
        name: keras.layers.Dense(units[task.kind], name=f"task_{name}")
        for name, task in tasks.items()
    }
    inputs = keras.Input((8,))
    outputs = {name: layer(inputs) for name, layer in dense.items()}
    model = keras.Model(inputs, outputs)
    for layer in dense.values():
        layer.set_weights([w[..., : layer.units] for w in WEIGHTS[:2]])
    return MultiTaskModel(model, dict.fromkeys(tasks, "classification"))


def data(case):
    """Returns the samples, the labels (a dictionary by head if many) and weights."""
    if not case.every:
        return X, Y, np.ones(len(X), "float32")
    labels = (X[:, :TASK_CLASSES] > 0.5).astype("float32")
    y = {"classes": Y % TASK_CLASSES, "labels": labels, "binary": labels[:, :1]}
    by_head = {name: y[task.kind] for name, task in every_task().items()}
    return X, by_head, (Y // 3).astype("float32")


def compiled(case, scope=contextlib.nullcontext, **options):
    """Returns the compiled model of a case, created in a scope."""

    def make():
        if case.scheduled:
            decay = keras.optimizers.schedules.PolynomialDecay
            return gamma_task(decay(0.0, EPOCHS * case.samples // BATCH, 0.5))
        return every_task() if case.every else gamma_task(0.5 * case.adaptive)

    before = None if case.made_inside else make()
    with scope():
        made = before or make()
        if case.every:
            model = heads(made)
            loss = {name: task.loss for name, task in made.items()}
            metrics = {n: task.metrics for n, task in made.items() if task.metrics}
        else:
            model, loss, metrics = network(case.policy), made.loss, made.metrics
            model = FusedHeadModel(model, chunk_size=10) if case.fused else model
        optimizer = keras.optimizers.SGD(case.rate)
        model.compile(optimizer, loss, weighted_metrics=metrics, **options)
    return model


def movers(case):
    """Returns the callbacks of a case."""
    if case.scheduled:
        return []
    if not case.adaptive:
        return [GammaScheduler(linear(0.0, 0.5), unit="step")]
    held_out = X[: case.held_out], Y[: case.held_out]
    return [AdaptiveGamma(), TrainingChecklist(held_out, verbose=0)]


class Watch(keras.callbacks.Callback):
    """Records what History leaves out: the ECE in the log of each batch."""

    def __init__(self):
        super().__init__()
        self.eces = []

    def on_train_batch_end(self, batch, logs=None):
        self.eces.append((logs or {}).get("ece"))


def fit(case, scope=contextlib.nullcontext, share=(0, 1), **options):
    """Fits with Keras's own `fit`, and returns what was found.

    Args:
        case: a `Case`.
        scope: function that creates the context to build and fit the model in.
        share: rank of this process and number of processes; each feeds its own part
            of every batch.
        **options: arguments of `compile`.
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
    """Runs Keras's steps in `strategy.run`, because its `fit` supports no workers."""
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

    with strategy.scope():  # creates what Keras would create at the first step
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
        logs = floats(model.get_metrics_result())
        model.reset_metrics()
        for batch in batches(case.held_out):
            test(*batch)
        held_out = floats(model.get_metrics_result())
        callbacks.on_epoch_end(
            epoch, logs | {f"val_{name}": value for name, value in held_out.items()}
        )
    return found(model, model.history.history, moving)


def floats(logs):
    """Returns results of metrics by name as Python numbers, without nesting."""
    flat = {}
    for name, value in logs.items():
        flat |= floats(value) if isinstance(value, dict) else {name: float(value)}
    return flat


def found(model, history, callbacks, **more):
    """Returns what the test compares; the bins are those of the last validation."""
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


# Each engine is a function that returns the function that runs a case.


def one():
    """One device, the reference for the others."""
    return fit


def jit():
    """One device, compiled by XLA."""
    return lambda case: fit(case, jit_compile=True)


def replicas(number):
    """MirroredStrategy on logical CPUs."""
    strategy = mirrored(number)
    return lambda case: fit(case, strategy.scope)


def workers():
    """MultiWorkerMirroredStrategy on the cluster that TF_CONFIG describes."""
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return lambda case: loop(case, strategy)


def data_parallel():
    """DataParallel: each JAX device has a part of the batch."""
    return of_distribution(keras.distribution.DataParallel())


def model_parallel():
    """ModelParallel: two devices along the batch, two along the last kernel.

    The last kernel is divided by class, and those of the tasks by feature.
    """
    mesh = keras.distribution.DeviceMesh((2, 2), ["batch", "model"])
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*head/kernel"] = (None, "model")
    layout[".*head/bias"] = ("model",)
    layout["task_.*/kernel"] = ("model", None)  # two devices cannot share five classes
    return of_distribution(keras.distribution.ModelParallel(layout_map=layout))


def processes():
    """DataParallel on the processes of JAX_JOB: address, number and rank."""
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
    """Runs the cases, and prints what was found in each."""
    run = ENGINES[engine]()
    print(json.dumps({name: run(CASES[name]) for name in cases}, default=float))


if __name__ == "__main__":
    main(*sys.argv[1:])
