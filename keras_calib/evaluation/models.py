"""The calibration of a model on data, batch by batch."""

from __future__ import annotations

from typing import Any

import keras

from keras_calib.evaluation.answer import Evaluation
from keras_calib.evaluation.evaluate import evaluate
from keras_calib.metrics.model_predictions import predictions_of

__all__ = ["evaluate_model"]


def evaluate_model(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    from_logits: bool | None = None,
    batch_size: int = 32,
    verbose: bool = True,
    **kwargs: Any,
) -> Evaluation:
    """Measures the calibration of a model on data, as `evaluate` does.

    It measures what the model returns, not the logits behind a softmax, and applies a
    Keras mask on the predictions. They are read batch by batch, and not kept.

    Args:
        model: a Keras model with one output.
        x: inputs; or an iterable, a `tf.data.Dataset` or a `PyDataset` of batches
            `(x, y)` or `(x, y, sample_weight)`.
        y: labels, if `x` are inputs.
        sample_weight: weights, if `x` are inputs.
        from_logits: whether the model returns logits; by default as the compiled loss
            says, or if it does not say, by the values of the first batch.
        batch_size: the number of samples in a batch, if `x` are inputs.
        verbose: whether to show a progress bar.
        **kwargs: other arguments of `evaluate`, such as `ignore_class` or `num_bins`.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: for a model of several outputs, and for what `evaluate` refuses.

    Example:

    >>> import keras_calib
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Softmax()])
    >>> x, y = np.array([[2.0, 0.0], [1.0, 0.0]]), np.array([0, 1])
    >>> found = keras_calib.evaluate_model(model, x, y, verbose=False)
    >>> round(found["accuracy"], 6)
    0.5
    """
    batches, from_logits = predictions_of(
        model,
        x,
        y,
        sample_weight=sample_weight,
        from_logits=from_logits,
        batch_size=batch_size,
        verbose=verbose,
        axis=kwargs.get("axis", -1),
        multilabel=kwargs.get("multilabel", False),
    )
    return evaluate(batches, from_logits=from_logits, verbose=False, **kwargs)
