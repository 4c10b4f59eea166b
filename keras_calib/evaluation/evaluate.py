"""Every figure of calibration of some predictions, in one call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keras_calib.arguments import boolean
from keras_calib.evaluation.answer import Evaluation
from keras_calib.evaluation.batches import batches_of, in_chunks, shown
from keras_calib.evaluation.ensembles import EnsembleSums, members_of
from keras_calib.evaluation.multilabel import sums_of
from keras_calib.evaluation.settings import Settings
from keras_calib.evaluation.slices import Slices, in_slices, slices_of, warn_of_few

__all__ = ["evaluate"]


def evaluate(
    y_true: Any,
    y_pred: Any = None,
    *,
    from_logits: bool = False,
    sample_weight: Any = None,
    ignore_class: int | None = None,
    axis: int = -1,
    members: int | None = None,
    by: Any = None,
    num_bins: int = 15,
    coverage: float = 0.9,
    top_k: int | None = None,
    exact: bool | None = None,
    top_label_only: bool = False,
    multilabel: bool = False,
    verbose: bool | None = None,
    validate: bool = True,
) -> Evaluation:
    """Measures the calibration of predictions, in float64.

    Labels, predictions and weights are arrays of any library: numpy, including a
    `memmap` larger than memory, lists, pandas, polars and Arrow tables and columns,
    tensors of TensorFlow, JAX and torch. Predictions may also be a distribution of
    TensorFlow Probability: a `Categorical`, `OneHotCategorical` or `Bernoulli`, or a
    `MixtureSameFamily` of those, measured by its own parameters. Instead of arrays,
    `evaluate(batches)` takes an iterable, a generator or a dataset of batches
    `(y_true, y_pred)` or `(y_true, y_pred, sample_weight)`. All forms give the same
    figures, because all are read in the same chunks.

    For the figures that depend on the order of confidences (equal mass, KS, AURC,
    accuracy at coverage), up to 2 million confidences are sorted; more are folded into
    4608 fine bins. The order of equal confidences does not matter. The smooth ECE is
    relplot's, on its grid, or on a grid ten times as fine if the error is below 0.01.

    Args:
        y_true: integer labels of shape `(N, ...)` or `(N, ..., 1)`, or targets of
            shape `(N, ..., K)`; without `y_pred`, an iterable of batches.
        y_pred: logits or probabilities of shape `(N, ..., K)`; or of label 1 of a
            binary problem, of shape `(N,)` or `(N, ..., 1)`. A binary problem is
            measured as two classes, and the probability of label 1 itself by the
            figures named `binary_...`.
        from_logits: whether `y_pred` are logits.
        sample_weight: weights of shape `(N, ...)` or of its leading axes.
        ignore_class: integer label whose samples are ignored.
        axis: the axis of the classes in `y_pred`, and in targets; not the first.
        members: the axis of the members of an ensemble in `y_pred`, such as 0 for
            predictions of shape `(members, N, ..., K)`; `axis` then counts the other
            axes. What is measured is the mean of their probabilities, how much they
            differ (`mutual_information`, `disagreement`), and each member alone.
        by: one value for each sample, such as a region or a month. The samples of each
            value are also measured alone, in `slices`.
        num_bins: the number of bins.
        coverage: the fraction of samples for `accuracy_at_coverage`.
        top_k: the number of the most probable classes that are also measured together,
            by `top_k_accuracy` and `top_k_calibration_error`.
        exact: whether to sort all confidences, which takes memory for each sample.
            `None` sorts up to 2 million of them, `False` none.
        top_label_only: whether to measure the predicted class and its confidence alone:
            accuracy, calibration of the top label, selective prediction. With
            `exact=False` that takes about the time of an argmax.
        multilabel: whether `y_pred` are logits or probabilities of independent labels,
            of shape `(N, ..., L)`, and `y_true` 0 or 1 for each. All labels are
            measured together, each as a binary problem, and by `multilabel_ece` as the
            mean of the labels' own errors, which `per_class` has. `n` counts every
            label of every sample, and `ignore_class` leaves out single labels.
        verbose: whether to show a progress bar; by default for more than one chunk.
        validate: whether to check the values of labels, predictions and weights,
            chunk by chunk. Without the checks, figures of impossible values are NaN.
            Empty arrays, and shapes that do not fit, always raise.

    Returns:
        An `Evaluation`: a dict of floats that prints as a table, with the bins as
        `statistics`. `ece_low` and `ece_high` are the ends of the 95 % interval of
        `ece`.

    Raises:
        ValueError: if no sample counts, if shapes do not fit, if an argument is out of
            range, and if labels, predictions or weights are impossible: logits without
            `from_logits=True`, rows that do not sum to 1, labels that are not classes,
            NaN, negative weights and the like. The message says what to write instead.

    Example:

    >>> import keras_calib
    >>> y, p = [0, 1], [[0.8, 0.2], [0.7, 0.3]]
    >>> found = keras_calib.evaluate(y, p)
    >>> round(found["ece"], 6), round(found["brier_score"], 6)
    (0.45, 0.53)
    >>> found.statistics.total
    2.0
    >>> keras_calib.evaluate([(y[:1], p[:1]), (y[1:], p[1:])]) == found
    True
    """
    settings = Settings(
        ignore_class,
        axis,
        num_bins,
        coverage,
        exact,
        validate,
        top_label_only,
        multilabel,
        top_k,
    )
    batches, count = batches_of(
        y_true,
        y_pred,
        sample_weight,
        from_logits=boolean("from_logits", from_logits),
        members=members,
        multilabel=multilabel,
    )
    names: list[Any] = []
    if by is not None:
        numbers, names = slices_of(by)
        batches = in_slices(batches, numbers)
    kind: Any = sums_of if members is None else EnsembleSums
    sums = kind(settings)
    # A slice may hold no sample that counts.
    slices = [kind(replace(settings, validate=False)) for _ in names]
    for chunk in shown(in_chunks(batches), count, verbose):
        for each in [chunk] if members is None else members_of(chunk):
            settings.check(each)
        sums.add(chunk)
        for number, part in chunk.parts():
            slices[number].add(part)
    found: Evaluation = sums.evaluation()
    if by is not None:
        found.slices = Slices(zip(names, (s.evaluation() for s in slices), strict=True))
        warn_of_few(found.slices)
    return found
