"""Reads predictions, labels and weights as numpy arrays, and checks their values."""

from __future__ import annotations

import numpy as np
from keras import ops

from keras_calib.types import Tensor


def to_numpy(x: Tensor) -> np.ndarray:
    """Returns a tensor, or what converts to one, as a numpy array."""
    return np.asarray(ops.convert_to_numpy(x) if ops.is_tensor(x) else x)


def flat(
    logits: Tensor, labels: Tensor, sample_weight: Tensor = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flattens logits of shape (..., K), labels and weights to one row a sample.

    Raises:
        ValueError: for shapes that do not fit, and negative weights.
    """
    logits, labels = to_numpy(logits), to_numpy(labels)
    if logits.dtype not in (np.float32, np.float64):
        half = logits.dtype.name in ("float16", "bfloat16")
        logits = logits.astype("float32" if half else "float64")
    leading, k = logits.shape[:-1], logits.shape[-1] if logits.ndim else 0
    if logits.ndim < 2:
        raise ValueError(
            "`logits` must have shape (..., num_classes). "
            f"Received: shape {logits.shape}"
        )
    if labels.shape == (*leading, 1):
        labels = labels[..., 0]
    soft = labels.shape == logits.shape
    if not soft and labels.shape != leading:
        raise ValueError(
            f"`labels` must have shape {leading}, {(*leading, 1)} or "
            f"{logits.shape} beside logits of shape {logits.shape}. "
            f"Received: shape {labels.shape}"
        )
    weight = sample_weights(sample_weight, leading)
    return logits.reshape(-1, k), labels.reshape((-1, k) if soft else -1), weight


def as_logits(
    x: Tensor, labels: Tensor, from_logits: bool, min_probability: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits of at least two classes, and labels that fit them.

    Args:
        x: logits or probabilities of shape `(..., K)`, or `(..., 1)` of class 1.
        labels: labels of any format; of one output also its probabilities.
        from_logits: whether `x` are logits.
        min_probability: the value that smaller probabilities are read as.

    Raises:
        ValueError: for probabilities outside [0, 1].
    """
    x, labels = to_numpy(x), to_numpy(labels)
    if not from_logits:
        x = x.astype("float64")
        if not np.all((x >= 0) & (x <= 1 + 1e-3)):
            raise ValueError(
                "With from_logits=False predictions must be probabilities in [0, 1]. "
                f"Received: values from {np.min(x)} to {np.max(x)}"
            )
    if x.ndim and x.shape[-1] == 1:
        zero = np.zeros_like(x) if from_logits else 1.0 - x
        x = np.concatenate([zero, x], -1)
        if labels.shape == (*x.shape[:-1], 1):
            labels = labels[..., 0]
        if np.any((labels > 0) & (labels < 1)):
            labels = np.stack([1.0 - labels, labels], -1)
    return (x if from_logits else np.log(np.maximum(x, min_probability))), labels


def sample_weights(weight: Tensor, leading: tuple[int, ...]) -> np.ndarray:
    """Returns one float64 weight a sample, flat, from weights of leading axes."""
    if weight is None:
        return np.ones(int(np.prod(leading)))
    weight = to_numpy(weight).astype("float64")
    if weight.shape == (*leading, 1):
        weight = weight[..., 0]
    if weight.ndim > len(leading) or any(
        w not in (1, n) for w, n in zip(weight.shape, leading, strict=False)
    ):
        raise ValueError(
            f"`sample_weight` must have the shape of the samples {leading} or of its "
            f"leading axes. Received: shape {weight.shape}"
        )
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise ValueError(
            "`sample_weight` must be finite and not negative. Received: values from "
            f"{weight.min()} to {weight.max()}"
        )
    weight = weight.reshape(weight.shape + (1,) * (len(leading) - weight.ndim))
    return np.broadcast_to(weight, leading).reshape(-1)


def whole_labels(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns integer labels, checked, as int64.

    Raises:
        ValueError: for labels outside [0, K), and for labels of one class only.
    """
    low, high = labels.min(), labels.max()
    if not (low >= 0 and high < num_classes and np.all(labels == np.floor(labels))):
        raise ValueError(
            f"`labels` must be whole numbers in [0, {num_classes}), the classes of the "
            f"logits. Received: values from {low} to {high}"
        )
    if low == high:
        raise _one_class(low)
    return labels.astype("int64")


def soft_labels(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns one-hot or soft labels, checked, as float64.

    Raises:
        ValueError: for labels that are no distributions, and for labels of one class
            only.
    """
    labels = labels.astype("float64")
    sums = labels.sum(-1)
    if not ((labels >= 0).all() and np.allclose(sums, 1, atol=1e-3)):
        raise ValueError(
            f"Soft labels must be in [0, 1] and sum to 1 over {num_classes} classes. "
            f"Received: values from {labels.min()} to {labels.max()}, sums from "
            f"{sums.min()} to {sums.max()}"
        )
    named = labels.any(0)
    if np.count_nonzero(named) == 1:
        raise _one_class(named.argmax())
    return labels


def _one_class(label: np.generic) -> ValueError:
    return ValueError(
        "`labels` must contain at least two classes: with one class every prediction "
        f"is right, and no confidence is too high. Received: class {int(label)} only"
    )
