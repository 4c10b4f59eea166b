"""How samples are read, and what is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_calib.arguments import boolean, in_range, label, unless_none, whole_number
from keras_calib.evaluation.batches import Batch
from keras_calib.ops import validation
from keras_calib.ops.arrays import require

_MOST_BINS = 1_000_000


@dataclass(frozen=True)
class Settings:
    """The settings of `evaluate`, which describes them.

    Raises:
        ValueError: if one is out of range.
    """

    ignore_class: int | None = None
    axis: int = -1
    num_bins: int = 15
    coverage: float = 0.9
    exact: bool | None = None
    validate: bool = True
    top_label_only: bool = False
    multilabel: bool = False
    top_k: int | None = None

    def __post_init__(self) -> None:
        label("ignore_class", self.ignore_class)
        whole_number("axis", self.axis, -np.inf)
        whole_number("num_bins", self.num_bins, 1, _MOST_BINS)
        in_range("coverage", self.coverage, float(np.finfo("float32").tiny), 1.0)
        unless_none(boolean, "exact", self.exact)
        boolean("validate", self.validate)
        boolean("top_label_only", self.top_label_only)
        boolean("multilabel", self.multilabel)
        unless_none(whole_number, "top_k", self.top_k)
        require(
            self.top_k is None or not (self.multilabel or self.top_label_only),
            "`top_k` needs the probabilities of classes: leave out multilabel and "
            "top_label_only",
            f"top_k={self.top_k}",
        )

    def check(self, samples: Batch) -> None:
        """Checks the axis, and the values unless that is switched off."""
        axis, shape = self.axis, tuple(samples.y_pred.shape)
        require(
            axis == -1 or 0 < axis < len(shape) or -len(shape) < axis < 0,
            "`axis` must be an axis of `y_pred` after the first",
            f"axis={axis}, y_pred.shape={shape}",
        )
        if self.validate:
            validation.validate(
                samples.y_true,
                samples.y_pred,
                sample_weight=samples.sample_weight,
                from_logits=samples.from_logits,
                ignore_class=self.ignore_class,
                axis=axis,
                binary=self.multilabel or None,
            )
