"""Trains on two logical CPUs, calibrates, exports, and prints the result as JSON.

    python -m tests.serving.mirrored POLICY FOLDER

test_export.py runs it in a new process, which can create logical devices only once.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

import keras_calib
from keras_calib.serving import export, verify
from tests.distribution.launch import mirrored
from tests.serving.tools import IMAGES, labels, network


def main(policy: str, folder: str) -> None:
    """Prints the largest difference between the served model and the model."""
    keras.config.set_dtype_policy(policy)
    strategy = mirrored(2)
    x, y = IMAGES[:32], np.arange(32) % 5
    with strategy.scope():
        model = network()
        loss = keras_calib.GammaCE(0.1)
        model.compile("sgd", loss, metrics=[loss.gamma])
    model.fit(x, y, batch_size=16, epochs=2, verbose=0)
    calibrated = keras_calib.calibrate(model, IMAGES, labels(model), verbose=0)
    path = export(calibrated, folder)
    verify(path)
    served = tf.saved_model.load(path).signatures["serving_default"]
    answer = served(image=tf.constant(IMAGES))
    p = calibrated.predict_on_batch(IMAGES)
    result = {
        "replicas": strategy.num_replicas_in_sync,
        "dtypes": sorted({v.dtype.name for v in answer.values()}),
        "temperature": calibrated.layers[-1].temperature,
        "difference": float(np.abs(answer["probabilities"] - p).max()),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
