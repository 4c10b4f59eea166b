"""Reads the outputs of a model: probabilities, or logits, or the logits behind them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib._keras import get_keras_mask
from keras_calib.activations import log_softmax
from keras_calib.calibrators.reading import as_logits, flat, logits_behind
from keras_calib.calibrators.samples import Samples
from keras_calib.metrics.model_data import Batch
from keras_calib.metrics.model_predictions import output_of
from keras_calib.ops.arrays import require_any, require_weights
from keras_calib.ops.floats import dtype_name
from keras_calib.ops.kinds import kind_of
from keras_calib.ops.validation import validate
from keras_calib.types import Array, Tensor


@dataclass(frozen=True)
class Head:
    """The outputs of a model on some samples, flat.

    Args:
        scores: outputs of shape (N, K): the logits where they are known.
        labels: labels of shape (N,), or one-hot or soft labels of shape (N, K).
        weight: weights of shape (N,), 0 where the output is masked.
        has_logits: whether the scores are the logits behind a softmax or sigmoid.
        example: the inputs of the model in one batch.
    """

    scores: Array
    labels: Array
    weight: Array
    has_logits: bool
    example: Any

    def gives_logits(self, stated: bool | None) -> bool:
        """Says whether the model gives logits: as stated, or else by the values."""
        if self.has_logits and stated:
            raise ValueError(
                "The model gives probabilities: it ends in a softmax or sigmoid. "
                "Received: from_logits=True"
            )
        if self.has_logits or stated is not None:
            return bool(stated)
        require_any(require_weights(self.weight).sum())
        return kind_of(self.scores[self.weight > 0]) == "logits"

    def samples(
        self, from_logits: bool, ignore_class: int | None, min_probability: float
    ) -> Samples:
        """Checks the outputs of the model, and returns them as logits."""
        from_logits = from_logits or self.has_logits
        validate(
            self.labels,
            self.scores,
            from_logits=from_logits,
            sample_weight=self.weight,
            ignore_class=ignore_class,
        )
        z, y = as_logits(self.scores, self.labels, from_logits, min_probability)
        z = log_softmax(z) if self.has_logits else z
        return Samples.read(z, y, self.weight, ignore_class)


class HeadReader(keras.Model):
    """Gives the logits behind the softmax or sigmoid of a model, else its outputs."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.model = model
        self.has_logits = False
        self.precision = "float32"

    def call(self, inputs: Any) -> dict[str, Tensor]:
        """Returns scores, and the mask where there is one."""
        y = output_of(self.model, inputs)
        behind, mask = logits_behind(y), get_keras_mask(y)
        self.has_logits = behind is not None
        # Half-precision probabilities sum to 1 less exactly.
        self.precision = dtype_name(y) if "float16" in dtype_name(y) else "float32"
        found = {"scores": ops.cast(y if behind is None else behind, "float32")}
        return found if mask is None else {**found, "mask": mask}

    def read(
        self, batches: Iterable[Batch], count: int | None, verbose: int = 0
    ) -> Head:
        """Returns the outputs of the model on all batches.

        Raises:
            ValueError: for a model of several outputs, no batches, and batches without
                labels.
        """
        bar = keras.utils.Progbar(count, verbose=verbose, unit_name="batch")
        rows, x = [], None
        for i, (x, y, weight) in enumerate(batches):
            if y is None:
                raise ValueError("calibrate needs labels: pass y, or batches (x, y)")
            # Under a distribution strategy each replica computes the whole batch.
            size = len(keras.tree.flatten(x)[0])
            found = {k: v[:size] for k, v in self.predict_on_batch(x).items()}
            rows.append(flat(found["scores"], y, [weight, found.get("mask")]))
            bar.update(i + 1, finalize=i + 1 == count)
        if not rows:
            raise ValueError("calibrate needs samples. Received: no batch")
        scores, labels, weights = map(np.concatenate, zip(*rows, strict=True))
        scores = scores.astype(self.precision)
        return Head(scores, labels, weights, self.has_logits, x)
