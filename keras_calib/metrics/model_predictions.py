"""Labels, predictions and weights of a model on data, batch by batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib._keras import get_keras_mask
from keras_calib.arguments import boolean, unless_none, whole_number
from keras_calib.metrics.model_data import batches_of
from keras_calib.ops.arrays import masked, require
from keras_calib.ops.kinds import kind_of
from keras_calib.ops.reader import reading_of
from keras_calib.types import Tensor


def predictions_of(
    model: keras.Model,
    x: Any,
    y: Any,
    *,
    sample_weight: Any,
    from_logits: bool | None,
    batch_size: int,
    verbose: bool,
    axis: int = -1,
    multilabel: bool = False,
) -> tuple[Iterator[tuple[Any, ...]], bool]:
    """Returns batches (labels, predictions, weights), and whether they are logits.

    Args:
        model: a Keras model with one output.
        x: inputs, or batches `(x, y)` or `(x, y, sample_weight)`.
        y: labels, if `x` are inputs.
        sample_weight: weights, if `x` are inputs.
        from_logits: whether the model returns logits; by default as the compiled loss
            says, and else by the values of the first batch.
        batch_size: the number of samples in a batch, if `x` are inputs.
        verbose: whether to show a progress bar.
        axis: the axis of the classes.
        multilabel: whether the predictions are of independent labels.

    Raises:
        ValueError: for no model, one of several outputs, and data without labels.
    """
    require(
        isinstance(model, keras.Model),
        "`model` must be a Keras model",
        type(model).__name__,
    )
    whole_number("batch_size", batch_size)
    data, count = batches_of(x, y, sample_weight, batch_size)
    batches = _predicted(model, data, count, boolean("verbose", verbose))
    from_logits = unless_none(boolean, "from_logits", from_logits)
    if from_logits is None:
        from_logits = _says_logits(model.loss if model.compiled else None)
    if from_logits is None and (first := next(batches, None)):
        scores = np.ravel(first[1]) if multilabel else first[1]
        from_logits = kind_of(scores, axis) == "logits"
        batches = itertools.chain([first], batches)
    return batches, bool(from_logits)


def _says_logits(loss: Any) -> bool | None:
    """Returns whether a compiled loss reads logits, `None` if it does not say."""
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    if loss is None or not callable(loss):
        return None
    says: bool | None = reading_of(loss)["from_logits"]
    return says


def _predicted(
    model: keras.Model,
    batches: Iterable[tuple[Any, Any, Any]],
    count: int | None,
    verbose: bool,
) -> Iterator[tuple[Any, ...]]:
    """Yields labels, predictions and weights of each batch."""
    outputs = Outputs(model)
    bar = keras.utils.Progbar(count, verbose=int(verbose), unit_name="batch")
    for i, (x, y, weight) in enumerate(batches):
        if y is None:
            raise ValueError("labels are missing: pass y, or batches (x, y)")
        # In the scope of a strategy each replica computes the whole batch.
        size = len(keras.tree.flatten(x)[0])
        found = {k: v[:size] for k, v in outputs.predict_on_batch(x).items()}
        if (mask := found.get("mask")) is not None:
            weight = masked(weight, np.asarray(mask))
        yield y, found["y_pred"], weight
        bar.update(i + 1, finalize=i + 1 == count)


def output_of(model: keras.Model, inputs: Any) -> Tensor:
    """Returns the output of a model.

    Raises:
        ValueError: for a model of several outputs.
    """
    output = model(inputs, training=False)
    if not ops.is_tensor(output):
        raise ValueError(
            "A model with one output is needed. Received: "
            f"{keras.tree.map_structure(lambda t: tuple(t.shape), output)}"
        )
    return output


class Outputs(keras.Model):
    """Gives the output of a model, and its mask where there is one."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.model = model

    def call(self, inputs: Any) -> dict[str, Tensor]:
        """Returns the output, and the mask where there is one."""
        y_pred = output_of(self.model, inputs)
        mask = get_keras_mask(y_pred)
        return {"y_pred": y_pred} if mask is None else {"y_pred": y_pred, "mask": mask}
