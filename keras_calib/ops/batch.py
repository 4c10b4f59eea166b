"""The base of the readers of a batch of labels and predictions."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Self, TypedDict

import numpy as np
from keras import ops

from keras_calib._keras import get_keras_mask, made_by
from keras_calib.ops.events import Events
from keras_calib.ops.floats import (
    alike,
    at_least,
    cast,
    dtype_name,
    is_half,
    matmul,
    namespace,
)
from keras_calib.ops.labels import label_shape, sample_weights, static_shape
from keras_calib.ops.platform import by_platform
from keras_calib.types import Tensor


class ReaderArguments(TypedDict, total=False):
    """The arguments that say how a batch is read."""

    from_logits: bool
    ignore_class: int | None
    axis: int


# How far sums of probabilities may be from 1, in half precision or after rounding.
SUM_TOLERANCE = 0.02

_ACTIVATIONS = frozenset({"sigmoid", "softmax"})


class Batch(ABC):
    """Base of the batches of N samples, as flat tensors.

    Losses, metrics and calibrators read labels, predictions, masks and weights
    here, and nowhere else. Each property is computed when it is first used.
    Numpy arrays are read as they are, without a copy into the backend's memory.

    Args:
        y_true: labels, in the formats that the subclass reads.
        y_pred: logits or probabilities of shape `(..., K)`.
        sample_weight: weights of shape `(...)` or of its leading axes. A Keras mask
            on `y_pred` multiplies them.
        from_logits: whether `y_pred` are logits.
        ignore_class: a label that has weight 0.
        axis: the axis of the classes in `y_pred`, and in labels that have one.
        dtype: dtype of the scores: by default float64 for float64 predictions, else
            float32.
        through_softmax: whether probabilities that come straight from a Keras softmax
            or sigmoid are replaced by its logits, in which the gradient of a loss is
            exact. Metrics measure what the model returns.

    Attributes:
        given: `y_pred` as it was given, with the attributes that Keras set on it.
        from_logits: whether the scores are logits.
        dtype: dtype of the scores and of everything that is computed from them.
        precision: dtype that the probabilities were computed in.

    Raises:
        ValueError: for shapes that do not fit, for logits that are the output of a
            Keras softmax or sigmoid, and for the output of the wrong one of the two.
    """

    # The Keras activations that this batch reads, and for the error about another one:
    # what the batch holds, and what to use instead.
    activations = _ACTIVATIONS
    _of: str
    _instead: str
    # For each class or label, of shape (N, K).
    probabilities: Tensor
    targets: Tensor

    def __init__(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: Tensor | None = None,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
        dtype: str | None = None,
        through_softmax: bool = False,
    ) -> None:
        self.given, mask = y_pred, get_keras_mask(y_pred)
        self._mask = mask
        made, logits = made_by(y_pred, axis)
        self._require_activation(made, from_logits and logits is not None)
        if through_softmax and made and not from_logits:
            y_pred, from_logits = logits, True
        self.from_logits, self._axis = from_logits, axis
        y_pred, self.dtype, self.precision = read_scores(
            y_pred, from_logits, dtype, keep_half=through_softmax
        )
        static_shape("y_pred", y_pred, "")
        y_true = alike(y_true, y_pred)
        if getattr(y_true.shape, "rank", 0) is None:
            y_true = self._of_unknown_rank(y_true, y_pred)
        y_true, self._y_pred = classes_last(y_true, y_pred, axis)
        factors = [f for f in (sample_weight, mask) if f is not None]
        self._factors = [alike(factor, y_pred) for factor in factors]
        self._read(y_true, ignore_class)

    def _require_activation(self, made: set[str], as_logits: bool) -> None:
        if as_logits:
            raise ValueError(
                f"`y_pred` are probabilities of a {' or '.join(made or _ACTIVATIONS)}, "
                "and from_logits=True: use from_logits=False, or a head without it"
            )
        if made and not made & self.activations:
            raise ValueError(
                f"`y_pred` comes from a {made.pop()}, and a loss or metric of "
                f"{self._of} needs a {' or '.join(self.activations)}: {self._instead}"
            )

    def _of_unknown_rank(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns labels of the rank that the predictions imply, or raises."""
        label_shape(y_true)

    @abstractmethod
    def _read(self, y_true: Tensor, ignore_class: int | None) -> None:
        """Reads the labels, and flattens them and the predictions."""

    @cached_property
    def sample_weight(self) -> Tensor | None:
        """Weights of shape (N,), 0 where a mask says so; `None` where all are 1."""
        return sample_weights(self._factors, self._y_pred, self.dtype, self._axis)

    def _with(self, **changes: Any) -> Self:
        other = copy.copy(self)
        for name in vars(self):
            # It was computed from the old labels and scores.
            if isinstance(getattr(type(self), name, None), cached_property):
                delattr(other, name)
        vars(other).update(changes)
        return other

    @cached_property
    def sound(self) -> Tensor:
        """Whether labels, scores and weights are all possible, as one boolean.

        Probabilities lie in [0, 1] and sum to 1 over classes, logits are neither NaN
        nor +inf, and labels are classes, or targets that obey the rules of
        probabilities. Weights are not negative. A sample of weight 0 may hold anything.
        """
        scores = self._possible_scores()
        return self._all(scores & alike(self._possible_labels(), scores))

    @cached_property
    def sound_labels(self) -> Tensor:
        """Whether labels and weights are possible, whatever the scores."""
        return self._all(self._possible_labels())

    def _all(self, possible: Tensor) -> Tensor:
        weight = self.sample_weight
        if weight is not None:
            weight = alike(weight, possible)
            if len(weight.shape) < len(possible.shape):
                weight = weight[:, None]
            possible = (possible & (weight > 0.0)) | (weight == 0.0)
        return namespace(possible).all(possible)

    @abstractmethod
    def _possible_scores(self) -> Tensor:
        """Says which scores are possible, of shape (N,) or (N, L)."""

    @abstractmethod
    def _possible_labels(self) -> Tensor:
        """Says which labels are possible, of the same shape."""

    @cached_property
    def every_class(self) -> Events:
        """Is class k the label, or label k present? N * K events, one group per k."""
        return Events(
            self.probabilities,
            self.happened,
            self.sample_weight,
            precision=self.precision,
        )

    @property
    def happened(self) -> Tensor:
        """Whether each class is the label, or each label present; or how probable."""
        return self.targets

    @property
    def mask(self) -> Tensor | None:
        """The Keras mask on the predictions as 0 and 1, of shape (N,)."""
        masks = [] if self._mask is None else [self._mask]
        return sample_weights(masks, self._y_pred, self.dtype, self._axis)

    def unflatten(self, x: Tensor) -> Tensor:
        """Returns a value of each sample, of shape (N,), in the samples' shape."""
        return ops.reshape(x, ops.shape(self._y_pred)[:-1])


def classes_last(y_true: Tensor, y_pred: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Moves the classes of predictions, and of targets, to the last axis."""
    if axis == -1:
        return y_true, y_pred
    rank = len(y_pred.shape)
    if not -rank <= axis < rank:
        raise ValueError(
            f"`axis` must be an axis of `y_pred`. Received: axis={axis}, "
            f"y_pred.shape={tuple(y_pred.shape)}"
        )
    move = namespace(y_pred).moveaxis
    if len(y_true.shape) == rank:
        y_true = move(y_true, axis, -1)
    return y_true, move(y_pred, axis, -1)


def are_distributions(p: Tensor) -> Tensor:
    """Says which rows are probabilities that sum to 1, of shape (N,).

    An entry below 0 is multiplied by -1000, so that it moves the sum beyond the
    tolerance unless it is a rounding error.
    """

    def product_with_ones(p: Tensor) -> Tensor:  # on a CPU faster than the reduction
        ones = namespace(p).ones(p.shape[-1], dtype=dtype_name(p))
        return matmul(at_least(p, -1e3 * p), ones)

    def reduction(p: Tensor) -> Tensor:
        return ops.sum(at_least(p, -1e3 * p), axis=-1)

    total = (
        product_with_ones(p)
        if namespace(p) is np
        else by_platform(product_with_ones, reduction, p)
    )
    return abs(total - 1.0) <= SUM_TOLERANCE


def read_scores(
    y_pred: Tensor, from_logits: bool, dtype: str | None, keep_half: bool = False
) -> tuple[Tensor, str, str]:
    """Returns predictions, the dtype to compute in, and that of their probabilities.

    With `keep_half`, half-precision predictions are cast only where they are used, so
    that a loss reads and a gradient writes half as much.
    """
    if isinstance(y_pred, list | tuple):
        y_pred = np.asarray(y_pred)
    if namespace(y_pred) is ops:
        y_pred = ops.convert_to_tensor(y_pred)
    given = dtype_name(y_pred)
    dtype = dtype or ("float64" if given == "float64" else "float32")
    precision = given if given == "float32" and not from_logits else dtype
    if given != dtype and not (keep_half and is_half(y_pred)):
        y_pred = cast(y_pred, dtype)
    return y_pred, dtype, precision
