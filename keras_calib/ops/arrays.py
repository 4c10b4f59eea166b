"""Arrays of any library as numpy arrays, and errors that say what was given."""

from __future__ import annotations

import reprlib
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib.arguments import counted

# Sums of weights up to this, and their products with values, still fit float32.
_MOST = 1e30
# Advice where there are as many labels or weights as classes.
_HINTS = {
    "y_pred": "",
    "y_true": "; `y_pred` looks transposed",
    "sample_weight": "; for weights of the classes write class_weight[y_true]",
}


def as_numbers(name: str, x: Any) -> np.ndarray:
    """Returns an array, a table or a tensor of any library as a numpy array.

    Integers, booleans, float32 and float64 stay as they are.

    Raises:
        ValueError: if it is not an array of real numbers, has masked entries, or is
            ragged.
    """
    require_whole(name, x)
    try:
        if hasattr(x, "detach"):  # torch's, which may be part of a graph
            x = x.detach().cpu()
            # numpy has no such format
            x = x.float() if str(x.dtype) == "torch.bfloat16" else x
        array = np.asarray(ops.convert_to_numpy(x) if ops.is_tensor(x) else x)
        kind = array.dtype.kind
        if (kind == "O" and not array.ndim) or array.dtype.names:
            raise TypeError("not an array of numbers")
        if kind == "O" and array.ndim == 1 and array.size and np.ndim(array[0]):
            array = np.stack(list(map(np.asarray, array)))  # a column of lists
            kind = array.dtype.kind
        if kind == "O":  # pandas's NA is not a number that numpy knows
            array = np.where(np.vectorize(_is_na, "?")(array), np.nan, array)
        texts = kind == "O" and any(isinstance(v, str | bytes) for v in array.flat)
        if kind not in "biuSUcmM" and array.dtype != "float64" and not texts:
            short = kind != "O" and array.dtype.itemsize <= 4
            array = array.astype("float32" if short else "float64", copy=False)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"`{name}` must be an array of numbers, with rows of one length. "
            f"Received: {reprlib.repr(x)}"
        ) from error
    require(
        not texts and kind not in "SU",
        f"`{name}` holds strings: encode them as numbers, labels by "
        "`classes.index(label)` for a list of the classes in the order of `y_pred`",
        f"{array.ravel()[:1]}",
    )
    require(kind not in "cmM", f"`{name}` must hold real numbers", str(array.dtype))
    return array


def _is_na(x: Any) -> bool:
    return type(x).__name__ == "NAType"


def require_numbers(name: str, x: Any) -> Any:
    """Returns an argument of a call, which must hold numbers.

    Tensors are returned as they are. Strings, dates and masked arrays, which a backend
    cannot read or would misread, do not come as tensors.
    """
    require_whole(name, x)
    first = x
    while isinstance(first, list | tuple) and first:
        first = first[0]
    if ops.is_tensor(first) or isinstance(first, keras.Variable | keras.KerasTensor):
        return x
    array = as_predictions(x) if name == "y_pred" else as_numbers(name, x)
    return array if isinstance(x, np.ndarray) and x.dtype.kind == "O" else x


def require_call(
    y_true: Any, y_pred: Any, sample_weight: Any = None
) -> tuple[Any, Any, Any]:
    """Returns what a loss or a metric is called with, which must hold numbers."""
    if sample_weight is not None:
        sample_weight = require_numbers("sample_weight", sample_weight)
    y_true = require_numbers("y_true", y_true)
    return y_true, require_numbers("y_pred", y_pred), sample_weight


def require_whole(name: str, x: Any) -> None:
    """Refuses ragged tensors, which an array pads with 0, and numpy's masked arrays."""
    require(
        not hasattr(x, "flat_values"),
        f"`{name}` is ragged: give the flat values of labels, predictions and weights, "
        f"as {name}.flat_values",
        type(x).__name__,
    )
    if np.ma.is_masked(x):
        raise ValueError(
            f"`{name}` has masked entries, and numpy loses the mask: give those "
            "samples weight 0, as `sample_weight=~mask`. "
            f"Received: {counted(x.mask.sum(), 'masked value')}"
        )


def as_predictions(y_pred: Any) -> np.ndarray:
    """Returns predictions as a numpy array, and refuses booleans."""
    scores = as_numbers("y_pred", y_pred)
    require(
        scores.dtype.kind != "b",
        "y_pred holds booleans; give probabilities or logits, or write "
        "y_pred.astype(float) for predictions of 0 and 1",
        "bool",
    )
    return scores


def require_samples(y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
    """Checks by shapes alone that arrays have samples, and all the same number.

    Args:
        y_true: labels, or another object with a shape.
        y_pred: predictions.
        sample_weight: weights.
    """
    given = {"y_pred": y_pred, "y_true": y_true, "sample_weight": sample_weight}
    shapes = {name: tuple(x.shape) for name, x in given.items() if x is not None}
    n, *rest = shapes["y_pred"] or (1,)
    for name, shape in shapes.items():
        names = dict.fromkeys((name, "y_pred"))
        found = ", ".join(f"{name}.shape={shapes[name]}" for name in names)
        one = f"`{name}` must have an axis of the samples: one value is `[value]`"
        require(shape, one, found)
        require(0 not in shape, f"`{name}` is empty: give at least one sample", found)
        same = f"`{name}` and `y_pred` must have the same length"
        require(shape[0] == n, same + _HINTS[name] * ([shape[0]] == rest), found)


def require_no_bytes(scores: np.ndarray) -> None:
    """Refuses the bytes of a quantized model."""
    require(
        scores.dtype != "uint8" or scores.max() <= 1,
        "y_pred holds bytes: divide them by 255 if they are probabilities, or undo the "
        "quantization, as (y_pred.astype(float) - zero_point) * scale",
        scores,
    )


def require_weights(sample_weight: Any) -> np.ndarray:
    """Returns weights as a numpy array; they must be at least 0 and not overflow."""
    weight = as_numbers("sample_weight", sample_weight)
    require_finite("sample_weight", weight)
    require((weight >= 0).all(), "sample_weight holds negative weights", weight)
    require(
        weight.max(initial=0) <= _MOST,
        f"sample_weight holds weights above {_MOST:g}, whose sums overflow; divide it "
        "by its mean",
        weight,
    )
    return weight


def require_any(total: float) -> None:
    """Refuses data in which no sample counts, by the sum of the weights."""
    allowed = "a sample must count: each has weight 0, or a label that is ignored"
    require(total > 0, allowed, f"a total weight of {total:g}")


def require_finite(name: str, x: np.ndarray) -> None:
    """Refuses NaN and infinity."""
    require(np.isfinite(x).all(), f"{name} holds NaN or infinity", x)


def require(
    condition: Any, message: str, received: np.ndarray | str, of: str = "values"
) -> None:
    """Raises a ValueError that ends with what was received, unless a condition holds.

    Args:
        condition: the condition that must hold.
        message: what is wrong, what is allowed, and what to write instead.
        received: what was given, in words or as an array.
        of: what the numbers of the array are.
    """
    if condition:
        return
    if not isinstance(received, str):
        known = np.isfinite(received)
        finite, others = received[known], np.unique(received[~known])
        span = [f"{finite.min():g} to {finite.max():g}"] if finite.size else []
        received = f"{of} {' and '.join(span + [f'{x:g}' for x in others])}"
    raise ValueError(f"{message}. Received: {received}")


def masked(weight: Any, mask: np.ndarray) -> np.ndarray:
    """Returns weights of the shape of a Keras mask, 0 where it hides a sample."""
    if weight is None:
        return mask
    weight = as_numbers("sample_weight", weight)
    missing = (1,) * (mask.ndim - weight.ndim)
    return np.asarray(weight.reshape(weight.shape + missing) * mask)
