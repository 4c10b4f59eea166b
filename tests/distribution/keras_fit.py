"""Calls Keras's own `fit`, with a loss of Keras, where it is known to fail.

    python -m tests.distribution.keras_fit NAME...

It prints one line for each name: the error, or that `fit` ran. test_keras_fit.py runs
it.
"""

import os
import sys

import keras
import numpy as np
import tensorflow as tf

from tests.distribution.launch import free_ports, mirrored


def parameter_server():
    """Returns a strategy with a worker and a parameter server in this process."""
    jobs = ("worker", "ps")
    cluster = tf.train.ClusterSpec(
        {
            job: [f"127.0.0.1:{port}"]
            for job, port in zip(jobs, free_ports(2), strict=True)
        }
    )
    for job in jobs:
        tf.distribute.Server(cluster, job_name=job, protocol="grpc")
    return tf.distribute.ParameterServerStrategy(
        tf.distribute.cluster_resolver.SimpleClusterResolver(cluster, rpc_layer="grpc")
    )


# A function that creates a strategy, the options of `compile`, and the batch size.
CASES = {
    "workers": (tf.distribute.MultiWorkerMirroredStrategy, {}, 8),
    "mirrored_xla": (lambda: mirrored(2), {"jit_compile": True}, 8),
    "mirrored_steps": (lambda: mirrored(2), {"steps_per_execution": 2}, 8),
    "mirrored_undivided": (lambda: mirrored(2), {}, 7),
    "parameter_server": (
        parameter_server,
        {},
        8,
    ),  # last, because it creates the devices
}


def main(*names):
    """Fits a linear model for an epoch."""
    for name in names:
        make, options, batch_size = CASES[name]
        with make().scope():
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
            model.compile("sgd", "mse", **options)
        x, y = np.ones((56, 4)), np.ones((56, 1))
        try:
            model.fit(x, y, batch_size=batch_size, verbose=0)
        except Exception as error:
            said = f"RAISED {type(error).__name__}: {' '.join(str(error).split())}"
        else:
            said = "RAN"
        print(name, said, flush=True)
    os._exit(0)  # the servers cannot be stopped


if __name__ == "__main__":
    main(*sys.argv[1:])
