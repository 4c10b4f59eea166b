"""What metrics need to know of each token if its logits are not kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
from keras import ops

from keras_calib._keras import get_keras_mask
from keras_calib.ops.batch import Batch
from keras_calib.ops.events import Events
from keras_calib.ops.floats import (
    alike,
    as_tensor,
    at_least_float32,
    cast,
    dtype_name,
)
from keras_calib.ops.labels import integer_labels, is_valid
from keras_calib.ops.summary import summary_beside_loss, weighted
from keras_calib.types import Tensor

__all__ = ["TokenStatistics"]

# What it may hold for each sample, in this order; it always holds the first.
FIGURES = "log_probability", "confidence", "hit", "entropy", "squared_error"


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenStatistics:
    """Five numbers for each sample, which metrics take in place of its K logits.

    `linear_loss` returns them, and `TokenStatistics.of` computes them from logits. They
    are enough for a metric that depends only on the probability of the label, on the
    largest probability, or on one of these sums over all classes:
    `ExpectedCalibrationError`, `CalibrationGap`, `BrierScore`, `NegativeLogLikelihood`,
    `Perplexity`, `PredictiveEntropy`, `AURC` and others, and a `CalibrationMetrics` of
    them. A metric that needs more refuses them. Its attribute `reads` names those that
    it reads, and `FusedHeadModel` computes no others.

    Args:
        log_probability: log p_y, of shape `(...)`; NaN where y is not a class or a
            logit is NaN.
        confidence: the largest probability. It and those that follow may be `None`.
        hit: 1 where the first class of that probability is the label, 0 elsewhere.
        entropy: -sum_k p_k log p_k, in nats.
        squared_error: sum_k (p_k - y_k)^2.
        num_classes: K.
        mask: which samples count, of shape `(...)`; `None` for all.

    Example:

    >>> import keras_calib
    >>> logits = np.log([[0.6, 0.4], [0.3, 0.7]])
    >>> statistics = keras_calib.ops.TokenStatistics.of([0, 0], logits)
    >>> brier = keras_calib.BrierScore(from_logits=True)
    >>> brier.update_state([0, 0], statistics)
    >>> round(float(brier.result()), 6)
    0.65
    """

    log_probability: Tensor
    confidence: Tensor | None = None
    hit: Tensor | None = None
    entropy: Tensor | None = None
    squared_error: Tensor | None = None
    num_classes: int
    mask: Tensor | None = None

    @classmethod
    def of(cls, y_true: Tensor, logits: Tensor) -> TokenStatistics:
        """Returns the statistics of integer labels and logits of shape `(..., K)`."""
        logits = ops.convert_to_tensor(logits)
        labels = integer_labels(as_tensor(y_true), logits)
        k, shape = logits.shape[-1], ops.shape(labels)
        found = figures(ops.reshape(labels, (-1,)), ops.reshape(logits, (-1, k)))
        pairs = zip(FIGURES, found, strict=True)
        each: Any = {name: ops.reshape(x, shape) for name, x in pairs}
        return cls(**each, num_classes=k, mask=get_keras_mask(logits))

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The shape of the logits, `(..., K)`."""
        return (*self.log_probability.shape, self.num_classes)


def figures(y: Tensor, z: Tensor, names: Sequence[str] = FIGURES) -> list[Tensor]:
    """Returns the figures of labels of shape (N,) and logits of shape (N, K)."""
    if not names:
        return []
    z = ops.stop_gradient(at_least_float32(z))
    place = ops.clip(y, 0, ops.shape(z)[-1] - 1)
    seen = summary_beside_loss(
        z, place, index="hit" in names, squares="squared_error" in names
    )
    found: dict[str, Callable[[], Tensor]] = {
        "log_probability": lambda: ops.where(place == y, seen.log_p, float("nan")),
        "confidence": lambda: 1.0 / seen.total,
        "hit": lambda: ops.cast(seen.index == y, dtype_name(z)),
        # -sum_j p_j log p_j = log sum_j e_j - sum_j (z_j - m) e_j / sum_j e_j
        "entropy": lambda: seen.log_total - weighted(z, place) / seen.total,
        "squared_error": lambda: seen.squared_error,
    }
    return [found[name]() for name in names]


def names_of(given: bool | Collection[str]) -> tuple[str, ...]:
    """Returns the names of the figures that are asked for, in their order."""
    if given is False:
        return ()
    names = FIGURES if given is True else given
    if isinstance(names, str) or not set(names) <= set(FIGURES):
        raise ValueError(
            "`return_statistics` must be a boolean or names of ops.TokenStatistics, "
            f"some of {list(FIGURES)}. Received: {given!r}"
        )
    return tuple(name for name in FIGURES if name in {FIGURES[0], *names})


class TokenBatch(Batch):
    """N samples of one label of K classes, of which only statistics are known.

    It has the properties of a `ClassBatch` that can be computed from statistics.

    Args:
        y_true: integer labels of shape `(...)` or `(..., 1)`, for `ignore_class`.
        statistics: the statistics of the same samples.
        sample_weight: weights of shape `(...)` or of its leading axes.
        ignore_class: a label that has weight 0.
        dtype: dtype of what is computed.
        **reading: how logits would be read.
    """

    from_logits = True

    def __init__(
        self,
        y_true: Tensor,
        statistics: TokenStatistics,
        sample_weight: Tensor | None = None,
        *,
        ignore_class: int | None = None,
        dtype: str | None = None,
        **reading: Any,
    ) -> None:
        some = statistics.log_probability
        self.dtype = self.precision = dtype or dtype_name(some)
        self.num_classes, self._statistics = statistics.num_classes, statistics
        # The base takes the shape of the samples from predictions, here of one class.
        self._axis, self._y_pred = -1, ops.expand_dims(some, -1)
        self._mask = statistics.mask
        given = sample_weight, statistics.mask
        self._factors = [alike(f, self._y_pred) for f in given if f is not None]
        self._read(alike(y_true, self._y_pred), ignore_class)

    def _read(self, y_true: Tensor, ignore_class: int | None) -> None:
        logits = keras.KerasTensor((*self._y_pred.shape[:-1], self.num_classes))
        labels = integer_labels(y_true, logits)
        if ignore_class is not None:
            self._factors.append(is_valid(labels, ignore_class))

    def _flat(self, figure: str) -> Tensor:
        x = getattr(self._statistics, figure)
        if x is None:
            raise ValueError(
                f"The metric reads {figure!r}, which these TokenStatistics lack. "
                "Name it in its attribute `reads`, which FusedHeadModel reads, or in "
                "`return_statistics` of linear_loss"
            )
        return ops.reshape(cast(x, self.dtype), (-1,))

    def _possible_scores(self) -> Tensor:
        log_p = self._flat("log_probability")
        return ops.equal(log_p, log_p)  # not NaN

    _possible_labels = _possible_scores

    @property
    def hit(self) -> Tensor:
        """Whether the predicted class is the label, of shape (N,)."""
        return self._flat("hit")

    @property
    def negative_log_likelihood(self) -> Tensor:
        """-log p_y, of shape (N,)."""
        return -self._flat("log_probability")

    @property
    def entropy(self) -> Tensor:
        """-sum_k p_k log p_k, of shape (N,)."""
        return self._flat("entropy")

    @property
    def squared_error(self) -> Tensor:
        """sum_k (p_k - y_k)^2, of shape (N,)."""
        return self._flat("squared_error")

    @cached_property
    def top_label(self) -> Events:
        """Is the predicted class the label?"""
        return Events(
            self._flat("confidence"),
            self.hit,
            self.sample_weight,
            precision=self.precision,
        )

    def _refuse(self, *_: Any) -> Any:
        raise ValueError(
            "The metric needs the probabilities of all classes: TokenStatistics hold "
            "only those of the label and of the predicted class. Give it logits"
        )

    probabilities = targets = predicted = every_class = property(_refuse)
    top = _refuse


if keras.backend.backend() == "jax":
    import jax

    # They may be returned from a compiled or differentiated function. To Keras they are
    # one leaf, not six tensors.
    jax.tree_util.register_dataclass(
        TokenStatistics, [*FIGURES, "mask"], ["num_classes"]
    )
