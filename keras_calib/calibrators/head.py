"""Reads the outputs of a model: probabilities, or logits, or the logits behind them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib._keras import get_keras_mask, logits_behind
from keras_calib.calibrators.batches import Batch
from keras_calib.calibrators.reading import flat
from keras_calib.types import Array, Tensor


@dataclass(frozen=True)
class Head:
    """The outputs of a model on some samples, flat.

    Args:
        scores: outputs of shape (N, K): the logits where they are known.
        labels: labels of shape (N,), or one-hot or soft labels of shape (N, K).
        weight: weights of shape (N,), 0 where the output is masked.
        has_logits: whether the scores are the logits behind a softmax or sigmoid.
        example: inputs of the model, of one batch.
    """

    scores: Array
    labels: Array
    weight: Array
    has_logits: bool
    example: Any

    def gives_probabilities(self, from_logits: bool | None) -> bool:
        """Says whether the model gives probabilities.

        Args:
            from_logits: whether the user says that it gives logits.
        """
        single = self.scores.shape[-1] == 1
        if self.has_logits:
            return True
        # Outputs that look like probabilities are none if a single one is said to be
        # a logit. Several rarely sum to 1 by chance.
        if from_logits is not None and (single or not from_logits):
            return not from_logits
        in_range = self.scores.min() >= 0 and self.scores.max() <= 1 + 1e-3
        sums = self.scores.sum(-1)
        return bool(in_range and (single or np.allclose(sums, 1, atol=1e-2)))


def read_head(
    model: keras.Model, batches: Iterable[Batch], count: int | None, verbose: int
) -> Head:
    """Returns the outputs of a model on all batches.

    Raises:
        ValueError: for a model of several outputs, no batches, and batches without
            labels.
    """
    reader = HeadReader(model)
    bar = keras.utils.Progbar(count, verbose=verbose, unit_name="batch")
    rows, x = [], None
    for i, (x, y, weight) in enumerate(batches):
        if y is None:
            raise ValueError("calibrate needs labels: pass y, or batches (x, y)")
        # In the scope of a strategy each replica computes the whole batch.
        size = len(keras.tree.flatten(x)[0])
        found = {k: v[:size] for k, v in reader.predict_on_batch(x).items()}
        rows.append(flat(found["scores"], y, [weight, found.get("mask")]))
        bar.update(i + 1, finalize=i + 1 == count)
    if not rows:
        raise ValueError("calibrate needs samples. Received: no batch")
    scores, labels, weights = map(np.concatenate, zip(*rows, strict=True))
    return Head(scores, labels, weights, reader.has_logits, x)


class HeadReader(keras.Model):
    """Gives the logits behind the softmax or sigmoid of a model, else its outputs."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.model = model
        self.has_logits = False

    def call(self, inputs: Any) -> dict[str, Tensor]:
        """Returns scores, and the mask where there is one."""
        y = self.model(inputs, training=False)
        if not ops.is_tensor(y):
            raise ValueError(
                "calibrate needs a model with one output. Received: "
                f"{keras.tree.map_structure(lambda t: tuple(t.shape), y)}"
            )
        behind, mask = logits_behind(y), get_keras_mask(y)
        self.has_logits = behind is not None
        found = {"scores": ops.cast(y if behind is None else behind, "float32")}
        return found if mask is None else {**found, "mask": mask}
