"""The output of a model for a few inputs, kept in its SavedModel."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

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
        import tensorflow as tf

        function = tf.function(signatures.output, autograph=False)
        function = function.get_concrete_function(*signatures.specs)
        with tf.device("CPU:0"):
            output = function(*map(tf.constant, inputs.values()))
        return cls(
            inputs,
            tf.cast(output, tf.float64).numpy(),
            signatures.from_logits,
            signatures.class_names,
            list(signatures.functions()),
            1e-2 if _has_half_precision(signatures.model) else 1e-5,
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
            inputs = {k: kept[k] for k in kept if k.startswith("inputs/")}
            return cls(
                {k.removeprefix("inputs/"): v for k, v in inputs.items()},
                kept["output"],
                bool(kept["from_logits"]),
                kept["class_names"].tolist(),
                kept["signatures"].tolist(),
                float(kept["tolerance"]),
            )

    def write(self, path: Path) -> None:
        """Keeps the record in the SavedModel at `path`."""
        (path / _FILE).parent.mkdir(exist_ok=True)
        arrays: dict[str, Any] = {f"inputs/{k}": v for k, v in self.inputs.items()}
        np.savez_compressed(
            path / _FILE,
            output=self.output,
            from_logits=self.from_logits,
            class_names=np.array(self.class_names),
            signatures=np.array(self.signatures),
            tolerance=self.tolerance,
            **arrays,
        )

    def requests(self, rows: int | None = None) -> list[Request]:
        """Returns a request for each signature, with all rows or the first few."""
        inputs = {name: value[:rows] for name, value in self.inputs.items()}
        examples = {}
        if "classify" in self.signatures:
            examples = {"inputs": np.array(encode(inputs), dtype=object)}
        return [
            (name, examples if name in ("classify", "regress") else inputs)
            for name in self.signatures
        ]


def named_inputs(
    inputs: Any, signatures: Signatures, rows: int | None = None
) -> dict[str, np.ndarray]:
    """Returns the first rows of the inputs by name, or random inputs for `None`."""
    rng = np.random.default_rng(0)
    specs = signatures.specs
    if inputs is None:
        return {spec.name: _random(spec, rows or 8, rng) for spec in specs}
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


def _has_half_precision(model: keras.Model) -> bool:
    layers = [model, *model.layers]
    return any(layer.compute_dtype in ("float16", "bfloat16") for layer in layers)


def _random(spec: Any, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Returns standard normal floats, zeros and ones, or empty strings."""
    shape = (rows, *(4 if n is None else n for n in spec.shape[1:]))
    if spec.dtype == "string":
        return np.full(shape, b"")
    floating = spec.dtype.is_floating
    drawn = rng.normal(size=shape) if floating else rng.integers(0, 2, shape)
    array: np.ndarray = drawn.astype(spec.dtype.as_numpy_dtype)
    return array


def _as(spec: Any, given: Any) -> np.ndarray:
    array: np.ndarray = np.asarray(given)
    if spec.dtype == "string":
        return np.array(keras.tree.map_structure(_bytes, array.tolist()))
    array = array.astype(spec.dtype.as_numpy_dtype)
    if not spec.shape.is_compatible_with(array.shape):
        raise ValueError(
            f"Input {spec.name!r} must have shape {spec.shape}. Received: {array.shape}"
        )
    return array


def _bytes(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode()
