"""The output of a model for a few inputs, kept in its SavedModel."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_calib._keras import tensorflow as tf
from keras_calib.serving.examples import encode
from keras_calib.serving.signatures import Signatures

# A request: the name of a signature, and its inputs by name.
Request = tuple[str, dict[str, np.ndarray]]

_FILE = os.path.join("assets.extra", "keras_calib.npz")


class Record(NamedTuple):
    """The output of a model for a few inputs, and how to read it.

    Attributes:
        inputs: arrays by the name of the input.
        output: the output of the model itself.
        from_logits: whether the output is logits.
        class_names: names of the classes.
        signatures: names of the signatures.
        tolerance: the largest difference in a probability that rounding explains.
    """

    inputs: dict[str, np.ndarray]
    output: np.ndarray
    from_logits: bool
    class_names: list[str]
    signatures: list[str]
    tolerance: float

    @classmethod
    def of(cls, signatures: Signatures, inputs: dict[str, np.ndarray]) -> Record:
        """Runs the model on the CPU, so that a machine without a GPU can repeat it."""
        function = tf.function(signatures.output, signatures.specs, autograph=False)
        with tf.device("CPU:0"):
            output = function(*map(tf.constant, inputs.values()))
        layers = [signatures.model, *signatures.model.layers]
        half = any(layer.compute_dtype in ("float16", "bfloat16") for layer in layers)
        return cls(
            inputs,
            tf.cast(output, tf.float64).numpy(),
            signatures.from_logits,
            signatures.class_names,
            list(signatures.functions()),
            1e-2 if half else 1e-5,
        )

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Record:
        """Reads the record that `write` kept in the SavedModel at `path`."""
        file = os.path.join(path, _FILE)
        if not os.path.exists(file):
            raise ValueError(
                f"There is no record to compare with: {file} does not exist"
            )
        with np.load(file) as kept:
            inputs = {k.removeprefix("inputs/"): v for k, v in kept.items() if "/" in k}
            others = {key: kept[key].tolist() for key in cls._fields[2:]}
            return cls(inputs, kept["output"], **others)

    def write(self, path: Path) -> None:
        """Keeps the record in the SavedModel at `path`."""
        arrays: dict[str, Any] = self._asdict()
        inputs = arrays.pop("inputs")
        arrays |= {f"inputs/{name}": value for name, value in inputs.items()}
        np.savez_compressed(path / _FILE, **arrays)

    def requests(self, rows: int | None = None) -> list[Request]:
        """Returns a request for each signature, with all rows or the first few."""
        inputs = {name: value[:rows] for name, value in self.inputs.items()}
        requests = [("serving_default", inputs), ("logits", inputs)]
        if "classify" in self.signatures:
            examples = {"inputs": np.array(encode(inputs), dtype=object)}
            requests += [("classify", examples), ("regress", examples)]
        return requests


def named_inputs(
    inputs: Any, signatures: Signatures, rows: int | None = None
) -> dict[str, np.ndarray]:
    """Returns the first rows of the inputs by name, or random inputs for `None`."""
    rng = np.random.default_rng(0)
    specs = signatures.specs
    if inputs is None:
        inputs = [_random(spec, rng) for spec in specs]
    arrays = keras.tree.flatten(inputs)
    if len(arrays) != len(specs):
        raise ValueError(
            f"`inputs` must be one array for each of the model's {len(specs)} inputs. "
            f"Received: {len(arrays)}"
        )
    return {
        spec.name: _as(spec, array[:rows])
        for spec, array in zip(specs, arrays, strict=True)
    }


def _random(spec: Any, rng: np.random.Generator) -> Any:
    """Returns 8 rows of standard normal floats, zeros and ones, or empty strings."""
    shape = (8, *(4 if n is None else n for n in spec.shape[1:]))
    if spec.dtype == "string":
        return np.full(shape, b"")
    floating = spec.dtype.is_floating
    return rng.normal(size=shape) if floating else rng.integers(0, 2, shape)


def _as(spec: Any, given: Any) -> np.ndarray:
    array: np.ndarray
    if spec.dtype == "string":
        array = tf.convert_to_tensor(given, tf.string).numpy().astype("S")
    else:
        array = np.asarray(given).astype(spec.dtype.as_numpy_dtype)
    if not spec.shape.is_compatible_with(array.shape):
        raise ValueError(
            f"Input {spec.name!r} must have shape {spec.shape}. Received: {array.shape}"
        )
    return array
