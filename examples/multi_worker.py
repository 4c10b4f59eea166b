"""Train on several machines: gamma anneals, metrics are exact, a crash is survived.

Keras's own `fit` does not run under MultiWorkerMirroredStrategy (Keras 3.15), so
`train` contains a custom loop around `strategy.run`. Four things make its results equal
those on one device:

- The loss is a sum (`reduction="sum"`) divided by the size of the global batch, not of
  the worker's part of it, so a partial last batch counts each sample once.
- Loss, metrics and optimizer are created in the strategy's scope, so the metrics' sums
  are added over the workers. Created outside, each worker would report its own result.
- Gamma is a function of the step, and every worker sets it before the step.
- A checkpoint holds weights, optimizer, gamma and the metrics' sums, so a restarted job
  continues in the middle of an epoch as if it had never stopped.

Without TF_CONFIG the script starts two workers on this machine, and restarts the job
when one of them dies; `--kill-at` kills one:

    python examples/multi_worker.py --kill-at 40

With TF_CONFIG (https://www.tensorflow.org/guide/distributed_training) it is one worker.
Start it on every machine, restart it on all of them when one dies, and set `--output`
to a folder that all of them can access. The training set has 1031 digits, a prime
number, so the last batch is partial whatever the batch size.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

from keras_calib import (
    BrierScore,
    CalibrationGap,
    ExpectedCalibrationError,
    GammaCE,
)
from keras_calib.callbacks import linear

TRAINING, BATCH, SAVE_EVERY = 1031, 64, 5
STEPS = -(-TRAINING // BATCH)  # per epoch
ANNEAL = linear(0.0, 0.3)


def data():
    """Returns images and labels for training and for testing."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    return x[:TRAINING], y[:TRAINING], x[TRAINING:], y[TRAINING:]


def network():
    """Returns the model, with the same weights on every worker."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


def watchers():
    """Returns the metrics."""
    return [
        keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
        ExpectedCalibrationError(from_logits=True),
        CalibrationGap(from_logits=True),
        BrierScore(from_logits=True),
    ]


def order(epoch):
    """Returns the order of an epoch's samples, the same on every worker."""
    return np.random.default_rng(epoch).permutation(TRAINING)


def train(output, epochs, kill_at=None):
    """Runs one worker: trains from the last checkpoint in `output`, if there is one."""
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    rank = strategy.cluster_resolver.task_id or 0
    with strategy.scope():
        model, metrics = network(), watchers()
        loss = GammaCE(0.0, from_logits=True, reduction="sum")
        optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
        optimizer.build(model.trainable_variables)

    @tf.function
    def train_step(x, y):
        def replica(x, y):
            context = tf.distribute.get_replica_context()
            size = context.all_reduce("SUM", tf.cast(tf.shape(y)[0], "float32"))
            with tf.GradientTape() as tape:
                logits = model(x, training=True)
                value = loss(y, logits) / size
            # The optimizer adds the gradients of the replicas.
            gradients = tape.gradient(value, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
            for metric in metrics:
                metric.update_state(y, logits)

        strategy.run(replica, (x, y))

    @tf.function
    def test_step(x, y):
        def replica(x, y):
            logits = model(x, training=False)
            for metric in metrics:
                metric.update_state(y, logits)

        strategy.run(replica, (x, y))

    def batches(x, y):
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.DATA
        )
        dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)
        return strategy.experimental_distribute_dataset(dataset.with_options(options))

    def results():
        # These are sums over the workers, so every worker must call this.
        return {metric.name: float(metric.result()) for metric in metrics}

    def reached():
        return {"gamma": float(loss.gamma), **results()}

    def forget():
        for metric in metrics:
            metric.reset_state()

    checkpoint = tf.train.Checkpoint(
        weights=[v.value for v in model.variables],
        optimizer=[v.value for v in optimizer.variables],
        metrics=[v.value for metric in metrics for v in metric.variables],
        gamma=loss.gamma.variable.value,
    )
    # Every worker must save, because it takes part in the sums; rank 0's file is kept.
    folder = output / "checkpoints" if rank == 0 else Path(tempfile.mkdtemp())
    manager = tf.train.CheckpointManager(checkpoint, folder, max_to_keep=2)
    saved = tf.train.latest_checkpoint(output / "checkpoints")
    if saved is not None:
        checkpoint.restore(saved).assert_consumed()
        say(rank, f"resumed at step {int(optimizer.iterations.numpy())}, {reached()}")

    x, y, x_test, y_test = data()
    for epoch in range(int(optimizer.iterations.numpy()) // STEPS, epochs):
        first = int(optimizer.iterations.numpy()) - epoch * STEPS
        if first == 0:
            forget()
        rest = order(epoch)[first * BATCH :]
        for step, batch in enumerate(batches(x[rest], y[rest]), epoch * STEPS + first):
            if rank == 1 and step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            loss.gamma.assign(ANNEAL(step / (epochs * STEPS - 1)))
            train_step(*batch)
            if (step + 1) % SAVE_EVERY == 0:
                manager.save()
        say(rank, shown({"epoch": epoch + 1, **reached()}))
    last = reached()  # restored, if a worker died after the last step
    forget()
    for batch in batches(x_test, y_test):
        test_step(*batch)
    test = results()
    say(rank, "test " + shown(test))
    if rank == 0:
        model.save(output / "digits.keras")
        report = json.dumps({"last": last, "test": test}, indent=1)
        (output / "results.json").write_text(report, encoding="utf-8")
    else:
        shutil.rmtree(folder)


def shown(figures):
    """Returns figures as one line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())


def say(rank, text):
    """Prints on the first worker only."""
    if rank == 0:
        print(text, flush=True)


def launch(arguments, output, kill_at, workers=2, attempts=3):
    """Starts workers on this machine, and restarts all of them when one dies."""
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
    for _ in range(attempts):
        ports = free_ports(workers)
        cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
        killing = [] if kill_at is None else ["--kill-at", str(kill_at)]
        running = []
        for rank in range(workers):
            task = {"type": "worker", "index": rank}
            config = json.dumps({"cluster": cluster, "task": task})
            command = [sys.executable, __file__, *arguments, *killing]
            running.append(
                subprocess.Popen(command, env={**os.environ, "TF_CONFIG": config})
            )
        while all(process.poll() in (None, 0) for process in running):
            if all(process.poll() == 0 for process in running):
                return
            time.sleep(0.1)
        for process in running:
            process.kill()
            process.wait()
        print("a worker died; restarting the job", flush=True)
        kill_at = None
    raise SystemExit(f"A worker died in each of {attempts} attempts")


def free_ports(number):
    """Returns free ports of this machine."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def main(arguments=None):
    """Runs a worker if TF_CONFIG is set, and starts two workers otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two epochs, not ten")
    parser.add_argument("--kill-at", type=int, help="the step at which a worker dies")
    parser.add_argument("--output", type=Path, default=Path("demo_output/multi_worker"))
    given = parser.parse_args(arguments)
    given.output.mkdir(parents=True, exist_ok=True)
    if "TF_CONFIG" in os.environ:
        train(given.output, 2 if given.quick else 10, given.kill_at)
        return
    passed_on = ["--output", str(given.output), *(["--quick"] if given.quick else [])]
    launch(passed_on, given.output, given.kill_at)


if __name__ == "__main__":
    main()
