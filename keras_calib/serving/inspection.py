"""Finds in the graph of a SavedModel what keeps it from being served."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_calib._keras import tensorflow as tf

# These cover stateful, stateless and seeded ops.
_RANDOM = re.compile(
    "Random|Rng|Multinomial|TruncatedNormal|Stateful(Uniform|Standard)"
)
# The REST API of a server has no name for other types.
_SERVED_TYPES = ("float32", "float64", "int32", "int64", "bool", "string")


def problems(path: str | os.PathLike[str]) -> list[str]:
    """Describes what would keep the SavedModel at `path` from being served.

    It looks for ops that run Python, ops that TensorFlow does not have, functions
    that must be compiled by XLA (which a server refuses by default), ops that draw
    random numbers (dropout left on), and outputs without a batch axis or of a type
    that a server cannot send.

    Args:
        path: the folder of a SavedModel.

    Returns:
        A sentence for each problem.

    Raises:
        ValueError: if there is no SavedModel, or it is damaged.

    Example:

    >>> import tempfile, tensorflow as tf
    >>> from keras_calib.serving.inspection import problems
    >>> module = tf.Module()
    >>> module.f = tf.function(lambda x: tf.reduce_sum(x) + tf.random.normal(()))
    >>> signature = module.f.get_concrete_function(tf.TensorSpec((None,), name="x"))
    >>> with tempfile.TemporaryDirectory() as path:
    ...     tf.saved_model.save(module, path, signature)
    ...     for problem in problems(path):
    ...         print(problem)
    op RandomStandardNormal draws random numbers: dropout or noise is left on
    output output_0 of serving_default has no batch axis: its shape is ()
    """
    found: dict[str, None] = {}  # an ordered set: one line for a hundred nodes
    for graph in _read(path).meta_graphs:
        found |= dict.fromkeys(_of_ops(graph.graph_def))
        for name, signature in sorted(graph.signature_def.items()):
            found |= dict.fromkeys(_of_outputs(name, signature))
    return list(found)


def interface(path: str | os.PathLike[str]) -> set[str]:
    """Describes the inputs and outputs of the signatures at `path`."""
    return {
        f"{side[:-1]} {key} of {name}: {' '.join(map(str, _type(tensor)))}"
        for graph in _read(path).meta_graphs
        for name, signature in graph.signature_def.items()
        if not name.startswith("__")  # an initializer that TensorFlow adds
        for side in ("inputs", "outputs")
        for key, tensor in getattr(signature, side).items()
    }


def _read(path: str | os.PathLike[str]) -> Any:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    file = Path(path, "saved_model.pb")
    if not file.is_file():  # a pipe or a device need not end
        raise ValueError(f"{path} holds no SavedModel: {file} is not a file")
    try:
        content = file.read_bytes()
        return saved_model_pb2.SavedModel.FromString(content)
    except (OSError, DecodeError) as error:
        raise ValueError(f"{path} holds no SavedModel: {error}") from error


def _type(tensor: Any) -> tuple[str, Any]:
    try:
        return tf.as_dtype(tensor.dtype).name, tf.TensorShape(tensor.tensor_shape)
    except TypeError as error:
        raise ValueError(f"A signature is damaged: {error}") from error


def _of_ops(graph: Any) -> Iterator[str]:
    functions = {f.signature.name: f for f in graph.library.function}
    for name, function in functions.items():
        if function.attr["_XlaMustCompile"].b:
            yield f"function {name} must be compiled by XLA (jit_compile=True)"
    bodies = [graph.node, *(f.node_def for f in functions.values())]
    for node in itertools.chain(*bodies):
        if "PyFunc" in node.op:
            yield f"op {node.op} runs Python: a server has none"
        elif _RANDOM.search(node.op):
            yield f"op {node.op} draws random numbers: dropout or noise is left on"
        elif node.op not in functions and not hasattr(tf.raw_ops, node.op):
            yield f"op {node.op} is not one of TensorFlow's: a server lacks it"


def _of_outputs(name: str, signature: Any) -> Iterator[str]:
    if name.startswith("__"):  # an initializer that TensorFlow adds
        return
    for key, output in sorted(signature.outputs.items()):
        which = f"output {key} of {name}"
        dtype, shape = _type(output)
        if dtype not in _SERVED_TYPES:
            yield f"{which} is {dtype}: a server sends {', '.join(_SERVED_TYPES)}"
        if shape.rank is not None and (shape.rank == 0 or shape[0] is not None):
            yield f"{which} has no batch axis: its shape is {shape}"
