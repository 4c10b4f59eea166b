"""The base of losses and metrics: how they read a batch."""

from __future__ import annotations

import math
from typing import Any

from keras_calib.arguments import Configurable, boolean, unless_none, whole_number
from keras_calib.ops.batch import Batch
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.types import Tensor


class Reader(Configurable):
    """Base of losses and metrics, which read batches.

    Args:
        from_logits: whether `y_pred` are logits.
        ignore_class: integer label whose samples are ignored.
        axis: the axis of the classes in `y_pred`, and in one-hot or soft targets.
    """

    def __init__(
        self,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.from_logits = boolean("from_logits", from_logits)
        self.ignore_class = unless_none(
            whole_number, "ignore_class", ignore_class, -math.inf
        )
        self.axis = whole_number("axis", axis, -math.inf)

    def reader(self, y_pred: Tensor) -> type[Batch]:
        """Returns the class that reads a batch of these predictions."""
        return ClassBatch

    def read(self, y_true: Tensor, y_pred: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Returns the batch; other arguments are those of `Batch`."""
        return self.reader(y_pred)(
            y_true,
            y_pred,
            *args,
            from_logits=self.from_logits,
            ignore_class=self.ignore_class,
            axis=self.axis,
            **kwargs,
        )
