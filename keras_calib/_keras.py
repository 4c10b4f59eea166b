"""Every private part of Keras that the package touches.

Each has a test in `tests/test_keras.py` that says what stops working without it.
Nothing else imports `keras.src` or reads a private attribute of Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras.src.backend import (
    compute_output_spec,
    get_keras_mask as get_keras_mask,  # an attribute of the tensor, or on JAX a global
    get_stateless_scope,
    in_symbolic_scope as in_symbolic_scope,
    set_keras_mask as set_keras_mask,
)
from keras.src.backend.common.tensor_attributes import (  # carry masks on JAX
    get_tensor_attr as get_tensor_attr,
    set_tensor_attr as set_tensor_attr,
)
from keras.src.losses.loss import (
    reduce_weighted_values as reduce_weighted_values,
)
from keras.src.utils.module_utils import (
    tensorflow as tensorflow,  # imported when it is used
)

from keras_calib.activations import sigmoid, softmax
from keras_calib.types import Tensor


def made_by(y_pred: Tensor, axis: int = -1) -> tuple[set[str], Tensor | None]:
    """Returns the Keras activations that may have made `y_pred`, and its logits.

    The set holds `"softmax"` over an axis, `"sigmoid"`, both where they give the same
    values, or neither. Keras attaches the logits to both outputs in the same way. In a
    TensorFlow graph the operation tells them apart, on torch the operation of the
    gradient does; elsewhere the values of the first sample do, or those of all samples
    if the first fits both. The logits are `None` where they are unknown: in a JAX trace
    a tensor carries no attribute.
    """
    logits = getattr(y_pred, "_keras_logits", None)
    if logits is None or isinstance(y_pred, keras.KerasTensor):
        return set(), logits
    names: list[str] = []
    if (op := getattr(y_pred, "op", None)) is not None:
        names = [op.type, *(x.op.type for x in op.inputs)]  # a softmax is transposed
    elif (node := getattr(y_pred, "grad_fn", None)) is not None:
        names = [node.name()]
    for activation in ("softmax", "sigmoid"):
        if any(activation in name.lower() for name in names):
            return {activation}, logits
    if op is not None or getattr(y_pred, "is_meta", False):
        return set(), logits
    found = _fitting(logits[:1], y_pred[:1], axis)
    return found if len(found) < 2 else _fitting(logits, y_pred, axis), logits


def _fitting(logits: Tensor, y_pred: Tensor, axis: int) -> set[str]:
    """Returns the activations that turn these logits into these probabilities."""
    half = "float16" in keras.backend.standardize_dtype(y_pred.dtype)
    error = 1e-2 if half else 1e-4
    z, p = (
        np.asarray(keras.ops.convert_to_numpy(x), "float64") for x in (logits, y_pred)
    )
    with np.errstate(invalid="ignore"):
        of = {"softmax": softmax(z, axis), "sigmoid": sigmoid(z)}
    return {name for name in of if np.allclose(p, of[name], error, 1e-3 * error)}


def made_in(tensor: keras.KerasTensor) -> tuple[Any, Tensor, dict[str, Any]]:
    """Returns the operation that made a symbolic tensor, its input and arguments."""
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    return history.operation, node.arguments.keras_tensors[0], node.arguments.kwargs


def set_direction(metric: keras.metrics.Metric, direction: str | None) -> None:
    """Tells callbacks whether `"up"` or `"down"` is better; `None` if neither is."""
    metric._direction = direction


def compiled_metrics(
    model: keras.Model,
) -> list[tuple[str | None, int, list[keras.metrics.Metric]]]:
    """Returns the metrics given to `compile`, by the output that they measure.

    An output has a name, `None` if it is the only one, and an index.
    """
    groups = [
        (place, group)
        for compiled in model.metrics
        for kind in ("_flat_metrics", "_flat_weighted_metrics")
        for place, group in enumerate(getattr(compiled, kind, []))
    ]
    return [(g.output_name, place, g.metrics) for place, g in groups if g]


def is_baked_in(variable: keras.Variable) -> bool:
    """Says whether the running JAX trace holds a variable's value as a constant.

    A compiled step sees a variable change only if it is part of the state that the step
    is given.
    """
    import jax

    scope = get_stateless_scope()
    if scope is not None:
        return scope.get_current_value(variable) is None
    # Under jax.jit even an operation on constants is traced.
    return isinstance(keras.ops.add(variable, 0.0), jax.core.Tracer)


def known_value(name: str, x: keras.Variable) -> np.ndarray:
    """Returns the value of a variable, or raises where a trace hides it."""
    value = numpy_value(x)
    if value is None:
        raise ValueError(f"{name} has no value inside a compiled step")
    return value


def set_in_state(model: keras.Model, variable: keras.Variable, value: float) -> bool:
    """Sets a metric's variable in the state that JAX hands from one step to the next.

    `callback.model` would bring the whole state back into the variables, and the next
    step would collect it again. Returns `False` if the variables hold the state.
    """
    copy = getattr(model, "_jax_state", None)  # which `jax_state_sync` reads
    if not copy or model._jax_state_synced:
        return False
    import jax

    place = [v is variable for v in model.metrics_variables].index(True)
    old = copy["metrics_variables"][place]
    new = jax.numpy.asarray(value, old.dtype)
    # The step was compiled for this placement.
    new = jax.device_put(new, old.sharding) if old.committed else new
    copy["metrics_variables"][place] = new
    step = model.train_function
    if not hasattr(step, "values"):
        model.train_function = step = _StepWithValues(step)
    step.values[place] = new
    return True


class _StepWithValues:
    """A step of JAX's `fit` that sets metrics' variables before it runs."""

    def __init__(self, step: Callable[..., Any]) -> None:
        self.step, self.values = step, dict[int, Any]()

    def __call__(self, state: tuple[list[Any], ...], *data: Any) -> Any:
        for place, value in self.values.items():
            state[-1][place] = value
        self.values.clear()
        return self.step(state, *data)


def can_be_traced(function: Callable[[Tensor], Tensor]) -> bool:
    """Says whether a function of an integer consists of operations that compile."""
    try:
        compute_output_spec(function, keras.KerasTensor((), "int32"))
    except Exception:  # Python code may raise anything for a number without a value
        return False
    return True


def numpy_value(x: Tensor | keras.Variable) -> np.ndarray | None:
    """Returns the value of a variable or tensor, `None` where a trace hides it."""
    value: Any = getattr(x, "value", x)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        if value is not x:
            with tf.init_scope():  # leaves a graph that is being traced
                # A distributed variable is not an array, but converts to a tensor.
                value = tf.convert_to_tensor(value)
        stand_in = tf.is_symbolic_tensor(value)
    elif backend == "jax":
        import jax

        stand_in = isinstance(value, jax.core.Tracer)
    else:
        import torch

        compiled = value is x and torch.compiler.is_compiling()
        stand_in = value.is_meta or compiled
    return None if stand_in else np.asarray(keras.ops.convert_to_numpy(value))
