"""Small models to serve, and the answers to expect from them, in numpy."""

import keras
import numpy as np

NAMES = ["ant", "bee", "cat", "dog", "eel"]


def images():
    return np.random.default_rng(0).normal(size=(33, 6, 6, 2)).astype("float32")


IMAGES = images()


def network(num_classes=5, temperature=1.7, **kwargs):
    """Returns a convolutional net with layers that behave differently in training.

    Its softmax has a temperature other than 1.
    """
    keras.utils.set_random_seed(1)
    image = keras.Input((6, 6, 2), name="image")
    x = keras.layers.Conv2D(4, 3, activation="relu")(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.Dense(num_classes, name="raw")(x)
    x = keras.layers.Rescaling(1 / temperature)(x)
    last = "sigmoid" if num_classes == 1 else "softmax"
    return keras.Model(image, keras.layers.Activation(last, **kwargs)(x))


def expected(p):
    """Returns what `serving_default` should answer for probabilities (..., K)."""
    p = np.asarray(p, "float64")
    return {
        "probabilities": p,
        "confidence": p.max(-1),
        "label": p.argmax(-1),
        "entropy": -(p * np.log(np.where(p, p, 1.0))).sum(-1),
    }


def assert_answers(answer, p, tolerance=1e-6):
    """Compares an answer of `serving_default` with probabilities."""
    wanted = expected(p)
    assert set(answer) == set(wanted)
    for key, value in wanted.items():
        np.testing.assert_allclose(
            np.asarray(answer[key], "float64"),
            value,
            rtol=0,
            atol=tolerance,
            err_msg=key,
        )


def labels(model):
    """Returns labels of `IMAGES`; the model predicts two in three of them."""
    found = np.asarray(model(IMAGES)).argmax(-1)
    found[::3] = (found[::3] + 1) % 5
    return found


def ask(folder, signature="serving_default", **inputs):
    """Returns the answer of an exported version in numpy."""
    import tensorflow as tf

    served = tf.saved_model.load(folder).signatures[signature]
    answer = served(**{name: tf.constant(value) for name, value in inputs.items()})
    return {key: value.numpy() for key, value in answer.items()}


def of_dtype(dtype):
    """Returns a model of one input, and a batch for it."""
    x = keras.Input((3,), dtype=dtype, name="x")
    if dtype == "string":
        lookup = keras.layers.StringLookup(vocabulary=["a"], output_mode="multi_hot")
        y, rows = lookup(x), np.array([["a", "é", ""], ["b", "a\0b", "a"]])
    else:
        rows = np.array([[0, 1, 1], [1, 0, 1]], "float32").astype(dtype, copy=False)
        if dtype not in ("bool", "bfloat16"):
            rows = np.array([[0, 1, 100], [7, 0, 3]], dtype)
        y = 0.01 * keras.ops.cast(x, "float32")
    return keras.Model(x, keras.layers.Dense(3, activation="softmax")(y)), rows


def parsed(lines):
    """Returns outputs by name from the C++ program's lines "name value value ..."."""
    rows = (line.split() for line in lines.splitlines())
    return {name: np.array(values, "float64") for name, *values in rows}
