"""What a calibrator is fitted on: logits and labels, read once and checked."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_calib.metrics import BinStatistics

RowFunction = Callable[[np.ndarray], np.ndarray]

# Numbers in a block: a few arrays of this size stay in the cache of a core.
_BLOCK = 2**16


@dataclass(frozen=True)
class Samples:
    """N samples of K >= 2 classes, as numpy arrays.

    Args:
        logits: float32 or float64 logits of shape (N, K).
        labels: int64 labels of shape (N,), or float64 targets of shape (N, K).
        weight: float64 weights of shape (N,), which sum to 1.
        total: what they summed to. A weight of 3 is three samples.
    """

    logits: np.ndarray
    labels: np.ndarray
    weight: np.ndarray
    total: float

    @classmethod
    def read(
        cls,
        logits: Any,
        labels: Any,
        sample_weight: Any = None,
        ignore_class: int | None = None,
    ) -> Samples:
        """Checks and flattens arrays of any leading shape.

        Args:
            logits: shape `(..., K)`; float32 and float64 are kept as they are.
            labels: integers of shape `(...)` or `(..., 1)`, or one-hot or soft
                targets of shape `(..., K)`.
            sample_weight: weights of shape `(...)` or of its leading axes.
            ignore_class: integer label whose samples count for nothing.

        Returns:
            The samples of positive weight.

        Raises:
            ValueError: for shapes that do not fit, NaN and infinity, labels out of
                range, negative weights, and fewer than two samples or classes.
        """
        logits, labels, weight = flat(logits, labels, sample_weight)
        k, soft = logits.shape[1], labels.ndim == 2
        if k < 2:
            raise ValueError(f"There must be at least 2 classes. Received: {k}")
        counts = weight > 0
        if ignore_class is not None:
            if soft:
                raise ValueError(
                    "`ignore_class` needs integer labels. Received: "
                    f"ignore_class={ignore_class}, labels of shape {labels.shape}"
                )
            counts &= labels != ignore_class
        if not counts.all():
            logits, labels, weight = logits[counts], labels[counts], weight[counts]
        if len(weight) < 2:
            raise ValueError(
                "A calibrator needs at least 2 samples of positive weight. "
                f"Received: {len(weight)}"
            )
        labels = _targets(labels, k) if soft else _integers(labels, k)
        samples = cls(logits, labels, weight / weight.sum(), weight.sum())
        if not all(samples.map(lambda rows: np.isfinite(logits[rows]).all())):
            raise ValueError(
                "`logits` must be finite (probabilities, and their exact zeros, "
                "belong to from_logits=False). Received: "
                f"{np.isnan(logits).sum()} NaN and {np.isinf(logits).sum()} infinite "
                f"of {logits.size} values"
            )
        return samples

    @property
    def soft(self) -> bool:
        """Whether the labels are targets of shape (N, K)."""
        return self.labels.ndim == 2

    @property
    def num_classes(self) -> int:
        """The number of classes, K."""
        return self.logits.shape[1]

    @property
    def targets(self) -> np.ndarray:
        """One-hot or soft labels of shape (N, K)."""
        return self.labels if self.soft else np.eye(self.num_classes)[self.labels]

    def __len__(self) -> int:
        return len(self.weight)

    def __getitem__(self, rows: Any) -> Samples:
        weight = self.weight[rows]
        share = weight.sum()
        return Samples(
            self.logits[rows], self.labels[rows], weight / share, share * self.total
        )

    def map(self, function: Callable[[slice], Any]) -> list[Any]:
        """Calls `function` on blocks of rows that fit the cache, on all cores."""
        step = max(1, _BLOCK // self.num_classes)
        blocks = [slice(i, i + step) for i in range(0, len(self), step)]
        if len(blocks) == 1:
            return [function(blocks[0])]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(function, blocks))

    def expected(self, x: np.ndarray, rows: slice) -> np.ndarray:
        """Returns sum_k t_k x_k of the rows, of which `x` is the values."""
        if self.soft:
            return np.einsum("nk,nk->n", self.labels[rows], x)
        return x[np.arange(len(x)), self.labels[rows]].astype("float64")

    def nll(self, log_p: RowFunction | None = None) -> float:
        """Returns the mean negative log-likelihood, in float64.

        Args:
            log_p: log-probabilities of some rows of float64 logits; by default
                their log-softmax.
        """
        log_p = log_p or log_softmax

        def block(rows):
            values = log_p(self.logits[rows].astype("float64"))
            if self.soft:  # 0 log 0 = 0
                values = np.where(self.labels[rows] > 0, values, 0.0)
            return -self.weight[rows] @ self.expected(values, rows)

        return float(sum(self.map(block)))

    def brier(self, probabilities: RowFunction) -> float:
        """Returns the mean of sum_k (p_k - t_k)^2, less the mean of sum_k t_k^2."""

        def block(rows):
            p = probabilities(self.logits[rows].astype("float64"))
            error = np.einsum("nk,nk->n", p, p) - 2 * self.expected(p, rows)
            return self.weight[rows] @ error

        return float(sum(self.map(block)))

    def ece(self, probabilities: RowFunction) -> float:
        """Returns the top-label calibration error over 15 equal-width bins."""

        def block(rows):
            p = probabilities(self.logits[rows].astype("float64"))
            top, labels = p.argmax(-1), self.labels[rows]
            hit = labels[np.arange(len(p)), top] if self.soft else top == labels
            return BinStatistics.from_predictions(
                p.max(-1), hit, sample_weight=self.weight[rows]
            )

        first, *rest = self.map(block)
        return sum(rest, first).ece()


def softmax(z: np.ndarray) -> np.ndarray:
    """Returns the softmax over the last axis."""
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_softmax(z: np.ndarray) -> np.ndarray:
    """Returns log(softmax(z)) over the last axis."""
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def flat(
    logits: Any, labels: Any, sample_weight: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flattens logits of shape (..., K), labels and weights to one row a sample.

    Raises:
        ValueError: for shapes that do not fit, and negative weights.
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
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
    x: Any, labels: Any, from_logits: bool, min_probability: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits of at least two classes, and labels that fit them.

    Args:
        x: logits or probabilities of shape `(..., K)`, or `(..., 1)` of class 1.
        labels: labels of any format; of one output also its probabilities.
        from_logits: whether `x` are logits.
        min_probability: what probabilities below it are read as.

    Raises:
        ValueError: for probabilities outside [0, 1].
    """
    x, labels = np.asarray(x), np.asarray(labels)
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


def sample_weights(weight: Any, leading: tuple[int, ...]) -> np.ndarray:
    """Returns one float64 weight a sample, flat, from weights of leading axes."""
    if weight is None:
        return np.ones(int(np.prod(leading)))
    weight = np.asarray(weight, "float64")
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


def _integers(labels: np.ndarray, k: int) -> np.ndarray:
    low, high = labels.min(), labels.max()
    if not (low >= 0 and high < k and np.all(labels == np.floor(labels))):
        raise ValueError(
            f"`labels` must be whole numbers in [0, {k}), the classes of the logits. "
            f"Received: values from {low} to {high}"
        )
    if low == high:
        raise _one_class(low)
    return labels.astype("int64")


def _targets(labels: np.ndarray, k: int) -> np.ndarray:
    labels = labels.astype("float64")
    if not ((labels >= 0).all() and np.allclose(labels.sum(-1), 1, atol=1e-3)):
        raise ValueError(
            f"Soft labels must be in [0, 1] and sum to 1 over {k} classes. Received: "
            f"values from {labels.min()} to {labels.max()}, sums from "
            f"{labels.sum(-1).min()} to {labels.sum(-1).max()}"
        )
    if np.count_nonzero(labels.any(0)) == 1:
        raise _one_class(labels.any(0).argmax())
    return labels


def _one_class(label: Any) -> ValueError:
    return ValueError(
        "`labels` must hold at least two classes: nothing is learned of confidence "
        f"where no prediction can be wrong. Received: class {int(label)} only"
    )
