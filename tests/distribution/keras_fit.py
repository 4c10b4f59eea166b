"""Keras's own `fit` of a stock loss, on the workers of TF_CONFIG.

Prints what it raised, or that it ran. Run by test_keras_fit.py.
"""

import keras
import numpy as np
import tensorflow as tf


def main():
    """Fits a linear model for an epoch."""
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    try:
        model.fit(np.ones((32, 4)), np.ones((32, 1)), batch_size=8, verbose=0)
    except Exception as error:
        print(f"RAISED {type(error).__name__}:", " ".join(str(error).split()))
    else:
        print("RAN")


if __name__ == "__main__":
    main()
