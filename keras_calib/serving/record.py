"""The output of a model for a few inputs, kept in its SavedModel."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_calib._keras import tensorflow as tf
from keras_calib.ops.arrays import require_whole
from keras_calib.serving.arrays import read_arrays
from keras_calib.serving.examples import encode
from keras_calib.serving.names import distinct_names
from keras_calib.serving.signatures import Signatures

# A request: the name of a signature, and its inputs by name.
Request = tuple[str, dict[str, np.ndarray]]

_SIGNATURES = ["serving_default", "logits", "classify", "regress"]
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
        report: the report of the calibrator, as JSON; empty where there is none.
    """

    inputs: dict[str, np.ndarray]
    output: np.ndarray
    from_logits: bool
    class_names: list[str]
    signatures: list[str]
    tolerance: float
    report: str = ""

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
            next(map(_as_json, filter(None, map(_report, layers))), ""),
        )

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Record:
        """Reads the record that `write` kept in the SavedModel at `path`."""
        file = os.path.join(path, _FILE)
        if not os.path.isfile(file):  # a pipe or a device need not end
            raise ValueError(
                f"There is no record to compare with: {file} is not a file"
            )
        try:
            kept = read_arrays(file)
            inputs = {k.removeprefix("inputs/"): v for k, v in kept.items() if "/" in k}
            kept.setdefault("report", np.array(""))  # written by a release before 0.3
            others = {key: kept[key].tolist() for key in cls._fields[2:]}
            record = cls(inputs, kept["output"], **others)
            if not record._fits():
                raise ValueError("its arrays do not fit together")
        except Exception as error:  # damaged text, too, raises nearly anything
            raise ValueError(
                f"{file} is damaged, or `export` did not write it: {error!r}"
            ) from error
        return record

    def write(self, path: Path) -> None:
        """Keeps the record in the SavedModel at `path`."""
        # A truncated archive loses its last arrays, so these must be required ones.
        arrays: dict[str, Any] = {"report": self.report}
        arrays |= {f"inputs/{name}": value for name, value in self.inputs.items()}
        arrays |= {name: getattr(self, name) for name in self._fields[1:]}
        np.savez_compressed(path / _FILE, **arrays)

    def _fits(self) -> bool:
        shape = self.output.shape
        rows, most = shape[:1], 4 if len(shape) == 2 else 2
        return (
            self.output.dtype == "float64"
            and self.output.size > 0
            and len(shape) > 1
            and bool(self.inputs)
            and all(x.shape[:1] == rows for x in self.inputs.values())
            and all(x.dtype.kind in "biufcS" for x in self.inputs.values())
            and distinct_names(self.class_names, max(shape[-1], 2)) == self.class_names
            and self.signatures in (_SIGNATURES[:2], _SIGNATURES[:most])
            and isinstance(self.from_logits, bool)
            and isinstance(self.tolerance, float)
            and isinstance(self.report, str)
            and 0 <= self.tolerance <= 1e-2
        )

    def requests(self, rows: int | None = None) -> list[Request]:
        """Returns a request for each signature, with all rows or the first few."""
        inputs = {name: value[:rows] for name, value in self.inputs.items()}
        requests = [("serving_default", inputs), ("logits", inputs)]
        if "classify" in self.signatures:
            examples = {"inputs": np.array(encode(inputs), dtype=object)}
            requests += [("classify", examples), ("regress", examples)]
        return requests


def _report(layer: Any) -> Any:
    return getattr(layer, "report", None)


def _as_json(report: Any) -> str:
    return json.dumps(asdict(report))


def named_inputs(
    inputs: Any, signatures: Signatures, rows: int | None = None
) -> dict[str, np.ndarray]:
    """Returns the first rows of the inputs by name, or random inputs for `None`."""
    rng = np.random.default_rng(0)
    specs = signatures.specs
    if inputs is None:
        inputs = [_random(spec, rng) for spec in specs]
    if isinstance(inputs, dict):
        inputs = _in_order(inputs, signatures)
    arrays = keras.tree.flatten(inputs)
    if len(arrays) != len(specs):
        raise ValueError(
            f"`inputs` must be one array for each input of the model, {len(specs)}. "
            f"Received: {len(arrays)}"
        )
    for array in arrays:
        require_whole("inputs", array)
    named = {
        spec.name: _as(spec, np.atleast_1d(array)[:rows])
        for spec, array in zip(specs, arrays, strict=True)
    }
    lengths = {name: len(array) for name, array in named.items()}
    if 0 in lengths.values() or len(set(lengths.values())) > 1:
        raise ValueError(
            "`inputs` must have at least one row, and all the same number of rows. "
            f"Received: {lengths}"
        )
    return named


def _in_order(inputs: dict[str, Any], signatures: Signatures) -> Any:
    """Returns inputs by name in the form in which the model takes them."""
    form = signatures.form
    by_key = isinstance(form, dict)
    names = sorted(form) if by_key else [spec.name for spec in signatures.specs]
    if sorted(inputs) != sorted(names):
        raise ValueError(
            f"`inputs` must have the names of the model's inputs, {names}. "
            f"Received: {sorted(inputs)}"
        )
    return inputs if by_key else [inputs[name] for name in names]


def _random(spec: Any, rng: np.random.Generator) -> Any:
    """Returns 8 rows of standard normal floats, zeros and ones, or empty strings."""
    shape = (8, *(4 if n is None else n for n in spec.shape[1:]))
    if spec.dtype == "string":
        return np.full(shape, b"")
    floating = spec.dtype.is_floating
    return rng.normal(size=shape) if floating else rng.integers(0, 2, shape)


def _as(spec: Any, array: np.ndarray) -> np.ndarray:
    try:
        if spec.dtype == "string":
            array = tf.convert_to_tensor(array, tf.string).numpy().astype("S")
        else:
            array = array.astype(spec.dtype.as_numpy_dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Input {spec.name!r} must be {spec.dtype.name}. Received: {array.dtype}"
        ) from error
    if not spec.shape.is_compatible_with(array.shape):
        raise ValueError(
            f"Input {spec.name!r} must have shape {spec.shape}. Received: {array.shape}"
        )
    return array
