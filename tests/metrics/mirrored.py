"""Evaluates every metric on N logical CPUs and prints the figures, as JSON.

Run by test_mirrored.py in a process of its own: logical devices are made once.
"""

import contextlib
import json
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_calib.metrics import BrierDecomposition, CalibrationMetrics


def main(replicas: int) -> None:
    """Prints what `evaluate` gives of 300 samples in batches of 64 and one of 44."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * max(replicas, 1)
    )
    # It makes metrics, and with them the devices that are there.
    from tests.metrics.reference import TABLE, data

    scope = contextlib.nullcontext()
    if replicas > 1:
        devices = [f"CPU:{i}" for i in range(replicas)]
        scope = tf.distribute.MirroredStrategy(devices).scope()
    y, p, w = data("classes", n=300)
    with scope:
        rows = [row for row in TABLE.values() if row.kind == "classes"]
        members = [row.make() for row in rows if row.name != "by_confidence"]
        alone = TABLE["ece"].make(name="alone")
        model = keras.Sequential([keras.Input((5,)), keras.layers.Softmax()])
        model.compile(
            "sgd",
            "sparse_categorical_crossentropy",
            weighted_metrics=[alone, CalibrationMetrics(members)],
        )
    assert any(isinstance(m, BrierDecomposition) for m in members)
    found = model.evaluate(
        np.log(p), y, sample_weight=w, batch_size=64, return_dict=True, verbose=0
    )
    found["statistics"] = alone.statistics().ece()
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
