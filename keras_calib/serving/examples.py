"""Inputs of a model as tf.Examples, which `classify` and `regress` take."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_calib._keras import tensorflow as tf


def features(specs: list[Any]) -> dict[str, Any] | None:
    """Returns the features by which a tf.Example is parsed into the inputs.

    Args:
        specs: a `tf.TensorSpec` for each input, with its batch axis.

    Returns:
        A `tf.io.FixedLenFeature` (float32, int64 or string) by the name of the input,
        or `None` if the length of an input is not known, or it is complex.
    """
    if any(s.dtype.is_complex or not s.shape[1:].is_fully_defined() for s in specs):
        return None
    return {
        spec.name: tf.io.FixedLenFeature(spec.shape[1:], _feature_dtype(spec.dtype))
        for spec in specs
    }


def encode(inputs: dict[str, np.ndarray]) -> list[bytes]:
    """Returns a serialized tf.Example for each row of the inputs.

    Example:

    >>> from keras_calib.serving.examples import encode
    >>> len(encode({"image": np.zeros((3, 2, 2), "float32")}))
    3
    """

    def feature(row: np.ndarray) -> tf.train.Feature:
        values = np.ravel(row)
        if values.dtype.kind in "SO":
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        if values.dtype.kind in "iub":
            values = values.astype("int64")
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    def example(*rows: np.ndarray) -> tf.train.Example:
        named = dict(zip(inputs, map(feature, rows), strict=True))
        return tf.train.Example(features=tf.train.Features(feature=named))

    rows = zip(*inputs.values(), strict=True)
    return [example(*row).SerializeToString() for row in rows]


def _feature_dtype(dtype: Any) -> Any:
    if dtype.is_integer or dtype.is_bool:
        return tf.int64
    return tf.string if dtype == tf.string else tf.float32
